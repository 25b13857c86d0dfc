"""Give the run the settings of `.env`, before the first variable is looked up in the environment.

Ansible makes vars plugins when it has read the inventory, in the process that forks all others. This one has no variables of its own.
"""

from __future__ import annotations

DOCUMENTATION = r"""
name: env_file
short_description: Read .env
description:
  - Reads C(.env) of the project's directory, or the file that C(BERTH_ENV_FILE) names, by dotenv's rules.
  - What the environment of the call has already outranks the file.
options: {}
"""

import functools
import os
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.plugins.vars import BaseVarsPlugin
from ansible.utils.display import Display

from ..module_utils.settings.env_file import Refused, load

PROJECT = Path(__file__).resolve().parents[2]
CHECKS = "berth.stack.calls"


@functools.cache
def read() -> None:
    """Read the file, once in a run: Ansible makes the plugin anew each time it asks for variables."""
    enabled = constants.config.get_config_value("CALLBACKS_ENABLED") or []
    # Of Ansible's programs, ansible-playbook alone has this option; the others run no playbook that would have to be checked.
    if "start_at_task" in context.CLIARGS and CHECKS not in enabled:
        raise AnsibleError(
            f"Ansible does not load {CHECKS}, which checks inventory, limit and options (ANSIBLE_CALLBACKS_ENABLED, or "
            f"callbacks_enabled in {constants.CONFIG_FILE}): add it there, with a comma between names"
        )
    inventories = list(context.CLIARGS.get("inventory") or [])
    by_default = inventories == list(constants.DEFAULT_HOST_LIST) and "ANSIBLE_INVENTORY" not in os.environ
    own = "INVENTORY" in os.environ
    try:
        found, warnings = load(PROJECT, os.environ, inventories)
    except Refused as error:
        raise AnsibleError(str(error)) from None
    named = found.get("INVENTORY")
    if named and by_default and not own and [named] != [os.path.realpath(each) for each in inventories]:
        raise AnsibleError(f".env has INVENTORY={named}: make passes it on; without make, write: ansible-playbook -i {named} ...")
    for warning in warnings:
        Display().warning(warning)


class VarsModule(BaseVarsPlugin):
    """Reads the file when it is made."""

    def __init__(self) -> None:
        super().__init__()
        read()

    def get_vars(self, loader: Any, path: str, entities: Any, cache: bool = True) -> dict[str, Any]:
        return {}
