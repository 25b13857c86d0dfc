"""Hold every variable that a user can set against the specifications of the roles, before anything is touched.

A role validates its own arguments when it starts; by then the roles before it have acted. This looks at all of them at once. What an
option of the call (environment, .env) sets was looked at before, by the callback `calls`; both know the same rules.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
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

from ansible.module_utils import calls

# libyaml's loader, where there is one: 20 specifications take half a second without it.
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def problems(specs: Mapping[str, Any], values: Mapping[str, Any], raw: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """One line for each setting that cannot be what it is, by its public name: what only hands it on is not told again."""
    lines: dict[str, str] = {}
    wrong: list[str] = []
    for name, value in sorted(values.items(), key=lambda item: item[0] not in calls.RULES):
        # Files are looked at where the call is made: here the host may be another.
        words = "" if name in calls.FILES else calls.wrong_setting(name, value)
        told = f"is {value!r}; it must be {words}" if words else _unspecified(name, specs.get(name), value)
        if told and not any(other in str(raw.get(name)) for other in wrong):
            where = calls.source(name, raw, environment)
            lines.setdefault(where, f"{where} {told}")
        if told:
            wrong.append(name)
    return [*lines.values(), *calls.same_ports(values.get("stack_https_port", ""), values.get("stack_http_port", "-"))]


def _unspecified(name: str, spec: dict[str, Any] | None, value: Any) -> str:
    """How a value differs from its specification."""
    if spec is None:
        return ""
    # What a user did not set has its default, which tests hold against the specification.
    asked = {key: item for key, item in spec.items() if key not in ("required", "default")}
    messages = ArgumentSpecValidator({name: asked}).validate({name: value}).error_messages
    if not messages:
        return ""
    if spec.get("choices") and not isinstance(value, list | dict):
        return f"is {value!r}; it must be one of {', '.join(map(str, spec['choices']))}"
    if any(message.startswith(f"argument '{name}' is of type") for message in messages):
        return f"must be of type {spec['type']}"
    if any(message.startswith("Elements value") for message in messages):
        return f"must be a list whose elements are of type {spec['elements']}"
    return f"is not as its role specifies: {'; '.join(messages)}"


class ActionModule(ActionBase):
    """The action; argument: roles_dir, the directory whose */meta/argument_specs.yml are read."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        raw = task_vars or {}
        specs: dict[str, dict[str, Any]] = {}
        for path in sorted(Path(self._task.args["roles_dir"]).glob("*/meta/argument_specs.yml")):
            specs |= yaml.load(path.read_text(), Loader=SafeLoader)["argument_specs"]["main"].get("options") or {}
        found = problems(specs, self._values({**specs, **calls.RULES}, raw), raw, os.environ)
        if found:
            result.update(failed=True, msg=calls.refusal(found))
        result.setdefault("changed", False)
        return result

    def _values(self, names: Mapping[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Those settings that have a value now; some get theirs only during the run."""
        found = {}
        for name in names:
            if name in task_vars:
                try:
                    found[name] = self._templar.template(task_vars[name])
                except AnsibleError:
                    continue
        return found
