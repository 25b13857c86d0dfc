#!/usr/bin/python
"""List the secrets of a stack: source, age and services of each, never its value."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_list
short_description: List the secrets of a stack, without their values
description: Reads the directories of the secrets on a host, and the files' names and times; no value leaves the host.
options:
  directory: {description: Parent directory of the generations., type: path, required: true}
  schema: {description: "By secret: C(services) that use it.", type: dict, default: {}}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: List the secrets
  berth.stack.secret_list: {directory: /var/lib/berth/secrets}
"""

RETURN = r"""
generation: {description: The newest generation; 0 before the first., type: int, returned: always}
generations: {description: Numbers of the existing generations., type: list, elements: int, returned: always}
secrets:
  description: "Each with C(name), C(source), C(made), C(age_days), C(generation) (its first one), C(version), C(services)."
  type: list
  elements: dict
  returned: always
"""

import calendar
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.secrets.store import Store


def listing(store: Store, schema: dict[str, Any], now: float) -> list[dict[str, Any]]:
    """The secrets of the newest generation, by name."""
    record = store.record(store.newest())
    return [
        {
            "name": name,
            "source": entry["source"],
            "made": entry["made"],
            "age_days": max(0, int((now - calendar.timegm(time.strptime(entry["made"], "%Y-%m-%dT%H:%M:%SZ"))) // 86400)),
            "generation": entry["generation"],
            "version": entry["version"],
            "services": (schema.get(name) or {}).get("services", []),
        }
        for name, entry in sorted(record["history"].items())
    ]


def main() -> None:
    module = AnsibleModule(
        argument_spec={"directory": {"type": "path", "required": True}, "schema": {"type": "dict", "default": {}, "no_log": False}},
        supports_check_mode=True,
    )
    store = Store(Path(module.params["directory"]))
    module.exit_json(
        changed=False,
        generation=store.newest(),
        generations=store.generations(),
        secrets=listing(store, module.params["schema"], time.time()),
    )


if __name__ == "__main__":
    main()
