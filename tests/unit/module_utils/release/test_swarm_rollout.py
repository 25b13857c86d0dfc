"""A release on a Swarm: services one after another, reverted together where one fails, and secrets that nothing uses removed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.docker.client import EngineError
from ansible_collections.berth.stack.plugins.module_utils.release import swarm
from ansible_collections.berth.stack.plugins.module_utils.release.swarm import SwarmRollout
from ansible_collections.berth.stack.plugins.module_utils.state.store import Failed, Store
from engines import LABELS, SERVICES, Clock

SETTINGS = {"replicas": {}, "constraints": {}, "endpoint_mode": "vip"}


class Manager:
    """A manager of a Swarm whose tasks are healthy at once, but those of the images in `broken`, which fail."""

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        self.secrets: dict[str, dict[str, Any]] = {}
        self.changes: list[str] = []
        self.broken: set[str] = set()
        self.stuck: set[str] = set()

    def find(self, path: str) -> Any:
        kind, name = path.lstrip("/").split("/", 1)
        return {"Id": f"id-{name}"} if kind == "networks" else copy.deepcopy(self.services.get(name))

    def call(self, method: str, path: str, query: Any = None, body: Any = None, **_: Any) -> Any:
        kind, _, rest = path.lstrip("/").partition("/")
        if method == "GET" and kind == "tasks":
            return self._tasks(self.services[query["filters"]["service"][0]])
        if method == "GET":
            every = list(getattr(self, kind).values())
            names = (query or {}).get("filters", {}).get("name")
            return copy.deepcopy(getattr(self, kind)[rest] if rest else [e for e in every if not names or e["Spec"]["Name"] in names])
        if rest == "create":
            self.changes.append(f"create {kind[:-1]} {body['Name']}")
            getattr(self, kind)[body["Name"]] = {"ID": f"id-{body['Name']}", "Spec": body, "Version": {"Index": 1}}
            return {"ID": f"id-{body['Name']}"}
        name = rest.partition("/")[0].removeprefix("id-")
        self.changes.append(f"{'remove' if method == 'DELETE' else 'update'} {kind[:-1]} {name}")
        if method == "DELETE":
            del getattr(self, kind)[name]
            return None
        service = self.services[name]
        service |= {"PreviousSpec": service["Spec"], "Spec": body, "UpdateStatus": {"State": "completed"}}
        if body["TaskTemplate"]["ContainerSpec"]["Image"] in self.broken:  # the engine reverts it
            service |= {"Spec": service["PreviousSpec"], "UpdateStatus": {"State": "rollback_completed"}}
        return None

    def _tasks(self, service: dict[str, Any]) -> list[dict[str, Any]]:
        template = service["Spec"]["TaskTemplate"]
        image = template["ContainerSpec"]["Image"]
        state = "failed" if image in self.broken else "starting" if image in self.stuck else "running"
        count = max(3 if state == "failed" else 0, service["Spec"]["Mode"]["Replicated"]["Replicas"])
        status = {"State": state, "Timestamp": "1", "Err": "exit 1" if state == "failed" else ""}
        return [{"ID": f"task-{n}", "Spec": template, "DesiredState": "running", "Status": status} for n in range(count)]

    def logs(self, _container: str, _lines: int = 20, kind: str = "containers") -> str:
        return "the last line"

    @property
    def active(self) -> dict[str, str]:
        """The version of each service."""
        return {
            name: service["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].partition(":")[2] for name, service in self.services.items()
        }


def release(version: str, secrets: str = "", services: tuple[str, ...] = SERVICES) -> dict[str, Any]:
    mounts = [{"type": "bind", "source": secrets, "target": "/run/secrets", "read_only": True}] if secrets else []
    return {
        "version": version,
        "containers": [
            {"name": f"s-{name}-{version}", "image": f"s-{name}:{version}", "networks": [{"name": "s-app"}], "mounts": mounts}
            | {"labels": {"berth.service": name, "berth.version": version}}
            for name in services
        ],
    }


class Swarm:
    """A Swarm with the state directory of its first manager."""

    def __init__(self, folder: Path) -> None:
        self.manager, self.store = Manager(), Store(folder)

    def rollout(self, check: bool = False, **other: Any) -> SwarmRollout:
        options = {
            "labels": LABELS,
            "verb": "deploy",
            "manifest": {"version": "v"},
            "swarm": SETTINGS,
            "health_timeout": 60,
            "monitor_seconds": 5,
        }
        return SwarmRollout(self.manager, self.store, options | other, check)  # type: ignore[arg-type]

    def deploy(self, target: dict[str, Any], **other: Any) -> bool:
        done = self.rollout(**other).run(target)
        self.store.record(target)
        self.store.end()
        return done

    def changes(self) -> list[str]:
        """What was changed since the last call."""
        made, self.manager.changes = self.manager.changes, []
        return made


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Swarm:
    monkeypatch.setattr(swarm, "time", Clock())
    return Swarm(tmp_path)


def test_services_are_created_then_updated_in_order_and_nothing_is_done_twice(cluster: Swarm) -> None:
    assert cluster.deploy(release("v1"))
    assert cluster.changes() == ["create service s-backend", "create service s-frontend"]
    assert not cluster.rollout().run(release("v1"))
    assert cluster.changes() == []
    assert cluster.deploy(release("v2"))
    assert cluster.changes() == ["update service s-backend", "update service s-frontend"]
    assert cluster.manager.active == {"s-backend": "v2", "s-frontend": "v2"}


def test_check_mode_names_the_changes_and_makes_none(cluster: Swarm) -> None:
    cluster.deploy(release("v1"))
    cluster.changes()
    rollout = cluster.rollout(check=True)
    assert rollout.run(release("v2"))
    assert [action.partition(" (")[0] for action in rollout.stack.actions] == ["update service s-backend", "update service s-frontend"]
    assert cluster.changes() == [] and not cluster.store.pending


@pytest.mark.parametrize(("service", "updated"), [("backend", ["backend"]), ("frontend", ["backend", "frontend"])])
def test_where_a_service_fails_all_that_were_updated_are_reverted(cluster: Swarm, service: str, updated: list[str]) -> None:
    cluster.deploy(release("v1"))
    cluster.changes()
    cluster.manager.broken = {f"s-{service}:v2"}
    with pytest.raises(Failed) as error:
        cluster.rollout().run(release("v2"))
    assert "v1 is still active" in str(error.value) and "the engine reverted the service" in str(error.value)
    reverted = [name for name in updated if name != service]  # the engine reverts the one that failed
    assert cluster.changes() == [f"update service s-{name}" for name in updated + reverted]
    assert cluster.manager.active == {"s-backend": "v1", "s-frontend": "v1"} and not cluster.store.pending


def test_where_the_first_release_of_all_fails_its_services_are_removed(cluster: Swarm) -> None:
    cluster.manager.broken = {"s-frontend:v1"}
    with pytest.raises(Failed) as error:
        cluster.rollout().run(release("v1"))
    assert cluster.manager.services == {}
    assert "s-frontend: 0 of 2 tasks became healthy" in str(error.value) and "failed: exit 1" in str(error.value)
    assert "the last line" in str(error.value), "the log of a task that failed"


def test_a_service_that_only_the_failed_release_has_is_removed(cluster: Swarm) -> None:
    cluster.deploy(release("v1", services=("backend",)))
    cluster.manager.broken = {"s-frontend:v2"}
    with pytest.raises(Failed):
        cluster.rollout().run(release("v2"))
    assert cluster.manager.active == {"s-backend": "v1"}


def test_tasks_that_do_not_become_healthy_are_waited_for_and_no_longer(cluster: Swarm) -> None:
    cluster.deploy(release("v1"))
    cluster.manager.stuck = {"s-backend:v2"}
    before = swarm.time.monotonic()
    with pytest.raises(Failed) as error:
        cluster.rollout().run(release("v2"))
    # Two tasks, each with its timeout, and the time that they are monitored for.
    assert 125 <= swarm.time.monotonic() - before < 130
    assert "s-backend: 0 of 2 tasks became healthy" in str(error.value)


def test_tasks_that_are_only_more_are_waited_for_as_long_as_one(cluster: Swarm) -> None:
    """They start side by side; those of an update one after another."""
    cluster.deploy(release("v1"))
    cluster.manager.stuck = {"s-backend:v1"}
    before = swarm.time.monotonic()
    with pytest.raises(Failed):
        cluster.rollout(swarm=SETTINGS | {"replicas": {"backend": 5}})._update_services(release("v1"), together=False)
    assert 65 <= swarm.time.monotonic() - before < 70


def test_a_release_that_was_active_before_is_rolled_out_at_once(cluster: Swarm) -> None:
    cluster.deploy(release("v1"))
    cluster.deploy(release("v2"))
    cluster.deploy(release("v1"), manifest={})
    configured = [service["Spec"]["UpdateConfig"] for service in cluster.manager.services.values()]
    assert {config["Parallelism"] for config in configured} == {0} and {config["Monitor"] for config in configured} == {10**9}
    cluster.deploy(release("v3"))
    assert {service["Spec"]["UpdateConfig"]["Parallelism"] for service in cluster.manager.services.values()} == {1}


def test_the_number_of_tasks_stays_as_it_is_without_a_setting(cluster: Swarm) -> None:
    cluster.deploy(release("v1"), swarm=SETTINGS | {"replicas": {"backend": 4}})
    cluster.deploy(release("v2"))
    counts = {name: service["Spec"]["Mode"]["Replicated"]["Replicas"] for name, service in cluster.manager.services.items()}
    assert counts == {"s-backend": 4, "s-frontend": 2}
    rollout = cluster.rollout(swarm=SETTINGS | {"replicas": {"backend": 1}})
    rollout.run(release("v2"))
    assert rollout.stack.actions == ["scale s-backend from 4 to 1"]


def test_secrets_are_created_by_content_and_removed_when_nothing_uses_them(cluster: Swarm, tmp_path: Path) -> None:
    for generation in ("1", "2"):
        (tmp_path / generation).mkdir()
        (tmp_path / generation / "database_url").write_text(f"postgresql://{generation}")
    cluster.deploy(release("v1", str(tmp_path / "1"), ("backend",)))
    first = set(cluster.manager.secrets)
    cluster.deploy(release("v2", str(tmp_path / "2"), ("backend",)))
    assert first < set(cluster.manager.secrets), "the engine reverts to the service's previous specification, which has the first"
    cluster.deploy(release("v3", str(tmp_path / "2"), ("backend",)))
    assert len(cluster.manager.secrets) == 1 and not first & set(cluster.manager.secrets)
    used = cluster.manager.services["s-backend"]["Spec"]["TaskTemplate"]["ContainerSpec"]["Secrets"]
    assert [secret["SecretName"] for secret in used] == list(cluster.manager.secrets)


def test_a_network_that_does_not_exist_fails_before_a_service_is_changed(cluster: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.deploy(release("v1"))
    cluster.changes()
    found = cluster.manager.find
    monkeypatch.setattr(cluster.manager, "find", lambda path: None if path.startswith("/networks/") else found(path))
    with pytest.raises(Failed, match="the network s-app does not exist"):
        cluster.rollout().run(release("v2"))
    assert cluster.changes() == []


def test_where_reverting_fails_the_unfinished_operation_stays_recorded(cluster: Swarm, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.deploy(release("v1"))
    cluster.manager.broken = {"s-frontend:v2"}
    call = cluster.manager.call

    def fails(method: str, path: str, query: Any = None, body: Any = None, **_: Any) -> Any:
        if method == "POST" and body["TaskTemplate"]["ContainerSpec"]["Image"] == "s-backend:v1":
            raise EngineError(500, "no quorum")
        return call(method, path, query, body)

    monkeypatch.setattr(cluster.manager, "call", fails)
    with pytest.raises(Failed, match="v1 could not be restored everywhere: no quorum"):
        cluster.rollout().run(release("v2"))
    assert cluster.store.pending["to"] == "v2"
