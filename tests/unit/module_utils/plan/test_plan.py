"""The plan of a run: it sees what somebody did, overlooks what changes by itself, and chooses the phases that are needed."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.berth.stack.plugins.action import stack_plan as action
from ansible_collections.berth.stack.plugins.module_utils.plan import differences, host_state, phases
from ansible_collections.berth.stack.plugins.module_utils.plan.differences import (
    CHANGED,
    COMPONENTS,
    GONE,
    NEW,
    UNHEALTHY,
    Difference,
    Item,
)
from ansible_collections.berth.stack.plugins.module_utils.state.record import Record
from ansible_collections.berth.stack.plugins.modules import stack_plan as module
from conftest import ROOT

# Differences -> phases --------------------------------------------------------------------------------------------------


def of(component: str, what: str = "setting", kind: str = CHANGED, name: str = "x") -> Difference:
    return Difference(component, kind, what, name)


ALL = ("engine", "transfer", "infrastructure", "release", "certificate")
AROUND = ("transfer", "infrastructure", "release", "certificate")
CHECKS = ("settings", "secrets", "engine", "ports")


@pytest.mark.parametrize(
    ("difference", "expected", "checks"),
    [
        (of("sources", "source", name="backend"), ("release",), ()),
        (of("sources", "commit", name="frontend"), ("release",), ()),
        (of("release", "setting", name="backend_image_memory"), ("release",), ("settings",)),
        (of("release", "environment", name="LOG_LEVEL"), ("release",), ("settings",)),
        (of("release", "version"), ("release",), ()),
        (of("release", "current"), ("release",), ()),
        (of("release", "manifest"), ("release",), ()),
        (of("release", "container", GONE), ("release",), ()),
        (of("release", "container", UNHEALTHY), ("release",), ()),
        (of("release", "revision"), ("release",), ()),
        (of("image.backend", "image"), ("release",), ()),
        (of("image.frontend", "image", GONE), ("release",), ()),
        (of("image.backend", "setting"), AROUND, CHECKS),
        (of("image.infrastructure", "image"), AROUND, CHECKS),
        (of("edge", "container"), ("release",), ()),
        (of("edge", "container", GONE), ("release",), ("ports",)),
        (of("edge", "file"), ("release",), ()),
        (of("edge", "copy"), ("release", "certificate"), ()),
        (of("edge", "setting"), AROUND, CHECKS),
        (of("infrastructure", "container", GONE), ("release",), ()),
        (of("infrastructure", "network", GONE), ("release",), ()),
        (of("infrastructure", "volume", GONE), AROUND, CHECKS),
        (of("infrastructure", "file"), AROUND, CHECKS),
        (of("infrastructure", "answer"), AROUND, CHECKS),
        (of("infrastructure", "answer", GONE), ("release",), ()),
        (of("infrastructure", "setting"), AROUND, CHECKS),
        (of("secrets", "file", GONE), AROUND, CHECKS),
        (of("secrets", "environment", NEW), AROUND, CHECKS),
        (of("host", "file"), ALL, CHECKS),
        (phases.NO_ENGINE, ALL, CHECKS),
        (of("project", "directory"), ALL, CHECKS),
        (of("project", "setting"), ALL, CHECKS),
        (phases.FIRST, ALL, CHECKS),
        (phases.TOO_OLD, ALL, CHECKS),
    ],
)
def test_what_a_deployment_needs(difference: Difference, expected: tuple[str, ...], checks: tuple[str, ...]) -> None:
    elsewhere = phases.choose([difference], None, builder=False)
    assert elsewhere.phases == (expected if "transfer" in expected else ("transfer", *expected)), "images are brought to other hosts"
    here = phases.choose([difference], [], builder=True)
    assert (here.phases, here.images, here.checks) == (expected, (), checks)


@pytest.mark.parametrize(
    ("difference", "images", "alone"),
    [
        (of("sources", "source", name="backend"), ("backend", "frontend"), ("build",)),
        (of("sources", "commit", name="frontend"), ("backend", "frontend"), ("build",)),
        (of("sources", "source", name="model"), ("model",), ("build",)),
        (of("image.backend", "image", GONE), ("backend",), ("build",)),
        (of("image.frontend", "setting"), ("frontend",), ("engine", "build")),
        (of("image.infrastructure", "image"), ("database", "edge", "model"), ("build",)),
        (of("infrastructure", "setting"), phases.ALL_IMAGES, ("engine", "build")),
        (of("project", "environment"), phases.ALL_IMAGES, ("engine", "build")),
        (of("release", "version"), phases.ALL_IMAGES, ("engine", "build")),
        (phases.FIRST, phases.ALL_IMAGES, ("engine", "build")),
        (of("release", "setting"), (), ()),
        (of("release", "environment"), (), ()),
        (of("secrets", "environment"), (), ()),
        (of("edge", "copy"), (), ()),
    ],
)
def test_what_a_build_needs(difference: Difference, images: tuple[str, ...], alone: tuple[str, ...]) -> None:
    plan = phases.choose(None, [difference], builder=True)
    assert (plan.phases, plan.images) == (alone, images)
    assert plan.checks == (("settings", "engine") if "engine" in alone else ())
    deployed = phases.choose([of("sources", "source", name="backend")], [difference], builder=True)
    assert deployed.phases == (("build", "release") if images else ("release",)), "a deployment has seen to the engine"


def test_where_there_is_no_engine_the_sources_are_checked_before_one_is_installed() -> None:
    plan = phases.choose([phases.FIRST, phases.NO_ENGINE], [phases.FIRST, phases.NO_ENGINE], builder=True)
    assert (plan.phases, plan.checks) == (phases.PHASES, phases.CHECKS)
    assert "sources" not in phases.choose([phases.FIRST], [phases.FIRST], builder=True).checks


def test_nothing_differs_nothing_is_done() -> None:
    assert phases.choose([], [], builder=True) == phases.choose([], [phases.FIRST], builder=True) == phases.Plan()
    assert phases.choose(None, [], builder=True) == phases.choose([], None, builder=False) == phases.Plan()


def test_phases_are_in_order_and_every_component_has_some() -> None:
    for component in COMPONENTS:
        assert phases.choose([of(component, "another object")], None, builder=False).phases
    plan = phases.choose([of("sources", "source"), of("project")], [of("project")], builder=True)
    assert plan.phases == phases.PHASES


# What differs -----------------------------------------------------------------------------------------------------------

OWN = "0123456789ab"
CONTAINER = {
    "Id": "0123456789abcdef",
    "Name": "/berth-backend",
    "Image": "sha256:1",
    "Config": {"Env": ["A=1"], "User": "65532", "Hostname": "0123456789ab", "Labels": {"berth.stack": "berth"}},
    "HostConfig": {"Memory": 512, "Mounts": []},
    "NetworkSettings": {"Networks": {"app": {"NetworkID": "n1", "EndpointID": "e1", "IPAddress": "10.0.0.2", "Aliases": ["backend", OWN]}}},
    "State": {"Status": "running", "Health": {"Status": "healthy", "Log": [1]}, "Pid": 7, "StartedAt": "now"},
}  # fmt: skip


def changed(**paths: Any) -> dict[str, Any]:
    actual = copy.deepcopy(CONTAINER)
    for path, value in paths.items():
        *folders, last = path.split("__")
        place: Any = actual
        for folder in folders:
            place = place[folder]
        place[last] = value
    return actual


@pytest.mark.parametrize(
    "by_hand",
    [
        changed(Image="sha256:2"),
        changed(Config__Env=["A=2"]),
        changed(Config__Labels={}),
        changed(HostConfig__Memory=1024),
        changed(NetworkSettings__Networks={}),
        changed(NetworkSettings__Networks__app__NetworkID="n2"),
        changed(NetworkSettings__Networks__app__EndpointID=""),
        changed(NetworkSettings__Networks__app__Aliases=["other"]),
        changed(State__Status="paused"),
        changed(State__Health__Status="unhealthy"),
    ],
)
def test_what_was_done_to_a_container_differs(by_hand: dict[str, Any]) -> None:
    assert host_state.digest(host_state.container(by_hand)) != host_state.digest(host_state.container(CONTAINER))


def test_what_changes_by_itself_does_not_differ() -> None:
    later = changed(State__Pid=8, State__StartedAt="later", State__Health__Log=[2], NetworkSettings__Networks__app__IPAddress="10.0.0.9")
    assert host_state.container(later) == host_state.container(CONTAINER)


@pytest.mark.parametrize(
    ("state", "healthy"),
    [
        ({"Status": "running"}, True),
        ({"Status": "running", "Health": {"Status": "healthy"}}, True),
        ({"Status": "running", "Health": {"Status": "starting"}}, False),
        ({"Status": "paused", "Health": {"Status": "healthy"}}, False),
        ({"Status": "exited"}, False),
    ],
)
def test_only_what_runs_and_is_not_unhealthy_is_healthy(state: dict[str, Any], healthy: bool) -> None:
    assert host_state.healthy({"State": state}) is healthy


def sentences(before: dict[Item, str], after: dict[Item, str]) -> list[str]:
    return [one.sentence() for one in differences.compare(before, after)]


def test_files_differ_by_content_mode_and_number(tmp_path: Path) -> None:
    secret = tmp_path / "secrets" / "key"
    secret.parent.mkdir()
    secret.write_text("one")
    secret.chmod(0o400)

    def now() -> dict[Item, str]:
        return dict(host_state.tree(secret.parent, "secrets"))

    before = now()
    assert sentences(before, now()) == []
    secret.chmod(0o440)
    assert sentences(before, now()) == [f"file {secret} differs"]
    secret.chmod(0o600)
    secret.write_text("two")
    secret.chmod(0o400)
    assert sentences(before, now()) == [f"file {secret} differs"]
    secret.rename(secret.with_name("other"))
    assert sentences(before, now()) == [f"file {secret} is gone", f"file {secret.with_name('other')} is new"]
    assert {one.component for one in differences.compare(before, now())} == {"secrets"}


def test_no_secret_is_in_a_hash_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("canary-value")
    assert "canary-value" not in repr(dict(host_state.tree(tmp_path, "secrets")))


# What a run is made from ------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for name in (*action.FOLDERS, "group_vars"):
        (tmp_path / name).mkdir()
    (tmp_path / "group_vars" / "main.yml").write_text("""level: "{{ lookup('ansible.builtin.env', 'LOG_LEVEL') }}"\n""")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "main.py").write_text("pass\n")
    (tmp_path / "copy").write_text("certificate")
    return tmp_path


def desired(project: Path, environment: tuple[str, ...] = (), key: str = "", **variables: Any) -> dict[Item, str]:
    """What a run with these variables of a host is made from; their templates are trusted, as an inventory's are."""
    trusted = {name: trust_as_template(value) if isinstance(value, str) else value for name, value in variables.items()}
    templar = Templar(loader=DataLoader(), variables=trusted)
    made = action.Desired(trusted, templar.template, key, project)
    return made.all({"backend": {"source": project / "source"}}, environment, {str(project / "copy"): "edge"})


@pytest.mark.parametrize(
    ("change", "component"),
    [
        (lambda project: (project / "source" / "main.py").write_text("print()\n"), "sources"),
        (lambda project: (project / "roles" / "main.yml").write_text("[]\n"), "project"),
        (lambda project: (project / "copy").unlink(), "edge"),
        (lambda project: os.environ.update(LOG_LEVEL="debug"), "release"),
        (lambda project: os.environ.update(SECRET_KEY="x"), "secrets"),
        (lambda project: os.environ.update(DOCKER_HOST="tcp://x"), "project"),
    ],
)
def test_what_a_run_is_made_from_differs(project: Path, change: Callable[[Path], object], component: str) -> None:
    before = desired(project)
    assert desired(project) == before
    change(project)
    assert [one.component for one in differences.compare(before, desired(project))] == [component]


def test_the_version_asked_for_differs_wherever_it_is_set(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the command line's, and as the variable of a play: both name what is built (Molecule's scenario rollback built nothing as v2)."""
    default = "{{ lookup('ansible.builtin.env', 'BERTH_VERSION') }}"
    before = desired(project, stack_version=default)
    monkeypatch.setenv("BERTH_VERSION", "v2")
    for found in (desired(project, stack_version=default), desired(project, stack_version="v2")):
        (difference,) = differences.compare(before, found)
        assert (difference.component, difference.object) == ("release", "version")
        assert phases.affects_images(difference)


def test_settings_differ_and_what_ansible_adds_does_not(project: Path) -> None:
    before = desired(project, level="info", ansible_host="10.0.0.1")
    assert desired(project, level="info", ansible_host="10.0.0.1", ansible_version={"full": "2"}, __registered=1, hostvars={}) == before
    assert sentences(before, desired(project, level="debug", ansible_host="10.0.0.1")) == ["setting level differs"]
    assert sentences(before, desired(project, level="info", ansible_host="10.0.0.2")) == ["setting ansible_host differs"]
    assert sentences(before, desired(project, ansible_host="10.0.0.1", other=1)) == ["setting level is gone", "setting other is new"]


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("backend_image_memory", "release"),
        ("frontend_image_extra_environment", "release"),
        ("release_retain", "release"),
        ("backend_image_app", "image.backend"),
        ("frontend_image_variant", "image.frontend"),
        ("base_image_source", "image.infrastructure"),
        ("database_memory", "infrastructure"),
        ("stack_services", "infrastructure"),
        ("stack_jobs", "infrastructure"),
        ("stack_jobs_timezone", "infrastructure"),
        ("edge_hsts", "edge"),
        ("secrets_extra_files", "secrets"),
        ("docker_host_daemon_options", "host"),
        ("stack_host", "project"),
        ("vault_openai_api_key", "project"),
    ],
)
def test_a_setting_concerns_a_component(project: Path, name: str, component: str) -> None:
    found = differences.compare(desired(project), desired(project, **{name: 1}))
    assert [(one.component, one.kind, one.object, one.name) for one in found] == [(component, NEW, "setting", name)]


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ("{{ lookup('ansible.builtin.file', folder ~ '/value') }}", lambda project: (project / "value").write_text("two")),
        ("{{ lookup('file', folder ~ '/value') | upper }}", lambda project: (project / "value").write_text("two")),
        ("{{ lookup('pipe', 'cat ' ~ folder ~ '/value') }}", lambda project: (project / "value").write_text("two")),
        ("{{ query('ansible.builtin.lines', 'cat ' ~ folder ~ '/value') }}", lambda project: (project / "value").write_text("two")),
        ("{{ lookup('env', 'VALUE_OF_AN_INVENTORY') }}", lambda project: os.environ.update(VALUE_OF_AN_INVENTORY="two")),
        ("{{ lookup('env', 'VALUE_OF_' ~ 'AN_INVENTORY') }}", lambda project: os.environ.update(VALUE_OF_AN_INVENTORY="two")),
        ("{{ q('env', 'VALUE_OF_AN_INVENTORY', default='x')[0] }}", lambda project: os.environ.update(VALUE_OF_AN_INVENTORY="two")),
    ],
)
def test_a_value_behind_a_lookup_that_changed_is_seen(project: Path, value: str, change: Callable[[Path], object]) -> None:
    os.environ["VALUE_OF_AN_INVENTORY"] = "one"
    (project / "value").write_text("one")

    def now() -> dict[Item, str]:
        # One that refers to the other is as it was written: the other one differs.
        return desired(project, folder=str(project), value=value, refers="{{ value }}")

    before = now()
    assert now() == before
    change(project)
    found = differences.compare(before, now())
    assert [(one.object, one.name) for one in found] in ([("setting", "value")], [("environment", "VALUE_OF_AN_INVENTORY")])


def test_a_lookup_inside_a_structure_is_seen_and_one_that_fails_is_hashed_as_written(project: Path) -> None:
    (project / "value").write_text("one")
    inner = trust_as_template(f"{{{{ lookup('file', '{project}/value') }}}}")
    before = desired(project, sizes={"list": [inner]})
    (project / "value").write_text("two")
    assert sentences(before, desired(project, sizes={"list": [inner]})) == ["setting sizes differs"]
    (project / "value").unlink()
    failing = desired(project, sizes={"list": [inner]})
    assert desired(project, sizes={"list": [inner]}) == failing
    assert desired(project, other="{{ lookup('file', nowhere) }}")


def test_what_follows_from_the_sources_is_not_evaluated_as_they_are_hashed_themselves() -> None:
    assert action.looked_up("{{ lookup('berth.stack.found', 'backend_image_app') }}") == (False, set())
    assert action.looked_up("{{ lookup('berth.stack.found', 'x') }}{{ lookup('file', 'y') }}") == (True, set())
    assert action.looked_up(["{{ lookup('ansible.builtin.env', 'X') }}", {"a": "{{ lookup(\"berth.stack.found\", 'x') }}"}]) == (
        False,
        {"X"},
    )


def test_facts_of_the_host_are_no_settings(project: Path) -> None:
    """They are asked for by the run that installs an engine, and by no other."""
    facts = {"module_setup": True, "gather_subset": ["min"], "distribution": "Debian"}
    installed = {"ansible_facts": facts, "module_setup": True, "gather_subset": ["min"], "ansible_distribution": "Debian"}
    assert desired(project, level="info", **installed) == desired(project, level="info")
    assert Item("project", "setting", "distribution") in desired(project, distribution="mine", **installed), "only has a fact's name"


def remembered(tasks: Any) -> set[str]:
    """Names that tasks set for the rest of a run."""
    if isinstance(tasks, list):
        return set().union(*(remembered(task) for task in tasks))
    if not isinstance(tasks, dict):
        return set()
    facts = tasks.get("ansible.builtin.set_fact") or {}
    names = {*facts, tasks.get("register", "")} if isinstance(facts, dict) else set()
    return names.union(*(remembered(value) for value in tasks.values()))


def test_what_roles_remember_in_a_run_is_no_setting() -> None:
    """A second stack in the same run finds what they remembered of the first one."""
    files = [*ROOT.glob("roles/*/tasks/**/*.yml"), *ROOT.glob("playbooks/**/*.yml")]
    names = {name for file in files for name in remembered(yaml.safe_load(file.read_text())) if name and not name.startswith("__")}
    assert {name for name in names if name not in action.FACTS and not action.MAGIC.fullmatch(name)} == set()


def test_a_secret_among_settings_or_in_the_environment_is_only_hashed(project: Path) -> None:
    os.environ["SECRET_KEY"] = "canary-value"
    found = desired(project, vault_key="canary-value")
    assert "canary-value" not in repr(found)
    setting = Item("project", "setting", "vault_key")
    other = desired(project, vault_key="canary-value", key="another")
    assert other[setting] != found[setting], "without the key nobody can try values against it"
    assert Item("secrets", "environment", "SECRET_KEY") in found


def test_what_a_run_is_told_aside_does_not_count(project: Path) -> None:
    found = desired(project, environment=("BERTH_REASON", "LOCK_WAIT", "BERTH_VERSION", "STACK_HOST"))
    assert {item.name for item in found if item.object == "environment"} == {"DOCKER_HOST", "LOG_LEVEL", "STACK_HOST"}
    assert desired(project, release_verb="up", release_what="x", release_rebuild=True, plan_trust=True) == desired(project)


def test_a_setting_whose_keys_are_of_several_types_is_hashed(project: Path) -> None:
    """YAML's bare NO is false; what is wrong with it is output when the settings are validated."""
    made = action.Desired({}, lambda value: value, "k")
    assert made.hash({False: 1, "a": 2}) != made.hash({False: 2, "a": 2})


# Records ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def planner(host: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., module.Planner]:
    monkeypatch.setattr(module, "Engine", lambda timeout: host.engine)

    def make(**given: Any) -> module.Planner:
        defaults = {"directory": str(host.store.root), "stack": "s", "desired": [], "files": {}, "probes": [], "hours": 24}
        defaults |= {"builder": True, "builds": True, "deploys": True, "images": {}, "phases": [], "keep": {}}
        return module.Planner(defaults | given)

    return make


SOURCE = ["sources", "source", "backend", "1"]


def test_a_host_without_a_record_needs_every_phase(planner: Callable[..., module.Planner]) -> None:
    plan = planner().plan()
    assert (plan["known"], plan["phases"]) == (False, list(phases.PHASES))


def test_what_was_recorded_needs_nothing_and_a_source_that_changed_a_build_and_a_release(planner: Callable[..., module.Planner]) -> None:
    planner(desired=[SOURCE], keep={"version": "v1"}).keep("build")
    planner(desired=[SOURCE], phases=list(phases.PHASES), keep={"secrets_generation": "1"}).keep("deployment")
    same = planner(desired=[SOURCE]).plan()
    assert (same["phases"], same["reasons"], same["known"]) == ([], [], True)
    assert (same["built"], same["deployed"]) == ({"version": "v1"}, {"secrets_generation": "1"})
    plan = planner(desired=[[*SOURCE[:3], "2"]]).plan()
    assert (plan["phases"], plan["images"]) == (["build", "release"], ["backend", "frontend"])
    assert plan["reasons"] == [{"component": "sources", "kind": "changed", "object": "source", "name": "backend"}]


def test_a_build_knows_nothing_of_containers_and_a_deployment_of_a_built_version_builds_nothing(
    planner: Callable[..., module.Planner], host: Any
) -> None:
    planner(desired=[SOURCE]).keep("build")
    planner(desired=[SOURCE], phases=["infrastructure"]).keep("deployment")
    host.engine.place("s-database")
    other = [[*SOURCE[:3], "2"]]
    assert planner(desired=[SOURCE], deploys=False).plan()["phases"] == []
    assert planner(desired=other, builds=False).plan()["phases"] == ["release"]


def test_a_record_is_valid_for_hours_and_a_release_alone_does_not_renew_it(
    planner: Callable[..., module.Planner], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(module.time, "time", lambda: now)
    planner().keep("build")
    planner(phases=list(phases.PHASES)).keep("deployment")
    now += 23 * 3600
    planner(phases=["release"]).keep("deployment")
    assert planner().plan()["phases"] == []
    now += 2 * 3600
    plan = planner().plan()
    assert plan["phases"] == list(phases.PHASES) and plan["reasons"][0]["kind"] == "expired"


def test_a_container_that_is_unhealthy_is_a_difference_and_is_not_recorded(planner: Callable[..., module.Planner], host: Any) -> None:
    planner().keep("build")
    planner(phases=["infrastructure"]).keep("deployment")
    recorded = Record(host.store.root).section("deployment")
    host.engine.place("s-database", **{"berth.service": "database", "berth.container": "s-database"})
    host.engine.state("s-database", Status="exited")
    plan = planner().plan()
    assert {"component": "infrastructure", "kind": "unhealthy", "object": "container", "name": "s-database"} in plan["reasons"]
    planner(phases=["infrastructure"]).keep("deployment")
    assert Record(host.store.root).section("deployment") == recorded


def test_an_engine_that_does_not_answer_is_a_difference(planner: Callable[..., module.Planner], monkeypatch: pytest.MonkeyPatch) -> None:
    planner().keep("build")
    planner(phases=["infrastructure"]).keep("deployment")

    def silent(*_: Any, **__: Any) -> None:
        raise module.EngineError(0, "no Docker Engine answers")

    looking = planner()
    monkeypatch.setattr(looking.engine, "listing", silent)
    monkeypatch.setattr(looking.engine, "find", silent)
    plan = looking.plan()
    assert [(one["component"], one["kind"], one["object"]) for one in plan["reasons"]] == [("host", "gone", "engine")]
    assert "engine" in plan["phases"]


def test_the_revision_of_the_database_is_mended_by_a_release_and_its_roles_are_not(
    planner: Callable[..., module.Planner], host: Any
) -> None:
    probes = [{"component": "infrastructure", "object": "answer"}, {"component": "release", "object": "revision"}]
    probes = [probe | {"container": "s-database", "command": ["psql"]} for probe in probes]
    host.engine.place("s-database")
    planner(probes=probes).keep("build")
    planner(probes=probes, phases=["infrastructure"]).keep("deployment")
    assert planner(probes=probes).plan()["phases"] == []
    host.engine.execution = (0, '{"backend": ["0001"]}')
    plan = planner(probes=probes).plan()
    assert [Difference(**reason).sentence() for reason in plan["reasons"]] == [
        "answer of psql in s-database differs",
        "revision of the database differs",
    ]
    assert "infrastructure" in plan["phases"]
    # A release alone does not mend the roles: then the next run looks at everything.
    planner(probes=probes, phases=["release"]).keep("deployment")
    assert Record(host.store.root).section("deployment") == {}
    planner(probes=probes[1:], phases=["infrastructure"]).keep("deployment")
    host.engine.execution = (0, '{"backend": ["0002"]}')
    assert planner(probes=probes[1:]).plan()["phases"] == ["release"]


def test_state_of_an_earlier_version_is_taken_over_or_removed_and_never_misread(tmp_path: Path) -> None:
    root = tmp_path / "state"
    root.mkdir()
    for name in ("unchanged.json", "built.json", "foundation.json"):
        (root / name).write_text(json.dumps({"networks": {"s-data": {}}, "wanted": {}, "seen": {}}))
    record = Record(root)
    assert (record.section("deployment"), record.section("build")) == ({}, {})
    assert record.section("infrastructure")["networks"] == {"s-data": {}}
    record.keep("build", {"time": 1})
    assert [path.name for path in root.glob("*.json")] == ["state.json"]
    assert record.section("infrastructure")["networks"] == {"s-data": {}}
    assert oct((root / "state.json").stat().st_mode & 0o777) == "0o600"
    (root / "state.json").write_text(json.dumps({"format": 0, "build": {"time": 1}}))
    assert record.section("build") == {}


# What is output -----------------------------------------------------------------------------------------------------------

PLAN = {"phases": ["build", "release"], "images": ["backend"], "known": True, "release": "v1", "compared": 3, "deploys": True}
BUILT = {"release_version": "v1", "lines": ["backend: s-backend:v1"]}


def test_the_plan_in_sentences() -> None:
    reasons = [{"component": "sources", "kind": "changed", "object": "source", "name": "backend"}] * 10
    plan = PLAN | {"reasons": reasons}
    output = action.message(plan, "berth", "https://localhost", whole=False)
    assert output[0].startswith("Changed since the last run: source of backend differs; ") and output[0].endswith("and 2 more")
    assert output[1] == "Plan: build (backend) -> release"
    assert len(action.message(plan, "berth", "https://localhost", whole=True)) == 11, "--diff tells all of them"
    assert action.message(plan | {"known": False}, "berth", "https://localhost", whole=False) == []
    nothing = action.message(plan | {"phases": []}, "berth", "https://localhost", whole=False)
    assert nothing == ["berth v1 serves at https://localhost: nothing has changed since the last run (3 objects compared)"]
    built = action.message(plan | {"phases": [], "deploys": False, "built": BUILT}, "berth", "https://localhost", whole=False)
    assert built == ["backend: s-backend:v1", "v1 is built, and nothing has changed since (3 images compared)"]
