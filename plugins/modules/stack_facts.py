#!/usr/bin/python
"""Gather, in one run, all that the acceptance checks want to know of a stack on its host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_facts
short_description: Gather what the acceptance checks want to know of a stack on its host
description:
  - Reads containers, images, networks, volumes, secrets and releases of a stack, and asks inside its containers. Nothing is
    changed; what was found inside an image, which never changes, is remembered by the image's id in C(directory)/image-scans.json.
  - Secrets are compared on the host and are never part of the answer.
options:
  stack: {description: Name of the stack., type: str, required: true}
  directory: {description: State directory of the stack., type: path, required: true}
  database: {description: "C(container) and C(name) of the database; empty: it is not asked.", type: dict, default: {}}
  egress: {description: "C(host:port) outside the stack that a service may connect to by a list, by service.", type: dict, default: {}}
  errors_since: {description: Seconds since 1970 from when errors in logs count., type: float, default: 0}
  ports: {description: Ports of C(backend) and C(frontend) in their containers., type: dict, default: {backend: 8000, frontend: 3000}}
  lines: {description: Log lines of each container to read., type: int, default: 400}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Gather facts
  berth.stack.stack_facts: {stack: berth, directory: /var/lib/berth}
  register: __facts
"""

RETURN = r"""
stack:
  description: "C(engine), C(containers), C(networks), C(volumes), C(images), C(secrets), C(releases), C(database)."
  type: dict
  returned: always
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.docker.image_scan import hidden
from ..module_utils.docker.ownership import stack_containers
from ..module_utils.state.store import Store
from ..module_utils.verify.container_commands import ask_database
from ..module_utils.verify.container_facts import container, network, reach, refused_names
from ..module_utils.verify.image_facts import images
from ..module_utils.verify.state_facts import releases, secret_values, secrets


def gather(engine: Engine, options: dict[str, Any]) -> dict[str, Any]:
    directory = Path(options["directory"])
    canaries = secret_values(directory)
    labels = {"berth.stack": options["stack"]}
    listed = stack_containers(engine, labels, Store(directory).containers)
    with ThreadPoolExecutor(max_workers=8) as pool:
        containers = sorted(pool.map(lambda one: container(engine, one, canaries, options), listed), key=lambda c: c["name"])
    version, info = engine.call("GET", "/version"), engine.call("GET", "/info")
    networks = [network(one) for one in engine.listing("networks", labels)]
    reach(containers, {one["name"] for one in networks if one["way_out"]})
    refused_names(containers, options["egress"])
    facts = {
        "gathered": time.time(),
        "host": {"cores": os.cpu_count(), "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")},
        "engine": {
            "version": version["Version"],
            "api": version["ApiVersion"],
            "kernel": version.get("KernelVersion", ""),
            "apparmor": any("apparmor" in option for option in info.get("SecurityOptions") or []),
        },
        "containers": containers,
        "networks": networks,
        "volumes": [{"name": v["Name"], "labels": v.get("Labels") or {}} for v in engine.listing("volumes", labels)],
        "secrets": secrets(directory),
        "releases": releases(engine, directory, labels, canaries),
        "database": ask_database(engine, options["database"]),
    }
    facts["images"] = images(engine, directory, {c["service"]: c["image_id"] for c in containers}, canaries)
    # What is found to leak is named, and not repeated.
    named: dict[str, Any] = hidden(facts, canaries)
    return named


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "database": {"type": "dict", "default": {}},
            "egress": {"type": "dict", "default": {}},
            "errors_since": {"type": "float", "default": 0},
            "ports": {"type": "dict", "default": {"backend": 8000, "frontend": 3000}},
            "lines": {"type": "int", "default": 400},
        },
        supports_check_mode=True,
    )
    try:
        facts = gather(Engine(), module.params)
    except EngineError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, stack=facts)


if __name__ == "__main__":
    main()
