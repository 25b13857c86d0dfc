#!/usr/bin/python
"""Take the lock of a stack for a verb, and give it back with a line in the audit."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.state.store import Lock, Locked, Store

DOCUMENTATION = r"""
module: release_lock
short_description: Take the lock of a stack for a verb, and give it back with a line in the audit
description:
  - One run of a playbook at a time works on a stack. The lock has an owner, a reason and an expiry; that of a run which is gone is taken
    over. It is the run's own for all its tasks, so that taking it twice is no error.
  - An action of the same name adds who runs the playbook.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  state:
    description:
      - C(held) takes it, C(free) gives it back with a line in the audit (nothing happens where it is not ours), C(broken) takes it from
        whoever has it.
      - C(recorded) gives it back and writes the line whether or not it is ours, unless this run has told already that it failed.
      - C(begun) takes no lock; should the run be interrupted before it has one, the next run writes that down.
    type: str
    choices: [begun, held, free, broken, recorded]
    required: true
  verb: {description: What it is held for., type: str, required: true}
  reason: {description: What others are told about it., type: str, default: ""}
  name: {description: "Of the lock of a command that others may run beside, its own name; empty for the stack's.", type: str, default: ""}
  outcome: {description: "What became of it, for the audit.", type: str, choices: [ok, failed, refused, interrupted], default: ok}
  what: {description: "What was done, for the audit.", type: str, default: ""}
  seconds: {description: When it expires if nobody gives it back., type: int, default: 3600}
  lock_wait: {description: Seconds to wait for somebody else's lock., type: float, default: 0}
  who: {description: Who runs the playbook. Added by the action., type: dict, required: true}
  dead: {description: Token of a lock whose holder is gone. Added by the action., type: str, default: ""}
"""

EXAMPLES = r"""
- name: Take the lock
  berth.stack.release_lock: {directory: /var/lib/berth, state: held, verb: backup}
"""

RETURN = r"""
current: {description: The release that serves., type: str, returned: success}
holders: {description: "Who works on the stack, each with its C(line) of the audit should its run have ended.", type: list, elements: dict,
  returned: success}
pending: {description: "The unfinished verb of an earlier run: C(verb), C(from), C(to), C(since).", type: dict, returned: success}
"""


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
    wanted = module.params
    store = Store(wanted["directory"])
    lock = Lock(store, wanted["who"], wanted["name"])
    held = lock.holder()
    actions: list[str] = []
    warnings: list[str] = []
    earlier: list[dict[str, Any]] = []

    if wanted["state"] == "held":
        try:
            if module.check_mode:
                warnings += [str(Locked(held))] if held and not lock.is_own(held) else []
            else:
                over = lock.acquire(wanted["verb"], wanted["reason"], wanted["seconds"], wanted["lock_wait"], wanted["dead"])
                warnings += [f"took over the lock of {over}, whose run is gone"] if over else []
        except Locked as error:
            module.fail_json(msg=str(error), holder=error.holder, verb=wanted["verb"])
        pending = store.pending
        if pending:
            warnings.append(f"taking up what {pending['verb']} to {pending['to']} left at {pending['since']}")
    elif wanted["state"] == "begun":
        earlier = store.holders
        if not module.check_mode:
            lock.announce(wanted["verb"])
    elif wanted["state"] == "recorded":
        if not module.check_mode and (wanted["outcome"] == "ok" or lock.recorded_outcome in ("", "ok")):
            lock.finish(wanted["verb"], wanted["outcome"], wanted["what"])
        elif not module.check_mode:
            lock.release()
    elif wanted["state"] == "free":
        if not module.check_mode and held and lock.is_own(held):
            lock.finish(wanted["verb"], wanted["outcome"], wanted["what"])
    elif held:
        actions.append(f"take the lock from {held['owner']} on {held['host']} ({held['verb']} since {held['since']})")
        if not module.check_mode:
            lock.force_release()
            lock.finish(wanted["verb"], "ok", actions[0])
    for warning in warnings:
        module.warn(warning)
    module.exit_json(changed=bool(actions), actions=actions, current=store.current, pending=store.pending, holders=earlier or store.holders)


if __name__ == "__main__":
    main()
