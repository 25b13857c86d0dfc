"""Advice on how images are built: steps that take long, compilers that compile nothing, builds that failed."""

from __future__ import annotations

import re
from typing import Any

from .items import MB, Facts, Items, applications, item, role


def build_steps(output: str) -> list[dict[str, Any]]:
    """[{name, seconds}] of BuildKit's plain progress; what was cached took no time and is not among them."""
    names: dict[str, str] = {}
    seconds: dict[str, float] = {}
    for line in output.splitlines():
        if match := re.match(r"(#\d+) \[(?!internal)([^\]]+)\] (.+)", line):
            names.setdefault(match[1], f"[{match[2]}] {match[3]}"[:160])
        elif match := re.match(r"(#\d+) DONE ([\d.]+)s", line):
            seconds[match[1]] = float(match[2])
    return [{"name": name, "seconds": seconds[number]} for number, name in names.items() if seconds.get(number)]


def slow_steps(facts: Facts) -> Items:
    """The step that a build spent most of its time in."""
    out = []
    for service, build in facts["builds"].items():
        slow = max(build["steps"], key=lambda step: step["seconds"], default=None)
        if slow and slow["seconds"] >= 5:
            out.append(
                item(
                    "builds",
                    f"The {service}'s build spends {slow['seconds']:.0f} s in one step",
                    slow["name"],
                    seconds=slow["seconds"],
                    line="next build --turbopack, in package.json, where it is not that already: half of webpack's time"
                    if "/build.m" in slow["name"]
                    else "what seldom changes goes into an earlier step, to be cached",
                )
            )
    return out


def build_packages(facts: Facts) -> Items:
    """Compilers for dependencies that all come as wheels."""
    out = []
    packages = facts["settings"].get("backend_image_extra_build_packages") or []
    compilers = [name for name in packages if name in ("gcc", "g++", "build-essential", "cargo", "rustc", "libpq-dev", "python3-dev")]
    output = facts["builds"].get("backend", {}).get("output", "")
    if compilers and output and not re.search(r"Building wheel|Running setup\.py|cargo|gcc", output.replace(" ".join(packages), "")):
        rest = [name for name in packages if name not in compilers]
        seconds = sum(s["seconds"] for s in facts["builds"]["backend"]["steps"] if "EXTRA_BUILD_PACKAGES" in s["name"])
        title = f"The backend's build installs {', '.join(compilers)}"
        why = "its log compiles nothing: drivers come as wheels"
        out.append(item("builds", title, why, seconds=seconds, change={"backend_image_extra_build_packages": rest}, apply="asked"))
    return out


def failed_builds(facts: Facts) -> Items:
    return [
        item(
            "builds",
            f"The last build of the {service} failed",
            failed.get("last") or "see its log",
            risk="high",
            severity="error",
            where=failed.get("log", ""),
            line=failed.get("cause") or "read the end of its log",
        )
        for service, failed in facts["failed"].items()
    ]


def own_dockerfiles(facts: Facts) -> Items:
    out = []
    for report in applications(facts):
        variable = f"{role(report['service'])}_dockerfile"
        if facts["settings"].get(variable):
            title = f"The {report['service']} is built by a Dockerfile of its own"
            why = f"{report['size'] / MB:.0f} MB; the role's collects only what runs, without shell or package manager"
            out.append(item("dockerfiles", title, why, risk="low", change={variable: ""}, apply="asked"))
    return out
