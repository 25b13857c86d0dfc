"""A piece of advice on images, and the facts that it is made from.

An item: `task` (what it is about, see TASKS), `title`, `why`, `saves` {bytes, seconds, risk}, `where` (file:line, or empty), and
either `change` {variable: value} or `line`, the words for what no variable changes. `apply` is what `APPLY=true` does with it:
safe (applies it), asked (only when it is named: it takes something away that an application may use), or empty (a person's work).

The facts: `images` (reports of the module image_checks), `settings` {variable: value}, `builds` {service: {seconds, steps}},
`failed` {service: {output, cause}}, `runs` [{service, memory_bytes, memory_limit}], `compose` {errors, services}.
"""

from __future__ import annotations

from typing import Any

Facts = dict[str, Any]
Items = list[dict[str, Any]]
# What Docker's agent is asked about as well; the names are those of the acceptance criteria AI-01 to AI-06.
TASKS = {
    "dockerfiles": "The Dockerfiles",
    "performance": "Performance",
    "builds": "Builds",
    "security": "Security",
    "size": "Size",
    "validation": "The generated files",
}
RISKS = ("none", "low", "medium", "high")
MB = 1_000_000


def item(
    task: str,
    title: str,
    why: str,
    *,
    bytes_: int = 0,
    seconds: float = 0,
    risk: str = "none",
    severity: str = "info",
    where: str = "",
    change: dict[str, Any] | None = None,
    line: str = "",
    apply: str = "",
) -> dict[str, Any]:
    """One piece of advice. `risk` is that of the thing as it is; severity: error, warning or info."""
    if task not in TASKS or risk not in RISKS or (apply and not change):
        raise ValueError(f"{task} {risk} {apply}")
    return {
        "task": task,
        "title": title,
        "why": why,
        "saves": {"bytes": bytes_, "seconds": round(seconds, 1), "risk": risk},
        "severity": severity,
        "where": where,
        "change": change or {},
        "line": line,
        "apply": apply,
    }


def role(service: str) -> str:
    return f"{service}_image"


def applications(facts: Facts) -> Items:
    return [report for report in facts["images"] if report["service"] in ("backend", "frontend")]
