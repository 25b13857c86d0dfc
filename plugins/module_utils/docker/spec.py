"""Convert a service in the terms of the Compose specification to the Engine API's container body, and compare such a body with an
inspected container. Pure functions: no engine is needed to test them.

Keys of a service (all but `name` and `image` optional; https://github.com/compose-spec/compose-spec/blob/main/05-services.md):
name, image, command, entrypoint, user, environment {NAME: value}, labels {name: value}, read_only, tmpfs [path[:options]],
cap_add, cap_drop, security_opt, mem_limit (bytes, or with k, m, g), memswap_limit, cpus (cores), cpu_shares, pids_limit, restart,
networks [{name, aliases, links {host: container}}], expose [port], mounts [{type, source, target, read_only}],
ports [{host_ip, published, target}], healthcheck {test, interval, timeout, start_period, start_interval (seconds), retries},
logging {driver, options}, ulimits {name: {soft, hard}},
stop_grace_period (seconds), init, extra_hosts, shm_size.
"""

from __future__ import annotations

from typing import Any

from .ownership import CREATED

NANO = 1_000_000_000
UNITS = {"": 1, "b": 1, "k": 1024, "m": 1024**2, "g": 1024**3}
KEYS = frozenset(
    {
        "name", "image", "command", "entrypoint", "user", "environment", "labels", "read_only", "tmpfs", "cap_add", "cap_drop",
        "security_opt", "mem_limit", "memswap_limit", "cpus", "cpu_shares", "pids_limit", "restart", "networks", "mounts", "ports",
        "expose", "healthcheck", "logging", "ulimits", "stop_grace_period", "init", "extra_hosts", "shm_size",
    }
)  # fmt: skip
# Keys that can be changed on a running container (POST /containers/{id}/update); all others need a new one.
UPDATABLE = ("Memory", "MemorySwap", "NanoCpus", "CpuShares", "PidsLimit", "RestartPolicy")


class SpecError(ValueError):
    """An invalid service description; the message names service and key."""


def size(value: Any) -> int:
    """Bytes of `256m`, `1g`, `1048576`; 0 for an empty value."""
    if value in (None, ""):
        return 0
    text = str(value).strip().lower().removesuffix("b") if not isinstance(value, int) else str(value)
    number, unit = (text[:-1], text[-1]) if text and text[-1] in "kmg" else (text, "")
    try:
        return int(float(number) * UNITS[unit])
    except ValueError as error:
        raise SpecError(f"{value!r} is not a size: write bytes, or a number with k, m or g, for example 256m") from error


def _restart(policy: str) -> dict[str, Any]:
    name, _, count = policy.partition(":")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}


def _healthcheck(spec: dict[str, Any] | None, inherited: dict[str, Any] | None) -> dict[str, Any] | None:
    """The image's health check merged with the service's; durations in nanoseconds."""
    merged = dict(inherited or {})
    for key, name in (
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start_period", "StartPeriod"),
        ("start_interval", "StartInterval"),
    ):
        if spec and spec.get(key) is not None:
            merged[name] = int(float(spec[key]) * NANO)
    if spec and spec.get("retries") is not None:
        merged["Retries"] = int(spec["retries"])
    if spec and spec.get("test") is not None:
        merged["Test"] = list(spec["test"])
    return merged or None


def mount_body(mount: dict[str, Any]) -> dict[str, Any]:
    """A mount in the terms of the Engine API."""
    return {
        "Type": mount.get("type", "bind"),
        "Source": mount["source"],
        "Target": mount["target"],
        "ReadOnly": bool(mount.get("read_only", False)),
    }


def _tmpfs(entries: list[str]) -> dict[str, str]:
    return dict(entry.partition(":")[::2] for entry in entries)


def container_body(spec: dict[str, Any], image: dict[str, Any]) -> dict[str, Any]:
    """The body of POST /containers/create for `spec`.

    `image`: the inspected image (GET /images/{name}/json). The body contains the environment, command, user and health check that the
    container inherits from it, so that they can be compared later.
    """
    unknown = sorted(set(spec) - KEYS)
    if unknown:
        raise SpecError(f"service {spec.get('name')}: unknown key {', '.join(unknown)}; valid keys: {', '.join(sorted(KEYS))}")
    config = image.get("Config") or {}
    inherited = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    environment = inherited | {str(k): str(v) for k, v in (spec.get("environment") or {}).items() if v is not None}
    networks = {network["name"]: _endpoint(network) for network in spec.get("networks") or []}
    ports = spec.get("ports") or []
    memory = size(spec.get("mem_limit"))
    logging = spec.get("logging") or {}
    return {
        "Image": image.get("Id") or spec["image"],
        "Env": sorted(f"{name}={value}" for name, value in environment.items()),
        "Entrypoint": spec.get("entrypoint", config.get("Entrypoint")),
        "Cmd": spec.get("command", config.get("Cmd") if "entrypoint" not in spec else None),
        "User": str(spec.get("user", config.get("User") or "")),
        "Labels": (config.get("Labels") or {}) | {str(k): str(v) for k, v in (spec.get("labels") or {}).items()},
        "Healthcheck": _healthcheck(spec.get("healthcheck"), config.get("Healthcheck")),
        "StopTimeout": spec.get("stop_grace_period"),
        "ExposedPorts": (config.get("ExposedPorts") or {})
        | {f"{port}/tcp": {} for port in (*(p["target"] for p in ports), *(spec.get("expose") or []))},
        "HostConfig": {
            "ReadonlyRootfs": bool(spec.get("read_only", False)),
            "Tmpfs": _tmpfs(spec.get("tmpfs") or []),
            "CapAdd": sorted(spec.get("cap_add") or []),
            "CapDrop": sorted(spec.get("cap_drop") or []),
            "SecurityOpt": sorted(spec.get("security_opt") or []),
            "Privileged": False,
            "Memory": memory,
            "MemorySwap": size(spec["memswap_limit"]) if "memswap_limit" in spec else memory,
            "NanoCpus": int(float(spec.get("cpus") or 0) * NANO),
            "CpuShares": int(spec.get("cpu_shares") or 0),
            "PidsLimit": int(spec.get("pids_limit") or 0),
            "RestartPolicy": _restart(spec.get("restart", "no")),
            "Mounts": sorted((mount_body(m) for m in spec.get("mounts") or []), key=lambda m: m["Target"]),
            "PortBindings": {f"{p['target']}/tcp": [{"HostIp": p.get("host_ip", ""), "HostPort": str(p["published"])}] for p in ports},
            "LogConfig": {"Type": logging.get("driver", ""), "Config": {k: str(v) for k, v in (logging.get("options") or {}).items()}},
            "Ulimits": sorted(
                ({"Name": n, "Soft": int(v["soft"]), "Hard": int(v["hard"])} for n, v in (spec.get("ulimits") or {}).items()),
                key=lambda u: u["Name"],
            ),
            "Init": spec.get("init"),
            "ExtraHosts": sorted(spec.get("extra_hosts") or []),
            "ShmSize": size(spec.get("shm_size")),
            "NetworkMode": next(iter(networks), "none"),
        },
        "NetworkingConfig": {"EndpointsConfig": networks},
    }


def _endpoint(network: dict[str, Any]) -> dict[str, Any]:
    """A network's settings in the terms of the Engine API. `links`: names that only this container resolves, to another one's address."""
    links = sorted(f"{container}:{host}" for host, container in (network.get("links") or {}).items())
    return {"Aliases": sorted(network.get("aliases") or [])} | ({"Links": links} if links else {})


def _normal(key: str, value: Any) -> Any:
    """Normalize what the engine writes in several ways: no value, an empty value, another order, a CAP_ prefix."""
    if key in ("CapAdd", "CapDrop"):
        return sorted(item.removeprefix("CAP_") for item in value or [])
    if key in ("Env", "SecurityOpt", "ExtraHosts"):
        return sorted(value or [])
    if key == "Mounts":
        return sorted((_mount_from_engine(m) for m in value or []), key=lambda m: m["Target"])
    if key == "Ulimits":
        return sorted(value or [], key=lambda u: u["Name"])
    if key == "RestartPolicy" and value:
        return {"Name": value["Name"] or "no", "MaximumRetryCount": value["MaximumRetryCount"]}
    if value in (None, "", [], {}, 0, False):
        return None
    return value


def _mount_from_engine(mount: dict[str, Any]) -> dict[str, Any]:
    return {
        "Type": mount["Type"],
        "Source": mount.get("Source", ""),
        "Target": mount["Target"],
        "ReadOnly": bool(mount.get("ReadOnly", False)),
    }


def differences(body: dict[str, Any], actual: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Where a desired container differs from the inspected one: {key: (actual, desired)}; for networks see `network_changes`.

    Values that the service leaves to the engine (log driver, shared memory size) are not compared.
    """
    config, host = actual["Config"], actual["HostConfig"]
    found: dict[str, tuple[Any, Any]] = {}

    def compare(key: str, was: Any, desired: Any) -> None:
        was, desired = _normal(key, was), _normal(key, desired)
        if was != desired:
            found[key] = (was, desired)

    compare("Image", actual["Image"], body["Image"])
    # Set at creation. A container of an earlier Berth lacks this label, which is no difference.
    config = config | {"Labels": {key: value for key, value in (config.get("Labels") or {}).items() if key != CREATED}}
    for key in ("Env", "Entrypoint", "Cmd", "User", "Labels", "Healthcheck", "StopTimeout"):
        compare(key, config.get(key), body[key])
    for key, desired in body["HostConfig"].items():
        left_to_engine = (key == "LogConfig" and not desired["Type"]) or (key == "ShmSize" and not desired) or key == "NetworkMode"
        if not left_to_engine:
            compare(key, host.get(key), desired)
    return found


def network_changes(body: dict[str, Any], actual: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(networks to join {name: endpoint settings}, networks to leave) of an existing container."""
    desired = body["NetworkingConfig"]["EndpointsConfig"]
    joined = actual["NetworkSettings"]["Networks"] or {}
    own = {actual["Id"][:12], actual["Name"].lstrip("/")}

    def same(name: str) -> bool:
        end = joined.get(name) or {}
        # The endpoint of a network that was removed and created again keeps the name with an invalid id.
        names = set(end.get("Aliases") or []) - own == set(desired[name]["Aliases"])
        return bool(end.get("EndpointID")) and names and set(end.get("Links") or []) == set(desired[name].get("Links") or [])

    join = {name: settings for name, settings in desired.items() if not same(name)}
    leave = [name for name in joined if name != "none" and (name not in desired or name in join)]
    return join, leave
