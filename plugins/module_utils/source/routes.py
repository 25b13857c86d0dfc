"""Which paths a Python source declares routes for, without importing any of it.

Read are the strings of decorators and calls (`@app.get("/x")`, `Route("/x", ...)`, `add_api_route("/x", ...)`) and the prefixes of
routers and mounts. A path that is put together at run time is not found.
"""

from __future__ import annotations

import ast
from pathlib import Path

from .checks import TESTS, Tree

ROUTES = {"get", "head", "route", "api_route", "add_api_route", "add_route", "Route"}
MOUNTS = {"mount", "Mount"}


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _found(text: str) -> tuple[set[str], set[str]]:
    """(paths of routes, prefixes) of one file; of one that cannot be parsed none."""
    routes: set[str] = set()
    prefixes: set[str] = set()
    try:
        body = ast.parse(text)
    except (SyntaxError, ValueError):
        return routes, prefixes
    for node in ast.walk(body):
        if not isinstance(node, ast.Call):
            continue
        named = {keyword.arg: _text(keyword.value) for keyword in node.keywords}
        first = _text(node.args[0]) if node.args else named.get("path")
        if _name(node.func) in ROUTES and first is not None:
            routes.add(first)
        if _name(node.func) in MOUNTS and first is not None:
            prefixes.add(first)
        if prefix := named.get("prefix"):
            prefixes.add(prefix)
    return routes, prefixes


def declared(source: Path, expected: list[str]) -> list[str]:
    """Those of the paths `expected` that the source declares a route for, itself or below one or two prefixes."""
    if not expected:
        return []
    tree = Tree(source)
    ends = {path.rstrip("/").rpartition("/")[2] for path in expected}
    routes: set[str] = set()
    prefixes: set[str] = set()
    for path in tree.files:
        if not path.endswith(".py") or TESTS.search(path):
            continue
        text = tree.text(path) or ""
        # Parsing a large source takes seconds: only what may hold one of them.
        if any(end in text for end in ends) or "prefix" in text or "ount(" in text:
            own, more = _found(text)
            routes |= own
            prefixes |= more
    before = {"", *prefixes, *(one.rstrip("/") + other for one in prefixes for other in prefixes)}
    whole = {(start.rstrip("/") + "/" + route.lstrip("/")).rstrip("/") for start in before for route in routes}
    return [path for path in expected if path.rstrip("/") in whole]
