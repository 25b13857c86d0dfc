"""Messages about a rollout over several hosts that failed on one of them."""

from __future__ import annotations

from typing import Any


def hosts_ahead(hosts: list[str], variables: dict[str, Any]) -> list[dict[str, str]]:
    """C(host), C(before) and C(release) of those of `hosts` that this run has updated."""
    applied = {host: variables[host].get("release_applied") or {} for host in hosts}
    return [
        {"host": host, "before": done["before"], "release": done["release"]}
        for host, done in applied.items()
        if done.get("changed") and not done.get("failed") and done.get("before") != done.get("release")
    ]


def rollout_text(ahead: list[dict[str, str]], failed: str, task: str, hosts: list[str]) -> str:
    """The state of each host after a failed rollout: failed, reverted or not updated."""
    if len(hosts) == 1:
        return ""  # the failed task has reported it
    back = [f"{one['host']} was reverted to {one['before']}" for one in ahead if one["before"]]
    first = [f"{one['host']} had no release before and serves {one['release']}" for one in ahead if not one["before"]]
    touched = {failed, *(one["host"] for one in ahead)}
    rest = [host for host in hosts if host not in touched]
    lines = [f"The rollout stopped at {failed}: {task}", *back, *first]
    if rest:
        lines.append(f"{', '.join(rest)}: not updated")
    return "\n".join(lines)


def left_text(status: dict[str, Any], swarm: bool = False) -> str:
    """The message about containers that a failed release left where no release is active; empty where one is, or nothing runs."""
    running = [service["container"] for service in status.get("services") or []]
    version = status.get("version")
    # On a Swarm a node's containers do not show whether the release is active.
    if not running or (version and (swarm or any(name.endswith(f"-{version}") for name in running))):
        return ""
    return (
        f"No release of {status['stack']} is active. Left running: {', '.join(running)}. "
        "To continue: make deploy. To stop the stack and keep its data: make down"
    )


def lock_warning(result: dict[str, Any], directory: str, name: str, hosts: list[str]) -> str:
    """The warning about a lock of which it is unknown whether it was released, with the command that removes it.

    `result`: of release_lock, on the host `release_failed_on`; `name`: of the lock, empty for the stack's; `hosts`: of the stack.
    """
    host, path = result["release_failed_on"], f"{directory}/lock{'.' + name if name else ''}"
    remove = f"rm {path} on {host}" if name else "make unlock" + (f" LIMIT={host}" if len(hosts) > 1 else "")
    reason = str(result.get("msg") or "no reason given").strip().splitlines()[0]
    return (
        f"WARNING: the lock {path} on {host} may still be held, and the audit log there lacks this failure: {reason}. "
        f"Mend that; when no other run works on the stack, remove the lock: {remove}"
    )


class FilterModule:
    """Filters of a rollout."""

    def filters(self) -> dict[str, object]:
        return {"hosts_ahead": hosts_ahead, "rollout_text": rollout_text, "left_text": left_text, "lock_warning": lock_warning}
