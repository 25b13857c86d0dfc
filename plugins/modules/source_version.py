#!/usr/bin/python
"""Name the content of a set of sources: what images built from them would hold."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_version
short_description: Name the content of a set of sources
description:
  - Hashes what BuildKit would be sent for each image, with its Dockerfile and build arguments, and combines the hashes with the
    git description of the first source into one version. The same version means the same content.
options:
  images:
    description: "By image: C(source) (path), C(dockerfile) (path), C(args) (build arguments), C(base) (hash of what it is built on),
      and for an application C(context): C(kind) (C(fastapi), C(nextjs), or C(own) for a Dockerfile of the user's own), C(include)
      (patterns of what goes in although it is ignored) and C(role), which has the variables."
    type: dict
    required: true
  application:
    description: The images that a release is made of; the version names these. All of them by default.
    type: list
    elements: str
    default: []
  version:
    description: A name of the user's own for this content, instead of the derived one.
    type: str
    default: ""
  length:
    description: "How long the derived version may be: it is part of host names, whose parts end at 63 characters."
    type: int
    default: 60
  migrations:
    description: The image whose source has the migrations of the database; returned as C(schema).
    type: str
    default: ""
  routes:
    description: "By image, paths to look for in its source, a Python application's; those that it declares are returned as C(routes)."
    type: dict
    default: {}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Name what would be built
  berth.stack.source_version:
    images:
      backend: {source: /srv/app/backend, dockerfile: /srv/berth/Dockerfile, args: {}}
  register: __version
"""

RETURN = r"""
version: {description: "Git description (marked C(dirty) where the tree is), then 7 digits of the content's hash.", type: str,
  returned: always, sample: v1.2.0-3-g1a2b3c4-9f8e7d6}
revision: {description: "Full hash of the commit, empty outside git.", type: str, returned: always}
created: {description: "Seconds since 1970 of the commit that last touched each source, by image.", type: dict, returned: always}
origins: {description: "By image, OCI annotations of where its source is from and its licence.", type: dict, returned: always}
contents: {description: "SHA-256 of each image's content, by image.", type: dict, returned: always}
schema: {description: "Heads and revisions of the migrations, see module_utils/data/migrations.py.", type: dict, returned: always}
routes: {description: "By image, those of the paths asked for that its source declares.", type: dict, returned: always}
dirty: {description: Whether a source has changes that are not committed., type: bool, returned: always}
"""

import hashlib
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.data.migrations import schema
from ..module_utils.source.context import describe, git, image_content, image_files, origin
from ..module_utils.source.routes import declared
from ..module_utils.source.tree import shown


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "dict", "required": True},
            "application": {"type": "list", "elements": "str", "default": []},
            "version": {"type": "str", "default": ""},
            "length": {"type": "int", "default": 60},
            "migrations": {"type": "str", "default": ""},
            "routes": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    images: dict[str, Any] = module.params["images"]
    contents: dict[str, str] = {}
    created: dict[str, int] = {}
    origins: dict[str, dict[str, str]] = {}
    missing = []
    for name, image in images.items():
        source, dockerfile = Path(image["source"]), Path(image["dockerfile"])
        if not source.is_dir():
            where = f"Set {name.upper()}_SOURCE in .env, or stack_{name}_source."
            missing.append(f"The source of image {name} is {source}: there is no such directory. {where}")
        elif not dockerfile.is_file():
            missing.append(
                f"The Dockerfile of image {name} is {dockerfile}: no such file (set {name}_image_dockerfile, relative to the source)."
            )
    if missing:
        module.fail_json(msg="\n".join(missing))
    files: dict[str, list[str]] = {}
    for name, image in images.items():
        source = Path(image["source"])
        try:
            files[name] = image_files(image)
            contents[name] = image_content(image, files[name])
        except OSError as error:
            module.fail_json(msg=f"The source of image {name}: {shown(str(error.filename))} cannot be read: {error.strerror}.")
        origins[name] = origin(source)
        created[name] = int(git(source, "log", "-1", "--format=%ct", "--", ".") or 0)
    application = module.params["application"] or sorted(images)
    description, revision, dirty = describe([Path(images[name]["source"]) for name in application], module.params["length"] - 8)
    together = hashlib.sha256("".join(contents[name] for name in application).encode()).hexdigest()
    module.exit_json(
        changed=False,
        version=module.params["version"] or f"{description}-{together[:7]}",
        revision=revision,
        created=created,
        origins=origins,
        contents=contents,
        dirty=dirty,
        routes={name: declared(Path(images[name]["source"]), paths) for name, paths in module.params["routes"].items()},
        # Of the migrations that reach the image: what git ignores does not.
        schema=schema(Path(images[migrating]["source"]), files[migrating]) if (migrating := module.params["migrations"]) else {},
    )


if __name__ == "__main__":
    main()
