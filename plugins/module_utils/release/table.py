"""A text table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def table(columns: tuple[str, ...], rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The lines of a table: the columns' names, then a line for each row; what a row lacks stays empty."""
    cells = [columns, *(tuple(str(row.get(column, "")) for column in columns) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def service_row(service: dict[str, Any]) -> dict[str, Any]:
    """A service of a status as a row: memory in MiB, the start in UTC."""
    memory, started = f"{service['memory_bytes'] / 1024**2:.0f} MiB", service["started_at"][:19].replace("T", " ")
    return service | {"memory": memory, "started": started}
