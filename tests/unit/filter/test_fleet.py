"""Several hosts in one table; what differs between them; who did not answer."""

from __future__ import annotations

import json

from ansible_collections.berth.stack.plugins.filter.fleet import away, drift, fleet_audit, fleet_releases, fleet_status


def status(version: str, image: str = "sha256:aa") -> dict:
    service = {
        "service": "backend",
        "container": f"s-backend-{version}",
        "version": version,
        "image": image,
        "health": "healthy",
        "started_at": "2026-01-01T10:00:00.0Z",
        "restarts": 0,
        "memory_bytes": 2 * 1024**2,
    }
    return {"stack": "s", "version": version, "previous": "", "url": "https://s", "services": [service]}


GONE = {"unreachable": True, "msg": "no route to host\n"}


def test_hosts_that_serve_the_same_do_not_drift():
    assert drift({"a": status("v1"), "b": status("v1")}) == []


def test_another_release_and_another_image_of_the_same_one_are_drift():
    assert drift({"a": status("v1"), "b": status("v2"), "c": status("v1")}) == ["a, c: v1; b: v2"]
    assert drift({"a": status("v1"), "b": status("v1", "sha256:bb")}) == ["image of backend v1: a: aa; b: bb"]


def test_the_nodes_of_a_swarm_serve_one_release_that_the_first_of_them_knows():
    assert drift({"a": status("v1"), "b": status("")}, swarm=True) == []
    assert drift({"a": status("v1"), "b": status("")}) == ["b: nothing; a: v1"]


def test_where_the_question_failed_is_told_as_well():
    text = fleet_status(["a", "b"], {"a": {"s": {"status": status("v1")}}, "b": {"s": {"failed": True, "msg": "no engine"}}}, "s")
    assert text.splitlines()[-1] == "b does not answer: no engine"


def test_one_table_with_those_that_are_away_named():
    hosts = {"a": {"s": {"status": status("v1")}}, "b": {"s": GONE}}
    text = fleet_status(["a", "b"], hosts, "s")
    assert "a     backend  v1       healthy  0         2 MiB" in text
    assert text.splitlines()[-1] == "b does not answer: no route to host"
    document = json.loads(fleet_status(["a", "b"], hosts, "s", "json"))
    assert document["unreachable"] == {"b": "no route to host"} == away(["a", "b"], hosts, "s")
    assert list(document["hosts"]) == ["a"]


def test_what_all_hosts_can_go_back_to():
    hosts = {
        "a": {"r": {"current": "v2", "pending": {}, "details": [{"release": "v2"}, {"release": "v1"}]}},
        "b": {"r": {"current": "v2", "pending": {}, "details": [{"release": "v2"}]}},
    }
    assert fleet_releases(["a", "b"], hosts, "r").splitlines()[-1] == "On all of them: v2"


def test_the_audit_is_in_the_order_of_time():
    hosts = {"a": {"k": {"audit": [{"when": "2", "verb": "deploy"}]}}, "b": {"k": {"audit": [{"when": "1", "verb": "rollback"}]}}}
    lines = fleet_audit(["a", "b"], hosts, "k", "json").splitlines()
    assert [json.loads(line)["host"] for line in lines] == ["b", "a"]
