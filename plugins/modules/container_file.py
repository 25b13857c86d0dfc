#!/usr/bin/python
"""Read a text file out of a container."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_file
short_description: Read a text file out of a container
description: Works for containers without a shell and without cat.
options:
  container: {description: Name of the container., type: str, required: true}
  path: {description: Path of the file in it., type: str, required: true}
  wait: {description: Seconds until the file must exist., type: int, default: 0}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Read the certificate
  berth.stack.container_file: {container: berth-edge, path: /data/root.crt}
"""

RETURN = r"""
content: {description: Content of the file., type: str, returned: success}
"""

import io
import tarfile
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError, wait_until


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "path": {"type": "str", "required": True},
            "wait": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    container, path = module.params["container"], module.params["path"]
    engine = Engine()

    def read() -> Any:
        try:
            return engine.call("GET", f"/containers/{container}/archive", {"path": path})
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    try:
        archive = wait_until(read, module.params["wait"])
    except EngineError as error:
        module.fail_json(msg=str(error))
    if archive is None:
        if module.check_mode:
            module.exit_json(changed=False, content="")
        module.fail_json(msg=f"{path} does not exist in container {container}, or the container does not exist")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = tar.extractfile(tar.getmembers()[0])
        module.exit_json(changed=False, content=member.read().decode() if member else "")


if __name__ == "__main__":
    main()
