"""`--check --diff` prints everything that a run would do, and changes nothing."""

from __future__ import annotations

import pytest
from conftest import STACK, there, verb

# What nothing may be said to be or to have done.
DONE = ("  changed ", " serves at ", " objects removed", " holds ")


def test_another_configuration_is_planned_to_its_end_and_nothing_is_touched() -> None:
    before = there()
    done = verb("deploy", "--check", "--diff", LOG_LEVEL="debug")
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    plan = [f"create container {STACK}-backend-", f"create container {STACK}-frontend-", "switch the edge", f"drain and remove {STACK}-"]
    assert [word for word in plan if word not in said] == [], said
    assert there() == before


@pytest.mark.parametrize(
    ("command", "options", "planned"),
    [
        ("up", {"LOG_LEVEL": "debug"}, " would serve at "),
        ("down", {}, " objects would be removed"),
        ("destroy", {"BERTH_CONFIRM": STACK}, "would do "),
        ("save", {}, "-images.tar would hold "),
        ("push", {"REGISTRY": "127.0.0.1:9/team"}, "Would push to 127.0.0.1:9/team: "),
        ("maintenance", {"BERTH_ON": "true"}, "would do "),
        ("verify", {}, "nothing was checked"),
        ("stress", {"BERTH_STRESS_SECONDS": "5", "BERTH_CONFIRM": STACK}, "Would put load on"),
    ],
)
def test_what_would_be_done_is_not_said_to_be_done(command: str, options: dict[str, str], planned: str) -> None:
    before = there()
    done = verb(command, "--check", **options)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert planned in said
    assert [word for word in DONE if word in said.replace("Changed since", "")] == [], said
    assert there() == before


def test_a_hint_names_the_stack_that_it_is_about() -> None:
    said = verb("down", "--check").stdout
    assert (f"make up STACK_NAME={STACK}" if STACK != "berth" else '"make up"') in said
