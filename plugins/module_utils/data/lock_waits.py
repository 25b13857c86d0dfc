"""What the sessions of a migration do in a PostgreSQL server: how long they wait for a lock, and who holds it.

The functions are pure; a caller runs the query as superuser. `waitstart` needs PostgreSQL 14.
"""

from __future__ import annotations

import json
import re
from typing import Any

from .migrations import literal

SESSIONS = """
SELECT coalesce(json_agg(json_build_object('pid', a.pid, 'statement', a.query,
  'seconds', extract(epoch FROM clock_timestamp() - a.query_start),
  'waited', (SELECT extract(epoch FROM clock_timestamp() - coalesce(min(l.waitstart), clock_timestamp()))
     FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted HAVING count(*) > 0),
  'lock', (SELECT coalesce(l.relation::regclass::text, l.locktype) FROM pg_locks l WHERE l.pid = a.pid AND NOT l.granted LIMIT 1),
  'prepared', 0 = ANY (blocking.pids),
  'held_by', (SELECT coalesce(json_agg(json_build_object('pid', b.pid, 'login', coalesce(b.usename, b.backend_type),
       'application', b.application_name, 'address', host(b.client_addr), 'state', b.state,
       'age', extract(epoch FROM clock_timestamp() - coalesce(b.xact_start, b.query_start)),
       'began', to_char(coalesce(b.xact_start, b.query_start) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       'asked', to_char(b.query_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'statement', b.query) ORDER BY b.xact_start), '[]')
     FROM pg_stat_activity b WHERE b.pid = ANY (blocking.pids)))), '[]')
FROM pg_stat_activity a, LATERAL (SELECT pg_blocking_pids(a.pid) AS pids) blocking
WHERE a.client_addr = ANY ({addresses}::inet[]) AND a.state = 'active'
"""
# Also one that the server cut off: pg_stat_activity has the beginning of a statement.
LITERAL = re.compile(r"'(?:[^']|'')*(?:'|$)")


def sessions_query(addresses: list[str]) -> str:
    """The statement that returns, as JSON, the active sessions of clients with these addresses; `waited` and `lock` of those that wait."""
    return SESSIONS.format(addresses=literal("{" + ",".join(addresses) + "}"))


def sessions(output: str) -> list[dict[str, Any]]:
    """The output of the query; empty where it is not its."""
    try:
        found = json.loads(output or "[]")
    except ValueError:
        return []
    return found if isinstance(found, list) else []


def overdue(found: list[dict[str, Any]], lock_limit: float, statement_limit: float) -> tuple[str, dict[str, Any]] | None:
    """("lock" or "statement", session) of the first session that has exceeded a limit in seconds; a limit of 0 is none."""
    for session in found:
        if lock_limit and session["waited"] is not None and session["waited"] >= lock_limit:
            return "lock", session
        if statement_limit and session["seconds"] >= statement_limit:
            return "statement", session
    return None


def statement_text(text: str) -> str:
    """The beginning of a statement, without literals, which may be secrets."""
    shown = " ".join(LITERAL.sub("'...'", text).split())
    return shown[:120] + ("..." if len(shown) > 120 else "")


def describe_holders(session: dict[str, Any], names: dict[str, str]) -> str:
    """Who holds the lock that a session waits for, a line each; `names`: containers by address."""
    lines = []
    for held in session["held_by"]:
        place = names.get(held["address"] or "", held["address"]) or "the database's own container"
        application = f"application {held['application']}, " if held["application"] else ""
        lines.append(
            f"  session {held['pid']} ({application}login {held['login']}, from {place}): {held['state'] or 'active'}, "
            f"its transaction began {held['began']}, {held['age'] or 0:.0f} s ago; its last statement, of {held['asked']}: "
            f"{statement_text(held['statement'])}"
        )
    if session["prepared"]:
        lines.append("  a prepared transaction (SELECT * FROM pg_prepared_xacts)")
    return "\n".join(lines) or "  nobody any more"


def describe_wait(session: dict[str, Any], limit: str, names: dict[str, str], container: str) -> str:
    """What a session waited for, who holds it, and how to end that; a sentence's rest, with `limit` after the seconds."""
    pids = [held["pid"] for held in session["held_by"]]
    end = f"docker exec {container} psql -U postgres -c 'SELECT pg_terminate_backend({pids[0]})'" if pids else ""
    return (
        f"waited {session['waited']:.0f} s{limit} for a lock on {session['lock']}, for: {statement_text(session['statement'])}\n"
        f"The lock is held by:\n{describe_holders(session, names)}\n"
        f"Wait until that has ended{f', or end it ({end})' if end else ''}, then run this again."
    )
