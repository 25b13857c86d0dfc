"""Run a module that takes or reads a stack's lock: add who runs the playbook, and detect that the holder's run has ended.

Only the controller of a run can tell that its process has ended. The action is for the modules release_apply, release_lock, stack_backup,
stack_repository, release_state and stack_status; its file is linked under all these names.
"""

from __future__ import annotations

import getpass
import multiprocessing
import os
import socket
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


def started(pid: int) -> str:
    """When a process of this machine started, in the kernel's ticks, which distinguishes it from a later one with the same pid."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def alive(pid: int, since: str) -> bool:
    """Whether the process is running that had this pid and start time."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return started(pid) == since


def has_ended(holder: dict[str, Any]) -> bool:
    """Whether a lock's run has ended; False for runs of other controllers, of which that is unknown."""
    return holder.get("host") == socket.gethostname() and not alive(int(holder["pid"]), holder["started"])


def interrupted(result: dict[str, Any]) -> dict[str, Any]:
    """A module's result, with the runs of this controller that ended while they held a lock."""
    lines = [held["line"] for held in result.get("holders") or [] if has_ended(held)]
    if lines and "audit" in result:
        result["audit"] = result["audit"] + lines
    if lines and "status" in result:
        result["status"]["interrupted"] = [{key: line[key] for key in ("verb", "who", "when")} for line in lines]
    return result


class ActionModule(ActionBase):
    """The action; it has the module's arguments."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        if self._task.action.rpartition(".")[2] in ("release_state", "stack_status"):
            return interrupted(self._module(dict(self._task.args), task_vars))
        # The worker's parent is ansible-playbook itself, the same for every task of a run. Not os.getppid(): after ansible-playbook was
        # killed that is process 1, which never ends.
        parent = multiprocessing.parent_process()
        pid = (parent.pid if parent else None) or os.getpid()
        who = {
            "owner": os.environ.get("SUDO_USER") or getpass.getuser(),
            "host": socket.gethostname(),
            "pid": pid,
            "started": started(pid),
        }
        arguments = dict(self._task.args) | {"who": who}
        result = self._module(arguments, task_vars)
        holder = result.get("holder") or {}
        if result.get("failed") and has_ended(holder):
            result = self._module(arguments | {"dead": holder["token"]}, task_vars)
        if not self._task.check_mode:
            # Record the interruption of ended runs, which only the controller can detect. The stack's own lock is recorded by the run that
            # takes it over.
            ended = [held for held in result.pop("holders", []) if held["name"] and has_ended(held)]
            lines = [{"who": h, "name": h["name"], "verb": h["verb"], "outcome": "interrupted", "what": h["line"]["what"]} for h in ended]
            if result.get("failed") and result.get("holder"):
                lines.append({"who": who, "verb": result["verb"], "outcome": "refused", "what": str(result["msg"]).partition(";")[0]})
            for line in lines:
                place = {"directory": arguments["directory"], "state": "recorded"}
                self._execute_module(module_name="berth.stack.release_lock", module_args=place | line, task_vars=task_vars)
        return result

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(module_name=self._task.action, module_args=arguments, task_vars=task_vars)
        return result
