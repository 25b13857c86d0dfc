"""The programs that a Dockerfile carries, run outside a build: their absolute paths become paths below a directory of the test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def embedded(role: str, name: str) -> str:
    """The text of the program `name` (the last part of its path) in the Dockerfile of a role."""
    text = (ROOT / "roles" / role / "files/Dockerfile").read_text()
    match = re.search(rf"^COPY (?:--chmod=\d+ )?<<'(\w+)' \S*/{re.escape(name)}\n(.*?)^\1$", text, re.M | re.S)
    assert match, f"{role} has no program {name}"
    return match[2]


def run(role: str, name: str, moved: dict[str, Path], *arguments: str, interpreter: str = sys.executable, **environment: str):
    """Run a program of a Dockerfile with the paths `moved`: {"/source": directory}; the finished process."""
    paths = "|".join(re.escape(path) for path in moved)
    text = re.sub(rf"(?<=[\"'])({paths})(?=[\"'/])", lambda match: str(moved[match[1]]), embedded(role, name))
    program = next(iter(moved.values())).parent / f"{name}.program"
    program.write_text(text)
    return subprocess.run(
        [interpreter, str(program), *arguments], env=os.environ | environment, capture_output=True, text=True, check=False, timeout=300
    )
