#!/usr/bin/python
"""Read which release runs on a host, and record one."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: release_state
short_description: Read which release runs on a host, and record one
description:
  - A release's manifest, C(releases/VERSION.json), names all that is needed to run it again. C(current) holds the version that
    serves. Files are replaced whole, never written in place.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  record: {description: "Manifest of the release that serves now; C(version) is needed. Without it the state is only read.", type: dict}
"""

EXAMPLES = r"""
- name: Read which release runs
  release_state: {directory: /var/lib/berth}
  register: __state
"""

RETURN = r"""
current: {description: The version that serves; empty before the first release., type: str, returned: always}
previous: {description: The version that served before it., type: str, returned: always}
manifest: {description: Manifest of the current release., type: dict, returned: always}
releases: {description: "All manifests' versions, newest first.", type: list, elements: str, returned: always}
"""


def write(path: Path, text: str, mode: int) -> None:
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text)
    os.chmod(scratch, mode)
    scratch.rename(path)


def read(directory: Path) -> dict[str, Any]:
    def word(name: str) -> str:
        path = directory / name
        return path.read_text().strip() if path.is_file() else ""

    def manifest(version: str) -> dict[str, Any]:
        path = directory / "releases" / f"{version}.json"
        return json.loads(path.read_text()) if version and path.is_file() else {}

    # A release's bills of materials lie beside its manifest.
    manifests = [path for path in (directory / "releases").glob("[!.]*.json") if not path.name.endswith(".cdx.json")]
    known = sorted(manifests, key=lambda path: path.stat().st_mtime, reverse=True)
    return {
        "current": word("current"),
        "previous": word("previous"),
        "manifest": manifest(word("current")),
        "releases": [path.name.removesuffix(".json") for path in known],
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={"directory": {"type": "path", "required": True}, "record": {"type": "dict"}}, supports_check_mode=True
    )
    directory, record = Path(module.params["directory"]), module.params["record"]
    state = read(directory)
    if not record:
        module.exit_json(changed=False, **state)
    version = record["version"]
    stored = {key: value for key, value in state["manifest"].items() if key != "released"}
    # What a filter left as a lazy sequence compares as JSON.
    wanted = json.loads(json.dumps(record))
    changed = state["current"] != version or stored != wanted
    if changed and not module.check_mode:
        (directory / "releases").mkdir(parents=True, exist_ok=True, mode=0o700)
        os.chmod(directory, 0o711)
        released = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        write(directory / "releases" / f"{version}.json", json.dumps(wanted | {"released": released}, indent=2) + "\n", 0o600)
        if state["current"] and state["current"] != version:
            write(directory / "previous", state["current"] + "\n", 0o644)
        write(directory / "current", version + "\n", 0o644)
    before, after = state["current"] or "nothing", version
    module.exit_json(
        changed=changed,
        diff={"before_header": "current release", "after_header": "current release", "before": f"{before}\n", "after": f"{after}\n"},
        **(state if module.check_mode else read(directory)),
    )


if __name__ == "__main__":
    main()
