"""What a backend's source says about how it is built and run: entry point, directories, Python, port, health, migrations, database.

Nothing of it is imported or run. A value that somebody has set (`given`) is taken as it is, and what follows from it is found by it.
"""

from __future__ import annotations

import ast
import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import variables
from .checks import TESTS, Tree, line_of
from .fastapi import HEALTHY
from .found import Found, Part, Secret
from .outgoing import hosts
from .processes import Process, declared_processes
from .python_dependencies import Declared, Options, _toml, clean, declared
from .python_modules import NEWER_SYNTAX, Application, bound, imports
from .python_routes import APPLICATIONS, Route, Routes, called, keyword
from .tree import select
from .versions import python_allows, release

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
DEPENDENCY_FILES = re.compile(r"^(uv\.lock|poetry\.lock|pdm\.lock|Pipfile|setup\.(py|cfg)|requirements[\w.-]*\.(txt|in)|pyproject\.toml)$")
# Where an application is not, though something there looks like one.
AWAY = re.compile(
    r"(^|/)(\.[^/]+|examples?|docs?|scripts?|notebooks?|benchmarks?|samples?|templates?|alembic|migrations|node_modules|e2e|playground)/"
)
FACTORY = re.compile(
    r"^(create|make|build|get|init|new)_?(\w+_)?(app|application|api|server|asgi)(lication)?$|^app_factory$|^(application|app)_factory$"
)
STEMS = {"main": 12, "asgi": 10, "app": 9, "server": 8, "api": 7, "application": 6, "__init__": 4, "index": 4}
NAMES = {"app": 5, "application": 4, "api": 3}
# Names of the standard library that a Python has first: where a source imports one, it needs that Python.
FIRST_IN = {
    ("warnings", "deprecated"): "3.13",
    ("typing", "override"): "3.12",
    ("typing", "TypeAliasType"): "3.12",
    ("typing", "TypeIs"): "3.13",
    ("typing", "ReadOnly"): "3.13",
    ("typing", "NoDefault"): "3.13",
    ("itertools", "batched"): "3.12",
    ("copy", "replace"): "3.13",
    ("pathlib", "UnsupportedOperation"): "3.13",
    ("uuid", "uuid7"): "3.14",
    ("queue", "ShutDown"): "3.13",
    ("asyncio", "QueueShutDown"): "3.13",
}
DRIVERS = {
    "asyncpg": "postgresql+asyncpg",
    "psycopg": "postgresql+psycopg",
    "psycopg-binary": "postgresql+psycopg",
    "psycopg2": "postgresql+psycopg2",
    "psycopg2-binary": "postgresql+psycopg2",
    "pg8000": "postgresql+pg8000",
}
REWRITES = re.compile(
    r"""replace\(\s*["'](?P<from>postgres(?:ql)?)(?:\+\w+)?(?:://)?["']\s*,\s*(?:[fF])?["'](?P<to>postgresql\+(?P<driver>\w+))(?:://)?["']"""
    r"""|drivername\s*=\s*["'](?P<name>postgresql\+(?P<driver2>\w+))["']"""
)
# Distributions that load a library of the system when they run, with Debian's packages that have it.
LIBRARIES = {
    "python-magic": ["libmagic1"],
    "pyzbar": ["libzbar0"],
    "pdf2image": ["poppler-utils"],
    "pytesseract": ["tesseract-ocr"],
    "pydub": ["ffmpeg"],
    "ffmpeg-python": ["ffmpeg"],
    "psycopg2": ["libpq5"],
    "opencv-python": ["libgl1", "libglib2.0-0"],
    "cairosvg": ["libcairo2"],
    "weasyprint": ["libpango-1.0-0", "libpangoft2-1.0-0", "libharfbuzz-subset0"],
    "python-ldap": ["libldap-2.5-0"],
    "soundfile": ["libsndfile1"],
    "mysqlclient": ["libmariadb3"],
    "graphviz": ["graphviz"],
    "pyodbc": ["unixodbc"],
}
# Variables that every backend gets (roles/wiring).
GIVEN = {
    "DATABASE_URL_FILE",
    "PGSSLROOTCERT",
    "PUBLIC_URL",
    "AUTH_JWKS_URL",
    "OPENAI_BASE_URL",
    "OPENAI_API_KEY_FILE",
    "OPENAI_MODEL",
    "LOG_LEVEL",
    "FORWARDED_ALLOW_IPS",
    "UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN",
    "APP_VERSION",
    "APP_REVISION",
}
ALEMBIC = ["python3", "-m", "alembic"]


@dataclass
class Entry:
    """One candidate for the ASGI application."""

    path: str
    name: str
    line: int
    factory: bool = False
    score: float = 0.0
    why: list[str] = field(default_factory=list)
    folder: str = ""  # that imports start from
    project: str = ""  # that has the dependencies

    @property
    def app(self) -> str:
        inside = self.path.removeprefix(f"{self.folder}/") if self.folder else self.path
        return f"{inside.removesuffix('.py').removesuffix('/__init__').replace('/', '.')}:{self.name}"

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"


def backend(root: str | os.PathLike[str], given: dict[str, Any], beside: Path | None = None) -> tuple[Part, list[Route]]:
    """(what was found, the application's routes). `given`: values of the role's variables that somebody has set, by their whole names;
    `beside`: a directory above the source whose compose file describes it, too."""
    part = Part("backend")
    tree = Tree(root, select(root, "fastapi", role="backend_image"))
    options = Options()
    raw = Application(tree, options)
    commands = declared_processes(tree, beside)
    entries = _entries(raw, commands, given)
    if not entries:
        _none(part, tree)
        return part, []
    entry = entries[0]
    _say_entry(part, entries, given)
    app_root, pythonpath = _directories(part, tree, entry, given)
    options.app, options.app_root, options.pythonpath = entry.app, app_root, pythonpath
    _dependencies(part, tree, entry, options, given)
    options.python = _python(part, raw, tree, entry, given)
    application = Application(tree, options)
    application.take_over(raw)
    installed, _ = declared(tree, options)
    declared_routes = Routes(application)
    routes = declared_routes.of(entry.path, entry.name)
    part.notes += [
        f"the prefix of the routes included at {where} is put together at run time: edge_backend_paths must name what is below it"
        for where in declared_routes.unknown
    ]
    routes += _documents(application, entry, declared_routes)
    if (below := declared_routes.text(_of_constructor(application, entry, "root_path"))) and below.strip("/"):
        # What is in front of the application is to pass requests below this path; it answers them with and without it.
        health = [route for route in routes if HEALTHY.match(route.path)]
        routes = [Route(below.rstrip("/"), entry.where, False, True), *health]
    _libraries(part, installed)
    _port(part, tree, commands, entry)
    _health(part, routes, application, entry)
    reads = variables.of_python(application)
    by_file = variables.reads_files(variables.python_texts(application))
    code = [path for path in tree.files if path.endswith(".py") and not AWAY.search(path)]
    part.outgoing = hosts(tree, code, {name: _named(installed, name) for name in installed.names})
    _migrations(part, tree, application, installed, app_root, entry)
    _database(part, application, installed, reads)
    _environment(part, application, installed, reads, by_file, entry)
    _processes(part, commands, entries, application, declared_routes)
    return part, routes


def _none(part: Part, tree: Tree) -> None:
    own = [path for path in tree.written if re.search(r"(^|/)Dockerfile(\.\w+)?$", path)]
    how = f"; to build with a Dockerfile of your own, set backend_image_dockerfile: {own[0]}" if own else ""
    part.problems.append(
        "no ASGI application was found in the backend's source (a module with `app = FastAPI()`, or a function create_app): point "
        f"BACKEND_SOURCE at it, or set backend_image_app: module:attribute{how}"
    )
    part.add("migrate_command", [], "likely", "", "the source has no Alembic")
    part.add("downgrade_command", [], "likely")


# --- entry point ------------------------------------------------------------------------------------------------------------------


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported, those of conditions included."""
    for node in body:
        yield node
        for name in ("body", "orelse", "finalbody"):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                yield from top_level(getattr(node, name, []) or [])


def _starts_alone(node: ast.FunctionDef) -> bool:
    """Whether a function can be called without arguments."""
    arguments = node.args
    return len(arguments.args) + len(arguments.posonlyargs) <= len(arguments.defaults) and None not in arguments.kw_defaults


def _is_factory(node: ast.FunctionDef) -> bool:
    annotation = ast.unparse(node.returns) if node.returns else ""
    makes = any(isinstance(one, ast.Call) and called(one) in APPLICATIONS for one in ast.walk(node))
    gives = any(isinstance(one, ast.Return) and one.value is not None for one in ast.walk(node))
    return gives and (bool(re.search(r"FastAPI|Starlette|ASGI", annotation)) or (makes and bool(FACTORY.match(node.name))))


def _of_file(application: Application, path: str) -> Iterator[Entry]:
    text = application.tree.text(path) or ""
    if not re.search(r"FastAPI|Starlette|create_app|get_app|make_app|build_app|get_application|ASGIApp", text):
        return
    if not (body := application.parsed(path)):
        return
    factories = {node.name: node for node in body.body if isinstance(node, ast.FunctionDef) and _is_factory(node)}
    found: dict[str, Entry] = {}
    for node in top_level(body.body):
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or not isinstance(node.value, ast.Call):
            continue
        targets = [one for one in (node.targets if isinstance(node, ast.Assign) else [node.target]) if isinstance(one, ast.Name)]
        what, call = called(node.value), node.value
        inner = [one.id for one in [*call.args, *(each.value for each in call.keywords)] if isinstance(one, ast.Name) and one.id in found]
        for target in targets:
            if what in ("FastAPI", "Starlette") or what in factories or FACTORY.match(what):
                found[target.id] = Entry(path, target.id, node.lineno)
            elif inner and re.search(r"ASGI|Middleware|App$", what):
                # An application around another one: Socket.IO, a middleware.
                found[target.id] = Entry(path, target.id, node.lineno, score=12, why=[f"wraps {inner[0]}"])
    yield from found.values()
    if not found:
        for name, node in factories.items():
            if _starts_alone(node):
                yield Entry(path, name, node.lineno, True, -4, ["a function that makes the application"])


def _entries(application: Application, commands: list[Process], given: dict[str, Any]) -> list[Entry]:
    """All candidates, the best first."""
    tree = application.tree
    candidates = [
        entry
        for path in tree.files
        if path.endswith(".py") and not TESTS.search(path) and not AWAY.search(path)
        for entry in _of_file(application, path)
    ]
    started = [(one.app, one.where, one.factory, 100.0) for one in commands if one.app]
    if tool := _toml(tree, "pyproject.toml").get("tool", {}).get("fastapi", {}).get("entrypoint"):
        started.append((tool, "pyproject.toml", False, 100.0))
    started += [(app, where, False, 40.0) for app, where in _run_by_code(tree)]
    if app := given.get("backend_image_app"):
        started = [(str(app), "", False, 1000.0)]
        candidates += [] if any(_fits(one, str(app)) for one in candidates) else _imported(application, str(app))
    for app, where, factory, worth in started:
        matching = [one for one in candidates if _fits(one, app)] or _imported(application, app)
        for one in matching[:1] if worth < 1000 else matching:
            if one not in candidates:
                candidates.append(one)
            # The first command that starts an application is the application's own; others are further processes.
            one.score += worth - (0 if worth > 100 else 2 * [each[0] for each in started].index(app))
            one.factory |= factory
            if where:
                one.why.append(f"{where} starts it")
    imported = _imported_files(application, candidates)
    for one in candidates:
        stem = posixpath.basename(one.path).removesuffix(".py")
        text = tree.text(one.path) or ""
        one.score += STEMS.get(stem, 0) + NAMES.get(one.name, 0) - 2 * one.path.count("/") + min(9, 3 * text.count("include_router("))
        one.score += 8 * bool(re.search(rf"uvicorn\.run\(\s*(?:[\"'][\w.]+:)?{re.escape(one.name)}\b", text))
        one.score -= 20 * (one.path in imported)
    for one in candidates:
        one.project = _project(tree, one)
        one.folder = _import_folder(application, one, given)
    return sorted(candidates, key=lambda one: (-one.score, one.path.count("/"), one.path))


def _run_by_code(tree: Tree) -> Iterator[tuple[str, str]]:
    """Applications that a program of the source starts by their names: uvicorn.run("app.main:app")."""
    for path in tree.files:
        if path.endswith(".py") and not TESTS.search(path):
            text = tree.text(path) or ""
            for match in re.finditer(r"uvicorn\.run\(\s*(?:app\s*=\s*)?[\"']([\w.]+:\w+)[\"']", text):
                yield match[1], f"{path}:{line_of(text, match.start())}"


def _fits(entry: Entry, app: str) -> bool:
    module, _, name = app.partition(":")
    dotted = entry.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return entry.name == (name or "app").rstrip("()") and (dotted == module or dotted.endswith("." + module))


def _imported(application: Application, app: str) -> list[Entry]:
    """An application that a module has from another one."""
    module, _, name = app.partition(":")
    ends = (f"{module.replace('.', '/')}.py", f"{module.replace('.', '/')}/__init__.py")
    name = (name or "app").rstrip("()")
    for path in application.tree.files:
        if path in ends or path.endswith(tuple("/" + end for end in ends)):
            body = application.parsed(path)
            names = bound(body) if body else None
            if names is None or name in names:
                text = application.tree.text(path) or ""
                at = re.search(rf"\b{re.escape(name)}\b", text)
                return [Entry(path, name, line_of(text, at.start()) if at else 1)]
    return []


def _imported_files(application: Application, candidates: list[Entry]) -> set[str]:
    """Files of candidates that another candidate's file imports: parts of it."""
    found: set[str] = set()
    paths = {one.path for one in candidates}
    for path in paths:
        if not (body := application.parsed(path)):
            continue
        for each in imports(body):
            spots = [each.module, *(f"{each.module}.{name}" for name in each.names)]
            for other in paths - {path}:
                dotted = other.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
                if any(spot and (dotted == spot or dotted.endswith("." + spot)) for spot in spots):
                    found.add(other)
    return found


def _project(tree: Tree, entry: Entry) -> str:
    """The nearest directory above an application that declares dependencies."""
    folder = posixpath.dirname(entry.path)
    while True:
        inside = {path[len(folder) :].lstrip("/") for path in tree.files if path.startswith(f"{folder}/" if folder else "")}
        if any(DEPENDENCY_FILES.match(name) or re.match(r"requirements/[\w.-]+\.(txt|in)$", name) for name in inside):
            return folder
        if not folder:
            return ""
        folder = posixpath.dirname(folder)


def _import_folder(application: Application, entry: Entry, given: dict[str, Any]) -> str:
    """The directory that the application's imports start from."""
    tree, own = application.tree, posixpath.dirname(entry.path)
    folders = [""]
    for piece in own.split("/") if own else []:
        folders.append(posixpath.join(folders[-1], piece))
    if app := given.get("backend_image_app"):
        dotted = str(app).partition(":")[0].replace(".", "/")
        for end in (f"{dotted}.py", f"{dotted}/__init__.py"):
            if entry.path == end or entry.path.endswith("/" + end):
                return entry.path.removesuffix(end).rstrip("/")
    # Packages of the source are imported by their whole names: what has an __init__.py is none to start from.
    body = application.parsed(entry.path)
    tops = {one.module.partition(".")[0] for one in imports(body) if not one.level} if body else set()
    fit = _fit(tree, folders, tops)
    if not any(fit.values()):
        near = [path for path in tree.files if path.endswith(".py") and path.startswith(own) and not TESTS.search(path)][:60]
        tops = {
            one.module.partition(".")[0] for path in near if (each := application.parsed(path)) for one in imports(each) if not one.level
        }
        fit = _fit(tree, folders, tops)
    if any(fit.values()):
        return max(folders, key=lambda folder: (fit[folder], folder == "", -len(folder)))
    folder = own
    while folder and (f"{folder}/__init__.py" in tree.paths or _goes_up(application, entry, folder)):
        folder = posixpath.dirname(folder)
    # Nothing tells: from the directory of the project, where people start it.
    between = own.removeprefix(entry.project).strip("/").split("/")
    return entry.project if folder == own and all(piece.isidentifier() for piece in between) else folder


def _goes_up(application: Application, entry: Entry, folder: str) -> bool:
    body = application.parsed(entry.path)
    return folder == posixpath.dirname(entry.path) and bool(body) and any(one.level for one in imports(body or ast.Module([], [])))


def _fit(tree: Tree, folders: list[str], tops: set[str]) -> dict[str, int]:
    def exists(folder: str, top: str) -> bool:
        at = posixpath.join(folder, top)
        return f"{at}.py" in tree.paths or f"{at}/__init__.py" in tree.paths or (at in tree.directories and _has_python(tree, at))

    return {folder: sum(exists(folder, top) for top in tops) for folder in folders}


def _has_python(tree: Tree, folder: str) -> bool:
    return any(path.startswith(f"{folder}/") and path.endswith(".py") for path in tree.files)


def _say_entry(part: Part, entries: list[Entry], given: dict[str, Any]) -> None:
    entry, others = entries[0], entries[1:]
    gap = entry.score - others[0].score if others else 99
    why = entry.why[-1] if entry.why else "the only application in the source" if not others else f"the likeliest of {len(entries)}"
    certainty = "certain" if not others or any("starts it" in one for one in entry.why) else "likely" if gap >= 3 else "guess"
    part.add("app", entry.app, certainty, entry.where, why, [f"{one.app} ({one.where})" for one in entries[:4]] if others else [])
    if entry.factory:
        part.add(
            "environment", {"UVICORN_FACTORY": "true"}, "certain", entry.where, f"{entry.name} is a function that makes the application"
        )


def _directories(part: Part, tree: Tree, entry: Entry, given: dict[str, Any]) -> tuple[str, str]:
    """(app_root, pythonpath), as the role's variables have them."""
    folder, project = entry.folder, entry.project
    has_alembic = {one for one in (folder, project) if posixpath.join(one, "alembic.ini") in tree.paths}
    inside = folder == project or not project or folder.startswith(project + "/")
    if folder == project:
        root = folder
    elif inside:
        package = posixpath.basename(folder) in ("src", "lib", "python")
        root = project if (project in has_alembic and folder not in has_alembic) or (package and folder not in has_alembic) else folder
    else:
        # The project is below the directory that imports start from: its directory where its tools are used, otherwise the upper one.
        tools = project in has_alembic or any(posixpath.join(project, name) in tree.paths for name in ("uv.lock", "pyproject.toml"))
        root = project if tools else folder
    if "backend_image_app_root" in given:
        root = clean(str(given["backend_image_app_root"]))
    path = "" if root == folder else posixpath.relpath(folder or ".", root or ".")
    why = "imports start there" if root == folder else "its dependencies are declared there"
    part.add("app_root", root or ".", "likely" if root else "certain", "", why)
    part.add(
        "pythonpath", path, "likely" if path else "certain", "", f"{entry.app.partition(':')[0]} is imported from there" if path else ""
    )
    if "backend_image_pythonpath" in given:
        path = str(given["backend_image_pythonpath"])
    return root or ".", path


def _dependencies(part: Part, tree: Tree, entry: Entry, options: Options, given: dict[str, Any]) -> None:
    if "backend_image_dependencies" in given:
        options.dependencies = str(given["backend_image_dependencies"])
        return
    part.add("dependencies", "auto")
    found, _ = declared(tree, options)
    if found.file and found.names:
        part.add("dependencies", "auto", "certain", found.file, "its dependencies")
        return
    folders = dict.fromkeys([entry.project, entry.folder, ""])
    named = [
        path
        for folder in folders
        for path in tree.files
        if re.fullmatch(re.escape(posixpath.join(folder, "")) + r"(requirements/[\w.-]+|requirements[\w.-]*)\.txt", path)
        and not re.search(r"dev|test|lint|docs?\b|local|ci\b", posixpath.basename(path))
    ]
    best = sorted(named, key=lambda path: (not re.search(r"prod", path), not re.search(r"requirements\.txt|main|base", path), path))
    if best:
        certain = len(set(best)) == 1 or "prod" in best[0]
        options.dependencies = part.add(
            "dependencies", best[0], "likely" if certain else "guess", best[0], "its dependencies", [] if certain else best
        )
    elif found.file:
        part.add("dependencies", "auto", "certain", found.file, "its dependencies")


def _libraries(part: Part, installed: Declared) -> None:
    needing = [name for name in LIBRARIES if name in installed.names]
    if needing:
        packages = sorted({package for name in needing for package in LIBRARIES[name]})
        where = ", ".join(_named(installed, name) for name in needing)
        part.add(
            "extra_run_packages",
            packages,
            "likely",
            where,
            f"libraries that {' and '.join(needing)} {'loads' if len(needing) == 1 else 'load'}",
        )


# --- Python -----------------------------------------------------------------------------------------------------------------------


def _python(part: Part, application: Application, tree: Tree, entry: Entry, given: dict[str, Any]) -> str:
    """The Python of the image; notes the Debian release that has it."""
    image = re.search(r"(?<=:)\d+\.[\d.]+", str((given.get("backend_image_args") or {}).get("PYTHON_IMAGE", "")))
    if image:
        return image[0].rstrip(".")
    if "backend_image_debian_release" in given:
        return PYTHONS.get(str(given["backend_image_debian_release"]), "3.11")
    folders = list(dict.fromkeys([entry.project, entry.folder, ""]))
    required, where = _required(tree, folders)
    wanted, wanted_where = _wanted(tree, folders)
    used, used_where = _used(application, tree)
    fitting = [name for name, python in PYTHONS.items() if not required or python_allows(required, python) is not False]
    fitting = [name for name in fitting if not used or release(PYTHONS[name]) >= release(used)] or fitting
    if required and not fitting:
        part.problems.append(
            f"the backend asks for Python {required} ({where}), and Debian has 3.11 (bookworm) and 3.13 (trixie): set backend_image_args: "
            f'{{PYTHON_IMAGE: "python:{_lowest(required)}-slim"}}, where a registry answers, '
            "or widen requires-python if 3.13 will do"
        )
        part.add("debian_release", "trixie", "likely", where, f"Python {required} is not in Debian")
        return "3.13"
    choice, certainty, why, at = "bookworm", "likely", "nothing in the source asks for another Python", ""
    if wanted:
        newest = "trixie" if release(wanted)[:2] > (3, 11) else "bookworm"
        exact = wanted in PYTHONS.values()
        choice = newest if newest in fitting else fitting[0]
        why, at = f"the source names Python {wanted}", wanted_where
        if not exact or PYTHONS[choice] != wanted:
            why += f"; {PYTHONS[choice]} is the nearest that Debian has"
            part.notes.append(f"the backend names Python {wanted} ({wanted_where}); its image has {PYTHONS[choice]}")
        certainty = "certain" if exact and PYTHONS[choice] == wanted else "likely"
    elif required or used:
        choice, certainty = fitting[0], "certain" if len(fitting) == 1 else "likely"
        why, at = (
            (f"requires-python {required}", where)
            if required and not (used and len(fitting) == 1)
            else (f"the source uses what Python {used} has first", used_where)
        )
    if choice not in fitting:
        choice = fitting[0]
    part.add("debian_release", choice, certainty, at, f"Python {PYTHONS[choice]}: {why}")
    return PYTHONS[choice]


def _lowest(required: str) -> str:
    match = re.search(r"(?:>=|==|~=|\^|~)?\s*(3\.\d+)", required)
    return match[1] if match else "3.14"


def _required(tree: Tree, folders: list[str]) -> tuple[str, str]:
    for folder in folders:
        for name in ("pyproject.toml", "uv.lock"):
            path = posixpath.join(folder, name)
            if path not in tree.paths:
                continue
            data = _toml(tree, path)
            found = (
                data.get("project", {}).get("requires-python")
                or data.get("requires-python")
                or data.get("tool", {}).get("poetry", {}).get("dependencies", {}).get("python")
            )
            if isinstance(found, str) and found.strip() not in ("", "*"):
                at = re.search(r"requires-python|^python\s*=", tree.text(path) or "", re.M)
                return found, f"{path}:{line_of(tree.text(path) or '', at.start()) if at else 1}"
    for folder in folders:
        path = posixpath.join(folder, "setup.py" if posixpath.join(folder, "setup.py") in tree.paths else "setup.cfg")
        if match := re.search(r"python_requires\s*=\s*[\"']?([^\"'\n,)]+(?:,[^\"'\n)]+)?)", tree.text(path) or ""):
            return match[1].strip(), f"{path}:{line_of(tree.text(path) or '', match.start())}"
    return "", ""


def _wanted(tree: Tree, folders: list[str]) -> tuple[str, str]:
    """(3.12, where) of what names one Python: version files, a Dockerfile."""
    for folder in folders:
        for name, pattern in (
            (".python-version", r"^\s*(?:cpython-|python-)?(3\.\d+)"),
            ("runtime.txt", r"python-(3\.\d+)"),
            (".tool-versions", r"^python\s+(3\.\d+)"),
            ("Dockerfile", r"^FROM\s+\S*python:(3\.\d+)"),
        ):
            path = posixpath.join(folder, name)
            if path in tree.written and (match := re.search(pattern, tree.text(path) or "", re.M)):
                return match[1], f"{path}:{line_of(tree.text(path) or '', match.start())}"
    return "", ""


def _used(application: Application, tree: Tree) -> tuple[str, str]:
    """The lowest Python that has what the source uses of the language and of the standard library; empty: any."""
    best, where = "", ""
    for path in tree.files:
        if not path.endswith(".py") or TESTS.search(path):
            continue
        text = tree.text(path) or ""
        newer = NEWER_SYNTAX.search(text) if not best else None
        if newer and application.parsed(path) is None and path in application.problems:
            best, where = "3.12", f"{path}:{line_of(text, newer.start())}"
        elif match := re.search(r"^(?:type\s+\w+(?:\[[^\]]*\])?\s*=\s*|(?:async )?def \w+\[|class \w+\[)", text, re.M):
            best, where = max((best, where), ("3.12", f"{path}:{line_of(text, match.start())}"), key=lambda one: release(one[0]))
        for match in re.finditer(r"^from (\w+) import ([^(\n]+)$", text, re.M):
            for name in re.findall(r"\w+", match[2].partition("#")[0]):
                first = FIRST_IN.get((match[1], name), "")
                if first and release(first) > release(best or "3.11"):
                    best, where = first, f"{path}:{line_of(text, match.start())}"
    return best, where


# --- port, health -----------------------------------------------------------------------------------------------------------------


def _port(part: Part, tree: Tree, commands: list[Process], entry: Entry) -> None:
    own = [one for one in commands if one.app and _fits(entry, one.app) and one.port]
    if own and 1024 < own[0].port < 65536:
        part.add("port", own[0].port, "certain", own[0].where, "its command listens there")
        return
    for path in (posixpath.join(folder, "Dockerfile") for folder in dict.fromkeys([entry.project, entry.folder, ""])):
        if path in tree.written and (match := re.search(r"^EXPOSE\s+(\d+)", tree.text(path) or "", re.M)) and 1024 < int(match[1]) < 65536:
            part.add(
                "port", int(match[1]), "likely", f"{path}:{line_of(tree.text(path) or '', match.start())}", "its Dockerfile exposes it"
            )
            return
    part.add("port", 8000, "likely", "", "the usual one; nothing in the source names another")


def _documents(application: Application, entry: Entry, routes: Routes) -> Iterator[Route]:
    """FastAPI's own pages, which an application has unless it says otherwise."""
    if disabled(application, entry, "openapi_url"):
        return
    for name, usual in (("docs_url", "/docs"), ("openapi_url", "/openapi.json")):
        value = _of_constructor(application, entry, name)
        path = usual if value is None else routes.text(value)
        if path and not disabled(application, entry, name):
            yield Route(path, entry.where)


def _of_constructor(application: Application, entry: Entry, name: str) -> ast.expr | None:
    """The value that the application is made with, of `docs_url` or `openapi_url`; None where it has FastAPI's own."""
    body = application.parsed(entry.path)
    calls = (node for node in ast.walk(body) if isinstance(node, ast.Call) and called(node) == "FastAPI") if body else iter(())
    return next((keyword(node, name) for node in calls), None)


def disabled(application: Application, entry: Entry, name: str) -> bool:
    """Whether the application is made without one of FastAPI's own pages, always or on a condition: `docs_url=None`."""
    value = _of_constructor(application, entry, name)
    return value is not None and any(isinstance(node, ast.Constant) and not node.value for node in ast.walk(value))


def _health(part: Part, routes: list[Route], application: Application, entry: Entry) -> None:
    order = [
        "health",
        "healthz",
        "livez",
        "live",
        "liveness",
        "health_check",
        "healthcheck",
        "health-check",
        "ping",
        "status",
        "up",
        "heartbeat",
    ]
    healthy = [
        route
        for route in routes
        if route.get and HEALTHY.match(route.path) and "{" not in route.path and not re.search(r"ready|readiness", route.path)
    ]
    if healthy:
        best = min(healthy, key=lambda route: (_rank(route.path, order), route.path.count("/"), len(route.path)))
        part.add("health_path", best.path, "certain", best.where, "a route for it")
        return
    open_paths = [route for route in routes if route.get and route.path == "/"]
    if open_paths:
        part.add("health_path", "/", "likely", open_paths[0].where, "no route for health; this one answers without a parameter")
    elif not disabled(application, entry, "openapi_url") and not disabled(application, entry, "docs_url"):
        part.add("health_path", "/docs", "likely", entry.where, "no route for health; FastAPI's own page shows that it serves")
    else:
        part.add("health_path", "/health", "guess", entry.where, "no route for health, and FastAPI's own pages are switched off")
        part.problems.append(
            "the backend has no health route: add GET /health, or set backend_image_health_path to a path that answers 200"
        )


def _rank(path: str, order: list[str]) -> int:
    last = path.rstrip("/").rpartition("/")[2]
    return order.index(last) if last in order else len(order)


# --- migrations -------------------------------------------------------------------------------------------------------------------


def _migrations(part: Part, tree: Tree, application: Application, installed: Declared, app_root: str, entry: Entry) -> None:
    root = clean(app_root)
    configurations = [path for path in tree.files if posixpath.basename(path) == "alembic.ini" and not TESTS.search(path)]
    configurations.sort(key=lambda path: (posixpath.dirname(path) != root, path.count("/")))
    creates = next(_creates(application), "")
    has_alembic = "alembic" in installed.names or (installed.opaque and not installed.names)
    if configurations and has_alembic:
        path = posixpath.relpath(configurations[0], root or ".")
        option = [] if path == "alembic.ini" else ["-c", path]
        part.add("migrate_command", [*ALEMBIC, *option, "upgrade", "head"], "certain", configurations[0], "Alembic")
        part.add("downgrade_command", [*ALEMBIC, *option, "downgrade", "{revision}"], "certain", configurations[0], "Alembic")
        if creates:
            part.notes.append(f"the backend creates its tables at start ({creates}) and has migrations: Alembic runs first")
        return
    part.add("downgrade_command", [], "certain", "", "no Alembic")
    own = _own_migration(tree, application, entry)
    if own:
        module = (
            own.removeprefix(entry.folder + "/" if entry.folder else "").removesuffix(".py").removesuffix("/__main__").replace("/", ".")
        )
        part.add("migrate_command", ["python3", "-m", module], "likely", own, "a module of its own migrates")
    elif configurations:
        part.add(
            "migrate_command", [], "likely", configurations[0], f"{configurations[0]} is there, and alembic is not among the dependencies"
        )
        part.notes.append(
            f"the backend has {configurations[0]}, and its dependencies do not name alembic: no migration runs (add alembic to them)"
        )
    else:
        part.add(
            "migrate_command",
            [],
            "certain",
            creates,
            "its tables are created at start" if creates else "no Alembic, no module that migrates",
        )


def _creates(application: Application) -> Iterator[str]:
    for path in application.tree.files:
        if path.endswith(".py") and not TESTS.search(path) and not AWAY.search(path):
            text = application.tree.text(path) or ""
            if match := re.search(r"\.create_all\b|create_db_and_tables\(", text):
                yield f"{path}:{line_of(text, match.start())}"


def _own_migration(tree: Tree, application: Application, entry: Entry) -> str:
    for path in sorted(tree.files, key=lambda one: (one.count("/"), one)):
        inside = not entry.folder or path.startswith(entry.folder + "/")
        if inside and re.search(r"(^|/)(migrate|run_migrations)\.py$", path) and not TESTS.search(path) and not re.search(r"(^|/)\.", path):
            body = application.parsed(path)
            runs = body and any(
                (
                    isinstance(node, (ast.Expr, ast.With, ast.AsyncWith, ast.For))
                    and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
                )
                or (isinstance(node, ast.If) and "__main__" in ast.unparse(node.test))
                for node in body.body
            )
            if runs:
                return path
    return ""


# --- database ---------------------------------------------------------------------------------------------------------------------


def _database(part: Part, application: Application, installed: Declared, reads: dict[str, variables.Read]) -> None:
    texts = {path: application.tree.text(path) or "" for path in application.tree.files if path.endswith(".py") and not TESTS.search(path)}
    # A URL of the source's own beats what drivers are installed.
    mentioned = {name for name in DRIVERS if name in installed.names}
    imported = {
        driver
        for driver, pattern in (
            ("asyncpg", r"^\s*import asyncpg|^\s*from asyncpg"),
            ("psycopg2", r"^\s*(import|from) psycopg2"),
            ("psycopg", r"^\s*(import|from) psycopg\b"),
        )
        if any(re.search(pattern, text, re.M) for text in texts.values())
    }
    if not mentioned and not imported and not any(variables.kind(name) in ("database", "part") for name in reads):
        part.add("database_scheme", "postgresql", "likely", "", "the source uses no PostgreSQL driver")
        part.notes.append("the backend has no PostgreSQL driver and reads no database URL: it gets an address and does not use it")
        return
    uses_alchemy = bool({"sqlalchemy", "sqlmodel"} & set(installed.names)) or any(
        "sqlalchemy" in text or "sqlmodel" in text for text in texts.values()
    )
    asynchronous = _first(texts, r"create_async_engine|async_engine_from_config|AsyncEngine\b")
    rewritten = _rewritten(texts)
    if rewritten and _first(texts, r"sslmode"):
        part.add("database_scheme", "postgresql", "likely", rewritten[1], "the source makes its driver's address of it, options included")
        return
    if rewritten:
        driver, at = rewritten
        both = _first(texts, r"""["']\+asyncpg["']\s*,\s*["']["']|replace\(\s*["']postgresql\+asyncpg""") if driver == "asyncpg" else ""
        if both:
            # One URL for an asynchronous and a synchronous driver, whose options differ: the environment tells both.
            part.add("database_scheme", "postgresql+asyncpg", "likely", at, "the source makes asyncpg's address and another driver's of it")
            part.add("database_options", "", "likely", both, "options of the address would reach both drivers; PGSSLMODE does")
            _tls_by_environment(part, both)
        else:
            part.add("database_scheme", f"postgresql+{driver}", "certain", at, f"the source asks for {driver} by replacing the scheme")
        return
    if uses_alchemy:
        if asynchronous and ("asyncpg" in mentioned or "asyncpg" in imported):
            part.add("database_scheme", "postgresql+asyncpg", "certain", asynchronous, "SQLAlchemy with asyncpg")
            stripped = _first(texts, r"""replace\(\s*["']\+asyncpg|replace\(\s*["']postgresql\+asyncpg""")
            if stripped:
                part.add("database_options", "", "likely", stripped, "another driver gets the address, too: PGSSLMODE instead of options")
                _tls_by_environment(part, stripped)
            return
        for name in ("psycopg2-binary", "psycopg2", "psycopg", "psycopg-binary", "pg8000", "asyncpg"):
            if name in mentioned:
                part.add(
                    "database_scheme", DRIVERS[name], "certain", _named(installed, name), f"SQLAlchemy with {name.removesuffix('-binary')}"
                )
                return
    why = f"{sorted(imported | mentioned)[0]} is used without SQLAlchemy" if imported or mentioned else "the usual form"
    part.add("database_scheme", "postgresql", "certain" if imported and not uses_alchemy else "likely", "", why)


def _tls_by_environment(part: Part, where: str) -> None:
    found = part.found.get("backend_image_environment")
    values = dict(found.value) if found else {}
    part.add("environment", values | {"PGSSLMODE": "verify-full"}, "likely", where, found.why if found else "TLS for every driver")


def _named(installed: Declared, name: str) -> str:
    file, line, _ = installed.names[name]
    return f"{file}:{line}"


def _first(texts: dict[str, str], pattern: str) -> str:
    for path, text in texts.items():
        if match := re.search(pattern, text):
            return f"{path}:{line_of(text, match.start())}"
    return ""


def _rewritten(texts: dict[str, str]) -> tuple[str, str] | None:
    for path, text in texts.items():
        for match in REWRITES.finditer(text):
            return match["driver"] or match["driver2"], f"{path}:{line_of(text, match.start())}"
    return None


# --- environment ------------------------------------------------------------------------------------------------------------------


def _environment(
    part: Part, application: Application, installed: Declared, reads: dict[str, variables.Read], by_file: bool, entry: Entry
) -> None:
    environment = dict(part.found["backend_image_environment"].value) if "backend_image_environment" in part.found else {}
    secrets: dict[str, str] = {}
    files: dict[str, str] = {}
    where = {}
    for name, read in sorted(reads.items()):
        what = variables.kind(name)
        given_by_file = f"{name}_FILE" in reads or (by_file and name in ("DATABASE_URL", "OPENAI_API_KEY"))
        if what == "database" and not given_by_file:
            secrets[name], where[name] = "database_url", read.where
        elif what == "model" and not given_by_file:
            secrets[name], where[name] = "openai_api_key", read.where
        elif what == "part":
            _database_part(name, read, environment, secrets, files)
        elif what in ("own key", "secret") and not given_by_file and not name.endswith("_FILE"):
            part.secrets.append(Secret(name, "backend", read.where, what == "own key", read.required))
        elif name not in GIVEN and variables.KEYS.search(name):
            environment[name] = "@frontend@/api/auth/jwks"
        elif name not in GIVEN and _fetched(application, name):
            environment[name] = "@frontend@"
        elif variables.ORIGINS.match(name) and read.required:
            environment[name] = '["@url@"]' if re.search(r"list|sequence|set", read.type, re.I) else "@url@"
        elif (
            name not in GIVEN
            and variables.FRONTEND_ADDRESS.match(name)
            and (read.required or re.search(r"//(localhost|127\.0\.0\.1)", read.default or ""))
        ):
            environment[name] = "@url@"
        elif read.required and not what and name not in GIVEN and not by_file:
            part.todo.append(f"backend_image_extra_environment.{name}: {read.where} demands it")
    if {"openai", "openai-agents", "langchain-openai"} & set(installed.names) and "OPENAI_API_KEY" not in reads and not by_file:
        secrets["OPENAI_API_KEY"], where["OPENAI_API_KEY"] = (
            "openai_api_key",
            _named(installed, next(one for one in ("openai", "openai-agents", "langchain-openai") if one in installed.names)),
        )
    if secrets:
        part.add("secrets_environment", secrets, "certain", ", ".join(dict.fromkeys(where.values())), "variables that the source reads")
    if environment:
        one = part.found.get("backend_image_environment")
        part.add("environment", environment, "certain", one.where if one else "", one.why if one else "variables that the source reads")
    if "database_user" in files:
        environment |= {"PGSSLMODE": "verify-full"}
        part.add("environment", environment, "certain", "", "parts of the database's address, and TLS for every driver")
    if files:
        part.add("secrets_files", files, "certain", "", "parts of the database's address, for an application that puts it together itself")


def _fetched(application: Application, name: str) -> bool:
    """Whether the source asks this address for the keys of tokens: then it is the frontend's inside the network, not the public one."""
    place = r"/(api/auth|\.well-known|jwks)"
    near = re.compile(r"api/auth|\.well-known|jwks", re.I)
    pattern = re.compile(rf"\{{[^{{}}]*\b{name}\b[^{{}}]*\}}{place}|\b{name}\b[\w.()/ \"']*\+\s*[fr]?[\"']{place}", re.I)
    texts = (text for text in variables.python_texts(application) if text and name.lower() in text.lower() and near.search(text))
    return any(pattern.search(text) for text in texts)


def _database_part(name: str, read: variables.Read, environment: dict[str, Any], secrets: dict[str, str], files: dict[str, str]) -> None:
    if not (match := variables.PARTS.match(name)):
        return
    part = variables.PART[match[2]]
    if part == "host":
        environment[name] = "@database_host@"
    elif part == "port":
        environment[name] = "@database_port@"
    elif part == "name":
        environment[name] = "@database_name@"
    elif part == "user":
        secrets[name], files["database_user"] = "database_user", "backend_g{generation}"
    else:
        secrets[name], files["database_password"] = "database_password", "{backend_password}"


# --- further processes ------------------------------------------------------------------------------------------------------------


def _processes(part: Part, commands: list[Process], entries: list[Entry], application: Application, routes: Routes) -> None:
    entry, services = entries[0], dict[str, dict[str, Any]]()
    for one in commands:
        if (one.app and _fits(entry, one.app)) or not one.own or not one.command or re.fullmatch(r"release|web", one.name):
            continue
        if any(
            "uvicorn.run(" in (application.tree.text(posixpath.join(entry.folder, word)) or "")
            for word in one.command
            if word.endswith(".py")
        ):
            continue  # a program that starts the application
        other = next((each for each in entries if one.app and _fits(each, one.app)), None)
        if other and one.port and re.fullmatch(r"[a-z][a-z0-9-]{0,19}", one.name):
            # It is reached by its name, which is that of the compose file's.
            command = ["python3", "-m", "uvicorn", one.app, "--port", str(one.port), *(["--factory"] if one.factory else [])]
            healthy = [route.path for route in routes.of(other.path, other.name) if route.get and HEALTHY.match(route.path)]
            services[one.name] = {"command": command, "expose": [one.port], "health_path": min(healthy, key=len) if healthy else "/docs"}
            why = "processes of the same source that answer requests"
            part.found["stack_services"] = Found("stack_services", services, "likely", one.where, why)
        else:
            part.notes.append(
                f"a further process of the backend: {one.name} ({one.where}) runs {' '.join(one.command)}; it does not run by itself"
            )
    own = next((one for one in commands if one.own and one.app and _fits(entry, one.app) and one.environment), None)
    own = own or next((one for one in commands if one.own and not one.command and one.environment), None)
    names = "|".join(services)
    for name, value in own.environment.items() if own else ():
        if names and re.match(rf"\w+://({names})[:/]", value):
            found = part.found.get("backend_image_environment")
            part.add(
                "environment",
                (dict(found.value) if found else {}) | {name: value},
                "certain",
                own.where if own else "",
                "addresses of its processes",
            )
            part.todo = [line for line in part.todo if f".{name}:" not in line]
    started = {one.app for one in commands}
    for other in entries[1:4]:
        if other.path != entry.path and other.app not in started and not any(_fits(other, str(app)) for app in started if app):
            part.notes.append(
                f"another application in the backend's source: {other.app} ({other.where}); as a process of its own: stack_services"
            )
