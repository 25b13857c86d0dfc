"""Which hosts outside the stack a service may connect to (backend_image_egress, frontend_image_egress)."""

from __future__ import annotations

import re
from typing import Any

ALL = "all"
HOST = re.compile(r"(?=.{1,253}$)(?=.*[a-z])[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.I)
# Protocols in which the server speaks first, so that no connection names its host.
SERVER_FIRST = {21: "FTP", 22: "SSH", 25: "SMTP", 110: "POP3", 143: "IMAP", 587: "SMTP", 3306: "MySQL"}
FORM = "a list of host[:port] (port 443 by default), for example [api.stripe.com, 'smtp.example.com:587'], or all"


def targets(value: Any) -> list[str]:
    """HOST:PORT of each entry; none for `all`. Raises ValueError, whose message completes "SETTING ..."."""
    if value == ALL:
        return []
    if not isinstance(value, list):
        raise ValueError(f"is {value!r}; it must be {FORM}")
    found: dict[str, int] = {}
    for entry in value:
        host, _, port = str(entry).partition(":")
        if "*" in host or re.fullmatch(r"[0-9.]+|.*:.*:.*", str(entry).rpartition(":")[0] or host):
            form = "a pattern" if "*" in host else "an address"
            raise ValueError(f"has {entry!r}, {form}: only names can be allowed one by one; list the names, or set it to all")
        if not HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{1,5}", port or "443") or not 0 < int(port or 443) < 65536:
            raise ValueError(f"has {entry!r}; it must be {FORM}")
        found[f"{host.lower()}:{port or 443}"] = int(port or 443)
    for number in sorted(set(found.values()) & set(SERVER_FIRST)):
        hosts = [target.partition(":")[0] for target, other in found.items() if other == number]
        if len(hosts) > 1:
            raise ValueError(
                f"has {' and '.join(hosts)} on port {number} ({SERVER_FIRST[number]}), where a connection does not name its host: "
                "keep one of them, or set it to all"
            )
    return list(found)


def wrong(settings: dict[str, Any], engine: str) -> list[str]:
    """What is wrong with the settings {name: value}, a line each."""
    problems = []
    for name, value in settings.items():
        try:
            listed = targets(value)
        except ValueError as error:
            problems.append(f"{name} {error}")
            continue
        if listed and engine == "swarm":
            problems.append(f"{name} lists hosts, which nothing restricts in a Swarm (STACK_ENGINE=swarm): set it to all, or to []")
    return problems
