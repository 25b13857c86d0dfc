"""What the preflight of a build says: what is wrong with both sources, in one run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from trees import BACKEND, FRONTEND, write

PLAY = """\
- hosts: builders
  gather_facts: false
  tasks:
    - ansible.builtin.%s_role: {name: berth.stack.preflight, tasks_from: sources}
"""
BROKEN_BACKEND = {"app/database.py": None}
BROKEN_FRONTEND = {"lib/api.ts": None}


def preflight(how: str, tmp_path: Path, backend: Path, frontend: Path, *more: str) -> tuple[int, str]:
    """(exit status, output) of the preflight of a build from these sources; no engine is asked."""
    (tmp_path / "play.yml").write_text(PLAY % how)
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), tmp_path / "play.yml", "-e", f"stack_backend_source={backend}",
         "-e", f"stack_frontend_source={frontend}", *more],
        cwd=ROOT, env=os.environ | {"STACK_NAME": "preflight", "ANSIBLE_FORCE_COLOR": "0"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


# Imported by a build, included by a deployment to a host without an engine.
@pytest.mark.parametrize(("faults", "how"), [("both", "import"), ("both", "include"), ("no sources", "include")])
def test_faults_of_both_sources_are_told_in_one_run(tmp_path, faults, how):
    backend = write(tmp_path / "backend", BACKEND, BROKEN_BACKEND)
    frontend = write(tmp_path / "frontend", FRONTEND, BROKEN_FRONTEND)
    if faults == "no sources":
        backend, frontend = tmp_path / "nowhere", tmp_path / "neither"
    status, told = preflight(how, tmp_path, backend, frontend, "-e", '{"frontend_image_build_environment": {"NEXT_PUBLIC_API_KEY": "x"}}')
    assert status == 2
    assert told.count("The source ") + told.count("'s source ") == 2
    assert "frontend_image_build_environment sets NEXT_PUBLIC_API_KEY" in told
    assert ("imports app.database" in told) == (faults == "both")
    assert ("@/lib/api" in told) == (faults == "both")
    assert told.count("FAILED") == 1
