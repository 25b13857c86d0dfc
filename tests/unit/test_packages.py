"""The packages of module_utils depend on each other in one direction only; docs/architecture.md has the same table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

UTILS = ROOT / "plugins" / "module_utils"
# package: packages that it may import.
ALLOWED: dict[str, set[str]] = {
    "docker": set(),
    "settings": set(),
    "secrets": set(),
    "state": set(),
    "source": {"docker"},
    "data": {"docker", "state"},
    "release": {"data", "docker", "secrets", "state"},
    "plan": {"docker", "state"},
    "services": {"docker", "settings"},
    "verify": {"data", "docker", "source", "state"},
    "advice": {"docker"},
}


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """(line, package or module outside the file's own package) of each import of own code or Ansible's."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.startswith("ansible"))
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").startswith("ansible"):
            yield node.lineno, node.module or ""
        elif isinstance(node, ast.ImportFrom) and node.level > 1:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            # More than two dots leave module_utils.
            yield from ((node.lineno, name.split(".")[0] if node.level == 2 else f"{'.' * node.level}{name}") for name in names)


def test_every_package_is_in_the_table() -> None:
    assert {path.name for path in UTILS.iterdir() if path.is_dir() and list(path.glob("*.py"))} == set(ALLOWED)
    assert [path.name for path in UTILS.glob("*.py")] == [], "files belong to a package"


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_allowed_packages_only(package: str) -> None:
    found = [(file, line, name) for file in (UTILS / package).glob("*.py") for line, name in imported(file)]
    wrong = [f"{file.relative_to(ROOT)}:{line} imports {name}" for file, line, name in found if name not in ALLOWED[package]]
    assert wrong == []
    assert {name for _, _, name in found} == ALLOWED[package], "the table names imports that are gone"


def test_the_table_has_no_cycle() -> None:
    reached = {package: set(allowed) for package, allowed in ALLOWED.items()}
    for _ in ALLOWED:
        reached = {package: names.union(*(reached[name] for name in names)) for package, names in reached.items()}
    assert [package for package, names in reached.items() if package in names] == []


def test_the_documentation_has_the_same_table() -> None:
    section = (ROOT / "docs" / "architecture.md").read_text().partition("## Packages")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|$", section, re.M))
    assert {package: set(re.findall(r"\w+", names.replace("nothing", ""))) for package, names in rows.items()} == ALLOWED
