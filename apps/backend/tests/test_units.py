"""Small parts by themselves: what a running service shows rarely."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from app import limits
from app.assistant import _as_problem, _text_of
from app.database import is_away
from app.limits import RateLimit
from app.logs import JsonFormatter
from app.problems import ProblemError
from app.text import storable


def test_the_limiter_refills(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(limits.time, "monotonic", lambda: now)
    limit = RateLimit(60)
    for _ in range(60):
        limit.check("a")
    with pytest.raises(ProblemError) as caught:
        limit.check("a")
    assert (caught.value.status, caught.value.retry_after) == (429, 1)
    limit.check("b")
    now += 2
    limit.check("a")
    limit.check("a")
    with pytest.raises(ProblemError):
        limit.check("a")


def test_the_limiter_without_a_limit() -> None:
    limit = RateLimit(0)
    for _ in range(1000):
        limit.check("a")


def test_the_limiter_forgets_users(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(limits.time, "monotonic", lambda: now)
    monkeypatch.setattr(limits, "MAX_USERS", 100)
    limit = RateLimit(60)
    for number in range(100):
        limit.check(f"idle-{number}")
    now += 60
    for number in range(100):
        limit.check(f"busy-{number}")
    assert len(limit._buckets) == 100  # the idle ones are gone
    limit.check("one more")
    assert len(limit._buckets) == 51  # of those in use the older half
    assert "one more" in limit._buckets


def test_storable() -> None:
    assert storable({"a\x00": ["b\ud800", 1, None, {"c": "\u00e9"}]}) == {"a": ["b?", 1, None, {"c": "\u00e9"}]}


def test_tool_outputs_of_every_shape() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert (_text_of("x"), _text_of(parts[0]), _text_of(parts)) == ("x", "a", "a\nb")


def test_our_own_faults_are_not_blamed_on_others() -> None:
    error = KeyError("x")
    assert _as_problem(error) is error


def test_a_wrong_statement_is_not_an_outage() -> None:
    assert not is_away(ValueError("x"))
    assert is_away(ConnectionRefusedError())


def test_logs_of_errors_do_not_quote_them() -> None:
    try:
        try:
            raise ValueError("canary")
        except ValueError as error:
            raise RuntimeError("canary") from error
    except RuntimeError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "it %s", ("broke",), sys.exc_info())
    line = JsonFormatter().format(record)
    entry = json.loads(line)
    assert "canary" not in line
    assert (entry["message"], entry["error"]["type"], entry["error"]["causes"]) == (
        "it broke",
        "builtins.RuntimeError",
        ["builtins.ValueError"],
    )
    assert "test_units.py" in entry["error"]["trace"][0]
