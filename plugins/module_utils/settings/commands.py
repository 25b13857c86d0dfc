"""Checks of a command before anything is changed: values of options, the inventory, the limit.

The public name of a setting is the environment variable that its value is read from: it is found in the text of the value,
`lookup('ansible.builtin.env', 'HTTPS_PORT')`, so that no second table of names exists. Options of one call are read as BERTH_<option> and
called <option>.
"""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any

ENVIRONMENT = re.compile(r"lookup\('ansible\.builtin\.env', '([A-Z][A-Z0-9_]*)'\)")
REFERENCE = re.compile(r"\s*\{\{\s*([a-z_][a-z0-9_]*)\s*\}\}\s*")
BOOLEANS = ("true", "false", "yes", "no", "on", "off", "1", "0")
PREFIX = "BERTH_"

# Whether a value is allowed, and what it must be, in words.
Rule = tuple[Callable[[str], bool], str]


def _matches(pattern: str) -> Callable[[str], bool]:
    return lambda value: re.fullmatch(pattern, value) is not None


def _one_of(*values: str) -> Rule:
    return (lambda value: value in values), "one of " + ", ".join(values)


def _between(low: int, high: int) -> Callable[[str], bool]:
    return lambda value: re.fullmatch("[0-9]{1,9}", value) is not None and low <= int(value) <= high


def _is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _is_serial(value: str) -> bool:
    parts = [part.strip() for part in value.split(",")]
    return all(_between(1, 100)(part[:-1]) if part.endswith("%") else _between(1, 10**6)(part) for part in parts)


def _is_file(value: str) -> bool:
    return os.path.isfile(value) and os.access(value, os.R_OK)


_BOOLEAN: Rule = (lambda value: value.lower() in BOOLEANS), "true or false"
_PORT: Rule = _between(1, 65535), "a port, 1 to 65535"
_FORMAT = _one_of("table", "json")
_URL: Rule = _matches(r"https?://[^\s/]+(/\S*)?"), "a URL, http:// or https://"
_SERVICE: Rule = _matches("[a-z][a-z0-9-]*"), "the name of a service, for example backend"

RULES: dict[str, Rule] = {
    "stack_name": (_matches("[a-z][a-z0-9-]{0,29}"), "at most 30 lower-case letters, digits and hyphens, a letter first"),
    "stack_version": (_matches(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"), "letters, digits, dots, hyphens and underscores"),
    "stack_engine": (lambda value: value in ("hosts", "swarm"), "hosts or swarm"),
    "stack_serial": (_is_serial, "numbers of hosts or shares of them, from 1 and 1% to 100%, for example 1,25%,100%"),
    "stack_strict": _BOOLEAN,
    "stack_host": (_matches("[A-Za-z0-9.-]+"), "a host name, without scheme and port"),
    "stack_bind": (_is_address, "an IP address of the host, for example 127.0.0.1, or 0.0.0.0 for all"),
    "stack_https_port": _PORT,
    "stack_http_port": _PORT,
    "stack_tls": _one_of("auto", "internal", "acme"),
    "stack_config_format": _FORMAT,
    "stack_config_changed": _BOOLEAN,
    "stack_log_level": _one_of("debug", "info", "warning", "error"),
    "container_ca_bundle": (_is_file, "a file that can be read here"),
    "model_base_url": _URL,
    "registry_address": (
        _matches(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[a-z0-9._-]+)*"),
        "host[:port][/path] without scheme, for example registry.example.org/team",
    ),
    "registry_managed": _BOOLEAN,
    "registry_host": (_matches("[A-Za-z0-9.-]+"), "a host name or an address, without scheme and port"),
    "registry_port": _PORT,
    "edge_maintenance": (lambda value: value.lower() in ("true", "false"), "true or false"),
    "release_rollback_schema": _one_of("downgrade", "restore", "accept"),
    "release_lock_timeout": (_between(0, 10**6), "seconds, a whole number"),
    "release_scale": (_between(1, 99), "a number of tasks, 1 to 99"),
    "release_scale_service": _SERVICE,
    "status_format": _FORMAT,
    "status_service": _SERVICE,
    "status_lines": (_between(1, 10**6), "a number of lines, 1 or more"),
    "secrets_format": _FORMAT,
    "secrets_sops_file": (_is_file, "a file that can be read here"),
    "backup_format": _FORMAT,
    "backup_type": _one_of("full", "differential"),
    "backup_at": (
        _matches(r"latest|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)"),
        "a moment with its time zone, for example 2026-11-27T14:03Z or 2026-11-27T15:03:20+01:00, or latest",
    ),
    "image_checks_services": _SERVICE,
    "verify_stress_seconds": (_between(1, 10**6), "seconds, a whole number from 1"),
    "verify_stress_rate": (_between(1, 10**6), "requests per second, a whole number from 1"),
}

# Settings that say which stack a command works on and where it is reached; a hint to type has those that are not the default.
IDENTITY = ("STACK_NAME", "STACK_HOST", "STACK_BIND", "HTTPS_PORT", "HTTP_PORT", "LOCAL_DIR")
DEFAULT_STACK = "berth"
FILES = ("container_ca_bundle", "secrets_sops_file")


def public(name: str) -> str:
    """The name under which an operator sets what is read from the environment variable `name`."""
    return name.removeprefix(PREFIX)


def options(text: str) -> dict[str, list[str]]:
    """{environment variable: the settings that are read from it}, of the text of a file of variables."""
    found: dict[str, list[str]] = {}
    setting = ""
    for line in text.splitlines():
        if key := re.match(r"([a-z_][a-z0-9_]*):", line):
            setting = key[1]
        if not line.lstrip().startswith("#"):
            for name in ENVIRONMENT.findall(line):
                found.setdefault(name, []).append(setting)
    return found


def source(setting: str, raw: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """The public name of a setting: the environment variable that its value comes from, or its own where it is set elsewhere.

    `raw` has the values as they are written: what only hands on another setting is called by that one's name.
    """
    seen = []
    while setting not in seen:
        seen.append(setting)
        text = str(raw.get(setting, ""))
        for name in ENVIRONMENT.findall(text):
            if environment.get(name):
                return public(name)
        if not (reference := REFERENCE.fullmatch(text)):
            break
        setting = reference[1]
    return setting


def wrong_value(setting: str, value: str) -> str:
    """What a value must be that its rule does not allow; empty where it does, or where there is none."""
    rule = RULES.get(setting)
    return "" if rule is None or value == "" or rule[0](value) else rule[1]


def wrong_setting(setting: str, value: Any) -> str:
    """The same for a value that was read already: each element of a list is looked at by itself."""
    elements = value if isinstance(value, list) else [value]
    return next((words for one in elements if one is not None and (words := wrong_value(setting, str(one)))), "")


def wrong_options(known: Mapping[str, list[str]], environment: Mapping[str, str]) -> dict[str, list[str]]:
    """{environment variable: the settings that cannot have its value}; `known` is what options() found.

    Of several variables that one setting is read from, the first that is set counts.
    """
    wrong: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for name, settings in known.items():
        for setting in settings if environment.get(name) else []:
            first.setdefault(setting, name)
        failing = [setting for setting in settings if first.get(setting) == name and wrong_value(setting, environment[name])]
        if failing:
            wrong[name] = failing
    return wrong


def option_line(name: str, setting: str, value: str) -> str:
    """One line about an option that cannot be what it is."""
    return f"{public(name)} is {value!r}; it must be {wrong_value(setting, value)}"


def renamed_lines(table: Mapping[str, str], given: Iterable[str]) -> list[str]:
    """One line for each variable in `given` that `table` ({old name: new name}) says has another name now."""
    return [f"{name} is called {table[name]} now: rename it where it is set" for name in sorted(set(given) & set(table))]


def same_ports(https_port: Any, http_port: Any) -> list[str]:
    """Both ports of the edge are published on one address."""
    return [f"HTTPS_PORT and HTTP_PORT are both {https_port}; they must differ"] if str(https_port) == str(http_port) else []


def registry_without_host(own: Any, host: Any) -> list[str]:
    """Hosts reach the registry that the builder runs by a name or an address."""
    if str(own).lower() in ("true", "yes", "on", "1") and not host:
        return ["REGISTRY_OWN is set, and REGISTRY_HOST is not: the name or address under which hosts reach the registry"]
    return []


def wrong_criteria(catalogue: Iterable[Mapping[str, Any]], section: str, ids: str) -> list[str]:
    """Choices of acceptance criteria (SECTION=, ID=) that match none."""
    sections = list(catalogue)
    names = [str(one["section"]) for one in sections]
    known = [str(criterion["id"]) for one in sections for criterion in one["criteria"]]
    lines = []
    if section and not any(section.lower() in name.lower() for name in names):
        lines.append(f"SECTION is {section!r}, which no section of the criteria has in its name: {', '.join(names)}")
    if unknown := [one for one in re.split(r"[,\s]+", ids) if one and not any(name.startswith(one.upper()) for name in known)]:
        lines.append(f"ID is {ids!r}: no criterion is called {', '.join(unknown)} or begins so; docs/acceptance.md has them all")
    return lines


# What to write into an inventory that lacks a group: lines of YAML, in flow style so that each fits into a message.
GROUP_FIX = {
    "docker_hosts": "Add the hosts that the application runs on:\n"
    "    docker_hosts: {hosts: {web-1.example.org: {ansible_user: deploy, ansible_become: true}}}",
    "builders": "Images are built on its first host. To build on this machine, add:\n"
    "    builders: {hosts: {localhost: {ansible_connection: local, ansible_python_interpreter: '{{ ansible_playbook_python }}'}}}",
}


def wrong_inventory(sources: Iterable[str], hosts: list[str], groups: Mapping[str, list[str]], needed: Iterable[str]) -> list[str]:
    """Inventories that are not there or name no host, and groups that the call works on and that have none.

    `groups`: {group: its hosts}; `needed`: the groups of the call's plays.
    """
    sources = list(sources)
    gone = [path for path in sources if "," not in path and not os.path.exists(path)]
    if gone:
        return [f"INVENTORY is {', '.join(gone)}: there is no such file or directory"]
    named = ", ".join(sources) or "not set"
    if not hosts:
        return [f"INVENTORY is {named}: it names no host, or it cannot be read as an inventory"]
    empty = [group for group in needed if not groups.get(group)]
    if empty:
        have = ", ".join(name for name, members in sorted(groups.items()) if members and name not in ("all", "ungrouped"))
        return [
            f"INVENTORY is {named}: its group {group} has no host, and the call works on that group (groups with hosts: {have or 'none'}). "
            + GROUP_FIX[group]
            for group in empty
        ]
    return []


def with_builders(limit: str) -> str:
    """`limit` and the group of the builder. Ansible splits a pattern at its commas where it has one, else at its colons."""
    return f"{limit}{_separator(limit)}builders"


def without_builders(limit: str) -> str:
    """`limit` as it was given to make."""
    return limit.removesuffix(f"{_separator(limit)}builders")


def _separator(limit: str) -> str:
    return "," if "," in limit else ":"


def limit_files(limit: str, absolute: Callable[[str], str]) -> tuple[str, list[str]]:
    """(`limit` with the path of each @file made absolute, those files that are not there)."""
    separator = _separator(limit)
    parts = [f"@{absolute(part.strip()[1:])}" if part.strip().startswith("@") else part for part in limit.split(separator)]
    return separator.join(parts), [part[1:] for part in parts if part.startswith("@") and not os.path.isfile(part[1:])]


def wrong_limit(limit: str, unmatched: list[str], left: Mapping[str, list[str]], groups: Mapping[str, list[str]]) -> list[str]:
    """Parts of a limit that match nothing, and groups of which it leaves no host.

    `unmatched`: patterns that match no host and no group; `left`: {group of the call's plays: its hosts within the limit}.
    """
    hosts = sorted({host for members in groups.values() for host in members})
    names = sorted(name for name, members in groups.items() if members and name not in ("all", "ungrouped"))
    if unmatched:
        return [
            f"LIMIT names {', '.join(unmatched)}: no host and no group of the inventory is called so. Hosts: {_some(hosts)}; "
            f"groups: {_some(names)}"
        ]
    lines = []
    for group, members in left.items():
        if not members and group == "builders":
            lines.append(
                f"LIMIT is {limit}: it leaves out the group builders, where images are built: --limit '{with_builders(limit)}' (make does)"
            )
        elif not members:
            lines.append(f"LIMIT is {limit}: it leaves no host of the group {group}, which has {_some(sorted(groups.get(group, [])))}")
    return lines


def _some(names: list[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "") or "none"


def refusal(problems: list[str]) -> str:
    """One message for all that is wrong with a call."""
    where = "Options are set on make's command line, in the environment or in .env; variables in the inventory, in group_vars/ or by -e."
    return "\n".join(["This call is refused; nothing was touched:", *(f"  {line}" for line in dict.fromkeys(problems)), where])


def hint_options(stack: str, environment: Mapping[str, str], inventory: str = "") -> list[str]:
    """What a command must have on its line to work on the same stack: nothing for the default stack of the default inventory.

    `inventory`: where it is not the default one. Where the inventory names the stack, its name in the environment would change nothing.
    """
    named = stack != DEFAULT_STACK and environment.get("STACK_NAME") == stack
    words = [f"{name}={shlex.quote(environment[name])}" for name in IDENTITY if named and environment.get(name)]
    if application := environment.get(f"{PREFIX}APP"):
        words.append(f"APP={shlex.quote(application)}")
    return [*words, f"INVENTORY={shlex.quote(inventory)}"] if inventory else words


def typed(text: str, options: list[str], commands: Iterable[str]) -> str:
    """A message in which each `make COMMAND` has the options, so that it can be typed as it stands."""
    if not options or text.lstrip()[:1] in ("{", "["):
        return text

    def complete(found: re.Match[str]) -> str:
        given = {word.partition("=")[0] for word in found[2].split()}
        return found[1] + "".join(f" {word}" for word in options if word.partition("=")[0] not in given) + found[2]

    pattern = rf"\b(make (?:{'|'.join(map(re.escape, sorted(commands, key=len, reverse=True)))}))(?![\w-])((?: [A-Z_]+=[^\s,;)|]*)*)"
    return re.sub(pattern, complete, text)
