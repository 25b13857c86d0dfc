"""Read the sources of an application and write app.yml; see plugins/action/stack_init.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_init
short_description: Read the sources of an application and write app.yml
description:
  - Analyses the sources of a backend and a frontend (nothing of them is run) and writes the settings that follow from them, each with how
    sure it is and where the source says it.
  - The file is C(app.yml) of the directory of the call, or the one that the environment variable E(BERTH_APP) names.
  - An action plugin; there is no module behind it.
author: Berth (@berth)
options:
  backend:
    description: Directory of the backend's source.
    type: path
    required: true
  frontend:
    description: Directory of the frontend's source.
    type: path
    required: true
  confirm:
    description: Name of an existing file that may be replaced.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Write app.yml
  berth.stack.stack_init:
    backend: ../shop/backend
    frontend: ../shop/frontend
"""

RETURN = r"""
lines:
  description: What was found, what is not known, and the command that goes on.
  type: list
  elements: str
  returned: success
"""
