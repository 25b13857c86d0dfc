#!/usr/bin/python
"""Return which of a list of images exist on a host, and the layers of the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_inventory
short_description: Return which of a list of images exist on a host, and the layers of the host
description: With the result only the layers that a host lacks need be sent to it.
options:
  names: {description: "Images, repository:tag.", type: list, elements: str, required: true}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Find the images of the release
  berth.stack.image_inventory: {names: ["berth-backend:v1"]}
  register: __held
"""

RETURN = r"""
ids: {description: Id of each existing image by its name., type: dict, returned: always}
contents:
  description: "Hash over layers and configuration of each existing image by its name; the same on every engine."
  type: dict
  returned: always
missing: {description: Names of missing images., type: list, elements: str, returned: always}
chains:
  description: Chain ids of the engine's layers, which need not be sent; none with the containerd image store, which needs all.
  type: list
  elements: str
  returned: always
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.docker.image_layers import chain_ids, content_hash


def main() -> None:
    module = AnsibleModule(argument_spec={"names": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True)
    engine = Engine()
    held: set[str] = set()
    ids: dict[str, str] = {}
    contents: dict[str, str] = {}
    names = module.params["names"]
    try:
        for listed in engine.listing("images"):
            image = engine.find(f"/images/{listed['Id']}/json")
            if image is None:
                continue
            held.update(chain_ids(image["RootFS"].get("Layers") or []))
            for name in set(image["RepoTags"] or []) & set(names):
                ids[name], contents[name] = image["Id"], content_hash(image)
        if ["driver-type", "io.containerd.snapshotter.v1"] in (engine.call("GET", "/info").get("DriverStatus") or []):
            held.clear()
    except EngineError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=False,
        ids=ids,
        contents=contents,
        missing=[name for name in names if name not in ids],
        chains=sorted(held),
    )


if __name__ == "__main__":
    main()
