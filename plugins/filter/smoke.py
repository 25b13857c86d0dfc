"""Smoke checks of a release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ansible.module_utils

# Filters run on the controller, where Ansible finds its own module_utils only.
OWN = str(Path(__file__).resolve().parent.parent / "module_utils")
if OWN not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(OWN)

from ansible.module_utils.smoke_checks import normal, wrong


class FilterModule:
    """Filters of the role release."""

    def filters(self) -> dict[str, Any]:
        return {"smoke_checks": normal, "smoke_checks_wrong": wrong}
