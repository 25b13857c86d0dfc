"""What tells that nothing changed: it sees what somebody did, and overlooks what changes by itself."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
import yaml
from ansible_collections.berth.stack.plugins.action import stack_fingerprint as action
from ansible_collections.berth.stack.plugins.modules import stack_fingerprint as module
from conftest import ROOT

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


def changed(**paths):
    actual = copy.deepcopy(CONTAINER)
    for path, value in paths.items():
        *folders, last = path.split("__")
        place = actual
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
def test_what_was_done_to_a_container_differs(by_hand):
    assert module.digest(module.container(by_hand)) != module.digest(module.container(CONTAINER))


def test_what_changes_by_itself_does_not_differ():
    later = changed(State__Pid=8, State__StartedAt="later", State__Health__Log=[2], NetworkSettings__Networks__app__IPAddress="10.0.0.9")
    assert module.container(later) == module.container(CONTAINER)


@pytest.mark.parametrize(
    ("state", "well"),
    [
        ({"Status": "running"}, True),
        ({"Status": "running", "Health": {"Status": "healthy"}}, True),
        ({"Status": "running", "Health": {"Status": "starting"}}, False),
        ({"Status": "paused", "Health": {"Status": "healthy"}}, False),
        ({"Status": "exited"}, False),
    ],
)
def test_only_what_runs_and_is_healthy_is_well(state, well):
    assert module.well({"State": state}) is well


def test_files_differ_by_content_mode_and_number(tmp_path):
    secret = tmp_path / "secrets" / "key"
    secret.parent.mkdir()
    secret.write_text("one")
    secret.chmod(0o400)
    before = dict(module.tree(secret.parent))
    assert module.compare(before, dict(module.tree(secret.parent))) == []
    secret.chmod(0o440)
    assert module.compare(before, dict(module.tree(secret.parent))) == [f"file {secret} differs"]
    secret.chmod(0o600)
    secret.write_text("two")
    secret.chmod(0o400)
    assert module.compare(before, dict(module.tree(secret.parent))) == [f"file {secret} differs"]
    secret.rename(secret.with_name("other"))
    assert module.compare(before, dict(module.tree(secret.parent))) == [
        f"file {secret} is gone",
        f"file {secret.with_name('other')} is new",
    ]


def test_no_secret_is_in_a_hash_that_is_told(tmp_path):
    (tmp_path / "key").write_text("canary-value")
    assert "canary-value" not in repr(dict(module.tree(tmp_path)))


@pytest.mark.parametrize(
    ("difference", "release"),
    [
        ("container berth-backend-v2 is new", True),
        ("container berth-backend-v1 differs", True),
        ("container berth-database differs", False),
        ("version asked for differs", True),
        ("setting backend_image_memory is new", True),
        ("setting database_memory is new", False),
        ("environment STACK_HOST differs", False),
        ("the last look at everything is more than 24 hours ago", False),
    ],
)
def test_what_a_release_brings_about_is_told_from_what_stands_around_it(difference, release):
    assert module.of_release(difference, ["container berth-backend-*", "version asked for *", "setting *_image_memory *"]) is release


@pytest.fixture
def project(tmp_path):
    for name in action.PROJECT:
        (tmp_path / name).mkdir()
    (tmp_path / "playbooks" / "settings.yml").write_text("""level: "{{ lookup('ansible.builtin.env', 'LOG_LEVEL') }}"\n""")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "main.py").write_text("pass\n")
    (tmp_path / "copy").write_text("certificate")
    return tmp_path


def wanted(project: Path, **variables):
    return dict(action.parts(project, [{"source": project / "source"}], variables, [project / "copy"]))


@pytest.mark.parametrize(
    "change",
    [
        lambda project: (project / "source" / "main.py").write_text("print()\n"),
        lambda project: (project / "roles" / "main.yml").write_text("[]\n"),
        lambda project: (project / "copy").unlink(),
        lambda project: os.environ.update(LOG_LEVEL="debug"),
    ],
)
def test_what_a_run_is_made_from_differs(project, monkeypatch, change):
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    before = wanted(project)
    assert wanted(project) == before
    change(project)
    assert len(module.compare(before, wanted(project))) == 1


def test_settings_differ_and_what_ansible_adds_does_not(project, monkeypatch):
    before = wanted(project, level="info", ansible_host="10.0.0.1")
    assert wanted(project, level="info", ansible_host="10.0.0.1", ansible_version={"full": "2"}, __registered=1, hostvars={}) == before
    assert module.compare(before, wanted(project, level="debug", ansible_host="10.0.0.1")) == ["setting level differs"]
    assert module.compare(before, wanted(project, level="info", ansible_host="10.0.0.2")) == ["setting ansible_host differs"]
    assert module.compare(before, wanted(project, ansible_host="10.0.0.1", other=1)) == ["setting level is gone", "setting other is new"]


def test_facts_of_the_host_are_no_settings(project, monkeypatch):
    """They are asked for by the run that installs an engine, and by no other."""
    facts = {"module_setup": True, "gather_subset": ["min"], "distribution": "Debian"}
    installed = {"ansible_facts": facts, "module_setup": True, "gather_subset": ["min"], "ansible_distribution": "Debian"}
    assert wanted(project, level="info", **installed) == wanted(project, level="info")
    assert "setting distribution" in wanted(project, distribution="mine", **installed), "a setting that only has a fact's name"


def test_a_secret_among_settings_or_in_the_environment_is_only_hashed(project, monkeypatch):
    monkeypatch.setenv("SECRET_KEY", "canary-value")
    found = wanted(project, vault_key="canary-value")
    assert "canary-value" not in repr(found)
    other = dict(action.parts(project, [{"source": project / "source"}], {"vault_key": "canary-value"}, [], key="another"))
    assert other["setting vault_key"] != found["setting vault_key"], "without the key nobody can try values against it"
    assert {"setting vault_key", "environment SECRET_KEY"} <= set(found)


def test_what_a_run_is_told_aside_does_not_count(project, monkeypatch):
    found = dict(action.parts(project, [], {}, [], ["BERTH_REASON", "LOCK_WAIT", "BERTH_VERSION", "STACK_HOST"]))
    assert {name for name in found if name.startswith("environment ")} == {
        "environment DOCKER_HOST",
        "environment LOG_LEVEL",
        "environment STACK_HOST",
    }


def test_the_revision_of_the_database_is_something_that_a_release_mends(host):
    host.engine.place("s-database")
    wanted = {"record": str(host.store.root / "unchanged.json"), "files": [], "objects": False}
    wanted["probes"] = [{"container": "s-database", "command": ["psql", name], "name": name} for name in ("", "revision of the database")]
    before = module.Look(host.engine, wanted, []).seen
    host.engine.execution = (0, '{"backend": ["0001"]}')
    differs = module.unlike(before, module.Look(host.engine, wanted, []).seen)
    assert differs == ["answer of psql in s-database", "revision of the database"]
    released = yaml.safe_load((ROOT / "roles/wiring/defaults/main.yml").read_text())["unchanged_with_release"]
    assert [module.of_release(f"{name} differs", released) for name in differs] == [False, True]


def test_a_setting_whose_keys_are_of_several_types_is_hashed():
    """YAML's bare NO is false; what is wrong with it is said when the settings are held against what they may be."""
    assert action._hash({False: 1, "a": 2}, "k") != action._hash({False: 2, "a": 2}, "k")
