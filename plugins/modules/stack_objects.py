#!/usr/bin/python
"""Reconcile networks, volumes and containers of a stack, in one run."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_objects
short_description: Reconcile networks, volumes and containers of a stack, in one run
description:
  - Compares the inspected objects with the desired ones, value by value, and changes only what differs.
  - A container that was changed by hand is corrected, in place where possible (limits, restart policy, networks), else replaced.
    Volumes are created, never replaced.
  - Starts containers in parallel and waits until they are healthy. If one fails, the containers that this run created are removed,
    except those that replaced another one.
options:
  labels:
    description: Labels of every object of the stack, C(berth.stack) among them.
    type: dict
    required: true
  networks:
    description: >-
      Networks: C(name), C(internal) (no internet access, no published ports), C(way_out) (false: published ports only), C(driver),
      C(labels), C(options).
    type: list
    elements: dict
    default: []
  volumes:
    description: "Volumes: C(name), C(labels)."
    type: list
    elements: dict
    default: []
  containers:
    description: Services in the terms of the Compose specification; see module_utils/docker/spec.py.
    type: list
    elements: dict
    default: []
  absent:
    description: "Objects to remove: C(containers), C(networks), C(volumes), each a list of names."
    type: dict
    default: {}
  wait:
    description: Seconds until all containers must be healthy (without a health check, running); 0 does not wait.
    type: int
    default: 60
  remember:
    description: State directory in which to record the desired objects, so that a release can create missing ones again.
    type: path
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Run the cache
  berth.stack.stack_objects:
    labels: {berth.stack: berth}
    networks:
      - {name: berth-data, internal: true}
    containers:
      - name: berth-cache
        image: berth-cache:1
        networks: [{name: berth-data, aliases: [cache]}]
        mem_limit: 64m
"""

RETURN = r"""
actions: {description: "What was done, or in check mode would be, one sentence each.", type: list, elements: str, returned: always}
containers:
  description: "By name: C(id), C(image) (id), C(health), C(started_at), C(created) (whether by this run)."
  type: dict
  returned: always
seconds: {description: "Seconds that the run took, waiting included.", type: float, returned: always}
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.docker.reconcile import Stack, Unhealthy
from ..module_utils.docker.spec import SpecError
from ..module_utils.state.interrupts import error_message, raise_on_signals
from ..module_utils.state.store import Store


def recorded_specs(params: dict[str, Any], kind: str) -> dict[str, dict[str, Any] | None]:
    """The desired objects of a kind by name; None for removed ones."""
    return {spec["name"]: spec for spec in params[kind]} | dict.fromkeys(params["absent"].get(kind) or [])


def main() -> None:
    listing = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        argument_spec={
            "labels": {"type": "dict", "required": True},
            "networks": listing,
            "volumes": listing,
            "containers": listing,
            "absent": {"type": "dict", "default": {}},
            "wait": {"type": "int", "default": 60},
            "remember": {"type": "path"},
        },
        supports_check_mode=True,
    )
    started = time.monotonic()
    params = module.params
    raise_on_signals()
    stack = Stack(Engine(), params["labels"], module.check_mode)
    containers: dict[str, dict[str, Any]] = {}
    try:
        for kind in ("containers", "networks", "volumes"):
            stack.absent(kind, params["absent"].get(kind) or [])
        for spec in params["networks"]:
            stack.network(spec)
        for spec in params["volumes"]:
            stack.volume(spec)
        stack.containers(params["containers"])
        if not module.check_mode:
            containers = stack.wait([spec["name"] for spec in params["containers"]], params["wait"])
            if params["remember"]:
                Store(params["remember"]).record_infrastructure(
                    **{kind: recorded_specs(params, kind) for kind in ("networks", "volumes", "containers")}
                )
    except BaseException as error:
        why = [error_message(error, (Unhealthy, EngineError, SpecError)), stack.remove_created()]
        module.fail_json(msg="\n".join(filter(None, why)), actions=stack.actions)
    module.exit_json(
        changed=bool(stack.actions),
        actions=stack.actions,
        diff=stack.diff,
        containers=containers,
        seconds=round(time.monotonic() - started, 2),
    )


if __name__ == "__main__":
    main()
