"""What Berth created, and what somebody else made of its images: only the first is drained, removed and counted."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.berth.stack.plugins.module_utils.docker.client import Engine, EngineError, other_context
from ansible_collections.berth.stack.plugins.module_utils.docker.ownership import is_owned, own_names, shared_images, stack_containers
from ansible_collections.berth.stack.plugins.module_utils.docker.reconcile import Stack, run_to_end
from ansible_collections.berth.stack.plugins.module_utils.docker.spec import SpecError, container_body, differences
from ansible_collections.berth.stack.plugins.module_utils.release.drain import Drain, retire
from ansible_collections.berth.stack.plugins.module_utils.state.store import Lock
from ansible_collections.berth.stack.plugins.modules.stack_prune import remove_image
from conftest import ROOT
from engines import LABELS, ME, SERVICES, Host, release

# What every container of the backend's image inherits.
INHERITED = {"berth.stack": "s", "berth.service": "backend", "berth.version": "v1"}
TASK = "com.docker.swarm.service.name"


@pytest.mark.parametrize(
    ("name", "labels", "is_own"),
    [
        ("mine", {}, False),
        ("s-backend", {}, False),
        ("s-backend-v1-import", {}, False),
        ("s-backend-v1", {"berth.container": "s-backend-v1"}, True),
        ("s-backend-v1-draining-012345", {"berth.container": "s-backend-v1"}, True),
        ("s-shell-17", {"berth.container": "s-shell-17"}, True),
        # docker commit, then docker run: the label comes along, the name does not.
        ("copy", {"berth.container": "s-backend-v1"}, False),
        # An earlier Berth gave no such label.
        ("s-backend-v1", {}, True),
        ("s-backend-v1-draining-012345", {}, True),
        ("s-database", {}, True),
        ("s-model", {}, False),
        # Tasks of the stack's service, of another service of the same image, and a container of a task's committed image.
        ("s-backend.1.abc", {TASK: "s-backend"}, True),
        ("other.1.abc", {TASK: "other"}, False),
        ("mine", {TASK: "s-backend"}, False),
    ],
)
def test_a_container_is_berths_by_its_own_label_or_by_a_name_that_is_remembered(name: str, labels: dict[str, str], is_own: bool) -> None:
    assert is_owned(name, INHERITED | labels, {"s-database"}) is is_own


def test_what_is_created_carries_its_name_and_what_was_created_without_is_not_replaced_for_it(host: Host) -> None:
    host.serve("v1")
    assert {name: one["Config"]["Labels"].get("berth.container") for name, one in host.engine.containers.items() if name != "s-edge"} == {
        "s-backend-v1": "s-backend-v1",
        "s-frontend-v1": "s-frontend-v1",
    }
    actual = host.engine.containers["s-backend-v1"]
    desired = container_body(release("v1")["containers"][0] | {"labels": INHERITED}, host.engine.images["sha256:backend-v1"])
    assert differences(desired, actual) == {}
    del actual["Config"]["Labels"]["berth.container"]
    assert differences(desired, actual) == {}
    assert differences(desired | {"Labels": INHERITED | {"berth.stack": "other"}}, actual) != {}


def test_somebodys_container_of_the_backends_image_is_no_leftover_and_not_counted(host: Host) -> None:
    host.serve("v1")
    host.engine.place("mine", image="sha256:backend-v1", **{"berth.service": "backend", "berth.version": "v1"})
    drain = Drain(host.engine, host.store, Lock(host.store, ME))
    assert drain.leftovers(LABELS, list(SERVICES), "v2") == ["s-frontend-v1", "s-backend-v1"]
    assert "mine" not in {one["Names"][0].lstrip("/") for one in stack_containers(host.engine, LABELS, host.store.containers)}


def test_containers_of_an_earlier_berth_are_known_by_the_state_directory(host: Host) -> None:
    host.serve("v1", around=host.infrastructure | {"database": {"container": "s-database", "name": "app"}})
    host.store.record_infrastructure(containers={"s-model": {"name": "s-model"}}, edge={"spec": {"name": "s-edge"}})
    assert host.store.containers == {"s-backend-v1", "s-frontend-v1", "s-edge", "s-database", "s-model"}


def test_a_container_of_a_wanted_name_that_is_somebody_elses_is_refused_and_stays(host: Host) -> None:
    host.images("v1")
    host.engine.place("s-database")
    host.engine.containers["s-database"]["Config"]["Labels"] = {"made.by": "hand"}
    with pytest.raises(SpecError, match=r"s-database is on this host, and Berth did not create it(?s:.*)docker rename s-database"):
        Stack(host.engine, LABELS, False).containers([{"name": "s-database", "image": "s-backend:v1"}])
    with pytest.raises(SpecError, match="did not create it"):
        run_to_end(host.engine, {"name": "s-database", "image": "s-backend:v1"}, LABELS, 5)
    assert host.engine.changes == []
    Stack(host.engine, LABELS, False).absent("containers", ["s-database"])
    assert "s-database" in host.engine.containers
    host.engine.place("s-model")
    Stack(host.engine, LABELS, False).absent("containers", ["s-model"])
    assert "s-model" not in host.engine.containers


# images -----------------------------------------------------------------------------------------------------------------


def image(*tags: str, digests: tuple[str, ...] = (), **labels: str) -> dict[str, Any]:
    given = {"berth.stack": "f", "berth.service": "database"} | {key.replace("_", "."): value for key, value in labels.items()}
    return {"Id": "sha256:1", "Labels": given, "RepoTags": list(tags), "RepoDigests": list(digests)}


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        (image("f-database:1", "mine:1"), ["f-database:1"]),
        (image("mine:1"), []),
        # Built by somebody from one of Berth's: it inherits the labels.
        (image("derived:1"), []),
        (image("f-database:1", "localhost:5000/f-database:1"), ["f-database:1"]),
        (image("f-database:1", "r.example:5443/f-database:1"), ["f-database:1", "r.example:5443/f-database:1"]),
        (image("f-database:1", digests=("r.example:5443/f-database@sha256:aa",)), ["r.example:5443/f-database@sha256:aa", "f-database:1"]),
        (image("f-database:1", "mine:1", digests=("hub/mine@sha256:aa",)), ["f-database:1"]),
        (image("shop/db:1", org_opencontainers_image_title="shop/db"), ["shop/db:1"]),
        (image("f-base-root:1", berth_service="base"), ["f-base-root:1"]),
        (image("recorded:1"), ["recorded:1"]),
    ],
)
def test_of_an_image_the_names_go_that_berth_gave_it(listed: dict[str, Any], names: list[str]) -> None:
    assert own_names(listed, given={"recorded:1"}, registry="r.example:5443") == names
    inspected = {key: value for key, value in listed.items() if key != "Labels"} | {"Config": {"Labels": listed["Labels"]}}
    assert own_names(inspected, given={"recorded:1"}, registry="r.example:5443") == names


@pytest.mark.parametrize(
    ("others", "gone"),
    [
        ([], ["berth-base:1", "berth-base-root:1"]),
        ([image("g-backend:1", berth_stack="g", berth_service="backend")], []),
        # The same stack's, and somebody's own that inherited the labels of a stack that is gone.
        ([image("f-backend:1", berth_service="backend")], ["berth-base:1", "berth-base-root:1"]),
        ([image("mine:1", berth_stack="g", berth_service="backend")], ["berth-base:1", "berth-base-root:1"]),
        # Of no stack, and no base.
        ([image("f-rig:1", berth_stack="", berth_service="rig")], ["berth-base:1", "berth-base-root:1"]),
    ],
)
def test_base_images_go_with_the_last_stack(others: list[dict[str, Any]], gone: list[str]) -> None:
    base, root = (
        image(name, berth_stack="", berth_service="base", org_opencontainers_image_title="berth-base")
        for name in ("berth-base:1", "berth-base-root:1")
    )
    shared = shared_images([*others, base, root], "f")
    assert [name for one in shared for name in own_names(one)] == gone


class Images(Engine):
    """An engine that untags, and refuses where a container uses the image."""

    def __init__(self, used: bool) -> None:
        self.used, self.gone = used, list[str]()

    def call(self, method: str, path: str, query: Any = None, body: Any = None, timeout: float | None = None) -> Any:
        if method == "GET":
            return {"Created": "1970-01-01T00:00:00Z"}
        assert (method, query) == ("DELETE", None), "nothing is forced"
        if self.used:
            raise EngineError(409, "conflict: container 0123 is using its referenced image")
        self.gone.append(path)


def test_destroy_leaves_another_tag_and_says_what_stays_in_use() -> None:
    engine = Images(used=False)
    assert remove_image(engine, image("f-database:1", "mine:1"), "", False) == (["image f-database:1"], "")
    assert engine.gone == ["/images/f-database:1"]
    assert remove_image(engine, image("mine:1"), "", False) == ([], "")
    # Nobody gave it a name: a build left it.
    assert remove_image(engine, image(), "", False) == (["image sha256:1"], "")
    assert remove_image(engine, image(org_opencontainers_image_created="1970-01-01T00:00:00Z"), "", False) == (["image sha256:1"], "")
    # Or somebody built it from one of Berth's.
    assert remove_image(engine, image(org_opencontainers_image_created="2026-01-01T00:00:00Z"), "", False) == ([], "")
    removed, why = remove_image(Images(used=True), image("f-database:1"), "", False)
    assert removed == [] and "f-database:1 was not removed: conflict" in why and "then: docker image rm f-database:1" in why


def test_a_retired_release_leaves_another_tag_of_its_image(host: Host) -> None:
    for day, version in enumerate(("v1", "v2"), 1):
        host.images(version)
        host.store.record(release(version, released=f"2026-01-0{day}"))
    host.engine.images["sha256:backend-v1"]["RepoTags"].append("mine:1")
    assert retire(host.engine, host.store, 1, {"v2"}) == ["v1"]
    assert host.engine.images["sha256:backend-v1"]["RepoTags"] == ["mine:1"]


# one engine -------------------------------------------------------------------------------------------------------------


def test_every_play_keeps_the_docker_cli_to_the_engine_of_the_modules() -> None:
    plays = [play for path in (ROOT / "playbooks").glob("*.yml") for play in yaml.safe_load(path.read_text()) if "hosts" in play]
    assert len(plays) > 20
    assert [play["name"] for play in plays if (play.get("environment") or {}).get("DOCKER_CONTEXT") != "default"] == []


def test_a_context_that_leads_elsewhere_is_named(tmp_path: Any) -> None:
    socket = "unix:///var/run/docker.sock"
    assert other_context(tmp_path, "", socket) == ("", "")
    # sha256 of the name, as the docker CLI lays it down.
    meta = tmp_path / "contexts/meta/7b1b763ee8f62eb88e4742a760f912d0b19bcd58b2b948999784bacc15a7f4d7"
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text('{"Name": "elsewhere", "Endpoints": {"docker": {"Host": "unix:///tmp/dead.sock"}}}')
    (tmp_path / "config.json").write_text('{"currentContext": "elsewhere"}')
    assert other_context(tmp_path, "", socket) == ("elsewhere", "unix:///tmp/dead.sock")
    assert other_context(tmp_path, "default", socket) == ("", "")
    assert other_context(tmp_path, "unknown", socket) == ("", "")
    assert other_context(tmp_path, "", "unix:///tmp/dead.sock") == ("", "")
    (tmp_path / "config.json").write_text("[]")
    assert other_context(tmp_path, "", "unix:///run/docker.sock") == ("", "")


def test_an_address_that_cannot_be_spoken_to_is_refused_with_the_way_out() -> None:
    with pytest.raises(EngineError, match=r"DOCKER_HOST is 'ssh://ann@host'.*unix:// and tcp://.*inventory"):
        Engine("ssh://ann@host").call("GET", "/version")
