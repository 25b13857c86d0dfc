"""Advice on what is in images: bytes that nothing needs, and what the checks found."""

from __future__ import annotations

from ..docker.image_weight import PRUNABLE
from .items import MB, Facts, Items, applications, item, role

CHECK_TASKS = {"hadolint": "dockerfiles", "structure": "validation", "labels": "validation", "efficiency": "size", "size": "size"}
RISK_OF = {"secrets": "high", "debian": "high", "javascript": "high", "user": "high", "contents": "medium"}
# Bytes of ICU's data for English alone; each further language adds about 0.3 MB.
ENGLISH = 4_900_000


def shell(facts: Facts) -> Items:
    """The slim variant is for looking around."""
    return [
        item(
            "size",
            f"The {r['service']}'s image has a shell",
            "it is for debugging; nothing that serves needs it",
            bytes_=r["weight"]["parts"]["shell"],
            risk="medium",
            severity="warning",
            change={f"{role(r['service'])}_variant": "scratch"},
            apply="safe",
        )
        for r in applications(facts)
        if facts["settings"].get(f"{role(r['service'])}_variant") == "slim"
    ]


def languages(facts: Facts) -> Items:
    """Data of languages that were asked for by the word all."""
    chosen = facts["settings"].get("frontend_image_languages") or []
    report = next((r for r in applications(facts) if r["service"] == "frontend"), None)
    if "all" not in chosen or not report:
        return []
    size = report["weight"]["parts"]["languages"]
    return [
        item(
            "size",
            "The frontend's image has the data of all languages",
            f"Intl carries {size / MB:.1f} MB; English alone is 4.9 MB",
            bytes_=max(size - ENGLISH, 0),
            change={"frontend_image_languages": ["en"]},
            apply="asked",
            line="name the languages that your users have: dates and numbers of others are written as in English",
        )
    ]


def prunable(facts: Facts) -> Items:
    """Data of Python packages that few applications read."""
    out = []
    report = next((r for r in applications(facts) if r["service"] == "backend"), None)
    given = facts["settings"].get("backend_image_args") or {}
    for pattern, size in sorted((report or {"weight": {"prunable": {}}})["weight"]["prunable"].items(), key=lambda pair: -pair[1]):
        change = {"backend_image_args": given | {"PRUNE": f"{given.get('PRUNE', '')} {pattern}".strip()}}
        title = f"{pattern} weighs {size / MB:.1f} MB"
        out.append(item("size", title, f"without it: {PRUNABLE[pattern]}", bytes_=size, change=change, apply="asked"))
    return out


def frontend_leftovers(facts: Facts) -> Items:
    """What Next.js's output holds and no server reads."""
    report = next((r for r in applications(facts) if r["service"] == "frontend"), None)
    parts = report["weight"]["parts"] if report else {}
    lines = {
        "source_maps": (
            "Source maps are in the frontend's image",
            "browsers and attackers read them, the server does not",
            "productionBrowserSourceMaps: false in next.config",
            "low",
        ),
        "image_library": (
            "The frontend's image has sharp",
            "it shrinks pictures at run time, and needs Node.js 20.9",
            "images: {unoptimized: true} and outputFileTracingExcludes: {'*': ['node_modules/@img/**', "
            "'node_modules/sharp/**']} in next.config, where pictures are served as they are",
            "none",
        ),
        "declarations": (
            "TypeScript's declarations are in the frontend's image",
            "compilers read them, Node.js does not",
            "outputFileTracingExcludes: {'*': ['**/*.d.ts']} in next.config",
            "none",
        ),
    }
    return [
        item("size", title, why, bytes_=parts[name], risk=risk, line=line, where="next.config")
        for name, (title, why, line, risk) in lines.items()
        if parts.get(name, 0) > MB / 2
    ]


def heavy_packages(facts: Facts) -> Items:
    """The largest dependency of each application, and what is over the budget."""
    out = []
    for report in applications(facts):
        packages = report["weight"]["packages"][:3]
        if packages and packages[0]["bytes"] > 5 * MB:
            largest = ", ".join(f"{p['name']} {p['bytes'] / MB:.1f} MB" for p in packages)
            line = "leave out, or replace, what the application does without"
            out.append(item("size", f"The {report['service']}'s heaviest dependencies", largest, bytes_=packages[0]["bytes"], line=line))
    return out


def wasted(facts: Facts) -> Items:
    return [
        item(
            "size",
            f"Layers of {r['image']} hold what later ones replace",
            f"{r['wasted'] / MB:.1f} MB that no container sees",
            bytes_=r["wasted"],
            severity="warning",
            line="remove a file in the RUN that makes it, or copy it from a stage",
        )
        for r in facts["images"]
        if r["wasted"] > MB / 2
    ]


def findings(facts: Facts) -> Items:
    """What `make check-images` finds, ranked among the rest; what was accepted is left out."""
    out = []
    for report in facts["images"]:
        for found in report["findings"]:
            if found.get("accepted") or found["severity"] not in ("error", "warning") or found["check"] == "efficiency":
                continue
            risk = RISK_OF.get(found["check"], "low")
            out.append(
                item(
                    CHECK_TASKS.get(found["check"], "security"),
                    f"{report['service']}: {found['message']}",
                    f"the check {found['check']}",
                    bytes_=found.get("bytes", 0),
                    severity=found["severity"],
                    risk=risk if found["severity"] == "error" else "low",
                    where=found["where"],
                    line=found["advice"] or "correct it, or accept it with a reason in image_checks_accepted",
                )
            )
    return out
