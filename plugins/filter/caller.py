"""Where the person is who made the call."""

from __future__ import annotations

import os


def from_caller(path: str) -> str:
    """An absolute path: a relative one starts in the directory that the command was typed in.

    make tells it in BERTH_CALLED_FROM, because `make -C` leaves it; a playbook run directly is there.
    """
    expanded = os.path.expanduser(path)
    return os.path.normpath(os.path.join(os.environ.get("BERTH_CALLED_FROM") or os.getcwd(), expanded))


class FilterModule:
    """Filters of the call."""

    def filters(self) -> dict[str, object]:
        return {"from_caller": from_caller}
