"""Smoke checks of a release."""

from __future__ import annotations

from typing import Any

from ..module_utils.release.smoke_checks import normal, wrong


class FilterModule:
    """Filters of the role release."""

    def filters(self) -> dict[str, Any]:
        return {"smoke_checks": normal, "smoke_checks_wrong": wrong}
