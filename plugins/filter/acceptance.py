"""What chosen acceptance criteria need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible.module_utils

# Filters run on the controller, where Ansible finds its own module_utils only.
OWN = str(Path(__file__).resolve().parent.parent / "module_utils")
if OWN not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(OWN)

from ansible.module_utils.acceptance import criteria, parts
from ansible.module_utils.acceptance_checks import NEEDS


def acceptance_needs(catalogue: list[dict[str, Any]], section: str = "", ids: str = "") -> list[str]:
    """Kinds of facts (stack, story, source, browser, record) that the chosen criteria need."""
    return sorted({NEEDS[name] for entry in criteria(catalogue, section, ids) for name, _ in parts(entry)})


class FilterModule:
    """Ansible's way to find filters."""

    def filters(self) -> dict[str, Any]:
        return {"acceptance_needs": acceptance_needs}
