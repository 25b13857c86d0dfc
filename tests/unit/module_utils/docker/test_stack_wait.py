"""When a container that is waited for is given up."""

from __future__ import annotations

import pytest
from ansible_collections.berth.stack.plugins.module_utils.docker import reconcile as stack
from ansible_collections.berth.stack.plugins.module_utils.docker.reconcile import Stack, Unhealthy


class Engine:
    """An engine whose one container has, one after the other, these states of health."""

    def __init__(self, *health: str) -> None:
        self.health = list(health)

    def call(self, method: str, path: str) -> dict:
        status = self.health.pop(0) if len(self.health) > 1 else self.health[0]
        health = {"Status": status, "FailingStreak": 1, "Log": []}
        state = {"Running": True, "Restarting": False, "Status": "running", "StartedAt": "now", "Health": health}
        return {"Id": "1", "Image": "i", "RestartCount": 0, "State": state, "Config": {"Healthcheck": {}}}

    def logs(self, name: str) -> str:
        return "its log"


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    monkeypatch.setattr(stack.time, "sleep", lambda seconds: None)


def test_one_that_turns_out_unhealthy_is_given_up_at_once():
    with pytest.raises(Unhealthy, match="its log"):
        Stack(Engine("starting", "unhealthy", "healthy"), {}, check=False).wait(["edge"], 60)


def test_one_that_was_unpaused_may_still_be_unhealthy_for_a_while():
    unpaused = Stack(Engine("unhealthy", "unhealthy", "healthy"), {}, check=False)
    unpaused.unpaused.add("edge")
    assert unpaused.wait(["edge"], 60)["edge"]["health"] == "healthy"
