"""A stress run asks first, and what a rollback goes back to is the same after it as before."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from conftest import ROOT
from engines import Host
from test_deployment import act, deploy, manifest

ROLE = ROOT / "roles/verify"
VARIABLES = yaml.safe_load((ROLE / "vars/main.yml").read_text())
KEEP = json.loads(VARIABLES["__verify_aside"][1])["release_retain"]


def stressed(host: Host, keep: int) -> None:
    """What a stress run releases: the same images with another configuration, and the way back; then it forgets what is its own."""
    before, serves = {m["version"] for m in host.store.releases()}, host.store.current
    other: dict[str, Any] = manifest(host, serves) | {"url": "another log level"}
    act(host, verb="deploy", manifest=other, infrastructure="skip", retain=keep).run()
    assert host.store.current == f"{serves}-r2"
    act(host, release=serves, retain=keep).run()
    for release in {m["version"] for m in host.store.releases()} - before - {host.store.current}:
        host.store.forget(release)


@pytest.mark.parametrize("behind", [1, 4])
def test_what_a_rollback_goes_back_to_stays_and_no_release_is_let_go(behind: int, host: Host) -> None:
    # Released long before those in between, so that a release more would push it out of the five that are kept.
    for number in range(1, 6):
        made = deploy(host, f"v{number}")["release"]
        host.store.record(host.store.manifest(made) | {"released": f"2026-01-0{number}", "previous": f"v{number - behind}"})
    before = {m["version"]: m for m in host.store.releases()}
    stressed(host, KEEP)
    assert host.store.previous == f"v{5 - behind}" and {m["version"]: m for m in host.store.releases()} == before


def test_both_of_its_commands_keep_all_releases() -> None:
    commands = [entry["command"] for entry in VARIABLES["__verify_commands"]]
    assert len(commands) == 2 and all("__verify_aside" in command for command in commands)


def test_it_asks_before_it_does_anything() -> None:
    tasks = yaml.safe_load((ROLE / "tasks/stress_confirmed.yml").read_text())
    asks = tasks[-1]["ansible.builtin.assert"]
    assert asks["that"] == "verify_confirm == stack_name"
    assert "make stress CONFIRM={{ stack_name }}" in asks["fail_msg"] and "the rollback target stays" in asks["fail_msg"]
    play = yaml.safe_load((ROLE.parents[1] / "playbooks/stress.yml").read_text())[0]
    first = play["tasks"][0]["block"][0]["ansible.builtin.import_role"]
    assert first == {"name": "berth.stack.verify", "tasks_from": "stress_confirmed"}
