"""Status, releases and audit logs of several hosts in one table, and where the hosts differ."""

from __future__ import annotations

import json
from typing import Any

from ..module_utils.release.table import JOBS, job_row, service_row, table

STATUS = ("host", "service", "version", "health", "restarts", "memory", "started", "container")
RELEASES = ("host", "release", "state", "released", "by", "image_version", "secrets_generation", "schema")
AUDIT = ("when", "host", "who", "verb", "from", "to", "outcome", "seconds")


def _results(hosts: list[str], variables: dict[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """By host, the registered result `name`; of an unreachable host, the error."""
    return {host: variables[host].get(name) or {} for host in hosts}


def away(hosts: list[str], variables: dict[str, Any], name: str) -> dict[str, str]:
    """Hosts that were unreachable by the task that registered `name`, or where it failed, and why."""
    result = _results(hosts, variables, name)
    return {host: str(one.get("msg", "")).strip() for host, one in result.items() if one.get("unreachable") or one.get("failed")}


def drift(statuses: dict[str, dict[str, Any]], swarm: bool = False) -> list[str]:
    """Where hosts differ: in the active release (except on a Swarm), and in the image of a service of the same release."""
    lines = []
    serving: dict[str, list[str]] = {}
    images: dict[tuple[str, str], dict[str, list[str]]] = {}
    for host, status in statuses.items():
        serving.setdefault(status["version"] or "nothing", []).append(host)
        for service in status["services"]:
            images.setdefault((service["service"], service["version"]), {}).setdefault(service["image"], []).append(host)
    if len(serving) > 1 and not swarm:
        lines.append("; ".join(f"{', '.join(hosts)}: {version}" for version, hosts in sorted(serving.items())))
    for (service, version), found in images.items():
        if len(found) > 1:
            parts = (f"{', '.join(hosts)}: {image.removeprefix('sha256:')[:12]}" for image, hosts in sorted(found.items()))
            lines.append(f"image of {service} {version}: {'; '.join(parts)}")
    return lines


def fleet_status(hosts: list[str], variables: dict[str, Any], name: str, form: str = "", swarm: bool = False) -> str:
    """The status of each host (memory in MiB, times in UTC), and where they differ; with `form` json one document."""
    unreachable = away(hosts, variables, name)
    statuses = {host: result["status"] for host, result in _results(hosts, variables, name).items() if host not in unreachable}
    differ = drift(statuses, swarm)
    if form == "json":
        return json.dumps({"hosts": statuses, "unreachable": unreachable, "drift": differ}, indent=2)
    rows = [service_row(service) | {"host": host} for host, status in statuses.items() for service in status["services"]]
    shown = {host: status for host, status in statuses.items() if status["version"] or not swarm}
    head = [f"{host}: {status['stack']} {status['version'] or '(no release)'} at {status['url']}" for host, status in shown.items()]
    head += [
        f"{host}: interrupted: {run['verb']} by {run['who']}, started {run['when']}"
        for host, status in shown.items()
        for run in status.get("interrupted") or []
    ]
    tail = [f"Drift: {line}" for line in differ] + [f"{host} does not answer: {why}" for host, why in unreachable.items()]
    jobs = [job_row(job) | {"host": host} for host, status in statuses.items() for job in status.get("jobs") or []]
    tail = [*(["", *table(("host", *JOBS), jobs)] if jobs else []), *tail]
    return "\n".join([*head, *(table(STATUS, rows) if rows else ["nothing runs; make up starts it"]), *tail])


def fleet_releases(hosts: list[str], variables: dict[str, Any], name: str, form: str = "") -> str:
    """Releases available for rollback on each host."""
    unreachable = away(hosts, variables, name)
    state = {host: result for host, result in _results(hosts, variables, name).items() if host not in unreachable}
    if form == "json":
        kept = {host: {key: result[key] for key in ("current", "pending", "details")} for host, result in state.items()}
        return json.dumps({"hosts": kept, "unreachable": unreachable}, indent=2)
    rows = [row | {"host": host} for host, result in state.items() for row in result["details"]]
    everywhere = set.intersection(*({row["release"] for row in result["details"]} for result in state.values())) if state else set()
    tail = [
        f"On all of them: {', '.join(sorted(everywhere)) or 'none'}",
        *(f"{host} does not answer: {why}" for host, why in unreachable.items()),
    ]
    return "\n".join([*table(RELEASES, rows), *tail])


def fleet_audit(hosts: list[str], variables: dict[str, Any], name: str, form: str = "") -> str:
    """The audit logs of all hosts, in the order of time."""
    unreachable = away(hosts, variables, name)
    result = _results(hosts, variables, name)
    lines = sorted(
        (line | {"host": host} for host in hosts if host not in unreachable for line in result[host]["audit"]),
        key=lambda line: line["when"],
    )
    if form == "json":
        return "\n".join(json.dumps(line) for line in lines)
    return "\n".join([*table(AUDIT, lines), *(f"{host} does not answer: {why}" for host, why in unreachable.items())])


class FilterModule:
    """Filters of the commands status, releases, audit over several hosts."""

    def filters(self) -> dict[str, object]:
        return {"fleet_status": fleet_status, "fleet_releases": fleet_releases, "fleet_audit": fleet_audit, "hosts_away": away}
