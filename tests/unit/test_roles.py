"""What holds for every role: its specification, its defaults and its shape."""

from __future__ import annotations

import re

import pytest
import yaml
from conftest import ROOT

ROLES = sorted(path.parents[1].name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))


def load(role: str, part: str) -> dict:
    path = ROOT / "roles" / role / part
    return (yaml.safe_load(path.read_text()) if path.is_file() else None) or {}


@pytest.mark.parametrize("role", ROLES)
def test_specification_and_defaults_agree(role):
    options = load(role, "meta/argument_specs.yml")["argument_specs"]["main"].get("options") or {}
    defaults = load(role, "defaults/main.yml")
    wiring = {
        **yaml.safe_load((ROOT / "group_vars/all/wiring.yml").read_text()),
        **yaml.safe_load((ROOT / "group_vars/all/main.yml").read_text()),
    }
    assert set(defaults) <= set(options), "a default without a specification"
    assert set(options) - set(defaults) <= set(wiring), "a specified option that has no value"
    for name, option in options.items():
        if "default" in option:
            assert defaults[name] == option["default"], name


@pytest.mark.parametrize("role", ROLES)
def test_variables_carry_the_roles_name(role):
    for part in ("defaults/main.yml", "vars/main.yml"):
        for name in load(role, part):
            assert re.match(rf"(__)?{role}(_|$)", name) or name.startswith(("backend_image", "frontend_image")), f"{part}: {name}"


@pytest.mark.parametrize("role", ROLES)
def test_main_is_a_table_of_contents(role):
    path = ROOT / "roles" / role / "tasks" / "main.yml"
    if path.is_file():
        assert len(path.read_text().splitlines()) < 60


def test_backend_and_frontend_have_the_same_shape():
    def shape(role: str, part: str) -> set[str]:
        return {name.replace(role, "X") for name in load(role, part)}

    backend, frontend = shape("backend_image", "defaults/main.yml"), shape("frontend_image", "defaults/main.yml")
    assert backend - frontend == {"X_app", "X_app_root", "X_pythonpath", "X_dependencies", "X_sidecars", "X_ready_path", "X_version_table"}
    own = {"X_source_subpath", "X_build_environment", "X_build_placeholders", "X_build_seed", "X_languages", "X_page_path"}
    assert frontend - backend == own


def test_a_renamed_variable_is_gone_and_its_new_name_is_known():
    renamed = load("stack", "vars/renamed.yml")
    files = [*ROOT.glob("roles/*/defaults/**/*.yml"), *ROOT.glob("group_vars/all/*.yml")]
    defaults = {name for path in files for name in yaml.safe_load(path.read_text()) or {}}
    specified = {name for role in ROLES for name in load(role, "meta/argument_specs.yml")["argument_specs"]["main"].get("options") or {}}
    assert not set(renamed) & (defaults | specified), "an old name that still has a value: every run would be refused"
    assert set(renamed.values()) <= defaults | specified, "a new name that nothing reads"
