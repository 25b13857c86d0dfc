#!/usr/bin/python
"""Let a release serve on this host: a new one (deploy) or one that it remembers (rollback)."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.release.deployment import EXPECTED, Deployment
from ..module_utils.state.interrupts import Interrupted, error_message, raise_on_signals
from ..module_utils.state.store import Locked, audit_outcome

DOCUMENTATION = r"""
module: release_apply
short_description: Let a release serve on this host, without a lost request
description:
  - Brings the database to the release, starts its containers beside those that serve, waits for their health, asks them by their own
    address, points the edge to them in one moment, watches them, records the release, and lets the old containers finish what they do.
  - Where the release serves already, what differs from it is mended and nothing else is touched.
  - A release that fails is removed, its last lines are told, and what served before serves on.
  - Runs under the stack's lock. An action of the same name adds who runs the playbook, and takes the lock of a run that is gone.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  labels: {description: Labels that every object of the stack carries., type: dict, required: true}
  verb: {description: What the audit calls it., type: str, required: true}
  manifest:
    description:
      - "The release to make: C(image_version), C(images) (name by service), C(containers) (module_utils/docker/spec.py), C(networks),
        C(edge)
         (C(caddyfile), C(upstreams) by service), C(migrations), C(schema), and whatever else it is to remember."
      - "C(around) is what a rollback has to know too: C(services) (those replaced with each release), C(database) (C(container) and
        C(name); empty for an external one), C(edge) (C(container), C(directory) of its configuration, C(reload), a command), and
        C(swarm), where services of a Swarm run the containers, the settings of module_utils/release/swarm.py, and
        C(smoke), the checks of the new containers, each C(service), C(port), C(path) and C(status), a list (C(200), C(3xx)); without it
        (manifests of an older Berth) anything below 500 will do."
      - C(@release@) in it stands for its name, which is the images' version, with C(-r2) and so on where only the configuration differs.
    type: dict
  contents:
    description: "What the images of O(manifest) were when they were built: hash by name (module image_inventory)."
    type: dict
    default: {}
  release: {description: "Without O(manifest), the one to go back to; empty for the one before the current one.", type: str, default: ""}
  schema:
    description:
      - What to do where the database is newer than the release can live with.
      - C(accept) takes a database as it is whose revision does not fit; only who knows it can say that the release can work with it.
    type: str
    choices: ["", downgrade, restore, accept]
    default: ""
  foundation:
    description:
      - "What is done to the networks and containers that releases stand on, as the host remembers them: C(made), nothing, since this
        run has seen to them; C(mend), what differs; C(revive), what is gone or does not run, since a release that goes back changes no
        database."
    type: str
    choices: [made, mend, revive]
    default: revive
  elsewhere: {description: Name that the release has on another host., type: str, default: ""}
  replicas: {description: "On a Swarm, the number of tasks of each service, by its name.", type: dict, default: {}}
  edge_service: {description: "For a deploy, the edge's own container: C(spec) and C(volumes).", type: dict, default: {}}
  smoke_wait: {description: Seconds that the smoke checks have to pass., type: float, default: 5}
  wait: {description: Seconds until the new containers must be healthy., type: int, default: 60}
  migrate_timeout: {description: Seconds that a migration may take., type: int, default: 120}
  observe: {description: Seconds to watch the release after the switch., type: float, default: 0}
  warm: {description: Seconds to keep the previous release running without traffic., type: float, default: 0}
  drain_wait: {description: Seconds to wait for the old containers to be gone; they go on draining after that., type: float, default: 0}
  keep: {description: How many releases to keep., type: int, default: 5}
  backup: {description: Dump the database before migrations change it., type: bool, default: true}
  who: {description: "Who runs the playbook: C(owner), C(host), C(pid), C(started). Added by the action.", type: dict, required: true}
  dead: {description: Token of a lock whose holder is gone. Added by the action., type: str, default: ""}
  reason: {description: What others are told about the lock., type: str, default: ""}
  what: {description: "What the audit says first, before what was done.", type: str, default: ""}
  lock_wait: {description: Seconds to wait for somebody else's lock., type: float, default: 0}
"""

EXAMPLES = r"""
- name: Go back
  berth.stack.release_apply:
    directory: /var/lib/berth
    labels: {berth.stack: berth}
    verb: rollback
"""

RETURN = r"""
release: {description: Name of the release that serves., type: str, returned: success}
before: {description: The one that served before., type: str, returned: success}
actions: {description: "What was done, or in check mode would be, one sentence each.", type: list, elements: str, returned: always}
seconds:
  description: "How long it took, by phase: C(database), C(stand), C(migrate), C(start), C(smoke), C(switch), C(observe), C(drain)."
  type: dict
  returned: success
holders: {description: "Who works on the stack, each with its C(line) of the audit should its run have ended.", type: list, elements: dict,
  returned: success}
retired: {description: "Releases, backups and generations of secrets that were let go.", type: list, elements: str, returned: success}
"""


def main() -> None:
    options: dict[str, Any] = {
        "directory": {"type": "path", "required": True},
        "labels": {"type": "dict", "required": True},
        "verb": {"type": "str", "required": True},
        "manifest": {"type": "dict"},
        "contents": {"type": "dict", "default": {}},
        "release": {"type": "str", "default": ""},
        "schema": {"type": "str", "choices": ["", "downgrade", "restore", "accept"], "default": ""},
        "foundation": {"type": "str", "choices": ["made", "mend", "revive"], "default": "revive"},
        "elsewhere": {"type": "str", "default": ""},
        "replicas": {"type": "dict", "default": {}},
        "edge_service": {"type": "dict", "default": {}},
        "smoke_wait": {"type": "float", "default": 5},
        "wait": {"type": "int", "default": 60},
        "migrate_timeout": {"type": "int", "default": 120},
        "observe": {"type": "float", "default": 0},
        "warm": {"type": "float", "default": 0},
        "drain_wait": {"type": "float", "default": 0},
        "keep": {"type": "int", "default": 5},
        "backup": {"type": "bool", "default": True},
        "who": {"type": "dict", "required": True},
        "dead": {"type": "str", "default": ""},
        "reason": {"type": "str", "default": ""},
        "what": {"type": "str", "default": ""},
        "lock_wait": {"type": "float", "default": 0},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    wanted = module.params
    raise_on_signals()
    deployment = Deployment(wanted, module.check_mode)
    warnings: list[str] = []
    try:
        if module.check_mode:
            holder = deployment.lock.holder()
            if holder and not deployment.lock.is_own(holder):
                warnings.append(str(Locked(holder)))
        else:
            over = deployment.lock.acquire(wanted["verb"], wanted["reason"], wait=wanted["lock_wait"], dead=wanted["dead"])
            if over:
                warnings.append(f"took over the lock of {over}, whose run is gone")
    except Locked as error:
        module.fail_json(msg=str(error), holder=error.holder, verb=wanted["verb"])
    except Interrupted as error:
        deployment.finish("interrupted", f"waiting for the lock: {error}")
        module.fail_json(msg=f"{error} while it waited for the lock. Nothing was changed.")
    for warning in warnings:
        module.warn(warning)
    outcome: dict[str, Any] = {}
    try:
        if module.check_mode:
            outcome = deployment.run()
            deployment.drain(outcome)
        else:
            with deployment.lock.exclusive():
                outcome = deployment.run()
            with deployment.rollout.stack.phase("drain"):
                deployment.drain(outcome)
    except BaseException as error:
        why = error_message(error, (*EXPECTED, Locked))
        if outcome or (deployment.version != deployment.before and deployment.store.current == deployment.version):
            why = (
                f"Release {deployment.version} is active; removing the previous containers failed. "
                f"To retry: {deployment.resume_command}\n{why}"
            )
        deployment.finish(audit_outcome(error, deployment.rollout.stack.actions), " ".join(why.splitlines()[:2]))
        module.fail_json(msg=why, actions=deployment.rollout.stack.actions)
    for warning in deployment.warnings:
        module.warn(warning)
    if outcome["changed"]:
        deployment.finish("ok", "; ".join(deployment.rollout.stack.actions), outcome["release"])
    deployment.lock.release()
    stack = deployment.rollout.stack
    module.exit_json(holders=deployment.store.holders, actions=stack.actions, diff=stack.diff, seconds=stack.seconds, **outcome)


if __name__ == "__main__":
    main()
