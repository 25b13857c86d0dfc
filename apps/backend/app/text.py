"""Text from outside that has to go into PostgreSQL, JSON and UTF-8."""

from __future__ import annotations

from typing import Any


def storable(value: Any) -> Any:
    """The value without NUL and lone surrogates, which JSON can say but PostgreSQL and UTF-8 cannot."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value
