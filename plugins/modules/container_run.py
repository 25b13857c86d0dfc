#!/usr/bin/python
"""Run a container to its end, once."""

from __future__ import annotations

import re

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.container_spec import SpecError
from ansible.module_utils.engine import Engine, EngineError
from ansible.module_utils.stack import Ended, run_to_end

DOCUMENTATION = r"""
module: container_run
short_description: Run a container to its end, once
description:
  - Runs a container described as for M(stack_objects), waits for it, removes it and gives its output. Fails with its last lines when it
    does not end with exit status 0.
options:
  container: {description: The container; see module_utils/container_spec.py., type: dict, required: true}
  labels: {description: Labels of the stack., type: dict, default: {}}
  timeout: {description: Seconds until it is ended., type: int, default: 120}
  changed_pattern: {description: The run changed something when this regular expression is found in its output., type: str, default: ""}
"""

EXAMPLES = r"""
- name: Migrate
  container_run:
    container: {name: berth-migrate, image: "berth-backend:v1", entrypoint: [python3, -m, alembic, upgrade, head]}
    changed_pattern: Running upgrade
"""

RETURN = r"""
output: {description: What the container wrote., type: str, returned: always}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "dict", "required": True},
            "labels": {"type": "dict", "default": {}},
            "timeout": {"type": "int", "default": 120},
            "changed_pattern": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True, output="", msg="not run in check mode")
    try:
        output = run_to_end(Engine(), module.params["container"], module.params["labels"], module.params["timeout"])
    except (Ended, EngineError, SpecError) as error:
        module.fail_json(msg=str(error))
    pattern = module.params["changed_pattern"]
    module.exit_json(changed=not pattern or bool(re.search(pattern, output)), output=output)


if __name__ == "__main__":
    main()
