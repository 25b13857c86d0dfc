#!/usr/bin/python
"""Tell whether images of a given content are on the host, and give them their tags where they are."""

from __future__ import annotations

import hashlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.docker.image_layers import content_hash

DOCUMENTATION = r"""
module: image_state
short_description: Tell whether images of a given content are on the host, and give them their tags where they are
description:
  - An image is known by the hash of what it was built from, in its label C(berth.content). Where one is there under another tag it
    gets the wanted one, and nothing has to be built.
  - A tag that follows from the content is put right where somebody moved it. A name that a user gave (O(named)) is never moved;
    another content is an error there.
options:
  repository: {description: Name of the image., type: str}
  tag: {description: Tag of the image., type: str}
  content: {description: "Wanted value of the label C(berth.content); empty takes what the tag names.", type: str, default: ""}
  named: {description: Whether a user chose the tag., type: bool, default: false}
  images: {description: "Instead of one image, several, each with these four.", type: list, elements: dict}
  required: {description: Fail when an image is not there., type: bool, default: false}
"""

EXAMPLES = r"""
- name: Look for the image
  berth.stack.image_state: {repository: berth-backend, tag: v1, content: 0f1e2d}
  register: __image
"""

RETURN = r"""
missing: {description: Those of O(images) that are not on the host., type: list, elements: str, returned: with images}
images: {description: "Of O(images), what is returned for one.", type: list, elements: dict, returned: with images}
reference: {description: "C(repository:tag).", type: str, returned: for one}
present: {description: Whether the image is there., type: bool, returned: for one}
id: {description: The image's id., type: str, returned: when present}
size: {description: Its size in bytes., type: int, returned: when present}
layers: {description: Number of its layers., type: int, returned: when present}
contents: {description: "Hash over its layers and configuration; the same on every engine.", type: str, returned: when present}
layers_id: {description: "Hash over the digests of its layers: the same files give the same one, whenever it was made; empty where it is not
  there.", type: str, returned: for one}
"""


class Refused(ValueError):
    """A tag that a user gave to another content."""


def content_of(image: dict[str, Any]) -> str:
    return ((image["Config"] or {}).get("Labels") or {}).get("berth.content") or "unknown"


def own(image: dict[str, Any]) -> bool:
    """Whether its labels are its own: what somebody builds FROM an image inherits them, and has a time that they do not tell."""
    return image.get("Created") == image["Config"]["Labels"].get("org.opencontainers.image.created")


def find(engine: Engine, wanted: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """(image, id of another one that has to get the tag) for one wanted image."""
    reference, content = f"{wanted['repository']}:{wanted['tag']}", wanted.get("content") or ""
    image = engine.find(f"/images/{reference}/json")
    if not content or (image and content_of(image) == content):
        return image, ""
    if image and wanted.get("named"):
        raise Refused(
            f"{reference} is there already, with another content ({content_of(image)[:12]}, not {content[:12]}). "
            "A version names one content: choose another VERSION=, or leave it out to have it derived from the source."
        )
    for candidate in engine.listing("images", {"berth.content": content}):
        names = [name for name in candidate["RepoTags"] or [] if name != "<none>:<none>"]
        known = engine.find(f"/images/{candidate['Id']}/json")
        # Without a name it lost its only one to another image.
        if known and (own(known) if not names else any(name.rpartition(":")[0] == wanted["repository"] for name in names)):
            return known, candidate["Id"]
    return None, ""


def told(wanted: dict[str, Any], image: dict[str, Any] | None) -> dict[str, Any]:
    """What is returned for one image."""
    answer = {"reference": f"{wanted['repository']}:{wanted['tag']}", "service": wanted.get("service", ""), "present": image is not None}
    if image is None:
        return answer | {"layers_id": ""}
    layers = image["RootFS"].get("Layers") or []
    return answer | {
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
    given, engine = module.params, Engine()
    answers: list[dict[str, Any]] = []
    actions: list[str] = []
    try:
        for wanted in given["images"] or [given]:
            image, other = find(engine, wanted)
            answers.append(told(wanted, image))
            if other:
                actions.append(f"tag {other.removeprefix('sha256:')[:12]} as {answers[-1]['reference']}")
                if not module.check_mode:
                    engine.call("POST", f"/images/{other}/tag", {"repo": wanted["repository"], "tag": wanted["tag"]})
    except (EngineError, Refused) as error:
        module.fail_json(msg=str(error))
    missing = [answer["reference"] for answer in answers if not answer["present"]]
    if missing and given["required"]:
        module.fail_json(msg=f"not on this host: {', '.join(missing)}; build first: make build")
    outcome = {"missing": missing, "images": answers} if given["images"] else answers[0]
    module.exit_json(changed=bool(actions), actions=actions, **outcome)


if __name__ == "__main__":
    main()
