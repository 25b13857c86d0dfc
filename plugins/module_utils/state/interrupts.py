"""Let a module that is told to end put back first what it has begun."""

from __future__ import annotations

import signal
import traceback
from pathlib import Path
from typing import Any


class Interrupted(BaseException):
    """The module was told to end (SIGTERM, SIGINT: what Ctrl-C on the controller sends it). No Exception: nothing may go on after it."""


def raise_on_signals() -> None:
    """Raise Interrupted once in the main thread; what comes after that does not interrupt the putting back."""

    def end(number: int, _: Any) -> None:
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(f"it was interrupted ({signal.Signals(number).name})")

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, end)


def error_message(error: BaseException, expected: tuple[type[BaseException], ...]) -> str:
    """What a person is told of an error: its message, or, of one that nobody expected, what it is and where it comes from."""
    if isinstance(error, (Interrupted, *expected)):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" in {Path(last[0].filename).name}, line {last[0].lineno}" if last else ""
    return f"an error that Berth did not expect: {type(error).__name__}: {error}{where}. Please report it"
