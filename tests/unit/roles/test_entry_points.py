"""Every tasks file that is called from outside its role has an entry in the role's argument specs, and every entry is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from conftest import ROOT

INCLUDES = ("ansible.builtin.include_role", "ansible.builtin.import_role")


def included(node: Any) -> Iterator[dict[str, Any]]:
    """The arguments of each include_role and import_role below a node of YAML."""
    if isinstance(node, list):
        for item in node:
            yield from included(item)
    elif isinstance(node, dict):
        yield from (node[key] for key in INCLUDES if key in node)
        for value in node.values():
            yield from included(value)


FILES = [path for folder in ("playbooks", "roles", "molecule") for path in (ROOT / folder).rglob("*.yml")]
TASKS = [path for path in FILES if "files" not in path.parts and "templates" not in path.parts]
CALLS = {
    (call["name"].removeprefix("berth.stack."), call["tasks_from"])
    for path in TASKS
    for call in included(yaml.safe_load(path.read_text()))
    if "tasks_from" in call
}
SPECS = {
    (path.parts[-3], entry): spec or {}
    for path in ROOT.glob("roles/*/meta/argument_specs.yml")
    for entry, spec in yaml.safe_load(path.read_text())["argument_specs"].items()
}


def test_every_called_tasks_file_has_an_entry() -> None:
    called = {call for call in CALLS if "{{" not in "".join(call)}
    assert not called - set(SPECS)


def test_every_entry_is_called_and_has_a_tasks_file() -> None:
    """Those of a role's main.yml are called by the role's name. Settings of a role that is its defaults have no tasks."""
    defaults = {entry for entry in SPECS if entry[1] == "settings" and not (ROOT / "roles" / entry[0] / "tasks/settings.yml").is_file()}
    entries = {entry for entry in SPECS if entry[1] != "main"} - defaults
    # A loop over entry points: any of the role's may be meant.
    looped = {role for role, entry in CALLS if "{{" in entry}
    assert not {entry for entry in entries - CALLS if entry[0] not in looped}
    assert all((ROOT / "roles" / role / "tasks" / f"{entry}.yml").is_file() for role, entry in entries)


def test_an_entry_says_what_it_does_and_takes_no_other_options_than_its_role() -> None:
    """One without options is for what every run calls: Ansible adds no task for it."""
    for (role, entry), spec in SPECS.items():
        assert not spec or spec["short_description"], (role, entry)
        own = set((SPECS.get((role, "main")) or SPECS[role, "settings"]).get("options") or {})
        for name, option in (spec.get("options") or {}).items():
            assert option["description"] and option["type"], name
            assert entry in ("main", "settings") or name in own or option.get("required"), f"{role}/{entry}: {name}"


def test_no_call_leaves_its_arguments_unchecked() -> None:
    assert not [
        path
        for path in TASKS
        for call in included(yaml.safe_load(path.read_text()))
        if call.get("rolespec_validate", True) is False and "roles" in path.parts
    ]
