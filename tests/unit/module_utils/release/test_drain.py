"""What does not serve any more: which containers go, in which order; which releases and images are let go, and which never."""

from __future__ import annotations

import fcntl

from ansible_collections.berth.stack.plugins.module_utils.release.drain import Drain, retire
from ansible_collections.berth.stack.plugins.module_utils.state.store import Lock
from engines import LABELS, ME, SERVICES, Host, release


def drain(host: Host) -> Drain:
    return Drain(host.engine, host.store, Lock(host.store, ME))


def test_frontends_go_first_for_they_ask_the_backends(host: Host) -> None:
    for version in ("v1", "v2", "v3"):
        for service in SERVICES:
            host.engine.place(f"s-{service}-{version}", **{"berth.service": service, "berth.version": version})
    assert drain(host).leftovers(LABELS, list(SERVICES), "v3") == ["s-frontend-v1", "s-frontend-v2", "s-backend-v1", "s-backend-v2"]


def test_what_serves_and_what_is_no_part_of_a_release_is_no_leftover(host: Host) -> None:
    host.engine.place("s-backend-v2", **{"berth.service": "backend", "berth.version": "v2"})
    host.engine.place("s-database", **{"berth.service": "database", "berth.version": "v1"})
    host.engine.place("other-backend-v1", **{"berth.stack": "other", "berth.service": "backend", "berth.version": "v1"})
    assert drain(host).leftovers(LABELS, list(SERVICES), "v2") == []


def test_one_that_was_told_to_go_is_a_leftover_also_where_its_release_serves_again(host: Host) -> None:
    for name in ("s-backend-v1", "s-backend-v1-draining-012345"):
        host.engine.place(name, **{"berth.service": "backend", "berth.version": "v1"})
    assert drain(host).leftovers(LABELS, list(SERVICES), "v1") == ["s-backend-v1-draining-012345"]


def test_a_drain_is_under_way_as_long_as_somebody_holds_its_file(host: Host) -> None:
    one = drain(host)
    assert not one.busy() and host.files() == {}, "asking leaves nothing"
    host.store.prepare()
    with one.lock_file.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert one.busy()
    assert not one.busy()


# releases that are not kept ---------------------------------------------------------------------------------------------


def released(host: Host, *versions: str, **images: str) -> None:
    """Releases one a day, each after the one before; `images`: a backend's image that is not its own, by version."""
    for day, version in enumerate(versions, 1):
        host.images(version)
        manifest = release(version, released=f"2026-01-0{day}", previous=host.store.current)
        if version in images:
            del host.engine.images[manifest["images"]["backend"]]
            manifest["images"]["backend"] = images[version]
        host.store.record(manifest)


def remembered(host: Host) -> list[str]:
    return sorted(manifest["version"] for manifest in host.store.releases())


def test_the_newest_are_kept_and_the_others_go_with_their_images(host: Host) -> None:
    released(host, "v1", "v2", "v3", "v4")
    (host.store.folder / "v1.backend.cdx.json").write_text("{}")
    assert retire(host.engine, host.store, 2, {"v4"}) == ["v2", "v1"]
    assert remembered(host) == ["v3", "v4"]
    assert set(host.engine.images) == {f"sha256:{service}-{version}" for service in SERVICES for version in ("v3", "v4")}
    assert not list(host.store.folder.glob("v1*"))


def test_what_serves_and_what_one_would_go_back_to_stay_however_old(host: Host) -> None:
    released(host, "v1", "v2", "v3", "v4", "v5")
    # Gone back from v5 to v2, which was deployed after v1.
    assert retire(host.engine, host.store, 1, {"v2", "v1"}) == ["v4", "v3"]
    assert remembered(host) == ["v1", "v2", "v5"]
    assert {f"sha256:{service}-{version}" for service in SERVICES for version in ("v1", "v2")} <= set(host.engine.images)


def test_an_image_that_a_kept_release_has_stays(host: Host) -> None:
    released(host, "v1", "v2", "v3", v3="sha256:backend-v1")
    assert retire(host.engine, host.store, 1, {"v3"}) == ["v2", "v1"]
    assert set(host.engine.images) == {"sha256:backend-v1", "sha256:frontend-v3"}
    assert host.engine.images["sha256:backend-v1"]["RepoTags"] == ["s-backend:v1"]


def test_an_image_that_a_container_outside_the_releases_has_stays_and_its_release_goes(host: Host) -> None:
    released(host, "v1", "v2")
    host.engine.place("somebody", image="sha256:backend-v1")
    assert retire(host.engine, host.store, 1, {"v2"}) == ["v1"]
    assert remembered(host) == ["v2"]
    assert "sha256:backend-v1" in host.engine.images and "sha256:frontend-v1" not in host.engine.images


def test_an_image_whose_name_another_one_took_goes_by_its_id(host: Host) -> None:
    released(host, "v1", "v2")
    host.engine.images["sha256:backend-v1"]["RepoTags"] = []
    assert retire(host.engine, host.store, 1, {"v2"}) == ["v1"]
    assert set(host.engine.images) == {f"sha256:{service}-v2" for service in SERVICES}


def test_an_image_that_is_gone_already_is_no_reason_to_stay(host: Host) -> None:
    released(host, "v1", "v2")
    del host.engine.images["sha256:backend-v1"]
    assert retire(host.engine, host.store, 1, {"v2"}) == ["v1"]
    assert ("DELETE", "/images/sha256:backend-v1") not in host.engine.changes
