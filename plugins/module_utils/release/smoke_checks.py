"""Smoke checks: what a new release is asked before it gets traffic, and which statuses are good."""

from __future__ import annotations

import re
from typing import Any

KEYS = {"service", "port", "path", "status"}
DEFAULT = ["2xx"]
STATUS = re.compile(r"[1-5](\d\d|xx)")


def wrong(checks: Any) -> list[str]:
    """What is wrong with the checks themselves, a line for each."""
    told = []
    if not isinstance(checks, list):
        return [f"release_smoke_checks is {checks!r}: it must be a list, each with service, port, path and status"]
    for number, check in enumerate(checks, 1):
        if not isinstance(check, dict) or not {"service", "port", "path"} <= set(check):
            told.append(f"release_smoke_checks, entry {number}: {check!r} must have service, port and path")
            continue
        if more := sorted(set(check) - KEYS):
            told.append(f"release_smoke_checks, entry {number}: it knows no {', '.join(more)}, but {', '.join(sorted(KEYS))}")
        if check["path"] and not str(check["path"]).startswith("/"):
            told.append(f"release_smoke_checks, entry {number}: the path {check['path']!r} must begin with /")
        if not re.fullmatch(r"\d{1,5}", str(check["port"])) or not 0 < int(check["port"]) < 65536:
            told.append(f"release_smoke_checks, entry {number}: {check['port']!r} is no port")
        statuses = check.get("status", DEFAULT)
        if not isinstance(statuses, list) or not statuses or not all(STATUS.fullmatch(str(one)) for one in statuses):
            told.append(f"release_smoke_checks, entry {number}: status is {statuses!r}: it must be a list of statuses, such as [200, 3xx]")
    return told


def normal(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The checks that are made: each with its statuses, one for each path; those with an empty path are left out."""
    made: dict[tuple[str, int, str], dict[str, Any]] = {}
    for check in checks:
        if not check["path"]:
            continue
        statuses = [str(one) for one in check.get("status", DEFAULT)]
        one = made.setdefault(
            (check["service"], int(check["port"]), check["path"]),
            {"service": check["service"], "port": int(check["port"]), "path": check["path"], "status": []},
        )
        one["status"] = list(dict.fromkeys(one["status"] + statuses))
    return list(made.values())


def accepts(check: dict[str, Any], status: int) -> bool:
    """Whether a status is one of those that a check demands. Checks without any are in manifests of an older Berth, whose rule was this."""
    statuses = check.get("status")
    if not statuses:
        return 0 < status < 500
    return any(str(one) in (str(status), f"{status // 100}xx") for one in statuses)


def demanded(check: dict[str, Any]) -> str:
    """What a check demands, for a person."""
    return ", ".join(map(str, check["status"])) if check.get("status") else "a status below 500"
