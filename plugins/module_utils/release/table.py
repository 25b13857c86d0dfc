"""A text table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def table(columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The lines of a table: the columns' names, then a line for each row; what a row lacks stays empty."""
    cells = [columns, *(tuple(str(row.get(column, "")) for column in columns) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def service_row(service: dict[str, Any]) -> dict[str, Any]:
    """A service of a status as a row: memory in MiB, the start in UTC."""
    memory, started = f"{service['memory_bytes'] / 1024**2:.0f} MiB", service["started_at"][:19].replace("T", " ")
    return service | {"memory": memory, "started": started}


# Columns of the rows of job_row().
JOBS = ("job", "last run", "result", "seconds", "next run", "missed")


def job_row(job: dict[str, Any]) -> dict[str, Any]:
    """A job of a status (module_utils/state/jobs.py) as a row; times in UTC."""
    if job.get("unreadable"):
        return {"job": job["job"], "result": "its record cannot be read"}
    running, run = job.get("running"), job.get("running") or job.get("last")
    missed = job.get("missed") or {}
    row = {"job": job["job"], "next run": _minute(job.get("next"))}
    row |= {"missed": f"{missed['times']}, last {_minute(missed['last'])}"} if missed else {}
    if not run:
        return row | {"result": "not run yet"}
    failed = {"failed": f"failed, exit status {run['status']}", "timeout": "failed, ended at its time limit", None: "unknown"}
    result = "running" if running else failed.get(run["outcome"], run["outcome"])
    return row | {
        "last run": _minute(run["started"]),
        "result": f"{result} (made up)" if run["made_up"] else result,
        "seconds": "" if run["seconds"] is None else run["seconds"],
    }


def _minute(moment: str | None) -> str:
    return (moment or "")[:16].replace("T", " ")
