"""Checks of the end-to-end check's steps and of the browser's page. What a check is: verify/facts.py."""

from __future__ import annotations

from .facts import Evidence, Facts, NotApplicable, NotVerified, below, check, require


@check("e2e")
def step(f: Facts, key: str) -> Evidence:
    """Step `{}` of the end-to-end check, through the edge with certificates verified. Passes when it succeeded."""
    found = f.step(key)
    return f"{found['step']}: {found['evidence']}"


@check("e2e")
def ready(f: Facts, name: str) -> Evidence:
    """Part `{}` of the backend's readiness report. Passes when its status is ok."""
    checks = f.step("ready")["figures"].get("checks") or {}
    if name not in checks and "ready" not in f.required:
        raise NotApplicable(f"the backend's readiness report has no part {name}")
    require(checks.get(name, {}).get("status") == "ok", f"/health/ready reports {name}: {checks.get(name, 'nothing')}")
    return f"/health/ready: {name} ok, {checks[name].get('duration_ms')} ms"


@check("e2e")
def version_served(f: Facts) -> Evidence:
    """The version that the backend's health path reports. Passes when it is the one that is recorded as current."""
    reported, current = f.step("health")["figures"].get("version"), f.part("releases")["current"]
    if reported != current and "version" not in f.required:
        raise NotApplicable("the backend's health path does not report the release (APP_VERSION in its environment)")
    require(reported == current, f"/health reports {reported}, {current} is recorded")
    return f"{reported}"


@check("e2e")
def latency(f: Facts, name: str) -> Evidence:
    """Twenty requests one after another ({}). Passes when their 95th percentile is within the budget."""
    figures = f.step("latency")["figures"]
    if name not in figures:
        raise NotApplicable(f"the edge passes no {name} of the application" if name == "health" else "the application has no tasks")
    found = figures[name]
    return below(
        f"{name}: median {found['median']} ms, p95 {found['p95']} ms", found["p95"], f.budgets["p95_ms"][name], "ms", f"p95 {name}"
    )


@check("e2e")
def burst(f: Facts) -> Evidence:
    """Requests on many connections at once, right and wrong ones. Passes when each gets the answer that it should and p95 is within the
    budget.
    """
    found = f.step("burst")
    figures = found["figures"]
    return below(found["evidence"], figures["p95"], f.budgets["burst_p95_ms"], "ms", "p95 of a burst")


@check("e2e")
def growth(f: Facts) -> Evidence:
    """Memory of backend and frontend before and after equal bursts. Passes when a request leaves less than the budget behind."""
    found = f.step("memory")
    worst = max([0, *found["figures"]["bytes_per_request"].values()])
    return below(found["evidence"], worst, f.budgets["bytes_per_request"], "bytes a request", "growth")


@check("e2e")
def tool_used(f: Facts) -> Evidence:
    """The tools that the chat called. Passes when the one that adds was called and is one of those that the MCP server lists."""
    called, listed = f.step("chat")["figures"]["tools"], f.step("mcp")["figures"]["tools"]
    require(set(called) & set(listed), f"the chat called {called}, the MCP server lists {listed}")
    return f"{', '.join(called)} of {len(listed)} tools"


@check("browser")
def console(f: Facts) -> Evidence:
    """The page in a real browser without a window. Passes when it is drawn with its controls and the console has no error."""
    if not f.browser.get("loaded"):
        raise NotVerified(f.browser.get("why", "the page was not checked in a browser"))
    require(not f.browser["errors"], f"the console has: {f.browser['errors'][0] if f.browser['errors'] else ''}")
    require(f.browser["elements"] >= 5 or "controls" not in f.required, f"the page has {f.browser['elements']} elements to use")
    return f"{f.browser['name']}: {f.browser['elements']} fields and buttons, no error in the console"
