"""Wrong input is refused before anything is touched, and the message says what is wrong and where it is set."""

from __future__ import annotations

import os

import pytest
from conftest import there, verb

# (verb, environment, words of the message)
WRONG = {
    "a source that is not there": ("up", {"BACKEND_SOURCE": "/nowhere"}, ["/nowhere", "BACKEND_SOURCE"]),
    "a port in use": ("up", {"STACK_NAME": "berth-refused"}, [os.environ.get("HTTPS_PORT", "8443"), "HTTPS_PORT"]),
    "a name with a slash": ("up", {"STACK_NAME": "a/b"}, ["stack_name is 'a/b'", "lower-case letters"]),
    "an unknown value": ("up", {"STACK_ENGINE": "nope"}, ["stack_engine", "hosts or swarm", "nope"]),
    "an address without an engine": (
        "up",
        {"DOCKER_HOST": "unix:///nowhere.sock"},
        ["no Docker Engine answers", "/nowhere.sock", "DOCKER_HOST"],
    ),
    "a version that was never built": ("deploy", {"BERTH_VERSION": "nope"}, ["no version nope", "Built here"]),
    "a release that never was": ("rollback", {"BERTH_VERSION": "nope"}, ["no release nope", "serves now"]),
    "a backup that never was": ("restore", {"BERTH_BACKUP": "nope"}, ["nope"]),
    "everything removed without its name": ("destroy", {}, ["CONFIRM"]),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_wrong_input_is_refused_and_nothing_is_touched(wrong: tuple[str, dict[str, str], list[str]]) -> None:
    name, environment, words = wrong
    before = there()
    done = verb(name, **environment)
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert [word for word in words if word not in said] == [], said
    assert there() == before
