"""Read the settings of a host as its plays have them, and where each comes from: command line, environment, .env, inventory, default."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.template import Templar, trust_as_template

try:  # where a value was written: for people, and missing in other releases of Ansible
    from ansible._internal._datatag._tags import Origin
except ImportError:  # pragma: no cover
    Origin = None

from ..module_utils.settings import application, effective, env_file
from .validate_roles import specifications

PROJECT = Path(__file__).resolve().parents[2]
ROLES = PROJECT / "roles"
# Where the sources say what is a default.
FOUND = trust_as_template("{{ lookup('berth.stack.found', 'places') }}")
# Where a value is encrypted as it is written, Ansible has it as one of these.
ENCRYPTED = ("EncryptedString", "AnsibleVaultEncryptedUnicode")


class ActionModule(ActionBase):
    """The action. Argument: changed, only what is not the default. Returns settings, a list of mappings, and rows, the same for a table."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        given = self._user_values(task_vars or {})
        defaults, wired = self._defaults()
        raw: dict[str, Any] = {}
        for values in defaults.values():
            raw |= values
        variables = {**raw, **(task_vars or {})}
        schema = self._evaluated("secrets_schema", variables) or {}
        places = self._evaluated("stack_found_places", {**variables, "stack_found_places": FOUND})
        self._found = places if isinstance(places, Mapping) else {}
        secrets = _secrets(schema, given, os.environ)
        found = []
        for role, names in self._names(defaults, wired, given).items():
            for name in names:
                encrypted = type(variables.get(name)).__name__ in ENCRYPTED
                value = effective.MASK if encrypted else effective.masked(name, self._evaluated(name, variables), schema, secrets)
                found.append(effective.Setting(role, name, value, self._origin(name, given, raw)))
        settings = effective.ordered(found, bool(self._task.args.get("changed")))
        result.update(changed=False, settings=effective.as_data(settings), rows=effective.rows(settings))
        return result

    def _defaults(self) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        """({role: its defaults as they are written}, those of stack for other roles)."""
        found: dict[str, dict[str, Any]] = {}
        for path in [*sorted(ROLES.glob("*/defaults/main.yml")), *sorted((ROLES / "stack/defaults/main").glob("*.yml"))]:
            role = path.relative_to(ROLES).parts[0]
            found.setdefault(role, {}).update(self._loader.load_from_file(str(path), trusted_as_template=True) or {})
        wired = found["stack"] | found.pop("wiring")
        return {**found, "stack": wired}, wired

    def _names(self, defaults: Mapping[str, Any], wired: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, list[str]]:
        """{role: its settings that a user may set or has set}."""
        names: dict[str, list[str]] = {}
        known = {name for values in defaults.values() for name in values} | set(given)
        specs = specifications(ROLES)
        own = set(specs.get("stack", {}))
        handed = effective.hand_over(known - own, wired) - set(given)
        for values in defaults.values():
            handed |= effective.of_this_command(values)
        for role, options in specs.items():
            names[role] = sorted(name for name in options if name in known and name not in handed)
        named = {name for some in names.values() for name in some}
        names["stack"] += sorted(name for name in wired if name in given and name not in named)
        names["secrets"] += sorted(name for name in given if name.startswith("vault_"))
        return names

    def _user_values(self, task_vars: Mapping[str, Any]) -> dict[str, Any]:
        """What an inventory, the files beside it and -e give the host, without facts and without defaults of roles."""
        manager = self._task.get_variable_manager()
        self._manager = manager
        self._host = manager._inventory.get_host(task_vars["inventory_hostname"])
        values: dict[str, Any] = manager.get_vars(host=self._host, include_hostvars=False)
        return values

    def _origin(self, name: str, given: Mapping[str, Any], raw: Mapping[str, Any]) -> str:
        if name in self._manager.extra_vars:
            return f"command line, -e{_place(self._manager.extra_vars[name], ' ')}"
        if name in given:
            return self._inventory_origin(name, given[name])
        on_line = effective.on_command_line(os.environ.get("MAKEFLAGS", ""))
        # make exports an option of one call under the name that playbooks read.
        read = env_file.places | dict.fromkeys([*on_line, *(env_file.PREFIX + name for name in on_line)], "command line")
        return effective.default_origin(name, raw, os.environ, read, self._found)

    def _inventory_origin(self, name: str, value: Any) -> str:
        """The host or group that a value is set for, and the file and line where there is one."""
        where = _place(value, ", ")
        if name in self._host.vars:
            return f"inventory, host {self._host.name}{where}"
        for group in sorted(self._host.get_groups(), key=lambda one: (one.depth, one.priority, one.name), reverse=True):
            if name in group.vars and group.name == "all" and name in application.loaded:
                return where.removeprefix(", ") or str(application.loaded[name])
            if name in group.vars:
                return f"inventory, group {group.name}{where}"
        return f"group_vars or host_vars{where}"

    def _evaluated(self, name: str, variables: dict[str, Any]) -> Any:
        if name not in variables:
            return None
        try:
            return Templar(loader=self._loader, variables=variables).template(variables[name])
        except AnsibleError:
            return effective.LATER


def _place(value: Any, before: str) -> str:
    """The file and line in which a value is written; empty where Ansible does not know, as of true and false."""
    origin = Origin.get_tag(value) if Origin is not None else None
    if origin is None or not origin.path:
        return ""
    relative = os.path.relpath(origin.path)
    path = origin.path if relative.startswith("..") else relative
    return f"{before}{path}" + (f" line {origin.line_num}" if origin.line_num else "")


def _secrets(schema: Mapping[str, Any], given: Mapping[str, Any], environment: Mapping[str, str]) -> set[str]:
    """Texts of secrets that this process knows: they are masked wherever they are."""
    named = {str(one.get("environment")) for one in schema.values() if isinstance(one, Mapping) and one.get("environment")}
    texts = {value for name, value in environment.items() if name in named or env_file.SECRETS.fullmatch(name)}
    texts |= {str(value) for name, value in given.items() if effective.is_secret(name, schema) and isinstance(value, str)}
    return texts - {""}
