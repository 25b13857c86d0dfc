#!/usr/bin/python
"""Make, list and restore backups of a stack on its host."""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.backups import Backups
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.dumps import Database, DumpError
from ansible.module_utils.engine import Engine, EngineError
from ansible.module_utils.interrupts import Interrupted, raise_on_signals
from ansible.module_utils.releases import Lock, Locked, Store

DOCUMENTATION = r"""
module: stack_backup
short_description: Make, list and restore backups of a stack on its host
description:
  - A backup is a directory with a dump in PostgreSQL's custom format, manifests and routes, what it belongs to, and, where it is given,
    the encrypted secrets. It is checked by restoring it into a database of its own and counting rows and checksums of every table.
  - A restore into place is put together beside and gets the name when it is whole; the application's connections are ended then.
  - Runs under the stack's lock. An action of the same name adds who runs the playbook.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  state: {description: What to do., type: str, choices: [made, restored, listed], required: true}
  name: {description: The backup to restore; empty for the newest., type: str, default: ""}
  into: {description: "Name of a new database to restore into, instead of into place.", type: str, default: ""}
  why: {description: Part of the backup's name., type: str, default: on-demand}
  check: {description: Check the backup by restoring it., type: bool, default: true}
  secrets: {description: "The secrets, encrypted, to be kept with it.", type: str, default: ""}
  keep: {description: How many backups to keep., type: int, default: 5}
  who: {description: Who runs the playbook. Added by the action., type: dict, required: true}
  dead: {description: Token of a lock whose holder is gone. Added by the action., type: str, default: ""}
  lock_wait: {description: Seconds to wait for somebody else's lock., type: float, default: 0}
"""

EXAMPLES = r"""
- name: Make a backup
  stack_backup: {directory: /var/lib/berth, state: made}
"""

RETURN = r"""
backup: {description: "The one that was made or restored: C(name), C(when), C(why), C(release), C(bytes), C(content).", type: dict,
  returned: when made or restored}
backups: {description: "All of them, newest first.", type: list, elements: dict, returned: when listed}
path: {description: Where it lies., type: str, returned: when made or restored}
rows: {description: "By table, how many rows are there now.", type: dict, returned: when restored}
"""


def rows(content: dict[str, str]) -> dict[str, int]:
    return {table: int(text.split()[0]) for table, text in content.items()}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["made", "restored", "listed"], "required": True},
            "name": {"type": "str", "default": ""},
            "into": {"type": "str", "default": ""},
            "why": {"type": "str", "default": "on-demand"},
            "check": {"type": "bool", "default": True},
            "secrets": {"type": "str", "default": "", "no_log": False},
            "keep": {"type": "int", "default": 5},
            "who": {"type": "dict", "required": True},
            "dead": {"type": "str", "default": ""},
            "lock_wait": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    store = Store(wanted["directory"])
    backups, lock = Backups(store), Lock(store, wanted["who"])
    # Which database it is stands in the manifest of the release that serves; an external one is not ours to dump.
    base = (store.manifest(store.current).get("around") or {}).get("database")
    database = Database(Engine(), base["container"], base["name"]) if base else None
    if wanted["state"] == "listed":
        module.exit_json(changed=False, backups=backups.all())
    if not store.current:
        module.fail_json(msg="nothing was released on this host, so there is nothing to back up or to restore into: make up")
    verb = "backup" if wanted["state"] == "made" else "restore"
    note = backups.find(wanted["name"])
    if verb == "restore":
        known = ", ".join(one["name"] for one in backups.all()) or "none"
        if not note:
            module.fail_json(msg=f"There is no backup {wanted['name']}. Nothing was changed. Backups on this host: {known}")
        if database is None or not note["bytes"]:
            module.fail_json(
                msg=f"{note['name']} has no dump, or the database is not the stack's own: restore it by the means of your database"
            )
    if module.check_mode:
        what = "make a backup" if verb == "backup" else f"restore {note['name']} into {wanted['into'] or 'place'}"
        module.exit_json(changed=True, actions=[what], backup=note, path=str(backups.root), rows={})
    try:
        lock.take(verb, wait=wanted["lock_wait"], dead=wanted["dead"])
    except Locked as error:
        module.fail_json(msg=str(error), holder=error.holder)

    def done(outcome: str, what: str) -> None:
        line = {"verb": verb, "what": what, "from": store.current, "to": store.current, "outcome": outcome}
        store.audit(who=f"{lock.who['owner']}@{lock.who['host']}", **line, seconds=lock.free())

    result: dict[str, Any] = {}
    raise_on_signals()
    try:
        with lock.working():
            if verb == "backup":
                extra = {"secrets.vault": wanted["secrets"]} if wanted["secrets"] else None
                note = backups.make(wanted["why"], database, wanted["check"], extra)
                if database and wanted["check"]:
                    compare(database, note)
                gone = backups.prune(wanted["keep"])
                actions = [f"make backup {note['name']}", *(f"remove backup {name}" for name in gone)]
            else:
                assert database is not None
                there = backups.restore(note["name"], database, wanted["into"])
                result["rows"] = rows(there)
                if note.get("content") and there != note["content"]:
                    raise DumpError(f"what was restored differs from what {note['name']} held: {difference(note['content'], there)}")
                if not wanted["into"]:
                    (store.root / "unchanged.json").unlink(missing_ok=True)  # the next deploy looks at the migrations again
                actions = [f"restore {note['name']} into {wanted['into'] or 'place'}"]
    except (DumpError, EngineError, OSError, Interrupted) as error:
        done("failed", str(error).splitlines()[0])
        module.fail_json(msg=f"the {verb} failed, and nothing of it stays: {error}")
    done("ok", "; ".join(actions))
    module.exit_json(changed=True, actions=actions, backup=note, path=str(backups.path(note["name"])), **result)


def compare(database: Database, note: dict[str, Any]) -> None:
    """The dump holds every table that is there. Rows may have come and gone since it was made; tables do not."""
    missing = set(json.loads(database.content())) - set(note["content"])
    if missing:
        raise DumpError(f"the backup lacks {', '.join(sorted(missing))}")


def difference(wanted: dict[str, str], there: dict[str, str]) -> str:
    return "; ".join(
        f"{t}: {wanted.get(t, 'not there')} -> {there.get(t, 'not there')}" for t in sorted(wanted | there) if wanted.get(t) != there.get(t)
    )


if __name__ == "__main__":
    main()
