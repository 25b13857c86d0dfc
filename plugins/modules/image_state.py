#!/usr/bin/python
"""Tell whether an image of a given content is on the host, and give it its tag where it is."""

from __future__ import annotations

import hashlib

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.engine import Engine, EngineError

DOCUMENTATION = r"""
module: image_state
short_description: Tell whether an image of a given content is on the host, and give it its tag where it is
description:
  - An image is known by the hash of what it was built from, in its label C(berth.content). Where one is there under another tag it
    gets the wanted one, and nothing has to be built.
  - A tag names one content; a tag that is there with another content is an error.
options:
  repository: {description: Name of the image., type: str, required: true}
  tag: {description: Tag of the image., type: str, required: true}
  content: {description: "Wanted value of the label C(berth.content); empty takes what the tag names.", type: str, default: ""}
  required: {description: Fail when the image is not there., type: bool, default: false}
"""

EXAMPLES = r"""
- name: Look for the image
  image_state: {repository: berth-backend, tag: v1, content: 0f1e2d}
  register: __image
"""

RETURN = r"""
present: {description: Whether the image is there., type: bool, returned: always}
id: {description: The image's id., type: str, returned: when present}
size: {description: Its size in bytes., type: int, returned: when present}
layers: {description: Number of its layers., type: int, returned: when present}
layers_id: {description: "Hash over the digests of its layers: the same files give the same one, whenever it was made.", type: str,
  returned: when present}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "repository": {"type": "str", "required": True},
            "tag": {"type": "str", "required": True},
            "content": {"type": "str", "default": ""},
            "required": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    repository, tag, content = (module.params[key] for key in ("repository", "tag", "content"))
    reference = f"{repository}:{tag}"
    engine = Engine()
    changed = False
    try:
        image = engine.find(f"/images/{reference}/json")
        if image and content:
            found = ((image["Config"] or {}).get("Labels") or {}).get("berth.content")
            if found != content:
                module.fail_json(
                    msg=f"{reference} is there already, with another content ({(found or 'unknown')[:12]}, not {content[:12]}). "
                    "A version names one content: choose another VERSION=, or leave it out to have it derived from the source."
                )
        if image is None and content:
            for candidate in engine.listing("images", {"berth.content": content}):
                if any(name.rpartition(":")[0] == repository for name in candidate["RepoTags"] or []):
                    changed = True
                    if not module.check_mode:
                        engine.call("POST", f"/images/{candidate['Id']}/tag", {"repo": repository, "tag": tag})
                    image = engine.find(f"/images/{candidate['Id']}/json")
                    break
    except EngineError as error:
        module.fail_json(msg=str(error))
    if image is None:
        if module.params["required"]:
            module.fail_json(msg=f"image {reference} is not on this host; build it first: make build")
        module.exit_json(changed=False, present=False)
    layers = image["RootFS"].get("Layers") or []
    module.exit_json(
        changed=changed,
        present=True,
        id=image["Id"],
        size=image["Size"],
        layers=len(layers),
        layers_id=hashlib.sha256("".join(layers).encode()).hexdigest(),
    )


if __name__ == "__main__":
    main()
