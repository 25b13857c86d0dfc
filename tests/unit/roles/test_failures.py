"""What is said where a failure itself cannot be handled, or its cause is easily taken for another."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


def run(tmp_path: Path, play: str, *more: str) -> tuple[int, str]:
    """(exit status, output without line breaks) of a play of this machine; no engine is asked."""
    (tmp_path / "play.yml").write_text(play)
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), tmp_path / "play.yml", *more],
        cwd=ROOT, env=os.environ | {"STACK_NAME": "failures", "ANSIBLE_FORCE_COLOR": "0"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, " ".join((done.stdout + done.stderr).split())


FAILS = """\
- hosts: docker_hosts
  gather_facts: false
  tasks:
    - block:
        - name: Reach the model
          ansible.builtin.command: /bin/false
      rescue:
        - ansible.builtin.import_role: {name: berth.stack.release, tasks_from: fail}
"""


@pytest.mark.parametrize("writable", [True, False])
@pytest.mark.parametrize(
    ("name", "file", "removal"), [("", "lock", "make unlock STACK_NAME=failures"), ("load", "lock.load", "rm {} on localhost")]
)
def test_a_lock_that_cannot_be_released_is_named_with_what_removes_it(tmp_path, writable, name, file, removal):
    state = tmp_path / "state"
    (state if writable else state / "audit.jsonl").mkdir(parents=True)
    lock = state / file
    status, told = run(tmp_path, FAILS, "-e", f"release_state_dir={state}", "-e", f"release_lock_name={name}")
    assert status == 2
    assert "Reach the model" in told, "the failure itself is told"
    warning = f"WARNING: the lock {lock} on localhost may still be held"
    assert (warning in told) == (not writable)
    assert (f"remove the lock: {removal.format(lock)}" in told) == (not writable)
    if writable:
        assert "Reach the model" in (state / "audit.jsonl").read_text()


REVERTS = """\
- hosts: docker_hosts
  gather_facts: false
  tasks:
    - block:
        - name: Reach the model
          ansible.builtin.command: /bin/false
      rescue:
        - ansible.builtin.import_role: {name: berth.stack.release, tasks_from: revert_updated_hosts}
"""


def test_a_failed_host_of_which_nobody_knows_what_runs_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nowhere.sock")
    status, told = run(tmp_path, REVERTS, "-e", f"release_state_dir={tmp_path}", "-e", '{"__release_updated_hosts": []}')
    assert status == 2
    assert "What runs on localhost now could not be read (" in told
    assert "nowhere.sock" in told


TRUSTS = """\
- hosts: docker_hosts
  gather_facts: false
  tasks:
    - ansible.builtin.import_role: {name: berth.stack.registry, tasks_from: trust}
"""
CERTIFICATE = "-----BEGIN CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("certificate", "password", "expected"),
    [
        (None, None, "localhost runs no registry yet"),
        (CERTIFICATE, None, "localhost runs no registry yet"),
        ("a directory", "secret", "authority/ca.crt"),
        ("nothing", "secret", "authority/ca.crt is not a certificate"),
        (CERTIFICATE, "", "shared/registry/password is empty"),
    ],
)
def test_a_registry_whose_files_cannot_be_read_is_not_taken_for_none(tmp_path, certificate, password, expected):
    files = {tmp_path / "authority/ca.crt": certificate, tmp_path / "secrets/shared/registry/password": password}
    for path, content in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if content == "a directory":
            path.mkdir()
        elif content is not None:
            path.write_text(content)
    status, told = run(
        tmp_path, TRUSTS, "-e", f"registry_directory={tmp_path}", "-e", "registry_managed=true", "-e", "registry_builder=localhost",
        "-e", "registry_address=localhost:1", "-e", f"__registry_trust={tmp_path}/trust",
    )  # fmt: skip
    assert status == 2
    assert expected in told
    missing = None in (certificate, password)
    assert ("runs no registry yet" in told) == missing
    assert ("cannot be read: " in told) == (not missing)
    assert not (tmp_path / "trust").exists(), "nothing was changed"
    assert "secret" not in told.replace("secrets/", "")
