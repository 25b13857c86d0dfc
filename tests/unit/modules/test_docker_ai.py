"""The call of Docker's AI agent, tested with a stub `docker` on the PATH; the contract: `docker ai version`, `docker ai PROMPT`."""

from __future__ import annotations

import os
import time

import pytest
from ansible_collections.berth.stack.plugins.filter.advisor import advisor_prompt
from ansible_collections.berth.stack.plugins.modules.docker_ai import LONGEST, ask, plain, probe, shortened

STAND_IN = """#!/usr/bin/env python3
import os, sys, time
assert sys.argv[1] == "ai", sys.argv
if sys.argv[2] == "version":
    print("v1.2.3"); sys.exit(0)
assert len(sys.argv) == 3, "one prompt, and no option that only some versions know"
{body}
"""


@pytest.fixture
def agent(tmp_path, monkeypatch):
    """agent(body): a docker whose agent does `body` with a prompt."""

    def make(body: str, script: str = STAND_IN) -> None:
        program = tmp_path / "docker"
        program.write_text(script.format(body=body))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return make


def test_an_answer_is_taken_without_colours(agent):
    agent(r'print("\x1b[1mUse\x1b[0m fewer layers: " + sys.argv[2])')
    assert probe() == (True, "v1.2.3")
    answer = ask("why?", 10)
    assert (answer["answer"], answer["reason"]) == ("Use fewer layers: why?", "")


def test_it_cannot_wait_for_a_person_nor_touch_a_file(agent):
    agent('print(repr(sys.stdin.read()), os.listdir("."), os.environ["TERM"])')
    assert ask("?", 10)["answer"] == "'' [] dumb"


def test_an_answer_that_takes_too_long_is_ended_with_its_children(agent, tmp_path):
    agent(f'import subprocess; subprocess.Popen(["sh", "-c", "sleep 2; touch {tmp_path}/late"]); time.sleep(60)')
    started = time.monotonic()
    answer = ask("?", 0.5)
    assert time.monotonic() - started < 5 and answer["answer"] == ""
    assert answer["reason"] == "docker ai gave no answer within 0.5 s"
    time.sleep(2.2)
    assert not (tmp_path / "late").exists()


def test_an_agent_that_fails_or_has_no_output_is_a_reason(agent):
    agent('sys.stderr.write("not signed in\\n"); sys.exit(1)')
    assert ask("?", 10)["reason"] == "docker ai ended with 1: not signed in"
    agent("pass")
    assert ask("?", 10)["reason"] == "docker ai ended with 0: no output"


def test_without_the_agent_it_is_not_available_with_a_reason(agent, monkeypatch, tmp_path):
    agent("", "#!/bin/sh\necho \"docker: 'ai' is not a docker command.\" >&2\nexit 1\n")
    there, reason = probe()
    assert not there and "'ai' is not a docker command" in reason and "Docker Desktop" in reason
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert probe()[0] is False


def test_what_is_written_over_is_not_kept():
    assert plain("thinking 1\rthinking 2\rdone  \n\x1b]0;title\x07next\r\n") == "done\nnext"


def test_a_question_that_is_too_long_loses_its_middle():
    text = shortened("begin" + "x" * 300_000 + "end")
    assert len(text.encode()) <= LONGEST and text.startswith("begin") and text.endswith("end") and "left out" in text
    assert shortened("short") == "short"


def test_a_question_shows_the_files_and_the_end_of_a_log(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "failed-backend.log").write_text("x" * 40_000 + "\nERROR: the reason\n")
    question = {
        "ask": "What is wrong?",
        "files": [str(tmp_path / "Dockerfile"), str(tmp_path / "failed-backend.log"), str(tmp_path / "gone")],
    }
    text = advisor_prompt(question, {"images": [], "settings": {"backend_image_variant": "scratch"}})
    assert "What is wrong?" in text and "FROM scratch" in text and "ERROR: the reason" in text and "characters left out" in text
    assert "gone" not in text and len(text) < 40_000
