#!/usr/bin/python
"""Forget releases that a host remembers: their manifests, so that nothing goes back to them. Images and what serves stay."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.state.store import Store

DOCUMENTATION = r"""
module: release_forget
short_description: Forget releases that a host remembers
description:
  - Removes manifests, and what lies beside them. The release that serves and the one that a rollback goes back to are refused.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  releases: {description: Their names., type: list, elements: str, required: true}
"""

EXAMPLES = r"""
- name: Forget what a stress run released
  berth.stack.release_forget: {directory: /var/lib/berth, releases: [v1-r2]}
"""

RETURN = r"""
actions: {description: "What was done, or in check mode would be, one sentence each.", type: list, elements: str, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "releases": {"type": "list", "elements": "str", "required": True},
        },
        supports_check_mode=True,
    )
    store = Store(module.params["directory"])
    asked = [release for release in module.params["releases"] if store.manifest(release)]
    needed = [release for release in asked if release in (store.current, store.previous)]
    if needed:
        module.fail_json(msg=f"{' and '.join(needed)}: serves, or is what a rollback goes back to. Nothing was forgotten.")
    if not module.check_mode:
        for release in asked:
            store.forget(release)
    module.exit_json(changed=bool(asked), actions=[f"forget release {release}" for release in asked])


if __name__ == "__main__":
    main()
