#!/usr/bin/python
"""Find images by their content, and tag them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_state
short_description: Find images by their content, and tag them
description:
  - The label C(berth.content) of an image is the hash of what it was built from. An image with the content and another tag gets the
    tag, so that it need not be built.
  - A tag that is derived from the content is corrected where somebody moved it. A tag that a user chose (O(named)) is never moved;
    another content under it is an error.
options:
  repository: {description: Name of the image., type: str}
  tag: {description: Tag of the image., type: str}
  content: {description: "Expected value of the label C(berth.content); empty for any.", type: str, default: ""}
  named: {description: Whether a user chose the tag., type: bool, default: false}
  images: {description: "Instead of one image, several, each with these four.", type: list, elements: dict}
  required: {description: Fail where an image does not exist., type: bool, default: false}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Find the image
  berth.stack.image_state: {repository: berth-backend, tag: v1, content: 0f1e2d}
  register: __image
"""

RETURN = r"""
missing: {description: References of missing images., type: list, elements: str, returned: with images}
images: {description: "Results for each of O(images).", type: list, elements: dict, returned: with images}
reference: {description: "C(repository:tag).", type: str, returned: for one}
present: {description: Whether the image exists., type: bool, returned: for one}
id: {description: The image's id., type: str, returned: when present}
size: {description: Its size in bytes., type: int, returned: when present}
layers: {description: Number of its layers., type: int, returned: when present}
contents: {description: "Hash over its layers and configuration; the same on every engine.", type: str, returned: when present}
layers_id: {description: "Hash over the digests of its layers, which depend on its files only; empty where it does not exist.", type: str,
  returned: for one}
"""

import hashlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.docker.image_layers import content_hash


class Refused(ValueError):
    """A tag that a user chose names another content."""


def content_of(image: dict[str, Any]) -> str:
    return ((image["Config"] or {}).get("Labels") or {}).get("berth.content") or "unknown"


def has_own_labels(image: dict[str, Any]) -> bool:
    """Whether the labels are the image's own. An image FROM it inherits them, but was created at another time than they tell."""
    created: str | None = image["Config"]["Labels"].get("org.opencontainers.image.created")
    return image.get("Created") == created


def find(engine: Engine, image_spec: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """(the existing image, id of the image to tag) of one image."""
    reference, content = f"{image_spec['repository']}:{image_spec['tag']}", image_spec.get("content") or ""
    image = engine.find(f"/images/{reference}/json")
    if not content or (image and content_of(image) == content):
        return image, ""
    if image and image_spec.get("named"):
        raise Refused(
            f"{reference} exists already with another content ({content_of(image)[:12]}, not {content[:12]}). "
            "A version names one content: choose another VERSION=, or omit it to have it derived from the source."
        )
    for candidate in engine.listing("images", {"berth.content": content}):
        names = [name for name in candidate["RepoTags"] or [] if name != "<none>:<none>"]
        inspected = engine.find(f"/images/{candidate['Id']}/json")
        # An image without a name lost it to a newer build.
        same_repository = any(name.rpartition(":")[0] == image_spec["repository"] for name in names)
        if inspected and (same_repository if names else has_own_labels(inspected)):
            return inspected, candidate["Id"]
    return None, ""


def describe(image_spec: dict[str, Any], image: dict[str, Any] | None) -> dict[str, Any]:
    """The result for one image."""
    result = {
        "reference": f"{image_spec['repository']}:{image_spec['tag']}",
        "service": image_spec.get("service", ""),
        "present": image is not None,
    }
    if image is None:
        return result | {"layers_id": ""}
    layers = image["RootFS"].get("Layers") or []
    return result | {
        "id": image["Id"],
        "size": image["Size"],
        "layers": len(layers),
        "contents": content_hash(image),
        "layers_id": hashlib.sha256("".join(layers).encode()).hexdigest(),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "repository": {"type": "str"},
            "tag": {"type": "str"},
            "content": {"type": "str", "default": ""},
            "named": {"type": "bool", "default": False},
            "images": {"type": "list", "elements": "dict"},
            "required": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
        required_together=[("repository", "tag")],
        required_one_of=[("repository", "images")],
    )
    params, engine = module.params, Engine()
    results: list[dict[str, Any]] = []
    actions: list[str] = []
    try:
        for image_spec in params["images"] or [params]:
            image, other = find(engine, image_spec)
            results.append(describe(image_spec, image))
            if other:
                actions.append(f"tag {other.removeprefix('sha256:')[:12]} as {results[-1]['reference']}")
                if not module.check_mode:
                    engine.call("POST", f"/images/{other}/tag", {"repo": image_spec["repository"], "tag": image_spec["tag"]})
    except (EngineError, Refused) as error:
        module.fail_json(msg=str(error))
    missing = [result["reference"] for result in results if not result["present"]]
    if missing and params["required"]:
        module.fail_json(msg=f"These images are not on this host: {', '.join(missing)}. Build them first: make build")
    outcome = {"missing": missing, "images": results} if params["images"] else results[0]
    module.exit_json(changed=bool(actions), actions=actions, **outcome)


if __name__ == "__main__":
    main()
