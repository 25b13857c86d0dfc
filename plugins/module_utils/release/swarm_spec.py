"""Convert a service in the terms of the Compose specification to a Swarm service of the Engine API, and compare it with an existing one.

The keys are those of module_utils/docker/spec.py, so that a release has one description for both engines. Two of them differ: a directory
mounted at /run/secrets becomes Swarm secrets, one for each file, and the service's name is the container's without the release,
because a service outlives its releases.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ..docker.spec import KEYS, NANO, SpecError, container_body, mount_body, size

SECRETS = "/run/secrets"
# Keys that a Swarm service cannot have, because they concern one host.
FOREIGN = ("ports", "extra_hosts", "shm_size")


def service_name(spec: dict[str, Any], release: str) -> str:
    """The name of the service that runs `spec`, a container of `release`."""
    return str(spec["name"]).removesuffix(f"-{release}")


def secrets_directory(spec: dict[str, Any]) -> str:
    """The directory on the host that is mounted at /run/secrets; empty for none."""
    return next((mount["source"] for mount in spec.get("mounts") or [] if mount["target"] == SECRETS), "")


def secret_name(service: str, file: str, content: bytes) -> str:
    """The name of a Swarm secret (at most 64 characters). It contains a hash, because secrets cannot be changed."""
    short = hashlib.sha256(content).hexdigest()[:12]
    return f"{service[:30]}-{file[:20]}-{short}"


def _tmpfs(target: str, options: str) -> dict[str, Any]:
    """A tmpfs as a mount; the engine sets noexec, nosuid and nodev by default."""
    words = dict(word.partition("=")[::2] for word in options.split(",") if word)
    made: dict[str, Any] = {}
    if words.get("size"):
        made["SizeBytes"] = size(words["size"])
    if words.get("mode"):
        made["Mode"] = int(words["mode"], 8)
    return {"Type": "tmpfs", "Target": target, "TmpfsOptions": made}


def service_body(
    spec: dict[str, Any],
    release: str,
    networks: dict[str, str],
    secrets: dict[str, dict[str, str]],
    settings: dict[str, Any],
) -> dict[str, Any]:
    """The body of POST /services/create.

    `networks`: the id of each network by its name. `secrets`: the id and name of each Swarm secret by its file in /run/secrets.
    `settings`: replicas, constraints (placement), endpoint_mode, monitor (seconds to monitor an updated task), parallelism (tasks
    to update at once; 0 for all).
    """
    unknown = sorted(set(spec) - KEYS)
    refused = [key for key in FOREIGN if spec.get(key)]
    if unknown or refused:
        raise SpecError(f"service {spec.get('name')}: a Swarm service cannot have {', '.join(unknown + refused)}")
    one = container_body(spec, {})
    host = one["HostConfig"]
    user, _, group = str(spec.get("user") or "0").partition(":")
    policy = {"no": "none", "on-failure": "on-failure"}.get(host["RestartPolicy"]["Name"], "any")
    update = {
        "Parallelism": settings["parallelism"],
        "Monitor": int(settings["monitor"] * NANO),
        "FailureAction": "rollback",
        "Order": "start-first",
    }
    return {
        "Name": service_name(spec, release),
        # The service's own labels do not name the release: they stay the same in every release.
        "Labels": {key: value for key, value in one["Labels"].items() if key in ("berth.stack", "berth.service")},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": spec["image"],
                "Labels": one["Labels"],
                "Command": one["Entrypoint"] or None,
                "Args": one["Cmd"] or None,
                "Env": one["Env"],
                "User": one["User"],
                "Init": host["Init"],
                "ReadOnly": host["ReadonlyRootfs"],
                "StopGracePeriod": int(one["StopTimeout"] or 10) * NANO,
                "Healthcheck": one["Healthcheck"],
                "CapabilityAdd": host["CapAdd"],
                "CapabilityDrop": host["CapDrop"],
                "Privileges": {"NoNewPrivileges": "no-new-privileges" in host["SecurityOpt"]},
                "Ulimits": host["Ulimits"],
                "Mounts": [
                    *(mount_body(mount) for mount in spec.get("mounts") or [] if mount["target"] != SECRETS),
                    *(_tmpfs(target, options) for target, options in host["Tmpfs"].items()),
                ],
                "Secrets": [
                    {
                        "SecretID": secret["id"],
                        "SecretName": secret["name"],
                        "File": {"Name": file, "UID": user, "GID": group or user, "Mode": 0o400},
                    }
                    for file, secret in sorted(secrets.items())
                ],
            },
            "Resources": {
                "Limits": {"NanoCPUs": host["NanoCpus"], "MemoryBytes": host["Memory"], "Pids": host["PidsLimit"]},
            },
            "RestartPolicy": {"Condition": policy, "Delay": NANO},
            "Placement": {
                "Constraints": settings["constraints"],
                "Preferences": [{"Spread": {"SpreadDescriptor": "node.id"}}],
            },
            "Networks": [
                {"Target": networks[network["name"]], "Aliases": sorted(network.get("aliases") or [])} for network in spec["networks"]
            ],
            "LogDriver": {"Name": host["LogConfig"]["Type"] or "json-file", "Options": host["LogConfig"]["Config"]},
        },
        "Mode": {"Replicated": {"Replicas": settings["replicas"]}},
        "UpdateConfig": update,
        "RollbackConfig": update | {"FailureAction": "pause"},
        "EndpointSpec": {"Mode": settings["endpoint_mode"]},
    }


def differing_paths(desired: Any, actual: Any, path: str = "") -> list[str]:
    """Paths where the specification `actual` differs from `desired`; keys that the engine adds are not compared."""
    if isinstance(desired, dict):
        existing = actual if isinstance(actual, dict) else {}
        return [found for key, value in desired.items() for found in differing_paths(value, existing.get(key), f"{path}.{key}".lstrip("."))]
    if desired in (None, "", 0, False, [], {}) and actual in (None, "", 0, False, [], {}):
        return []
    if isinstance(desired, list) and isinstance(actual, list) and len(desired) == len(actual):
        return [found for w, a in zip(desired, actual, strict=True) for found in differing_paths(w, a, path)]
    return [] if desired == actual else [path]
