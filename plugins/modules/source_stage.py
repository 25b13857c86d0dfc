#!/usr/bin/python
"""Copy the files that an image is built from to a build context."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_stage
short_description: Copy the files that an image is built from to a build context
description:
  - Copies the files of a source that are part of an image (see module_utils/source/tree.py) and the Dockerfile to a new directory that
    only its owner can read. Files ignored by git or a .dockerignore are neither read nor copied.
  - All files get the same date, and modes by their executable bit alone, so that equal content gives equal layers. The date's nanoseconds
    depend on the content, because BuildKit does not transfer a file again whose size and time are unchanged.
  - Fails where the content no longer has the hash C(content) of O(image).
options:
  image:
    description: "The image to build: C(source), C(dockerfile), C(args), C(base), C(context) as in M(berth.stack.source_version);
      C(content), the hash of its content; C(created), seconds since 1970."
    type: dict
  path: {description: "A directory that this module made, to be removed.", type: path}
  state: {description: Whether to copy or to remove., type: str, choices: [present, absent], default: present}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Copy the build context
  berth.stack.source_stage:
    image: {source: /srv/app/backend, dockerfile: /srv/berth/Dockerfile, context: {kind: fastapi}}
  register: __stage
"""

RETURN = r"""
path: {description: The directory; empty in check mode., type: str, returned: when present}
source: {description: The build context in it., type: str, returned: when present}
dockerfile: {description: The Dockerfile in it., type: str, returned: when present}
files: {description: Number of files copied., type: int, returned: when present}
bytes: {description: Their size in bytes., type: int, returned: when present}
"""

import hashlib
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.source.context import image_content, image_files
from ..module_utils.source.tree import shown

PREFIX = "berth-context-"
# 2020-01-01: where there is no commit. Not 0, which some programs take for none.
UNDATED = 1577836800
ABANDONED = 24 * 3600  # seconds after which a directory is of a run that was killed


class Changed(ValueError):
    """The source changed since it was inspected."""


def copy(image: dict[str, Any], target: Path) -> tuple[int, int]:
    """Copy the files and the Dockerfile below `target`; (files, bytes)."""
    source, context, date = Path(image["source"]), target / "context", int(image.get("created") or 0) or UNDATED
    files, size = image_files(image), 0
    context.mkdir()
    made: list[Path] = [context]
    for path in files:
        full, to = source / path, context / path
        try:
            missing = [folder for folder in to.parents if folder.is_relative_to(context) and not folder.is_dir()]
            for folder in reversed(missing):
                folder.mkdir()
                made.append(folder)
            mode = os.lstat(full).st_mode
            if stat.S_ISLNK(mode):
                os.symlink(os.readlink(full), to)
                os.utime(to, (date, date), follow_symlinks=False)
            else:
                shutil.copyfile(full, to)
                to.chmod(0o755 if mode & stat.S_IXUSR else 0o644)
                with open(to, "rb") as file:
                    drawn = int(hashlib.file_digest(file, "sha256").hexdigest()[:12], 16) % 10**9
                os.utime(to, ns=(date * 10**9 + drawn,) * 2)
                size += to.stat().st_size
        except OSError as error:
            raise Changed(f"{shown(path)} cannot be read: {error.strerror}") from error
    for folder in made:
        folder.chmod(0o755)
        os.utime(folder, (date, date))
    shutil.copyfile(image["dockerfile"], target / "Dockerfile")
    if image.get("content") and image_content(image, files, context) != image["content"]:
        raise Changed("it changed while it was being read")
    return len(files), size


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "dict"},
            "path": {"type": "path"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        required_if=[("state", "present", ["image"]), ("state", "absent", ["path"])],
        supports_check_mode=True,
    )
    image, temporary = module.params["image"], Path(tempfile.gettempdir())
    if module.params["state"] == "absent":
        path = Path(module.params["path"])
        if not path.name.startswith(PREFIX):
            module.fail_json(msg=f"{path} is not a directory that source_stage made")
        if not module.check_mode:
            shutil.rmtree(path, ignore_errors=True)
        module.exit_json(changed=False)
    if module.check_mode:
        module.exit_json(changed=False, path="", source=image["source"], dockerfile=image["dockerfile"], files=0, bytes=0)
    for old in temporary.glob(f"{PREFIX}*"):
        try:
            status = old.lstat()
        except OSError:
            continue  # another run has removed it
        if status.st_uid == os.geteuid() and time.time() - status.st_mtime > ABANDONED:
            shutil.rmtree(old, ignore_errors=True)
    target = Path(tempfile.mkdtemp(prefix=PREFIX, dir=temporary))
    try:
        files, size = copy(image, target)
    except (Changed, OSError) as error:
        shutil.rmtree(target, ignore_errors=True)
        module.fail_json(msg=f"The source {image['source']} cannot be copied: {error}. Nothing was built; run the command again.")
    module.exit_json(
        changed=False, path=str(target), source=str(target / "context"), dockerfile=str(target / "Dockerfile"), files=files, bytes=size
    )


if __name__ == "__main__":
    main()
