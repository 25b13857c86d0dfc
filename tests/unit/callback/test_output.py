"""What a run prints by the callback `berth`: progress of long tasks, what changed, and one message per failure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.callback import berth
from ansible_collections.berth.stack.plugins.callback.berth import CallbackModule, failure_lines

FAILURES = {
    "a message": ({"msg": "the port is taken"}, ["the port is taken"]),
    "nothing to say": ({"msg": ""}, []),
    "a command that printed something": (
        {"rc": 2, "cmd": ["a", "b"], "stdout": "", "stderr": "no space\n", "msg": "non-zero return code"},
        ["no space"],
    ),
    "a command that printed nothing": ({"rc": 2, "cmd": ["a", "b"], "msg": "non-zero return code"}, ["`a b` ended with status 2"]),
    "a command that was not found": ({"rc": 2, "cmd": "a", "msg": "No such file: a"}, ["No such file: a"]),
    "a module with output": ({"rc": 1, "msg": "it failed", "stdout": "", "stderr": "why"}, ["it failed", "why"]),
    "each item of a loop that failed": (
        {"msg": "x", "results": [{"failed": True, "msg": "1"}, {"msg": "2"}, {"failed": True, "msg": "3"}]},
        ["1", "3"],
    ),
    "a secret": ({"_ansible_no_log": True, "msg": "password"}, ["(the output is hidden because it may contain a secret)"]),
    "a secret in a loop": (
        {"results": [{"failed": True, "_ansible_no_log": True, "msg": "password"}]},
        ["(the output is hidden because it may contain a secret)"],
    ),
}


@pytest.mark.parametrize("case", FAILURES)
def test_a_failure_is_told_by_what_went_wrong(case: str) -> None:
    outcome, lines = FAILURES[case]
    assert failure_lines(outcome, "Do it") == lines


def test_an_unexpected_error_names_the_task_and_how_to_see_the_traceback() -> None:
    lines = failure_lines({"msg": "Task failed: Module failed: KeyError 'x'"}, "Do it")
    assert lines[0] == "Internal error in the task 'Do it': Module failed: KeyError 'x'"
    assert "-vvv" in lines[1]


class Display:
    def __init__(self, verbosity: int) -> None:
        self.verbosity, self.lines, self.errors, self.warnings = verbosity, list[str](), list[str](), list[str]()
        self.columns = 140

    def display(self, message: str, color: str | None = None, stderr: bool = False, **_rest: Any) -> None:
        (self.errors if stderr else self.lines).append(message)

    def warning(self, message: str, **_rest: Any) -> None:
        self.warnings.append(message)


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> tuple[CallbackModule, Display]:
    """The callback as with BERTH_OUTPUT (`plain` or empty) and -v; without the thread that reports progress."""
    form, verbosity = getattr(request, "param", ("", 0))
    monkeypatch.setenv("BERTH_OUTPUT", form)
    monkeypatch.setattr(berth.threading, "Thread", lambda **_: SimpleNamespace(start=lambda: None))
    made = CallbackModule()
    made._display = Display(verbosity)
    return made, made._display


def result(action: str = "command", name: str = "berth.stack.release : Do it", check: bool = False, **outcome: Any) -> Any:
    task = SimpleNamespace(action=action, get_name=lambda: name, check_mode=check, delegate_to=None, _uuid="1")
    return SimpleNamespace(task=task, result=outcome, host=SimpleNamespace(get_name=lambda: "web-1"), task_fields={"delegate_to": None})


def progress(made: CallbackModule, monkeypatch: pytest.MonkeyPatch, seconds: int) -> list[str]:
    """What is reported while a task runs for so long."""
    clock = SimpleNamespace(now=made._task_started)

    def sleep(step: float) -> None:
        clock.now += step
        if clock.now - made._task_started > seconds:
            raise InterruptedError

    monkeypatch.setattr(berth, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep))
    with pytest.raises(InterruptedError):
        made._progress()
    return made._display.lines


@pytest.mark.parametrize(("seconds", "lines"), [(4, 0), (5, 0), (6, 1), (16, 1), (17, 2), (28, 3)])
def test_a_long_task_is_reported_after_5_seconds_and_every_10(
    output: tuple[CallbackModule, Display], seconds: int, lines: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, display = output
    made._task_name, made._task_started = "Do it", 1000.0
    made._waiting.set()
    assert len(progress(made, monkeypatch, seconds)) == lines
    assert not lines or display.lines[0] == "  ...       Do it (6 s)"


@pytest.mark.parametrize("output", [("plain", 0), ("", 1)], indirect=True)
def test_progress_is_not_reported_to_programs_nor_with_v(output: tuple[CallbackModule, Display], monkeypatch: pytest.MonkeyPatch) -> None:
    output[0]._waiting.set()
    assert progress(output[0], monkeypatch, 60) == []


def test_no_progress_is_reported_after_the_last_task(output: tuple[CallbackModule, Display], monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = output
    made._waiting.set()
    monkeypatch.setattr(berth.Default, "v2_playbook_on_stats", lambda *_: None)
    made.v2_playbook_on_stats(SimpleNamespace())
    assert progress(made, monkeypatch, 60) == []


# (BERTH_OUTPUT, result) -> (standard output, standard error)
RESULTS: dict[str, tuple[str, Any, list[str], list[str]]] = {
    "nothing changed": ("", result(changed=False), [], []),
    "something changed": ("", result(changed=True), ["  changed   web-1: release : Do it"], []),
    "what was done": ("", result(changed=True, actions=["start x"]), ["  changed   web-1: release : Do it", "              start x"], []),
    "what would be done": ("", result(changed=True, check=True), ["  would do  web-1: release : Do it"], []),
    "a change, for a program": ("plain", result(changed=True), [], []),
    "an answer": ("", result("ansible.builtin.debug", msg="v1 is active"), ["v1 is active"], []),
    "an answer, for a program": ("plain", result("ansible.builtin.debug", msg=["a", "b"]), ["a", "b"], []),
    "a failure": ("", result(failed=True, msg="why"), ["  FAILED    web-1: release : Do it"], ["why"]),
    "the same failure of each item": (
        "",
        result(failed=True, results=[{"failed": True, "msg": "why"}] * 2),
        ["  FAILED    web-1: release : Do it"],
        ["why"],
    ),
    "a failure, for a program": ("plain", result(failed=True, msg="why"), [], ["why"]),
    "a rescue that lets the run fail, which was told already": ("", result("ansible.builtin.fail", failed=True, msg=""), [], []),
}


@pytest.mark.parametrize("case", RESULTS)
def test_a_result_is_printed_once_for_people_and_its_answer_alone_for_programs(
    case: str, output: tuple[CallbackModule, Display], monkeypatch: pytest.MonkeyPatch
) -> None:
    form, given, lines, errors = RESULTS[case]
    made, display = output
    made._plain = form == "plain"
    (made.v2_runner_on_failed if given.result.get("failed") else made.v2_runner_on_ok)(given)
    assert (display.lines, display.errors) == (lines, errors)


def test_a_command_in_a_message_can_be_typed_as_it_stands(output: tuple[CallbackModule, Display]) -> None:
    made, display = output
    made._commands, made._hints = ["rollback"], ["STACK_NAME=other"]
    made.v2_runner_on_failed(result(failed=True, msg="To go back: make rollback VERSION=v1"))
    assert display.errors == ["To go back: make rollback STACK_NAME=other VERSION=v1"]


def test_warnings_of_a_task_that_changed_nothing_are_printed(output: tuple[CallbackModule, Display]) -> None:
    output[0].v2_runner_on_ok(result(changed=False, warnings=["the certificate expires"]))
    assert output[1].warnings == ["the certificate expires"]


def test_a_host_that_cannot_be_reached_is_told_with_the_reason(output: tuple[CallbackModule, Display]) -> None:
    output[0].v2_runner_on_unreachable(result(msg="Connection refused"))
    assert output[1].lines[0].startswith("  UNREACHABLE web-1") and output[1].errors == ["Connection refused"]
