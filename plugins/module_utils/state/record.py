"""What the runs of Berth leave on a host for the next one, in one file of the state directory: `state.json`, a JSON object by section.

- `build`, on a builder: what the last build was made from, and what it made
- `deployment`: what the last deployment was made from, and what it left
- `infrastructure`: networks, volumes and containers that releases need, as they were last reconciled

A section is replaced whole. What another format wrote is not read.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

FORMAT = 1
NAME = "state.json"
# What earlier versions kept in files of their own: of what nobody reads any more, and of what is taken over once.
UNREAD, TAKEN_OVER = ("unchanged.json", "built.json"), {"infrastructure": "foundation.json"}


class Record:
    """The file of one stack's state directory."""

    def __init__(self, directory: Path) -> None:
        self.root, self.path = directory, directory / NAME

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self.path.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) and found.get("format") == FORMAT else {}

    def section(self, name: str) -> dict[str, Any]:
        """A section; empty where there is none."""
        found: dict[str, Any] | None = self._read().get(name)
        earlier = self.root / TAKEN_OVER.get(name, name)
        if found is None and name in TAKEN_OVER and earlier.is_file():
            found = json.loads(earlier.read_text())
        return found or {}

    def keep(self, name: str, content: dict[str, Any]) -> None:
        """Replace a section; an empty one is removed."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o711)
        # A build and a deployment may write at the same time, each its own section.
        with open(self.root / ".state", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            sections = {each: self.section(each) for each in (*self._read(), *TAKEN_OVER) if each != "format"}
            kept = {each: value for each, value in (sections | {name: content}).items() if value}
            scratch = self.path.with_name(f".{NAME}.new")
            with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                json.dump({"format": FORMAT, **kept}, file, indent=1)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            scratch.rename(self.path)
            for stale in (*UNREAD, *TAKEN_OVER.values()):
                (self.root / stale).unlink(missing_ok=True)
