"""Write a small file on the controller, with the directories that it stands in.

For notes and reports of a run: without the two modules, each a process, that ansible.builtin.file and copy start on localhost for one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.state.store import write


class ActionModule(ActionBase):
    """The action; arguments: path, content, or state=absent; mode ("0644"), and directory_mode ("0755") of a directory made for it.

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
                    path.parent.mkdir(int(args.get("directory_mode", "0755"), 8), parents=True, exist_ok=True)
                    write(path, args["content"], mode)
        except OSError as error:
            why = f"{path} on the controller cannot be written: {error.strerror}. Is its directory yours, and is there room on the disk?"
            return result | {"failed": True, "msg": why}
        return result | {"changed": changed, "path": str(path)}
