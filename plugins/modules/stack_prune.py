#!/usr/bin/python
"""Remove the containers of other releases, or everything that a stack has."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError, wait_until
from ..module_utils.docker.ownership import foreign_containers, own_names, shared_images, stack_containers
from ..module_utils.state.store import Store

DOCUMENTATION = r"""
module: stack_prune
short_description: Remove the containers of other releases, or everything that a stack has
description:
  - "Networks and volumes are found by their labels, which they have from their creation. Containers and images pass their labels on, so of
    these only what Berth created is removed: containers by a label of their own, or by their names in O(directory); of an image the names
    that Berth gave it. What stays because somebody else uses it is a warning that names it."
  - Base images, which all stacks of an engine share, go with the images of the last stack.
  - Containers are stopped side by side, each with its own grace period.
options:
  labels: {description: Labels that an object must carry., type: dict, required: true}
  directory: {description: "State directory of the stack, which knows the containers of an earlier Berth.", type: path, default: ""}
  names: {description: Further names of containers of an earlier Berth., type: list, elements: str, default: []}
  registry: {description: Registry that images are pushed to or pulled from., type: str, default: ""}
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
  berth.stack.stack_prune: {labels: {berth.stack: berth}, directory: /var/lib/berth, services: [backend, frontend], keep: v2}
"""

RETURN = r"""
removed: {description: "What was removed, or in check mode would be.", type: list, elements: str, returned: always}
kept: {description: What has the labels and stays., type: list, elements: str, returned: always}
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
                raise EngineError(error.status, in_use("network", name, error)) from error
            return False
        return True

    deadline = time.monotonic() + NETWORK_WAIT
    wait_until(gone, NETWORK_WAIT + 1, 0.5)


def remove_volume(engine: Engine, name: str) -> None:
    try:
        engine.call("DELETE", f"/volumes/{name}")
    except EngineError as error:
        if error.status != 409:
            raise
        raise EngineError(error.status, in_use("volume", name, error)) from error


def in_use(kind: str, name: str, error: EngineError) -> str:
    """What a person is told of an object that a container holds which Berth did not create, and does not remove."""
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
                if error.status != 404:  # another manager was asked for the same, and was faster
                    raise
    return removed


def remove_image(engine: Engine, image: dict[str, Any], registry: str, check: bool) -> tuple[list[str], str]:
    """Remove the names that Berth gave an image, and with the last of all its names the image; (what went, why something stays)."""
    named = (image.get("RepoTags") or []) + (image.get("RepoDigests") or [])
    # One without a name is what a build left that took its name over; built by somebody from one of Berth's, it inherits the labels, and
    # has a time that they do not tell.
    made = (image.get("Labels") or {}).get("org.opencontainers.image.created")
    foreign = not named and made and (engine.find(f"/images/{image['Id']}/json") or {}).get("Created", made) != made
    names = own_names(image, registry=registry) if named else [] if foreign else [image["Id"]]
    removed = []
    for name in names:
        try:
            if not check:
                engine.call("DELETE", f"/images/{name}")
        except EngineError as error:
            if error.status == 404:
                continue
            if error.status != 409:
                raise
            return removed, f"The image {name} stays: {error}. To remove it, remove what uses it, then: docker image rm {name}"
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
        module.fail_json(msg="labels must name at least one label: without one everything on the host would go")
    engine = Engine()
    removed: list[str] = []
    kept: list[str] = []
    known = set(params["names"]) | (Store(params["directory"]).containers if params["directory"] else set())
    try:
        if "swarm" in params["kinds"]:
            removed += remove_swarm(engine, params["labels"], module.check_mode)
        if "containers" in params["kinds"]:
            doomed = [
                container
                for container in stack_containers(engine, params["labels"], known)
                if (not params["services"] or container["Labels"].get("berth.service") in params["services"])
                and (not params["keep"] or container["Labels"].get("berth.version") != params["keep"])
            ]
            removed += [f"container {container['Names'][0].lstrip('/')}" for container in doomed]
            if foreign := foreign_containers(engine, params["labels"], known):
                kept += foreign
                module.warn(
                    f"Not created by Berth, left as they are: {', '.join(foreign)} (containers of an image of this stack). "
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
            # Newest first: an image goes before the one that it was built on.
            doomed = engine.listing("images", params["labels"])
            if stack := params["labels"].get("berth.stack"):
                every = engine.call("GET", "/images/json", {"filters": {"label": ["berth.stack"]}})
                doomed += shared_images(every, stack, params["registry"])
            for image in sorted(doomed, key=lambda i: i["Created"], reverse=True):
                gone, why = remove_image(engine, image, params["registry"], module.check_mode)
                removed += gone
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
