#!/usr/bin/python
"""Read the recorded releases of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_state
short_description: Read the recorded releases of a host
description: Reads the state directory of a stack; with O(details) also which images exist.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  details: {description: "Return the state of each release and the end of the audit log too.", type: bool, default: false}
  lines: {description: Number of lines of the audit log., type: int, default: 50}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Read the active release
  berth.stack.release_state: {directory: /var/lib/berth}
  register: __state
"""

RETURN = r"""
current: {description: The active release; empty before the first one., type: str, returned: always}
previous: {description: The release to roll back to., type: str, returned: always}
pending: {description: The unfinished operation., type: dict, returned: always}
manifest: {description: Manifest of the active release., type: dict, returned: always}
releases: {description: "Names of all releases, newest first.", type: list, elements: str, returned: always}
details:
  description: "With O(details), each: C(release), C(released), C(by), C(image_version), C(secrets_generation), C(schema), C(state)."
  type: list
  elements: dict
  returned: with details
holders: {description: "With O(details): holders of locks, each with the audit C(line) for the case that its run has ended.", type: list,
  elements: dict, returned: with details}
audit:
  description: "With O(details): the end of the audit log, and lines of runs that ended while they held a lock (added by the action)."
  type: list
  elements: dict
  returned: with details
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.state import jobs
from ..module_utils.state.store import Store


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "details": {"type": "bool", "default": False},
            "lines": {"type": "int", "default": 50},
        },
        supports_check_mode=True,
    )
    store = Store(module.params["directory"])
    releases = store.releases()
    result: dict[str, Any] = {
        "current": store.current,
        "previous": store.previous,
        "pending": store.pending,
        "manifest": store.manifest(store.current),
        "releases": [manifest["version"] for manifest in releases],
    }
    if module.params["details"]:
        engine = Engine()

        def state(manifest: dict[str, Any]) -> str:
            if manifest["version"] == store.current:
                return "active"
            if any(engine.find(f"/images/{image}/json") is None for image in manifest["images"].values()):
                return "images missing"
            return "rollback target" if manifest["version"] == store.previous else ""

        try:
            result["details"] = [
                {
                    "release": manifest["version"],
                    "state": state(manifest),
                    "released": manifest.get("released", ""),
                    "by": manifest.get("by", ""),
                    "image_version": manifest.get("image_version", manifest["version"]),
                    "secrets_generation": str(manifest.get("secrets_generation", "")),
                    "schema": ", ".join((manifest.get("schema") or {}).get("heads") or []),
                }
                for manifest in releases
            ]
        except EngineError as error:
            module.fail_json(msg=str(error))
        lines = module.params["lines"]
        result["audit"] = sorted([*store.audit_log(lines), *jobs.audited(store.root)], key=lambda line: line["when"])[-lines:]
        result["holders"] = store.holders
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
