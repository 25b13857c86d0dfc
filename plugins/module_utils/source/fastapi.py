"""Check the source of a FastAPI (any ASGI) application as an image would run it, without importing any of it.

Modules are followed from the entry point, as Python would import them: what nothing imports cannot stop the application, and
is a warning. Certain failures are errors; what only may fail is a warning.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from . import demanded, variables
from .checks import LOCALHOST, TESTS, Tree, credentials
from .environment import Reads, documented
from .findings import finding
from .found_database import DRIVERS
from .python_dependencies import Declared, Options, declared, dependency_findings
from .python_imports import ImportGraph
from .python_modules import Application, bound, imports
from .tree import select

BUILT_IN_PATHS = {"/docs", "/redoc", "/openapi.json"}
ASGI = re.compile(r"^(\w+)\s*(?::[^=\n]+)?=\s*(?:[\w.]+\.)?(?:FastAPI|create_app|get_app|get_application|make_app)\s*\(", re.M)
HEALTHY = re.compile(r"^/(?:[\w.-]+/)*(health[\w-]*|livez?|liveness|readyz?|readiness|ping|status|up|heartbeat|_health)/?$")
# How a variable is read.
READ = r"[\"']{name}[\"']|process\.env\.{name}\b|^\s+(?i:{name})\s*:"


def check(root: str, options: Options, tree: Tree | None = None) -> list[dict[str, Any]]:
    """All findings about the source at `root`; `tree`, where its files have been listed already."""
    tree = tree or Tree(root, select(root, "fastapi", role=options.role), options.role)
    application = Application(tree, options)
    dependencies, locked = declared(tree, options)
    out: list[dict[str, Any]] = []
    out += dependency_findings(tree, options, dependencies, locked)
    application.paths += [root for root in dependencies.roots() if root not in application.paths]
    starts, wrong = _entry(application)
    graph = ImportGraph(application, dependencies)
    # Alembic runs it with a search path of its own.
    reachable = graph.follow(starts, [path for path in tree.files if starts and re.search(r"(^|/)(alembic|migrations)/env\.py$", path)])
    out += wrong + graph.findings
    if reachable:
        for path in tree.files:
            if path.endswith(".py") and path not in reachable and not TESTS.search(path):
                application.parsed(path)
                if path in application.problems:
                    out.append(application.parse_finding(path, application.problems[path], False))
        out += _health(application, reachable)
        out += _localhost(application, reachable)
        out += demanded.check(application, graph.loaded)
        out += _sqlite(application, reachable, dependencies)
    out += credentials(tree)
    sources = [path for path in tree.files if path.endswith(".py") and not TESTS.search(path)]
    out += documented(tree, options.environment, Reads(tree, sources, READ), f"{options.role}_extra_environment")
    return out


def _entry(application: Application) -> tuple[list[str], list[dict[str, Any]]]:
    """The files that the interpreter starts from, none where the entry point is not there, and what is wrong with the entry point."""
    options, tree, found = application.options, application.tree, []
    module, _, attribute = options.app.partition(":")
    entry = application.resolve(module)
    if not entry or entry[0] == "namespace":
        return [], [_no_entry(application, module)]
    body = application.parsed(entry[1])
    names = bound(body) if body else None
    if attribute and names is not None and attribute.partition(".")[0].partition("(")[0] not in names:
        candidates = [f"{module}:{name}" for path, name in _asgi(tree) if path == entry[1]]
        advice = f"set {options.role}_app: {candidates[0]}" if candidates else f"set {options.role}_app"
        found.append(finding("entry", "error", f"{options.app} is the entry point, and {entry[1]} has no {attribute}", entry[1], advice))
    parts = module.split(".")
    packages = [p[1] for n in range(1, len(parts)) if (p := application.resolve(".".join(parts[:n]))) and p[0] == "package"]
    return [entry[1], *packages], found


def _asgi(tree: Tree) -> Iterator[tuple[str, str]]:
    """(file, name) of each probable application."""
    for path in tree.files:
        if path.endswith(".py") and not TESTS.search(path):
            for match in ASGI.finditer(tree.text(path) or ""):
                yield path, match[1]


def _no_entry(application: Application, module: str) -> dict[str, Any]:
    tree, options = application.tree, application.options
    choices = []
    for path, name in _asgi(tree):
        folders = ["", *[str(p) for p in reversed(PurePosixPath(path).parents) if str(p) != "."]]
        body = application.parsed(path)
        tops = {i.module.partition(".")[0] for i in imports(body) if not i.level} if body else set()
        fit = {
            folder: sum(f"{folder}/{top}.py".lstrip("/") in tree.paths or f"{folder}/{top}".lstrip("/") in tree.directories for top in tops)
            for folder in folders
        }
        folder = max(folders, key=lambda f: (fit[f], f == "", -len(f)))
        dotted = path.removeprefix(folder).lstrip("/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        choices.append(
            (
                path.count("/"),
                f"{options.role}_app: {dotted}:{name}" + (f" with {options.role}_app_root: {folder}" if folder != application.root else ""),
            )
        )
    advice = " or ".join(text for _, text in sorted(choices)[:3])
    return finding(
        "entry",
        "error",
        f"{options.app} is the entry point, and there is no module {module} in {' or '.join(p or '.' for p in application.paths)}",
        application.root or ".",
        f"set {advice}" if advice else f"set {options.role}_app and {options.role}_app_root",
    )


def _strings(application: Application) -> Iterator[tuple[str, int, str]]:
    for path in application.tree.files:
        if path.endswith(".py") and not TESTS.search(path) and (body := application.parsed(path)):
            for node in ast.walk(body):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200:
                    yield path, node.lineno, node.value


def _health(application: Application, reachable: set[str]) -> Iterator[dict[str, Any]]:
    options = application.options
    expected = "/" + options.health_path.split("?")[0].strip("/")
    if expected in BUILT_IN_PATHS or expected == "/":
        return
    others: dict[str, str] = {}
    catch_all = False
    for path, line, text in _strings(application):
        spelled = text.rstrip("/")
        if spelled == expected or (len(spelled) > 1 and expected.endswith("/" + spelled.lstrip("/"))):
            return
        catch_all |= bool(re.search(r"\{\w+:path\}", text))
        if HEALTHY.match(text):
            others.setdefault(text, f"{path}:{line}")
    dependencies, _ = declared(application.tree, options)
    # A module that is started and cannot be parsed may have it.
    unread = reachable & application.problems.keys()
    if any("health" in name for name in dependencies.names) or catch_all or unread:
        return
    advice = (
        f"set {options.role}_health_path: {next(iter(others))}"
        if others
        else f"add such a route, or set {options.role}_health_path (for example /docs)"
    )
    alternatives = "; there is " + ", ".join(f"{text} ({where})" for text, where in list(others.items())[:3]) if others else ""
    yield finding("health", "error", f"the health path {options.health_path} is nowhere in the source{alternatives}", options.app, advice)


def _reads_database(application: Application, reachable: set[str]) -> bool:
    """Whether the modules that run learn from the environment where their database is."""
    reads = variables.of_python(application).items()
    return any(variables.kind(name) in ("database", "part") and read.where.rpartition(":")[0] in reachable for name, read in reads)


def _connects(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Whether an address is what a connection is made to: an argument of a call that makes it, or a name of its own."""
    up = parents.get(node)
    if isinstance(up, ast.keyword):
        up = parents.get(up)
    if isinstance(up, (ast.Assign, ast.AnnAssign)):
        return isinstance(parents.get(up), ast.Module)
    return isinstance(up, ast.Call) and bool(re.search(r"(^|\.)(create_(async_)?engine|connect|create_pool)$", ast.unparse(up.func)))


SQLITE = re.compile(r"^sqlite(?:\+\w+)?:///(?!/tmp/|:memory:|file:|$)")


def _sqlite(application: Application, reachable: set[str], dependencies: Declared) -> Iterator[dict[str, Any]]:
    """A database in a file of the image: the file system is read-only, and each release has its own."""
    options, at = application.options, ""
    for path in sorted(reachable):
        text = application.tree.text(path) or ""
        if TESTS.search(path) or not re.search(r"sqlite(\+\w+)?:///", text) or not (body := application.parsed(path)):
            continue
        parents = {child: up for up in ast.walk(body) for child in ast.iter_child_nodes(up)}
        for node in ast.walk(body):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQLITE.match(node.value) and _connects(node, parents):
                at = at or f"{path}:{node.lineno}"
    if any(name in dependencies.names for name in DRIVERS) or any(
        re.search(r"\[(asyncpg|postgres|psycopg)", one) for one in dependencies.extras
    ):
        return
    driver = "a driver for PostgreSQL to the dependencies (asyncpg, psycopg[binary])"
    if at and not _reads_database(application, reachable):
        message = "the database is an SQLite file in the image, whose file system is read-only: no table can be made"
        yield finding("sqlite", "error", message, at, f"read DATABASE_URL from the environment, which is given, and add {driver}")
    elif dependencies.names.keys() & {"sqlalchemy", "sqlmodel"} and not dependencies.opaque and _reads_database(application, reachable):
        message = "the dependencies name no driver for PostgreSQL, of which the source is given the address"
        scratch = f"{options.role}_extra_environment.DATABASE_URL: sqlite+aiosqlite:////tmp/app.db"
        lose = f"; or, for data that a restart may lose, set {scratch}" if "aiosqlite" in dependencies.names else ""
        yield finding("sqlite", "warning", message, dependencies.file, f"add {driver}{lose}")


def _localhost(application: Application, reachable: set[str]) -> Iterator[dict[str, Any]]:
    options, reads_database = application.options, _reads_database(application, reachable)
    for path in sorted(reachable):
        text = application.tree.text(path)
        if not text or not LOCALHOST.search(text) or TESTS.search(path) or not (body := application.parsed(path)):
            continue
        parents = {child: node for node in ast.walk(body) for child in ast.iter_child_nodes(node)}
        for node in ast.walk(body):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            match = LOCALHOST.search(node.value)
            if not match or match[1] == str(options.port):
                continue
            verdict = _address_use(node, parents)
            if verdict is None:
                continue
            where = f"{path}:{node.lineno}"
            if verdict:
                if verdict not in options.environment and f"{verdict}_FILE" not in options.environment:
                    message = f"{verdict} is not given and defaults to {match[0]}, which is the container itself"
                    yield finding("localhost", "warning", message, where, f"set {options.role}_extra_environment.{verdict}")
            else:
                message = f"{match[0]} is hard-coded; in a container that is the container itself"
                advice = f"read it from the environment, and set it in {options.role}_extra_environment"
                # The database of the stack has another address, of which such a source does not learn.
                severity = "error" if match[0].startswith("postgres") and _connects(node, parents) and not reads_database else "warning"
                if severity == "error":
                    advice = 'read DATABASE_URL from the environment, which is given: os.environ["DATABASE_URL"]'
                yield finding("localhost", severity, message, where, advice)


def _address_use(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> str | None:
    """The variable whose default an address is, empty for one that is hard-coded, None for one that does no harm."""
    up, child = parents.get(node), node
    while up is not None:
        if isinstance(up, ast.Expr) and child is node:
            return None  # a docstring
        if isinstance(up, ast.Call):
            called = ast.unparse(up.func)
            if (
                called in ("os.getenv", "getenv", "os.environ.get", "environ.get", "config", "env", "env.str")
                and up.args
                and isinstance(up.args[0], ast.Constant)
            ):
                return str(up.args[0].value)
            if re.search(r"(^print$|log(ger|ging)?\.\w+$|warn$|add_middleware$|Exception$|Error$)", called):
                return None
        named = [getattr(up, "arg", "")] if isinstance(up, ast.keyword) else []
        if isinstance(up, (ast.Assign, ast.AnnAssign)):
            targets = up.targets if isinstance(up, ast.Assign) else [up.target]
            named += [getattr(t, "id", getattr(t, "attr", "")) for t in targets]
        if any(re.search(r"origin|cors|allowed|hosts|example|description|whitelist|trusted|docs?$", str(name), re.I) for name in named):
            return None
        if isinstance(up, (ast.List, ast.Tuple, ast.Set)) and not isinstance(parents.get(up), ast.Call):
            holder = parents.get(up)
            if isinstance(holder, (ast.Assign, ast.AnnAssign, ast.keyword, ast.BinOp, ast.Compare, ast.Return)):
                return None  # a list of addresses is one of those that are let in
        if isinstance(up, ast.If) and "__main__" in ast.unparse(up.test):
            return None
        if isinstance(up, (ast.Raise, ast.Compare, ast.Assert)):
            return None
        holder = parents.get(up)
        if isinstance(up, (ast.Assign, ast.AnnAssign)) and isinstance(holder, ast.ClassDef) and named:
            bases = " ".join(ast.unparse(b) for b in holder.bases)
            if re.search(r"Settings|Config", bases + holder.name):
                return str(named[-1]).upper()
        child, up = up, parents.get(up)
    return ""
