"""The modules of a Python source, as the interpreter of an image would find and parse them: names to files, imports, names bound."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from .checks import TESTS, Tree, merge_marks
from .findings import finding
from .python_dependencies import Options, clean
from .versions import release

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
    """The source, its entry point and what is reachable from it."""

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

    def take_over(self, other: Application) -> None:
        """Use what another one of the same source has parsed."""
        self._parsed, self.problems = other._parsed, other.problems

    def parsed(self, path: str) -> ast.Module | None:
        if path not in self._parsed:
            text, tree = self.tree.text(path), None
            if text is not None:
                try:
                    major, minor = release(self.options.python)[:2]
                    tree = ast.parse(text, path, feature_version=(major, minor) if (major, minor) < sys.version_info[:2] else None)
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
        where, message = f"{path}:{error.lineno or 1}", f"Python cannot parse this: {error.msg}"
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
        return finding("parse", "error" if reachable else "warning", message, where, advice)

    # --- names to files ---

    def resolve(self, name: str) -> tuple[str, str] | None:
        """("module" | "package" | "namespace", path) of a dotted name, None where the source has no such module."""
        spot = name.replace(".", "/")
        namespace = None
        for base in self.paths:
            at = f"{base}/{spot}".lstrip("/")
            if f"{at}/__init__.py" in self.tree.paths:
                return "package", f"{at}/__init__.py"
            if f"{at}.py" in self.tree.paths:
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

    def elsewhere(self, top: str, importing: str = "") -> str:
        """A directory in the source that has a module of this name, where imports are not searched; a file `importing` it is not meant."""
        spots = {
            str(PurePosixPath(file).parent.parent if file.endswith(f"{top}/__init__.py") else PurePosixPath(file).parent)
            for file in self.tree.files
            if (file.endswith((f"/{top}.py", f"/{top}/__init__.py")) or file in (f"{top}.py", f"{top}/__init__.py"))
            and not TESTS.search(file)
            and file != importing
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

    def visit(nodes: list[ast.stmt], hard: bool, lazy: bool) -> Iterator[Import]:
        for node in nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(alias.name, [], 0, node.lineno, hard, lazy)
            elif isinstance(node, ast.ImportFrom):
                yield Import(node.module or "", [a.name for a in node.names], node.level, node.lineno, hard, lazy)
            elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield from visit(node.body, False, True)
            elif isinstance(node, (ast.Try, ast.TryStar)):
                yield from visit(node.body, hard and not caught(node.handlers), lazy)
                for handler in node.handlers:
                    yield from visit(handler.body, False, lazy)
                yield from visit(node.orelse, False if caught(node.handlers) else hard, lazy)
                yield from visit(node.finalbody, hard, lazy)
            elif isinstance(node, ast.If):
                named = {getattr(n, "id", getattr(n, "attr", "")) for n in ast.walk(node.test)}
                if "TYPE_CHECKING" not in named:
                    yield from visit(node.body, False, lazy)
                yield from visit(node.orelse, hard and "TYPE_CHECKING" in named, lazy)
            else:
                for name in ("body", "orelse", "finalbody"):
                    yield from visit(getattr(node, name, []) or [], hard, lazy)
                for case in getattr(node, "cases", []):
                    yield from visit(case.body, False, lazy)

    yield from visit(tree.body, True, False)


def bound(tree: ast.Module) -> set[str] | None:
    """The names that a module has once it is imported; None where only running it would show."""
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
        elif type(node).__name__ == "TypeAlias" and isinstance(alias := getattr(node, "name", None), ast.Name):
            names.add(alias.id)
    return names | {"__name__", "__file__", "__doc__", "__path__", "__version__", "__all__"}
