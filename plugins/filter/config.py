"""The settings of hosts as people or machines read them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ..module_utils.release.table import table

COLUMNS = ("role", "setting", "value", "from")


def config_text(hosts: Iterable[str], variables: Mapping[str, Any], name: str, form: str) -> str:
    """The settings that action C(stack_config) registered as `name` on each host: a table, or with `form` json {host: [settings]}."""
    found = {host: variables[host].get(name) or {} for host in hosts}
    if form == "json":
        return json.dumps({host: one.get("settings", []) for host, one in found.items()}, indent=2, ensure_ascii=False, default=str)
    lines: list[str] = []
    for host, one in found.items():
        settings = one.get("rows") or []
        lines += [*([""] if lines else []), f"Settings of {host}:", *(table(COLUMNS, settings) if settings else ["all are the defaults"])]
    return "\n".join(lines)


class FilterModule:
    """Filters of make config."""

    def filters(self) -> dict[str, object]:
        return {"config_text": config_text}
