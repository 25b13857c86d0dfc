"""Short output of a run: changes, slow tasks and failures; with -v everything.

With BERTH_OUTPUT=plain only messages of ansible.builtin.debug are printed, for commands that report something.
"""

from __future__ import annotations

DOCUMENTATION = r"""
name: berth
type: stdout
short_description: Short output with progress
description: Prints changes, slow tasks and failures; with -v everything that the default callback prints.
extends_documentation_fragment: [default_callback, result_format_callback]
"""

import os
import threading
import time
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.plugins.callback.default import CallbackModule as Default
from ansible.plugins.loader import filter_loader, test_loader
from ansible.template import Templar

_ROOT = Path(__file__).resolve().parents[2]

from ..module_utils.settings.commands import hint_options, typed

PROGRESS_AFTER = 5.0
PROGRESS_EVERY = 10.0
FAILS = ("ansible.builtin.fail", "fail")
QUESTIONS = ("ansible.builtin.debug", "debug")

# Ansible's prefixes of unexpected exceptions in modules and plugins.
UNEXPECTED = ("Task failed: Module failed: ", "The filter plugin ", "The lookup plugin ", "The test plugin ")


def short(task: Any) -> str:
    """The task's name, with the role's name without its collection."""
    return str(task.get_name()).removeprefix("berth.stack.")


def failure_lines(outcome: dict[str, Any], task: str) -> list[str]:
    """The errors of a task or of the items of its loop; of a command the end of its output."""
    items = [item for item in outcome.get("results") or [] if isinstance(item, dict) and item.get("failed")]
    if items:
        return [line for item in items for line in failure_lines(item, task)]
    if outcome.get("_ansible_no_log"):
        return ["(the output is hidden because it may contain a secret)"]
    message = str(outcome.get("msg") or "")
    if "rc" in outcome and "cmd" in outcome:
        output = [text[-2000:] for text in (str(outcome.get(stream) or "").strip() for stream in ("stdout", "stderr")) if text]
        # The command's output is more useful than Ansible's message "non-zero return code".
        command = outcome["cmd"] if isinstance(outcome["cmd"], str) else " ".join(map(str, outcome["cmd"]))
        ended = f"`{command[:200]}` ended with status {outcome['rc']}"
        return output or [ended if message == "non-zero return code" else message or ended]
    if found := next((text for text in UNEXPECTED if text in message), ""):
        where = message[message.index(found) :].removeprefix("Task failed: ")
        return [f"Internal error in the task '{task}': {where}", "The traceback: run the same command with ARGS=-vvv (playbooks: -vvv)."]
    lines = [message]
    lines += [str(outcome[stream])[-2000:] for stream in ("stdout", "stderr") if outcome.get(stream) and "rc" in outcome]
    return [line for line in lines if line]


class CallbackModule(Default):
    """The default callback, shortened."""

    CALLBACK_NAME = "berth.stack.berth"

    def __init__(self) -> None:
        super().__init__()
        if self._display.verbosity >= 3:
            # By default Ansible does not print the traceback of an unexpected error.
            os.environ.setdefault("ANSIBLE_DISPLAY_TRACEBACK", "error")
        self._plain = os.environ.get("BERTH_OUTPUT") == "plain"
        self._task_name = ""
        self._commands: list[str] = []
        self._hints: list[str] | None = None  # options that make commands in messages need for this stack
        self._task_started = time.monotonic()
        self._waiting = threading.Event()
        threading.Thread(target=self._progress, daemon=True).start()

    @property
    def _short(self) -> bool:
        return int(self._display.verbosity) == 0

    def _progress(self) -> None:
        """Report every few seconds that a task is still running."""
        reported_at = 0.0
        while True:
            time.sleep(1)
            if not self._waiting.is_set() or self._plain or not self._short:
                continue
            running = time.monotonic() - self._task_started
            if running > PROGRESS_AFTER and time.monotonic() - reported_at > PROGRESS_EVERY:
                reported_at = time.monotonic()
                self._display.display(f"  ...       {self._task_name} ({running:.0f} s)")

    def _line(self, word: str, result: Any, color: str | None = None, note: str = "") -> None:
        seconds = time.monotonic() - self._task_started
        spent = f" ({seconds:.1f} s)" if seconds > 1 else ""
        # The label has the delegated host as it is written; a template is of no use.
        host = result.host.get_name() if "{{" in str(result.task.delegate_to) else self.host_label(result)
        self._display.display(f"  {word:<9} {host}: {short(result.task)}{note}{spent}", color=color)

    # --- the run ------------------------------------------------------------------------------------------------------

    def v2_playbook_on_start(self, playbook: Any) -> None:
        # Each task runs in a fork of this process: load filters and tests once, before.
        for loader in (filter_loader, test_loader):
            list(loader.all())
        # Do not add options to commands in an application's log.
        if Path(playbook._file_name).name != "logs.yml":
            self._commands = ["shell", *(path.stem for path in _ROOT.glob("playbooks/*.yml"))]
        super().v2_playbook_on_start(playbook)

    # --- plays and tasks ----------------------------------------------------------------------------------------------

    def v2_playbook_on_play_start(self, play: Any) -> None:
        if self._hints is None:
            self._hints = self._hint_options(play)
        if not self._short:
            super().v2_playbook_on_play_start(play)
        elif not self._plain:
            self._play = play
            self._display.display(f"{play.get_name()}{' (check mode)' if play.check_mode else ''}", color=C.COLOR_HIGHLIGHT)

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._task_name, self._task_started = short(task), time.monotonic()
        self._waiting.set()
        if self._short:
            self._last_task_name = None
        else:
            super().v2_playbook_on_task_start(task, is_conditional)

    def v2_playbook_on_include(self, included_file: Any) -> None:
        if not self._short:
            super().v2_playbook_on_include(included_file)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._waiting.clear()
        if not self._plain:
            super().v2_playbook_on_stats(stats)

    # --- results ------------------------------------------------------------------------------------------------------

    def v2_runner_on_ok(self, result: Any) -> None:
        if not self._short:
            super().v2_runner_on_ok(result)
        elif result.task.action in QUESTIONS:
            self._say(result.result.get("msg"))
        elif self._plain:
            return
        elif result.result.get("changed"):
            actions = result.result.get("actions") or []
            self._line("would do" if result.task.check_mode else "changed", result, C.COLOR_CHANGED)
            for action in actions:
                self._display.display(f"              {action}")
            self._warn(result)
        else:
            self._warn(result)

    def v2_runner_item_on_ok(self, result: Any) -> None:
        if not self._short:
            super().v2_runner_item_on_ok(result)

    def v2_runner_item_on_skipped(self, result: Any) -> None:
        if not self._short:
            super().v2_runner_item_on_skipped(result)

    def v2_runner_item_on_failed(self, result: Any) -> None:
        if not self._short:
            super().v2_runner_item_on_failed(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        if not self._short:
            super().v2_runner_on_failed(result, ignore_errors)
            return
        messages = list(dict.fromkeys(failure_lines(result.result, short(result.task))))
        if not messages and result.task.action in FAILS:
            return  # the fail task of a rescue; the failure was reported already
        if not self._plain:
            self._line("FAILED", result, C.COLOR_ERROR)
        for message in messages:
            self._display.display(self._typed(message), color=C.COLOR_ERROR, stderr=True)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        if not self._short:
            super().v2_runner_on_unreachable(result)
            return
        self._line("UNREACHABLE", result, C.COLOR_UNREACHABLE)
        self._display.display(str(result.result.get("msg", "")), color=C.COLOR_UNREACHABLE, stderr=True)

    # --- messages -----------------------------------------------------------------------------------------------------

    def _say(self, message: Any) -> None:
        for line in message if isinstance(message, list) else [message]:
            self._display.display(self._typed(str(line)))

    def _typed(self, message: str) -> str:
        return typed(message, self._hints or [], self._commands) if self._commands else message

    def _hint_options(self, play: Any) -> list[str]:
        manager = play.get_variable_manager()
        inventory, default = manager._inventory, _ROOT / "inventory" / "local.yml"
        path = next((Path(one) for one in inventory._sources or [] if Path(one).resolve() != default), None)
        shown = str(path.relative_to(_ROOT) if path and path.is_relative_to(_ROOT) else path or "")
        hosts = inventory.get_hosts(play.hosts)[:1]
        if not hosts or not (shown or os.environ.get("STACK_NAME")):
            return []
        variables = manager.get_vars(play=play, host=hosts[0])
        try:
            stack = Templar(loader=play.get_loader(), variables=variables).template(variables.get("stack_name", ""))
        except AnsibleError:
            return []
        return hint_options(str(stack), os.environ, shown)

    def _warn(self, result: Any) -> None:
        for warning in result.result.get("warnings") or []:
            self._display.warning(str(warning))
