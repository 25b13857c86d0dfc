"""Hash of a file on the controller."""

from __future__ import annotations

import hashlib
from pathlib import Path


def file_hash(path: str) -> str:
    """SHA-256, in hex, of the file at `path`."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class FilterModule:
    """Filters over files."""

    def filters(self) -> dict[str, object]:
        return {"file_hash": file_hash}
