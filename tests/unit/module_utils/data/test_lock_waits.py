"""What is made of the sessions of a migration in the server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.data.lock_waits import (
    describe_wait,
    overdue,
    sessions,
    sessions_query,
    statement_text,
)

READER = {
    "pid": 7,
    "login": "backend_g1",
    "application": "",
    "address": "10.0.0.5",
    "state": "idle in transaction",
    "age": 900.4,
    "began": "2026-01-01T10:00:00Z",
    "asked": "2026-01-01T10:00:01Z",
    "statement": "SELECT * FROM task WHERE title = 'private'",
}


def session(**other: Any) -> dict[str, Any]:
    waits = {"pid": 9, "statement": "ALTER TABLE task ADD COLUMN c text", "seconds": 10.2, "waited": 10.1, "lock": "backend.task"}
    return waits | {"prepared": False, "held_by": [READER]} | other


def test_the_one_that_holds_a_lock_is_named_with_how_to_end_it() -> None:
    assert describe_wait(session(), " (limit: 10 s)", {"10.0.0.5": "s-backend-v1"}, "s-database") == (
        "waited 10 s (limit: 10 s) for a lock on backend.task, for: ALTER TABLE task ADD COLUMN c text\n"
        "The lock is held by:\n"
        "  session 7 (login backend_g1, from s-backend-v1): idle in transaction, its transaction began 2026-01-01T10:00:00Z, 900 s ago; "
        "its last statement, of 2026-01-01T10:00:01Z: SELECT * FROM task WHERE title = '...'\n"
        "Wait until that has ended, or end it (docker exec s-database psql -U postgres -c 'SELECT pg_terminate_backend(7)'), "
        "then run this again."
    )


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (
            {"held_by": [READER | {"address": "10.9.9.9", "application": "psql"}]},
            "session 7 (application psql, login backend_g1, from 10.9.9.9)",
        ),
        ({"held_by": [READER | {"address": None}]}, "from the database's own container"),
        ({"held_by": [], "prepared": True}, "a prepared transaction (SELECT * FROM pg_prepared_xacts)"),
        ({"held_by": []}, "nobody any more"),
    ],
)
def test_where_the_one_that_holds_it_is(other: dict[str, Any], words: str) -> None:
    assert words in describe_wait(session(**other), "", {}, "s-database")


@pytest.mark.parametrize(
    ("found", "limits", "kind"),
    [
        ([session()], (10, 0), "lock"),
        ([session()], (11, 0), None),
        ([session()], (0, 0), None),
        ([session(waited=None, seconds=60)], (10, 0), None),
        ([session(waited=None, seconds=60)], (10, 30), "statement"),
        ([session(waited=1, seconds=1), session(waited=None, seconds=31)], (10, 30), "statement"),
    ],
)
def test_which_session_has_exceeded_a_limit(found: list[dict[str, Any]], limits: tuple[int, int], kind: str | None) -> None:
    late = overdue(found, *limits)
    assert (late and late[0]) == kind


def test_what_is_no_answer_of_the_query_is_nobody() -> None:
    assert [sessions(text) for text in ("", "[]", "oops", '{"backend": []}')] == [[], [], [], []]
    assert sessions(json.dumps([session()])) == [session()]


def test_the_query_is_about_the_addresses() -> None:
    assert "client_addr = ANY ('{10.0.0.5,fd00::5}'::inet[])" in sessions_query(["10.0.0.5", "fd00::5"])


def test_literals_of_a_statement_are_not_shown() -> None:
    assert statement_text("UPDATE a\n SET b = 'it''s' WHERE c = 'cut of") == "UPDATE a SET b = '...' WHERE c = '...'"
    assert statement_text("x" * 200) == "x" * 120 + "..."
