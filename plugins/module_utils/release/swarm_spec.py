"""From a service in the words of the Compose specification to a Swarm service of the Engine API; and whether a service is as wanted.

The words are those of module_utils/docker/spec.py, so that a release is described once, whichever engine runs it. Two of them mean
something else here: a directory that is mounted at /run/secrets becomes Swarm secrets, one for each of its files, and the container's name,
which ends in the release's, becomes the service's without it: a service outlives its releases.
"""

from __future__ import annotations

import hashlib
from typing import Any

from ..docker.spec import KNOWN, NANO, SpecError, container_body, mount_body, size

SECRETS = "/run/secrets"
# What a service cannot have: an engine would take it for one host's.
FOREIGN = ("ports", "extra_hosts", "shm_size")


def service_name(spec: dict[str, Any], release: str) -> str:
    """The name of the service that runs `spec`, a container of `release`."""
    return spec["name"].removesuffix(f"-{release}")


def secrets_directory(spec: dict[str, Any]) -> str:
    """The directory on the host whose files the container finds in /run/secrets; empty for none."""
    return next((mount["source"] for mount in spec.get("mounts") or [] if mount["target"] == SECRETS), "")


def secret_name(service: str, file: str, content: bytes) -> str:
    """Swarm secrets cannot be changed: another content is another secret. At most 64 characters, as the engine wants."""
    short = hashlib.sha256(content).hexdigest()[:12]
    return f"{service[:30]}-{file[:20]}-{short}"


def _tmpfs(target: str, options: str) -> dict[str, Any]:
    """A tmpfs as a mount; noexec, nosuid and nodev are what the engine gives it anyway."""
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

    `networks` has the id of each network by its name, `secrets` the id and name of each Swarm secret by its file in /run/secrets.
    `settings`: replicas, constraints (placement), endpoint_mode, monitor (seconds that an updated task is watched), parallelism (tasks
    that are updated at once; 0 for all).
    """
    unknown = sorted(set(spec) - KNOWN)
    refused = [key for key in FOREIGN if spec.get(key)]
    if unknown or refused:
        raise SpecError(f"service {spec.get('name')}: {', '.join(unknown + refused)} cannot be given to a Swarm service")
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
        # The service's own labels name no release: they stay when it changes.
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


def unlike(wanted: Any, actual: Any, path: str = "") -> list[str]:
    """Where the service's specification `actual` is not what is `wanted`; what the engine adds of its own is not looked at."""
    if isinstance(wanted, dict):
        there = actual if isinstance(actual, dict) else {}
        return [found for key, value in wanted.items() for found in unlike(value, there.get(key), f"{path}.{key}".lstrip("."))]
    if wanted in (None, "", 0, False, [], {}) and actual in (None, "", 0, False, [], {}):
        return []
    if isinstance(wanted, list) and isinstance(actual, list) and len(wanted) == len(actual):
        return [found for w, a in zip(wanted, actual, strict=True) for found in unlike(w, a, path)]
    return [] if wanted == actual else [path]
