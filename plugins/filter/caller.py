"""Paths relative to the directory in which the command was called."""

from __future__ import annotations

import os


def from_caller(path: str) -> str:
    """An absolute path; a relative one is resolved in the directory in which the command was called.

    make sets it in BERTH_CALLED_FROM, because `make -C` changes the directory; for a playbook it is the current one.
    """
    expanded = os.path.expanduser(path)
    return os.path.normpath(os.path.join(os.environ.get("BERTH_CALLED_FROM") or os.getcwd(), expanded))


def kept_key(name: str, directory: str, check: bool = False) -> str:
    """The path of a key of the controller for the password lookup; in check mode /dev/null instead of a new file."""
    path = os.path.join(directory, name)
    return "/dev/null" if check and not os.path.exists(path) else path


class FilterModule:
    """Filters of the call."""

    def filters(self) -> dict[str, object]:
        return {"from_caller": from_caller, "kept_key": kept_key}
