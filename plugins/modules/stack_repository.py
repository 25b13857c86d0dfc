#!/usr/bin/python
"""Make, check and restore backups in repositories."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_repository
short_description: Make, check and restore backups in repositories
description:
  - Runs commands in the container that makes backups in repositories (pgBackRest).
  - C(prepared) creates the repositories and starts the first backup; a repository that cannot be reached is a warning.
  - C(restored) restores a moment beside the database in use, and streams it into a new database, or into place, which requires
    O(confirm). A refused or failed restore changes nothing.
  - Runs under the stack's lock, except C(prepared) and C(listed). The action plugin of the same name adds who runs the playbook.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  container: {description: Container that makes backups., type: str, required: true}
  state: {description: What to do., type: str, choices: [prepared, listed, made, checked, restored], required: true}
  type: {description: Type of the backup to make., type: str, choices: [full, differential], default: differential}
  why: {description: Annotation of the backup., type: str, default: on-demand}
  at: {description: "Moment to restore, with time zone; C(latest) for all that is archived.", type: str, default: ""}
  into: {description: "Name of a new database to restore into, instead of into place.", type: str, default: ""}
  stack: {description: "Name of the stack, the required value of O(confirm).", type: str, default: ""}
  confirm: {description: "The stack's name, required for a restore into place.", type: str, default: ""}
  who: {description: Who runs the playbook. Added by the action., type: dict, required: true}
  dead: {description: Token of a lock whose run has ended. Added by the action., type: str, default: ""}
  lock_wait: {description: Seconds to wait for another run's lock., type: float, default: 0}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Make a backup in each repository
  berth.stack.stack_repository: {directory: /var/lib/berth, container: berth-backup, state: made}
"""

RETURN = r"""
result: {description: What the command found or did., type: dict, returned: always}
would: {description: The planned action., type: str, returned: in check mode}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.data.dumps import CONTENT, Database, DumpError, name_problem
from ..module_utils.data.recovery import Repository, confirmation, restore, target
from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.state.interrupts import error_message, raise_on_signals
from ..module_utils.state.store import Failed, Lock, Locked, Store, audit_outcome

VERBS = {"made": "backup", "checked": "backup-check", "restored": "restore"}


def refuse(params: dict[str, Any], database: Database, store: Store) -> None:
    """Raise Failed where a restore is not possible, or not confirmed."""
    target(params["at"])
    into = params["into"]
    if reason := name_problem(into, database.name, database.names()) if into else "":
        raise Failed(f"{reason}. Nothing was changed.")
    if not into and params["confirm"] != params["stack"]:
        raise Failed(confirmation(params["stack"], params["at"], store.current, database.name, database.size()))


def planned(params: dict[str, Any]) -> str:
    return {
        "made": f"make a {params['type']} backup in each repository",
        "checked": "restore the newest backup beside the database and compare",
        "restored": f"restore {params['at']} into {params['into'] or 'place'}",
    }[params["state"]]


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "container": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["prepared", "listed", "made", "checked", "restored"], "required": True},
            "type": {"type": "str", "choices": ["full", "differential"], "default": "differential"},
            "why": {"type": "str", "default": "on-demand"},
            "at": {"type": "str", "default": ""},
            "into": {"type": "str", "default": ""},
            "stack": {"type": "str", "default": ""},
            "confirm": {"type": "str", "default": ""},
            "who": {"type": "dict", "required": True},
            "dead": {"type": "str", "default": ""},
            "lock_wait": {"type": "float", "default": 0},
        },
        supports_check_mode=True,
    )
    params, engine = module.params, Engine()
    store = Store(params["directory"])
    lock, repository = Lock(store, params["who"]), Repository(engine, params["container"])
    state, verb = params["state"], VERBS.get(params["state"], "")
    base = (store.manifest(store.current).get("around") or {}).get("database") or {}
    if state in ("prepared", "listed"):
        if module.check_mode and state == "prepared":
            module.exit_json(changed=True, result={})
        try:
            module.exit_json(changed=False, result=repository.run("prepare" if state == "prepared" else "information"))
        except (DumpError, EngineError) as error:
            module.warn(f"The repositories of backups cannot be used now: {error}. make status has them; make backup tries again")
            module.exit_json(changed=False, result={})
    if not base:
        module.fail_json(
            msg="This host has no release with a database of its own, so there is nothing to back up or to restore into: make up"
        )
    database = Database(engine, base["container"], base["name"])
    actions: list[str] = []
    result: dict[str, Any] = {}
    try:
        if not repository.exists:
            raise Failed(f"There is no container {params['container']}, which makes backups: make deploy creates it. Nothing was changed.")
        if state == "restored" and not module.check_mode:
            refuse(params, database, store)
    except (Failed, DumpError, EngineError) as error:
        if not module.check_mode:
            lock.finish(verb, audit_outcome(error, []), str(error).splitlines()[0])
        module.fail_json(msg=str(error))
    if module.check_mode:
        module.exit_json(changed=True, would=f"would {planned(params)}", actions=[planned(params)], result={})
    try:
        lock.acquire(verb, wait=params["lock_wait"], dead=params["dead"], seconds=86400)
    except Locked as error:
        module.fail_json(msg=str(error), holder=error.holder, verb=verb)
    raise_on_signals()
    try:
        with lock.exclusive():
            if state == "made":
                repository.run("prepare", "false")
                result = repository.run("backup", "diff" if params["type"] == "differential" else "full", params["why"])
                actions = [f"make {one['type']} backup {one['label']} in repository {one['repository']}" for one in result["made"]]
            elif state == "checked":
                result = repository.run("check", database.name, CONTENT)
                actions = [f"restored {result['backup']} and all WAL beside: {result['rows']} rows in {result['tables']} tables"]
            else:
                database.reopen()
                result = restore(repository, database, store, base, params["at"], params["into"])
                if not params["into"]:
                    store.state.keep("deployment", {})  # the next deploy checks the migrations again
                actions = [f"{planned(params)}, from backup {result['backup']}"]
    except BaseException as error:
        why = error_message(error, (Failed, DumpError, EngineError, OSError, Locked))
        if database.replaced:
            store.state.keep("deployment", {})
        lock.finish(verb, audit_outcome(error, actions), (why.splitlines() or [""])[0])
        after = "The database in use has been replaced" if database.replaced else "The database in use was not changed"
        module.fail_json(msg=f"The {verb} failed: {why}\n{after}.")
    lock.finish(verb, "ok", "; ".join(actions))
    for warning in result.get("warnings") or []:
        module.warn(warning)
    module.exit_json(changed=True, actions=actions, result=result)


if __name__ == "__main__":
    main()
