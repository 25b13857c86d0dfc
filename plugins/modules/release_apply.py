#!/usr/bin/python
"""Make a release the active one on this host: a new one (deploy) or a recorded one (rollback)."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_apply
short_description: Deploy or roll back a release without a lost request
description:
  - Runs pending migrations, starts the release's containers beside the active ones, waits until they are healthy, runs smoke checks,
    switches the traffic, monitors the release, records it, and drains the old containers.
  - Where the release is active already, it is reconciled - only what differs is changed.
  - A release that fails is removed, its last log lines are reported, and the previous release stays active.
  - Runs under the stack's lock. The action plugin of the same name adds who runs the playbook, and takes over the lock of an ended run.
options:
  directory: {description: State directory of the stack., type: path, required: true}
  labels: {description: Labels of every object of the stack., type: dict, required: true}
  verb: {description: The command's name in the audit log., type: str, required: true}
  manifest:
    description:
      - "The release to deploy: C(image_version), C(images) (name by service), C(containers) (module_utils/docker/spec.py), C(networks),
        C(edge) (C(caddyfile), C(upstreams) by service), C(migrations), C(schema), and whatever else to record."
      - "C(around), the infrastructure that a rollback needs too: C(services) (those replaced with each release), C(database)
        (C(container) and C(name); empty for an external one), C(edge) (C(container), C(directory) of its configuration, C(reload), a
        command), C(swarm) (the settings of module_utils/release/swarm.py, on a Swarm), and C(smoke), the smoke checks, each C(service),
        C(port), C(path) and C(status), a list (C(200), C(3xx)); without a status (manifests of an older Berth) any below 500 passes."
      - C(@release@) in it stands for the release's name, which is the images' version, with C(-r2) and so on where only the
        configuration differs.
    type: dict
  contents:
    description: "Hash of each image of O(manifest) by its name, from when it was built (module image_inventory)."
    type: dict
    default: {}
  release: {description: "Without O(manifest), the release to roll back to; empty for the previous one.", type: str, default: ""}
  schema:
    description:
      - What to do where the database's schema is newer than the release is compatible with.
      - C(accept) deploys although the revisions do not fit. Use it only where you know that the release works with the database.
    type: str
    choices: ["", downgrade, restore, accept]
    default: ""
  infrastructure:
    description:
      - "What to do with the recorded networks, volumes and containers that releases depend on: C(skip) them, because this run has
        reconciled them; C(reconcile) what differs; or C(ensure_running), which creates what is missing and starts what is stopped."
    type: str
    choices: [skip, reconcile, ensure_running]
    default: ensure_running
  fleet_release: {description: Name of the release on the first host of the run., type: str, default: ""}
  replicas: {description: "On a Swarm, the number of tasks of each service, by its name.", type: dict, default: {}}
  edge_service: {description: "For a deploy, the edge's own container: C(spec) and C(volumes).", type: dict, default: {}}
  smoke_timeout: {description: Seconds until the smoke checks must pass., type: float, default: 5}
  health_timeout: {description: Seconds until the new containers must be healthy., type: int, default: 60}
  migrate_timeout: {description: Seconds until a migration must have ended., type: int, default: 120}
  migrate_lock_timeout:
    description: Seconds that a statement of a migration may wait for a lock; the migration is ended then. 0 for no limit.
    type: int
    default: 10
  migrate_statement_timeout:
    description: Seconds that a statement of a migration may take; the migration is ended then. 0 for no limit.
    type: int
    default: 0
  monitor_seconds: {description: Seconds to monitor the release after the traffic switch., type: float, default: 0}
  standby_seconds: {description: Seconds to keep the previous release running without traffic., type: float, default: 0}
  drain_wait: {description: Seconds to wait for the old containers; after that they drain in the background., type: float, default: 0}
  retain: {description: How many releases to retain., type: int, default: 5}
  backup: {description: Dump the database before migrations., type: bool, default: true}
  who: {description: "Who runs the playbook: C(owner), C(host), C(pid), C(started). Added by the action.", type: dict, required: true}
  dead: {description: Token of a lock whose run has ended. Added by the action., type: str, default: ""}
  reason: {description: Reason shown to others who need the lock., type: str, default: ""}
  what: {description: "Text for the audit log, put before the actions.", type: str, default: ""}
  lock_wait: {description: Seconds to wait for another run's lock., type: float, default: 0}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Roll back to the previous release
  berth.stack.release_apply:
    directory: /var/lib/berth
    labels: {berth.stack: berth}
    verb: rollback
"""

RETURN = r"""
release: {description: The active release., type: str, returned: success}
before: {description: The release that was active before., type: str, returned: success}
actions: {description: "Changes made, or in check mode planned, one line each.", type: list, elements: str, returned: always}
seconds:
  description: "Duration by phase: C(database), C(infrastructure), C(migrate), C(start), C(smoke), C(switch), C(monitor), C(drain)."
  type: dict
  returned: success
holders: {description: "Holders of locks, each with the audit C(line) for the case that its run has ended.", type: list, elements: dict,
  returned: success}
retired: {description: "Releases, backups and secret generations that were removed.", type: list, elements: str, returned: success}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.release.deployment import EXPECTED, Deployment
from ..module_utils.state.interrupts import Interrupted, error_message, raise_on_signals
from ..module_utils.state.store import Locked, audit_outcome


def main() -> None:
    options: dict[str, Any] = {
        "directory": {"type": "path", "required": True},
        "labels": {"type": "dict", "required": True},
        "verb": {"type": "str", "required": True},
        "manifest": {"type": "dict"},
        "contents": {"type": "dict", "default": {}},
        "release": {"type": "str", "default": ""},
        "schema": {"type": "str", "choices": ["", "downgrade", "restore", "accept"], "default": ""},
        "infrastructure": {"type": "str", "choices": ["skip", "reconcile", "ensure_running"], "default": "ensure_running"},
        "fleet_release": {"type": "str", "default": ""},
        "replicas": {"type": "dict", "default": {}},
        "edge_service": {"type": "dict", "default": {}},
        "smoke_timeout": {"type": "float", "default": 5},
        "health_timeout": {"type": "int", "default": 60},
        "migrate_timeout": {"type": "int", "default": 120},
        "migrate_lock_timeout": {"type": "int", "default": 10},
        "migrate_statement_timeout": {"type": "int", "default": 0},
        "monitor_seconds": {"type": "float", "default": 0},
        "standby_seconds": {"type": "float", "default": 0},
        "drain_wait": {"type": "float", "default": 0},
        "retain": {"type": "int", "default": 5},
        "backup": {"type": "bool", "default": True},
        "who": {"type": "dict", "required": True},
        "dead": {"type": "str", "default": ""},
        "reason": {"type": "str", "default": ""},
        "what": {"type": "str", "default": ""},
        "lock_wait": {"type": "float", "default": 0},
    }
    module = AnsibleModule(argument_spec=options, supports_check_mode=True)
    params = module.params
    raise_on_signals()
    deployment = Deployment(params, module.check_mode)
    warnings: list[str] = []
    try:
        if module.check_mode:
            holder = deployment.lock.holder()
            if holder and not deployment.lock.is_own(holder):
                warnings.append(str(Locked(holder)))
        else:
            over = deployment.lock.acquire(params["verb"], params["reason"], wait=params["lock_wait"], dead=params["dead"])
            if over:
                warnings.append(f"Took over the lock of {over}, whose run has ended")
    except Locked as error:
        module.fail_json(msg=str(error), holder=error.holder, verb=params["verb"])
    except Interrupted as error:
        deployment.finish("interrupted", f"waiting for the lock: {error}")
        module.fail_json(msg=f"The run {error} while it waited for the lock. Nothing was changed.")
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
