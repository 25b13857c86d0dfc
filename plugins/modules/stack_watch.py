#!/usr/bin/python
"""Watch a stack's memory for a while, and break its containers at given times."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_watch
short_description: Watch a stack's memory for a while, and break its containers at given times
description: Samples the memory of each container, and at given times kills, restarts or runs a command in some of them.
options:
  labels: {description: Labels of the stack's containers., type: dict, required: true}
  directory: {description: "State directory of the stack, with the names of containers of an older Berth.", type: path, default: ""}
  seconds: {description: Duration in seconds., type: int, required: true}
  every: {description: Seconds between samples., type: float, default: 2}
  faults:
    description:
      - What to do when; C(at) is in seconds. C(kill) ends a service's first process as a crash would, C(restart) restarts its container,
        C(run) runs a command in it.
    type: list
    elements: dict
    default: []
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Watch
  berth.stack.stack_watch: {labels: {berth.stack: berth}, seconds: 60, faults: [{at: 10, action: kill, service: backend}]}
"""

RETURN = r"""
samples: {description: "C(time), and by container C(memory), C(service), C(pid).", type: list, elements: dict, returned: always}
faults: {description: "C(name) and C(time) of what was done.", type: list, elements: dict, returned: always}
"""

import os
import signal
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError, memory_used
from ..module_utils.docker.ownership import stack_containers
from ..module_utils.state.store import Store


def containers(engine: Engine, labels: dict[str, str], recorded: set[str], service: str = "") -> list[dict[str, Any]]:
    found = [c for c in stack_containers(engine, labels, recorded) if c["State"] == "running"]
    return [c for c in found if not service or c["Labels"].get("berth.service") == service]


def sample(engine: Engine, labels: dict[str, str], recorded: set[str]) -> dict[str, Any]:
    result: dict[str, Any] = {"time": time.time(), "memory": {}, "service": {}, "pid": {}}
    for listed in containers(engine, labels, recorded):
        try:
            used = memory_used(engine.statistics(listed["Id"]))
            pid = engine.call("GET", f"/containers/{listed['Id']}/json")["State"]["Pid"]
        except EngineError:
            continue  # it is being replaced
        name = listed["Names"][0].lstrip("/")
        result["memory"][name] = used
        result["service"][name] = listed["Labels"].get("berth.service", "")
        result["pid"][name] = pid
    return result


def inject(engine: Engine, labels: dict[str, str], recorded: set[str], fault: dict[str, Any]) -> dict[str, Any]:
    """Do one fault; what cannot be done fails the run."""
    target = next(iter(containers(engine, labels, recorded, fault["service"])), None)
    if target is None:
        raise EngineError(404, f"no container of {fault['service']} runs")
    result = {"name": fault.get("name") or f"{fault['action']} {fault['service']}", "time": time.time(), "ok": True}
    if fault["action"] == "kill":
        # `docker kill` would mark it as stopped by hand: a crash is a signal that the engine did not send.
        os.kill(engine.call("GET", f"/containers/{target['Id']}/json")["State"]["Pid"], signal.SIGKILL)
    elif fault["action"] == "restart":
        engine.call("POST", f"/containers/{target['Id']}/restart", timeout=120)
    else:
        status, output = engine.execute(target["Id"], fault["command"])
        if status:
            raise EngineError(status, f"{result['name']}: {output[-300:]}")
    return result


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "labels": {"type": "dict", "required": True},
            "directory": {"type": "path", "default": ""},
            "seconds": {"type": "int", "required": True},
            "every": {"type": "float", "default": 2},
            "faults": {"type": "list", "elements": "dict", "default": []},
        }
    )
    engine, options = Engine(), module.params
    started = time.time()
    pending = sorted(options["faults"], key=lambda fault: float(fault["at"]))
    samples, done = [], []
    try:
        while time.time() < started + options["seconds"]:
            # Releases may have changed since the last sample.
            recorded = Store(options["directory"]).containers if options["directory"] else set()
            samples.append(sample(engine, options["labels"], recorded))
            while pending and time.time() >= started + float(pending[0]["at"]):
                done.append(inject(engine, options["labels"], recorded, pending.pop(0)))
            time.sleep(min(options["every"], max(0.05, started + float(pending[0]["at"]) - time.time())) if pending else options["every"])
    except (EngineError, OSError) as error:
        module.fail_json(msg=str(error), samples=samples, faults=done)
    module.exit_json(changed=bool(done), samples=samples, faults=done)


if __name__ == "__main__":
    main()
