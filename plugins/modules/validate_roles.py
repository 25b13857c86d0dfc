"""Validate every variable that a user can set; see plugins/action/validate_roles.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: validate_roles
short_description: Validate every variable that a user can set
description:
  - Compares the value of each setting with the argument specifications of all roles at once, before anything is touched.
  - Fails with one line for each setting that is wrong, by the name that the user knows. An action plugin; there is no module behind it.
author: Berth (@berth)
options:
  roles_dir:
    description: Directory whose */meta/argument_specs.yml are read.
    type: path
    required: true
  environments:
    description: Names of variables that hold environments of containers.
    type: list
    elements: str
    default: []
  build_arguments:
    description: Names of variables that hold arguments of builds.
    type: list
    elements: str
    default: []
  egress:
    description: Names of variables that say which hosts outside a service may connect to.
    type: list
    elements: str
    default: []
  engine:
    description: What runs the services, C(hosts) or C(swarm).
    type: str
    default: hosts
  database_services:
    description: Names of services with a login at the database, of which C(database_access) tells.
    type: list
    elements: str
    default: []
  booleans:
    description: Names of variables that are true or false and belong to no role.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Validate variables
  berth.stack.validate_roles:
    roles_dir: "{{ lookup('berth.stack.root') }}/roles"
"""

RETURN = r"""
# Nothing besides what every module returns.
"""
