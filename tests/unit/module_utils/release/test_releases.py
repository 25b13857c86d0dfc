"""What a host remembers of its releases; the lock; the routes of the edge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.docker.reconcile import Stack
from ansible_collections.berth.stack.plugins.module_utils.release.drain import Drain
from ansible_collections.berth.stack.plugins.module_utils.release.edge import Edge, routes
from ansible_collections.berth.stack.plugins.module_utils.state.store import Failed, Lock, Locked, Store, fingerprint, with_name
from engines import ME

OTHER = {"owner": "bob", "host": "there", "pid": 2, "started": "20"}


def manifest(**other: Any) -> dict[str, Any]:
    return {"image_version": "v1", "images": {"backend": "sha256:1"}, "containers": [{"name": "s-backend-@release@"}], **other}


def kept(store: Store, made: dict[str, Any], **other: Any) -> str:
    name = store.name(made)
    store.record(with_name(made, name) | {"version": name, "fingerprint": fingerprint(made), "previous": store.current, **other})
    return name


def test_where_the_release_before_was_retired_it_is_the_newest_that_is_older(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for day, version in enumerate(("v1", "v2", "v3", "v4"), 1):
        kept(store, manifest(image_version=version), released=f"2026-01-0{day}")
    store.forget("v3")
    assert (store.current, store.previous) == ("v4", "v2")
    for version in ("v1", "v2"):
        store.forget(version)
    assert store.previous == ""


def test_a_release_has_the_name_of_its_images_and_a_number_where_only_the_rest_differs(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert kept(store, manifest()) == "v1"
    assert kept(store, manifest(secrets_generation="2")) == "v1-r2"
    assert kept(store, manifest(secrets_generation="3")) == "v1-r3"
    # The same content again is the same release.
    assert store.name(manifest(secrets_generation="2")) == "v1-r2"
    assert store.name(manifest()) == "v1"
    assert store.manifest("v1-r2")["containers"] == [{"name": "s-backend-v1-r2"}]
    assert (store.current, store.previous) == ("v1-r3", "v1-r2")


def test_who_released_it_and_when_do_not_make_another_release() -> None:
    assert fingerprint(manifest(by="ann", released="2026", previous="v0")) == fingerprint(manifest())
    assert fingerprint(manifest(url="https://other")) != fingerprint(manifest())


def test_state_is_readable_by_root_alone_but_for_the_names(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    kept(store, manifest())
    store.audit(who="ann@here", verb="deploy", outcome="ok", seconds=1)
    assert oct((tmp_path / "state").stat().st_mode & 0o777) == "0o711"
    assert oct((tmp_path / "state/releases/v1.json").stat().st_mode & 0o777) == "0o600"
    assert store.audit_log()[0]["verb"] == "deploy"


def test_forgetting_a_release_takes_its_bills_of_materials_along(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept(store, manifest())
    (store.folder / "v1.backend.cdx.json").write_text("{}")
    assert [m["version"] for m in store.releases()] == ["v1"]
    store.forget("v1")
    assert list(store.folder.iterdir()) == []


def test_one_works_at_a_time_and_the_other_is_told_who(tmp_path: Path) -> None:
    store = Store(tmp_path)
    mine, theirs = Lock(store, ME), Lock(store, OTHER)
    assert mine.acquire("deploy", "the new search") == ""
    assert mine.acquire("deploy") == ""  # our own run, again
    with pytest.raises(Locked, match=r"ann on here \(process 1\).*deploy") as refused:
        theirs.acquire("rollback")
    assert refused.value.holder["pid"] == 1
    assert theirs.release() == 0.0 and mine.holder()
    assert mine.release() >= 0
    assert theirs.acquire("rollback") == ""


def test_a_lock_that_expired_or_whose_run_is_gone_is_taken_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    mine, theirs = Lock(store, ME), Lock(store, OTHER)
    theirs.acquire("deploy", seconds=-1)
    assert "bob on there" in mine.acquire("deploy")
    mine.release()
    theirs.acquire("deploy")
    token = theirs.holder()["token"]
    with pytest.raises(Locked):
        mine.acquire("deploy", dead="another")
    assert "bob on there" in mine.acquire("deploy", dead=token)


def test_a_process_that_started_at_another_time_is_another_one(tmp_path: Path) -> None:
    lock = Lock(Store(tmp_path), ME)
    lock.acquire("deploy")
    assert not Lock(lock.store, ME | {"started": "11"}).is_own(lock.holder())


def test_waiting_for_a_lock_ends(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Lock(store, OTHER).acquire("deploy")
    with pytest.raises(Locked):
        Lock(store, ME).acquire("deploy", wait=0.1)


def test_while_a_module_works_the_next_one_waits(tmp_path: Path) -> None:
    lock = Lock(Store(tmp_path), ME)
    lock.acquire("deploy")
    with lock.exclusive(), pytest.raises(Locked), Lock(lock.store, OTHER).exclusive(patience=0.2):
        pass
    with Lock(lock.store, OTHER).exclusive(patience=0):
        assert (tmp_path / ".working").exists()


# --- routes --------------------------------------------------------------------------------------------------------------


class NoEngine:
    """An edge that is up, and takes its routes unless told otherwise; says how often it was asked to load them."""

    def __init__(self) -> None:
        self.loaded, self.status = 0, 0

    def call(self, method: str, path: str) -> dict[str, Any]:
        return {"State": {"Running": True, "Paused": False, "Status": "running"}}

    def find(self, path: str) -> dict[str, Any]:
        return self.call("GET", path)

    def execute(self, container: str, command: list[str]) -> tuple[int, str]:
        self.loaded += 1
        return self.status, "no such directive"


def standing(tmp_path: Path) -> tuple[Edge, NoEngine]:
    engine = NoEngine()
    settings = {"container": "s-edge", "directory": str(tmp_path), "reload": ["reload"]}
    stack = Stack(engine, {}, check=False)  # type: ignore[arg-type]
    return Edge(stack, Store(tmp_path / "state"), {"edge": settings, "edge_service": {}}), engine


def served(version: str, text: str = "one") -> dict[str, Any]:
    edge = {"caddyfile": f"{text} /@routes@.* s-backend-{{release}}:8000", "upstreams": {"backend": "s-backend-{release}:8000"}}
    return {"version": version, "edge": edge}


def names(edge: Edge) -> list[str]:
    return sorted(path.name for path in edge.markers.iterdir())


def test_the_switch_of_two_releases_with_the_same_routes_is_a_new_file(tmp_path: Path) -> None:
    edge, engine = standing(tmp_path)
    one, two = served("v1"), served("v2.1-r2")
    mark = routes(one["edge"])[1]
    assert len(mark) == 12 and mark in routes(one["edge"])[0]
    assert edge.route(one, {}) and engine.loaded == 1 and names(edge) == [f"{mark}.999999.v1"]
    assert edge.route(two, one, monitored=True)
    assert names(edge) == [f"{mark}.999998.v2.1-r2~v1", f"{mark}.999999.v1"], "the first counts; the other may have been read just now"
    assert not edge.route(two, one, monitored=True), "it is there already"
    edge.set_marker(two)
    assert names(edge) == [f"{mark}.999997.v2.1-r2", f"{mark}.999998.v2.1-r2~v1"]
    assert edge.route(one, two) and edge._marker(mark) == "v1"
    assert engine.loaded == 1


def test_other_routes_are_loaded_and_bring_a_file_of_their_own(tmp_path: Path) -> None:
    edge, engine = standing(tmp_path)
    one, two = served("v1"), served("v2", "two")
    edge.route(one, {})
    assert edge.route(two, one) and engine.loaded == 2
    kept = [f"{routes(two['edge'])[1]}.999999.v2"], routes(two["edge"])[0]
    assert (names(edge), edge.caddyfile.read_text()) == kept
    engine.status = 1
    with pytest.raises(Failed, match=r"did not accept the new routes and keeps the old ones: no such directive"):
        edge.route(served("v3", "three"), two)
    assert (names(edge), edge.caddyfile.read_text()) == kept


def test_an_interrupted_switch_loads_the_routes_again(tmp_path: Path) -> None:
    edge, engine = standing(tmp_path)
    one = served("v1")
    edge.route(one, {})
    edge.resumed = True
    assert not edge.route(one, {}) and engine.loaded == 2


def test_an_edge_that_was_started_with_the_routes_of_before_loads_the_new_ones_when_it_is_up(tmp_path: Path) -> None:
    edge, engine = standing(tmp_path)
    one, two = served("v1"), served("v2", "two")
    edge.route(one, {})
    waited: list[int] = []
    edge.stack.created.add("s-edge")
    edge.stack.wait = lambda names, seconds: waited.append(engine.loaded)  # type: ignore[method-assign]
    edge.options["health_timeout"] = 1
    assert edge.route(two, one) and waited == [1] and engine.loaded == 2


def test_what_releases_stand_on_is_remembered_until_it_is_said_not_to_be(tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    assert not any(store.infrastructure.values())
    store.record_infrastructure(containers={"s-model": {"image": "m:1"}}, networks={"s-data": {"internal": True}})
    store.record_infrastructure(containers={"s-model": {"image": "m:2"}, "s-database": {"image": "d:1"}})
    assert store.infrastructure["containers"] == {"s-model": {"image": "m:2"}, "s-database": {"image": "d:1"}}
    store.record_infrastructure(containers={"s-model": None}, edge={"spec": {"name": "s-edge"}, "volumes": []})
    assert store.infrastructure["containers"] == {"s-database": {"image": "d:1"}}
    assert store.infrastructure["networks"] == {"s-data": {"internal": True}} and store.infrastructure["edge"]["spec"] == {"name": "s-edge"}
    assert oct((tmp_path / "state" / "state.json").stat().st_mode & 0o777) == "0o600"


def test_releases_that_name_their_upstreams_themselves_are_gone_back_to(tmp_path: Path) -> None:
    edge, engine = standing(tmp_path)
    two = served("v2")
    old = {"version": "v1", "edge": {"caddyfile": "reverse_proxy s-backend-v1:8000", "upstreams": {}}}
    edge.route(two, {})
    assert edge.route(old, two, monitored=True) and names(edge) == [] and engine.loaded == 2
    assert edge.caddyfile.read_text() == old["edge"]["caddyfile"]


class Containers:
    """An engine that notes what is removed; every container is there."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def find(self, path: str) -> dict[str, Any]:
        return {"Id": "0123456789", "Config": {"Labels": {"berth.version": "v1"}}}

    def call(self, method: str, path: str, *_: Any, **__: Any) -> None:
        if method == "DELETE":
            self.removed.append(path)


def test_a_warm_release_is_let_go_by_the_one_that_was_told_last(tmp_path: Path) -> None:
    engine, store = Containers(), Store(tmp_path)
    store.prepare()
    drain = Drain(engine, store, Lock(store, ME))  # type: ignore[arg-type]
    # On standby, active again, replaced, and on standby again: the first timer is over, the second one is not.
    first, second = drain._claim(["s-backend-v1"]), drain._claim(["s-backend-v1"])
    drain._drain(["s-backend-v1"], 0, first)
    assert engine.removed == []
    drain._drain(["s-backend-v1"], 0, second)
    assert engine.removed == ["/containers/0123456789"]


def test_a_manifest_survives_its_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept(store, manifest(note=["ü"]))
    assert json.loads((store.folder / "v1.json").read_text())["note"] == ["ü"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["current", "releases", "v1.json"]
