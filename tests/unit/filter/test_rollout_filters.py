"""Who goes back when a host fails, and what is said of it."""

from __future__ import annotations

from ansible_collections.berth.stack.plugins.filter.rollout import hosts_ahead, left_text, rollout_text

DONE = {"changed": True, "before": "v1", "release": "v2"}


def test_only_those_that_got_another_release_are_ahead():
    variables = {
        "a": {"release_applied": DONE},
        "b": {"release_applied": DONE | {"failed": True}},
        "c": {},
        "d": {"release_applied": DONE | {"before": "v2"}},
        "e": {"release_applied": DONE | {"changed": False}},
    }
    assert hosts_ahead(list(variables), variables) == [{"host": "a", "before": "v1", "release": "v2"}]


def test_each_host_is_accounted_for():
    ahead = [{"host": "a", "before": "v1", "release": "v2"}, {"host": "b", "before": "", "release": "v2"}]
    assert rollout_text(ahead, "c", "Switch", ["a", "b", "c", "d"]).splitlines() == [
        "The rollout stopped at c: Switch",
        "a was reverted to v1",
        "b had no release before and serves v2",
        "d: not updated",
    ]


def test_one_host_needs_no_roll_call():
    assert rollout_text([], "a", "Switch", ["a"]) == ""


def test_what_a_first_release_leaves_is_named_with_what_removes_it():
    status = {"stack": "s", "version": "", "services": [{"container": "s-database"}, {"container": "s-model"}]}
    message = left_text(status)
    assert message.startswith("No release of s is active. Left running: s-database, s-model.") and message.endswith("make down")
    # After make down there is a release, and nothing of it.
    assert left_text(status | {"version": "v1"}) == message and left_text(status, swarm=True) == message
    assert left_text(status | {"version": "v1"}, swarm=True) == ""
    assert left_text(status | {"version": "v1", "services": [{"container": "s-database"}, {"container": "s-backend-v1"}]}) == ""
    assert left_text(status | {"services": []}) == "" and left_text({}) == ""
