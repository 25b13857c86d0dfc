#!/usr/bin/python
"""Run a container to its end, once."""

from __future__ import annotations

import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.container_spec import SpecError, container_body
from ansible.module_utils.engine import Engine, EngineError

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
    spec: dict[str, Any] = dict(module.params["container"])
    spec["labels"] = module.params["labels"] | (spec.get("labels") or {})
    name, timeout = spec["name"], module.params["timeout"]
    engine = Engine()
    try:
        # One that a killed run left behind.
        if engine.find(f"/containers/{name}/json"):
            engine.call("DELETE", f"/containers/{name}", {"force": "true", "v": "true"})
        image = engine.find(f"/images/{spec['image']}/json")
        if image is None:
            module.fail_json(msg=f"image {spec['image']} is not on this host")
        body = container_body(spec, image)
        engine.call("POST", "/containers/create", {"name": name}, body)
        try:
            engine.call("POST", f"/containers/{name}/start")
            status = engine.call("POST", f"/containers/{name}/wait", timeout=timeout)["StatusCode"]
            output = engine.logs(name, 200)
        except EngineError as error:
            ended = "time" in str(error).lower()
            message = f"did not end within {timeout} s; last lines:\n{engine.logs(name)}" if ended else str(error)
            module.fail_json(msg=f"{name} {message}")
        finally:
            engine.call("DELETE", f"/containers/{name}", {"force": "true", "v": "true"})
    except (EngineError, SpecError) as error:
        module.fail_json(msg=str(error))
    if status:
        module.fail_json(msg=f"{name} ended with exit status {status}; last lines:\n" + "\n".join(output.splitlines()[-25:]), output=output)
    pattern = module.params["changed_pattern"]
    module.exit_json(changed=not pattern or bool(re.search(pattern, output)), output=output)


if __name__ == "__main__":
    main()
