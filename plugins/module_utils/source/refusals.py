"""What the preflight will refuse of sources as they are, for `make init`: the checks with the settings that the analysis found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import fastapi, nextjs
from .analysis import Analysis
from .checks import Tree
from .findings import line
from .found_backend import GIVEN as BACKEND_HAS
from .found_frontend import GIVEN as FRONTEND_HAS
from .found_frontend import NODES
from .javascript_modules import Options as NextOptions
from .python_dependencies import Options as PythonOptions
from .python_release import PYTHONS
from .tree import file_findings, select

# Said by `make init` in words of its own.
ASKED = {"demanded"}


def refusals(analysis: Analysis, sources: dict[str, Path]) -> list[str]:
    """A line for each error of each source."""
    found = []
    known = {"backend": "backend_image_app", "frontend": "frontend_image_health_path"}
    for service, root in sources.items():
        if known[service] not in analysis.found:
            continue  # nothing to start with: that is one of the questions
        role, kind = f"{service}_image", "fastapi" if service == "backend" else "nextjs"
        tree = Tree(root, select(root, kind, role=role), role)
        check = _backend if service == "backend" else _frontend
        findings = [*tree.selection.findings, *file_findings(str(root), tree.selection), *check(analysis, tree)]
        found += [f"{service}: {line(one)}" for one in findings if one["severity"] == "error" and one["check"] not in ASKED]
    return found


def _names(analysis: Analysis, service: str) -> set[str]:
    own = {one.name for one in analysis.secrets if one.service == service and one.own}
    return own | set(analysis.value(f"{service}_image_environment")) | set(analysis.value(f"{service}_image_secrets_environment"))


def _backend(analysis: Analysis, tree: Tree) -> list[dict[str, Any]]:
    value = analysis.value
    options = PythonOptions(
        app=value("backend_image_app"),
        app_root=value("backend_image_app_root"),
        pythonpath=value("backend_image_pythonpath"),
        dependencies=value("backend_image_dependencies"),
        python=PYTHONS[value("backend_image_debian_release")],
        health_path=value("backend_image_health_path"),
        port=value("backend_image_port"),
        environment=_names(analysis, "backend") | BACKEND_HAS,
    )
    return fastapi.check(str(tree.root), options, tree)


def _frontend(analysis: Analysis, tree: Tree) -> list[dict[str, Any]]:
    value = analysis.value
    options = NextOptions(
        subpath=value("frontend_image_source_subpath"),
        node=NODES[value("frontend_image_debian_release")],
        build_environment=set(value("frontend_image_build_environment")),
        fonts="fallback",
        health_path=value("frontend_image_health_path"),
        environment=_names(analysis, "frontend") | FRONTEND_HAS,
    )
    return nextjs.check(str(tree.root), options, tree)
