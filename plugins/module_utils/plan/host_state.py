"""What a host has of a stack now, each thing as a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..docker.client import Engine, EngineError
from ..docker.ownership import stack_containers
from ..state.store import Store
from .differences import (
    EDGE,
    IMAGE_BACKEND,
    IMAGE_FRONTEND,
    IMAGE_INFRASTRUCTURE,
    INFRASTRUCTURE,
    RELEASE,
    UNHEALTHY,
    Difference,
    Hashes,
    Item,
)

CONFIG = ("Env", "Entrypoint", "Cmd", "User", "Labels", "Healthcheck", "StopTimeout", "ExposedPorts", "Image")
APPLICATION = ("backend", "frontend")


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def container(actual: dict[str, Any]) -> dict[str, Any]:
    """What of an inspected container somebody may have changed; not what changes by itself."""
    state, own = actual["State"], {actual["Id"][:12], actual["Name"].lstrip("/")}
    joined = (actual["NetworkSettings"]["Networks"] or {}).items()
    return {
        "image": actual["Image"],
        "config": {key: actual["Config"].get(key) for key in CONFIG},
        "host": actual["HostConfig"],
        "networks": {
            name: [end.get("NetworkID"), bool(end.get("EndpointID")), sorted(set(end.get("Aliases") or []) - own)] for name, end in joined
        },
        "state": [state["Status"], (state.get("Health") or {}).get("Status")],
    }


def healthy(actual: dict[str, Any]) -> bool:
    """Whether a container runs, and is healthy where it has a health check."""
    state: dict[str, Any] = actual["State"]
    return [state["Status"], (state.get("Health") or {}).get("Status", "healthy")] == ["running", "healthy"]


def tree(path: Path, component: str) -> Iterator[tuple[Item, str]]:
    """A hash over owner, mode and content of a file, or of all in a directory."""
    item = Item(component, "file", str(path))
    if path.is_symlink() or not path.exists():
        yield item, str(path.readlink()) if path.is_symlink() else "missing"
        return
    status = path.stat()
    yield item, digest([status.st_mode, status.st_uid, status.st_gid, path.read_bytes().hex() if path.is_file() else None])
    if path.is_dir():
        for child in sorted(path.iterdir()):
            yield from tree(child, component)


def image_component(service: str) -> str:
    return {"backend": IMAGE_BACKEND, "frontend": IMAGE_FRONTEND}.get(service, IMAGE_INFRASTRUCTURE)


def images(engine: Engine, named: Mapping[str, str]) -> Hashes:
    """The ids of images, {name: component}."""
    return {Item(kind, "image", name): (engine.find(f"/images/{name}/json") or {}).get("Id", "missing") for name, kind in named.items()}


class HostState:
    """What the host has besides images, in `hashes`; `unhealthy` are differences by themselves.

    `files` is {path: component}; `probes` are commands in containers whose answer counts, each component, object, container and command.
    `settled`: containers of another release, which are about to leave, do not count.
    """

    def __init__(
        self, engine: Engine, store: Store, stack: str, files: Mapping[str, str], probes: list[dict[str, Any]], settled: bool = False
    ) -> None:
        self.engine, self.store, self.labels, self.settled = engine, store, {"berth.stack": stack}, settled
        self.unhealthy: list[Difference] = []
        self.manifest = store.manifest(store.current)
        self.services = {*APPLICATION, *((self.manifest.get("around") or {}).get("services") or [])}
        self.hashes: Hashes = dict(self._all(files, probes))

    def _all(self, files: Mapping[str, str], probes: list[dict[str, Any]]) -> Iterator[tuple[Item, str]]:
        for path, component in files.items():
            yield from tree(Path(path), component)
        yield Item(RELEASE, "current", ""), self.store.current
        yield Item(RELEASE, "manifest", ""), digest(self.manifest)
        yield from self._containers()
        for network in self.engine.listing("networks", self.labels):
            parts = [network[key] for key in ("Id", "Driver", "Internal", "Options", "Labels")]
            yield Item(INFRASTRUCTURE, "network", network["Name"]), digest(parts)
        for volume in self.engine.listing("volumes", self.labels):
            parts = [volume[key] for key in ("Driver", "Labels", "Options", "CreatedAt")]
            yield Item(INFRASTRUCTURE, "volume", volume["Name"]), digest(parts)
        for probe in probes:
            if self.engine.find(f"/containers/{probe['container']}/json"):
                name = f"{probe['command'][0]} in {probe['container']}"
                yield Item(probe["component"], probe["object"], name), digest(self._answer(probe))

    def _answer(self, probe: dict[str, Any]) -> Any:
        try:
            return self.engine.execute(probe["container"], probe["command"], timeout=10)
        except EngineError as error:
            return str(error)

    def _containers(self) -> Iterator[tuple[Item, str]]:
        for entry in stack_containers(self.engine, self.labels, self.store.containers):
            actual = self.engine.find(f"/containers/{entry['Id']}/json")
            if actual is None or (self.settled and self._leaving(actual)):
                continue
            service = (actual["Config"]["Labels"] or {}).get("berth.service", "")
            component = RELEASE if service in self.services else EDGE if service == "edge" else INFRASTRUCTURE
            item = Item(component, "container", actual["Name"].lstrip("/"))
            if not healthy(actual):
                self.unhealthy.append(Difference(component, UNHEALTHY, item.object, item.name))
            yield item, digest(container(actual))

    def _leaving(self, actual: dict[str, Any]) -> bool:
        own = [spec["name"] for spec in self.manifest.get("containers") or []]
        return (actual["Config"]["Labels"] or {}).get("berth.service") in self.services and actual["Name"].lstrip("/") not in own
