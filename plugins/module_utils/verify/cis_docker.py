"""Section 5 of the CIS Docker Benchmark 1.6 (container runtime), as docker-bench-security 1.6 reads it, for one container.

It reads the engine's description of the container; nothing runs inside. Each automated recommendation is a
pass (+1 of the score) or a warning (-1); the manual ones are left to the reader, and do not count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Tree = dict[str, Any]
# Recommendation -> what it requires, and whether `inspected` (GET /containers/{id}/json) with `host` (its HostConfig) has it.
RECOMMENDATIONS: dict[str, tuple[str, Callable[[Tree, Tree], bool]]] = {
    "5.2": ("an AppArmor profile", lambda c, h: c.get("AppArmorProfile", "") not in ("", "unconfined")),
    "5.3": ("security options", lambda c, h: bool(h.get("SecurityOpt"))),
    "5.4": ("no capability added", lambda c, h: not h.get("CapAdd")),
    "5.5": ("not privileged", lambda c, h: not h.get("Privileged")),
    "5.6": ("no directory of the system mounted writable", lambda c, h: not _system_mounts(c)),
    "5.7": ("no sshd", lambda c, h: not any("sshd" in word for word in [*(c["Config"].get("Cmd") or []), c.get("Path", "")])),
    "5.8": ("no port below 1024 published", lambda c, h: all(port >= 1024 for _, port in _published(h))),
    "5.9": ("no port published", lambda c, h: not _published(h)),
    "5.10": ("not the host's network", lambda c, h: h.get("NetworkMode") != "host"),
    "5.11": ("a limit of memory", lambda c, h: h.get("Memory", 0) > 0),
    "5.12": ("CPU shares", lambda c, h: h.get("CpuShares", 0) > 0),
    "5.13": ("a read-only root", lambda c, h: bool(h.get("ReadonlyRootfs"))),
    "5.14": ("ports published on one address", lambda c, h: all(address not in ("", "0.0.0.0", "::") for address, _ in _published(h))),
    "5.15": ("five restarts at most where they are counted", lambda c, h: h["RestartPolicy"].get("MaximumRetryCount", 0) <= 5),
    "5.16": ("not the host's processes", lambda c, h: h.get("PidMode") != "host"),
    "5.17": ("not the host's IPC", lambda c, h: h.get("IpcMode") != "host"),
    "5.18": ("no device", lambda c, h: not h.get("Devices")),
    "5.19": ("limits of files and core dumps", lambda c, h: {"core", "nofile"} <= {u["Name"] for u in h.get("Ulimits") or []}),
    "5.20": ("no shared mount propagation", lambda c, h: all("shared" not in m.get("Propagation", "") for m in c["Mounts"])),
    "5.21": ("not the host's name", lambda c, h: h.get("UTSMode") != "host"),
    "5.22": ("the seccomp profile", lambda c, h: not any(o.endswith("unconfined") and "seccomp" in o for o in h.get("SecurityOpt") or [])),
    "5.25": ("the engine's cgroup", lambda c, h: not h.get("CgroupParent")),
    "5.26": ("no new privileges", lambda c, h: "no-new-privileges" in str(h.get("SecurityOpt"))),
    "5.27": ("a health check that passes", lambda c, h: (c["State"].get("Health") or {}).get("Status") == "healthy"),
    "5.29": ("a limit of processes", lambda c, h: (h.get("PidsLimit") or 0) > 0),
    "5.30": ("not the default bridge", lambda c, h: "bridge" not in c["NetworkSettings"]["Networks"]),
    "5.31": ("not the host's users", lambda c, h: h.get("UsernsMode") != "host"),
    "5.32": ("no socket of the engine", lambda c, h: not any("docker.sock" in m.get("Source", "") for m in c["Mounts"])),
}
# Recommendations that a person must rate: docker-bench-security prints them without counting them. 5.1 asks for the engine, 5.23, 5.24
# and 5.28 for what people type.
MANUAL = frozenset({"5.9", "5.18", "5.19", "5.30"})
SYSTEM = frozenset({"/", "/boot", "/dev", "/etc", "/lib", "/proc", "/sys", "/usr"})


def _published(host: Tree) -> list[tuple[str, int]]:
    return [
        (binding.get("HostIp", ""), int(binding.get("HostPort") or 0))
        for bindings in (host.get("PortBindings") or {}).values()
        for binding in bindings or []
    ]


def _system_mounts(inspected: Tree) -> list[str]:
    return [m["Source"] for m in inspected["Mounts"] if m.get("RW") and m.get("Source") in SYSTEM]


def warnings(inspected: Tree) -> dict[str, str]:
    """Recommendation -> what it requires, for those that the container does not follow."""
    host = inspected["HostConfig"]
    return {number: requirement for number, (requirement, follows) in RECOMMENDATIONS.items() if not follows(inspected, host)}


def score(warned: dict[str, str]) -> int:
    """The score: +1 for each automated recommendation that is followed, -1 for each that is not."""
    counted = set(RECOMMENDATIONS) - MANUAL
    return len(counted) - 2 * len(counted & set(warned))
