"""How a stack's containers and networks are made, what runs in them, and what they reach."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ..docker.client import Engine, memory_used
from ..docker.image_scan import hits, setting_hits
from .cis_docker import score, warnings
from .container_commands import ask_backend, ask_frontend, exit_status, unlisted
from .container_logs import logs, moment
from .netns import answered, reached


def container(engine: Engine, listed: dict[str, Any], canaries: list[bytes], options: dict[str, Any]) -> dict[str, Any]:
    """How a listed container was made and its state; `options` has the number of log `lines` to read, `errors_since`, `ports`."""
    actual = engine.call("GET", f"/containers/{listed['Id']}/json")
    config, host, state = actual["Config"], actual["HostConfig"], actual["State"]
    running = state["Running"]
    environment = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    health = state.get("Health") or {}
    service = listed["Labels"].get("berth.service", "")
    return {
        "name": actual["Name"].lstrip("/"),
        "service": service,
        "version": listed["Labels"].get("berth.version", ""),
        "image": config["Image"],
        "image_id": actual["Image"],
        "running": running,
        "restarts": actual["RestartCount"],
        "oom_killed": state["OOMKilled"],
        "user": config.get("User") or "",
        "read_only": host["ReadonlyRootfs"],
        "cap_drop": host.get("CapDrop") or [],
        "cap_add": host.get("CapAdd") or [],
        "security_opt": host.get("SecurityOpt") or [],
        "privileged": host["Privileged"],
        "namespaces": [name for name in ("PidMode", "NetworkMode", "IpcMode", "UTSMode") if host.get(name) == "host"],
        "memory_limit": host["Memory"],
        "swap_limit": host["MemorySwap"],
        "cpus": host["NanoCpus"] / 1e9,
        "pids_limit": host.get("PidsLimit") or 0,
        "restart_policy": host["RestartPolicy"]["Name"],
        "log": {"driver": host["LogConfig"]["Type"], **host["LogConfig"]["Config"]},
        "mounts": [
            {"type": m["Type"], "source": m.get("Name") or m.get("Source", ""), "target": m["Destination"], "writable": m["RW"]}
            for m in actual["Mounts"]
        ],
        "tmpfs": sorted(host.get("Tmpfs") or {}),
        "ports": [
            {"address": binding["HostIp"], "port": binding["HostPort"], "target": target}
            for target, bindings in (host.get("PortBindings") or {}).items()
            for binding in bindings or []
        ],
        "exposed": sorted(config.get("ExposedPorts") or {}),
        "networks": {
            name: sorted(n.get("DNSNames") or n.get("Aliases") or []) for name, n in actual["NetworkSettings"]["Networks"].items()
        },
        "environment": {name: ("" if setting_hits(f"{name}={value}") else value) for name, value in environment.items()},
        "environment_secrets": sorted(
            {name for name, value in environment.items() if setting_hits(f"{name}={value}") or hits(value.encode(), canaries)}
        ),
        "entrypoint": config.get("Entrypoint") or [],
        "command": config.get("Cmd") or [],
        "labels": config.get("Labels") or {},
        "pid": state["Pid"],
        "addresses": [n["IPAddress"] for n in actual["NetworkSettings"]["Networks"].values() if n.get("IPAddress")],
        "address_by_network": {name: n["IPAddress"] for name, n in actual["NetworkSettings"]["Networks"].items() if n.get("IPAddress")},
        "benchmark": {"warnings": warnings(actual), "score": score(warnings(actual))},
        "stop_seconds": config.get("StopTimeout") or 10,
        "health": health.get("Status", "none"),
        "health_test": (config.get("Healthcheck") or {}).get("Test") or [],
        "health_interval": (config.get("Healthcheck") or {}).get("Interval", 0) / 1e9,
        "health_log": [e["ExitCode"] for e in health.get("Log") or [] if moment(e["Start"]) >= moment(state["StartedAt"])],
        "started": moment(state["StartedAt"]),
        "logs": logs(engine, listed["Id"], state["StartedAt"], canaries, options["lines"], options["errors_since"]),
        **(_live(engine, listed["Id"], state["Pid"], service, config, options) if running else {}),
    }


def _live(engine: Engine, identity: str, pid: int, service: str, config: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """What only a running container has."""
    stats: dict[str, Any] = engine.statistics(identity)
    top = engine.call("GET", f"/containers/{identity}/top", {"ps_args": "-eo pid,uid,args"})
    columns = [title.upper() for title in top["Titles"]]
    processes = [dict(zip(columns, row, strict=False)) for row in top["Processes"]]
    facts: dict[str, Any] = {
        "memory": memory_used(stats),
        "pids": stats.get("pids_stats", {}).get("current", len(processes)),
        "processes": [{"uid": p.get("UID", ""), "command": (p.get("COMMAND") or p.get("CMD") or "")[:120]} for p in processes],
        "changes": [change["Path"] for change in engine.call("GET", f"/containers/{identity}/changes") or []][:50],
        "default_route": _default_route(pid),
    }
    test = (config.get("Healthcheck") or {}).get("Test") or []
    if service in ("backend", "frontend") and test[:1] in (["CMD"], ["CMD-SHELL"]):
        command = test[1:] if test[0] == "CMD" else ["/bin/sh", "-c", *test[1:]]
        # Nothing listens on port 1: a check that tests nothing succeeds all the same.
        facts["health_when_down"] = exit_status(engine, identity, command, ["PORT=1", "HEALTH_PATH=/nothing-is-here"])
    targets = options["egress"].get(service) or []
    outside = [*targets, unlisted(targets)] if targets else []
    if service == "backend":
        facts["asked"] = ask_backend(engine, identity, options["ports"], outside)
    if service == "frontend":
        facts["asked"] = ask_frontend(engine, identity, options["ports"], outside)
    return facts


def reach(containers: list[dict[str, Any]], ways_out: set[str]) -> None:
    """Add to each running container which services it reaches, tried from inside it, and whether it has a way to the internet."""
    running = [c for c in containers if c["running"]]
    listening = {
        (address, int(port.partition("/")[0])): c["service"] for c in running for address in c["addresses"] for port in c["exposed"]
    }

    def inspect(c: dict[str, Any]) -> None:
        found = reached(c["pid"], [target for target, service in listening.items() if service != c["service"]])
        c["reaches"] = None if found is None else sorted({listening[target] for target in found})
        c["internet"] = bool(ways_out & set(c["networks"])) if c["default_route"] else c["default_route"]

    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(inspect, running))


def refused_names(containers: list[dict[str, Any]], egress: dict[str, list[str]]) -> None:
    """Add to each container whose service has a list of hosts whether its relay refuses a request for another host (`refused`), at each
    port that several hosts share: there the name in the request decides.
    """
    for c in containers:
        targets = egress.get(c["service"]) or []
        ports = [int(target.rpartition(":")[2]) for target in targets]
        relays = [other for other in containers if other["service"] == f"egress-{c['service']}" and other["running"]]
        if not c["running"] or not targets or not relays:
            continue
        request = f"GET / HTTP/1.1\r\nHost: {unlisted(targets).rpartition(':')[0]}\r\n\r\n".encode()
        shared = sorted({port for port in ports if ports.count(port) > 1})
        own = {network for network in c["networks"] if network.endswith(f"-egress-{c['service']}")}
        addresses = [relay["address_by_network"][network] for relay in relays for network in own & set(relay["address_by_network"])]
        c["refused"] = {
            str(port): None if (answer := answered(c["pid"], (address, port), request)) is None else answer == b""
            for port in shared
            for address in addresses
        }


def _default_route(pid: int) -> bool | None:
    """Whether a packet finds a way out of the container; None where the host does not let us see."""
    try:
        lines = Path(f"/proc/{pid}/net/route").read_text().splitlines()[1:]
    except OSError:
        return None
    return any(line.split()[1] == "00000000" for line in lines)


def network(listed: dict[str, Any]) -> dict[str, Any]:
    """How a listed network is made, and whether it leads out."""
    # What leaves a bridge without masquerading has an address that nobody outside can answer.
    masquerades = (listed.get("Options") or {}).get("com.docker.network.bridge.enable_ip_masquerade") != "false"
    return {
        "name": listed["Name"],
        "internal": listed["Internal"],
        "way_out": not listed["Internal"] and masquerades,
        "driver": listed["Driver"],
        "labels": listed.get("Labels") or {},
    }
