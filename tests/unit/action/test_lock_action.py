"""What the controller adds to a module that works under a lock: who runs it, and whether the lock's run is still there."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.action import release_apply
from ansible_collections.berth.stack.plugins.action.release_apply import ActionModule, alive, has_ended, started

HERE = {"owner": "ann", "host": socket.gethostname(), "token": "t1", "started": "10", "pid": 4242, "name": "", "verb": "deploy"}
LINE = {"verb": "deploy", "who": "ann", "when": "now", "what": "v2"}


class Task:
    def __init__(self, action: str, check: bool) -> None:
        self.action, self.check_mode, self.args = f"berth.stack.{action}", check, {"directory": "/var/lib/s"}
        self.async_val = 0


class Host:
    """A host that answers modules, one result after another; it keeps what it was asked."""

    def __init__(self, *results: dict[str, Any]) -> None:
        self.results, self.asked = list(results), list[tuple[str, dict[str, Any]]]()

    def module(self, module_name: str, module_args: dict[str, Any], task_vars: Any = None) -> dict[str, Any]:
        self.asked.append((module_name.removeprefix("berth.stack."), module_args))
        return self.results.pop(0) if self.results else {}

    @property
    def recorded(self) -> list[tuple[str, str]]:
        """(outcome, what) of each line that was written to the audit log."""
        return [(args["outcome"], args["what"]) for name, args in self.asked if args.get("state") == "recorded"]


def run(
    monkeypatch: pytest.MonkeyPatch, host: Host, action: str = "release_apply", check: bool = False, dead: bool = True
) -> dict[str, Any]:
    made = ActionModule.__new__(ActionModule)
    made._task = Task(action, check)  # type: ignore[assignment]
    made._execute_module = host.module  # type: ignore[method-assign]
    monkeypatch.setattr(release_apply.ActionBase, "run", lambda *_, **__: {})
    monkeypatch.setattr(release_apply, "alive", lambda pid, since: not dead)
    return made.run(None, {})


def refused(**holder: Any) -> dict[str, Any]:
    return {"failed": True, "msg": "locked by ann; wait, or make unlock", "verb": "deploy", "holder": HERE | holder}


def test_the_module_is_told_who_runs_the_playbook(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host({})
    monkeypatch.setenv("SUDO_USER", "ben")
    run(monkeypatch, host)
    name, arguments = host.asked[0]
    parent = multiprocessing.parent_process()
    pid = parent.pid if parent else os.getpid()
    assert name == "release_apply" and arguments["directory"] == "/var/lib/s"
    assert arguments["who"] == {"owner": "ben", "host": socket.gethostname(), "pid": pid, "started": started(pid)}
    assert "dead" not in arguments


# (the lock's holder, whether its process is gone) -> whether the module is asked again, to take the lock over
HOLDERS = {
    "gone": ({}, True, True),
    "at work": ({}, False, False),
    "of another machine": ({"host": "elsewhere"}, True, False),
}


@pytest.mark.parametrize("case", HOLDERS)
def test_a_lock_is_taken_over_only_where_its_run_is_known_to_be_gone(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holder, dead, again = HOLDERS[case]
    host = Host(refused(**holder), {"changed": True})
    result = run(monkeypatch, host, dead=dead)
    modules = [args for name, args in host.asked if name == "release_apply"]
    assert [args.get("dead") for args in modules] == ([None, "t1"] if again else [None])
    assert result.get("failed", False) is not again
    assert host.recorded == ([] if again else [("refused", "locked by ann")])


def test_another_failure_takes_no_lock_over_and_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host({"failed": True, "msg": "the database does not answer"})
    run(monkeypatch, host)
    assert len(host.asked) == 1


def test_what_succeeded_is_not_run_again_whoever_held_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host({"changed": True, "holder": HERE})
    run(monkeypatch, host)
    assert [name for name, _ in host.asked] == ["release_apply"]


def test_check_mode_records_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(refused() | {"holders": [HERE | {"name": "load", "line": LINE}]})
    run(monkeypatch, host, check=True, dead=False)
    assert host.recorded == []


def test_runs_that_ended_under_a_lock_of_their_own_are_recorded_as_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock with a name is one of several; the stack's own, without, is left to who takes it over."""
    held = [HERE | {"name": "load", "line": LINE}, HERE | {"line": LINE}, HERE | {"name": "pull", "host": "elsewhere", "line": LINE}]
    host = Host({"holders": held})
    result = run(monkeypatch, host)
    assert host.recorded == [("interrupted", "v2")]
    assert host.asked[-1][1]["name"] == "load" and host.asked[-1][1]["who"]["owner"] == "ann"
    assert "holders" not in result


@pytest.mark.parametrize(("action", "told"), [("release_state", "audit"), ("stack_status", "status")])
@pytest.mark.parametrize("dead", [True, False])
def test_whoever_reads_is_told_of_interrupted_runs_and_writes_nothing(
    action: str, told: str, dead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Host({"holders": [HERE | {"line": LINE}], "audit": [], "status": {}})
    result = run(monkeypatch, host, action, dead=dead)
    lines = result["audit"] if told == "audit" else result["status"].get("interrupted", [])
    assert [line["who"] for line in lines] == (["ann"] if dead else [])
    assert len(host.asked) == 1 and "who" not in host.asked[0][1]


def test_a_process_is_told_from_its_successor_with_the_same_number() -> None:
    own = os.getpid()
    assert alive(own, started(own))
    assert not alive(own, "1"), "the number was given to another process since"
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert not alive(ended.pid, started(own))
    assert has_ended(HERE | {"pid": own, "started": "1"}) and not has_ended(HERE | {"pid": own, "started": started(own)})
