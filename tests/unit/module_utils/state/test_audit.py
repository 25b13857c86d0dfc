"""Every command that acts on a host has its line in the audit, under its own name, whatever became of it."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from ansible_collections.berth.stack.plugins.action import release_apply as action
from ansible_collections.berth.stack.plugins.filter.status import status_text
from ansible_collections.berth.stack.plugins.module_utils.docker.client import EngineError
from ansible_collections.berth.stack.plugins.module_utils.state.interrupts import Interrupted
from ansible_collections.berth.stack.plugins.module_utils.state.store import Failed, Lock, Locked, Store, audit_outcome
from ansible_collections.berth.stack.plugins.modules import release_apply
from conftest import ROOT
from engines import LABELS, ME, Host
from test_deployment import act, deploy, manifest

OWN = ("berth.stack.release_apply", "berth.stack.release_lock")
OTHER = {"owner": "bob", "host": "there", "pid": 2, "started": "20"}


def reported(store: Store) -> list[tuple[str, str, str]]:
    return [(line["who"], line["verb"], line["outcome"]) for line in store.audit_log()]


def test_a_run_that_ended_under_the_lock_is_written_down_by_the_one_that_takes_it_over(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Lock(store, OTHER).acquire("rotate")
    store.begin_operation("rotate", "v1", "v2")
    Lock(store, ME).acquire("deploy", dead=Lock(store, OTHER).holder()["token"])
    line = store.audit_log()[0]
    assert reported(store) == [("bob@there", "rotate", "interrupted")] and (line["to"], line["seconds"]) == ("v2", 0.0)


def test_a_lock_that_was_given_back_or_is_our_own_is_no_interruption(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lock = Lock(store, OTHER)
    lock.acquire("deploy")
    lock.acquire("deploy", seconds=-1)
    lock.acquire("deploy")
    lock.release()
    Lock(store, ME).acquire("deploy")
    assert reported(store) == []


def test_a_lock_that_is_taken_away_tells_whose_run_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Lock(store, OTHER).acquire("down")
    mine = Lock(store, ME)
    mine.force_release()
    mine.finish("unlock", "ok")
    assert reported(store) == [("bob@there", "down", "interrupted"), ("ann@here", "unlock", "ok")]


def test_a_line_has_the_releases_and_gives_the_lock_back(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lock = Lock(store, ME)
    lock.acquire("down")
    assert lock.recorded_outcome == ""
    lock.finish("down", "failed", "Remove containers: no engine")
    assert set(store.audit_log()[0]) == {"when", "who", "verb", "what", "from", "to", "outcome", "seconds"}
    assert lock.holder() == {} and lock.recorded_outcome == "failed"
    assert Lock(store, ME | {"pid": 3}).recorded_outcome == "", "of another run"


def test_a_host_without_the_stack_gets_no_state_by_a_command_that_was_refused(tmp_path: Path) -> None:
    Lock(Store(tmp_path / "s"), ME).finish("deploy", "refused")
    assert not (tmp_path / "s").exists()


def test_commands_that_others_may_run_beside_have_a_lock_of_their_own(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Lock(store, ME, "stress").acquire("stress")
    Lock(store, OTHER).acquire("deploy")
    assert sorted((held["verb"], held["name"]) for held in store.holders) == [("deploy", ""), ("stress", "stress")]
    with pytest.raises(Locked):
        Lock(store, OTHER, "stress").acquire("stress")


def caused(error: Exception, cause: BaseException) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "actions", "outcome"),
    [
        (Failed("There is no release v9"), [], "refused"),
        (Locked(OTHER | {"since": "", "verb": "", "expires": ""}), [], "refused"),
        (Failed("did not become healthy"), ["create container s-backend-v2"], "failed"),
        (EngineError(0, "no Docker Engine responds"), [], "failed"),
        (Interrupted("it was interrupted (SIGINT)"), [], "interrupted"),
        (caused(Failed("Release v2 did not get traffic"), Interrupted("")), ["create container s-backend-v2"], "interrupted"),
    ],
)
def test_what_stopped_before_anything_was_done_was_refused(error: Exception, actions: list[str], outcome: str) -> None:
    assert audit_outcome(error, actions) == outcome


def test_a_release_tells_its_command_and_what_it_was_for(host: Host) -> None:
    deploy(host, "v1")
    host.images("v2")
    run = act(host, verb="rotate", what="new values for backend_password", manifest=manifest(host, "v2"), infrastructure="skip")
    run.lock.acquire("rotate")
    run.run()
    run.finish("ok", "switch the edge", "v2")
    line = host.store.audit_log()[-1]
    assert (line["verb"], line["from"], line["to"]) == ("rotate", "v1", "v2")
    assert line["what"] == "new values for backend_password; switch the edge"


class Module:
    """Stands for AnsibleModule: fails and ends by an exception with what it was told."""

    given: ClassVar[dict[str, Any]] = {}
    warnings: ClassVar[list[str]] = []

    def __init__(self, argument_spec: dict[str, Any], **_: Any) -> None:
        self.params = {name: option.get("default") for name, option in argument_spec.items()} | self.given
        self.check_mode = False

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def fail_json(self, **result: Any) -> None:
        raise SystemExit(result["msg"])

    exit_json = fail_json


@pytest.fixture
def apply(host: Host, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run the module release_apply with these options; what it says when it fails."""
    monkeypatch.setattr(release_apply, "AnsibleModule", Module)
    monkeypatch.setattr(release_apply, "raise_on_signals", lambda: None)

    def run(**given: Any) -> str:
        monkeypatch.setattr(Module, "given", {"directory": str(host.store.root), "labels": LABELS, "who": ME} | given)
        with pytest.raises(SystemExit) as ended:
            release_apply.main()
        return str(ended.value)

    return run


def test_one_that_is_interrupted_while_it_waits_for_the_lock_is_written_down(
    host: Host, apply: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(host, "v1")
    Lock(host.store, OTHER).acquire("backup")

    def end(*_: Any, **__: Any) -> None:
        raise Interrupted("it was interrupted (SIGINT)")

    monkeypatch.setattr(Lock, "acquire", end)
    assert "Nothing was changed" in apply(verb="rollback", lock_wait=60)
    assert reported(host.store)[-1] == ("ann@here", "rollback", "interrupted") and host.store.note("lock")["owner"] == "bob"


@pytest.mark.parametrize("where", ["Deployment.drain", "retire"])
def test_what_fails_after_the_release_serves_says_that_it_does(
    host: Host, apply: Callable[..., str], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    deploy(host, "v1")
    host.images("v2")

    def fail(*_: Any) -> None:
        raise EngineError(0, "no Docker Engine responds")

    monkeypatch.setattr(f"ansible_collections.berth.stack.plugins.module_utils.release.deployment.{where}", fail)
    message = apply(verb="deploy", manifest=manifest(host, "v2"), infrastructure="skip", edge_service={})
    assert message.startswith("Release v2 is active; removing the previous containers failed") and "no Docker Engine responds" in message
    line = host.store.audit_log()[-1]
    assert (line["from"], line["to"], line["outcome"], host.store.current) == ("v1", "v2", "failed", "v2")
    assert host.store.note("lock") == {}


def test_a_release_that_fails_names_what_it_was_about(host: Host) -> None:
    for version in ("v1", "v2"):
        deploy(host, version)
    host.engine.answers["s-backend-v1"] = (500, "broken")
    run = act(host)  # make rollback, without VERSION
    with pytest.raises(Failed):
        run.run()
    run.finish("failed", "it did not answer")
    assert [(line["from"], line["to"]) for line in host.store.audit_log()[-1:]] == [("v2", "v1")]


def test_a_database_that_does_not_fit_is_a_refusal() -> None:
    text = (ROOT / "roles/release/tasks/record_failure.yml").read_text()
    words = re.search(r"is search\('([^']*)'\)", text)
    assert words is not None
    checks = re.compile(words[1].replace("\\\\", "\\"))
    for action_name, refused in (("revision_check", True), ("ansible.builtin.assert", True), ("release_apply", False)):
        assert bool(checks.search(action_name)) == refused


def test_a_run_that_was_interrupted_before_it_had_the_lock_is_known_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    mine = Lock(store, ME)
    mine.announce("up")
    assert [(held["verb"], held["line"]["outcome"]) for held in store.holders] == [("up", "interrupted")]
    Lock(store, OTHER).acquire("deploy")  # it hinders nobody
    Lock(store, OTHER).release()
    mine.acquire("up")
    assert len(store.holders) == 1, "one line for one run"
    mine.finish("up", "ok")
    assert store.holders == [] and not (tmp_path / "lock.begun").exists()


# what questions tell ------------------------------------------------------------------------------------------------------


def held(pid: int, started: str) -> dict[str, Any]:
    line = {"verb": "deploy", "who": "ann@here", "when": "then", "outcome": "interrupted"}
    return {"host": socket.gethostname(), "pid": pid, "started": started, "line": line}


def test_status_and_audit_tell_a_run_that_ended_and_none_that_runs() -> None:
    running, ended = held(os.getpid(), action.started(os.getpid())), held(os.getpid(), "0")
    elsewhere = ended | {"host": "another"}
    assert action.interrupted({"audit": [], "holders": [running, elsewhere]})["audit"] == []
    assert action.interrupted({"audit": [], "holders": [ended]})["audit"] == [ended["line"]]
    status = {"stack": "s", "version": "v1", "previous": "", "url": "u", "services": [], "locked": "ann"}
    assert "locked by ann" in status_text(action.interrupted({"status": dict(status), "holders": [running]})["status"])
    text = status_text(action.interrupted({"status": dict(status), "holders": [ended]})["status"])
    assert "interrupted: deploy by ann@here, started then" in text and "locked by" not in text


# names of commands --------------------------------------------------------------------------------------------------------


def verbs(play: dict[str, Any]) -> set[str]:
    """The names that a playbook gives its command: by variables of plays and imports, and by options of modules."""
    return {play["vars"]["release_verb"]} if "release_verb" in play.get("vars", {}) else set()


@pytest.mark.parametrize("name", ["up", "rotate", "maintenance", "load", "pull", "stress", "down", "destroy", "rollback", "scale"])
def test_a_command_has_its_own_name_in_the_audit(name: str) -> None:
    plays = yaml.safe_load((ROOT / "playbooks" / f"{name}.yml").read_text())
    assert set().union(*(verbs(play) for play in plays)) == {name}
    if "ansible.builtin.import_playbook" not in plays[-1] and name != "up":
        assert '"tasks_from": "fail"' in json.dumps(plays), "failures are recorded"


@pytest.mark.parametrize(
    ("file", "verb"),
    [("release/tasks/rollback.yml", "rollback"), ("release/tasks/scale.yml", "scale"), ("release/tasks/unlock.yml", "unlock")],
)
def test_a_command_of_one_module_names_itself(file: str, verb: str) -> None:
    tasks = yaml.safe_load((ROOT / "roles" / file).read_text())
    named = [
        task[module]["verb"] for task in tasks for module in ("berth.stack.release_apply", "berth.stack.release_lock") if module in task
    ]
    assert named == [verb]


def test_what_the_audit_calls_a_command_is_no_change_of_a_setting() -> None:
    from ansible_collections.berth.stack.plugins.action import stack_plan as module

    assert (
        module.MAGIC.fullmatch("release_verb") and module.MAGIC.fullmatch("release_what") and not module.MAGIC.fullmatch("release_retain")
    )
