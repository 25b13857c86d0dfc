#!/usr/bin/python
"""Read what a host remembers of its releases."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.state.store import Store

DOCUMENTATION = r"""
module: release_state
short_description: Read what a host remembers of its releases
description: Reads the state directory of a stack and nothing else; no engine is asked.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  details: {description: "Tell also which releases could be gone back to, and the end of the audit.", type: bool, default: false}
  lines: {description: Lines of the audit., type: int, default: 50}
"""

EXAMPLES = r"""
- name: Read which release runs
  berth.stack.release_state: {directory: /var/lib/berth}
  register: __state
"""

RETURN = r"""
current: {description: The release that serves; empty before the first one., type: str, returned: always}
previous: {description: The release that served before it., type: str, returned: always}
pending: {description: What an unfinished verb was about to do., type: dict, returned: always}
manifest: {description: Manifest of the current release., type: dict, returned: always}
releases: {description: "All releases' names, newest first.", type: list, elements: str, returned: always}
told:
  description: "With O(details), each: C(release), C(released), C(by), C(image_version), C(secrets_generation), C(schema), C(state)."
  type: list
  elements: dict
  returned: with details
holders: {description: "With O(details): who holds a lock, each with its C(line) of the audit should its run have ended.", type: list,
  elements: dict, returned: with details}
audit:
  description: "With O(details): the last lines of the audit, and those of runs that ended while they held a lock (added by the action)."
  type: list
  elements: dict
  returned: with details
"""


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
    result = {
        "current": store.current,
        "previous": store.previous,
        "pending": store.pending,
        "manifest": store.manifest(store.current),
        "releases": [manifest["version"] for manifest in releases],
    }
    if module.params["details"]:
        engine = Engine()

        def state(manifest: dict) -> str:
            if manifest["version"] == store.current:
                return "serves"
            if any(engine.find(f"/images/{image}/json") is None for image in manifest["images"].values()):
                return "images gone"
            return "default of rollback" if manifest["version"] == store.previous else ""

        try:
            result["told"] = [
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
        result["audit"] = store.audit_log(module.params["lines"])
        result["holders"] = store.holders
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
