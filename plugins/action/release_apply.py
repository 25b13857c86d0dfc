"""Run a module that works under a stack's lock: say who runs the playbook, and whether the run that holds the lock is still there.

The modules release_apply and release_lock run on the host; that the process which took the lock is gone can only be seen on the
controller where it ran. The file has both names.
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


class ActionModule(ActionBase):
    """The action; its arguments are the module's."""

    TRANSFERS_FILES = False

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
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
        if result.get("failed") and holder.get("host") == who["host"] and not alive(int(holder["pid"]), holder["started"]):
            result = self._module(arguments | {"dead": holder["token"]}, task_vars)
        return result

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        return self._execute_module(module_name=self._task.action, module_args=arguments, task_vars=task_vars)
