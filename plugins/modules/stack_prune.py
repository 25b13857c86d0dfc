#!/usr/bin/python
"""Remove the containers of other releases, or everything that a stack has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.engine import Engine, EngineError

DOCUMENTATION = r"""
module: stack_prune
short_description: Remove the containers of other releases, or everything that a stack has
description: Objects are found by their labels and by nothing else. Containers are stopped side by side, each with its own grace period.
options:
  labels: {description: Labels that an object must carry., type: dict, required: true}
  services: {description: Only containers of these services. Empty takes all., type: list, elements: str, default: []}
  keep: {description: Version whose containers stay., type: str, default: ""}
  kinds:
    description: What to remove.
    type: list
    elements: str
    choices: [containers, networks, volumes, images]
    default: [containers]
"""

EXAMPLES = r"""
- name: Remove the containers of older releases
  stack_prune: {labels: {berth.stack: berth}, services: [backend, frontend], keep: v2}
"""

RETURN = r"""
removed: {description: What was removed, or in check mode would be., type: list, elements: str, returned: always}
"""


def remove_container(engine: Engine, container: dict[str, Any]) -> None:
    if container["State"] == "running":
        engine.call("POST", f"/containers/{container['Id']}/stop", timeout=180)
    engine.call("DELETE", f"/containers/{container['Id']}", {"force": "true", "v": "true"})


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "labels": {"type": "dict", "required": True},
            "services": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "str", "default": ""},
            "kinds": {
                "type": "list",
                "elements": "str",
                "choices": ["containers", "networks", "volumes", "images"],
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
                    if not module.check_mode:
                        engine.call("DELETE", f"/{kind}/{entry['Name']}")
        if "images" in wanted["kinds"]:
            # Newest first: an image goes before the one that it was built on.
            for image in sorted(engine.listing("images", wanted["labels"]), key=lambda i: i["Created"], reverse=True):
                names = image["RepoTags"] or [image["Id"]]
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
