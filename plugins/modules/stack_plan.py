#!/usr/bin/python
"""Compare what a run is made from, and what a host has, with the record of the last run there; choose the phases that are needed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_plan
short_description: Plan a run on a host, by what differs from its last run there
description:
  - Compares hashes of what the run is made from (an action of this name adds them) and of what the host has (containers, networks, volumes,
    images, files, answers of commands) with those that the last run recorded, and chooses the phases that are needed.
  - A container that is not healthy is a difference, and so is a record older than O(hours), because certificates end.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  stack: {description: Name of the stack., type: str, required: true}
  desired:
    description: "What the run is made from: rows of component, object, name and hash. Added by the action."
    type: list
    elements: list
    required: true
  builder: {description: Whether images are built on this host., type: bool, default: false}
  builds: {description: Whether this run may build on this host., type: bool, default: false}
  deploys: {description: Whether this run deploys on this host., type: bool, default: false}
  files: {description: "Files and directories whose content, owner and mode count, each with its component.", type: dict, default: {}}
  probes:
    description: "Commands in containers whose answer counts, each C(component), C(object), C(container) and C(command)."
    type: list
    elements: dict
    default: []
  hours: {description: For how many hours a record is valid., type: int, default: 24}
  record:
    description: Record, instead of a plan, what a build or a deployment was made from and left.
    type: str
    choices: ["", build, deployment]
    default: ""
  images: {description: "To record: images whose content counts, each with its service.", type: dict, default: {}}
  phases: {description: "To record: the phases that the run had.", type: list, elements: str, default: []}
  keep: {description: "To record: what the next run is given back.", type: dict, default: {}}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Plan
  berth.stack.stack_plan:
    directory: /var/lib/berth
    stack: berth
    deploys: true
    sources: {backend: {source: /srv/app/backend}, frontend: {source: /srv/app/frontend}}
    files: {/var/lib/berth/secrets: secrets}
  register: __plan
"""

RETURN = r"""
phases:
  description: "The phases that are needed, in order: engine, build, transfer, infrastructure, release, certificate."
  type: list
  elements: str
  returned: always
images: {description: Services whose images may have to be built., type: list, elements: str, returned: always}
checks:
  description: "What to look at before anything is touched: settings, secrets, engine, ports."
  type: list
  elements: str
  returned: always
reasons:
  description: "What differs, each C(component), C(kind) (changed, gone, new, unhealthy, expired), C(object) and C(name)."
  type: list
  elements: dict
  returned: always
known: {description: Whether there was a record to compare with., type: bool, returned: always}
compared: {description: How many objects were compared., type: int, returned: always}
release: {description: Name of the release that serves., type: str, returned: always}
built: {description: What the last build was to keep., type: dict, returned: always}
deployed: {description: What the last deployment was to keep., type: dict, returned: always}
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.plan.differences import Difference, Hashes, as_dicts, compare, hashes, rows
from ..module_utils.plan.host_state import HostState, image_component, images
from ..module_utils.plan.phases import FIRST, NO_ENGINE, TOO_OLD, affects_images, choose
from ..module_utils.state.store import Store


class Planner:
    """The plan of one host. `given` holds the module's options."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.given, self.engine = given, Engine(timeout=10)
        self.store = Store(given["directory"])
        self.build, self.deployment = (self.store.state.section(name) for name in ("build", "deployment"))
        self.compared = 0

    def plan(self) -> dict[str, Any]:
        deployment = self._differences(self.deployment, self._deployed) if self.given["deploys"] else None
        build = None
        if self.given["builds"] and deployment != []:
            build = self._differences(self.build, self._built)
            build = [one for one in build if affects_images(one)]
        plan = choose(deployment, build, self.given["builder"])
        reasons = (build if deployment is None else deployment) or []
        return {
            "phases": list(plan.phases),
            "images": list(plan.images),
            "checks": list(plan.checks),
            "reasons": as_dicts(reasons),
            "known": bool(self.build if deployment is None else self.deployment),
            "compared": self.compared,
            "release": self.store.current,
            "built": self.build.get("kept", {}),
            "deployed": self.deployment.get("kept", {}),
        }

    def _differences(self, before: dict[str, Any], look: Any) -> list[Difference]:
        found = compare(hashes(before["desired"]), hashes(self.given["desired"])) if before else [FIRST]
        try:
            if not before:
                self.engine.call("GET", "/version")
                return found
            now, unhealthy = look({name: component for component, _, name, _ in before["images"]})
        except EngineError:
            return [*found, NO_ENGINE]
        self.compared = len(now)
        found += compare(hashes(before["images"] + before.get("actual", [])), now) + unhealthy
        return found + ([TOO_OLD] if time.time() - before["time"] > self.given["hours"] * 3600 else [])

    def _built(self, named: dict[str, str]) -> tuple[Hashes, list[Difference]]:
        return images(self.engine, named), []

    def _deployed(self, named: dict[str, str], settled: bool = False) -> tuple[Hashes, list[Difference]]:
        state = HostState(self.engine, self.store, self.given["stack"], self.given["files"], self.given["probes"], settled)
        return images(self.engine, named) | state.hashes, state.unhealthy

    def keep(self, section: str) -> None:
        """Record what the run was made from and left; nothing where that is not as it should be."""
        given, before = self.given, self.deployment
        named = {name: image_component(service) for name, service in given["images"].items()}
        kept = {"desired": given["desired"], "images": rows(images(self.engine, named)), "kept": given["keep"], "time": time.time()}
        if section == "deployment":
            state = HostState(self.engine, self.store, given["stack"], given["files"], given["probes"], settled=True)
            if state.unhealthy:
                return
            kept["actual"] = rows(state.hashes)
            if "infrastructure" not in given["phases"]:
                # Not everything was looked at. What answers, which no release changes, has to answer as before.
                kept["time"] = before.get("time", 0)
                answers = {item: value for item, value in state.hashes.items() if item.object == "answer"}
                known = hashes(before.get("actual", []))
                if any(known.get(item, value) != value for item, value in answers.items()):
                    kept = {}
        self.store.state.keep(section, kept)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "stack": {"type": "str", "required": True},
            "desired": {"type": "list", "elements": "list", "required": True},
            "builder": {"type": "bool", "default": False},
            "builds": {"type": "bool", "default": False},
            "deploys": {"type": "bool", "default": False},
            "files": {"type": "dict", "default": {}},
            "probes": {"type": "list", "elements": "dict", "default": []},
            "hours": {"type": "int", "default": 24},
            "record": {"type": "str", "choices": ["", "build", "deployment"], "default": ""},
            "images": {"type": "dict", "default": {}},
            "phases": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    planner = Planner(module.params)
    if not module.params["record"]:
        module.exit_json(changed=False, **planner.plan())
    try:
        if not module.check_mode:
            planner.keep(module.params["record"])
    except EngineError as error:
        module.warn(f"This run is not recorded, the next one looks at everything: {error}")
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
