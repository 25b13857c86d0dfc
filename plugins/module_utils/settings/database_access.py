"""Which services use the tables of another one with their own login, and which make schemas of their own (database_access)."""

from __future__ import annotations

from typing import Any

# What a role may do with another one's tables.
LEVELS = {"read": ["SELECT"], "write": ["SELECT", "INSERT", "UPDATE", "DELETE"]}
# In place of another service: whether the service may create schemas.
CREATE = "create"


def wrong_access(access: Any, names: list[str]) -> str:
    """What is wrong with `access`, of the services `names`; empty if nothing."""
    example = "for example {backend: {frontend: read}}: the backend reads the frontend's tables"
    if not isinstance(access, dict) or not all(isinstance(others, dict) for others in access.values()):
        return f"database_access is {access!r}; it must be by service the services whose tables it may use, {example}"
    for service, others in access.items():
        for other, level in others.items():
            entry = f"database_access has {service}: {{{other}: {level}}}"
            if other == CREATE:
                if service not in names or not isinstance(level, bool):
                    return f"{entry}; it must be of {' or '.join(names)}, and true or false, for example {{{names[-1]}: {{create: true}}}}"
                continue
            if service not in names or other not in names or service == other:
                return f"{entry}; it must name two different services of {', '.join(names)}, {example}"
            if level not in LEVELS:
                return f"{entry}; it must be read or write, {example}"
    return ""
