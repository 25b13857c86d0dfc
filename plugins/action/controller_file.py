"""Write a small file and its parent directories on the controller.

In the process of ansible-playbook: ansible.builtin.file and copy start a process each.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.state.store import write


class ActionModule(ActionBase):
    """The action; arguments: path, content, or state=absent; mode ("0644"), and directory_mode ("0755") of new directories.

    It runs as the user of ansible-playbook. In check mode it writes nothing and returns the same `changed`.
    """

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
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
            why = f"{path} on the controller cannot be written: {error.strerror}. Check the owner of its directory and the disk space"
            return result | {"failed": True, "msg": why}
        return result | {"changed": changed, "path": str(path)}
