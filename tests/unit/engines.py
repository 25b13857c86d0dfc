"""An engine without Docker, a clock that nobody waits for, and a host with both, for the tests of what lets a release serve."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.berth.stack.plugins.module_utils.docker.client import Engine, EngineError
from ansible_collections.berth.stack.plugins.module_utils.release.rollout import Rollout
from ansible_collections.berth.stack.plugins.module_utils.state.store import Store

LABELS = {"berth.stack": "s"}
SERVICES = ("backend", "frontend")
ME = {"owner": "ann", "host": "here", "pid": 1, "started": "10"}


# What networks and volumes have when they are listed.
LISTED = ("Driver", "Internal", "Options", "Labels", "CreatedAt")


class Clock:
    """Stands for the module `time`: who sleeps is there at once, and what was to happen meanwhile has happened."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Callable[[], Any]]] = []

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        happens = [do for when, do in self.due if when <= self.now]
        self.due = [(when, do) for when, do in self.due if when > self.now]
        for do in happens:
            do()

    def after(self, seconds: float, do: Callable[[], Any]) -> None:
        self.due.append((self.now + seconds, do))


class FakeEngine(Engine):
    """Keeps containers, images, networks and volumes as inspected, and what it was called; the rest is the real client's."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.containers: dict[str, dict[str, Any]] = {}
        self.images: dict[str, dict[str, Any]] = {}
        self.networks: dict[str, dict[str, Any]] = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        # Each call that changes something, as (method, path).
        self.changes: list[tuple[str, str]] = []
        # What a container's state is as soon as it was started, by name; otherwise it becomes healthy within half a second.
        self.fate: dict[str, dict[str, Any]] = {}
        # Those whose start it refuses.
        self.refused: set[str] = set()
        self.exits: dict[str, int] = {}
        self.logged: dict[str, str] = {}
        self.last_end: dict[str, tuple[str, bool]] = {}
        # What a smoke check is told, by container; who was asked what, and what was true then.
        self.answers: dict[str, tuple[int, str]] = {}
        self.asked: list[tuple[str, str]] = []
        self.on_delete: Callable[[str], None] = lambda path: None
        self.on_start: Callable[[str], Any] = lambda name: None
        self.executed: list[tuple[str, list[str]]] = []
        self.execution: tuple[int, str] = (0, "")

    # what it is told ----------------------------------------------------------------------------------------------------

    def image(self, identity: str, *tags: str) -> None:
        """Have an image with these tags, or with none."""
        stack, _, service = (tags or ("",))[0].partition(":")[0].partition("-")
        labels = {"berth.stack": stack, "berth.service": service} if service else {}
        rest = {"Config": {"Labels": labels}, "RootFS": {"Layers": [identity]}, "Os": "linux", "Architecture": "amd64"}
        self.images[identity] = {"Id": identity, "RepoTags": list(tags), "RepoDigests": []} | rest

    def place(self, name: str, image: str = "", **labels: str) -> None:
        """Have a container that runs and has no health check."""
        self.call("POST", "/containers/create", {"name": name}, {"Image": image, "Labels": LABELS | labels, "HostConfig": {}})
        self.call("POST", f"/containers/{name}/start")
        self.changes.clear()

    def state(self, name: str, **state: Any) -> None:
        self.containers[name]["State"].update(state)

    # what the code under test calls -------------------------------------------------------------------------------------

    def call(self, method: str, path: str, query: Any = None, body: Any = None, timeout: float | None = None) -> Any:
        if method != "GET":
            self.changes.append((method, path))
        kind, _, rest = path.lstrip("/").partition("/")
        if kind == "version":
            return {"ApiVersion": "1.44"}
        existing: dict[str, dict[str, Any]] = getattr(self, kind)
        if rest == "json" and method == "GET":
            return self._listed(query["filters"]["label"])
        if not rest:
            listed = [{"Name": name, "Id": name, **dict.fromkeys(LISTED), **one} for name, one in existing.items()]
            return {"Volumes": listed} if kind == "volumes" else listed
        if rest == "create":
            return self._create(kind, (query or {}).get("name") or body["Name"], body)
        name, _, verb = (rest, "", "") if kind == "images" and method == "DELETE" else rest.partition("/")
        if kind == "images":
            name, verb = (rest.removesuffix("/json"), "json") if method == "GET" else (rest, "")
            name = next((identity for identity, image in existing.items() if name in image["RepoTags"]), name)
        if name not in existing:
            raise EngineError(404, f"No such {kind.removesuffix('s')}: {name}")
        if method == "GET":
            return copy.deepcopy(self._aged(existing[name]) if kind == "containers" else existing[name])
        if method == "DELETE":
            self.on_delete(path)
            return self._untag(name, rest) if kind == "images" else existing.pop(name) and None
        if verb == "start":
            self._start(name)
        return {"StatusCode": self.exits.get(name, 0)} if verb == "wait" else None

    def _listed(self, labels: list[str]) -> list[dict[str, Any]]:
        return [
            {"Id": name, "Names": [f"/{name}"], "Labels": one["Config"]["Labels"], "NetworkSettings": one["NetworkSettings"]}
            for name, one in self.containers.items()
            if set(labels) <= {f"{key}={value}" for key, value in one["Config"]["Labels"].items()}
        ]

    def _create(self, kind: str, name: str, body: dict[str, Any]) -> None:
        if kind != "containers":
            getattr(self, kind)[name] = body
            return
        endpoints = (body.get("NetworkingConfig") or {}).get("EndpointsConfig") or {}
        self.containers[name] = {
            "Id": f"id-of-{name}",
            "Name": f"/{name}",
            "Image": body["Image"],
            "Config": {key: value for key, value in body.items() if key not in ("HostConfig", "NetworkingConfig")},
            "HostConfig": body["HostConfig"],
            "NetworkSettings": {"Networks": {n: {"EndpointID": "e", "IPAddress": "127.0.0.1", **s} for n, s in endpoints.items()}},
            "RestartCount": 0,
            "State": {"Status": "created", "Running": False, "Paused": False, "Restarting": False, "OOMKilled": False, "StartedAt": ""}
            | {"ExitCode": 0, "Error": ""},
        }

    def _start(self, name: str) -> None:
        self.on_start(name)
        if name in self.refused:
            raise EngineError(500, f"cannot start {name}: no space left on device")
        self.state(name, Status="running", Running=True, StartedAt=f"at {self.clock.now}")
        if self.containers[name]["Config"].get("Healthcheck"):
            self.state(name, Health={"Status": "starting", "FailingStreak": 0, "Log": []}, since=self.clock.now)
        self.state(name, **self.fate.get(name, {}))

    def _aged(self, container: dict[str, Any]) -> dict[str, Any]:
        state = container["State"]
        health = state.get("Health") or {}
        if health.get("Status") == "starting" and self.clock.now - state["since"] >= 0.5:
            health["Status"] = "healthy"
        return container

    def _untag(self, identity: str, name: str) -> None:
        image = self.images[identity]
        left = [tag for tag in image["RepoTags"] if tag != name]
        if not left and any(container["Image"] == identity for container in self.containers.values()):
            raise EngineError(409, "a container is using it")
        image["RepoTags"] = left
        if not left:
            del self.images[identity]

    def logs(self, container: str, lines: int = 20, kind: str = "containers", since: float = 0) -> str:
        return self.logged.get(container, f"first of {container}\nlast of {container}")

    def last_exit(self, container: str, since: float) -> tuple[str, bool]:
        return self.last_end.get(container, ("", False))

    def execute(self, container: str, command: list[str], *_: Any, **__: Any) -> tuple[int, str]:
        if not self.call("GET", f"/containers/{container}/json")["State"]["Running"]:
            raise EngineError(409, f"container {container} is not running")
        self.executed.append((container, command))
        return self.execution


# a host -----------------------------------------------------------------------------------------------------------------


def release(version: str, **other: Any) -> dict[str, Any]:
    """A manifest of a backend and a frontend; their images are to be on the host."""
    containers = [
        {
            "name": f"s-{service}-{version}",
            "image": f"sha256:{service}-{version}",
            "labels": {"berth.service": service, "berth.version": version},
            "networks": [{"name": "s-app"}],
            "healthcheck": {"test": ["CMD", "healthcheck"]},
        }
        for service in SERVICES
    ]
    return {
        "version": version,
        "images": {service: f"sha256:{service}-{version}" for service in SERVICES},
        "containers": containers,
        "networks": [{"name": "s-app"}],
        "edge": {"caddyfile": "/@routes@.* s-backend-{release}:8000", "upstreams": {"backend": "s-backend-{release}:8000"}},
        **other,
    }


class Host:
    """A host with an edge that is up, whose engine, clock and state directory a test looks at."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.engine = FakeEngine(self.clock)
        self.folder, self.store = folder, Store(folder / "state")
        self.engine.place("s-edge")
        self.infrastructure: dict[str, Any] = {
            "services": list(SERVICES),
            "database": {},
            "edge": {"container": "s-edge", "directory": str(folder / "edge"), "reload": ["reload"]},
            "smoke": [{"service": service, "port": 8000, "path": f"/{service}", "status": ["2xx"]} for service in SERVICES],
        }

    def desired(self, **other: Any) -> dict[str, Any]:
        """A module's options, with what a manifest says of its surroundings."""
        options = {"labels": LABELS, "verb": "deploy", "health_timeout": 60, "smoke_timeout": 5, "monitor_seconds": 0, "edge_service": {}}
        return options | self.infrastructure | other

    def images(self, *versions: str) -> None:
        for version in versions:
            for service in SERVICES:
                self.engine.image(f"sha256:{service}-{version}", f"s-{service}:{version}")

    def rollout(self, check: bool = False, **other: Any) -> Rollout:
        return Rollout(self.engine, self.store, self.desired(**other), check)

    def serve(self, version: str, **other: Any) -> dict[str, Any]:
        """Let a release serve from now on, as a deploy would; its manifest."""
        self.images(version)
        manifest = release(version, **other)
        self.rollout().run(manifest)
        self.store.record(manifest)
        self.store.end()
        self.engine.changes.clear()
        self.engine.asked.clear()
        return manifest

    def ask(self, engine: FakeEngine, container: str, port: int, path: str) -> tuple[int, str]:
        """Stands for `switch.ask`; notes who served while it was asked."""
        engine.asked.append((container, self.serves))
        return engine.answers.get(container, (200, "fine"))

    @property
    def serves(self) -> str:
        """What the file says that is in force for the edge: RELEASE, or RELEASE~BEFORE."""
        folder = self.folder / "edge" / "config" / "serving"
        files = sorted(path.name for path in folder.glob("[!.]*")) if folder.is_dir() else []
        return files[0].split(".", 2)[2] if files else ""

    @property
    def running(self) -> set[str]:
        """The containers of releases."""
        return set(self.engine.containers) - {"s-edge"}

    def files(self) -> dict[str, str]:
        """Every file and directory below the host's directory, with its content."""
        return {str(path): path.read_text() if path.is_file() else "" for path in sorted(self.folder.rglob("*"))}


def pair(version: str) -> set[str]:
    return {f"s-{service}-{version}" for service in SERVICES}
