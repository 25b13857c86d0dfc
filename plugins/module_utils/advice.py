"""Advice on images: what analysers make of the facts. Pure functions, each from the facts to a list of items.

An item: `task` (what it is about, see TASKS), `title`, `why`, `saves` {bytes, seconds, risk}, `where` (file:line, or empty), and
either `change` {variable: value} or `line`, the words for what no variable changes. `apply` tells what `APPLY=true` does with it:
safe (applies it), asked (only when it is named: it takes something away that an application may use), or empty (a person's work).

The facts: `images` (reports of the module image_checks), `settings` {variable: value}, `builds` {service: {seconds, steps}},
`failed` {service: {output, cause}}, `runs` [{service, memory_bytes, memory_limit}], `compose` {errors, services}.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ansible.module_utils.image_weight import PRUNABLE

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
# Bytes of ICU's data for English alone; each further language adds about 0.3 MB.
ENGLISH = 4_900_000


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


def _size(text: Any) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([kmg]?)b?", str(text).strip().lower())
    return int(float(match[1]) * {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}[match[2]]) if match else 0


def _role(service: str) -> str:
    return f"{service}_image"


def _applications(facts: Facts) -> Items:
    return [report for report in facts["images"] if report["service"] in ("backend", "frontend")]


# --- size ---------------------------------------------------------------------------------------------------------------


def shell(facts: Facts) -> Items:
    """The slim variant is for looking around."""
    return [
        item(
            "size",
            f"The {r['service']}'s image has a shell",
            "it is there to look around in; nothing that serves needs it",
            bytes_=r["weight"]["parts"]["shell"],
            risk="medium",
            severity="warning",
            change={f"{_role(r['service'])}_variant": "scratch"},
            apply="safe",
        )
        for r in _applications(facts)
        if facts["settings"].get(f"{_role(r['service'])}_variant") == "slim"
    ]


def languages(facts: Facts) -> Items:
    """Data of languages that were asked for by the word all."""
    chosen = facts["settings"].get("frontend_image_languages") or []
    report = next((r for r in _applications(facts) if r["service"] == "frontend"), None)
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
    report = next((r for r in _applications(facts) if r["service"] == "backend"), None)
    given = facts["settings"].get("backend_image_args") or {}
    for pattern, size in sorted((report or {"weight": {"prunable": {}}})["weight"]["prunable"].items(), key=lambda pair: -pair[1]):
        change = {"backend_image_args": given | {"PRUNE": f"{given.get('PRUNE', '')} {pattern}".strip()}}
        out.append(
            item(
                "size",
                f"{pattern} weighs {size / MB:.1f} MB",
                f"without it: {PRUNABLE[pattern]}",
                bytes_=size,
                change=change,
                apply="asked",
            )
        )
    return out


def frontend_leftovers(facts: Facts) -> Items:
    """What Next.js's output holds and no server reads."""
    report = next((r for r in _applications(facts) if r["service"] == "frontend"), None)
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
    for report in _applications(facts):
        packages = report["weight"]["packages"][:3]
        if packages and packages[0]["bytes"] > 5 * MB:
            told = ", ".join(f"{p['name']} {p['bytes'] / MB:.1f} MB" for p in packages)
            out.append(
                item(
                    "size",
                    f"The {report['service']}'s heaviest dependencies",
                    told,
                    bytes_=packages[0]["bytes"],
                    line="leave out, or replace, what the application does without",
                )
            )
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


# --- what the checks found ------------------------------------------------------------------------------------------------

CHECK_TASKS = {"hadolint": "dockerfiles", "structure": "validation", "labels": "validation", "efficiency": "size", "size": "size"}
RISK_OF = {"secrets": "high", "debian": "high", "javascript": "high", "user": "high", "contents": "medium"}


def findings(facts: Facts) -> Items:
    """What `make check-images` finds, ranked among the rest; what has somebody's reason is not told again."""
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


# --- how it runs and how it is built ---------------------------------------------------------------------------------------


def memory(facts: Facts) -> Items:
    """Limits against what is used: too close is an out-of-memory kill to come, far too wide is memory that nobody else gets."""
    out = []
    for run in facts["runs"]:
        variable = f"{_role(run['service'])}_memory"
        limit, used = _size(facts["settings"].get(variable, "")), int(run.get("memory_bytes") or 0)
        if not limit or not used:
            continue
        told = f"it uses {used / 1024**2:.0f} of {limit / 1024**2:.0f} MiB"
        wanted = max(64, -(-2 * used // (32 * 1024**2)) * 32)
        if used > 0.8 * limit:
            out.append(
                item(
                    "performance",
                    f"The {run['service']} is near its memory limit",
                    told,
                    risk="high",
                    severity="warning",
                    change={variable: f"{wanted}m"},
                    apply="safe",
                )
            )
        elif limit > 4 * used and wanted * 1024**2 < limit:
            out.append(
                item(
                    "performance",
                    f"The {run['service']}'s memory limit is wide",
                    f"{told} now; under load it uses more",
                    change={variable: f"{max(wanted, 128)}m"},
                    apply="asked",
                )
            )
    return out


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
        out.append(
            item(
                "builds",
                f"The backend's build installs {', '.join(compilers)}",
                "its log compiles nothing: drivers come as wheels",
                seconds=seconds,
                change={"backend_image_extra_build_packages": rest},
                apply="asked",
            )
        )
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
    for report in _applications(facts):
        variable = f"{_role(report['service'])}_dockerfile"
        if facts["settings"].get(variable):
            out.append(
                item(
                    "dockerfiles",
                    f"The {report['service']} is built by a Dockerfile of its own",
                    f"{report['size'] / MB:.0f} MB; the role's collects only what runs, without shell or package manager",
                    risk="low",
                    change={variable: ""},
                    apply="asked",
                )
            )
    return out


# --- the generated files ------------------------------------------------------------------------------------------------------


def compose(facts: Facts) -> Items:
    """compose.yaml: what Compose says of it, and that each service is hardened."""
    given = facts["compose"]
    out = [
        item(
            "validation",
            "docker compose refuses compose.yaml",
            text,
            severity="error",
            risk="high",
            where="compose.yaml",
            line="make compose",
        )
        for text in given.get("errors") or []
    ]
    for name, service in (given.get("services") or {}).items():
        missing = [
            word
            for word, held in {
                "read_only": service.get("read_only"),
                "cap_drop: [ALL]": "ALL" in (service.get("cap_drop") or []),
                "no-new-privileges": any("no-new-privileges" in str(o) for o in service.get("security_opt") or []),
                "mem_limit": service.get("mem_limit"),
                "pids_limit": service.get("pids_limit"),
                "user": service.get("user"),
                "logging": service.get("logging"),
                "healthcheck": service.get("healthcheck"),
            }.items()
            if not held
        ]
        if service.get("privileged"):
            missing.append("not to be privileged")
        if str(service.get("image", "")).endswith(":latest"):
            missing.append("an image by a name of its own, not latest")
        if missing:
            out.append(
                item(
                    "validation",
                    f"compose.yaml: {name} lacks {', '.join(missing)}",
                    "the roles' containers have it",
                    severity="error",
                    risk="medium",
                    where="compose.yaml",
                    line="make compose",
                )
            )
    return out


ANALYSERS: tuple[Callable[[Facts], Items], ...] = (
    failed_builds,
    findings,
    compose,
    memory,
    shell,
    wasted,
    languages,
    prunable,
    frontend_leftovers,
    build_packages,
    own_dockerfiles,
    slow_steps,
    heavy_packages,
)


def rank(advice: dict[str, Any]) -> tuple[int, int, int, float]:
    """What is dangerous first, then what is wrong, then what saves most."""
    return (
        -RISKS.index(advice["saves"]["risk"]),
        -("info", "warning", "error").index(advice["severity"]),
        -advice["saves"]["bytes"],
        -advice["saves"]["seconds"],
    )


def analyse(facts: Facts) -> Items:
    """All advice, ranked and numbered (id: A1, A2, ...)."""
    found = sorted((piece for analyser in ANALYSERS for piece in analyser(facts)), key=rank)
    return [{"id": f"A{number}"} | piece for number, piece in enumerate(found, 1)]


def chosen(advice: Items, wanted: str) -> Items:
    """What `wanted` applies: nothing (empty, false), what is safe (true), or the pieces named by id, separated by commas.

    Raises ValueError with the ids that there are, or that no variable changes.
    """
    words = [word.strip() for word in str(wanted or "").split(",") if word.strip()]
    if not words or words[0].lower() in ("false", "no", "0"):
        return []
    if words[0].lower() in ("true", "yes", "1", "safe"):
        return [piece for piece in advice if piece["apply"] == "safe"]
    can = {piece["id"]: piece for piece in advice if piece["change"]}
    wrong = [word for word in words if word not in can]
    if wrong:
        raise ValueError(f"no variable changes {', '.join(wrong)}; what can be applied: {', '.join(can) or 'nothing'}")
    return [can[word] for word in words]


def changes(pieces: Items) -> dict[str, Any]:
    """The variables that the pieces set; two that set the same mapping are put together."""
    out: dict[str, Any] = {}
    for piece in pieces:
        for name, value in piece["change"].items():
            out[name] = _together(out[name], value) if isinstance(value, dict) and isinstance(out.get(name), dict) else value
    return out


def _together(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    joined = one | other
    if "PRUNE" in one and "PRUNE" in other:
        joined["PRUNE"] = " ".join(dict.fromkeys(f"{one['PRUNE']} {other['PRUNE']}".split()))
    return joined


# --- what is read of a build's log -----------------------------------------------------------------------------------------------


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


# --- for people ----------------------------------------------------------------------------------------------------------------------


def saving(piece: dict[str, Any]) -> str:
    """3.2 MB, 5 s, risk high; or nothing."""
    saves = piece["saves"]
    told = [f"{saves['bytes'] / MB:.1f} MB"] if saves["bytes"] >= MB / 10 else []
    told += [f"{saves['seconds']:.0f} s"] if saves["seconds"] >= 1 else []
    told += [f"risk {saves['risk']}"] if saves["risk"] != "none" else []
    return ", ".join(told)


def remedy(piece: dict[str, Any]) -> str:
    """The variable or the line to change."""
    if piece["change"]:
        told = "; ".join(f"{name}: {_plain(value)}" for name, value in piece["change"].items())
        return told + (f" ({piece['line']})" if piece["line"] else "")
    return piece["line"]


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(part)}" for key, part in value.items()) + "}"
    return str(value) if value != "" else '""'


def text(report: dict[str, Any]) -> list[str]:
    """The report for a terminal."""
    lines = [
        f"{size['image']}  {size['size'] / MB:.1f} MB" + (f", before {size['before'] / MB:.1f} MB" if size.get("before") else "")
        for size in report["sizes"]
    ]
    mark = {"safe": "  [APPLY=true]", "asked": "  [APPLY={id}]"}
    for piece in report["advice"]:
        told = f" ({saving(piece)})" if saving(piece) else ""
        where = f"{piece['where']}: " if piece["where"] else ""
        lines.append(f"{piece['id']:<4}{where}{piece['title']}{told}: {piece['why']}")
        applied = "  [applied]" if piece.get("applied") else mark.get(piece["apply"], "").format(**piece)
        lines.append(f"    -> {remedy(piece)}{applied}")
    lines += [] if report["advice"] else ["The analysers have nothing to say."]
    asked = {entry["source"]: entry for entry in report["tasks"]}
    if "docker-ai" in asked:
        lines.append(
            f"Docker's agent answered {sum(e['source'] == 'docker-ai' for e in report['tasks'])} of {len(report['tasks'])} questions."
        )
    lines += list(dict.fromkeys(f"Docker's agent: unknown: {e['reason']}" for e in report["tasks"] if e["source"] != "docker-ai"))
    return lines


def markdown(report: dict[str, Any]) -> str:
    """The same as a document, with what Docker's agent answered."""
    out = [f"# Advice on {report['version']}", "", report["when"], "", "| image | size | before |", "| --- | --- | --- |"]
    for size in report["sizes"]:
        before = f"{size['before'] / MB:.1f} MB" if size.get("before") else ""
        out.append(f"| {size['image']} | {size['size'] / MB:.1f} MB | {before} |")
    out += ["", "| | what | saves or fixes | change |", "| --- | --- | --- | --- |"]
    for piece in report["advice"]:
        what = f"{piece['title']}: {piece['why']}" + (f" (`{piece['where']}`)" if piece["where"] else "")
        done = " **applied**" if piece.get("applied") else ""
        out.append(
            " | ".join(["", piece["id"], what.replace("|", "\\|"), saving(piece), remedy(piece).replace("|", "\\|") + done, ""]).strip()
        )
    for entry in report["tasks"]:
        out += ["", f"## {TASKS[entry['task']]}", ""]
        out.append(entry["answer"] if entry["source"] == "docker-ai" else f"Docker's agent: unknown. {entry['reason']}")
        out += ["", f"What became of it: {entry['outcome']}"]
    return "\n".join(out) + "\n"
