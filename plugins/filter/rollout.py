"""Hosts that get a release one after another: who has it already, and what to say when one fails."""

from __future__ import annotations

from typing import Any


def hosts_ahead(hosts: list[str], variables: dict[str, Any]) -> list[dict[str, str]]:
    """C(host), C(before) and C(release) of those of `hosts` that this run gave another release than they had."""
    applied = {host: variables[host].get("release_applied") or {} for host in hosts}
    return [
        {"host": host, "before": done["before"], "release": done["release"]}
        for host, done in applied.items()
        if done.get("changed") and not done.get("failed") and done.get("before") != done.get("release")
    ]


def rollout_text(ahead: list[dict[str, str]], failed: str, task: str, hosts: list[str]) -> str:
    """What a roll-out that stopped leaves behind: which host failed, which went back, which were not touched."""
    if len(hosts) == 1:
        return ""  # the task that failed has told it
    back = [f"{one['host']} went back to {one['before']}" for one in ahead if one["before"]]
    first = [f"{one['host']} had none before and serves {one['release']}" for one in ahead if not one["before"]]
    touched = {failed, *(one["host"] for one in ahead)}
    rest = [host for host in hosts if host not in touched]
    told = [f"The roll-out stopped at {failed}: {task}", *back, *first]
    if rest:
        told.append(f"{', '.join(rest)}: not released")
    return "\n".join(told)


def left_text(status: dict[str, Any], swarm: bool = False) -> str:
    """What a release that failed leaves where nothing serves, and the commands for it; empty where something does, or nothing runs."""
    there = [service["container"] for service in status.get("services") or []]
    version = status.get("version")
    # What a node of a Swarm has of a release does not say whether it serves.
    if not there or (version and (swarm or any(name.endswith(f"-{version}") for name in there))):
        return ""
    return (
        f"Nothing of {status['stack']} serves. Started, and still there: {', '.join(there)}. "
        "To go on with it: make deploy. To stop and remove it, data kept: make down"
    )


class FilterModule:
    """Filters of a roll-out."""

    def filters(self) -> dict[str, object]:
        return {"hosts_ahead": hosts_ahead, "rollout_text": rollout_text, "left_text": left_text}
