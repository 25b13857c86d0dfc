#!/usr/bin/python
"""Take the lock of a stack for a command, and release it with a line in the audit log."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_lock
short_description: Take the lock of a stack for a command, and release it with a line in the audit log
description:
  - One run of a playbook at a time works on a stack. The lock has an owner, a reason and an expiry time. The lock of a run that has ended
    is taken over. A run may take its lock several times.
  - The action plugin of the same name adds who runs the playbook.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  state:
    description:
      - C(held) takes the lock. C(free) releases it with a line in the audit log, if this run holds it. C(broken) releases the lock of
        any run.
      - C(recorded) releases it and writes the line even if this run does not hold it, unless this run has recorded a failure before.
      - C(begun) takes no lock. If the run is interrupted before it holds one, the next run records the interruption.
    type: str
    choices: [begun, held, free, broken, recorded]
    required: true
  verb: {description: The command's name in the audit log., type: str, required: true}
  reason: {description: Reason shown to others who need the lock., type: str, default: ""}
  name: {description: "Name of the lock of a command that may run beside others; empty for the stack's lock.", type: str, default: ""}
  outcome: {description: "Outcome for the audit log.", type: str, choices: [ok, failed, refused, interrupted], default: ok}
  what: {description: "Text for the audit log.", type: str, default: ""}
  seconds: {description: Seconds until the lock expires., type: int, default: 3600}
  lock_wait: {description: Seconds to wait for another run's lock., type: float, default: 0}
  who: {description: Who runs the playbook. Added by the action., type: dict, required: true}
  dead: {description: Token of a lock whose run has ended. Added by the action., type: str, default: ""}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Take the lock
  berth.stack.release_lock: {directory: /var/lib/berth, state: held, verb: backup}
"""

RETURN = r"""
current: {description: The active release., type: str, returned: success}
holders: {description: "Holders of locks, each with the audit C(line) for the case that its run has ended.", type: list, elements: dict,
  returned: success}
pending: {description: "The unfinished operation of an earlier run: C(verb), C(from), C(to), C(since).", type: dict, returned: success}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.state.store import Lock, Locked, Store


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["begun", "held", "free", "broken", "recorded"], "required": True},
            "verb": {"type": "str", "required": True},
            "reason": {"type": "str", "default": ""},
            "name": {"type": "str", "default": ""},
            "outcome": {"type": "str", "choices": ["ok", "failed", "refused", "interrupted"], "default": "ok"},
            "what": {"type": "str", "default": ""},
            "seconds": {"type": "int", "default": 3600},
            "lock_wait": {"type": "float", "default": 0},
            "who": {"type": "dict", "required": True},
            "dead": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    params = module.params
    store = Store(params["directory"])
    lock = Lock(store, params["who"], params["name"])
    held = lock.holder()
    actions: list[str] = []
    warnings: list[str] = []
    earlier: list[dict[str, Any]] = []

    if params["state"] == "held":
        try:
            if module.check_mode:
                warnings += [str(Locked(held))] if held and not lock.is_own(held) else []
            else:
                over = lock.acquire(params["verb"], params["reason"], params["seconds"], params["lock_wait"], params["dead"])
                warnings += [f"Took over the lock of {over}, whose run has ended"] if over else []
        except Locked as error:
            module.fail_json(msg=str(error), holder=error.holder, verb=params["verb"])
        pending = store.pending
        if pending:
            warnings.append(f"Continuing the unfinished {pending['verb']} to {pending['to']} of {pending['since']}")
    elif params["state"] == "begun":
        earlier = store.holders
        if not module.check_mode:
            lock.announce(params["verb"])
    elif params["state"] == "recorded":
        try:
            if not module.check_mode and (params["outcome"] == "ok" or lock.recorded_outcome in ("", "ok")):
                lock.finish(params["verb"], params["outcome"], params["what"])
            elif not module.check_mode:
                lock.release()
        except OSError as error:
            module.fail_json(msg=str(error))
    elif params["state"] == "free":
        if not module.check_mode and held and lock.is_own(held):
            lock.finish(params["verb"], params["outcome"], params["what"])
    elif held:
        actions.append(f"release the lock of {held['owner']} on {held['host']} ({held['verb']} since {held['since']})")
        if not module.check_mode:
            lock.force_release()
            lock.finish(params["verb"], "ok", actions[0])
    for warning in warnings:
        module.warn(warning)
    module.exit_json(changed=bool(actions), actions=actions, current=store.current, pending=store.pending, holders=earlier or store.holders)


if __name__ == "__main__":
    main()
