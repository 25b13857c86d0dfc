#!/usr/bin/python
"""Return the status of a stack on a host, and optionally its last log lines."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_status
short_description: Tell what of a stack runs on a host
description: Asks the engine for the containers of a stack, and the state directory for its releases; changes nothing.
options:
  stack: {description: Name of the stack., type: str, required: true}
  url: {description: Where users reach it., type: str, default: ""}
  directory: {description: State directory of the stack., type: path, required: true}
  service: {description: Only this service., type: str, default: ""}
  lines: {description: Number of log lines of each container; 0 for none., type: int, default: 0}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Read the status
  berth.stack.stack_status: {stack: berth, directory: /var/lib/berth}
"""

RETURN = r"""
status:
  description: "C(stack), C(version), C(previous), C(url), C(pending) (the unfinished operation), C(locked) (by whom),
    C(interrupted) (runs that ended while they held a lock), C(jobs) (C(job), C(next), C(running), C(last), C(missed)), C(stored)
    (backups in repositories) and C(services), each
    C(service), C(container), C(version), C(image), C(health), C(started_at), C(restarts), C(memory_bytes)."
  type: dict
  returned: always
logs: {description: "By container, its last lines.", type: dict, returned: always}
holders: {description: "Holders of locks, each with the audit C(line) for the case that its run has ended.", type: list, elements: dict,
  returned: always}
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError, memory_used
from ..module_utils.docker.ownership import DRAINING, stack_containers
from ..module_utils.state import jobs
from ..module_utils.state.store import Store


def past(listed: dict[str, Any]) -> bool:
    """Whether a container is an ended task of a Swarm service: the engine keeps some of them for their logs."""
    return "com.docker.swarm.task.id" in listed["Labels"] and listed["State"] in ("exited", "dead")


def describe(engine: Engine, listed: dict[str, Any]) -> dict[str, Any]:
    """One service of the status."""
    actual = engine.call("GET", f"/containers/{listed['Id']}/json")
    memory = memory_used(engine.statistics(listed["Id"])) if actual["State"]["Running"] else 0
    health = (actual["State"].get("Health") or {}).get("Status", actual["State"]["Status"])
    return {
        "service": listed["Labels"].get("berth.service", ""),
        "container": actual["Name"].lstrip("/"),
        "version": listed["Labels"].get("berth.version", ""),
        "image": actual["Image"],
        "health": "draining" if DRAINING in actual["Name"] else health,
        "started_at": actual["State"]["StartedAt"],
        "restarts": actual["RestartCount"],
        "memory_bytes": memory,
    }


# Seconds since WAL was archived; whether the last attempt failed; bytes that wait.
ARCHIVER = """SELECT round(extract(epoch FROM now() - last_archived_time)),
coalesce(last_failed_time > last_archived_time, failed_count > 0),
(SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready') FROM pg_stat_archiver"""


def stored(engine: Engine, store: Store) -> dict[str, Any]:
    """Backups in repositories, and the state of the archive of WAL; empty without repositories."""
    base = (store.manifest(store.current).get("around") or {}).get("database") or {}
    if not (store.root / jobs.BACKUPS).is_dir() or not base:
        return {}
    found = jobs.stored(store.root)
    try:
        status, output = engine.execute(
            base["container"], ["psql", "-qtAX", "-U", "postgres", "-d", "postgres", "-c", ARCHIVER], timeout=10
        )
        age, failing, waiting = output.strip().split("|")
        found |= {} if status else {"archived_seconds": int(float(age or -1)), "failing": failing == "t", "waiting": int(waiting)}
    except (EngineError, ValueError):
        pass
    return found


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "url": {"type": "str", "default": ""},
            "directory": {"type": "path", "required": True},
            "service": {"type": "str", "default": ""},
            "lines": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    params = module.params
    engine = Engine()

    store = Store(params["directory"])
    try:
        listed = [c for c in stack_containers(engine, {"berth.stack": params["stack"]}, store.containers) if not past(c)]
        recorded = sorted({container["Labels"].get("berth.service", "") for container in listed})
        if params["service"]:
            listed = [c for c in listed if c["Labels"].get("berth.service") == params["service"]]
            if not listed:
                module.fail_json(
                    msg=f"nothing of {params['stack']} runs as {params['service']!r} here; services are: {', '.join(recorded) or 'none'}"
                )
        with ThreadPoolExecutor(max_workers=8) as pool:
            services = sorted(pool.map(lambda c: describe(engine, c), listed), key=lambda s: (s["service"], s["container"]))
        logs = {s["container"]: engine.logs(s["container"], params["lines"]) for s in services} if params["lines"] else {}
    except EngineError as error:
        module.fail_json(msg=str(error))
    outside = (store.manifest(store.current).get("around") or {}).get("database") or {}
    status = {
        "stack": params["stack"],
        "version": store.current,
        "previous": store.previous,
        "url": params["url"],
        "services": services,
        "database": f"{outside['name']} at {outside['external']}" if outside.get("external") else "",
        "pending": store.pending,
        "jobs": jobs.records(store.root),
        "stored": stored(engine, store),
        "locked": (store.note("lock") or {}).get("owner", ""),
    }
    holders = store.holders
    module.exit_json(changed=False, status=status, logs=logs, holders=holders)


if __name__ == "__main__":
    main()
