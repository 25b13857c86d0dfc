#!/usr/bin/python
"""Write images to a compressed archive, without the layers that the receiving host has."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_pack
short_description: Write images to a compressed archive, without the layers that the receiving host has
description:
  - The archive is for C(docker load) on an engine that stores layers by their chain id (all storage drivers; for the containerd image
    store I(held) must be empty).
  - Hosts that lack the same layers get the same archive, packed once.
options:
  names: {description: Names of the images., type: list, elements: str, required: true}
  held: {description: "Chain ids of the receiving host's layers, from image_inventory.", type: list, elements: str, default: []}
  directory: {description: Directory of the archive., type: path, required: true}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Pack the missing layers
  berth.stack.image_pack: {names: ["berth-backend:v1"], held: "{{ __held.chains }}", directory: /var/tmp/berth}
"""

RETURN = r"""
path: {description: The archive., type: str, returned: success}
bytes: {description: Its size., type: int, returned: success}
layer_bytes: {description: "Size of the layers in it, before compression.", type: int, returned: success}
spared_bytes: {description: Size of the skipped layers., type: int, returned: success}
"""

import fcntl
import gzip
import hashlib
import json
import os
from pathlib import Path
from typing import IO, cast

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.docker.image_layers import repack, skippable_layers


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "names": {"type": "list", "elements": "str", "required": True},
            "held": {"type": "list", "elements": "str", "default": []},
            "directory": {"type": "path", "required": True},
        }
    )
    names, directory = module.params["names"], Path(module.params["directory"])
    engine = Engine(timeout=600)
    try:
        images = [engine.call("GET", f"/images/{name}/json") for name in names]
        without = skippable_layers(images, set(module.params["held"]))
        identity = json.dumps([sorted(names), [image["Id"] for image in images], sorted(without)])
        path = directory / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.tar.gz"
        facts = path.with_suffix(".json")
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(directory / ".lock", "w") as lock:
            # Several hosts may request it in parallel: only the first one packs it.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not facts.is_file():
                scratch = path.with_suffix(".new")
                with (
                    engine.stream("/images/get", {"names": tuple(names)}, 600) as source,
                    gzip.open(scratch, "wb", compresslevel=1) as target,
                ):
                    sent, left_out = repack(source, cast(IO[bytes], target), without)
                os.replace(scratch, path)
                facts.write_text(json.dumps({"layer_bytes": sent, "spared_bytes": left_out}))
    except EngineError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, path=str(path), bytes=path.stat().st_size, **json.loads(facts.read_text()))


if __name__ == "__main__":
    main()
