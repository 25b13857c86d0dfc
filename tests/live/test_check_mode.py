"""`--check --diff` says what a run would do, all of it, and does nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from conftest import STACK, there

ROOT = Path(__file__).resolve().parents[2]


def test_another_configuration_is_planned_to_its_end_and_nothing_is_touched() -> None:
    before = there()
    done = subprocess.run(
        ["ansible-playbook", "playbooks/deploy.yml", "--check", "--diff"],
        cwd=ROOT,
        env=os.environ | {"LOG_LEVEL": "debug"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    plan = [f"create container {STACK}-backend-", f"create container {STACK}-frontend-", "switch the edge", f"drain and remove {STACK}-"]
    assert [word for word in plan if word not in said] == [], said
    assert there() == before
