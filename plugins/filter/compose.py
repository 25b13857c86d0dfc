"""Write the roles' descriptions of their containers as a Compose file.

The keys are Compose's already (module_utils/docker/spec.py); only a few values are written differently.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

from ..module_utils.settings.environment import ValueRefused, texts

GROUPS = ("infrastructure", "migrations", "app", "edge")
# Order of a service's keys; all others follow unchanged.
ORDER = ("image", "entrypoint", "command", "user", "environment", "depends_on", "networks", "ports", "volumes", "tmpfs", "healthcheck")
WRITTEN_OTHERWISE = {"name", "healthcheck", "networks", "mounts", "stop_grace_period", "memswap_limit", "ports", "restart"}
# Every dollar except those of variables in the file.
DOLLAR = re.compile(r"\$(?!\{[A-Z_]+:-[^}]*\})")


def _seconds(value: Any) -> str:
    """5 -> 5s, 0.5 -> 500ms."""
    number = float(value)
    return f"{int(number)}s" if number == int(number) else f"{int(number * 1000)}ms"


def _short(name: str, stack: str) -> str:
    """The name of a network or volume in its project, without the project's prefix."""
    return name.removeprefix(f"{stack}-")


def _map(value: Any, change: Any) -> Any:
    """`value` with every string in it changed."""
    if isinstance(value, dict):
        return {key: _map(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map(item, change) for item in value]
    return change(value) if isinstance(value, str) else value


def _by_service(value: Any, names: dict[str, str]) -> Any:
    """`value` with names of containers replaced by their services: http://berth-frontend-v1:3000 -> http://frontend:3000."""

    def change(text: str) -> str:
        for container, service in names.items():
            text = re.sub(rf"(?<![\w-]){re.escape(container)}(?![\w-])", service, text)
        return text

    return _map(value, change)


def _mount(mount: dict[str, Any], stack: str) -> dict[str, Any]:
    if mount.get("type", "bind") == "bind":
        # A missing source is an error; do not create an empty directory owned by root.
        return mount | {"bind": {"create_host_path": False}}
    return mount | {"source": _short(mount["source"], stack)}


def _healthcheck(check: dict[str, Any]) -> dict[str, Any]:
    if check.get("test") == ["NONE"]:
        return {"disable": True}
    return {key: value if key in ("test", "retries") else _seconds(value) for key, value in check.items()}


def as_compose_service(name: str, spec: dict[str, Any], stack: str, names: dict[str, str]) -> dict[str, Any]:
    """The Compose service `name` of a container's description; `names`: the service of each container."""
    service = {key: value for key, value in spec.items() if key not in WRITTEN_OTHERWISE and value not in (None, [], {}, "")}
    if "environment" in service:
        # Compose takes a variable without a value from its own environment.
        try:
            service["environment"] = texts(service["environment"], f"environment of {name}")
        except ValueRefused as error:
            raise AnsibleFilterError(str(error)) from error
    service |= {key: _by_service(service[key], names) for key in ("environment", "command", "entrypoint") if key in service}
    service |= {
        "pull_policy": "never",
        "restart": spec.get("restart", "no"),
        # No swap, as for the roles' containers.
        "memswap_limit": spec.get("memswap_limit", spec.get("mem_limit", 0)),
        "healthcheck": _healthcheck(spec.get("healthcheck") or {}),
        "networks": {},
    }
    for network in spec.get("networks") or []:
        aliases = [alias for alias in network.get("aliases") or [] if alias != name]
        service["networks"][_short(network["name"], stack)] = {"aliases": aliases} if aliases else {}
        if links := [f"{names.get(container, container)}:{host}" for host, container in (network.get("links") or {}).items()]:
            service["links"] = links
    if spec.get("expose"):
        service["expose"] = [str(port) for port in spec["expose"]]
    if spec.get("stop_grace_period") is not None:
        service["stop_grace_period"] = _seconds(spec["stop_grace_period"])
    if spec.get("mounts"):
        service["volumes"] = [_mount(mount, stack) for mount in spec["mounts"]]
    if spec.get("ports"):
        service["ports"] = [port | {"published": str(port["published"])} for port in spec["ports"]]
    escaped: dict[str, Any] = _map(service, lambda text: DOLLAR.sub("$$", text))
    return escaped


def _owned(spec: dict[str, Any], stack: str, tag: str) -> dict[str, Any]:
    """The container with the labels of the local stack, and its image with the fixed tag."""
    labels = spec["labels"] | {"berth.stack": f"{stack}-compose", "berth.version": tag}
    return spec | {"image": f"{spec['image'].rpartition(':')[0]}:{tag}", "labels": labels}


def _once(spec: dict[str, Any]) -> dict[str, Any]:
    """A migration's container, without the network aliases of its service."""
    return spec | {"networks": [{"name": network["name"]} for network in spec["networks"]]}


def _waits(groups: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The dependencies of each service: {service: depends_on}."""
    done = {"condition": "service_completed_successfully"}
    needs = _ready(groups["infrastructure"])
    waits = dict.fromkeys(groups["migrations"], needs)
    for name, spec in groups["app"].items():
        # Another process of an image waits for the migration of the service with the same image.
        own = [migration for migration, other in groups["migrations"].items() if other["image"] == spec["image"]]
        waits[name] = needs | dict.fromkeys(own, done)
    return waits | dict.fromkeys(groups["edge"], _ready(groups["app"]))


def _ready(services: dict[str, Any]) -> dict[str, dict[str, str]]:
    """When to go on: services are healthy, or, where they have no health check, started."""
    unchecked = {name for name, spec in services.items() if (spec.get("healthcheck") or {}).get("test") == ["NONE"]}
    return {name: {"condition": "service_started" if name in unchecked else "service_healthy"} for name in services}


def _network(network: dict[str, Any]) -> dict[str, Any]:
    """A network with or without internet access, as created by module_utils/docker/reconcile.py."""
    options: dict[str, Any] = {"internal": bool(network.get("internal"))}
    driver = dict(network.get("options") or {})
    if not network.get("way_out", True):
        driver["com.docker.network.bridge.enable_ip_masquerade"] = "false"
    return options | ({"driver_opts": driver} if driver else {})


def as_compose(given: dict[str, Any]) -> dict[str, Any]:
    """The Compose document of a stack.

    `given`: stack (its name), tag (of every image), networks (network_networks), and descriptions of containers (filters as_container
    and as_migration): infrastructure (dependencies of the application), migrations, app (backend and frontend), edge.
    """
    stack, tag = given["stack"], given["tag"]
    groups = {group: {spec["labels"]["berth.service"]: _owned(spec, stack, tag) for spec in given[group]} for group in GROUPS}
    names = {spec["name"]: name for group in ("infrastructure", "app", "edge") for name, spec in groups[group].items()}
    groups["migrations"] = {f"{name}-migration": _once(spec) for name, spec in groups["migrations"].items()}
    waits = _waits(groups)
    services = {}
    for name, spec in (item for group in GROUPS for item in groups[group].items()):
        service = as_compose_service(name, spec, stack, names) | ({"depends_on": waits[name]} if waits.get(name) else {})
        services[name] = {key: service[key] for key in (*ORDER, *service) if key in service}
    volumes = {mount["source"] for service in services.values() for mount in service.get("volumes", []) if mount["type"] == "volume"}
    return {
        "name": f"{stack}-compose",
        "services": services,
        "networks": {_short(network["name"], stack): _network(network) for network in given["networks"]},
        "volumes": {name: {} for name in sorted(volumes)},
    }


def compose_yaml(document: dict[str, Any]) -> str:
    """A Compose document as text; keys that all services share are written once, under an anchor."""
    # Convert Ansible's tagged strings to plain ones.
    document = json.loads(json.dumps(document))
    services = document["services"]
    first = next(iter(services.values()))
    alike = {key: value for key, value in first.items() if all(s.get(key) == value for s in services.values())}
    written = {
        "x-all": alike,
        **document,
        "services": {name: {"<<": "all"} | {k: v for k, v in service.items() if k not in alike} for name, service in services.items()},
    }
    text = yaml.safe_dump(written, sort_keys=False, width=150, allow_unicode=True)
    return re.sub(r"^x-all:$", "x-all: &all", text, flags=re.M).replace("'<<': all", "<<: *all")


class FilterModule:
    """Filters of the role compose."""

    def filters(self) -> dict[str, object]:
        return {"as_compose": as_compose, "compose_yaml": compose_yaml}
