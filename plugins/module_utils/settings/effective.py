"""The settings of a host as a run has them, and where each value comes from. Runs on the controller only.

What is secret is masked here, once, whatever prints the result: variables and keys whose names say so, what the secrets' schema names, and
every other value that holds the text of a known secret.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .commands import ENVIRONMENT, REFERENCE, public

DEFAULT = "default"
# The lookup that takes a default from the sources.
FOUND = "berth.stack.found"
MASK = "********"
# What could not be evaluated: it is made of what the hosts say.
LATER = "(known during a run)"
# A name that says secret: registry_password, vault_openai_api_key, API_TOKEN. Not what names a file, a source or a service.
SECRET = re.compile(r"(?i)vault_.*|secret_.*|.*(password|passphrase|token|credential|_key|_seed|apikey)s?")
NO_SECRET = re.compile(r"(?i).*_(file|dir|directory|path|url|name|named)")
# Shorter texts are in many values by chance.
SHORTEST = 6
WIDTH = 70


@dataclass(frozen=True)
class Setting:
    """One setting of a host. `origin` is `default`, or says in words where the value comes from."""

    role: str
    name: str
    value: Any
    origin: str


def is_secret(name: str, schema: Collection[str] = ()) -> bool:
    """Whether a variable or a key of a mapping has a secret as its value; `schema`: names of secrets."""
    return name in schema or (SECRET.fullmatch(name) is not None and NO_SECRET.fullmatch(name) is None)


def masked(name: str, value: Any, schema: Collection[str] = (), secrets: Collection[str] = ()) -> Any:
    """`value` without secrets. `secrets`: texts that must not be seen wherever they are."""
    if is_secret(name, schema) and not isinstance(value, (bool, Mapping)) and value not in (None, "", []):
        return MASK
    if isinstance(value, Mapping):
        return {str(key): masked(str(key), item, schema, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked("", item, schema, secrets) for item in value]
    if isinstance(value, str):
        text = str(value)
        for secret in sorted((one for one in secrets if len(one) >= SHORTEST), key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text
    return value


def default_origin(
    name: str, defaults: Mapping[str, Any], environment: Mapping[str, str], read: Mapping[str, str], found: Mapping[str, str] | None = None
) -> str:
    """Where the value of a default comes from: the environment variable that it is read from, of itself or of the setting that it hands on.

    `defaults`: values as they are written; `read`: {environment variable: where it was set}, for those that are not of the environment;
    `found`: {setting: where the sources say it}.
    """
    seen: list[str] = []
    while name not in seen:
        seen.append(name)
        text = str(defaults.get(name, ""))
        for variable in ENVIRONMENT.findall(text):
            if environment.get(variable):
                return f"{read.get(variable, 'environment')} {public(variable)}"
        if found and name in found and FOUND in text:
            return ", ".join(filter(None, ["the sources", found[name]]))
        if not (reference := REFERENCE.fullmatch(text)):
            break
        name = reference[1]
    return DEFAULT


def on_command_line(makeflags: str) -> set[str]:
    """Variables that make's own command line set, of MAKEFLAGS, where they follow `--`."""
    _, found, words = f" {makeflags}".partition(" -- ")
    # A blank within a value is escaped there.
    return set(re.findall(r"(?:^|(?<!\\) )([A-Za-z_][A-Za-z0-9_]*)=", words)) if found else set()


def of_this_command(defaults: Mapping[str, Any]) -> set[str]:
    """Of `defaults`, those that say how a command prints its result: they are not what anything runs with."""
    return {name for name, text in defaults.items() if {"BERTH_FORMAT", "BERTH_CHANGED"} & set(ENVIRONMENT.findall(str(text)))}


def hand_over(names: Iterable[str], wired: Mapping[str, Any]) -> set[str]:
    """Of `names`, those that the role stack makes of other settings for a role: what it has no variable of the environment for."""
    return {name for name in names if name in wired and not ENVIRONMENT.search(str(wired[name]))}


def shown(value: Any, width: int = WIDTH) -> str:
    """A value on one line of a table."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def rows(settings: Iterable[Setting]) -> list[dict[str, str]]:
    """The rows of a table: a role is named in its first row alone."""
    told, last = [], ""
    for one in settings:
        told.append({"role": "" if one.role == last else one.role, "setting": one.name, "value": shown(one.value), "from": one.origin})
        last = one.role
    return told


def as_data(settings: Iterable[Setting]) -> list[dict[str, Any]]:
    """What machines read."""
    return [asdict(one) for one in settings]


def ordered(settings: Iterable[Setting], changed: bool) -> list[Setting]:
    """Sorted by role, stack's own first; with `changed` those alone that somebody set."""
    left = (one for one in settings if not changed or one.origin != DEFAULT)
    return sorted(left, key=lambda one: (one.role != "stack", one.role, one.name))
