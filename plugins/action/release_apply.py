"""Run a module that works under a stack's lock or reads it: say who runs the playbook, and whether the lock's run is still there.

The modules release_apply, release_lock and stack_backup run on the host; that the process which took the lock is gone can only be seen on
the controller where it ran. release_state and stack_status tell that too. The file has the names of all of them.
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
    """When a process of this machine started, in the kernel's ticks: a number that its successor with the same pid does not have."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def alive(pid: int, since: str) -> bool:
    """Whether a process is still the one that was meant."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return started(pid) == since


def gone(holder: dict[str, Any]) -> bool:
    """Whether the run that took a lock on this machine has ended; of another machine's nobody knows."""
    return holder.get("host") == socket.gethostname() and not alive(int(holder["pid"]), holder["started"])


def interrupted(result: dict[str, Any]) -> dict[str, Any]:
    """What a host tells, with the runs of this machine that ended while they held a lock."""
    lines = [held["line"] for held in result.get("holders") or [] if gone(held)]
    if lines and "audit" in result:
        result["audit"] = result["audit"] + lines
    if lines and "status" in result:
        result["status"]["interrupted"] = [{key: line[key] for key in ("verb", "who", "when")} for line in lines]
    return result


class ActionModule(ActionBase):
    """The action; its arguments are the module's."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        if self._task.action.rpartition(".")[2] in ("release_state", "stack_status"):
            return interrupted(self._module(dict(self._task.args), task_vars))
        # The worker's parent is ansible-playbook itself: the same for every task of a run. Once it was killed, os.getppid() would name
        # process 1, which is never gone.
        parent = multiprocessing.parent_process()
        pid = parent.pid if parent else os.getpid()
        who = {
            "owner": os.environ.get("SUDO_USER") or getpass.getuser(),
            "host": socket.gethostname(),
            "pid": pid,
            "started": started(pid),
        }
        arguments = dict(self._task.args) | {"who": who}
        result = self._module(arguments, task_vars)
        holder = result.get("holder") or {}
        if result.get("failed") and gone(holder):
            result = self._module(arguments | {"dead": holder["token"]}, task_vars)
        if not self._task.check_mode:
            # Only here it is known who is gone: the modules themselves cannot tell. The stack's own lock is left to who takes it over.
            ended = [held for held in result.pop("holders", []) if held["name"] and gone(held)]
            lines = [{"who": h, "name": h["name"], "verb": h["verb"], "outcome": "interrupted", "what": h["line"]["what"]} for h in ended]
            if result.get("failed") and result.get("holder"):
                lines.append({"who": who, "verb": result["verb"], "outcome": "refused", "what": str(result["msg"]).partition(";")[0]})
            for line in lines:
                place = {"directory": arguments["directory"], "state": "recorded"}
                self._execute_module(module_name="berth.stack.release_lock", module_args=place | line, task_vars=task_vars)
        return result

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        return self._execute_module(module_name=self._task.action, module_args=arguments, task_vars=task_vars)
