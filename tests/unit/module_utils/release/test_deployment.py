"""One run of release_apply: which release it is about, what it refuses, and what it writes down."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.docker.client import EngineError
from ansible_collections.berth.stack.plugins.module_utils.release.deployment import Deployment
from ansible_collections.berth.stack.plugins.module_utils.release.edge import Edge
from ansible_collections.berth.stack.plugins.module_utils.state.interrupts import Interrupted
from ansible_collections.berth.stack.plugins.module_utils.state.store import Failed
from conftest import PLUGINS
from engines import LABELS, ME, Host, pair, release

UTILS = f"{PLUGINS}.module_utils"


def act(host: Host, check: bool = False, **other: Any) -> Deployment:
    """A run with the module's defaults: going back, unless it is given a manifest."""
    options = {"directory": str(host.store.root), "labels": LABELS, "verb": "rollback", "manifest": None, "contents": {}, "release": ""}
    options |= {
        "schema": "",
        "infrastructure": "ensure_running",
        "fleet_release": "",
        "replicas": {},
        "edge_service": {},
        "smoke_timeout": 5,
        "health_timeout": 60,
    }
    options |= {"migrate_timeout": 120, "migrate_lock_timeout": 10, "migrate_statement_timeout": 0}
    options |= {"monitor_seconds": 0, "standby_seconds": 0, "drain_wait": 0, "retain": 5, "backup": True, "who": ME}
    return Deployment(options | other, check)


def manifest(host: Host, version: str, **other: Any) -> dict[str, Any]:
    """What a deploy is given: a release without a name whose images go by theirs."""
    made = release("@release@", image_version=version, around=host.infrastructure, **other)
    made["images"] = {service: f"s-{service}:{version}" for service in made["images"]}
    for spec in made["containers"]:
        spec["image"] = made["images"][spec["labels"]["berth.service"]]
    del made["version"]
    return made


def deploy(host: Host, version: str, **other: Any) -> dict[str, Any]:
    """Deploy and let go of what served, as the drain would."""
    host.images(version)
    outcome = act(host, verb="deploy", manifest=manifest(host, version), infrastructure="skip", **other).run()
    for name in host.running - pair(version):
        del host.engine.containers[name]
    host.engine.changes.clear()
    return outcome


# which one --------------------------------------------------------------------------------------------------------------


def test_a_deploy_names_the_release_pins_its_images_and_remembers_what_it_came_after(host: Host) -> None:
    assert deploy(host, "v1") == {"changed": True, "release": "v1", "before": "", "retired": []}
    assert deploy(host, "v2")["before"] == "v1"
    made = host.store.manifest("v2")
    assert (host.store.current, host.serves, made["previous"], made["by"], host.store.pending) == ("v2", "v2", "v1", "ann@here", {})
    assert made["images"] == {"backend": "sha256:backend-v2", "frontend": "sha256:frontend-v2"}
    assert {spec["name"]: spec["image"] for spec in made["containers"]}["s-backend-v2"] == "sha256:backend-v2"
    assert made["references"]["backend"] == "s-backend:v2"
    again = host.files()
    assert not deploy(host, "v2")["changed"] and host.files() == again


def test_one_goes_back_to_the_release_before(host: Host) -> None:
    for version in ("v1", "v2", "v3"):
        deploy(host, version)
    assert act(host).run()["release"] == "v2"
    assert (host.store.current, host.serves) == ("v2", "v2") and pair("v2") <= host.running
    # What v2 came after, not what served last.
    assert act(host).run()["release"] == "v1"


def test_one_goes_back_to_the_release_that_is_named(host: Host) -> None:
    for version in ("v1", "v2", "v3"):
        deploy(host, version)
    assert act(host, release="v1").run()["release"] == "v1"
    assert (host.store.current, host.serves, host.store.manifest("v1")["previous"]) == ("v1", "v1", "")


def test_after_an_interrupted_deploy_one_goes_back_to_what_it_came_from(host: Host) -> None:
    for version in ("v1", "v2"):
        deploy(host, version)
    host.store.begin_operation("deploy", "v2", "v3")
    outcome = act(host).run()
    assert (outcome["release"], outcome["changed"], host.store.pending) == ("v2", True, {})


# what is refused, with nothing touched ----------------------------------------------------------------------------------


def refused(host: Host, run: Deployment) -> str:
    """What it says; the host is as before."""
    before = host.files()
    with pytest.raises(Failed) as failed:
        run.run()
    assert (host.files(), host.engine.changes) == (before, [])
    return str(failed.value)


def test_a_release_that_nobody_knows_is_refused_with_those_that_are_there(host: Host) -> None:
    for version in ("v1", "v2"):
        deploy(host, version)
    for image in host.store.manifest("v1")["images"].values():
        del host.engine.images[image]
    head, _, listing = refused(host, act(host, release="v9")).partition("\n")
    assert head == "There is no release v9 to roll back to. Nothing was changed."
    title, *rows = listing.splitlines()
    assert title == "Releases on this host (make rollback VERSION=...):"
    assert {row.split()[0]: row.split("Z")[-1].strip() for row in rows} == {"v2": "active", "v1": "images missing"}


def test_where_there_is_none_before_that_is_said(host: Host) -> None:
    assert refused(host, act(host)) == (
        "There is no release before the first one to roll back to. Nothing was changed.\nThis host has no releases yet."
    )
    deploy(host, "v1")
    assert refused(host, act(host)).startswith("There is no release before v1 to roll back to.")


def test_a_release_whose_images_are_gone_is_refused(host: Host) -> None:
    for version in ("v1", "v2"):
        deploy(host, version)
    del host.engine.images["sha256:frontend-v1"]
    message = refused(host, act(host))
    assert message.startswith("The images of frontend of v1 are no longer on this host. Nothing was changed.\nReleases on this host")


def test_a_deploy_of_images_that_are_not_there_or_not_those_that_were_built_is_refused(host: Host) -> None:
    host.images("v1")
    named = manifest(host, "v1")
    message = refused(host, act(host, verb="deploy", manifest=named, contents={"s-backend:v1": "another"}, infrastructure="skip"))
    assert message.startswith("These tags name other images than the ones that were built: s-backend:v1. Nothing was changed.")
    del host.engine.images["sha256:backend-v1"]
    message = refused(host, act(host, verb="deploy", manifest=named, infrastructure="skip"))
    assert message.startswith("These images are not on this host: s-backend:v1. Build them first")


def test_a_volume_that_is_gone_is_not_made_anew_empty(host: Host) -> None:
    for version in ("v1", "v2"):
        deploy(host, version)
    host.store.record_infrastructure(volumes={"s-data": {"name": "s-data"}}, networks={"s-lost": {"name": "s-lost"}})
    for how in ("revive", "mend"):
        assert refused(host, act(host, infrastructure=how)).startswith("The volume s-data is missing on this host, with its data.")
    # A deploy has seen to it itself.
    assert act(host, infrastructure="skip").run()["release"] == "v1"


def test_what_a_release_stands_on_is_brought_back(host: Host) -> None:
    for version in ("v1", "v2"):
        deploy(host, version)
    host.engine.volumes["s-data"] = {}
    host.engine.image("sha256:database")
    host.store.record_infrastructure(
        volumes={"s-data": {"name": "s-data"}},
        networks={"s-lost": {"name": "s-lost"}},
        containers={"s-database": {"name": "s-database", "image": "sha256:database"}},
    )
    act(host).run()
    assert "s-lost" in host.engine.networks and host.engine.containers["s-database"]["State"]["Running"]
    first = host.engine.changes.index(("POST", "/containers/s-database/start"))
    assert first < host.engine.changes.index(("POST", "/containers/s-backend-v1/start"))


# check mode, and what fails ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("existing", [(), ("v1",), ("v1", "v2")])
def test_check_mode_of_a_deploy_changes_nothing(host: Host, existing: tuple[str, ...]) -> None:
    for version in existing:
        deploy(host, version)
    # Their images are not built yet.
    planned = act(host, check=True, verb="deploy", manifest=manifest(host, "v3"), infrastructure="skip", monitor_seconds=1, retain=1)
    before, containers = host.files(), host.running
    outcome = planned.run()
    planned.drain(outcome)
    planned.finish("ok", "")
    assert (host.files(), host.engine.changes, host.running) == (before, [], containers)
    assert (outcome["changed"], outcome["release"], outcome["retired"]) == (True, "v3", [])
    message = planned.rollout.stack.actions
    assert {"create container s-backend-v3", "create container s-frontend-v3", "switch the edge"} <= set(message)
    if existing:
        assert message[-1] == f"drain and remove s-frontend-{existing[-1]}, s-backend-{existing[-1]}"


def test_check_mode_of_a_rollback_changes_nothing(host: Host) -> None:
    for version in ("v1", "v2"):
        deploy(host, version)
    before = host.files()
    planned = act(host, check=True, monitor_seconds=1, standby_seconds=60)
    outcome = planned.run()
    planned.drain(outcome)
    assert (host.files(), host.engine.changes, outcome["release"]) == (before, [], "v1")
    assert planned.rollout.stack.actions[-1] == "keep s-frontend-v2, s-backend-v2 on standby for 60 s"


def test_a_release_that_fails_is_not_recorded(host: Host) -> None:
    for version in ("v1", "v2"):
        deploy(host, version)
    host.images("v3")
    host.engine.answers["s-backend-v3"] = (500, "broken")
    with pytest.raises(Failed, match=r"Release v3 did not get traffic \(v2 is still active\)"):
        act(host, verb="deploy", manifest=manifest(host, "v3"), infrastructure="skip", retain=1).run()
    assert (host.store.current, host.store.previous, host.serves, host.store.pending) == ("v2", "v1", "v2", {})
    assert {made["version"] for made in host.store.releases()} == {"v1", "v2"}, "nor is another one let go for it"
    assert host.running == pair("v2")


def test_statements_that_the_database_refused_during_a_migration_are_a_warning(host: Host) -> None:
    host.engine.place("s-database")
    around = host.infrastructure | {"database": {"container": "s-database", "name": "app"}}
    step = {"service": "backend", "container": {"name": "s-migrate", "image": "s-backend:v1"}}
    host.engine.logged["s-database"] = (
        'x UTC [7] ERROR:  permission denied to create extension "citext"\nx UTC [7] STATEMENT:  CREATE EXTENSION citext\n'
        'x UTC [8] ERROR:  relation "place" does not exist\nx UTC [8] STATEMENT:  SELECT * FROM place\n'
    )
    host.images("v1")
    run = act(host, verb="deploy", manifest=manifest(host, "v1", migrations=[step]) | {"around": around}, infrastructure="skip")
    run.run()
    (warning,) = run.warnings
    assert 'permission denied to create extension "citext" (CREATE EXTENSION citext)' in warning
    assert 'relation "place" does not exist' in warning, "nothing served before: all of it is the migration's"
    host.images("v2")
    step = step | {"container": {"name": "s-migrate", "image": "s-backend:v2"}}
    run = act(
        host, verb="deploy", manifest=manifest(host, "v2", migrations=[step]) | {"around": around}, infrastructure="skip", backup=False
    )
    run.run()
    assert "place" not in run.warnings[0], "v1 serves: it may have asked for this"


def test_a_migration_that_fails_starts_nothing(host: Host) -> None:
    deploy(host, "v1")
    host.images("v2")
    step = {"service": "backend", "container": {"name": "s-migrate", "image": "s-backend:v2"}}
    host.engine.exits["s-migrate"] = 1
    with pytest.raises(
        Failed,
        match=r"(?s)Release v2 did not get traffic \(v1 is still active\):\ns-migrate ended with exit status 1; last lines:.*last of s-m",
    ):
        act(host, verb="deploy", manifest=manifest(host, "v2", migrations=[step]), infrastructure="skip").run()
    assert (host.store.current, host.serves, host.running, host.store.schema) == ("v1", "v1", pair("v1"), {})


def test_of_many_releases_those_that_serve_and_served_stay(host: Host) -> None:
    for version in ("v1", "v2", "v3"):
        deploy(host, version)
    assert deploy(host, "v4", retain=1)["retired"] == ["v2", "v1"]
    assert host.store.previous == "v3" and host.store.manifest("v3")


# what goes wrong once it serves ------------------------------------------------------------------------------------------


def test_an_engine_that_fails_while_a_release_is_watched_lets_the_one_before_serve_before_anything_goes(host: Host) -> None:
    deploy(host, "v1")
    host.images("v2")
    serving: list[str] = []
    host.engine.on_delete = lambda path: serving.append(host.serves)
    ended = host.engine.last_exit

    def fail() -> None:
        host.engine.state("s-backend-v2", Running=False)
        host.engine.last_exit = broken  # type: ignore[method-assign]

    def broken(*_: Any) -> Any:
        host.engine.last_exit = ended  # type: ignore[method-assign]
        raise EngineError(500, "the engine has no events")

    host.clock.after(4, fail)
    with pytest.raises(Failed, match=r"Release v2 did not get traffic \(v1 is still active\):\nthe engine has no events"):
        act(host, verb="deploy", manifest=manifest(host, "v2"), infrastructure="skip", monitor_seconds=20).run()
    assert host.serves == "v1" and pair("v1") <= host.running and not pair("v2") & host.running
    assert set(serving) == {"v1"}, "nothing of it goes while the edge points to it"


# what ends in the middle -------------------------------------------------------------------------------------------------


def broken(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


ENDS = [TypeError("unsupported operand"), OSError("disk is full"), Interrupted("it was interrupted (SIGTERM)"), Failed("refused")]


@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    "where",
    ["release.rollout.request", "release.rollout.Edge.route", "release.deployment.Deployment.migrate", "docker.reconcile.Stack.wait"],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_release_that_ends_in_the_middle_leaves_nothing_of_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, error: BaseException, where: str, first: bool
) -> None:
    if not first:
        deploy(host, "v1")
    host.images("v2")
    monkeypatch.setattr(f"{UTILS}.{where}", broken(error))
    with pytest.raises(Failed, match=f"(?s)Release v2 .*{re.escape(str(error))}"):
        act(host, verb="deploy", manifest=manifest(host, "v2"), infrastructure="skip").run()
    assert host.running == (set() if first else pair("v1"))
    # Whether the edge has taken the routes is known when the next run has loaded them.
    assert host.store.pending == {} or (where == "release.rollout.Edge.route" and isinstance(error, Failed))
    assert (host.store.current, host.serves) == (("", "") if first else ("v1", "v1"))


def test_an_error_that_nobody_expected_says_what_it_is_and_where(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(host, "v1")
    host.images("v2")
    monkeypatch.setattr(f"{UTILS}.release.rollout.request", lambda *_: None + 1)  # type: ignore[operator]
    with pytest.raises(Failed) as reported:
        act(host, verb="deploy", manifest=manifest(host, "v2"), infrastructure="skip").run()
    assert "v1 is still active" in str(reported.value) and "unexpected error: TypeError: unsupported operand" in str(reported.value)
    assert "in test_deployment.py, line" in str(reported.value)


def test_one_that_ends_while_it_is_watched_gives_the_traffic_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(host, "v1")
    host.images("v2")
    monkeypatch.setattr(
        f"{UTILS}.release.rollout.Rollout._failure",
        broken(Interrupted("it was interrupted (SIGTERM)")),
    )
    with pytest.raises(Failed, match=r"(?s)v1 is still active.*interrupted"):
        act(host, verb="deploy", manifest=manifest(host, "v2"), infrastructure="skip", monitor_seconds=20).run()
    assert (host.serves, host.running, host.store.pending) == ("v1", pair("v1"), {})


def test_a_container_of_somebody_else_that_has_the_name_stays(host: Host) -> None:
    deploy(host, "v1")
    host.images("v2")
    host.engine.call("POST", "/containers/create", {"name": "s-backend-v2"}, {"Image": "x", "Labels": {}, "HostConfig": {}})
    with pytest.raises(
        Failed, match=r"(?s)v1 is still active.*s-backend-v2 is on this host, and Berth did not create it. Nothing of it was changed"
    ):
        act(host, verb="deploy", manifest=manifest(host, "v2"), infrastructure="skip").run()
    assert host.running == pair("v1") | {"s-backend-v2"}


def test_a_network_of_somebody_else_that_has_the_name_stays(host: Host) -> None:
    deploy(host, "v1")
    host.images("v2")
    host.engine.networks["s-other"] = {"Name": "s-other", "Labels": {}, "Containers": {"theirs": {}}}
    host.store.record_infrastructure(networks={"s-other": {"name": "s-other"}})
    with pytest.raises(Failed, match="network named s-other is on this host, and Berth did not create it"):
        act(host, verb="deploy", manifest=manifest(host, "v2"), infrastructure="reconcile").run()
    assert host.engine.networks["s-other"]["Containers"] and host.running == pair("v1")


def test_what_cannot_be_removed_is_named_with_the_command_that_does(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(host, "v1")
    host.images("v2")
    monkeypatch.setattr(f"{UTILS}.release.rollout.request", broken(TypeError("odd")))

    def stuck(path: str) -> None:
        if "s-backend-v2" in path:
            raise EngineError(500, "device is busy")

    host.engine.on_delete = stuck
    with pytest.raises(Failed, match=r"(?s)odd.*Not removed: s-backend-v2. To remove: docker rm --force s-backend-v2"):
        act(host, verb="deploy", manifest=manifest(host, "v2"), infrastructure="skip").run()
    assert host.running == pair("v1") | {"s-backend-v2"} and host.store.pending == {}


def test_what_cannot_be_removed_is_named_after_it_had_the_traffic_too(host: Host) -> None:
    deploy(host, "v1")
    host.images("v2")

    def stuck(path: str) -> None:
        if "s-backend-v2" in path:
            raise EngineError(500, "device is busy")

    host.engine.on_delete = stuck
    host.clock.after(4, lambda: host.engine.state("s-frontend-v2", Running=False))
    with pytest.raises(Failed, match=r"(?s)v1 is active again:\ns-frontend-v2 ended.*To remove: docker rm --force s-backend-v2"):
        act(host, verb="deploy", manifest=manifest(host, "v2"), infrastructure="skip", monitor_seconds=20).run()


def test_where_the_edge_cannot_be_pointed_back_nothing_goes_and_what_is_under_way_stays_noted(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(host, "v1")
    host.images("v2")
    route, calls = Edge.route, list[str]()

    def once(self: Edge, *words: Any, **more: Any) -> bool:
        calls.append("route")
        if len(calls) > 1:
            raise Failed("the edge is stuck")
        return route(self, *words, **more)

    monkeypatch.setattr(f"{UTILS}.release.rollout.Edge.route", once)
    monkeypatch.setattr(f"{UTILS}.release.rollout.Rollout._failure", broken(TypeError("odd")))
    with pytest.raises(Failed, match=r"(?s)odd.*the edge is stuck.*Not removed: s-backend-v2, s-frontend-v2.*make rollback"):
        act(host, verb="deploy", manifest=manifest(host, "v2"), infrastructure="skip", monitor_seconds=20).run()
    assert pair("v1") | pair("v2") <= host.running and host.store.pending["to"] == "v2" and host.serves.startswith("v2")


def test_a_release_that_serves_and_cannot_be_recorded_stays_under_way(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(host, "v1")
    host.images("v2")
    monkeypatch.setattr(type(host.store), "record", broken(OSError("No space left on device")))
    with pytest.raises(Failed, match=r"(?s)Release v2 is active, but could not be recorded.*No space left.*make deploy"):
        act(host, verb="deploy", manifest=manifest(host, "v2"), infrastructure="skip").run()
    assert host.serves == "v2" and pair("v2") <= host.running and host.store.pending["to"] == "v2"


def test_what_a_release_stands_on_goes_again_where_it_fails_but_not_what_took_the_place_of_another(host: Host) -> None:
    deploy(host, "v1")
    host.engine.image("sha256:model", "s-model:1")
    spec = {"name": "s-model", "image": "s-model:1", "healthcheck": {"test": ["CMD", "healthcheck"]}}
    host.store.record_infrastructure(containers={"s-model": spec})
    host.engine.fate["s-model"] = {"Health": {"Status": "unhealthy", "FailingStreak": 3, "Log": []}}
    host.images("v2")
    with pytest.raises(Failed, match="s-model did not become healthy"):
        act(host, verb="deploy", manifest=manifest(host, "v2"), infrastructure="reconcile").run()
    assert host.running == pair("v1")
    host.engine.place("s-model", image="sha256:older")
    with pytest.raises(Failed, match="Not removed, because it replaced an existing container: s-model"):
        act(host, verb="deploy", manifest=manifest(host, "v2"), infrastructure="reconcile").run()
    assert host.running == pair("v1") | {"s-model"}


def down(host: Host) -> None:
    """What make down leaves of the containers."""
    host.engine.containers.clear()


def test_where_the_release_before_does_not_run_nobody_is_told_that_it_serves(host: Host) -> None:
    for version in ("v1", "v2"):
        deploy(host, version)
    host.engine.image("sha256:model", "s-model:1")
    host.store.record_infrastructure(containers={"s-model": {"name": "s-model", "image": "s-model:1"}})
    edge = {"spec": {"name": "s-edge", "image": "s-model:1"}, "volumes": []}
    host.store.record_infrastructure(edge=edge)
    down(host)
    host.engine.answers["s-backend-v1"] = (500, "broken")
    with pytest.raises(Failed, match=r"\(v2 is not running either; to start it: make rollback VERSION=v2\)"):
        act(host, edge_service=edge).run()
    assert host.engine.containers == {} and host.store.pending == {}, "nothing that it started runs on"
    # The current release itself is not removed; what runs is named.
    host.engine.answers["s-backend-v2"] = (500, "broken")
    host.engine.fate["s-frontend-v2"] = {"Running": False, "Status": "exited"}
    with pytest.raises(
        Failed, match=r"(?s)it is the active release.*left running: s-backend-v2, s-edge, s-frontend-v2, s-model.*make down"
    ):
        act(host, release="v2", edge_service=edge).run()


def test_a_run_that_waited_for_the_lock_goes_back_to_what_serves_by_then(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    deploy(host, "v1")
    host.images("v3")
    waits = act(host, verb="deploy", manifest=manifest(host, "v3"), infrastructure="skip", monitor_seconds=20)
    deploy(host, "v2")
    monkeypatch.setattr(f"{UTILS}.release.rollout.Rollout._failure", broken(TypeError("odd")))
    with pytest.raises(Failed, match="v2 is still active"):
        waits.run()
    assert (host.serves, host.running, waits.before) == ("v2", pair("v2"), "v2")


def test_a_release_that_fails_after_a_run_that_was_killed_gives_the_traffic_back_too(host: Host) -> None:
    deploy(host, "v1")
    host.images("v2", "v3")
    # Killed while v2 was watched: it has the traffic, and v1 is the current release.
    host.store.begin_operation("deploy", "v1", "v2")
    killed = host.rollout()
    killed.stack.containers(release("v2")["containers"])
    killed.edge.set_marker(release("v2"))
    host.engine.answers["s-backend-v3"] = (500, "broken")
    assert host.serves == "v2"
    with pytest.raises(Failed, match="v1 is still active"):
        act(host, verb="deploy", manifest=manifest(host, "v3"), infrastructure="skip").run()
    assert (host.serves, host.store.pending) == ("v1", {})


def test_going_back_that_stays_under_way_is_taken_up_by_going_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("v1", "v2"):
        deploy(host, version)
    monkeypatch.setattr(type(host.store), "record", broken(OSError("No space left on device")))
    with pytest.raises(Failed, match=r"(?s)Release v1 is active, but could not be recorded.*make rollback VERSION=v1$"):
        act(host).run()
