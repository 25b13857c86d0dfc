#!/usr/bin/python
"""Ask Docker's AI agent (docker ai, of Docker Desktop), without a person at the keyboard and with a time limit."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_ai
short_description: Ask Docker's AI agent, with a time limit
description:
  - "Asks whether the agent is available (C(docker ai version)), and then one question after another (C(docker ai PROMPT)), each with a
    closed standard input and in an empty directory of its own: it can neither wait for an answer nor touch a file."
  - An agent that is not available, that fails, has no output or takes too long is no failure; the answer is then a reason instead.
options:
  questions: {description: "What is asked: C(task) and C(prompt).", type: list, elements: dict, required: true}
  timeout: {description: Seconds that an answer may take., type: int, default: 180}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Ask for advice
  berth.stack.docker_ai:
    questions: [{task: size, prompt: "How could this image be smaller?"}]
    timeout: 120
"""

RETURN = r"""
available: {description: Whether the agent is available., type: bool, returned: always}
version: {description: The version that it reports., type: str, returned: always}
answers:
  description: "Each C(task), C(answer) (empty where there is none), C(reason) (why there is none), C(seconds)."
  type: list
  elements: dict
  returned: always
"""

import os
import re
import signal
import subprocess
import tempfile
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# One argument of a program may have 128 KiB.
LONGEST = 100_000
ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
PROBE_SECONDS = 20


def plain(text: str) -> str:
    """Text without colours, and of a line that is written over only what stayed."""
    return "\n".join(line.rstrip("\r").rpartition("\r")[2].rstrip() for line in ESCAPES.sub("", text).split("\n")).strip()


def shortened(prompt: str) -> str:
    """A prompt that fits into an argument: its middle is left out."""
    data = prompt.encode()
    if len(data) <= LONGEST:
        return prompt
    half = LONGEST // 2 - 50
    return f"{data[:half].decode(errors='ignore')}\n[... {len(data) - 2 * half} bytes left out ...]\n{data[-half:].decode(errors='ignore')}"


def call(arguments: list[str], seconds: float) -> tuple[int | None, str, str]:
    """(exit status, or None when the time was up; standard output; standard error) of `docker ai`, its children ended with it."""
    environment = os.environ | {"TERM": "dumb", "NO_COLOR": "1", "CI": "true"}
    with tempfile.TemporaryDirectory(prefix="berth-ai-") as nowhere:
        process = subprocess.Popen(
            ["docker", "ai", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=nowhere,
            env=environment,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=seconds)
            return process.returncode, plain(out), plain(err)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            return None, plain(out), plain(err)


def probe() -> tuple[bool, str]:
    """(whether the agent is available, its version or why not)."""
    try:
        status, out, err = call(["version"], PROBE_SECONDS)
    except OSError as error:
        return False, f"there is no docker command ({error.strerror})"
    if status == 0:
        return True, out.splitlines()[0] if out else "of unknown version"
    output = (err or out).splitlines()
    why = "it did not answer in time" if status is None else output[0] if output else f"exit status {status}"
    return False, f"Docker's AI agent is not here (docker ai: {why}); it comes with Docker Desktop, and is enabled in its settings"


def ask(prompt: str, seconds: float) -> dict[str, Any]:
    """{answer, reason, seconds}: one of answer and reason is empty."""
    started = time.monotonic()
    status, out, err = call([shortened(prompt)], seconds)
    took = round(time.monotonic() - started, 1)
    if status is None:
        return {"answer": "", "reason": f"docker ai gave no answer within {seconds:g} s", "seconds": took}
    if status or not out:
        output = (err or out).splitlines()
        reason = f"docker ai ended with {status}: {output[-1] if output else 'no output'}"
        return {"answer": "", "reason": reason, "seconds": took}
    return {"answer": out, "reason": "", "seconds": took}


def main() -> None:
    module = AnsibleModule(
        argument_spec={"questions": {"type": "list", "elements": "dict", "required": True}, "timeout": {"type": "int", "default": 180}},
        supports_check_mode=True,
    )
    questions: list[dict[str, Any]] = module.params["questions"]
    available, version = probe()
    if not available or module.check_mode:
        reason = version if not available else "it is not asked in check mode"
        answers = [{"task": q["task"], "answer": "", "reason": reason, "seconds": 0} for q in questions]
    else:
        answers = [{"task": question["task"]} | ask(question["prompt"], module.params["timeout"]) for question in questions]
    module.exit_json(changed=False, available=available, version=version if available else "", answers=answers)


if __name__ == "__main__":
    main()
