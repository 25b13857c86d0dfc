"""What a backend's source says about how it is built and run: entry point, directories, Python, port, health, migrations, database.

Nothing of it is imported or run. A value that somebody has set (`given`) is taken as it is, and what follows from it is found by it.
"""

from __future__ import annotations

import ast
import itertools
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import uploads, variables
from .checks import TESTS, Tree, line_of
from .fastapi import HEALTHY
from .found import Part, Secret
from .found_database import database, other_scheme
from .found_services import processes, queue
from .outgoing import hosts
from .processes import Process, claimed, declared_processes
from .python_dependencies import Declared, Options, clean, declared
from .python_entry import AWAY, Entry, entries, fits
from .python_modules import Application
from .python_release import python
from .python_routes import Route, Routes, called, keyword
from .tree import select

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


def backend(root: str | os.PathLike[str], given: dict[str, Any], beside: Path | None = None) -> tuple[Part, list[Route]]:
    """(what was found, the application's routes). `given`: values of the role's variables that somebody has set, by their whole names;
    `beside`: a directory above the source whose compose file describes it, too."""
    part = Part("backend")
    tree = Tree(root, select(root, "fastapi", role="backend_image"))
    options = Options()
    raw = Application(tree, options)
    commands = declared_processes(tree, beside)
    candidates = entries(raw, commands, given)
    if not candidates:
        _none(part, tree)
        return part, []
    entry = candidates[0]
    commands = claimed(commands, entry.folder)
    _say_entry(part, candidates, given)
    app_root, pythonpath = _directories(part, tree, entry, given)
    options.app, options.app_root, options.pythonpath = entry.app, app_root, pythonpath
    _dependencies(part, tree, entry, options, given)
    options.python = python(part, raw, tree, entry, given)
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
    part.outgoing = hosts(tree, code, {name: installed.where(name) for name in installed.names})
    _migrations(part, tree, application, installed, app_root, entry)
    database(part, application, installed, reads)
    uploads.of_backend(part, tree)
    _sockets(part, tree, installed)
    answered = queue(part, commands, installed, reads)
    reads = {name: read for name, read in reads.items() if name not in answered}
    _environment(part, application, installed, reads, by_file, entry)
    processes(part, commands, candidates, application, declared_routes)
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


# --- directories, dependencies ----------------------------------------------------------------------------------------------------


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
        where = ", ".join(installed.where(name) for name in needing)
        part.add(
            "extra_run_packages",
            packages,
            "likely",
            where,
            f"libraries that {' and '.join(needing)} {'loads' if len(needing) == 1 else 'load'}",
        )


# --- port, health -----------------------------------------------------------------------------------------------------------------


def _port(part: Part, tree: Tree, commands: list[Process], entry: Entry) -> None:
    own = [one for one in commands if one.app and fits(entry, one.app) and one.port]
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


def _sockets(part: Part, tree: Tree, installed: Declared) -> None:
    """uvicorn refuses WebSockets without a package for them, which is none of its own dependencies."""
    packages = {"websockets", "wsproto", "uvicorn[standard]", "fastapi[standard]", "fastapi[all]"}
    if packages & {*installed.names, *installed.extras} or (installed.opaque and not installed.names):
        return
    for path in tree.files:
        text = tree.text(path) or "" if path.endswith(".py") and not TESTS.search(path) else ""
        if match := re.search(r"@\w+\.websocket\(|\bWebSocketRoute\(|\.add_api_websocket_route\(", text):
            where = f"{path}:{line_of(text, match.start())}"
            part.notes.append(
                f"the backend's WebSockets ({where}) need websockets or uvicorn[standard] among its dependencies: uvicorn refuses them"
            )
            return


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
    open_paths = [route for route in routes if route.get and route.path == "/" and not _redirects(application, route)]
    if open_paths:
        part.add("health_path", "/", "likely", open_paths[0].where, "no route for health; this one answers without a parameter")
    elif not disabled(application, entry, "openapi_url") and not disabled(application, entry, "docs_url"):
        part.add("health_path", "/docs", "likely", entry.where, "no route for health; FastAPI's own page shows that it serves")
    else:
        part.add("health_path", "/health", "guess", entry.where, "no route for health, and FastAPI's own pages are switched off")
        part.problems.append(
            "the backend has no health route: add GET /health, or set backend_image_health_path to a path that answers 200"
        )


def _redirects(application: Application, route: Route) -> bool:
    """Whether a route answers with another address, as far as the lines below it say."""
    path, _, line = route.where.rpartition(":")
    lines = (application.tree.text(path) or "").splitlines()[int(line) - 1 : int(line) + 8] if line.isdigit() else []
    body = "\n".join(lines[:1] + list(itertools.takewhile(lambda one: not one.startswith("@"), lines[1:])))
    return "RedirectResponse" in body


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


# --- environment ------------------------------------------------------------------------------------------------------------------


def _environment(
    part: Part, application: Application, installed: Declared, reads: dict[str, variables.Read], by_file: bool, entry: Entry
) -> None:
    environment, secrets, files = (
        dict(part.found[f"backend_image_{setting}"].value) if f"backend_image_{setting}" in part.found else {}
        for setting in ("environment", "secrets_environment", "secrets_files")
    )
    where = {}
    for name, read in sorted(reads.items()):
        what = variables.kind(name)
        given_by_file = f"{name}_FILE" in reads or (by_file and name in ("DATABASE_URL", "OPENAI_API_KEY"))
        if what == "database" and not given_by_file:
            secrets[name], where[name] = "database_url", read.where
            if scheme := other_scheme(part, installed, name):
                # As the address that all have, for another driver; TLS is the environment's, whose names all drivers read.
                secrets[name], environment["PGSSLMODE"] = name.lower(), "verify-full"
                login = "backend_g{generation}:{backend_password:url}"
                files[name.lower()] = f"{scheme}://{login}@@database_host@:@database_port@/@database_name@"
        elif what == "model" and not given_by_file:
            secrets[name], where[name] = "openai_api_key", read.where
        elif what == "part":
            _database_part(name, read, environment, secrets, files)
        elif what == "secret" and re.fullmatch(r"(builtins\.)?(bool|int|float)", read.type):
            continue
        elif (what in ("own key", "secret") or variables.beside_a_secret(name, reads)) and not given_by_file and not name.endswith("_FILE"):
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
            installed.where(next(one for one in ("openai", "openai-agents", "langchain-openai") if one in installed.names)),
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
        part.add("secrets_files", files, "certain", "", "parts of addresses, for an application that puts them together itself")


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
