#!/usr/bin/python
"""Gather, on the controller, facts of Berth's own repository for its self-audit."""

from __future__ import annotations

DOCUMENTATION = r"""
module: repository_facts
short_description: Gather facts of Berth's own repository for its self-audit
description:
  - Reads documents, C(.env.example), C(compose.yaml), playbooks and what git keeps. Of a stack that runs nothing is read.
options:
  root: {description: Directory of the repository., type: path, required: true}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Gather facts of the repository
  berth.stack.repository_facts:
    root: /srv/berth
"""

RETURN = r"""
repository:
  description: "C(found), C(environment), C(documents), C(compose), C(committed), C(playbooks), C(gitignore)."
  type: dict
  returned: always
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.verify.repository import repository


def main() -> None:
    module = AnsibleModule(argument_spec={"root": {"type": "path", "required": True}}, supports_check_mode=True)
    module.exit_json(changed=False, repository=repository(Path(module.params["root"])))


if __name__ == "__main__":
    main()
