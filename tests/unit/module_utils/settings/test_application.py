"""app.yml: where it is looked for, what outranks it, and that the reference application's own file is nobody else's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.berth.stack.plugins.module_utils.settings.application import Refused, path_of, values
from conftest import ROOT
from trees import BACKEND, FRONTEND, write


def load(path: Path) -> object:
    return yaml.safe_load(path.read_text())


def read(tmp_path: Path, text: str, **environ: str) -> dict[str, object]:
    (tmp_path / "app.yml").write_text(text)
    found, warnings = values(ROOT, {"BERTH_CALLED_FROM": str(tmp_path), **environ}, load)
    assert warnings == []
    return found


def test_it_is_the_file_of_the_call_before_that_of_the_directory(tmp_path):
    here = {"BERTH_CALLED_FROM": str(tmp_path)}
    assert path_of(tmp_path / "project", here) is None
    write(tmp_path, {"app.yml": "", "project/app.yml": "", "other.yml": ""})
    assert path_of(tmp_path / "project", here) == tmp_path / "app.yml"
    assert path_of(tmp_path / "project", here | {"BERTH_APP": "other.yml"}) == tmp_path / "other.yml"
    (tmp_path / "app.yml").unlink()
    assert path_of(tmp_path / "project", here) == tmp_path / "project/app.yml"
    with pytest.raises(Refused, match=r"APP is nope.yml: there is no such file; make init"):
        path_of(tmp_path, here | {"BERTH_APP": "nope.yml"})


def test_its_sources_are_relative_to_it(tmp_path):
    found = read(tmp_path, "stack_backend_source: backend\nstack_frontend_source: ../web\n")
    assert found == {"stack_backend_source": str(tmp_path / "backend"), "stack_frontend_source": str(tmp_path.parent / "web")}


def test_a_setting_of_the_environment_outranks_it(tmp_path):
    text = "stack_name: shop\nstack_backend_source: backend\nbackend_image_memory: 1g\n"
    assert read(tmp_path, text)["stack_name"] == "shop"
    found = read(tmp_path, text, STACK_NAME="other", BACKEND_SOURCE="/srv/x")
    assert found == {"backend_image_memory": "1g"}


def test_a_slip_is_refused_and_a_name_of_nobodys_is_told(tmp_path):
    with pytest.raises(Refused, match="backend_image_memroy: did you mean backend_image_memory"):
        read(tmp_path, "backend_image_memroy: 1g\n")
    (tmp_path / "app.yml").write_text("of_my_own: 1\nstack_backend_source: x\n")
    found, warnings = values(ROOT, {"BERTH_CALLED_FROM": str(tmp_path)}, load)
    assert found["of_my_own"] == 1
    assert "no role of Berth reads: of_my_own" in warnings[0]
    with pytest.raises(Refused, match="not a mapping"):
        read(tmp_path, "- one\n")


def settings(tmp_path: Path, *arguments: str, **environ: str) -> dict[str, tuple[object, str]]:
    """{setting: (value, origin)} as make config shows them."""
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), *arguments, "playbooks/config.yml"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"BERTH_CALLED_FROM": str(tmp_path), "BERTH_FORMAT": "json", "BERTH_OUTPUT": "plain", **environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return {one["name"]: (one["value"], one["origin"]) for one in json.loads(done.stdout)["localhost"]}


def test_what_is_found_is_the_default_and_the_file_and_the_command_line_outrank_it(tmp_path):
    write(tmp_path / "backend", BACKEND, {"pyproject.toml": "[project]\nname = 'a'\nrequires-python = '>=3.12'\n"})
    write(tmp_path / "frontend", FRONTEND)
    (tmp_path / "app.yml").write_text(
        "stack_backend_source: backend\nstack_frontend_source: frontend\nbackend_image_port: 9000\nbackend_image_health_path: /x\n"
    )
    found = settings(tmp_path, "-e", "backend_image_health_path=/y")
    assert found["backend_image_debian_release"] == ("trixie", "the sources, pyproject.toml:3")
    assert found["backend_image_port"][0] == 9000
    assert found["backend_image_port"][1].endswith("app.yml line 3")
    assert found["backend_image_health_path"] == ("/y", "command line, -e")
    assert found["backend_image_migrate_command"] == ([], "the sources")


def test_the_reference_application_has_what_its_own_file_says(tmp_path):
    found = settings(tmp_path)
    own = yaml.safe_load((ROOT / "apps/app.yml").read_text())
    assert {name: found[name] for name in own} == {name: (value, "default") for name, value in own.items()}
    # Another one of its directories is an application like any other: its sources say the same.
    (tmp_path / "app.yml").write_text(f"stack_frontend_source: {ROOT}/apps/frontend\nstack_backend_source: {ROOT}/apps/mock_llm\n")
    assert settings(tmp_path)["backend_image_migrate_command"] == ([], "the sources")
