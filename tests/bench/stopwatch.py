"""Times of commands, and what several of them come to."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Failed(RuntimeError):
    """A command that was to be measured and did not do its work."""


def run(command: Sequence[str | Path], env: Mapping[str, str] | None = None, stdin: str | None = None) -> str:
    """Run a command in the repository; its output. Failed with the end of it where it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT, env=os.environ | dict(env or {}), input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


def seconds(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> float:
    """How long a command takes."""
    began = time.monotonic()
    run(command, env)
    return time.monotonic() - began


@dataclass
class Row:
    """One thing that was measured, for us and for each peer: {who: values}."""

    title: str
    unit: str
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, who: str, value: float) -> None:
        self.values.setdefault(who, []).append(round(value, 3))

    def median(self, who: str) -> float:
        return statistics.median(self.values[who])

    def as_json(self) -> dict[str, Any]:
        mine = self.median("berth") if "berth" in self.values else None
        return {
            "title": self.title,
            "unit": self.unit,
            "by": {
                who: {
                    "median": self.median(who),
                    "range": [min(values), max(values)],
                    "runs": len(values),
                    **({"ratio": round(mine / self.median(who), 2)} if mine and who != "berth" and self.median(who) else {}),
                }
                for who, values in self.values.items()
            },
        }
