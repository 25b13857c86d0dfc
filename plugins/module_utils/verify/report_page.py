"""What the acceptance report's page shows, from report and facts; roles/verify/templates/acceptance.html.j2 draws it.

The page needs nothing else: no script, no font, no request. Pure functions but for reading the template and its style sheet beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from .acceptance import STATUSES
from .facts import Facts

# A figure that moved by less than this share of itself, and of its budget, is noise.
CHANGED, OF_BUDGET = 0.15, 0.02


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")


def charts(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The charts that there are figures for: {title, kind: bars|layers|lines, ...} in the order of the page."""
    stack, budgets = facts.get("stack") or {}, facts.get("budgets") or {}
    containers, own, limited = stack.get("containers", []), Facts(facts), budgets.get("image_mb") or {}
    starts = [(c["service"], float(s), f"{s:.2f} s") for c in containers if (s := c["logs"].get("ready_seconds")) is not None]
    memory = [
        (c["service"], c["memory"] / 1e6, f"{c['memory'] / 1e6:.0f} of {c['memory_limit'] / 1e6:.0f} MB")
        for c in containers
        if "memory" in c
    ]
    layers = [
        (name, [layer["size"] / 1e6 for layer in reversed(image["layers"])], own.image_budget(name)[0] if name in limited else 0.0)
        for name, image in (stack.get("images") or {}).items()
        if "layers" in image
    ]
    steps = {step["key"]: step for step in facts.get("e2e") or []}
    latency = [(name, f["p95"], f"{f['p95']} ms") for name, f in ((steps.get("latency") or {}).get("figures") or {}).items()]
    found: list[dict[str, Any]] = [
        {"title": "From start to ready", "kind": "bars", "rows": starts, "budget": budgets.get("start_seconds"), "unit": "s"},
        {"title": "Image layers", "kind": "layers", "rows": layers},
        {"title": "Memory in use, of the limit", "kind": "bars", "rows": memory},
        {"title": "Response time, 95th percentile", "kind": "bars", "rows": latency},
    ]
    stress = ((facts.get("source") or {}).get("records") or {}).get("stress") or {}
    for title, unit in (("Response time under load, with faults", "ms"), ("Memory under load", "MB")):
        series = {name.removesuffix(" MB"): line for name, line in (stress.get("series") or {}).items() if name.endswith(unit)}
        faults = stress.get("faults", [])
        found.append({"title": title, "kind": "lines", "rows": series, "faults": faults, "unit": unit, "listed": unit == "ms"})
    return [chart for chart in found if chart["rows"]]


def budget_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """What was measured against a budget, each once, with the criteria that hold it and how much of the budget it uses (%)."""
    rows: dict[str, dict[str, Any]] = {}
    for result in report["criteria"]:
        for figure in result["measured"]:
            ids = rows.setdefault(figure["name"], {**figure, "ids": []})["ids"]
            ids += [result["id"]] if result["id"] not in ids else []
    for row in rows.values():
        row["percent"] = max(0.0, min(100.0, 100 * row["value"] / row["budget"])) if row["budget"] else 100.0
    return list(rows.values())


def changes(report: dict[str, Any], previous: dict[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(criteria with another status than in the previous report, each with `was`; figures that changed, each with `was`)."""
    before = {result["id"]: result["status"] for result in previous.get("criteria", [])}
    criteria = [r | {"was": before[r["id"]]} for r in report["criteria"] if before.get(r["id"], r["status"]) != r["status"]]
    old = {f["name"]: f["value"] for r in previous.get("criteria", []) for f in r.get("measured", [])}
    figures = [
        figure | {"was": was}
        for figure in {f["name"]: f for r in report["criteria"] for f in r["measured"]}.values()
        if (was := old.get(figure["name"]))
        and abs(figure["value"] / was - 1) > CHANGED
        and abs(figure["value"] - was) > OF_BUDGET * figure["budget"]
    ]
    return criteria, figures


def by_reason(results: list[dict[str, Any]], status: str) -> dict[str, list[dict[str, Any]]]:
    """The criteria of a status, by their evidence."""
    reasons: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        if result["status"] == status:
            reasons.setdefault(result["evidence"], []).append(result)
    return reasons


def versions(facts: dict[str, Any]) -> dict[str, str]:
    """What runs, by name; only what is there."""
    stack = facts.get("stack") or {}
    engine, containers = stack.get("engine") or {}, stack.get("containers", [])
    asked = {c["service"]: c.get("asked") or {} for c in containers}
    backend = asked.get("backend", {})
    found = {
        "Docker Engine": engine.get("version"),
        "Kernel": engine.get("kernel"),
        "Python": backend.get("runtime"),
        "Node.js": asked.get("frontend", {}).get("runtime"),
        "PostgreSQL": (stack.get("database") or {}).get("version"),
        **(backend.get("libraries") or {}),
        **{f"image of {c['service']}": c["version"] for c in containers},
    }
    return {name: str(value) for name, value in found.items() if value}


def verdict(summary: dict[str, int]) -> str:
    """One sentence over a whole report."""
    failed, missing = summary["fail"], summary["not_verified"]
    if failed:
        return f"{failed} {'criterion' if failed == 1 else 'criteria'} failed."
    noun = "criterion" if missing == 1 else "criteria"
    return "No failures." + (f" {missing} {noun} could not be verified on this host." if missing else "")


def page(template: Path, report: dict[str, Any], facts: dict[str, Any], previous: dict[str, Any]) -> str:
    """The whole page; `previous` is the report before, empty where there is none of this stack."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": number, "css": lambda status: status.replace(" ", "-")}
    results = report["criteria"]
    changed, figures = changes(report, previous)
    return environment.get_template(template.name).render(
        report=report,
        statuses=STATUSES,
        verdict=verdict(report["summary"]),
        sections={name: [r for r in results if r["section"] == name] for name in dict.fromkeys(r["section"] for r in results)},
        previous=previous,
        changed=changed,
        changed_figures=figures,
        open={status: by_reason(results, status) for status in STATUSES if status != "pass"},
        charts=charts(facts),
        budgets=budget_rows(report),
        versions=versions(facts),
    )
