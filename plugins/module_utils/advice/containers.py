"""Advice on how containers run: limits against what is used, and what compose.yaml lacks."""

from __future__ import annotations

from ..docker.spec import size
from .items import Facts, Items, item, role


def memory(facts: Facts) -> Items:
    """Limits against what is used: too close is an out-of-memory kill to come, far too wide is memory that nobody else gets."""
    out = []
    for run in facts["runs"]:
        variable = f"{role(run['service'])}_memory"
        limit, used = size(facts["settings"].get(variable, "")), int(run.get("memory_bytes") or 0)
        if not limit or not used:
            continue
        use = f"it uses {used / 1024**2:.0f} of {limit / 1024**2:.0f} MiB"
        fitting = max(64, -(-2 * used // (32 * 1024**2)) * 32)
        if used > 0.8 * limit:
            title = f"The {run['service']} is near its memory limit"
            out.append(item("performance", title, use, risk="high", severity="warning", change={variable: f"{fitting}m"}, apply="safe"))
        elif limit > 4 * used and fitting * 1024**2 < limit:
            title = f"The {run['service']}'s memory limit is wide"
            why = f"{use} now; under load it uses more"
            out.append(item("performance", title, why, change={variable: f"{max(fitting, 128)}m"}, apply="asked"))
    return out


def compose(facts: Facts) -> Items:
    """compose.yaml: what Compose reports, and that each service is hardened."""
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
            title = f"compose.yaml: {name} lacks {', '.join(missing)}"
            why = "the roles' containers have it"
            out.append(item("validation", title, why, severity="error", risk="medium", where="compose.yaml", line="make compose"))
    return out
