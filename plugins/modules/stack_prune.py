#!/usr/bin/python
"""Remove the containers of other releases, or everything that a stack has."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.engine import Engine, EngineError, names_of, wait_until

DOCUMENTATION = r"""
module: stack_prune
short_description: Remove the containers of other releases, or everything that a stack has
description: Objects are found by their labels and by nothing else. Containers are stopped side by side, each with its own grace period.
options:
  labels: {description: Labels that an object must carry., type: dict, required: true}
  services: {description: Only containers of these services. Empty takes all., type: list, elements: str, default: []}
  keep: {description: Version whose containers stay., type: str, default: ""}
  kinds:
    description: What to remove. C(swarm) are the services and secrets of a Swarm, where the host is one of its managers.
    type: list
    elements: str
    choices: [swarm, containers, networks, volumes, images]
    default: [containers]
"""

EXAMPLES = r"""
- name: Remove the containers of older releases
  stack_prune: {labels: {berth.stack: berth}, services: [backend, frontend], keep: v2}
"""

RETURN = r"""
removed: {description: What was removed, or in check mode would be., type: list, elements: str, returned: always}
"""

# Seconds for the containers of other hosts to leave a network that spans hosts.
NETWORK_WAIT = 30


def remove_container(engine: Engine, container: dict[str, Any]) -> None:
    try:
        if container["State"] == "running":
            engine.call("POST", f"/containers/{container['Id']}/stop", timeout=180)
        engine.call("DELETE", f"/containers/{container['Id']}", {"force": "true", "v": "true"})
    except EngineError as error:
        # The tasks of a Swarm's service that was removed go by themselves.
        if error.status not in (404, 409):
            raise


def remove_network(engine: Engine, name: str) -> None:
    """Remove a network; one that spans hosts may be waiting for the containers of another host to be gone."""

    def gone() -> bool:
        try:
            engine.call("DELETE", f"/networks/{name}")
        except EngineError as error:
            if error.status == 404:
                return True
            if time.monotonic() > deadline:
                raise
            return False
        return True

    deadline = time.monotonic() + NETWORK_WAIT
    wait_until(gone, NETWORK_WAIT + 1, 0.5)


def remove_swarm(engine: Engine, labels: dict[str, str], check: bool) -> list[str]:
    """Remove services, then secrets; what was removed."""
    if not engine.call("GET", "/info")["Swarm"]["ControlAvailable"]:
        return []
    removed = []
    filters = {"filters": {"label": [f"{key}={value}" for key, value in labels.items()]}}
    for kind in ("services", "secrets"):
        for entry in engine.call("GET", f"/{kind}", filters) or []:
            removed.append(f"{kind[:-1]} {entry['Spec']['Name']}")
            try:
                if not check:
                    engine.call("DELETE", f"/{kind}/{entry['ID']}")
            except EngineError as error:
                if error.status != 404:  # another manager was asked for the same, and was faster
                    raise
    return removed


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "labels": {"type": "dict", "required": True},
            "services": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "str", "default": ""},
            "kinds": {
                "type": "list",
                "elements": "str",
                "choices": ["swarm", "containers", "networks", "volumes", "images"],
                "default": ["containers"],
            },
        },
        supports_check_mode=True,
    )
    wanted = module.params
    if not wanted["labels"]:
        module.fail_json(msg="labels must name at least one label: without one everything on the host would go")
    engine = Engine()
    removed: list[str] = []
    try:
        if "swarm" in wanted["kinds"]:
            removed += remove_swarm(engine, wanted["labels"], module.check_mode)
        if "containers" in wanted["kinds"]:
            doomed = [
                container
                for container in engine.listing("containers", wanted["labels"])
                if (not wanted["services"] or container["Labels"].get("berth.service") in wanted["services"])
                and (not wanted["keep"] or container["Labels"].get("berth.version") != wanted["keep"])
            ]
            removed += [f"container {container['Names'][0].lstrip('/')}" for container in doomed]
            if not module.check_mode:
                with ThreadPoolExecutor(max_workers=8) as pool:
                    list(pool.map(lambda container: remove_container(engine, container), doomed))
        for kind in ("networks", "volumes"):
            if kind in wanted["kinds"]:
                for entry in engine.listing(kind, wanted["labels"]):
                    removed.append(f"{kind[:-1]} {entry['Name']}")
                    if not module.check_mode and kind == "networks":
                        remove_network(engine, entry["Name"])
                    elif not module.check_mode:
                        engine.call("DELETE", f"/{kind}/{entry['Name']}")
        if "images" in wanted["kinds"]:
            # Newest first: an image goes before the one that it was built on.
            for image in sorted(engine.listing("images", wanted["labels"]), key=lambda i: i["Created"], reverse=True):
                names = names_of(image, set()) or [image["Id"]]
                removed += [f"image {name}" for name in names]
                if not module.check_mode:
                    for name in names:
                        engine.call("DELETE", f"/images/{name}", {"force": "true"})
    except EngineError as error:
        module.fail_json(msg=str(error), removed=removed)
    after = "".join(f"{name}\n" for name in removed)
    module.exit_json(
        changed=bool(removed), removed=removed, diff={"before_header": "present", "after_header": "removed", "before": after, "after": ""}
    )


if __name__ == "__main__":
    main()
