#!/usr/bin/python
"""Remove the containers of other releases, or everything that a stack has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_prune
short_description: Remove the containers of other releases, or everything that a stack has
description:
  - "Networks and volumes are found by their labels. Containers and images pass their labels on, so of these only what Berth created is
    removed: containers by a label of their own, or by their names in O(directory); of an image the names that Berth gave it. Objects that
    are still in use are named in a warning."
  - Base images, which all stacks of an engine share, are removed with the images of the last stack.
  - Containers are stopped in parallel, each with its own grace period.
options:
  labels: {description: Labels that an object must have., type: dict, required: true}
  directory: {description: "State directory of the stack, with the names of containers of an older Berth.", type: path, default: ""}
  names: {description: More names of containers of an older Berth., type: list, elements: str, default: []}
  registry: {description: Registry of the images., type: str, default: ""}
  services: {description: Only containers of these services; empty for all., type: list, elements: str, default: []}
  keep: {description: Version whose containers to keep., type: str, default: ""}
  kinds:
    description: Kinds of objects to remove. C(swarm) means services and secrets of a Swarm, if the host is one of its managers.
    type: list
    elements: str
    choices: [swarm, containers, networks, volumes, images]
    default: [containers]
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Remove the containers of older releases
  berth.stack.stack_prune: {labels: {berth.stack: berth}, directory: /var/lib/berth, services: [backend, frontend], keep: v2}
"""

RETURN = r"""
removed: {description: "Objects removed, or in check mode to be removed.", type: list, elements: str, returned: always}
kept: {description: Objects with the labels that were not removed., type: list, elements: str, returned: always}
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError, wait_until
from ..module_utils.docker.ownership import foreign_containers, own_names, shared_images, stack_containers
from ..module_utils.docker.reconcile import stop_timeout
from ..module_utils.state.store import Store

# Seconds until the containers of other hosts have left a network that spans hosts.
NETWORK_WAIT = 30


def remove_container(engine: Engine, container: dict[str, Any]) -> None:
    try:
        if container["State"] == "running":
            actual = engine.call("GET", f"/containers/{container['Id']}/json")
            engine.call("POST", f"/containers/{container['Id']}/stop", timeout=stop_timeout(actual))
        engine.call("DELETE", f"/containers/{container['Id']}", {"force": "true", "v": "true"})
    except EngineError as error:
        # The engine removes the tasks of a removed Swarm service itself.
        if error.status not in (404, 409):
            raise


def remove_network(engine: Engine, name: str) -> None:
    """Remove a network; for one that spans hosts, wait until the containers of other hosts are removed."""

    def try_remove() -> bool:
        try:
            engine.call("DELETE", f"/networks/{name}")
        except EngineError as error:
            if error.status == 404:
                return True
            if time.monotonic() > deadline:
                raise EngineError(error.status, in_use("network", name, error)) from error
            return False
        return True

    deadline = time.monotonic() + NETWORK_WAIT
    wait_until(try_remove, NETWORK_WAIT + 1, 0.5)


def remove_volume(engine: Engine, name: str) -> None:
    try:
        engine.call("DELETE", f"/volumes/{name}")
    except EngineError as error:
        if error.status != 409:
            raise
        raise EngineError(error.status, in_use("volume", name, error)) from error


def in_use(kind: str, name: str, error: EngineError) -> str:
    """The message about an object that a container uses which Berth did not create."""
    found = f"docker ps --all --filter {kind}={name}"
    return f"The {kind} {name} cannot be removed: {error}. Remove what uses it ({found}), then run this again"


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
                if error.status != 404:  # another manager has removed it meanwhile
                    raise
    return removed


def remove_image(engine: Engine, image: dict[str, Any], registry: str, check: bool) -> tuple[list[str], str]:
    """Remove the names that Berth gave an image, which with the last name removes the image; (what was removed, why something stays)."""
    named = (image.get("RepoTags") or []) + (image.get("RepoDigests") or [])
    # A newer build took over the name of an image without one. Images that others built from Berth's inherit its labels, but were created
    # at another time than these tell.
    made = (image.get("Labels") or {}).get("org.opencontainers.image.created")
    foreign = not named and made and (engine.find(f"/images/{image['Id']}/json") or {}).get("Created", made) != made
    names = own_names(image, registry=registry) if named else [] if foreign else [image["Id"]]
    removed = list[str]()
    for name in names:
        try:
            if not check:
                engine.call("DELETE", f"/images/{name}")
        except EngineError as error:
            if error.status == 404:
                continue
            if error.status != 409:
                raise
            return removed, f"The image {name} was not removed: {error}. To remove it, remove what uses it, then: docker image rm {name}"
        removed.append(f"image {name}")
    return removed, ""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "labels": {"type": "dict", "required": True},
            "directory": {"type": "path", "default": ""},
            "names": {"type": "list", "elements": "str", "default": []},
            "registry": {"type": "str", "default": ""},
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
    params = module.params
    if not params["labels"]:
        module.fail_json(msg="labels must have at least one label: without one, everything on the host would be removed")
    engine = Engine()
    removed: list[str] = []
    kept: list[str] = []
    recorded = set(params["names"]) | (Store(params["directory"]).containers if params["directory"] else set())
    try:
        if "swarm" in params["kinds"]:
            removed += remove_swarm(engine, params["labels"], module.check_mode)
        if "containers" in params["kinds"]:
            doomed = [
                container
                for container in stack_containers(engine, params["labels"], recorded)
                if (not params["services"] or container["Labels"].get("berth.service") in params["services"])
                and (not params["keep"] or container["Labels"].get("berth.version") != params["keep"])
            ]
            removed += [f"container {container['Names'][0].lstrip('/')}" for container in doomed]
            if foreign := foreign_containers(engine, params["labels"], recorded):
                kept += foreign
                module.warn(
                    f"Not removed, because Berth did not create them: {', '.join(foreign)} (containers of an image of this stack). "
                    f"To remove them: docker rm -f {' '.join(foreign)}"
                )
            if not module.check_mode:
                with ThreadPoolExecutor(max_workers=8) as pool:
                    list(pool.map(lambda container: remove_container(engine, container), doomed))
        for kind in ("networks", "volumes"):
            if kind in params["kinds"]:
                for entry in engine.listing(kind, params["labels"]):
                    removed.append(f"{kind[:-1]} {entry['Name']}")
                    if not module.check_mode and kind == "networks":
                        remove_network(engine, entry["Name"])
                    elif not module.check_mode:
                        remove_volume(engine, entry["Name"])
        if "images" in params["kinds"]:
            # Newest first: remove an image before its base image.
            doomed = engine.listing("images", params["labels"])
            if stack := params["labels"].get("berth.stack"):
                every = engine.call("GET", "/images/json", {"filters": {"label": ["berth.stack"]}})
                doomed += shared_images(every, stack, params["registry"])
            for image in sorted(doomed, key=lambda i: i["Created"], reverse=True):
                names, why = remove_image(engine, image, params["registry"], module.check_mode)
                removed += names
                if why:
                    kept.append(f"image {image['Id']}")
                    module.warn(why)
    except EngineError as error:
        module.fail_json(msg=str(error), removed=removed, kept=kept)
    after = "".join(f"{name}\n" for name in removed)
    module.exit_json(
        changed=bool(removed),
        removed=removed,
        kept=kept,
        diff={"before_header": "present", "after_header": "removed", "before": after, "after": ""},
    )


if __name__ == "__main__":
    main()
