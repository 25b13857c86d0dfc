"""Where the person is who made the call."""

from __future__ import annotations

import os


def from_caller(path: str) -> str:
    """An absolute path: a relative one starts in the directory that the command was typed in.

    make tells it in BERTH_CALLED_FROM, because `make -C` leaves it; a playbook run directly is there.
    """
    expanded = os.path.expanduser(path)
    return os.path.normpath(os.path.join(os.environ.get("BERTH_CALLED_FROM") or os.getcwd(), expanded))


def kept_key(name: str, directory: str, check: bool = False) -> str:
    """Where the password lookup keeps a key of the controller; in check mode one that is not there yet is not written either."""
    path = os.path.join(directory, name)
    return "/dev/null" if check and not os.path.exists(path) else path


class FilterModule:
    """Filters of the call."""

    def filters(self) -> dict[str, object]:
        return {"from_caller": from_caller, "kept_key": kept_key}
