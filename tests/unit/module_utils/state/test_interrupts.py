"""A module that is told to end puts back first what it has begun, and is not interrupted at that."""

from __future__ import annotations

import os
import signal

import pytest
from ansible_collections.berth.stack.plugins.module_utils.state.interrupts import Interrupted, error_message, raise_on_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_ends_what_is_done_and_the_next_one_does_not_end_the_putting_back(number: signal.Signals) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        raise_on_signals()
        with pytest.raises(Interrupted, match=number.name):
            os.kill(os.getpid(), number)
            signal.pause()
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_what_is_expected_says_itself_what_it_is_and_what_is_not_is_named() -> None:
    assert error_message(OSError("disk is full"), (OSError,)) == "disk is full"
    assert error_message(Interrupted("it was interrupted (SIGTERM)"), ()) == "it was interrupted (SIGTERM)"
    assert error_message(TypeError("odd"), (OSError,)) == "unexpected error: TypeError: odd. Please report it"
