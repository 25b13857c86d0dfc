"""What chosen acceptance criteria need."""

from __future__ import annotations

from typing import Any

from ..module_utils.verify.acceptance import criteria, parts
from ..module_utils.verify.checks import NEEDS


def acceptance_needs(catalogue: list[dict[str, Any]], section: str = "", ids: str = "") -> list[str]:
    """Kinds of facts (stack, e2e, source, repository, browser, record) that the chosen criteria need."""
    return sorted({NEEDS[name] for entry in criteria(catalogue, section, ids) for name, _ in parts(entry)})


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Any]:
        return {"acceptance_needs": acceptance_needs}
