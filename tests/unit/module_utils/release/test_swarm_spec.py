"""A service in the words of the Compose specification, as a Swarm runs it; and what is seen of a service that was changed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.filter.swarm import swarm_nodes
from ansible_collections.berth.stack.plugins.module_utils.docker.spec import SpecError
from ansible_collections.berth.stack.plugins.module_utils.release.swarm import SwarmRollout
from ansible_collections.berth.stack.plugins.module_utils.release.swarm_spec import (
    differing_paths,
    secret_name,
    secrets_directory,
    service_body,
    service_name,
)
from ansible_collections.berth.stack.plugins.module_utils.state.store import Store

SPEC = {
    "name": "s-backend-v1",
    "image": "sha256:aa",
    "command": ["--port", "8000"],
    "environment": {"PORT": 8000},
    "labels": {"berth.stack": "s", "berth.service": "backend", "berth.version": "v1"},
    "user": "65532:65532",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "tmpfs": ["/tmp:rw,noexec,nosuid,nodev,size=64m", "/run/x:size=1m,mode=0700"],
    "mem_limit": "256m",
    "cpus": 0.5,
    "pids_limit": 100,
    "restart": "unless-stopped",
    "networks": [{"name": "s-app", "aliases": ["backend"]}, {"name": "s-data"}],
    "mounts": [
        {"type": "bind", "source": "/var/lib/s/secrets/1/backend", "target": "/run/secrets", "read_only": True},
        {"type": "volume", "source": "s-files", "target": "/files"},
    ],
    "stop_grace_period": 40,
    "healthcheck": {"interval": 10, "start_interval": 0.5},
    "logging": {"driver": "json-file", "options": {"max-size": "10m"}},
}
NETWORKS = {"s-app": "n1", "s-data": "n2"}
SECRETS = {"database_url": {"id": "i1", "name": "s-backend-database_url-0"}}
SETTINGS = {"replicas": 2, "constraints": ["node.labels.disk==ssd"], "endpoint_mode": "dnsrr", "monitor": 5, "parallelism": 1}


@pytest.fixture
def body():
    return service_body(SPEC, "v1", NETWORKS, SECRETS, SETTINGS)


def test_a_service_outlives_its_releases(body):
    assert body["Name"] == service_name(SPEC, "v1") == "s-backend"
    assert body["Labels"] == {"berth.stack": "s", "berth.service": "backend"}
    assert body["TaskTemplate"]["ContainerSpec"]["Labels"]["berth.version"] == "v1"


def test_hardening_is_that_of_a_container(body):
    one = body["TaskTemplate"]["ContainerSpec"]
    assert one["ReadOnly"] and one["CapabilityDrop"] == ["ALL"] and one["Privileges"] == {"NoNewPrivileges": True}
    assert one["User"] == "65532:65532"
    assert body["TaskTemplate"]["Resources"]["Limits"] == {"NanoCPUs": 500_000_000, "MemoryBytes": 256 * 1024**2, "Pids": 100}
    assert {m["Target"]: m["TmpfsOptions"] for m in one["Mounts"] if m["Type"] == "tmpfs"} == {
        "/tmp": {"SizeBytes": 64 * 1024**2},
        "/run/x": {"SizeBytes": 1024**2, "Mode": 0o700},
    }


def test_a_directory_of_secrets_becomes_secrets(body):
    assert secrets_directory(SPEC) == "/var/lib/s/secrets/1/backend"
    assert secrets_directory({"mounts": []}) == ""
    one = body["TaskTemplate"]["ContainerSpec"]
    assert [m["Target"] for m in one["Mounts"] if m["Type"] != "tmpfs"] == ["/files"]
    assert one["Secrets"] == [
        {
            "SecretID": "i1",
            "SecretName": "s-backend-database_url-0",
            "File": {"Name": "database_url", "UID": "65532", "GID": "65532", "Mode": 0o400},
        }
    ]


def test_another_content_is_another_secret_of_a_name_that_the_engine_takes():
    assert secret_name("s-backend", "key", b"a") != secret_name("s-backend", "key", b"b")
    assert len(secret_name("s" * 80, "k" * 80, b"a")) <= 64


def test_a_new_task_stands_beside_the_old_one_and_the_engine_goes_back(body):
    assert body["UpdateConfig"] == {"Parallelism": 1, "Monitor": 5_000_000_000, "FailureAction": "rollback", "Order": "start-first"}
    assert body["RollbackConfig"]["FailureAction"] == "pause"
    assert body["TaskTemplate"]["RestartPolicy"]["Condition"] == "any"
    assert body["TaskTemplate"]["Networks"] == [{"Target": "n1", "Aliases": ["backend"]}, {"Target": "n2", "Aliases": []}]
    assert body["EndpointSpec"] == {"Mode": "dnsrr"}


@pytest.mark.parametrize("key, value", [("ports", [{"published": 80, "target": 80}]), ("extra_hosts", ["a:1.2.3.4"]), ("colour", "red")])
def test_what_a_service_cannot_have_is_refused(key, value):
    with pytest.raises(SpecError, match=key):
        service_body(SPEC | {key: value}, "v1", NETWORKS, SECRETS, SETTINGS)


def test_what_the_engine_adds_is_no_difference_and_what_was_changed_is(body):
    actual = copy.deepcopy(body)
    actual["TaskTemplate"]["Runtime"] = "container"
    actual["TaskTemplate"]["ContainerSpec"]["Isolation"] = "default"
    del actual["TaskTemplate"]["ContainerSpec"]["CapabilityAdd"]
    assert differing_paths(body, actual) == []
    actual["TaskTemplate"]["ContainerSpec"]["Env"] = ["PORT=9"]
    actual["Mode"]["Replicated"]["Replicas"] = 7
    assert sorted(differing_paths(body, actual)) == ["Mode.Replicated.Replicas", "TaskTemplate.ContainerSpec.Env"]


def test_nodes_are_what_their_hosts_say():
    hosts = [
        {"inventory_hostname": "a", "__swarm_first": {"node": "n1"}, "swarm_role": "worker"},
        {"inventory_hostname": "b", "__swarm_joined": {"node": "n2"}, "swarm_availability": "drain", "swarm_labels": {"disk": "ssd"}},
    ]
    assert swarm_nodes(hosts, "a") == {
        "n1": {"availability": "active", "role": "manager", "labels": {}},  # whoever makes a Swarm manages it
        "n2": {"availability": "drain", "role": "manager", "labels": {"disk": "ssd"}},
    }


# a release that fails ---------------------------------------------------------------------------------------------------


class Manager:
    """A manager of a Swarm: it keeps the names of services, and says what it removed."""

    def __init__(self, *services: str) -> None:
        self.services, self.removed = list(services), list[str]()

    def find(self, path: str) -> dict[str, Any] | None:
        return {"Spec": {}} if path.removeprefix("/services/") in self.services else None

    def call(self, method: str, path: str, *_: Any, **__: Any) -> Any:
        if method == "DELETE":
            self.removed.append(path)
        return []


def test_where_the_old_services_cannot_be_put_back_what_is_under_way_stays_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise SpecError("no node has room")

    store = Store(tmp_path)
    store.begin_operation("deploy", "v1", "v2")
    switch = SwarmRollout(Manager(), store, {"labels": {"berth.stack": "s"}}, False)  # type: ignore[arg-type]
    monkeypatch.setattr(switch, "_update_services", fail)
    message = switch.abort({"version": "v2", "containers": []}, {"version": "v1", "containers": []}, "odd")
    assert "v1 could not be restored everywhere: no node has room" in message and "make rollback" in message
    assert store.pending["from"] == "v1"


def test_a_service_that_only_the_failed_release_has_goes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def of(version: str, *services: str) -> dict[str, Any]:
        return {"version": version, "containers": [{"name": f"s-{service}-{version}"} for service in services]}

    manager = Manager("s-backend", "s-mcp")
    switch = SwarmRollout(manager, Store(tmp_path), {"labels": {"berth.stack": "s"}}, False)  # type: ignore[arg-type]
    monkeypatch.setattr(switch, "_update_services", lambda release, together: None)
    switch.created = ["s-mcp"]
    assert "v1 is still active" in switch.abort(of("v2", "backend", "mcp"), of("v1", "backend"), "odd")
    assert manager.removed == ["/services/s-mcp"] and switch.aborted
    # The first release of all: everything of it.
    manager.removed.clear()
    switch.abort(of("v1", "backend", "mcp"), {}, "odd")
    assert manager.removed == ["/services/s-backend", "/services/s-mcp"]
