#!/usr/bin/python
"""Make, list and restore backups of a stack on its host."""

from __future__ import annotations

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.data.backups import Backups, comparison, confirmation_prompt, incompatibility, rows
from ..module_utils.data.dumps import Database, DumpError, name_problem
from ..module_utils.data.revision import Revision
from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.state.interrupts import error_message, raise_on_signals
from ..module_utils.state.store import Failed, Lock, Locked, Store, audit_outcome

DOCUMENTATION = r"""
module: stack_backup
short_description: Make, list and restore backups of a stack on its host
description:
  - A backup is a directory with a dump in PostgreSQL's custom format, manifests and routes, what it belongs to, and, where it is given,
    the encrypted secrets. It is checked by restoring it into a database of its own and counting rows and checksums of every table.
  - A restore into place asks for O(confirm), dumps what it replaces first, is put together beside, compared with what the backup held, and
    gets the name when it is whole; the application's connections are ended then.
  - What cannot be done is refused before anything is touched, with a line in the audit.
  - Runs under the stack's lock. An action of the same name adds who runs the playbook.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  state: {description: What to do., type: str, choices: [made, restored, listed], required: true}
  name: {description: The backup to restore; empty for the newest., type: str, default: ""}
  into: {description: "Name of a new database to restore into, instead of into place.", type: str, default: ""}
  stack: {description: "Name of the stack, for messages and as what O(confirm) has to be.", type: str, default: ""}
  confirm: {description: "The stack's name, without which nothing is restored into place.", type: str, default: ""}
  dump_first: {description: Dump the database that a restore replaces., type: bool, default: true}
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
  berth.stack.stack_backup: {directory: /var/lib/berth, state: made}
"""

RETURN = r"""
backup: {description: "The one that was made or restored: C(name), C(when), C(why), C(release), C(bytes), C(content).", type: dict,
  returned: when made or restored}
backups: {description: "All of them, newest first.", type: list, elements: dict, returned: when listed}
path: {description: Where it lies., type: str, returned: when made or restored}
replaced: {description: The backup of what a restore into place replaced., type: str, returned: when restored}
rows: {description: "By table, how many rows are there now.", type: dict, returned: when restored}
would: {description: What would be done., type: str, returned: in check mode}
"""


def target(backups: Backups, database: Database | None, wanted: dict[str, Any], asking: bool) -> dict[str, Any]:
    """The backup to restore. Raises Failed, with what to type, where it cannot be done; `asking`: where the confirmation is missing too."""
    store, name, into = backups.store, wanted["name"], wanted["into"]
    note = backups.find(name)
    if not note:
        known = "".join(f"\n  {one['name']}" for one in backups.all())
        raise Failed(
            f"There is {f'no backup {name}' if name else 'no backup yet (make backup makes one)'}. Nothing was changed."
            + (f" Backups on this host:{known}" if known else "")
        )
    if database is None or not note["bytes"]:
        raise Failed(f"{note['name']} has no dump, or the database is not the stack's own: restore it by the means of your database")
    reason = name_problem(into, database.name, database.names()) if into else ""
    if reason:
        raise Failed(f"{reason}. Nothing was changed.")
    damage = backups.damage(note)
    if damage:
        others = ", ".join(one["name"] for one in backups.all() if one["bytes"] and one["name"] != note["name"]) or "none"
        raise Failed(f"The backup {note['name']} is damaged: {damage}. Nothing was changed. Other backups: {others}")
    if into:
        return note
    release = store.manifest(store.current)
    reason = incompatibility(note, release)
    if reason:
        raise Failed(reason)
    if asking and wanted["confirm"] != wanted["stack"]:
        behind = comparison(note, release).state in ("behind", "new")
        raise Failed(confirmation_prompt(wanted["stack"], note, store.current, database.name, database.size(), behind))
    return note


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["made", "restored", "listed"], "required": True},
            "name": {"type": "str", "default": ""},
            "into": {"type": "str", "default": ""},
            "stack": {"type": "str", "default": ""},
            "confirm": {"type": "str", "default": ""},
            "dump_first": {"type": "bool", "default": True},
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
    into = wanted["into"]
    note: dict[str, Any] = {}
    release = store.current
    try:
        if verb == "restore":
            note = target(backups, database, wanted, asking=not module.check_mode)
    except (Failed, DumpError, EngineError) as error:
        if not module.check_mode:
            lock.finish(verb, audit_outcome(error, []), str(error).splitlines()[0])
        module.fail_json(msg=str(error))
    if module.check_mode:
        what = "make a backup" if verb == "backup" else f"restore {note['name']} into {into or 'place'}"
        first = ", after a dump of what it replaces" if verb == "restore" and not into and wanted["dump_first"] else ""
        result = {"would": f"would {what}{first}", "backup": note, "path": str(backups.root), "rows": {}}
        module.exit_json(changed=True, actions=[what + first], **result)
    try:
        lock.acquire(verb, wait=wanted["lock_wait"], dead=wanted["dead"])
    except Locked as error:
        module.fail_json(msg=str(error), holder=error.holder, verb=verb)

    actions: list[str] = []
    result: dict[str, Any] = {"replaced": ""}
    raise_on_signals()
    try:
        with lock.exclusive():
            if verb == "restore" and store.current != release:  # another run had the lock until now
                note = target(backups, database, wanted, asking=True)
            if verb == "backup":
                extra = {"secrets.vault": wanted["secrets"]} if wanted["secrets"] else None
                note = backups.make(wanted["why"], database, wanted["check"], extra, at=revisions(database, store))
                if database and wanted["check"]:
                    compare(database, note)
                gone = backups.prune(wanted["keep"])
                actions = [f"make backup {note['name']}", *(f"remove backup {name}" for name in gone)]
            else:
                if database is None:
                    raise AssertionError("a restore has a database")
                database.reopen()
                backups.check_space(database, dump=not into and wanted["dump_first"], beside=True, note=note)
                if not into and wanted["dump_first"]:
                    result["replaced"] = dump_first(backups, database, revisions(database, store))
                    actions.append(f"make backup {result['replaced']} of what is replaced")
                result["rows"] = rows(backups.restore(note["name"], database, into))
                if not into:
                    (store.root / "unchanged.json").unlink(missing_ok=True)  # the next deploy looks at the migrations again
                actions.append(f"restore {note['name']} into {into or 'place'}")
    except BaseException as error:
        why = error_message(error, (Failed, DumpError, EngineError, OSError, Locked))
        replaced = bool(database and database.replaced)
        if replaced:
            (store.root / "unchanged.json").unlink(missing_ok=True)
        what = f"{(why.splitlines() or [''])[0]}{' (the backup is in place)' if replaced else ''}"
        lock.finish(verb, audit_outcome(error, actions), what)
        kept = f"\nThe backup of the database in use stays: {result['replaced']}" if result["replaced"] else ""
        stays = "Nothing was changed in the database in use" if verb == "restore" else "Nothing of it stays"
        if replaced:
            stays = f"The database in use is that of {note['name']} by now"
            kept = f"\nWhat it replaced is kept in {result['replaced']}" if result["replaced"] else ""
        module.fail_json(msg=f"The {verb} failed: {why}\n{stays}.{kept}")
    lock.finish(verb, "ok", "; ".join(actions))
    module.exit_json(changed=True, actions=actions, backup=note, path=str(backups.path(note["name"])), **result)


def revisions(database: Database | None, store: Store) -> list[str] | None:
    """The revisions that the database is at; None where nobody can tell."""
    serves = store.manifest(store.current)
    try:
        return Revision(database, (serves.get("around") or {}).get("database") or {}).read(serves)
    except (Failed, EngineError):
        return None


def dump_first(backups: Backups, database: Database, at: list[str] | None) -> str:
    """The name of a backup of what a restore is about to replace."""
    try:
        return str(backups.make("before-restore", database, check=False, at=at, automatic=True)["name"])
    except DumpError as error:
        raise DumpError(
            f"the database in use could not be dumped: {error}\n"
            "If it is lost anyway, restore without that dump: make restore ... ARGS='-e backup_before_restore=false'"
        ) from error


def compare(database: Database, note: dict[str, Any]) -> None:
    """The dump holds every table that is there. Rows may have come and gone since it was made; tables do not."""
    missing = set(json.loads(database.content())) - set(note["content"])
    if missing:
        raise DumpError(f"the backup lacks {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
