"""Refuse a call that cannot be meant, before its first play: an inventory without hosts, a limit that matches nothing, an impossible value.

A play without hosts is skipped by Ansible, and the run ends with 0. This callback is no stdout callback: it is loaded whatever prints the
output. It costs a run a few milliseconds; values are looked at more closely only where options are set.
"""

from __future__ import annotations

DOCUMENTATION = r"""
name: calls
type: aggregate
short_description: Refuse a call that cannot be meant
description: Ends a run with status 2 before its first play where the inventory, the limit or an option cannot be meant.
"""

import os
import sys
from pathlib import Path
from typing import Any

import yaml
from ansible import constants as C
from ansible import context
from ansible.errors import AnsibleError
from ansible.plugins.callback import CallbackBase
from ansible.template import Templar

# On the controller a plugin finds the module_utils of its own project as its modules do on a host.
_ROOT = Path(__file__).resolve().parents[2]
# Every setting that an option of a call decides.
_SETTINGS = _ROOT / "roles/stack/defaults/main/settings.yml"

from ..module_utils.settings import application, env_file
from ..module_utils.settings import commands as calls

# The playbook that writes app.yml.
WRITES = "init.yml"
GROUPS = ("builders", "docker_hosts")


class CallbackModule(CallbackBase):
    """The check, at the start of each playbook."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "berth.stack.calls"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_start(self, playbook: Any) -> None:
        plays = playbook.get_plays()
        needed = [group for group in GROUPS if any(group in play.hosts for play in plays)]
        if not plays:
            return
        manager = plays[0].get_variable_manager()
        problems = self._load_application(manager, plays[0].get_loader(), os.path.basename(playbook._file_name) == WRITES)
        if not needed:
            return
        # Variables as the plays will have them: until the first one starts, group_vars/ of the caller's directory would be among them.
        loader, folder = plays[0].get_loader(), plays[0].get_loader().get_basedir()
        loader.set_basedir(os.path.dirname(os.path.abspath(playbook._file_name)))
        problems += [*self._wrong_hosts(manager, needed), *self._wrong_options(manager, plays[0], needed)]
        loader.set_basedir(folder)
        if unread := env_file.unread(_ROOT, os.environ, C.CONFIG_FILE):
            problems.append(unread)
        if problems:
            self._display.display(calls.refusal(problems), color=C.COLOR_ERROR, stderr=True)
            sys.stdout.flush()
            raise SystemExit(2)

    # --- the application -------------------------------------------------------------------------------------------------

    def _load_application(self, manager: Any, loader: Any, written: bool) -> list[str]:
        """Give all hosts the settings of app.yml, below every value of the inventory and above the defaults of roles."""
        group = manager._inventory.groups["all"]
        for name in application.loaded:  # of a playbook before this one in the same call
            group.vars.pop(name, None)
        try:
            values, warnings = application.values(
                _ROOT, os.environ, lambda path: loader.load_from_file(str(path), trusted_as_template=True), written
            )
        except (application.Refused, AnsibleError) as error:
            return [str(error)]
        for warning in warnings:
            self._display.warning(warning)
        for name, value in values.items():
            if name in group.vars:
                del application.loaded[name]
            else:
                group.set_variable(name, value)
        return []

    # --- where ----------------------------------------------------------------------------------------------------------

    def _wrong_hosts(self, manager: Any, needed: list[str]) -> list[str]:
        inventory = manager._inventory
        groups = {name: [host.name for host in group.get_hosts()] for name, group in inventory.groups.items()}
        sources = [_shown(one) for one in inventory._sources or []]
        problems = calls.wrong_inventory(sources, sorted(inventory.hosts), groups, needed)
        limit = (context.CLIARGS or {}).get("subset") or ""
        if problems or not limit:
            return problems
        patterns = [pattern.lstrip("!&") for pattern in inventory._subset or []]
        unmatched = [pattern for pattern in patterns if pattern and pattern != "builders" and not _matches(inventory, pattern)]
        left = {group: [host.name for host in inventory.get_hosts(group)] for group in needed}
        return calls.wrong_limit(calls.without_builders(limit), unmatched, left, groups)

    # --- what -----------------------------------------------------------------------------------------------------------

    def _wrong_options(self, manager: Any, play: Any, needed: list[str]) -> list[str]:
        files = [*sorted(_ROOT.glob("roles/*/defaults/main.yml")), _SETTINGS]
        known: dict[str, list[str]] = {}
        for path in files:
            for name, settings in calls.options(path.read_text()).items():
                known.setdefault(name, []).extend(settings)
        hosts = [host for group in needed if group in manager._inventory.groups for host in manager._inventory.get_hosts(group)][:1]
        problems = []
        for name, settings in calls.wrong_options(known, os.environ).items():
            if read := [setting for setting in settings if self._is_read(setting, name, manager, hosts, needed)]:
                problems.append(calls.option_line(name, read[0], os.environ[name]))
        if not problems and (os.environ.get("HTTPS_PORT") or os.environ.get("HTTP_PORT")):
            problems += calls.same_ports(*self._values(("stack_https_port", "stack_http_port"), manager, play, hosts))
        if not problems and os.environ.get("REGISTRY_OWN"):
            problems += calls.registry_without_host(*self._values(("registry_managed", "registry_host"), manager, play, hosts))
        section, ids = (os.environ.get(calls.PREFIX + name, "") for name in ("SECTION", "ID"))
        if section or ids:
            catalogue = yaml.safe_load((_ROOT / "roles/verify/files/criteria.yml").read_text())
            problems += calls.wrong_criteria(catalogue, section, ids)
        return problems

    def _is_read(self, setting: str, name: str, manager: Any, hosts: list[Any], needed: list[str]) -> bool:
        """Whether a setting still has its value from the environment: the inventory and -e outrank it."""
        if setting == "container_ca_bundle" and not ("builders" in needed and self._builds_here(manager)):
            return False  # nothing is built, or the path is one of another machine
        raw = manager.get_vars(host=hosts[0]) if hosts else {}
        return setting not in raw or name in str(raw[setting])

    def _builds_here(self, manager: Any) -> bool:
        builders = manager._inventory.get_hosts("builders", ignore_limits=True)
        return any(host.get_vars().get("ansible_connection") == "local" for host in builders)

    def _values(self, settings: tuple[str, ...], manager: Any, play: Any, hosts: list[Any]) -> list[Any]:
        if not hosts:
            return ["", "-"]
        raw = play.get_loader().load_from_file(str(_SETTINGS), trusted_as_template=True) | manager.get_vars(play=play, host=hosts[0])
        templar = Templar(loader=play.get_loader(), variables=raw)
        try:
            return [templar.template(raw[setting]) for setting in settings]
        except (AnsibleError, KeyError):
            return ["", "-"]


def _matches(inventory: Any, pattern: str) -> bool:
    try:
        # As Ansible evaluates a limit: it was split already, and what still has a separator in it (a,b:c) is one name.
        return bool(inventory._evaluate_patterns([pattern]))
    except AnsibleError:
        return False


def _shown(path: str) -> str:
    """A path as somebody would type it."""
    relative = os.path.relpath(path)
    return relative if "," not in path and not relative.startswith("..") else path
