"""Status and secrets of a stack, as text or JSON."""

from __future__ import annotations

import json
import time
from typing import Any

from ..module_utils.release.table import JOBS, job_row, service_row, table

COLUMNS = ("service", "version", "health", "restarts", "memory", "started", "container")


def interrupted(status: dict[str, Any]) -> list[str]:
    """A line for each run that ended while it held a lock."""
    return [
        f"interrupted: {run['verb']} by {run['who']}, started {run['when']}; the next command takes over its lock"
        for run in status.get("interrupted") or []
    ]


def status_text(status: dict[str, Any], form: str = "") -> str:
    """A table (memory in MiB, times in UTC), or with `form` json one JSON document."""
    if form == "json":
        return json.dumps(status, indent=2)
    head = f"{status['stack']} {status['version'] or '(no release)'} at {status['url']}"
    if status["previous"]:
        head += f"   (previous: {status['previous']})"
    if status.get("pending"):
        left = status["pending"]
        head += f"\nunfinished since {left['since']}: {left['verb']} from {left['from']} to {left['to']}"
    head += "".join(f"\n{line}" for line in interrupted(status))
    if status.get("locked") and not status.get("interrupted"):
        head += f"\nlocked by {status['locked']} (make audit, make unlock)"
    if status.get("database"):
        head += f"\ndatabase: {status['database']}, outside the stack (database_external)"
    if not status["services"]:
        return f"{head}\nnothing runs; make up starts it"
    lines = [head, *table(COLUMNS, map(service_row, status["services"]))]
    if status.get("jobs"):
        lines += ["", *table(JOBS, map(job_row, status["jobs"]))]
    return "\n".join(lines + stored_lines(status.get("stored") or {}, time.time()))


def _age(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def stored_lines(stored: dict[str, Any], now: float) -> list[str]:
    """Backups in repositories: the age of the newest, of the archived WAL and of the last check."""
    if not stored:
        return []
    newest = [f"repository {number}: {one['label']} {_age(now - one['stop'])} old" for number, one in stored.get("newest", {}).items()]
    parts = ["backups: " + ("; ".join(newest) or "none in the repositories yet (make backup)")]
    if "archived_seconds" in stored:
        age = f"archived {_age(stored['archived_seconds'])} ago" if stored["archived_seconds"] >= 0 else "not archived yet"
        parts.append(
            f"WAL: {age}"
            + (f"; ARCHIVING FAILS, {stored['waiting']} segments wait (make logs SERVICE=database)" if stored["failing"] else "")
        )
    for key, name in (("backup", "last backup"), ("check", "last check")):
        if run := stored.get(key):
            parts.append(
                f"{name}: {run['when']} {run['outcome']}" + (f": {run['what']}" if key == "check" or run["outcome"] != "ok" else "")
            )
    return ["", *parts]


def secrets_text(listed: dict[str, Any], form: str = "") -> str:
    """The secrets without their values as a table, or with `form` json as one JSON document."""
    document = {key: listed[key] for key in ("generation", "generations", "secrets")}
    if form == "json":
        return json.dumps(document, indent=2)
    if not listed["secrets"]:
        return "there are no secrets yet; make deploy creates them"
    rows = [
        {
            "secret": secret["name"],
            "since": f"generation {secret['generation']}",
            "age": f"{secret['age_days']} days",
            "value": f"{secret['version']}.",
            "used by": ", ".join(secret["services"]) or "none",
            "source": secret["source"],
        }
        for secret in listed["secrets"]
    ]
    kept = ", ".join(map(str, listed["generations"]))
    return "\n".join([f"generation {listed['generation']} (kept: {kept})", *table(tuple(rows[0]), rows)])


class FilterModule:
    """Filters of the commands status and secrets."""

    def filters(self) -> dict[str, object]:
        return {"status_text": status_text, "secrets_text": secrets_text}
