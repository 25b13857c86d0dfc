"""The same containers by other means: what the engine says of a stack, as a Compose file and as variables of a naive playbook."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

from stopwatch import ROOT, run

WORK = ROOT / "reports" / "bench"
# Published ports of peers lie this much above ours.
SHIFT = {"compose": 1, "naive": 2}
NANO = 1_000_000_000


def containers(stack: str) -> list[dict[str, Any]]:
    """What the engine says of the containers of a stack, the database first: what others need is up before them."""
    names = run(["docker", "ps", "--quiet", "--filter", f"label=berth.stack={stack}"]).split()
    order = ["database", "model", "backend", "frontend", "edge"]
    found = json.loads(run(["docker", "inspect", *names]))
    return sorted(found, key=lambda one: order.index(one["Config"]["Labels"]["berth.service"]))


def renamed(name: str, stack: str, peer: str) -> str:
    return re.sub(f"^{re.escape(stack)}-", f"{stack}-{peer}-", name)


def service(actual: dict[str, Any], stack: str, peer: str) -> dict[str, Any]:
    """A container in the words of the Compose specification, on the peer's own networks, volumes and ports."""
    config, host, name = actual["Config"], actual["HostConfig"], actual["Name"].lstrip("/")
    check = config.get("Healthcheck")
    return {
        "image": actual["Image"],
        # Images hand their labels to containers; a peer's are none of the stack.
        "labels": {"berth.stack": f"{stack}-{peer}"},
        "entrypoint": config["Entrypoint"],
        "command": config["Cmd"] or [],
        "user": config["User"],
        "environment": dict(entry.partition("=")[::2] for entry in config["Env"]),
        "read_only": host["ReadonlyRootfs"],
        "tmpfs": [f"{path}:{options}" for path, options in (host["Tmpfs"] or {}).items()],
        "cap_drop": host["CapDrop"] or [],
        "security_opt": host["SecurityOpt"] or [],
        "mem_limit": host["Memory"],
        "cpus": host["NanoCpus"] / NANO,
        "pids_limit": host["PidsLimit"],
        "restart": host["RestartPolicy"]["Name"],
        "stop_grace_period": f"{config.get('StopTimeout') or 10}s",
        "networks": {
            renamed(network, stack, peer): {"aliases": sorted({*(end["Aliases"] or []), name, config["Labels"]["berth.service"]})}
            for network, end in actual["NetworkSettings"]["Networks"].items()
        },
        "volumes": [
            {
                "type": mount["Type"],
                "source": renamed(mount["Source"], stack, peer) if mount["Type"] == "volume" else mount["Source"],
                "target": mount["Target"],
                "read_only": bool(mount.get("ReadOnly")),
            }
            for mount in host["Mounts"] or []
        ],
        "ports": [
            {"target": int(port.split("/")[0]), "host_ip": end["HostIp"], "published": str(int(end["HostPort"]) + SHIFT[peer])}
            for port, ends in (host["PortBindings"] or {}).items()
            for end in ends
        ],
        **(
            {
                "healthcheck": {
                    "test": check["Test"],
                    "interval": f"{check['Interval'] // NANO}s",
                    "timeout": f"{check['Timeout'] // NANO}s",
                    "retries": check["Retries"],
                    "start_period": f"{check['StartPeriod'] // NANO}s",
                    "start_interval": f"{check['StartInterval'] // 1_000_000}ms",
                }
            }
            if check and check["Test"] != ["NONE"]
            else {}
        ),
    }


def project(stack: str, peer: str) -> dict[str, Any]:
    """The stack as a Compose project."""
    services = {one["Config"]["Labels"]["berth.service"]: service(one, stack, peer) for one in containers(stack)}
    networks = sorted({network for one in services.values() for network in one["networks"]})
    volumes = sorted({mount["source"] for one in services.values() for mount in one["volumes"] if mount["type"] == "volume"})
    return {
        "name": f"{stack}-{peer}",
        "services": services,
        # Subnets of their own: an engine has 30 to give away by default.
        "networks": {
            name: {
                "name": name,
                "internal": not name.endswith(("-edge", "-egress")),
                "ipam": {"config": [{"subnet": f"10.213.{SHIFT[peer] * 16 + number}.0/24"}]},
            }
            for number, name in enumerate(networks)
        },
        "volumes": {name: {"name": name} for name in volumes},
    }


def variants(base: dict[str, Any], images: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The project unchanged, with one changed value (the application's log level), and with the next version's application `images`."""
    changed, following = deepcopy(base), deepcopy(base)
    for name, image in images.items():
        changed["services"][name]["environment"]["LOG_LEVEL"] = "debug" if name == "frontend" else "DEBUG"
        following["services"][name]["image"] = image
    return {"base": base, "changed": changed, "next": following}


def _naive(variant: dict[str, Any]) -> dict[str, Any]:
    """The project in the words of community.docker."""
    reported = deepcopy(variant)
    for one in reported["services"].values():
        one["networks"] = [{"name": name, **settings} for name, settings in one["networks"].items()]
        one["ports"] = [f"{port['host_ip']}:{port['published']}:{port['target']}" for port in one["ports"]]
    return reported


def write(peer: str, name: str, variant: dict[str, Any]) -> Path:
    """A variant where the peer reads it: a Compose file, or variables for naive.yml."""
    WORK.mkdir(parents=True, exist_ok=True)
    path = WORK / f"{peer}-{name}.json"
    reported = variant if peer == "compose" else {"naive_project": _naive(variant)}
    path.write_text(json.dumps(reported, indent=1))
    return path
