"""What a check found, and which findings somebody has accepted, for a reason and until a day."""

from __future__ import annotations

from datetime import date
from fnmatch import fnmatchcase
from typing import Any

SEVERITIES = ("error", "warning", "not verified", "info")


def finding(check: str, severity: str, message: str, where: str = "", advice: str = "", **more: Any) -> dict[str, Any]:
    """One finding. `where` is file:line, layer:file or empty; `advice` the variable or line to change.

    not verified: the check lacked data or a tool; it is reported, and is not a pass.
    """
    if severity not in SEVERITIES:
        raise ValueError(severity)
    return {"check": check, "severity": severity, "where": where, "message": message, "advice": advice, **more}


def _day(value: Any) -> date:
    return value if isinstance(value, date) else date.fromisoformat(str(value)[:10])


def unusable(accepted: list[dict[str, Any]]) -> list[str]:
    """What is wrong with the entries themselves: one without a reason or an end is none."""
    problems = []
    for entry in accepted:
        name = entry.get("check") or "(no check)"
        if not entry.get("check"):
            problems.append("an entry names no check")
        if not str(entry.get("reason") or "").strip():
            problems.append(f"{name}: no reason is given")
        try:
            _day(entry.get("until"))
        except ValueError:
            problems.append(f"{name}: until must be a day, YYYY-MM-DD")
    return problems


def accept(findings: list[dict[str, Any]], accepted: list[dict[str, Any]], today: date | None = None) -> list[dict[str, Any]]:
    """The findings, those that an entry of `accepted` covers marked with its reason.

    An entry has check, reason, until (the last day on which it holds) and, optionally, where and contains: a pattern of the place
    and a part of the message. An entry that is over accepts nothing and is a finding itself.
    """
    today = today or date.today()
    out: list[dict[str, Any]] = []
    over: dict[int, dict[str, Any]] = {}
    for item in findings:
        item = dict(item)
        for number, entry in enumerate(accepted):
            matches = (
                entry["check"] == item["check"]
                and fnmatchcase(item["where"], entry.get("where") or "*")
                and (entry.get("contains") or "") in item["message"]
            )
            if not matches:
                continue
            if _day(entry["until"]) >= today:
                item["accepted"] = f"{entry['reason']} (until {_day(entry['until'])})"
                break
            over[number] = entry
        out.append(item)
    out += [
        finding(
            "acceptance", "warning", f"the acceptance of {e['check']} ({e['reason']}) ended on {_day(e['until'])}", e.get("where") or ""
        )
        for e in over.values()
    ]
    return out


def open_findings(findings: list[dict[str, Any]], *severities: str) -> list[dict[str, Any]]:
    """Those of the given severities that nobody has accepted."""
    return [item for item in findings if item["severity"] in severities and not item.get("accepted")]


def line(item: dict[str, Any]) -> str:
    """One finding on one line."""
    where = f"{item['where']}: " if item["where"] else ""
    advice = f" -> {item['advice']}" if item["advice"] else ""
    return f"{where}{item['message']}{advice}"
