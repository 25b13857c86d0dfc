"""What the verification learns of the sources of other applications, as their variables lay them out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.berth.stack.plugins.module_utils.source.analysis import analyse
from ansible_collections.berth.stack.plugins.modules.source_facts import backend, frontend
from conftest import ROOT

PAIRS = ROOT / "tests" / "sources" / "pairs"


def facts(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Facts of backend and frontend of an external application, laid out as its analysis says."""
    pair = PAIRS / name
    variables = yaml.safe_load((pair / "vars.yml").read_text()) or {}

    def place(service: str) -> Path:
        return Path(variables.get(f"stack_{service}_source", f"{pair}/{service}").replace("{{ stack_pair }}", str(pair)))

    found = analyse(place("backend"), place("frontend"))
    layout = {key: found.value(f"backend_image_{key}") for key in ("app_root", "dependencies")}
    return backend(place("backend"), layout), frontend(place("frontend"), {"subpath": found.value("frontend_image_source_subpath")})


@pytest.mark.parametrize(
    ("name", "declared", "manifest"),
    [
        ("atlas", "requirements.txt", "package.json"),
        ("harbour", "apps/api/requirements/production.txt", "apps/web/package.json"),
        ("ledger", "pyproject.toml", "package.json"),
        ("relay", "requirements.txt", "package.json"),
    ],
)
def test_dependencies_are_found_where_they_are_declared(name, declared, manifest):
    back, front = facts(name)
    assert (back["declared"], back["fastapi"]) == (declared, True)
    assert back["requirements"] > 0
    assert front["declared"] == manifest
    assert {"next", "react"} <= set(front["dependencies"])
    assert "build" in front["scripts"]


def test_the_reference_application_pins_what_it_declares():
    back, front = backend(ROOT / "apps/backend", {}), frontend(ROOT / "apps/frontend", {})
    assert (back["declared"], back["unpinned"]) == ("requirements.txt", [])
    assert (front["locks"], front["lock_differs"]) == (["package-lock.json"], [])


def test_what_is_open_or_stale_or_not_there_is_seen(tmp_path):
    (tmp_path / "requirements.txt").write_text("fastapi\nhttpx==0.28.1\n")
    (tmp_path / "package.json").write_text('{"dependencies": {"next": "15.0.0"}}')
    (tmp_path / "package-lock.json").write_text('{"packages": {"": {"dependencies": {"next": "14.0.0"}}}}')
    assert backend(tmp_path, {})["unpinned"] == ["fastapi"]
    assert frontend(tmp_path, {})["lock_differs"] == ["next"]
    assert not backend(tmp_path / "gone", {})["exists"]
    assert not frontend(tmp_path / "gone", {})["exists"]
