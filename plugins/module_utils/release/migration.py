"""Run one migration: bounded waits in the database, nothing left waiting there, its log kept with the release."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from threading import Event, Thread
from typing import Any

from ..data.dumps import DumpError
from ..data.lock_waits import describe_wait, overdue, sessions, sessions_query, statement_text
from ..data.revision import Revision
from ..docker.client import Engine, EngineError
from ..docker.reconcile import Observer, RunFailed, addresses, run_to_end
from ..state.store import now, write

INTERVAL = 0.5
# The server's own timeout, where a driver passes it on, comes first: the tool gets its error and can say which step failed.
GRACE = 0.3
# A wait that was seen so many seconds before the end explains a failure: a tool needs time to end.
RECENT = 5
LINES = 5000


def command_text(entrypoint: list[str]) -> str:
    """A migration's command, without the program that sets its environment (filter with_secrets)."""
    return " ".join(entrypoint[entrypoint.index("--") + 1 :] if "--" in entrypoint else entrypoint)


def with_timeouts(spec: dict[str, Any], lock_timeout: int, statement_timeout: int) -> dict[str, Any]:
    """A migration's container whose sessions have these timeouts in the server, where the driver reads PGOPTIONS (libpq, node-postgres)."""
    limits = {"lock_timeout": lock_timeout, "statement_timeout": statement_timeout}
    options = " ".join(f"-c {name}={seconds}s" for name, seconds in limits.items() if seconds)
    if not options:
        return spec
    environment = spec.get("environment") or {}
    return spec | {"environment": environment | {"PGOPTIONS": f"{environment.get('PGOPTIONS', '')} {options}".strip()}}


class Migration(Observer):
    """One run of a migration's container. `limits`: the options migrate_timeout, migrate_lock_timeout and
    migrate_statement_timeout, in seconds; `log`: the file that its output is kept in, below a line with `about` it.

    Not every driver passes timeouts on to the server, and a migration may set its own: so its sessions are watched too, and it is ended
    where one exceeds a limit.
    """

    def __init__(
        self,
        engine: Engine,
        revision: Revision,
        spec: dict[str, Any],
        labels: dict[str, str],
        limits: dict[str, Any],
        log: Path,
        about: str,
    ) -> None:
        self.engine, self.revision, self.labels, self.limits, self.log, self.about = engine, revision, labels, limits, log, about
        self.spec = with_timeouts(spec, limits["migrate_lock_timeout"], limits["migrate_statement_timeout"])
        self.output = ""
        self.over = Event()
        self.watcher: Thread | None = None
        # The last wait for a lock, as seen at a time (monotonic), and when the migration ended.
        self.wait: tuple[float, dict[str, Any]] | None = None
        self.end = 0.0
        # The limit that was exceeded, and the session.
        self.exceeded: tuple[str, dict[str, Any]] | None = None

    def run(self) -> str:
        """Run it; returns its output. Raises RunFailed, which names who holds a lock that it waited for, and its log."""
        began, outcome = time.monotonic(), "did not end"
        try:
            output = run_to_end(self.engine, self.spec, self.labels, self.limits["migrate_timeout"], self, LINES)
            outcome = "ended with exit status 0"
            return output
        except RunFailed as error:
            outcome = f"ended with exit status {error.status}" if error.status else outcome
            failed = RunFailed(f"{self._reason(error)}\nIts log: {self.log}")
            failed.status = error.status
            raise failed from error
        finally:
            with contextlib.suppress(OSError):
                write(self.log, f"{now()} {self.about}; {outcome} after {time.monotonic() - began:.1f} s\n{self.output}\n", 0o600)

    # what run_to_end reports ------------------------------------------------------------------------------------------

    def started(self, name: str, used: list[str]) -> None:
        database = self.revision.database
        if database and database.sees_containers and used:
            self.watcher = Thread(target=self._watch, args=(name, used), daemon=True)
            self.watcher.start()

    def ended(self, log: str) -> None:
        self.end = time.monotonic()
        self.over.set()
        if self.watcher:
            self.watcher.join(RECENT)
        self.output = log

    def removed(self, used: list[str], when: float) -> None:
        # A statement that waits for a lock does not notice the end of its client, and goes on blocking others.
        with contextlib.suppress(DumpError, EngineError):
            self.revision.end_sessions(used, when)

    # ------------------------------------------------------------------------------------------------------------------

    def _watch(self, name: str, used: list[str]) -> None:
        database = self.revision.database
        keys = ("migrate_lock_timeout", "migrate_statement_timeout")
        lock, statement = (limit + GRACE if (limit := self.limits[key]) else 0 for key in keys)
        pause = INTERVAL
        while database and not self.over.wait(pause):
            pause = INTERVAL
            try:
                found = sessions(database.sql(sessions_query(used)))
            except (DumpError, EngineError, OSError):
                continue  # the timeouts in the server remain
            if waiting := max((one for one in found if one["waited"] is not None), key=lambda one: float(one["waited"]), default=None):
                self.wait = time.monotonic(), waiting
                pause = min(INTERVAL, max(0.01, lock - waiting["waited"])) if lock else INTERVAL
            if exceeded := overdue(found, lock, statement):
                self.exceeded = exceeded
                with contextlib.suppress(EngineError, OSError):
                    self.engine.call("POST", f"/containers/{name}/kill")
                return

    def _reason(self, error: RunFailed) -> str:
        """Why it failed: the limit that it exceeded, or the error and a wait that came just before."""
        name, database = self.spec["name"], self.revision.database
        kind, session = self.exceeded or ("", {})
        last = "\n".join(self.output.splitlines()[-25:])
        text = f"{name} was ended; last lines of its log:\n{last}".rstrip() if kind else str(error)
        if kind == "statement":
            limit = f"the limit is {self.limits['migrate_statement_timeout']} s (release_migrate_statement_timeout)"
            return f"A statement of {name} ran for {session['seconds']:.0f} s, {limit}: {statement_text(session['statement'])}\n{text}"
        if not database or not self.wait or (not kind and self.end - self.wait[0] > RECENT):
            return text
        limit = f" (limit: release_migrate_lock_timeout, {seconds} s)" if (seconds := self.limits["migrate_lock_timeout"]) else ""
        return f"{name} {describe_wait(self.wait[1], limit, self._containers(), database.container)}\n{text}"

    def _containers(self) -> dict[str, str]:
        """The names of the stack's containers by IP address."""
        try:
            listed = self.engine.listing("containers", self.labels)
        except (EngineError, OSError):
            return {}
        return {address: one["Names"][0].lstrip("/") for one in listed for address in addresses(one)}
