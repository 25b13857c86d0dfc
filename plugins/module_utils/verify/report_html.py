"""The acceptance report as one HTML page that needs nothing else: no script, no font, no request. Pure functions of report and facts."""

from __future__ import annotations

# ruff: noqa: E501 # the markup and the style sheet are long lines, and are read as such
from html import escape
from typing import Any

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #ffffff; --text: #1b2430; --soft: #5c6878; --line: #dde2e8; --pass: #1f7a4d; --fail: #b3261e;
  --unknown: #8a5a00; --none: #66707d; --pass-bg: #e3f3ea; --fail-bg: #fbe6e4; --unknown-bg: #fbf0d9; --none-bg: #eceff3; --one: #3461b8; --two: #b4562a;
  --three: #2c8577; --four: #7a52a8; --five: #8d7a1f; }
@media (prefers-color-scheme: dark) { :root { --page: #12161c; --card: #1b2129; --text: #e6eaf0; --soft: #9ba7b6; --line: #303945; --pass: #6fd3a0;
  --fail: #ff8f86; --unknown: #f0bd5b; --none: #a3adba; --pass-bg: #17352a; --fail-bg: #43201e; --unknown-bg: #3a2e13; --none-bg: #272f39; --one: #86aef5;
  --two: #ee9a6f; --three: #63c7b7; --four: #bb97e6; --five: #d3c05a; } }
* { box-sizing: border-box } html { scroll-behavior: smooth }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, "Segoe UI", Roboto, sans-serif }
main, header { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem } header { padding-top: 2rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem } h2 { font-size: 1.15rem; margin: 2.2rem 0 .8rem } h3 { font-size: 1rem; margin: 0 0 .6rem }
a { color: var(--one) } code { font: .88em ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere }
.soft { color: var(--soft) } .facts { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: 0; font-size: .93rem; color: var(--soft) }
.facts b { color: var(--text); font-weight: 600 }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 1rem 1.1rem; min-width: 0 }
.verdict { display: grid; grid-template-columns: auto 1fr; gap: 1.5rem; align-items: center; margin-top: 1.3rem }
.verdict .counts { display: flex; flex-wrap: wrap; gap: .4rem 1.6rem } .count b { display: block; font-size: 1.7rem; line-height: 1.1; font-variant-numeric: tabular-nums }
.count span { font-size: .88rem; color: var(--soft) } .pass b, .t-pass { color: var(--pass) } .fail b, .t-fail { color: var(--fail) }
.unknown b, .t-unknown { color: var(--unknown) } .not-applicable b, .t-not-applicable { color: var(--none) }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(12.5rem, 1fr)); gap: .6rem }
.tile { display: block; color: inherit; text-decoration: none; padding: .65rem .8rem } .tile:hover, .tile:focus-visible { border-color: var(--one) }
.tile div:first-child { display: flex; justify-content: space-between; gap: .5rem; font-size: .93rem } .tile b { font-variant-numeric: tabular-nums; font-weight: 600 }
.bar { display: flex; height: 6px; border-radius: 3px; overflow: hidden; margin-top: .45rem; background: var(--none-bg) } .bar i { display: block; height: 100% }
.b-pass { background: var(--pass) } .b-fail { background: var(--fail) } .b-unknown { background: var(--unknown) } .b-not-applicable { background: var(--none) }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: .8rem }
svg { display: block; width: 100%; height: auto } svg text { fill: var(--soft); font: 11px system-ui, sans-serif } svg .strong { fill: var(--text) }
table { border-collapse: collapse; width: 100%; font-size: .93rem } th { text-align: left; font-weight: 600; color: var(--soft); font-size: .84rem }
th, td { padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top } tr:last-child td { border-bottom: 0 }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap } .meter { width: 9rem; min-width: 5rem } .scroll { overflow-x: auto }
.meter div { height: 8px; border-radius: 4px; background: var(--none-bg); margin-top: .5rem } .meter i { display: block; height: 100%; border-radius: 4px; background: var(--three) }
details { border-bottom: 1px solid var(--line) } details:last-child { border-bottom: 0 }
summary { display: grid; grid-template-columns: 5.2rem 6.6rem 1fr; gap: .6rem; padding: .5rem 0; cursor: pointer; align-items: baseline; list-style: none }
summary::-webkit-details-marker { display: none } summary:hover .title { text-decoration: underline } summary:focus-visible { outline: 2px solid var(--one); outline-offset: 2px }
.id { font: 600 .86rem ui-monospace, Menlo, Consolas, monospace } .badge { font-size: .8rem; font-weight: 600; border-radius: 4px; padding: .08rem .45rem; justify-self: start }
.s-pass { background: var(--pass-bg); color: var(--pass) } .s-fail { background: var(--fail-bg); color: var(--fail) }
.s-unknown { background: var(--unknown-bg); color: var(--unknown) } .s-not-applicable { background: var(--none-bg); color: var(--none) }
.inside { padding: 0 0 .8rem 5.8rem; font-size: .93rem } .inside p { margin: .15rem 0 } .check { margin: 0 0 .6rem; padding-left: .8rem; border-left: 3px solid var(--line) }
.check.s-fail, .check.s-unknown { background: none; color: inherit } .check.s-fail { border-color: var(--fail) } .check.s-unknown { border-color: var(--unknown) }
.check.s-pass, .check.s-not-applicable { background: none; color: inherit; border-color: var(--pass) } .evidence { overflow-wrap: anywhere }
.list { margin: 0; padding: 0; list-style: none } .list.card { padding: .3rem 1.1rem } .list li { padding: .45rem 0; border-bottom: 1px solid var(--line) } .list li:last-child { border: 0 } th.n { text-align: right }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .84rem; color: var(--soft); margin-top: .4rem } .legend i { display: inline-block; width: .7rem; height: .7rem; border-radius: 2px; margin-right: .35rem }
footer { max-width: 72rem; margin: 2rem auto 3rem; padding: 0 1.25rem; font-size: .88rem; color: var(--soft) }
@media (max-width: 40rem) { .tiles { grid-template-columns: 1fr 1fr } summary { grid-template-columns: 4.6rem 1fr } summary .title { grid-column: 1 / -1 } .inside { padding-left: 0 } .verdict { grid-template-columns: 1fr } .verdict svg { max-width: 9rem } }
@media print { :root { color-scheme: light; --page: #fff; --card: #fff; --text: #000; --soft: #444; --line: #bbb } body { font-size: 10.5pt } .card { break-inside: avoid; border-color: #bbb }
  details::details-content { content-visibility: visible; display: block } details .inside { display: block } * { print-color-adjust: exact; -webkit-print-color-adjust: exact } }
"""
STATES = ("pass", "fail", "unknown", "not applicable")
COLORS = ("--one", "--two", "--three", "--four", "--five")


def _class(status: str) -> str:
    return status.replace(" ", "-")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}".rstrip("0").rstrip(".")


def ring(count: dict[str, int]) -> str:
    """How many of all pass, as a ring."""
    total = sum(count.values()) or 1
    radius, around = 52.0, 2 * 3.14159265 * 52
    arcs, at = "", 0.0
    for state in STATES:
        share = count[state.replace(" ", "_")] / total
        if share:
            arcs += (
                f'<circle cx="64" cy="64" r="{radius}" fill="none" stroke="var(--{"none" if state == "not applicable" else state})" stroke-width="14" '
                f'stroke-dasharray="{share * around:.2f} {around:.2f}" stroke-dashoffset="{-at * around:.2f}" transform="rotate(-90 64 64)"/>'
            )
            at += share
    good = count["pass"]
    return (
        f'<svg viewBox="0 0 128 128" width="128" style="width:128px" role="img" aria-label="{good} of {total} pass">{arcs}'
        f'<text class="strong" x="64" y="66" text-anchor="middle" style="font-size:26px;font-weight:600">{good}</text>'
        f'<text x="64" y="84" text-anchor="middle">of {total} pass</text></svg>'
    )


def bars(rows: list[tuple[str, float, str]], budget: float | None = None, unit: str = "") -> str:
    """Horizontal bars with their figures; a line where the budget is."""
    top = max([value for _, value, _ in rows] + ([budget] if budget and budget < 3 * max(v for _, v, _ in rows) else []) + [1e-9])
    height = 26 * len(rows) + 24
    marks = ""
    for index, (name, value, shown) in enumerate(rows):
        y = 8 + 26 * index
        width = max(1.0, 300 * value / top)
        marks += f'<text x="78" y="{y + 13}" text-anchor="end">{escape(name)}</text><rect x="86" y="{y}" width="{width:.1f}" height="16" rx="3" fill="var(--one)"/>'
        inside = width > 210
        marks += f'<text {"" if inside else "class=strong"} x="{80 + width if inside else 92 + width:.1f}" y="{y + 12.5}" text-anchor="{"end" if inside else "start"}"{" style=fill:var(--card)" if inside else ""}>{escape(shown)}</text>'
    note = ""
    if budget:
        if budget <= top:
            x = 86 + 300 * budget / top
            note = f'<line x1="{x:.1f}" y1="2" x2="{x:.1f}" y2="{height - 16}" stroke="var(--fail)" stroke-dasharray="4 3"/>'
        note += f'<text x="86" y="{height - 4}">budget {_number(budget)} {escape(unit)}</text>'
    return f'<svg viewBox="0 0 460 {height}" role="img">{marks}{note}</svg>'


def stacks(rows: list[tuple[str, list[float], float]]) -> str:
    """One bar per image, a piece per layer (MB); a mark at each budget (0: none)."""
    top = max([sum(pieces) for _, pieces, _ in rows] + [budget for *_, budget in rows] + [1e-9])
    height = 30 * len(rows) + 8
    marks = ""
    for index, (name, pieces, budget) in enumerate(rows):
        y, x = 6 + 30 * index, 86.0
        marks += f'<text x="78" y="{y + 14}" text-anchor="end">{escape(name)}</text>'
        for number, piece in enumerate(pieces):
            width = 300 * piece / top
            marks += f'<rect x="{x:.1f}" y="{y}" width="{max(0.6, width - 1):.1f}" height="18" fill="var({COLORS[number % 5]})"><title>layer {number + 1}: {piece:.1f} MB</title></rect>'
            x += width
        if budget:
            at = 86 + 300 * budget / top
            marks += f'<line x1="{at:.1f}" y1="{y - 3}" x2="{at:.1f}" y2="{y + 21}" stroke="var(--fail)" stroke-width="2"/>'
        marks += f'<text class="strong" x="{max(x, 86 + 300 * budget / top) + 8:.1f}" y="{y + 13.5}">{sum(pieces):.1f} MB</text>'
    return f'<svg viewBox="0 0 460 {height}" role="img">{marks}</svg>'


def lines(series: dict[str, list[list[float]]], faults: list[dict[str, Any]], unit: str) -> str:
    """Figures over seconds, with a mark at each fault; the points are [second, value]."""
    points = [point for line in series.values() for point in line]
    if not points:
        return "<p class=soft>nothing was recorded</p>"
    right = max([p[0] for p in points] + [1.0])
    top = max([p[1] for p in points] + [1e-9]) * 1.08

    def place(point: list[float]) -> str:
        return f"{52 + 396 * point[0] / right:.1f},{168 - 146 * point[1] / top:.1f}"

    marks = ""
    for step in range(5):
        y = 168 - 146 * step / 4
        marks += f'<line x1="52" x2="448" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--line)"/><text x="46" y="{y + 4:.1f}" text-anchor="end">{_number(top * step / 4)}</text>'
    for number, fault in enumerate(faults):
        x = 52 + 396 * min(fault["second"], right) / right
        marks += f'<line x1="{x:.1f}" x2="{x:.1f}" y1="14" y2="168" stroke="var(--fail)" stroke-dasharray="3 3"><title>{escape(fault["name"])}</title></line>'
        marks += f'<text x="{x:.1f}" y="11" text-anchor="middle" style="fill:var(--fail)">{number + 1}</text>'
    for number, line in enumerate(series.values()):
        marks += f'<polyline fill="none" stroke="var({COLORS[number % 5]})" stroke-width="1.8" stroke-linejoin="round" points="{" ".join(map(place, line))}"/>'
    marks += f'<text x="52" y="184">0 s</text><text x="448" y="184" text-anchor="end">{right:.0f} s</text><text x="250" y="184" text-anchor="middle">{escape(unit)}</text>'
    names = "".join(f'<span><i style="background:var({COLORS[n % 5]})"></i>{escape(name)}</span>' for n, name in enumerate(series))
    return f'<svg viewBox="0 0 460 190" role="img">{marks}</svg><div class="legend">{names}</div>'


def _plots(gathered: dict[str, Any]) -> str:
    stack = gathered.get("stack") or {}
    budgets = gathered.get("budgets") or {}
    cards = []
    starts = [(c["service"], c["logs"].get("ready_seconds")) for c in stack.get("containers", [])]
    known = [(name, float(value), f"{value:.2f} s") for name, value in starts if value is not None]
    if known:
        cards.append(("From start to ready", bars(known, budgets.get("start_seconds"), "s")))
    images = [
        (name, [layer["size"] / 1e6 for layer in reversed(image["layers"])], float((budgets.get("image_mb") or {}).get(name, 0)))
        for name, image in (stack.get("images") or {}).items()
        if "layers" in image
    ]
    if images:
        cards.append(("Layers of the images", stacks(images)))
    used = [
        (c["service"], c["memory"] / 1e6, f"{c['memory'] / 1e6:.0f} of {c['memory_limit'] / 1e6:.0f} MB")
        for c in stack.get("containers", [])
        if "memory" in c
    ]
    if used:
        cards.append(("Memory in use, of the limit", bars(used)))
    steps = {step["key"]: step for step in gathered.get("story") or []}
    latency = (steps.get("latency") or {}).get("figures") or {}
    if latency:
        cards.append(("Answers, 95th percentile", bars([(name, figure["p95"], f"{figure['p95']} ms") for name, figure in latency.items()])))
    stress = ((gathered.get("source") or {}).get("records") or {}).get("stress") or {}
    if stress.get("series"):
        faults = stress.get("faults", [])
        back = ["not back" if fault.get("recovery") is None else f"back after {_number(fault['recovery'])} s" for fault in faults]
        list_of = "".join(f"<li>{n + 1}. {escape(fault['name'])}: {back[n]}</li>" for n, fault in enumerate(faults))
        cards.append(
            (
                "Answers under load, with faults",
                lines({k: v for k, v in stress["series"].items() if k.endswith("ms")}, faults, "ms")
                + f'<ul class="list soft">{list_of}</ul>',
            )
        )
        cards.append(
            ("Memory under load", lines({k.removesuffix(" MB"): v for k, v in stress["series"].items() if k.endswith("MB")}, faults, "MB"))
        )
    return "".join(f'<div class="card"><h3>{escape(title)}</h3>{plot}</div>' for title, plot in cards)


def _budgets(report: dict[str, Any]) -> str:
    seen: dict[str, dict[str, Any]] = {}
    for result in report["criteria"]:
        for figure in result["measured"]:
            seen.setdefault(figure["name"], {**figure, "ids": []})["ids"].append(result["id"])
    rows = ""
    for name, figure in seen.items():
        share = max(0.0, min(100.0, 100 * figure["value"] / figure["budget"])) if figure["budget"] else 100.0
        ids = ", ".join(f'<a href="#{i}"><code>{i}</code></a>' for i in dict.fromkeys(figure["ids"]))
        rows += (
            f"<tr><td>{escape(name)}</td><td class=n>{_number(figure['value'])}</td><td class=n>{_number(figure['budget'])} {escape(figure['unit'])}</td>"
            f'<td class="meter"><div><i style="width:{share:.1f}%"></i></div></td><td>{ids}</td></tr>'
        )
    return (
        f'<div class="card scroll"><table><thead><tr><th>what</th><th class=n>measured</th><th class=n>budget</th><th></th><th>criteria</th></tr></thead><tbody>{rows}</tbody></table></div>'
        if rows
        else ""
    )


def _changes(report: dict[str, Any], previous: dict[str, Any]) -> str:
    if not previous:
        return '<p class="soft">There is no earlier report of this stack to compare with.</p>'
    before = {result["id"]: result for result in previous.get("criteria", [])}
    changed = [(before[r["id"]]["status"], r) for r in report["criteria"] if r["id"] in before and before[r["id"]]["status"] != r["status"]]
    figures = []
    old = {f["name"]: f for r in previous.get("criteria", []) for f in r.get("measured", [])}
    for figure in {f["name"]: f for r in report["criteria"] for f in r["measured"]}.values():
        was = old.get(figure["name"])
        if (
            was
            and was["value"]
            and abs(figure["value"] / was["value"] - 1) > 0.15
            and abs(figure["value"] - was["value"]) > 0.02 * figure["budget"]
        ):
            figures.append(f"{escape(figure['name'])}: {_number(was['value'])} &rarr; {_number(figure['value'])} {escape(figure['unit'])}")
    entries = "".join(
        f'<li><a href="#{r["id"]}"><code>{r["id"]}</code></a> {escape(r["title"])}: <span class="t-{_class(was)}">{was}</span> &rarr; <b class="t-{_class(r["status"])}">{r["status"]}</b></li>'
        for was, r in changed
    ) + "".join(f"<li>{entry}</li>" for entry in figures)
    head = f"Compared with {escape(previous['started'])}, version {escape(previous.get('version', ''))}"
    return f'<p class="soft">{head}: {"" if entries else "no criterion changed, and no figure by more than 15 %."}</p>' + (
        f'<ul class="list card">{entries}</ul>' if entries else ""
    )


def _open(report: dict[str, Any]) -> str:
    told = ""
    for state in ("fail", "unknown", "not applicable"):
        reasons: dict[str, list[dict[str, Any]]] = {}
        for result in report["criteria"]:
            if result["status"] == state:
                reasons.setdefault(result["evidence"], []).append(result)
        for reason, results in reasons.items():
            ids = ", ".join(f'<a href="#{r["id"]}" title="{escape(r["title"])}"><code>{r["id"]}</code></a>' for r in results)
            told += f'<li><span class="badge s-{_class(state)}">{state}</span> {ids}<br><span class="evidence">{escape(reason)}</span></li>'
    return f'<h2>What is open, and why</h2><ul class="list card">{told}</ul>' if told else ""


def _criterion(result: dict[str, Any]) -> str:
    state = _class(result["status"])
    checks = "".join(
        f'<div class="check s-{_class(part["status"])}"><p class="evidence"><b class="t-{_class(part["status"])}">{part["status"]}</b> {escape(part["evidence"])}</p>'
        f'<p class="soft">{escape(part["probe"])}</p></div>'
        for part in result["checks"]
    )
    return (
        f'<details id="{result["id"]}"{" open" if result["status"] == "fail" else ""}><summary><span class="id">{result["id"]}</span><span class="badge s-{state}">{result["status"]}</span>'
        f'<span class="title">{escape(result["title"])}</span></summary><div class="inside">{checks}<p class="soft">Needs: {", ".join(result["needs"])}. More: <code>{escape(result["read"])}</code></p></div></details>'
    )


def page(report: dict[str, Any], gathered: dict[str, Any], previous: dict[str, Any]) -> str:
    """The whole page."""
    count = report["summary"]
    sections = list(dict.fromkeys(result["section"] for result in report["criteria"]))
    tiles, lists = "", ""
    for number, section in enumerate(sections):
        own = [r for r in report["criteria"] if r["section"] == section]
        good = sum(r["status"] == "pass" for r in own)
        pieces = "".join(
            f'<i class="b-{_class(state)}" style="width:{100 * sum(r["status"] == state for r in own) / len(own):.2f}%"></i>'
            for state in STATES
        )
        tiles += f'<a class="card tile" href="#s{number}"><div><span>{escape(section)}</span><b>{good}/{len(own)}</b></div><div class="bar">{pieces}</div></a>'
        lists += f'<h2 id="s{number}">{escape(section)}</h2><div class="card">{"".join(map(_criterion, own))}</div>'
    counts = "".join(
        f'<div class="count {_class(state)}"><b>{count[state.replace(" ", "_")]}</b><span>{state}</span></div>'
        for state in STATES
        if count[state.replace(" ", "_")] or state in ("pass", "fail")
    )
    stack = gathered.get("stack") or {}
    asked = {c["service"]: c.get("asked") or {} for c in stack.get("containers", [])}
    versions = {
        "Docker Engine": (stack.get("engine") or {}).get("version"),
        "Kernel": (stack.get("engine") or {}).get("kernel"),
        "Python": asked.get("backend", {}).get("runtime"),
        "Node.js": asked.get("frontend", {}).get("runtime"),
        "PostgreSQL": (stack.get("database") or {}).get("version"),
        **{name: value for name, value in (asked.get("backend", {}).get("libraries") or {}).items()},
        **{f"image of {c['service']}": c["version"] for c in stack.get("containers", [])},
    }
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td><code>{escape(str(value))}</code></td></tr>" for name, value in versions.items() if value
    )
    verdict = "Everything that can be told is as it should be" if not count["fail"] else f"{count['fail']} criteria are not met"
    if count["unknown"] and not count["fail"]:
        verdict += f"; {count['unknown']} cannot be told here"
    plots, budgets = _plots(gathered), _budgets(report)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Acceptance of {escape(report["stack"])} {escape(report["version"])}</title><style>{STYLE}</style></head><body>
<header><h1>Acceptance of {escape(report["stack"])}</h1>
<p class="facts"><span>version <b>{escape(report["version"])}</b></span><span>at <b>{escape(report["url"])}</b></span><span>host <b>{escape(report["host"])}</b></span>
<span>begun <b>{escape(report["started"].replace("T", " ").replace("Z", " UTC"))}</b></span><span>took <b>{report["seconds"]:.0f} s</b></span></p></header>
<main><div class="card verdict">{ring(count)}<div><p style="margin:0 0 .7rem;font-size:1.15rem"><b>{verdict}.</b></p><div class="counts">{counts}</div></div></div>
<h2>By section</h2><div class="tiles">{tiles}</div>
<h2>Since the last report</h2>{_changes(report, previous)}
{_open(report)}
{f"<h2>Measured</h2><div class=plots>{plots}</div>" if plots else ""}
{f"<h2>Against budgets</h2>{budgets}" if budgets else ""}
{lists}
<h2>Versions</h2><div class="card scroll"><table><tbody>{rows}</tbody></table></div></main>
<footer>Read-only checks by <code>make verify</code>, load and faults by <code>make stress</code>. The same as data: <code>acceptance.json</code>, <code>acceptance.xml</code> (JUnit) beside this page. Each criterion opens to what was looked at, when it passes, and what was found.</footer>
</body></html>
"""
