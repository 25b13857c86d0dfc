"""`--check --diff` prints everything that a run would do, and changes nothing."""

from __future__ import annotations

import pytest
from conftest import STACK, existing, verb

# What nothing may be said to be or to have done.
DONE = ("  changed ", " serves at ", " objects removed", " holds ")


def test_another_configuration_is_planned_to_its_end_and_nothing_is_touched() -> None:
    before = existing()
    done = verb("deploy", "--check", "--diff", LOG_LEVEL="debug")
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    plan = [f"create container {STACK}-backend-", f"create container {STACK}-frontend-", "switch the edge", f"drain and remove {STACK}-"]
    assert [word for word in plan if word not in output] == [], output
    assert existing() == before


@pytest.mark.parametrize(
    ("command", "options", "planned"),
    [
        ("up", {"LOG_LEVEL": "debug"}, " would serve at "),
        ("down", {}, " objects would be removed"),
        ("destroy", {"BERTH_CONFIRM": STACK}, "would do "),
        ("save", {}, "-images.tar would contain "),
        ("push", {"REGISTRY": "127.0.0.1:9/team"}, "Would push to 127.0.0.1:9/team: "),
        ("maintenance", {"BERTH_ON": "true"}, "would do "),
        ("verify", {}, "nothing was checked"),
        ("stress", {"BERTH_STRESS_SECONDS": "5", "BERTH_CONFIRM": STACK}, "Would put load on"),
    ],
)
def test_what_would_be_done_is_not_said_to_be_done(command: str, options: dict[str, str], planned: str) -> None:
    before = existing()
    done = verb(command, "--check", **options)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    assert planned in output
    assert [word for word in DONE if word in output.replace("Changed since", "")] == [], output
    assert existing() == before


def test_a_hint_names_the_stack_that_it_is_about() -> None:
    output = verb("down", "--check").stdout
    assert (f"make up STACK_NAME={STACK}" if STACK != "berth" else '"make up"') in output
