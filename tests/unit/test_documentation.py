"""What ansible-doc prints: each plugin is documented, and each module's options are those that it takes."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from conftest import PLUGINS, ROOT

MODULES = sorted(path.stem for path in (ROOT / "plugins/modules").glob("*.py"))
# Only their documentation is a module; the action plugin of the same name does the work.
ACTIONS = {
    path.stem
    for path in (ROOT / "plugins/action").glob("*.py")
    if (stub := ROOT / f"plugins/modules/{path.name}").exists() and "AnsibleModule" not in stub.read_text()
}
FILTERS = {
    name: found
    for path in sorted((ROOT / "plugins/filter").glob("*.py"))
    for name, found in importlib.import_module(f"{PLUGINS}.filter.{path.stem}").FilterModule().filters().items()
}
DOCUMENTS = ("DOCUMENTATION", "EXAMPLES", "RETURN")


class Called(Exception):
    """A module got as far as its arguments."""


def documentation(path: str) -> dict[str, Any]:
    """The three documents of a plugin."""
    assigned = [node for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.Assign)]
    texts = {node.targets[0].id: ast.literal_eval(node.value) for node in assigned if getattr(node.targets[0], "id", "") in DOCUMENTS}
    return {name: yaml.safe_load(text) for name, text in texts.items()}


def argument_spec(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    module = importlib.import_module(f"{PLUGINS}.modules.{name}")
    taken: dict[str, Any] = {}

    def made(argument_spec: dict[str, Any], **_rest: Any) -> None:
        taken.update(argument_spec)
        raise Called

    monkeypatch.setattr(module, "AnsibleModule", made)
    with pytest.raises(Called):
        module.main()
    return taken


def described(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is comparable of options or of an argument_spec: defaults as they are written, without descriptions."""
    return {
        name: {
            "type": option.get("type", "str"),
            "elements": option.get("elements"),
            "required": option.get("required", False),
            "default": option.get("default"),
            "choices": option.get("choices"),
            "options": described(option.get("options") or option.get("suboptions") or {}),
        }
        for name, option in options.items()
    }


@pytest.mark.parametrize("name", sorted(set(MODULES) - ACTIONS))
def test_a_modules_documented_options_are_those_that_it_takes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    documented = documentation(f"plugins/modules/{name}.py")["DOCUMENTATION"]
    assert described(documented.get("options") or {}) == described(argument_spec(name, monkeypatch))


@pytest.mark.parametrize("name", sorted(set(MODULES) - ACTIONS))
def test_what_a_module_is_documented_to_return_it_returns(name: str) -> None:
    """As far as its exit_json names the values: a role reads them by these names."""
    path = f"plugins/modules/{name}.py"
    calls = [node for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, ast.Call)]
    exits = [word.arg for node in calls if getattr(node.func, "attr", "") == "exit_json" for word in node.keywords]
    assert None in exits or set(documentation(path)["RETURN"] or {}) <= set(exits)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_documented(name: str) -> None:
    found = documentation(f"plugins/modules/{name}.py")
    assert found["DOCUMENTATION"]["module"] == name
    assert found["DOCUMENTATION"]["short_description"] and found["DOCUMENTATION"]["description"]
    assert all(f"berth.stack.{name}" in task for task in found["EXAMPLES"])


@pytest.mark.parametrize(
    "path", [str(p.relative_to(ROOT)) for kind in ("lookup", "callback", "vars") for p in (ROOT / "plugins" / kind).glob("*.py")]
)
def test_other_plugins_are_documented(path: str) -> None:
    found = documentation(path)["DOCUMENTATION"]
    assert found["short_description"] and found["description"]


def test_each_filter_has_a_document_and_each_document_a_filter() -> None:
    assert {path.stem for path in (ROOT / "plugins/filter").glob("*.yml")} == set(FILTERS)


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_a_filters_documented_options_are_those_that_it_takes(name: str) -> None:
    found = yaml.safe_load((ROOT / f"plugins/filter/{name}.yml").read_text())
    documented, taken = found["DOCUMENTATION"], list(inspect.signature(FILTERS[name]).parameters.values())[1:]
    options = documented["options"]
    assert documented["name"] == name
    assert documented["description"] and found["RETURN"]["_value"]["type"]
    assert list(options) == ["_input", *(one.name for one in taken)]
    assert documented.get("positional", "") == ", ".join(one.name for one in taken)
    for one in taken:
        assert options[one.name].get("required", False) is (one.default is one.empty)
        if one.default is not one.empty:
            assert (options[one.name]["default"] or None) == (one.default or None)
    assert f"berth.stack.{name}" in found["EXAMPLES"]
