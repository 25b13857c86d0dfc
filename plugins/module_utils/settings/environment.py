"""From the values of settings to environment variables and build arguments, which are texts and nothing else.

YAML has more types than an environment has. What has one usual form is written in it: false, 8000, JSON for a list or a mapping.
What has none is refused by its name. Pure functions, used by the filters and by the check of all settings before a run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

# Names of variables whose value is a secret, and of those that say so of something public.
SECRET_NAME = re.compile(r"(SECRET|PASSWORD|PASSWD|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIALS?|SERVICE_?ROLE(_KEY)?)$", re.IGNORECASE)
PUBLIC_NAME = re.compile(r"PUBLISHABLE|(PUBLIC|SITE)_KEY$")


class ValueRefused(ValueError):
    """A value that no environment variable can have; the message has a line for each and names the setting."""


def text(value: Any, structures: bool = True) -> str:
    """`value` as the environment has it. Raises ValueError, whose message completes "NAME ...".

    `structures`: whether lists and mappings are written as JSON; a build argument is split by its Dockerfile, each in its own way.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("has a NUL character in its value: remove it, or give the value as a secret's file in base64")
        # str(): Ansible's strings carry where they come from.
        return str(value)
    if value is None:
        raise ValueError("has no value: write '' for an empty one, or remove it")
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    if isinstance(value, (Mapping, list, tuple)):
        if structures:
            return json.dumps(_plain(value), ensure_ascii=False)
        kind = "mapping" if isinstance(value, Mapping) else "list"
        raise ValueError(f"is a {kind}, and a build argument is one text: write it as the Dockerfile reads it, for example 'one two'")
    raise ValueError(f"is {_described(value)}: write it in quotes")


def texts(variables: Mapping[Any, Any], setting: str, structures: bool = True) -> dict[str, str]:
    """The environment of `variables`, which the operator wrote in `setting`. Raises ValueRefused."""
    made: dict[str, str] = {}
    problems: list[str] = []
    for name, value in variables.items():
        # A value that Ansible's `omit` stands for: the variable is not there.
        if type(value).__name__ == "_OmitType":
            continue
        try:
            made[_name(name)] = text(value, structures)
        except ValueError as error:
            problems.append(f"{setting}: {name} {error}")
    if problems:
        raise ValueRefused("\n".join(problems))
    return made


def _name(name: Any) -> str:
    if not isinstance(name, str):
        # YAML reads a bare NO, OFF or N as false and a bare 1 as a number.
        raise ValueError(f"is {_described(name)} where the name of a variable is expected: write the name in quotes")
    if not name or "=" in name or "\0" in name:
        raise ValueError("is no name of a variable: it must have a character at least, and no '='")
    return str(name)


def _described(value: Any) -> str:
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, (int, float)):
        return f"the number {value}"
    for kind in ("datetime", "date", "time"):
        if any(base.__name__ == kind for base in type(value).__mro__):
            return f"a date ({value})"
    return f"of the type {type(value).__name__}"


def _plain(value: Any) -> Any:
    """`value` of the types that JSON has; by iteration, because what is in Ansible's containers is evaluated only then."""
    if isinstance(value, Mapping):
        names = [name for name in value if not isinstance(name, str)]
        if names:
            raise ValueError(f"has the key {names[0]}, which is {_described(names[0])}: write it in quotes")
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    raise ValueError(f"has {_described(value)} in it: write that in quotes")


def secret_names(variables: Mapping[str, Any]) -> list[str]:
    """The names of `variables` whose values are secrets by their names. Credentials may be the path of their file, which is none."""
    return sorted(
        name
        for name, value in ((str(name), value) for name, value in variables.items())
        if SECRET_NAME.search(name)
        and not PUBLIC_NAME.search(name)
        and not (re.search(r"CREDENTIALS?$", name, re.IGNORECASE) and str(value).startswith("/"))
    )
