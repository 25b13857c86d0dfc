"""`--check --diff` says what a run would do, all of it, and does nothing."""

from __future__ import annotations

from conftest import STACK, there, verb


def test_another_configuration_is_planned_to_its_end_and_nothing_is_touched() -> None:
    before = there()
    done = verb("deploy", "--check", "--diff", LOG_LEVEL="debug")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    plan = [f"create container {STACK}-backend-", f"create container {STACK}-frontend-", "switch the edge", f"drain and remove {STACK}-"]
    assert [word for word in plan if word not in said] == [], said
    assert there() == before
