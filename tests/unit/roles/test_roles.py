"""What holds for every role: its specification, its defaults and its shape."""

from __future__ import annotations

import re

import pytest
import yaml
from conftest import ROOT, STACK

ROLES = sorted(path.parents[1].name for path in ROOT.glob("roles/*/meta/argument_specs.yml"))


def load(role: str, part: str) -> dict:
    path = ROOT / "roles" / role / part
    return (yaml.safe_load(path.read_text()) if path.is_file() else None) or {}


# Roles that set variables of other roles.
SHARED = {"stack", "wiring"}
WIRED = {name: value for path in STACK for name, value in yaml.safe_load(path.read_text()).items()}


def specified(role: str) -> dict:
    """{variable: its specification} of a role's main entry point; of stack, whose settings the preflight validates, of those."""
    entries = load(role, "meta/argument_specs.yml")["argument_specs"]
    return (entries.get("main") or entries["settings"]).get("options") or {}


@pytest.mark.parametrize("role", ROLES)
def test_specification_and_defaults_agree(role):
    options = specified(role)
    defaults = load(role, "defaults/main/settings.yml") if role in SHARED else load(role, "defaults/main.yml")
    known = {name for other in ROLES for name in specified(other)} if role in SHARED else set(options)
    assert set(defaults) <= known, "a default without a specification"
    assert set(options) - set(defaults) <= set(WIRED), "a specified option that has no value"
    for name, option in options.items():
        if "default" in option:
            assert defaults[name] == option["default"], name


@pytest.mark.parametrize("role", ROLES)
def test_variables_carry_the_roles_name(role):
    for part in ("vars/main.yml",) if role in SHARED else ("defaults/main.yml", "vars/main.yml"):
        for name in load(role, part):
            assert re.match(rf"(__)?{role}(_|$)", name) or name.startswith(("backend_image", "frontend_image")), f"{part}: {name}"


@pytest.mark.parametrize("role", sorted(set(ROLES) - SHARED))
def test_what_stack_sets_for_a_role_has_no_default_of_its_own(role):
    """Within a role's tasks its own defaults outrank those of stack and wiring: the value would be lost without a word."""
    assert not set(load(role, "defaults/main.yml")) & set(WIRED)


@pytest.mark.parametrize("role", sorted(set(ROLES) - SHARED))
def test_every_role_gets_the_settings(role):
    """Directly or by another role that it depends on, so that a playbook of somebody else's can use it too."""
    named = [one["role"].removeprefix("berth.stack.") for one in load(role, "meta/main.yml")["dependencies"]]
    assert "wiring" in named or any(test_every_role_gets_the_settings(one) is None for one in named), named


PLAYS = [
    (path, play) for path in sorted((ROOT / "playbooks").glob("*.yml")) for play in yaml.safe_load(path.read_text()) if "hosts" in play
]


@pytest.mark.parametrize(("path", "play"), PLAYS, ids=[f"{path.stem}: {play['name']}" for path, play in PLAYS])
def test_a_play_does_what_it_does_without_our_ansible_cfg(path, play):
    """The collection's playbooks run from any directory: what a play needs of Ansible's configuration, it says itself."""
    assert play.get("gather_facts") is False, "facts are gathered by default"
    assert play.get("any_errors_fatal") is True, "a failing host does not end the run by default"
    if play.get("vars_files") != "vars/plan.yml" or "stack_" in str(play["tasks"]):
        assert play.get("roles", [])[:1] == ["berth.stack.stack"], "its own conditions know no setting"


@pytest.mark.parametrize("role", ROLES)
def test_main_is_a_table_of_contents(role):
    path = ROOT / "roles" / role / "tasks" / "main.yml"
    if path.is_file():
        assert len(path.read_text().splitlines()) < 60


def test_backend_and_frontend_have_the_same_shape():
    def shape(role: str) -> set[str]:
        return {name.replace(role, "X") for name in specified(role)}

    backend, frontend = shape("backend_image"), shape("frontend_image")
    assert backend - frontend == {"X_app", "X_app_root", "X_pythonpath", "X_dependencies", "X_ready_path", "X_version_table"}
    own = {"X_source_subpath", "X_build_environment", "X_build_placeholders", "X_build_seed", "X_languages", "X_fonts", "X_page_path",
           "X_migrations"}  # fmt: skip
    assert frontend - backend == own


def test_a_renamed_variable_is_gone_and_its_new_name_is_known():
    renamed = load("stack", "vars/renamed.yml")
    known = set(WIRED) | {name for role in ROLES for name in {*specified(role), *load(role, "defaults/main.yml")}}
    assert not set(renamed) & known, "an old name that still has a value: every run would be refused"
    assert set(renamed.values()) <= known, "a new name that nothing reads"
