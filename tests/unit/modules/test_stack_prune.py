"""What `stack_prune` removes of a stack, in which order, and what it leaves to whom it belongs."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.docker.client import EngineError
from ansible_collections.berth.stack.plugins.modules import stack_prune

LABELS = {"berth.stack": "s"}
RELEASE = ["container s-backend-v1", "container s-frontend-v1"]


def container(name: str, service: str, version: str, created: str | None = None, state: str = "running") -> dict[str, Any]:
    """As the engine lists it; `created`: the name that Berth gave it, None for somebody's own container of the same image."""
    labels = LABELS | {"berth.service": service, "berth.version": version} | ({"berth.container": created} if created else {})
    return {"Id": f"id-{name}", "Names": [f"/{name}"], "Labels": labels, "State": state}


CONTAINERS = [
    container("s-backend-v1", "backend", "v1", "s-backend-v1"),
    container("s-frontend-v1", "frontend", "v1", "s-frontend-v1", state="exited"),
    container("s-backend-v2", "backend", "v2", "s-backend-v2"),
    container("s-edge", "edge", "any", "s-edge"),
    container("debugging", "backend", "v1"),
]


class Ended(Exception):
    """The module exited or failed, with what it said."""


class Module:
    """Stands for AnsibleModule."""

    def __init__(self, params: dict[str, Any], check: bool) -> None:
        self.params, self.check_mode, self.warnings = params, check, list[str]()

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def exit_json(self, **said: Any) -> None:
        raise Ended(said)

    def fail_json(self, **said: Any) -> None:
        raise Ended({"failed": True} | said)


class Engine:
    """Keeps what it was asked to change; `fails`: {(method, path): errors, one a call}."""

    def __init__(self, manager: bool = True) -> None:
        self.manager, self.changes = manager, list[str]()
        self.fails: dict[str, list[EngineError]] = {}
        self.images: list[dict[str, Any]] = []
        # Seconds that containers have to end, and how long their stop was waited for.
        self.grace, self.patience = 10, list[float]()

    def listing(self, kind: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        assert labels == LABELS
        return {"containers": CONTAINERS, "networks": [{"Name": "s-app"}], "volumes": [{"Name": "s-data"}], "images": self.images}[kind]

    def find(self, path: str) -> None:
        return None

    def call(self, method: str, path: str, *_: Any, timeout: float = 0, **__: Any) -> Any:
        if method == "GET":
            if path.startswith("/containers/"):
                return {"Config": {"StopTimeout": self.grace}}
            named = {"/services": "s-backend", "/secrets": "s-backend-url"}
            if path in named:
                return [{"ID": f"id-{named[path]}", "Spec": {"Name": named[path]}}]
            return {"Swarm": {"ControlAvailable": self.manager}} if path == "/info" else []
        asked = f"{method} {path}"
        if path.endswith("/stop"):
            self.patience.append(timeout)
        self.changes.append(asked)
        if self.fails.get(asked):
            raise self.fails[asked].pop(0)
        return None


def prune(monkeypatch: pytest.MonkeyPatch, engine: Engine, check: bool = False, **params: Any) -> tuple[dict[str, Any], list[str]]:
    """(what the module said, its warnings)."""
    defaults = {"labels": LABELS, "directory": "", "names": [], "registry": "", "services": [], "keep": "", "kinds": ["containers"]}
    module = Module(defaults | params, check)
    monkeypatch.setattr(stack_prune, "AnsibleModule", lambda **_: module)
    monkeypatch.setattr(stack_prune, "Engine", lambda: engine)
    monkeypatch.setattr(stack_prune, "NETWORK_WAIT", 0)
    with pytest.raises(Ended) as ended:
        stack_prune.main()
    return ended.value.args[0], module.warnings


@pytest.mark.parametrize(("grace", "patience"), [(10, 120), (7220, 7280)])
def test_a_container_has_its_own_time_to_end(grace: int, patience: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler of jobs waits for a job's time limit."""
    engine = Engine()
    engine.grace = grace
    prune(monkeypatch, engine, services=["edge"])
    assert engine.patience == [patience]


# options -> what is removed
CHOICES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "all": ({}, [*RELEASE, "container s-backend-v2", "container s-edge"]),
    "all but a version": ({"services": ["backend", "frontend"], "keep": "v2"}, RELEASE),
    "a service": ({"services": ["edge"]}, ["container s-edge"]),
    "networks": ({"kinds": ["networks"]}, ["network s-app"]),
    "volumes": ({"kinds": ["volumes"]}, ["volume s-data"]),
    "the services of a Swarm before their secrets": ({"kinds": ["swarm"]}, ["service s-backend", "secret s-backend-url"]),
}


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("case", CHOICES)
def test_what_is_chosen_is_removed_and_in_check_mode_told(case: str, check: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    options, removed = CHOICES[case]
    engine = Engine()
    said, _ = prune(monkeypatch, engine, check, **options)
    assert said["removed"] == removed and said["changed"]
    assert bool(engine.changes) is not check
    assert len([asked for asked in engine.changes if asked.startswith("DELETE")]) == (0 if check else len(removed))


def test_somebodys_own_container_of_the_same_image_stays_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    said, warnings = prune(monkeypatch, engine)
    assert said["kept"] == ["debugging"] and "docker rm -f debugging" in warnings[0]
    assert not [asked for asked in engine.changes if "debugging" in asked]


def test_a_running_container_is_stopped_first_and_one_that_ended_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    prune(monkeypatch, engine, services=["backend", "frontend"], keep="v2")
    assert sorted(engine.changes) == [
        "DELETE /containers/id-s-backend-v1",
        "DELETE /containers/id-s-frontend-v1",
        "POST /containers/id-s-backend-v1/stop",
    ]


def test_without_a_label_nothing_is_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine()
    said, _ = prune(monkeypatch, engine, labels={}, kinds=["swarm", "containers", "networks", "volumes", "images"])
    assert said["failed"] and engine.changes == []


def test_of_a_swarm_only_a_manager_removes_services(monkeypatch: pytest.MonkeyPatch) -> None:
    said, _ = prune(monkeypatch, Engine(manager=False), kinds=["swarm"])
    assert said["removed"] == [] and not said["changed"]


# what the engine says -> whether the module fails
ERRORS: dict[str, tuple[str, str, int, bool]] = {
    "a container that is gone": ("containers", "DELETE /containers/id-s-edge", 404, False),
    "a container that is going": ("containers", "DELETE /containers/id-s-edge", 409, False),
    "a container that cannot be removed": ("containers", "DELETE /containers/id-s-edge", 500, True),
    "a network that is gone": ("networks", "DELETE /networks/s-app", 404, False),
    "a network in use": ("networks", "DELETE /networks/s-app", 403, True),
    "a volume in use": ("volumes", "DELETE /volumes/s-data", 409, True),
    "a service that another manager removed": ("swarm", "DELETE /services/id-s-backend", 404, False),
    "a service that cannot be removed": ("swarm", "DELETE /services/id-s-backend", 500, True),
}


@pytest.mark.parametrize("case", ERRORS)
def test_what_is_gone_already_is_no_failure_and_all_else_is(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, asked, status, fails = ERRORS[case]
    engine = Engine()
    engine.fails[asked] = [EngineError(status, "the reason")] * 5
    said, _ = prune(monkeypatch, engine, kinds=[kind])
    assert said.get("failed", False) is fails
    assert not fails or "the reason" in said["msg"]
    assert "in use" not in case or f"docker ps --all --filter {kind[:-1]}=" in said["msg"]


def test_images_go_newest_first_and_one_in_use_stays_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = LABELS | {"berth.service": "backend"}
    engine = Engine()
    engine.images = [
        {"Id": f"sha256:{tag}", "Created": created, "RepoTags": [f"s-backend:{tag}"], "RepoDigests": [], "Labels": labels}
        for tag, created in (("v1", 1), ("v3", 3), ("v2", 2))
    ]
    engine.fails["DELETE /images/s-backend:v2"] = [EngineError(409, "a container is using it")]
    said, warnings = prune(monkeypatch, engine, kinds=["images"])
    assert engine.changes == [f"DELETE /images/s-backend:{tag}" for tag in ("v3", "v2", "v1")]
    assert said["removed"] == ["image s-backend:v3", "image s-backend:v1"] and said["kept"] == ["image sha256:v2"]
    assert "docker image rm s-backend:v2" in warnings[0]
