#!/usr/bin/python
"""Take the lock of a stack for a verb, and give it back with a line in the audit."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.releases import Lock, Locked, Store

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
    description: C(held) takes it, C(free) gives it back (nothing happens where it is not ours), C(broken) takes it from whoever has it.
    type: str
    choices: [held, free, broken]
    required: true
  verb: {description: What it is held for., type: str, required: true}
  reason: {description: What others are told about it., type: str, default: ""}
  outcome: {description: "What became of it, for the audit: C(ok) or C(failed).", type: str, default: ok}
  what: {description: "What was done, for the audit.", type: str, default: ""}
  seconds: {description: When it expires if nobody gives it back., type: int, default: 3600}
  lock_wait: {description: Seconds to wait for somebody else's lock., type: float, default: 0}
  who: {description: Who runs the playbook. Added by the action., type: dict, required: true}
  dead: {description: Token of a lock whose holder is gone. Added by the action., type: str, default: ""}
"""

EXAMPLES = r"""
- name: Take the lock
  release_lock: {directory: /var/lib/berth, state: held, verb: backup}
"""

RETURN = r"""
current: {description: The release that serves., type: str, returned: success}
pending: {description: "The unfinished verb of an earlier run: C(verb), C(from), C(to), C(since).", type: dict, returned: success}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["held", "free", "broken"], "required": True},
            "verb": {"type": "str", "required": True},
            "reason": {"type": "str", "default": ""},
            "outcome": {"type": "str", "default": "ok"},
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
    lock = Lock(store, wanted["who"])
    held = lock.holder()
    actions: list[str] = []
    warnings: list[str] = []

    def write_down(what: str, outcome: str, seconds: float) -> None:
        now = {"verb": wanted["verb"], "from": store.current, "to": store.current, "what": what}
        store.audit(who=f"{lock.who['owner']}@{lock.who['host']}", **now, outcome=outcome, seconds=seconds)

    if wanted["state"] == "held":
        try:
            if module.check_mode:
                warnings += [str(Locked(held))] if held and not lock.mine(held) else []
            else:
                over = lock.take(wanted["verb"], wanted["reason"], wanted["seconds"], wanted["lock_wait"], wanted["dead"])
                warnings += [f"took over the lock of {over}, whose run is gone"] if over else []
        except Locked as error:
            module.fail_json(msg=str(error), holder=error.holder)
        pending = store.pending
        if pending:
            warnings.append(f"taking up what {pending['verb']} to {pending['to']} left at {pending['since']}")
    elif wanted["state"] == "free":
        if not module.check_mode and held and lock.mine(held):
            write_down(wanted["what"], wanted["outcome"], lock.free())
    elif held:
        actions.append(f"take the lock from {held['owner']} on {held['host']} ({held['verb']} since {held['since']})")
        if not module.check_mode:
            lock.break_()
            write_down(actions[0], "ok", 0)
    for warning in warnings:
        module.warn(warning)
    module.exit_json(changed=bool(actions), actions=actions, current=store.current, pending=store.pending)


if __name__ == "__main__":
    main()
