"""Filters about migrations."""

from __future__ import annotations

from typing import Any

from ..module_utils.data import migrations


def heads_refusal(schema: dict[str, Any], command: list[str]) -> str:
    """The message about migrations with several heads; empty where `command` upgrades to all of them or is empty."""
    return "" if not command or migrations.upgrades_all_heads(command) else migrations.heads_refusal(schema.get("heads") or [])


class FilterModule:
    """Filters about migrations."""

    def filters(self) -> dict[str, object]:
        return {"heads_refusal": heads_refusal, "revision_query": migrations.query}
