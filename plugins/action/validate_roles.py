"""Hold every variable that a user can set against the specifications of the roles, before anything is touched.

A role validates its own arguments when it starts; by then the roles before it have acted. This looks at all of them at once. What an
option of the call (environment, .env) sets was looked at before, by the callback `calls`; both know the same rules.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible import constants
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ..filter.caller import from_caller
from ..module_utils.settings import commands as calls
from ..module_utils.settings import egress, env_file
from ..module_utils.settings.database_access import wrong_access
from ..module_utils.settings.database_extensions import wrong_extensions
from ..module_utils.settings.database_external import complete, wrong_external
from ..module_utils.settings.environment import ValueRefused, texts

# libyaml's loader, where there is one: 20 specifications take half a second without it.
SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# {old name: new name}; no role has a default of an old name, so that whatever has one was set by the user.
RENAMED = Path(__file__).resolve().parents[2] / "roles" / "stack" / "vars" / "renamed.yml"


def specifications(roles: Path) -> dict[str, dict[str, Any]]:
    """{role: {variable: its specification}} below the directory `roles`: of their entry point main, and of stack's settings."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(roles.glob("*/meta/argument_specs.yml")):
        entries = yaml.load(path.read_text(), Loader=SafeLoader)["argument_specs"]
        found[path.parents[1].name] = (entries.get("main") or entries.get("settings") or {}).get("options") or {}
    return found


def problems(specs: Mapping[str, Any], values: Mapping[str, Any], raw: Mapping[str, Any], environment: Mapping[str, str]) -> list[str]:
    """One line for each setting that cannot be what it is, by its public name: settings that are made from it are not reported again."""
    lines: dict[str, str] = {}
    wrong: list[str] = []
    for name, value in sorted(values.items(), key=lambda item: item[0] not in calls.RULES):
        # Files are looked at where the call is made: here the host may be another.
        words = "" if name in calls.FILES else calls.wrong_setting(name, value)
        problem = f"is {value!r}; it must be {words}" if words else _unspecified(name, specs.get(name), value)
        if problem and not any(other in str(raw.get(name)) for other in wrong):
            where = calls.source(name, raw, environment)
            lines.setdefault(where, f"{where} {problem}")
        if problem:
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


def false_texts(values: dict[str, Any], booleans: list[str]) -> list[str]:
    """Which of `booleans` are a text that means false, a line each: a text is true wherever a template asks for it (`a if x else b`)."""
    return [
        f"{name} is the text {str(values[name])!r}, which templates take for true: "
        f"write -e '{{\"{name}\": false}}', or {name}: false in YAML"
        for name in booleans
        if isinstance(values.get(name), str) and values[name].strip().lower() in ("false", "no", "off", "0", "n", "f")
    ]


def not_texts(settings: dict[str, Any], structures: bool) -> list[str]:
    """What no environment can have, a line each."""
    problems: list[str] = []
    for name, variables in settings.items():
        try:
            texts(variables if isinstance(variables, dict) else {}, name, structures)
        except ValueRefused as error:
            problems += str(error).splitlines()
    return problems


class ActionModule(ActionBase):
    """The action; arguments: roles_dir, the directory whose */meta/argument_specs.yml are read; environments, build_arguments and egress,
    names of variables that hold them; engine, hosts or swarm; database_services, those with a login at the database; booleans, names of
    variables that are true or false and belong to no role."""

    _requires_connection = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        raw = task_vars or {}
        specs: dict[str, dict[str, Any]] = {}
        for options in specifications(Path(self._task.args["roles_dir"])).values():
            specs |= options
        values = self._values({**specs, **calls.RULES}, raw)
        found = calls.renamed_lines(yaml.load(RENAMED.read_text(), Loader=SafeLoader), raw)
        found += problems(specs, values, raw, os.environ)
        booleans = self._task.args.get("booleans") or []
        # Roles' options are made from these: where one of them is wrong, it is the cause.
        found += false_texts(self._values(dict.fromkeys(booleans), raw), booleans) or false_texts(
            values, [name for name, spec in specs.items() if spec.get("type") == "bool"]
        )
        for argument, structures in (("environments", True), ("build_arguments", False)):
            found += not_texts(self._values(dict.fromkeys(self._task.args.get(argument) or []), raw), structures)
        found += egress.wrong(
            self._values(dict.fromkeys(self._task.args.get("egress") or []), raw), self._task.args.get("engine") or "hosts"
        )
        services = self._task.args.get("database_services") or []
        found += filter(None, [wrong_access(value, services) for value in self._values({"database_access": None}, raw).values()])
        if services:
            found += filter(None, self._database_problems(raw))
        # The callback `calls` says so first, where it is loaded.
        if unread := env_file.unread(Path(__file__).resolve().parents[2], os.environ, constants.CONFIG_FILE):
            found.append(unread)
        if found:
            result.update(failed=True, msg=calls.refusal(found))
        result.setdefault("changed", False)
        return result

    def _database_problems(self, raw: dict[str, Any]) -> list[str]:
        """What is wrong with the extensions of the stack's database, or with one outside the stack."""
        names = ("database_external", "database_extensions", "database_version", "database_access", "backup_repositories", "stack_engine")
        given = self._values(dict.fromkeys((*names, *(self._task.args.get("egress") or []))), raw)
        external = given.get("database_external")
        problem = wrong_external(external, given)
        if not problem and (outside := complete(external)) and not Path(from_caller(outside["ca_file"])).is_file():
            problem = f"database_external.ca_file is {from_caller(outside['ca_file'])}, which is no file of this controller"
        return [wrong_extensions(given.get("database_extensions", []), given.get("database_version", 15)), problem]

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
