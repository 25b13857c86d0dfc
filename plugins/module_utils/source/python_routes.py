"""The routes of a FastAPI (or Starlette) application with their whole paths, without importing any of it.

Followed are routers, their prefixes, `include_router`, `mount` and the names that modules import from each other. A prefix that is no
literal is looked up by its last name (settings.API_V1_STR), where the source assigns one text to it. What is put together at run time is
not found.
"""

from __future__ import annotations

import ast
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from .checks import TESTS
from .python_modules import Application

APPLICATIONS = {"FastAPI", "Starlette", "FastMCP", "Litestar", "Quart"}
ROUTERS = {"APIRouter", "Router"} | APPLICATIONS
METHODS = {"get", "post", "put", "patch", "delete", "head", "options", "websocket", "route", "api_route", "websocket_route"}
# What a file that has to do with routes has in it.
ROUTING = re.compile(r"[Rr]outer|FastAPI|Starlette|\.mount\(|Route\(|Mount\(|@\w+\.(?:get|post|put|patch|delete|websocket|api_route)\(")
CONSTANT = re.compile(
    r"""^[ \t]*(\w+)[ \t]*(?::[^=\n"']+)?=[ \t]*(?:Field\(\s*(?:default\s*=\s*)?)?["']([\w./{}:-]{1,80})["'][ \t]*(?:[,)].*)?(?:#.*)?$""",
    re.M,
)
# Routes of a list, which some application is given.
ANY = "*"
ADDERS = {"add_api_route", "add_route", "add_websocket_route", "add_api_websocket_route"}


@dataclass(frozen=True)
class Route:
    """One path of an application. `everything`: whatever is below it, too (a mount)."""

    path: str
    where: str
    get: bool = True
    everything: bool = False
    hidden: bool = False  # an application or a file server of its own


@dataclass
class _File:
    """What one file declares. Names are of the file, whatever function they are in."""

    path: str
    made: dict[str, str] = field(default_factory=dict)  # router or application: its prefix
    applications: set[str] = field(default_factory=set)
    routes: list[tuple[str, Route]] = field(default_factory=list)
    included: list[tuple[str, ast.expr, str, int]] = field(default_factory=list)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)  # imported name: (file, name in it, or empty for the module)
    loops: dict[str, list[ast.expr]] = field(default_factory=dict)  # variable of a loop: what it goes through


def called(node: ast.AST) -> str:
    """The last name of what a call calls."""
    function = node.func if isinstance(node, ast.Call) else node
    return function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""


def keyword(node: ast.Call, name: str) -> ast.expr | None:
    return next((one.value for one in node.keywords if one.arg == name), None)


class Routes:
    """The routes of all files of an application's source."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.texts = _constants(application)
        self.files: dict[str, _File] = {}
        self.unknown: list[str] = []  # where a prefix is put together at run time
        self.aliases: dict[str, str] = {}  # name in a file: the name that the module has for it
        for path in application.tree.files:
            if not path.endswith(".py") or TESTS.search(path) or not ROUTING.search(application.tree.text(path) or ""):
                continue
            if body := application.parsed(path):
                self.files[path] = self._read(path, body)

    def text(self, node: ast.expr | None) -> str | None:
        """The text that an expression is, as far as the source tells."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if isinstance(node, ast.JoinedStr):
            parts = [self.text(one.value if isinstance(one, ast.FormattedValue) else one) for one in node.values]
            return None if None in parts else "".join(map(str, parts))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left, right = self.text(node.left), self.text(node.right)
            return None if left is None or right is None else left + right
        if isinstance(node, (ast.Attribute, ast.Name)):
            values = self.texts.get(called(node), set()) or self.texts.get(self.aliases.get(called(node), ""), set())
            return next(iter(values)) if len(values) == 1 else None
        return None

    def _read(self, path: str, body: ast.Module) -> _File:
        found = _File(path)
        for node in ast.walk(body):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                found.names.update(self._imported(path, node))
            elif isinstance(node, (ast.Assign, ast.AnnAssign)) and isinstance(node.value, ast.Call) and called(node.value) in ROUTERS:
                for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                    if isinstance(target, ast.Name):
                        found.made[target.id] = self.text(keyword(node.value, "prefix")) or ""
                        if called(node.value) in APPLICATIONS:
                            found.applications.add(target.id)
            elif isinstance(node, ast.For) and isinstance(node.target, ast.Name) and isinstance(node.iter, (ast.Tuple, ast.List)):
                found.loops[node.target.id] = node.iter.elts
            elif (
                isinstance(node, ast.Call)
                and called(node) in ("Route", "WebSocketRoute", "Mount")
                and (text := self.text(node.args[0] if node.args else keyword(node, "path")))
            ):
                mounted = called(node) == "Mount"
                found.routes.append(
                    (ANY, Route(text.rstrip("/") or "/", f"{path}:{node.lineno}", called(node) == "Route", mounted, mounted))
                )
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                self._call(found, node, node.func)
        return found

    def _call(self, found: _File, node: ast.Call, function: ast.Attribute) -> None:
        owner, name = called(function.value), function.attr
        first = node.args[0] if node.args else keyword(node, "path")
        if name in METHODS | ADDERS:
            text = self.text(first)
            if text is not None and (text.startswith("/") or text == "") and (name in ADDERS or len(node.args) < 2 or name != "get"):
                methods = [str(self.text(one)).upper() for one in getattr(keyword(node, "methods"), "elts", [])] or ["GET"]
                get = name in ("get", "route") or (name in ("api_route", *ADDERS) and "GET" in methods)
                found.routes.append((owner, Route(text, f"{found.path}:{node.lineno}", get)))
        elif name == "include_router" and first is not None:
            prefix = keyword(node, "prefix")
            if prefix is not None and self.text(prefix) is None:
                self.unknown.append(f"{found.path}:{node.lineno}")
            found.included.append((owner, first, self.text(prefix) or "", node.lineno))
        elif name == "mount" and (text := self.text(first)):
            found.routes.append((owner, Route(text.rstrip("/") or "/", f"{found.path}:{node.lineno}", False, True, True)))

    def _imported(self, path: str, node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, tuple[str, str]]]:
        application = self.application
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname and (entry := application.resolve(alias.name)):
                    yield alias.asname, (entry[1], "")
            return
        module = node.module or ""
        if node.level:
            package = application.package_of(path).split(".") if application.package_of(path) else []
            module = ".".join([*package[: len(package) - node.level + 1], *([module] if module else [])])
        entry = application.resolve(module) if module else None
        for alias in node.names:
            if alias.asname:
                self.aliases[alias.asname] = alias.name
            below = application.resolve(f"{module}.{alias.name}" if module else alias.name)
            if below and below[0] != "namespace":
                yield alias.asname or alias.name, (below[1], "")
            elif entry and entry[1].endswith(".py"):
                yield alias.asname or alias.name, (entry[1], alias.name)

    def _target(self, file: str, node: ast.expr, depth: int = 0) -> tuple[str, str] | None:
        """(file, name) of the router that an expression means."""
        here = self.files.get(file)
        if here is None or depth > 4:
            return None
        if isinstance(node, ast.Name):
            if node.id in here.made:
                return file, node.id
            if node.id in here.names:
                path, name = here.names[node.id]
                return self._target(path, ast.Name(name), depth + 1) if name else None
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in here.names:
            path, name = here.names[node.value.id]
            if not name:
                return self._target(path, ast.Name(node.attr), depth + 1)
        return None

    def of(self, entry: str, attribute: str = "") -> list[Route]:
        """The routes of the application in the file `entry`, called `attribute` there; those of an application that a function makes have
        its local name."""
        found: dict[str, Route] = {}
        own = self.files.get(entry)
        if own is None:
            return []
        name = attribute if attribute in own.made else next(iter(sorted(own.applications)), "")
        reached: set[tuple[str, str]] = set()
        for route in self._below(entry, name, "", reached, ()):
            found.setdefault(route.path, route) if not route.get else found.update({route.path: route})
        # Of a function that is given the application, the name for it is none of the file's own: its routes are the application's.
        for path, file in self.files.items():
            for route in self._unknown(file, reached) if path != entry else (each for owner, each in file.routes if owner == ANY):
                found.setdefault(route.path, route)
        return sorted(found.values(), key=lambda route: route.path)

    def _unknown(self, file: _File, reached: set[tuple[str, str]]) -> Iterator[Route]:
        imported = set(file.names)
        for owner, route in file.routes:
            known = owner in file.made or owner in imported
            if owner == ANY or (owner in ("app", "application", "api", "fastapi_app", "server") and not known):
                yield route
        for owner, node, prefix, line in file.included:
            if owner not in file.made and owner not in imported:
                yield from self._include(file.path, node, prefix, line, reached, ())

    def _below(
        self, file: str, name: str, prefix: str, reached: set[tuple[str, str]], above: tuple[tuple[str, str], ...]
    ) -> Iterator[Route]:
        if (file, name) in above:
            return
        reached.add((file, name))
        here, above = self.files[file], (*above, (file, name))
        start = prefix + here.made.get(name, "")
        for owner, route in here.routes:
            if owner == name:
                path = (start + route.path) or "/"
                yield Route(posixpath.normpath(path) + ("/" if path.endswith("/") and path != "/" else ""), route.where, route.get,
                            route.everything, route.hidden)  # fmt: skip
        for owner, node, more, line in here.included:
            if owner == name:
                for each in self._each(here, node):
                    yield from self._include(file, each, start + more, line, reached, above)

    @staticmethod
    def _each(here: _File, node: ast.expr) -> Iterator[ast.expr]:
        """A router, or all of those that a loop goes through."""
        if isinstance(node, ast.Name) and node.id in here.loops:
            yield from here.loops[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in here.loops:
            yield from (ast.Attribute(each, node.attr) for each in here.loops[node.value.id])
        else:
            yield node

    def _include(
        self, file: str, node: ast.expr, prefix: str, line: int, reached: set[tuple[str, str]], above: tuple[tuple[str, str], ...]
    ) -> Iterator[Route]:
        if target := self._target(file, node):
            yield from self._below(*target, prefix, reached, above)
        elif prefix:
            # A router that a library makes (fastapi_users.get_auth_router()).
            yield Route(prefix, f"{file}:{line}", False, True)


def _constants(application: Application) -> dict[str, set[str]]:
    """{name: the texts that the source assigns to it}. By expression: to walk all trees for it takes as long as the rest."""
    found: dict[str, set[str]] = {}
    for path in application.tree.files:
        if path.endswith(".py") and not TESTS.search(path):
            for match in CONSTANT.finditer(application.tree.text(path) or ""):
                found.setdefault(match[1], set()).add(match[2])
    return found
