"""Every setting is compared with the specifications of all roles before anything is touched: a line for each, by its public name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.berth.stack.plugins.action import validate_roles
from ansible_collections.berth.stack.plugins.action.validate_roles import ActionModule, not_texts, problems

SPECS: dict[str, dict[str, Any]] = {
    "edge_memory": {"type": "str"},
    "edge_port": {"type": "int"},
    "edge_open": {"type": "bool"},
    "edge_names": {"type": "list", "elements": "str"},
    "edge_ports": {"type": "list", "elements": "int"},
    "edge_limits": {"type": "dict"},
    "edge_mode": {"type": "str", "choices": ["fast", "safe"]},
    "edge_modes": {"type": "list", "elements": "str", "choices": ["fast", "safe"]},
    "edge_needed": {"type": "str", "required": True, "default": "x"},
}

# (setting, value) -> the line; "" for a value that is taken
VALUES: dict[str, tuple[str, Any, str]] = {
    "a text": ("edge_memory", "256m", ""),
    "a number for a text": ("edge_memory", 256, ""),
    "a list for a text": ("edge_memory", ["256m"], ""),  # Ansible converts it, as the role would
    "a number": ("edge_port", 8443, ""),
    "a number as a text": ("edge_port", "8443", ""),
    "no number": ("edge_port", "https", "edge_port must be of type int"),
    "a truth": ("edge_open", True, ""),
    "no truth": ("edge_open", "perhaps", "edge_open must be of type bool"),
    "a list": ("edge_names", ["a"], ""),
    "a dictionary for a list": ("edge_names", {"a": 1}, "edge_names must be of type list"),
    "elements of another type": ("edge_ports", [80, "x"], "edge_ports must be a list whose elements are of type int"),
    "a list for a dictionary": ("edge_limits", ["a"], "edge_limits must be of type dict"),
    "a choice": ("edge_mode", "safe", ""),
    "none of the choices": ("edge_mode", "saef", "edge_mode is 'saef'; it must be one of fast, safe"),
    "a list with none of the choices": ("edge_modes", ["safe", "saef"], "edge_modes is not as its role specifies: "),
    "a rule that calls have, too": ("stack_https_port", "70000", "stack_https_port is '70000'; it must be "),
    "a wrong name of a stack": ("stack_name", "My Stack", "stack_name is 'My Stack'; it must be at most 30 lower-case letters"),
    "no specification": ("other_variable", object, ""),
}


@pytest.mark.parametrize("case", VALUES)
def test_a_value_is_compared_with_its_specification(case: str) -> None:
    name, value, line = VALUES[case]
    found = problems(SPECS, {name: value}, {name: value}, {})
    assert found == [] if not line else len(found) == 1 and found[0].startswith(line)


def test_a_setting_that_is_not_given_is_not_missed() -> None:
    assert problems(SPECS, {}, {}, {}) == []


def test_what_only_hands_a_wrong_value_on_is_not_told_again() -> None:
    raw = {"stack_https_port": "x", "edge_port": "{{ stack_https_port }}"}
    lines = problems(SPECS, {"stack_https_port": "x", "edge_port": "x"}, raw, {})
    assert [line.partition(" ")[0] for line in lines] == ["stack_https_port"]


def test_a_wrong_value_of_the_environment_is_called_by_its_variable() -> None:
    raw = {"stack_https_port": "{{ lookup('ansible.builtin.env', 'HTTPS_PORT') | default('8443', true) }}"}
    assert problems(SPECS, {"stack_https_port": "x"}, raw, {"HTTPS_PORT": "x"})[0].startswith("HTTPS_PORT is 'x'; it must be ")
    assert problems(SPECS, {"stack_https_port": "x"}, raw, {})[0].startswith("stack_https_port is 'x'; it must be ")


def test_both_ports_must_differ() -> None:
    assert "must differ" in problems({}, {"stack_https_port": 80, "stack_http_port": "80"}, {}, {})[0]


# value -> names of the variables that are refused
ENVIRONMENTS: dict[str, tuple[Any, bool, list[str]]] = {
    "texts": ({"A": "x", "B": ""}, True, []),
    "no value": ({"A": None, "B": "x", "C": None}, True, ["A", "C"]),
    "a list in an environment": ({"A": ["x"]}, True, []),
    "a list among build arguments": ({"A": ["x"], "B": {"x": 1}}, False, ["A", "B"]),
    "no environment": ("x", True, []),
}


@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_what_no_environment_can_have_is_refused_by_name(case: str) -> None:
    value, structures, names = ENVIRONMENTS[case]
    lines = not_texts({"setting": value}, structures)
    assert [next(name for name in ("A", "B", "C") if f"{name} " in line) for line in lines] == names
    assert all(line.startswith("setting") for line in lines)


def validate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """The action, over a role `edge` with SPECS and a role `other`."""
    for role, options in {"edge": SPECS, "other": {"other_count": {"type": "int"}}}.items():
        (tmp_path / role / "meta").mkdir(parents=True)
        (tmp_path / role / "meta/argument_specs.yml").write_text(yaml.safe_dump({"argument_specs": {"main": {"options": options}}}))
    given = {name: trust_as_template(value) if isinstance(value, str) else value for name, value in variables.items()}
    made = ActionModule.__new__(ActionModule)
    made._task = type("Task", (), {"args": {"roles_dir": str(tmp_path)} | arguments})()
    made._templar = Templar(loader=DataLoader(), variables=given)
    monkeypatch.setattr(validate_roles.ActionBase, "run", lambda *_, **__: {})
    monkeypatch.setattr(validate_roles.env_file, "unread", lambda *_: "")
    return made.run(None, given)


def test_all_that_is_wrong_is_in_one_message_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {
        "edge_port": "x",
        "other_count": "{{ 'y' }}",
        "edge_memory": "256m",
        "edge_names": "{{ not_yet_known }}",
        "edge_open": "false",
        "build": {"A": ["x"]},
        "env": {"B": None},
        "flag": "no",
    }
    result = validate(tmp_path, monkeypatch, variables, environments=["env"], build_arguments=["build"], booleans=["flag"])
    lines = [line.strip() for line in result["msg"].splitlines()[1:-1]]
    assert result["failed"]
    assert [line.split()[0].rstrip(":") for line in lines] == ["edge_port", "other_count", "flag", "env", "build"]


def test_a_setting_whose_value_is_not_known_yet_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert validate(tmp_path, monkeypatch, {"edge_port": "{{ __made_during_the_run }}"}) == {"changed": False}


def test_a_text_that_means_false_is_refused_where_nothing_made_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = validate(tmp_path, monkeypatch, {"edge_open": "false"})
    assert "edge_open is the text 'false'" in result["msg"]


def test_an_old_name_is_refused_with_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "renamed.yml"
    table.write_text("edge_old: edge_new\n")
    monkeypatch.setattr(validate_roles, "RENAMED", table)
    assert "edge_old is called edge_new now" in validate(tmp_path, monkeypatch, {"edge_old": "x"})["msg"]
