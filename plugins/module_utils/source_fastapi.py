"""Look at the source of a FastAPI (any ASGI) application as an image would run it, without importing any of it.

Modules are followed from the entry point, as Python would import them: what nothing imports cannot stop the application, and is
judged more mildly. Certain failures are errors; what only may fail is a warning.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from ansible.module_utils import python_packages as packages
from ansible.module_utils.findings import finding
from ansible.module_utils.python_dependencies import Declared, Options, clean, declared, judge
from ansible.module_utils.python_packages import normal
from ansible.module_utils.source_common import (
    LOCALHOST,
    TESTS,
    Tree,
    credentials,
    documented,
    line_of,
    merge_marks,
    release,
)

BUILT_IN_PATHS = {"/docs", "/redoc", "/openapi.json"}
# Syntax that Python 3.11 has not: where this is found, an older parser's complaint proves nothing.
NEWER_SYNTAX = re.compile(
    r"^\s*type\s+\w+.*=|^\s*(?:async\s+)?def\s+\w+\s*\[|^\s*class\s+\w+\s*\[|\bf[rR]?([\"']).*\{[^}\"']*\1|^\s*except\s+\w+\s*,", re.M
)


@dataclass
class Import:
    module: str
    names: list[str]
    level: int
    line: int
    hard: bool  # runs when the module is imported, and nothing catches its failure
    lazy: bool  # runs later, when a function is called


class Application:
    """The source, its entry point and what is reachable from there."""

    def __init__(self, tree: Tree, options: Options) -> None:
        self.tree, self.options = tree, options
        self.root = clean(options.app_root)
        self.paths = [self.root]
        for entry in filter(None, options.pythonpath.split(":")):
            inside = entry.removeprefix("/app").lstrip("/") if entry.startswith("/app") else f"{self.root}/{entry}".lstrip("/")
            parts: list[str] = []
            for part in inside.split("/"):
                if part == ".." and parts:
                    parts.pop()
                elif part not in ("", "."):
                    parts.append(part)
            self.paths.append("/".join(parts))
        self._parsed: dict[str, ast.Module | None] = {}
        self.problems: dict[str, SyntaxError] = {}
        self.compiled = [file for file in tree.files if file.endswith(".so")]

    # --- parsing ---

    def parsed(self, path: str) -> ast.Module | None:
        if path not in self._parsed:
            text, tree = self.tree.text(path), None
            if text is not None:
                try:
                    wanted = release(self.options.python)[:2]
                    tree = ast.parse(text, path, feature_version=wanted if wanted < sys.version_info[:2] else None)
                except SyntaxError as error:
                    self.problems[path] = error
                except ValueError as error:  # null bytes
                    self.problems[path] = SyntaxError(str(error), (path, 1, 1, ""))
            self._parsed[path] = tree
        return self._parsed[path]

    def parse_finding(self, path: str, error: SyntaxError, reachable: bool) -> dict[str, Any]:
        merge = merge_marks(self.tree, path)
        if merge:
            return merge | {"severity": "error" if reachable else "warning"}
        where, told = f"{path}:{error.lineno or 1}", f"Python cannot parse this: {error.msg}"
        newer = sys.version_info[:2] < release(self.options.python)[:2] and NEWER_SYNTAX.search(self.tree.text(path) or "")
        if newer:
            return finding(
                "parse",
                "warning",
                f"Python {sys.version_info[0]}.{sys.version_info[1]} here cannot parse this ({error.msg}), "
                f"{self.options.python} in the image may",
                where,
            )
        advice = "correct it" if reachable else "correct it, or leave it: nothing that is started imports it"
        if NEWER_SYNTAX.search(self.tree.text(path) or ""):
            advice = f"correct it, or set {self.options.role}_debian_release: trixie for Python 3.13"
        return finding("parse", "error" if reachable else "warning", told, where, advice)

    # --- names to files ---

    def resolve(self, name: str) -> tuple[str, str] | None:
        """("module" | "package" | "namespace", path) of a dotted name, None where the source has no such module."""
        spot = name.replace(".", "/")
        namespace = None
        for base in self.paths:
            at = f"{base}/{spot}".lstrip("/")
            if f"{at}/__init__.py" in self.tree.known:
                return "package", f"{at}/__init__.py"
            if f"{at}.py" in self.tree.known:
                return "module", f"{at}.py"
            if at in self.tree.directories and namespace is None:
                namespace = at
            if any(file.startswith(f"{at}.") for file in self.compiled):
                return "module", ""
        return ("namespace", namespace) if namespace is not None else None

    def package_of(self, path: str) -> str:
        """The dotted name of the package that a file is in, as imports relative to it mean it."""
        for base in sorted(self.paths, key=len, reverse=True):
            if not base or path.startswith(base + "/"):
                inside = path[len(base) :].lstrip("/")
                return inside.rpartition("/")[0].replace("/", ".")
        return path.rpartition("/")[0].replace("/", ".")

    def elsewhere(self, top: str) -> str:
        """A directory in the source that has a module of this name, where imports do not look."""
        spots = {
            str(PurePosixPath(file).parent.parent if file.endswith(f"{top}/__init__.py") else PurePosixPath(file).parent)
            for file in self.tree.files
            if (file.endswith((f"/{top}.py", f"/{top}/__init__.py")) or file in (f"{top}.py", f"{top}/__init__.py"))
            and not TESTS.search(file)
        }
        spots |= {str(PurePosixPath(d).parent) for d in self.tree.directories if d.rpartition("/")[2] == top and not TESTS.search(d)}
        spots = {spot for spot in spots if clean(spot) not in self.paths}
        return min(spots, key=lambda s: (s.count("/"), s)) if spots else ""


def imports(tree: ast.Module) -> Iterator[Import]:
    """Every import of a module, with when it runs."""

    def caught(handlers: list[ast.ExceptHandler]) -> bool:
        names = {
            n.id if isinstance(n, ast.Name) else getattr(n, "attr", "")
            for h in handlers
            if h.type
            for n in ast.walk(h.type)
            if isinstance(n, (ast.Name, ast.Attribute))
        }
        return any(h.type is None for h in handlers) or bool(names & {"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})

    def walk(nodes: list[ast.stmt], hard: bool, lazy: bool) -> Iterator[Import]:
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, [], 0, node.lineno, hard, lazy)
            elif isinstance(node, ast.ImportFrom):
                yield Import(node.module or "", [a.name for a in node.names], node.level, node.lineno, hard, lazy)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from walk(node.body, False, True)
            elif isinstance(node, ast.Try) or type(node).__name__ == "TryStar":
                yield from walk(node.body, hard and not caught(node.handlers), lazy)
                for handler in node.handlers:
                    yield from walk(handler.body, False, lazy)
                yield from walk(node.orelse, False if caught(node.handlers) else hard, lazy)
                yield from walk(node.finalbody, hard, lazy)
            elif isinstance(node, ast.If):
                named = {getattr(n, "id", getattr(n, "attr", "")) for n in ast.walk(node.test)}
                if "TYPE_CHECKING" not in named:
                    yield from walk(node.body, False, lazy)
                yield from walk(node.orelse, hard and "TYPE_CHECKING" in named, lazy)
            else:
                for name in ("body", "orelse", "finalbody"):
                    yield from walk(getattr(node, name, []) or [], hard, lazy)
                for case in getattr(node, "cases", []):
                    yield from walk(case.body, False, lazy)

    yield from walk(tree.body, True, False)


def bound(tree: ast.Module) -> set[str] | None:
    """The names that a module has once it is imported; None where only running it would tell."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if any(a.name == "*" for a in node.names):
                return None
            names |= {a.asname or a.name for a in node.names}
            # from .sub import x also binds sub
            if node.level == 1 and node.module:
                names.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Import):
            names |= {(a.asname or a.name).partition(".")[0] for a in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if node.name == "__getattr__":
                return None
            names.add(node.name)
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif node.id in ("globals", "exec", "setattr", "__path__", "vars", "locals"):
                return None
        elif type(node).__name__ == "TypeAlias":
            names.add(node.name.id)
    return names | {"__name__", "__file__", "__doc__", "__path__", "__version__", "__all__"}


# --- the checks -------------------------------------------------------------------------------------------------------------


def check(root: str, options: Options) -> list[dict[str, Any]]:
    """All findings about the source at `root`."""
    tree = Tree(root)
    application = Application(tree, options)
    dependencies, locked = declared(tree, options)
    out: list[dict[str, Any]] = []
    out += judge(tree, options, dependencies, locked)
    reachable = _follow(application, dependencies, out)
    if reachable:
        for path in tree.files:
            if path.endswith(".py") and path not in reachable and not TESTS.search(path):
                application.parsed(path)
                if path in application.problems:
                    out.append(application.parse_finding(path, application.problems[path], False))
        out += _health(application, reachable)
        out += _localhost(application, reachable)
    out += credentials(tree)
    sources = [path for path in tree.files if path.endswith(".py") and not TESTS.search(path)]
    out += documented(tree, options.environment, _Reads(tree, sources), f"{options.role}_extra_environment")
    return out


class _Reads(dict):
    """By variable: the place in the source that reads it. Looked up only for the names that are asked for."""

    def __init__(self, tree: Tree, paths: list[str]) -> None:
        super().__init__()
        self.tree, self.paths = tree, paths

    def __contains__(self, name: object) -> bool:
        if not super().__contains__(name):
            words = re.compile(
                rf"[\"']{re.escape(str(name))}[\"']|process\.env\.{re.escape(str(name))}\b|^\s+(?i:{re.escape(str(name))})\s*:", re.M
            )
            for path in self.paths:
                text = self.tree.text(path) or ""
                if match := words.search(text):
                    self[name] = f"{path}:{line_of(text, match.start() + (match[0].startswith(chr(10))))}"
                    break
        return super().__contains__(name)


def _follow(application: Application, dependencies: Declared, out: list[dict[str, Any]]) -> set[str]:
    """Follow the imports from the entry point; return the files that are reached, none where the entry point is not there."""
    options, tree = application.options, application.tree
    module, _, attribute = options.app.partition(":")
    entry = application.resolve(module)
    if not entry or entry[0] == "namespace":
        out.append(_no_entry(application, module))
        return set()
    body = application.parsed(entry[1])
    names = bound(body) if body else None
    if attribute and names is not None and attribute.partition(".")[0].partition("(")[0] not in names:
        found = [f"{module}:{name}" for path, name in _asgi(tree) if path == entry[1]]
        out.append(
            finding(
                "entry",
                "error",
                f"{options.app} is the entry point, and {entry[1]} has no {attribute}",
                entry[1],
                f"set {options.role}_app: {found[0]}" if found else f"set {options.role}_app",
            )
        )
    queue: list[tuple[str, bool]] = [(entry[1], True)]
    parts = module.split(".")
    queue += [(p[1], True) for n in range(1, len(parts)) if (p := application.resolve(".".join(parts[:n]))) and p[0] == "package"]
    queue += [(path, True) for path in tree.files if re.search(r"(^|/)(alembic|migrations)/env\.py$", path)]
    seen: dict[str, bool] = {}
    told: set[tuple[str, str]] = set()
    while queue:
        path, certain = queue.pop(0)
        if not path or (seen.get(path, False) >= certain and path in seen):
            continue
        seen[path] = seen.get(path, False) or certain
        body = application.parsed(path)
        if body is None:
            if path in application.problems and ("parse", path) not in told:
                told.add(("parse", path))
                out.append(application.parse_finding(path, application.problems[path], certain))
            continue
        for item in imports(body):
            _one_import(application, dependencies, path, item, certain, queue, out, told)
    return set(seen)


def _one_import(
    application: Application, dependencies: Declared, path: str, item: Import, certain: bool, queue: list, out: list, told: set
) -> None:
    hard = item.hard and certain
    name = item.module
    if item.level:
        package = application.package_of(path).split(".") if application.package_of(path) else []
        if item.level > 1:
            package = package[: len(package) - (item.level - 1)]
        name = ".".join([*package, *([item.module] if item.module else [])])
        if not name:
            return
    parts = name.split(".")
    top = parts[0]
    # As Python does: every package on the way is imported, then the module, then what is named of it.
    deepest, local = 0, application.resolve(top)
    installed = {normal(top), *packages.IMPORTS.get(top, ())}
    if local and local[0] == "namespace" and not item.level and (installed & dependencies.available() or top in sys.stdlib_module_names):
        local = None  # an installed package comes before a mere directory
    if local:
        kind, file = local
        while True:
            deepest += 1
            if kind in ("package", "module"):
                queue.append((file, hard))
            if deepest == len(parts):
                break
            following = application.resolve(".".join(parts[: deepest + 1])) if kind != "module" else None
            if following is None:
                _unresolved(application, path, item, ".".join(parts[: deepest + 1]), file, hard, out, told)
                return
            kind, file = following
        names = None if kind == "namespace" else (bound(body) if (body := application.parsed(file)) else None)
        for wanted in item.names:
            if wanted == "*":
                continue
            below = application.resolve(f"{name}.{wanted}") if kind != "module" else None
            if below:
                if below[0] != "namespace":
                    queue.append((below[1], hard))
            elif kind == "namespace" or (kind == "package" and names is not None and wanted not in names and not _stub(application, file)):
                _unresolved(application, path, item, f"{name}.{wanted}", file, hard, out, told)
            elif kind == "module" and names is not None and wanted not in names and ("name", f"{name}.{wanted}") not in told:
                told.add(("name", f"{name}.{wanted}"))
                out.append(
                    finding(
                        "import",
                        "error" if hard else "warning",
                        f"{file} has no {wanted}, which is imported from it here",
                        f"{path}:{item.line}",
                        "correct the name, or commit what is missing",
                    )
                )
        return
    if item.level:
        _unresolved(application, path, item, name, "", hard, out, told)
        return
    _third_party(application, dependencies, path, item, top, hard, out, told)


def _stub(application: Application, file: str) -> bool:
    """A package that computes what it has: nothing can be said of its names."""
    text = application.tree.text(file) or ""
    return "__all__" in text and ("importlib" in text or "import_module" in text or "pkgutil" in text)


def _unresolved(application: Application, path: str, item: Import, name: str, near: str, hard: bool, out: list, told: set) -> None:
    if ("import", name) in told:
        return
    told.add(("import", name))
    options = application.options
    generated = bool(options.extra_commands) or re.search(r"generated|_pb2(_grpc)?$|_version$", name)
    if re.search(r"sys\.(modules|meta_path)", application.tree.text(near) or ""):
        return  # it finds its modules in a way of its own
    parent = name.rpartition(".")[0].replace(".", "/")
    ignored = _ignored(application.tree, name.replace(".", "/"), near)
    advice = f"commit {name.replace('.', '/')}.py" + (f" ({ignored} hides it)" if ignored else "")
    if parent and not ignored:
        advice += ", or correct the import"
    out.append(
        finding(
            "import",
            "error" if hard and not generated else "warning",
            f"imports {name}, which is not in the source",
            f"{path}:{item.line}",
            advice,
        )
    )


def _ignored(tree: Tree, path: str, near: str) -> str:
    """The line of a .gitignore that hides a path, as file:line."""
    names = set(path.split("/"))
    for file in tree.files:
        if file.rpartition("/")[2] == ".gitignore":
            for number, rule in enumerate((tree.text(file) or "").splitlines(), 1):
                if rule.strip().strip("/").removeprefix("**/") in names:
                    return f"{file}:{number}"
    return ""


def _third_party(
    application: Application, dependencies: Declared, path: str, item: Import, top: str, hard: bool, out: list, told: set
) -> None:
    options, have = application.options, release(application.options.python)[:2]
    gone = next((v for v, names in packages.REMOVED.items() if top in names.split() and have >= v), None)
    again = packages.PROVIDED_AGAIN.get(top)
    available = dependencies.available()
    if ("import", top) in told or not dependencies.file:
        return  # told already; or that nothing is declared is the finding
    if gone or top in packages.LEFT_OUT:
        if not (again and again in available):
            told.add(("import", top))
            why = f"Python {gone[0]}.{gone[1]} does not have it any more" if gone else "the image leaves it out"
            out.append(
                finding(
                    "import",
                    "error" if hard else "warning",
                    f"imports {top} of the standard library: {why}",
                    f"{path}:{item.line}",
                    f"use something else{f', or require {again}' if again else ''}",
                )
            )
        return
    if top in sys.stdlib_module_names or any(top in names.split() for names in packages.REMOVED.values()):
        return
    wanted = [normal(name) for name in packages.IMPORTS.get(top, (top,))]
    squeezed = normal(top).replace("-", "")
    if any(name in available for name in [*wanted, normal(top)]) or any(
        squeezed in name.split("-")
        or name.replace("-", "") in (squeezed, f"python{squeezed}", f"py{squeezed}", f"{squeezed}py", f"{squeezed}python")
        or name.startswith(normal(top) + "-")
        or (len(squeezed) > 4 and squeezed in name.replace("-", ""))
        for name in available
    ):
        return
    told.add(("import", top))
    spot = application.elsewhere(top)
    if spot:
        path_setting = spot if not application.root else str(PurePosixPath(*[".."] * (application.root.count("/") + 1), spot))
        out.append(
            finding(
                "import",
                "error" if hard else "warning",
                f"imports {top}, which is in {spot or 'the root of the source'}, where imports do not look",
                f"{path}:{item.line}",
                f"set {options.role}_pythonpath: {path_setting}, or {options.role}_app_root: {spot}",
            )
        )
        return
    unknown = [n for n in dependencies.names if n not in packages.BRINGS]
    explained = {normal(n) for names in packages.IMPORTS.values() for n in names}
    maybe = dependencies.opaque or "pip install" in options.extra_commands or "uv pip" in options.extra_commands
    if not dependencies.complete and wanted[0] in packages.WIDE and unknown:
        maybe = True
    if (
        not dependencies.complete
        and top not in packages.IMPORTS
        and wanted[0] not in packages.BRINGS
        and any(n not in explained for n in unknown)
    ):
        maybe = True
    own = top in packages.OWN_WORDS
    missing = next((n for n in wanted if n in dependencies.development), "")
    if missing:
        message = f"imports {top}, and {missing} is only a development dependency: the image is built without those"
        advice = f"move {missing} to the dependencies of {dependencies.file}"
    elif own or (not packages.IMPORTS.get(top) and wanted[0] not in packages.BRINGS and wanted[0] not in packages.WIDE):
        ignored = _ignored(application.tree, top, "")
        message = f"imports {top}, which is not in the source" + ("" if own else f", and {dependencies.file} names nothing of that name")
        advice = (
            f"commit {top}"
            + (f" ({ignored} hides it)" if ignored else "")
            + ("" if own else f", or name its package in {dependencies.file}")
        )
    else:
        message = f"imports {top}, and {dependencies.file} does not name {' or '.join(wanted)}"
        advice = f"add {wanted[0]} to {dependencies.file}"
    out.append(finding("import", "error" if hard and (own or not maybe) else "warning", message, f"{path}:{item.line}", advice))


ASGI = re.compile(r"^(\w+)\s*(?::[^=\n]+)?=\s*(?:[\w.]+\.)?(?:FastAPI|create_app|get_app|get_application|make_app)\s*\(", re.M)


def _asgi(tree: Tree) -> Iterator[tuple[str, str]]:
    """(file, name) of what looks like an application."""
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
            folder: sum(f"{folder}/{top}.py".lstrip("/") in tree.known or f"{folder}/{top}".lstrip("/") in tree.directories for top in tops)
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


HEALTHY = re.compile(r"^/(?:[\w.-]+/)*(health\w*|livez?|liveness|readyz?|readiness|ping|status|up|heartbeat|_health)/?$")


def _strings(application: Application) -> Iterator[tuple[str, int, str]]:
    for path in application.tree.files:
        if path.endswith(".py") and not TESTS.search(path) and (body := application.parsed(path)):
            for node in ast.walk(body):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200:
                    yield path, node.lineno, node.value


def _health(application: Application, reachable: set[str]) -> Iterator[dict[str, Any]]:
    options = application.options
    wanted = "/" + options.health_path.split("?")[0].strip("/")
    if wanted in BUILT_IN_PATHS or wanted == "/":
        return
    others, catch_all = {}, False
    for path, line, text in _strings(application):
        spelled = text.rstrip("/")
        if spelled == wanted or (len(spelled) > 1 and wanted.endswith("/" + spelled.lstrip("/"))):
            return
        catch_all |= bool(re.search(r"\{\w+:path\}", text))
        if HEALTHY.match(text):
            others.setdefault(text, f"{path}:{line}")
    dependencies, _ = declared(application.tree, options)
    # What is started and cannot be read may hold it.
    unread = reachable & application.problems.keys()
    if any("health" in name for name in dependencies.names) or catch_all or unread:
        return
    advice = (
        f"set {options.role}_health_path: {next(iter(others))}"
        if others
        else f"add such a route, or set {options.role}_health_path (for example /docs)"
    )
    there = "; there is " + ", ".join(f"{text} ({where})" for text, where in list(others.items())[:3]) if others else ""
    yield finding("health", "error", f"the health path {options.health_path} is nowhere in the source{there}", options.app, advice)


def _localhost(application: Application, reachable: set[str]) -> Iterator[dict[str, Any]]:
    options = application.options
    for path in sorted(reachable):
        text = application.tree.text(path)
        if not text or not LOCALHOST.search(text) or TESTS.search(path) or not (body := application.parsed(path)):
            continue
        parents = {child: node for node in ast.walk(body) for child in ast.iter_child_nodes(node)}
        for node in ast.walk(body):
            match = LOCALHOST.search(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
            if not match or match[1] == str(options.port):
                continue
            verdict = _address_use(node, parents)
            if verdict is None:
                continue
            where = f"{path}:{node.lineno}"
            if verdict:
                if verdict not in options.environment and f"{verdict}_FILE" not in options.environment:
                    yield finding(
                        "localhost",
                        "warning",
                        f"{verdict} is not given and defaults to {match[0]}, which is the container itself",
                        where,
                        f"set {options.role}_extra_environment.{verdict}",
                    )
            else:
                yield finding(
                    "localhost",
                    "warning",
                    f"{match[0]} is hard-coded; in a container that is the container itself",
                    where,
                    f"read it from the environment, and set it in {options.role}_extra_environment",
                )


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
