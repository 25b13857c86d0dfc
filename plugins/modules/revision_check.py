#!/usr/bin/python
"""Refuse a release that does not fit the revision of the stack's database."""

from __future__ import annotations

DOCUMENTATION = r"""
module: revision_check
short_description: Refuse a release that does not fit the revision of the stack's database
description:
  - Reads the revision from the database and compares it with the release's Alembic migrations. Changes nothing. Does not wait for a
    database that is not running; M(berth.stack.release_apply) checks again.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  database:
    description: "C(container) and C(name); of the backend C(schema) and, where its version table is not alembic_version,
      C(version_table). Of one outside the stack, see module_utils/data/external.py."
    type: dict
    required: true
  release: {description: Name of the release., type: str, required: true}
  migrations: {description: "Heads and revisions of the release, see module_utils/data/migrations.py.", type: dict, required: true}
  command: {description: The release's migration command., type: list, elements: str, default: []}
  schema: {description: "What to do where the release does not fit, as in M(berth.stack.release_apply).", type: str, default: ""}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Compare the release with the database
  berth.stack.revision_check:
    directory: /var/lib/berth
    database: {container: berth-database, name: app, schema: backend}
    release: v2
    migrations: {heads: ["0002"], revisions: {"0001": {down: [], breaking: []}, "0002": {down: ["0001"], breaking: []}}}
    command: [python3, -m, alembic, upgrade, head]
"""

RETURN = r"""
state: {description: The database's revision in relation to the release., type: str, returned: success}
at: {description: The database's revisions., type: list, elements: str, returned: success}
heads: {description: The heads of the release., type: list, elements: str, returned: success}
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.data.external import database_of
from ..module_utils.data.revision import Revision, compared, require_compatible
from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.state.store import Failed, Store


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "database": {"type": "dict", "required": True},
            "release": {"type": "str", "required": True},
            "migrations": {"type": "dict", "required": True},
            "command": {"type": "list", "elements": "str", "default": []},
            "schema": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    given, base = module.params, module.params["database"]
    steps = [{"alembic": True, "container": {"entrypoint": given["command"]}}] if given["command"] else []
    target = {"schema": given["migrations"], "migrations": steps}
    try:
        revision = Revision(database_of(Engine(), base), base)
        found = compared(Store(given["directory"]), revision.read(target), target, given["schema"] == "accept", revision)
        require_compatible(found, given["release"], "deploy", given["schema"])
    except (Failed, EngineError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, state=found.state, at=found.at, heads=found.heads)


if __name__ == "__main__":
    main()
