"""Read the settings in effect and where each comes from; see plugins/action/stack_config.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_config
short_description: Read the settings in effect and where each comes from
description:
  - Evaluates every setting of a host as its plays have it, with the origin of the value. Secrets are masked.
  - An action plugin; there is no module behind it.
author: Berth (@berth)
options:
  changed:
    description: Whether to return only what is not the default.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Read the settings that are not the default
  berth.stack.stack_config:
    changed: true
"""

RETURN = r"""
settings:
  description: C(role), C(setting), C(value) and C(from) of each setting.
  type: list
  elements: dict
  returned: success
rows:
  description: The same as rows of a table.
  type: list
  elements: dict
  returned: success
"""
