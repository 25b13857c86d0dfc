#!/usr/bin/python
"""Remove recorded releases, so that no rollback uses them; images and the active release stay."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_forget
short_description: Remove recorded releases of a host
description:
  - Removes manifests and bills of materials. Refuses the active release and the rollback target.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  releases: {description: Their names., type: list, elements: str, required: true}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Remove the release of a stress run
  berth.stack.release_forget: {directory: /var/lib/berth, releases: [v1-r2]}
"""

RETURN = r"""
actions: {description: "Changes made, or in check mode planned, one line each.", type: list, elements: str, returned: success}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.state.store import Store


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "releases": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    store = Store(module.params["directory"])
    existing = [release for release in module.params["releases"] if store.manifest(release)]
    needed = [release for release in existing if release in (store.current, store.previous)]
    if needed:
        module.fail_json(msg=f"{' and '.join(needed)}: active, or the rollback target. Nothing was changed.")
    if not module.check_mode:
        for release in existing:
            store.forget(release)
    module.exit_json(changed=bool(existing), actions=[f"remove release {release}" for release in existing])


if __name__ == "__main__":
    main()
