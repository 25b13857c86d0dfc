"""Services and jobs of a release: whose jobs run, what is drained at once, and which services of the infrastructure come and go."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.release.drain import Drain
from ansible_collections.berth.stack.plugins.module_utils.state import jobs
from ansible_collections.berth.stack.plugins.module_utils.state.store import Failed, Lock
from conftest import PLUGINS
from engines import ME, Host, release
from test_deployment import act, manifest

REDIS: dict[str, Any] = {
    "name": "s-redis",
    "image": "s-redis:1",
    "labels": {"berth.service": "redis", "berth.version": "1", "berth.declared": "package"},
    "networks": [{"name": "s-data"}],
    "mounts": [{"type": "volume", "source": "s-redis", "target": "/data"}],
}
DECLARED: dict[str, Any] = {"containers": [REDIS], "volumes": [{"name": "s-redis"}]}


def with_services(host: Host, made: dict[str, Any], name: str) -> dict[str, Any]:
    """A release with a worker and jobs."""
    for service in ("worker", "scheduler"):
        spec = made["containers"][0] | {"name": f"s-{service}-{name}", "labels": {"berth.service": service, "berth.version": name}}
        made["containers"].append(spec | {"healthcheck": {"test": ["NONE"]}})
    mount = {"type": "bind", "source": f"{host.store.root}/jobs/runs", "target": "/run/jobs/runs"}
    made["containers"][-1]["mounts"] = [mount]
    return made


def prepare(host: Host) -> None:
    (host.store.root / "jobs/release").mkdir(parents=True)


# whose jobs run ---------------------------------------------------------------------------------------------------------


def test_the_jobs_are_those_of_the_release_that_was_checked(host: Host) -> None:
    prepare(host)
    host.images("v1", "v2")
    first, second = (with_services(host, release(name), name) for name in ("v1", "v2"))
    host.rollout().run(first)
    host.store.record(first)
    assert jobs.active_release(host.store.root) == "v1"
    host.engine.answers["s-backend-v2"] = (500, "broken")
    with pytest.raises(Failed):
        host.rollout().run(second)
    assert jobs.active_release(host.store.root) == "v1", "a release that failed starts no job"
    host.engine.answers.clear()
    seen = []
    host.engine.on_start = lambda name: seen.append((name, jobs.active_release(host.store.root)))
    host.rollout().run(second)
    assert ("s-scheduler-v2", "v1") in seen and jobs.active_release(host.store.root) == "v2"


def test_check_mode_and_a_release_without_jobs_leave_the_jobs(host: Host) -> None:
    prepare(host)
    host.images("v1", "v2")
    first = with_services(host, release("v1"), "v1")
    host.rollout().run(first)
    host.store.record(first)
    host.rollout(check=True).run(with_services(host, release("v2"), "v2"))
    host.rollout().run(release("v2"))
    assert jobs.active_release(host.store.root) == "v1"


# drain ------------------------------------------------------------------------------------------------------------------


def drained(host: Host, monkeypatch: pytest.MonkeyPatch, **options: Any) -> list[tuple[list[str], float]]:
    """Deploy v1 and v2, both with a worker, jobs and further services in the background, and drain; (containers, after) of each drain."""
    started: list[tuple[list[str], float]] = []

    def start(self: Drain, names: list[str], after: float, wait: float, behind: Any = ()) -> bool:
        started.append((names, after))
        return True

    monkeypatch.setattr(Drain, "start", start)
    host.infrastructure |= {
        "services": ["backend", "frontend", "worker", "scheduler", "egress-backend"],
        "background": ["worker", "scheduler"],
    }
    prepare(host)
    for version, more in (("v1", {}), ("v2", options)):
        host.images(version)
        given = with_services(host, manifest(host, version), "@release@")
        for spec in given["containers"]:
            spec["image"] = f"s-backend:{version}" if "backend" in spec["image"] else spec["image"]
        run = act(host, verb="deploy", manifest=given, infrastructure="skip", **more)
        outcome = run.run()
        started.clear()
        run.drain(outcome)
    return started


def test_what_nobody_asks_is_drained_at_once_each_by_itself(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    started = drained(host, monkeypatch)
    assert started == [(["s-scheduler-v1"], 0), (["s-worker-v1"], 0), (["s-frontend-v1", "s-backend-v1"], 0.3)]


def test_the_way_out_of_a_job_is_removed_after_all_others(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.engine.place("s-egress-backend-v1", **{"berth.service": "egress-backend", "berth.version": "v1"})
    started = drained(host, monkeypatch)
    assert started[2] == (["s-egress-backend-v1"], 0) and started[3] == (["s-frontend-v1", "s-backend-v1"], 0.3)
    assert ["s-egress-backend-v1"] not in [names for names, _ in started[:2]]


def test_a_drain_waits_for_those_that_it_is_behind(host: Host) -> None:
    drain = Drain(host.engine, host.store, Lock(host.store, ME))
    host.store.prepare()
    host.engine.place("s-egress-backend-v1", **{"berth.service": "egress-backend", "berth.version": "v1"})
    host.engine.place("s-scheduler-v1", **{"berth.service": "scheduler", "berth.version": "v1"})
    monkey = pytest.MonkeyPatch()
    monkey.setattr(f"{PLUGINS}.module_utils.release.drain.time", host.clock)
    before: list[int] = []
    host.clock.after(30, lambda: before.append(len(host.engine.changes)) or host.engine.containers.pop("s-scheduler-v1"))
    drain._drain(["s-egress-backend-v1"], 0, drain._claim(["s-egress-backend-v1"]), ["s-scheduler-v1"])
    monkey.undo()
    assert before == [0] and host.engine.changes[0] == ("POST", "/containers/s-egress-backend-v1/rename")


def test_what_nobody_asks_is_not_kept_on_standby(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    started = drained(host, monkeypatch, standby_seconds=600)
    assert started == [(["s-scheduler-v1"], 0), (["s-worker-v1"], 0), (["s-frontend-v1", "s-backend-v1"], 600)]


def test_a_service_that_the_release_has_no_more_is_drained_too(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    drained(host, monkeypatch)
    host.infrastructure |= {"services": ["backend", "frontend"], "background": []}
    host.images("v3")
    run = act(host, verb="deploy", manifest=manifest(host, "v3"), infrastructure="skip")
    outcome = run.run()
    run.drain(outcome)
    assert {line for line in run.rollout.stack.actions if "worker" in line} == {
        "drain and remove s-worker-v1 (in the background)",
        "drain and remove s-worker-v2 (in the background)",
    }


def test_a_service_that_moved_to_the_infrastructure_stays(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    drained(host, monkeypatch)
    host.engine.place("s-worker", **{"berth.service": "worker", "berth.version": "abc", "berth.declared": "image"})
    moved = REDIS | {"name": "s-worker"}
    host.store.record_infrastructure(containers={"s-worker": moved})
    run = act(host, verb="deploy", manifest=manifest(host, "v2", services={"containers": [moved]}), infrastructure="skip")
    outcome = run.run()
    run.drain(outcome)
    assert not [line for line in run.rollout.stack.actions if line.endswith("s-worker") or "s-worker (" in line]


# services of the infrastructure -----------------------------------------------------------------------------------------


def deploy(host: Host, version: str, check: bool = False, **declared: Any) -> list[str]:
    """The actions of a deployment with these services, after role services has reconciled them."""
    host.images(version)
    host.engine.image("sha256:redis", "s-redis:1")
    if declared and not check:
        host.engine.place("s-redis", **REDIS["labels"])
        host.store.record_infrastructure(containers={"s-redis": REDIS}, volumes={"s-redis": {"name": "s-redis"}})
        host.engine.volumes["s-redis"] = {"Name": "s-redis"}
    run = act(host, check=check, verb="deploy", manifest=manifest(host, version, services=declared), infrastructure="skip")
    run.run()
    return run.rollout.stack.actions


def test_a_service_that_is_not_declared_any_more_is_removed_after_the_switch_and_its_data_stays(host: Host) -> None:
    deploy(host, "v1", **DECLARED)
    served = []
    host.engine.on_delete = lambda path: served.append((path, host.serves))
    planned = deploy(host, "v2", check=True)
    assert "remove container s-redis" in planned and "s-redis" in host.engine.containers
    assert "remove container s-redis" in deploy(host, "v2")
    assert ("/containers/s-redis", "v2") in served and "s-redis" in host.engine.volumes
    assert "s-redis" not in host.store.infrastructure["containers"]


def test_the_stacks_own_services_are_not_taken_for_declared_ones(host: Host) -> None:
    host.engine.place("s-database", **{"berth.service": "database"})
    host.store.record_infrastructure(containers={"s-database": {"name": "s-database", "labels": {"berth.service": "database"}}})
    deploy(host, "v1")
    assert "s-database" in host.engine.containers and "s-database" in host.store.infrastructure["containers"]


def test_a_rollback_creates_the_services_that_its_release_needs(host: Host) -> None:
    deploy(host, "v1", **DECLARED)
    deploy(host, "v2")
    host.engine.networks["s-data"] = {"Name": "s-data"}
    assert "s-redis" not in host.engine.containers
    outcome = act(host).run()
    assert outcome["release"] == "v1" and host.engine.containers["s-redis"]["State"]["Running"]


def test_a_rollback_leaves_a_service_that_runs_as_it_is(host: Host) -> None:
    deploy(host, "v1", **DECLARED)
    other = REDIS | {"image": "s-redis:2", "labels": REDIS["labels"] | {"berth.version": "2"}}
    deploy(host, "v2", containers=[other], volumes=[])
    host.engine.changes.clear()
    act(host).run()
    assert not [path for _, path in host.engine.changes if "redis" in path]


def test_another_version_of_a_service_is_no_other_release(host: Host) -> None:
    deploy(host, "v1", **DECLARED)
    deploy(host, "v1", containers=[REDIS | {"image": "s-redis:2"}], volumes=[])
    assert host.store.current == "v1" and [made["version"] for made in host.store.releases()] == ["v1"]
    assert host.store.manifest("v1")["services"]["containers"][0]["image"] == "s-redis:2"
