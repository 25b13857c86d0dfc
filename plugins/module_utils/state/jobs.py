"""Jobs of a stack in its state directory: whose scheduler starts runs, and the record of the runs.

- `jobs/release/current`: the release whose jobs run; only root writes it
- `jobs/runs/JOB.json`: the record of a job. The scheduler (module_utils/services/scheduler.py), a container of the application, writes
  it: nothing in it is trusted, and no link is followed
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from .store import write

RELEASE, RUNS = "jobs/release/current", "jobs/runs"
# The same of the timer of backups in repositories: the record of its runs, what the repositories have, and lines for the audit log.
BACKUPS, STORED, AUDIT = "backup/runs", "backup/runs/repository.state", "backup/runs/repository.audit"
OUTCOMES = ("ok", "failed", "timeout", "interrupted")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
LARGEST = 65536


def has_jobs(root: Path, release: dict[str, Any]) -> bool:
    """Whether a release has jobs: its scheduler mounts their directory."""
    mounts = [mount["source"] for spec in release.get("containers") or [] for mount in spec.get("mounts") or []]
    return str(root / RUNS) in mounts


def active_release(root: Path) -> str:
    """The release whose jobs run; empty for none."""
    path = root / RELEASE
    return path.read_text().strip() if path.is_file() else ""


def activate(root: Path, release: str) -> None:
    write(root / RELEASE, release + "\n", 0o644)


def records(root: Path) -> list[dict[str, Any]]:
    """The record of each job: job, next, running, last and missed; unreadable where it is none."""
    folders = [root / RUNS, root / BACKUPS]
    return [_record(path) for folder in folders if folder.is_dir() for path in sorted(folder.glob("[!.]*.json"))]


def stored(root: Path) -> dict[str, Any]:
    """Backups in repositories: newest (label, type, stop) by repository; the last runs of backup and check; empty without any."""
    try:
        found = json.loads(_read(root / STORED))
        newest = {str(_number(one["repository"])): one for one in found.get("backups") or []}
        return {
            "newest": {
                number: {"label": re.sub(r"[^\w-]", "?", str(one["label"])), "type": str(one["type"])[:4], "stop": _number(one["stop"])}
                for number, one in sorted(newest.items())
            },
            **{
                key: {"when": str(run["when"])[:30], "outcome": str(run["outcome"])[:20], "what": str(run["what"])[:600]}
                for key, run in (("backup", found.get("backup")), ("check", found.get("backup-check")))
                if run
            },
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def audited(root: Path) -> list[dict[str, Any]]:
    """The audit lines of the runs of the timer of backups."""
    keys = ("when", "who", "verb", "from", "to", "outcome", "what")
    try:
        lines = [json.loads(line) for line in _read(root / AUDIT).decode(errors="replace").splitlines()]
        return [{key: str(line[key])[:600] for key in keys} | {"seconds": _number(line["seconds"])} for line in lines]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _read(path: Path) -> bytes:
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        return file.read(LARGEST * 16)


def _record(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_read(path))
    except (OSError, ValueError):
        found = None
    job = re.sub(r"[^a-z0-9-]", "?", path.stem)
    if not isinstance(found, dict):
        return {"job": job, "unreadable": True}
    missed = found.get("missed")
    return {
        "job": job,
        "next": _moment(found.get("next")),
        "running": _run(found.get("running")),
        "last": _run(found.get("last")),
        "missed": {"times": _number(missed.get("times")), "last": _moment(missed.get("last"))} if isinstance(missed, dict) else None,
    }


def _run(found: Any) -> dict[str, Any] | None:
    if not isinstance(found, dict):
        return None
    return {
        **{key: _moment(found.get(key)) for key in ("due", "started", "ended")},
        "outcome": found.get("outcome") if found.get("outcome") in OUTCOMES else None,
        **{key: _number(found.get(key)) for key in ("status", "seconds")},
        "made_up": found.get("made_up") is True,
    }


def _moment(value: Any) -> str | None:
    return value if isinstance(value, str) and MOMENT.fullmatch(value) else None


def _number(value: Any) -> float | int | None:
    return value if isinstance(value, (int, float)) else None
