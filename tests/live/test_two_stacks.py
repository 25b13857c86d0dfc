"""One run of Ansible deploys two stacks, one after the other: nothing of the first is taken for the second one's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, STACK, docker, verb

SECOND = f"{STACK}-two"
# Without what names one stack and its directory on the controller.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("STACK_NAME", "LOCAL_DIR", "HTTPS_PORT", "HTTP_PORT")}
PLAY = """
- name: Deploy {stack}
  ansible.builtin.import_playbook: {root}/playbooks/deploy.yml
  vars: {{stack_name: {stack}, stack_https_port: {port}, stack_http_port: {http}}}
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    playbook = tmp_path_factory.mktemp("two") / "both.yml"
    plays = [
        PLAY.format(root=ROOT, stack=f"{STACK}-one", port=18455, http=18091),
        PLAY.format(root=ROOT, stack=SECOND, port=18456, http=18092),
    ]
    playbook.write_text("---\n" + "".join(plays))
    yield playbook
    for stack in (f"{STACK}-one", SECOND):
        done = verb("destroy", "-e", f"teardown_confirm={stack}", "-e", f"stack_name={stack}")
        assert done.returncode == 0, done.stdout[-2000:]


def run(playbook: Path, *words: str) -> str:
    command = [str(ROOT / ".venv/bin/ansible-playbook"), "-i", "inventory/local.yml", str(playbook), *words]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def containers(stack: str) -> set[str]:
    return set(docker("ps", "--format={{.Names}}", f"--filter=label=berth.stack={stack}").split())


def test_two_stacks_are_deployed_in_one_run_and_a_second_run_has_nothing_to_do(both: Path) -> None:
    run(both)
    for stack in (f"{STACK}-one", SECOND):
        release = (Path("/var/lib") / stack / "current").read_text().strip()
        services = {f"{stack}-{name}" for name in ("database", "edge", "model", f"backend-{release}", f"frontend-{release}")}
        assert containers(stack) == services
    assert run(both).count("nothing has changed since the last run") == 2


def test_a_change_of_the_first_one_is_not_taken_for_the_second(both: Path) -> None:
    before = containers(SECOND)
    docker("rm", "--force", next(name for name in containers(f"{STACK}-one") if "-backend-" in name))
    output = run(both)
    assert output.count("nothing has changed since the last run") == 1 and f"{SECOND} " in output
    assert containers(SECOND) == before and len(containers(f"{STACK}-one")) == 5
