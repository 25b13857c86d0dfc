"""From what a role says of its service to the whole description of its container."""

from __future__ import annotations

from typing import Any

# What a service says that is not a key of the container: how it is named in labels, which image and secrets it has.
OWN = ("service", "repository", "tag", "secrets")


def as_container(service: dict[str, Any], common: dict[str, Any], version: str) -> dict[str, Any]:
    """The container of `service`, hardened as all are.

    `service` has name, service, repository and, optionally, tag (default: version), secrets (a directory on the host,
    mounted read-only at /run/secrets) and any key of module_utils/container_spec.py, which wins over `common`.
    """
    spec = {key: value for key, value in common.items()} | {key: value for key, value in service.items() if key not in OWN}
    spec["image"] = f"{service['repository']}:{service.get('tag') or version}"
    spec["labels"] = (
        common.get("labels", {})
        | service.get("labels", {})
        | {
            "berth.service": service["service"],
            "berth.version": service.get("tag") or version,
        }
    )
    spec["tmpfs"] = list(common.get("tmpfs", [])) + list(service.get("tmpfs", []))
    mounts = list(service.get("mounts", []))
    if service.get("secrets"):
        mounts.append({"type": "bind", "source": service["secrets"], "target": "/run/secrets", "read_only": True})
    spec["mounts"] = mounts
    spec["healthcheck"] = common.get("healthcheck", {}) | service.get("healthcheck", {})
    return spec


def image_name(image: dict[str, str]) -> str:
    """repository:tag of an image."""
    return f"{image['repository']}:{image['tag']}"


def built_line(result: dict[str, Any]) -> str:
    """One line about an image: name, short digest, size in MB (decimal, as `docker images` counts) and layers."""
    service = result["item"]
    return (
        f"{service['repository']}:{result['invocation']['module_args']['tag']}  {result['id'].removeprefix('sha256:')[:12]}  "
        f"{result['size'] / 1e6:.1f} MB  {result['layers']} layers"
    )


def story_line(step: dict[str, Any]) -> str:
    """One line about a step of the verification's story."""
    return f"{step['step']}: {step['evidence']} ({step['seconds']} s)"


class FilterModule:
    """Filters of the role container."""

    def filters(self) -> dict[str, object]:
        return {"image_name": image_name, "as_container": as_container, "built_line": built_line, "story_line": story_line}
