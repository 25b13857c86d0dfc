"""Smoke checks of a new release before the traffic switch: their validation and their expected statuses."""

from __future__ import annotations

import re
from typing import Any

KEYS = {"service", "port", "path", "status"}
DEFAULT = ["2xx"]
STATUS = re.compile(r"[1-5](\d\d|xx)")


def wrong(checks: Any) -> list[str]:
    """The problems of the setting release_smoke_checks, a line each."""
    problems = list[str]()
    if not isinstance(checks, list):
        return [f"release_smoke_checks is {checks!r}: it must be a list, each with service, port, path and status"]
    for number, check in enumerate(checks, 1):
        if not isinstance(check, dict) or not {"service", "port", "path"} <= set(check):
            problems.append(f"release_smoke_checks, entry {number}: {check!r} must have service, port and path")
            continue
        if more := sorted(set(check) - KEYS):
            problems.append(f"release_smoke_checks, entry {number}: unknown key {', '.join(more)}; valid keys: {', '.join(sorted(KEYS))}")
        if check["path"] and not str(check["path"]).startswith("/"):
            problems.append(f"release_smoke_checks, entry {number}: the path {check['path']!r} must begin with /")
        if not re.fullmatch(r"\d{1,5}", str(check["port"])) or not 0 < int(check["port"]) < 65536:
            problems.append(f"release_smoke_checks, entry {number}: {check['port']!r} is not a port")
        statuses = check.get("status", DEFAULT)
        if not isinstance(statuses, list) or not statuses or not all(STATUS.fullmatch(str(one)) for one in statuses):
            problems.append(f"release_smoke_checks, entry {number}: status is {statuses!r}: it must be a list, such as [200, 3xx]")
    return problems


def normal(checks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The checks with their statuses, merged by path, without those with an empty path."""
    merged: dict[tuple[str, int, str], dict[str, Any]] = {}
    for check in checks:
        if not check["path"]:
            continue
        statuses = [str(one) for one in check.get("status", DEFAULT)]
        one = merged.setdefault(
            (check["service"], int(check["port"]), check["path"]),
            {"service": check["service"], "port": int(check["port"]), "path": check["path"], "status": []},
        )
        one["status"] = list(dict.fromkeys(one["status"] + statuses))
    return list(merged.values())


def accepts(check: dict[str, Any], status: int) -> bool:
    """Whether a check expects a status. In manifests of an older Berth checks have no statuses and expect any below 500."""
    statuses = check.get("status")
    if not statuses:
        return 0 < status < 500
    return any(str(one) in (str(status), f"{status // 100}xx") for one in statuses)


def demanded(check: dict[str, Any]) -> str:
    """The statuses that a check expects, as text."""
    return ", ".join(map(str, check["status"])) if check.get("status") else "a status below 500"
