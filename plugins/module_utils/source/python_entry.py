"""Which ASGI application a backend's source has: candidates in their order, with the directories that imports and dependencies are in.

Nothing of the source is imported or run.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .checks import TESTS, Tree, line_of
from .processes import Process
from .python_dependencies import toml
from .python_modules import Application, bound, imports
from .python_routes import APPLICATIONS, called

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


def entries(application: Application, commands: list[Process], given: dict[str, Any]) -> list[Entry]:
    """All candidates, the best first."""
    tree = application.tree
    candidates = [
        entry
        for path in tree.files
        if path.endswith(".py") and not TESTS.search(path) and not AWAY.search(path)
        for entry in _of_file(application, path)
    ]
    started = [(one.app, one.where, one.factory, 100.0) for one in commands if one.app]
    if tool := toml(tree, "pyproject.toml").get("tool", {}).get("fastapi", {}).get("entrypoint"):
        started.append((tool, "pyproject.toml", False, 100.0))
    started += [(app, where, False, 40.0) for app, where in _run_by_code(tree)]
    if app := given.get("backend_image_app"):
        started = [(str(app), "", False, 1000.0)]
        candidates += [] if any(fits(one, str(app)) for one in candidates) else _imported(application, str(app))
    for app, where, factory, worth in started:
        matching = [one for one in candidates if fits(one, app)] or _imported(application, app)
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


def fits(entry: Entry, app: str) -> bool:
    """Whether `app`, module:attribute, is this application, from whichever directory the module is imported."""
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
