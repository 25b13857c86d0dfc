"""Let a module that is interrupted undo what it has started."""

from __future__ import annotations

import signal
import traceback
from pathlib import Path
from typing import Any


class Interrupted(BaseException):
    """SIGTERM or SIGINT (Ctrl-C on the controller). Not an Exception: no `except Exception` may continue after it."""


def raise_on_signals() -> None:
    """Raise Interrupted once in the main thread; later signals do not interrupt the cleanup."""

    def end(number: int, _: Any) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(f"it was interrupted ({signal.Signals(number).name})")

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, end)


def error_message(error: BaseException, expected: tuple[type[BaseException], ...]) -> str:
    """The message of an expected error; of any other its type and line of code too."""
    if isinstance(error, (Interrupted, *expected)):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" in {Path(last[0].filename).name}, line {last[0].lineno}" if last else ""
    return f"unexpected error: {type(error).__name__}: {error}{where}. Please report it"
