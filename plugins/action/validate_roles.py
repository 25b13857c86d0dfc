"""Hold every variable that a user can set against the specifications of the roles, before anything is touched.

A role validates its own arguments when it starts; by then the roles before it have acted. This looks at all of them at once.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ansible.module_utils
import yaml
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

# On the controller a plugin finds the module_utils of its own project as its modules do on a host.
_UTILS = str(Path(__file__).resolve().parents[1] / "module_utils")
if _UTILS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_UTILS)

from ansible.module_utils.environment import ValueRefused, texts

# libyaml's loader, where there is one: 20 specifications take half a second without it.
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def false_texts(values: dict[str, Any], booleans: list[str]) -> list[str]:
    """Which of `booleans` are a text that means false, a line each: a text is true wherever a template asks for it (`a if x else b`)."""
    return [
        f"{name} is the text {str(values[name])!r}, which templates take for true: "
        f"write -e '{{\"{name}\": false}}', or {name}: false in YAML"
        for name in booleans
        if isinstance(values.get(name), str) and values[name].strip().lower() in ("false", "no", "off", "0", "n", "f")
    ]


def not_texts(settings: dict[str, Any], structures: bool) -> list[str]:
    """What no environment can have, a line each. A setting is an environment, or a list of what has one (backend_image_sidecars)."""
    problems: list[str] = []
    for setting, value in settings.items():
        named = {setting: value}
        if isinstance(value, list):
            named = {f"{setting} ({item.get('name')})": item.get("environment") for item in value if isinstance(item, dict)}
        for name, variables in named.items():
            try:
                texts(variables if isinstance(variables, dict) else {}, name, structures)
            except ValueRefused as error:
                problems += str(error).splitlines()
    return problems


class ActionModule(ActionBase):
    """The action; arguments: roles_dir, the directory whose */meta/argument_specs.yml are read; patterns, by variable a regular
    expression and, in words, what it asks for; environments and build_arguments, names of variables that hold them; booleans,
    names of variables that are true or false and belong to no role."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        problems: list[str] = []
        texts_of_roles: list[str] = []
        for path in sorted(Path(self._task.args["roles_dir"]).glob("*/meta/argument_specs.yml")):
            options = yaml.load(path.read_text(), Loader=SafeLoader)["argument_specs"]["main"].get("options") or {}
            values = self._values(options, task_vars or {})
            # What a user did not set has its default, which tests hold against the specification.
            asked = {
                name: {key: value for key, value in spec.items() if key not in ("required", "default")} for name, spec in options.items()
            }
            false = false_texts(values, [name for name, spec in asked.items() if spec.get("type") == "bool"])
            texts_of_roles += [f"{message}   (role {path.parent.parent.name})" for message in false]
            outcome = ArgumentSpecValidator({name: asked[name] for name in values}).validate(values)
            problems += [f"{message}   (role {path.parent.parent.name})" for message in outcome.error_messages]
        problems += self._patterns(self._task.args.get("patterns") or {}, task_vars or {})
        booleans = self._task.args.get("booleans") or []
        # Roles' options are made from these: where one of them is wrong, it is the cause.
        problems += false_texts(self._values(dict.fromkeys(booleans), task_vars or {}), booleans) or texts_of_roles
        for argument, structures in (("environments", True), ("build_arguments", False)):
            held = self._values(dict.fromkeys(self._task.args.get(argument) or []), task_vars or {})
            problems += not_texts(held, structures)
        if problems:
            result.update(
                failed=True,
                msg="\n".join(["These settings cannot be:", *problems, "They are set in group_vars/, the inventory, .env or by -e."]),
            )
        result.setdefault("changed", False)
        return result

    def _values(self, options: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Those options that have a value now; some get theirs only during the run."""
        found = {}
        for name in options:
            if name in task_vars:
                try:
                    found[name] = self._templar.template(task_vars[name])
                except AnsibleError:
                    continue
        return found

    def _patterns(self, patterns: dict[str, Any], task_vars: dict[str, Any]) -> list[str]:
        """Those values that do not look as their regular expression says."""
        values = self._values(patterns, task_vars)
        return [
            f"{name} is {value!r}; it must be {patterns[name][1]}"
            for name, value in values.items()
            if not re.fullmatch(patterns[name][0], str(value))
        ]
