#!/usr/bin/python
"""Make, list and restore backups of a stack on its host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_backup
short_description: Make, list and restore backups of a stack on its host
description:
  - A backup is a directory with a dump in PostgreSQL's custom format, manifests, routes, metadata, and optionally the encrypted secrets.
    It is checked by restoring it into a temporary database and computing rows and checksums of every table.
  - A restore into place requires O(confirm) and makes a backup of the database first. It restores into a new database, compares that
    with the backup, and renames it; this ends the application's connections.
  - A refused restore changes nothing, and is recorded in the audit log.
  - Runs under the stack's lock. The action plugin of the same name adds who runs the playbook.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  state: {description: What to do., type: str, choices: [made, restored, listed], required: true}
  name: {description: The backup to restore; empty for the newest., type: str, default: ""}
  into: {description: "Name of a new database to restore into, instead of into place.", type: str, default: ""}
  stack: {description: "Name of the stack, the required value of O(confirm).", type: str, default: ""}
  confirm: {description: "The stack's name, required for a restore into place.", type: str, default: ""}
  dump_first: {description: Make a backup of the database that a restore replaces., type: bool, default: true}
  why: {description: Part of the backup's name., type: str, default: on-demand}
  check: {description: Check the backup by restoring it., type: bool, default: true}
  secrets: {description: "The encrypted secrets, to include in the backup.", type: str, default: ""}
  keep: {description: How many backups to retain., type: int, default: 5}
  who: {description: Who runs the playbook. Added by the action., type: dict, required: true}
  dead: {description: Token of a lock whose run has ended. Added by the action., type: str, default: ""}
  lock_wait: {description: Seconds to wait for another run's lock., type: float, default: 0}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Make a backup
  berth.stack.stack_backup: {directory: /var/lib/berth, state: made}
"""

RETURN = r"""
backup: {description: "The backup made or restored: C(name), C(when), C(why), C(release), C(bytes), C(content).", type: dict,
  returned: when made or restored}
backups: {description: "All backups, newest first.", type: list, elements: dict, returned: when listed}
path: {description: Directory of the backup., type: str, returned: when made or restored}
replaced: {description: The backup of the database that a restore into place replaced., type: str, returned: when restored}
rows: {description: "Number of rows by table after the restore.", type: dict, returned: when restored}
would: {description: The planned action., type: str, returned: in check mode}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.data.backups import Backups, comparison, confirmation_prompt, external_confirmation, incompatibility, rows
from ..module_utils.data.dumps import Database, DumpError, name_problem
from ..module_utils.data.external import External, database_of
from ..module_utils.data.revision import Revision
from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.state.interrupts import error_message, raise_on_signals
from ..module_utils.state.store import Failed, Lock, Locked, Store, audit_outcome


def target(backups: Backups, database: Database | None, params: dict[str, Any], asking: bool) -> dict[str, Any]:
    """The backup to restore. Raises Failed where it cannot be restored or, with `asking`, the confirmation is missing."""
    store, name, into = backups.store, params["name"], params["into"]
    note = backups.find(name)
    if not note:
        existing = "".join(f"\n  {one['name']}" for one in backups.all())
        raise Failed(
            f"There is {f'no backup {name}' if name else 'no backup yet (make backup makes one)'}. Nothing was changed."
            + (f" Backups on this host:{existing}" if existing else "")
        )
    if database is None or not note["bytes"]:
        raise Failed(f"{note['name']} has no dump. Nothing was changed.")
    outside = isinstance(database, External)
    if isinstance(database, External) and (asking or into):
        reason = external_confirmation(database, note, params["confirm"], into)
        if reason:
            raise Failed(reason)
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
    if asking and not outside and params["confirm"] != params["stack"]:
        behind = comparison(note, release).state in ("behind", "new")
        raise Failed(confirmation_prompt(params["stack"], note, store.current, database.name, database.size(), behind))
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
    params = module.params
    store = Store(params["directory"])
    backups, lock = Backups(store), Lock(store, params["who"])
    # The database is named by the manifest of the active release.
    base = (store.manifest(store.current).get("around") or {}).get("database")
    database = database_of(Engine(), base)
    if params["state"] == "listed":
        module.exit_json(changed=False, backups=backups.all())
    if not store.current:
        module.fail_json(msg="This host has no release, so there is nothing to back up or to restore into: make up")
    verb = "backup" if params["state"] == "made" else "restore"
    into = params["into"]
    note: dict[str, Any] = {}
    release = store.current
    try:
        if verb == "restore":
            note = target(backups, database, params, asking=not module.check_mode)
    except (Failed, DumpError, EngineError) as error:
        if not module.check_mode:
            lock.finish(verb, audit_outcome(error, []), str(error).splitlines()[0])
        module.fail_json(msg=str(error))
    if module.check_mode:
        what = "make a backup" if verb == "backup" else f"restore {note['name']} into {into or 'place'}"
        first = ", after a backup of the current database" if verb == "restore" and not into and params["dump_first"] else ""
        planned = {"would": f"would {what}{first}", "backup": note, "path": str(backups.root), "rows": {}}
        module.exit_json(changed=True, actions=[what + first], **planned)
    try:
        lock.acquire(verb, wait=params["lock_wait"], dead=params["dead"])
    except Locked as error:
        module.fail_json(msg=str(error), holder=error.holder, verb=verb)

    actions: list[str] = []
    result: dict[str, Any] = {"replaced": ""}
    raise_on_signals()
    try:
        with lock.exclusive():
            if verb == "restore" and store.current != release:  # changed by another run while this one waited for the lock
                note = target(backups, database, params, asking=True)
            if verb == "backup":
                extra = {"secrets.vault": params["secrets"]} if params["secrets"] else None
                note = backups.make(params["why"], database, params["check"], extra, at=revisions(database, store))
                if database and "content" in note:
                    compare(database, note)
                gone = backups.prune(params["keep"])
                actions = [f"make backup {note['name']}", *(f"remove backup {name}" for name in gone)]
            else:
                if database is None:
                    raise AssertionError("a restore has a database")
                database.reopen()
                backups.check_space(database, dump=not into and params["dump_first"], copy=True, note=note)
                if not into and params["dump_first"]:
                    result["replaced"] = dump_first(backups, database, revisions(database, store))
                    actions.append(f"make backup {result['replaced']} of the current database")
                result["rows"] = rows(backups.restore(note["name"], database, into))
                if not into:
                    store.state.keep("deployment", {})  # the next deploy checks the migrations again
                actions.append(f"restore {note['name']} into {into or 'place'}")
    except BaseException as error:
        why = error_message(error, (Failed, DumpError, EngineError, OSError, Locked))
        replaced = bool(database and database.replaced)
        if replaced:
            store.state.keep("deployment", {})
        what = f"{(why.splitlines() or [''])[0]}{' (the backup is in place)' if replaced else ''}"
        lock.finish(verb, audit_outcome(error, actions), what)
        state = "The database in use was not changed" if verb == "restore" else "The incomplete backup was removed"
        if replaced:
            state = f"The database in use has been replaced by {note['name']}"
        kept = f"\nThe backup of the {'previous database' if replaced else 'database in use'} is {result['replaced']}"
        module.fail_json(msg=f"The {verb} failed: {why}\n{state}.{kept if result['replaced'] else ''}")
    lock.finish(verb, "ok", "; ".join(actions))
    module.exit_json(changed=True, actions=actions, backup=note, path=str(backups.path(note["name"])), **result)


def revisions(database: Database | None, store: Store) -> list[str] | None:
    """The revisions of the database; None where they cannot be read."""
    active = store.manifest(store.current)
    try:
        return Revision(database, (active.get("around") or {}).get("database") or {}).read(active)
    except (Failed, EngineError):
        return None


def dump_first(backups: Backups, database: Database, at: list[str] | None) -> str:
    """Make a backup of the database that a restore is about to replace; returns its name."""
    try:
        return str(backups.make("before-restore", database, check=False, at=at, automatic=True)["name"])
    except DumpError as error:
        raise DumpError(
            f"the database in use could not be dumped: {error}\n"
            "If its content is lost anyway, restore without that backup: make restore ... ARGS='-e backup_before_restore=false'"
        ) from error


def compare(database: Database, note: dict[str, Any]) -> None:
    """Raise DumpError where the dump lacks a table of the database. Rows may have changed since it was made; tables have not."""
    missing = set(database.content()) - set(note["content"])
    if missing:
        raise DumpError(f"the backup lacks {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
