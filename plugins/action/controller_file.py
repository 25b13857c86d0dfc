"""Write a small file on the controller, with the directories that it stands in.

For notes and reports of a run: without the two modules, each a process, that ansible.builtin.file and copy start on localhost for one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


def write(path: Path, content: str, mode: int) -> None:
    """Put a file in its place in one step: whoever reads it finds the old or the new, never a half."""
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=mode)
    new.chmod(mode)
    new.write_text(content)
    new.replace(path)


def directories(path: Path, mode: int) -> None:
    """Make a directory and those above it that are not there."""
    for folder in reversed([path, *path.parents]):
        if not folder.is_dir():
            folder.mkdir()
            folder.chmod(mode)


class ActionModule(ActionBase):
    """The action; arguments: path, content, or state=absent; mode ("0644") and directory_mode ("0755") of what is made.

    It runs where ansible-playbook does, as who runs it. Nothing is written in check mode, and `changed` tells the same as without.
    """

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        args, path = self._task.args, Path(self._task.args["path"])
        mode = int(args.get("mode", "0644"), 8)
        try:
            if args.get("state") == "absent":
                changed = path.is_file()
            else:
                changed = not path.is_file() or path.read_text() != args["content"] or path.stat().st_mode & 0o777 != mode
            if changed and not self._task.check_mode:
                if args.get("state") == "absent":
                    path.unlink(missing_ok=True)
                else:
                    directories(path.parent, int(args.get("directory_mode", "0755"), 8))
                    write(path, args["content"], mode)
        except OSError as error:
            why = f"{path} on the controller cannot be written: {error.strerror}. Is its directory yours, and is there room on the disk?"
            return result | {"failed": True, "msg": why}
        return result | {"changed": changed, "path": str(path)}
