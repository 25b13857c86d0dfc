"""Restore from the repositories of backups to a moment, beside the database in use or into its place.

The program (repository.py) runs in the container STACK-backup: it restores beside and starts a server there, from which a database is
streamed into the server in use.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from ..docker.client import Engine, EngineError
from ..state.store import Failed, Store
from .backups import comparison, incompatibility, megabytes
from .dumps import Database, DumpError
from .repository import LAUNCHER, RECOVERY, UTC, moment, stamp
from .revision import Revision

DAY = 86400
# AT= for all that is archived.
LATEST = "latest"


class RepositoryError(DumpError):
    """A command of the program that failed; `result` is what it said."""

    def __init__(self, message: str, result: dict[str, Any]) -> None:
        super().__init__(message)
        self.result = result


class Repository:
    """The repositories of a stack, by the container that makes backups in them."""

    def __init__(self, engine: Engine, container: str) -> None:
        self.engine, self.container = engine, container

    @property
    def exists(self) -> bool:
        return self.engine.find(f"/containers/{self.container}/json") is not None

    def run(self, *words: str) -> dict[str, Any]:
        """The result of a command of the program. Raises RepositoryError."""
        _, output = self.engine.execute(self.container, ["python3", "-IS", "-c", LAUNCHER, *words], timeout=DAY)
        last = (output.strip().splitlines() or [""])[-1]
        try:
            result: dict[str, Any] = json.loads(last)
        except ValueError:
            raise RepositoryError(f"{words[0]} in {self.container} ended without a result: {output.strip()[-800:]}", {}) from None
        if "error" in result:
            raise RepositoryError(str(result["error"]), result)
        return result

    def recovered(self, name: str) -> Database:
        """A database of the server that was restored beside."""
        database = Database(self.engine, self.container, name)
        database.environment = (f"PGHOST={RECOVERY}",)
        return database


def target(at: str, now: datetime | None = None) -> str:
    """The moment to restore, as the program takes it: empty for all that is archived. Raises Failed."""
    if at == LATEST:
        return ""
    try:
        when = moment(at)
    except ValueError as error:
        raise Failed(f"AT={error}. Nothing was changed.") from error
    if when > (now or datetime.now(UTC)):
        raise Failed(f"AT={at} is in the future. Nothing was changed.")
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def confirmation(stack: str, at: str, release: str, database: str, size: int) -> str:
    """The message that asks for confirmation before a restore replaces the database in use."""
    return "\n".join(
        [
            f"This replaces the database of {stack} by its state at {at} and requires CONFIRM={stack}. Nothing was changed.",
            f"  It replaces: database {database} in use by release {release}, {megabytes(size)}; the repositories have that, too",
            f"To inspect it first in a new database: make restore AT={at} INTO=<new name>",
            f"To confirm: make restore AT={at} CONFIRM={stack}",
        ]
    )


def unreachable(error: RepositoryError, at: str) -> str:
    """Why a moment cannot be restored, with the one that can."""
    reached, first = error.result.get("reached"), error.result.get("first")
    if first:
        return f"AT={at} cannot be restored: {error}"
    if reached:
        return (
            f"AT={at} cannot be restored: the repositories have no complete WAL up to it ({error})\n"
            f"The last moment that can be restored: make restore AT={reached}"
        )
    return str(error)


def restore(repository: Repository, database: Database, store: Store, base: dict[str, Any], at: str, into: str) -> dict[str, Any]:
    """Restore a moment into a new database `into`, or into place; the result has before (the moment to go back to), rows and what the
    program said. Raises Failed and DumpError: then the database in use was not changed, unless `database.replaced`."""
    when = target(at)
    warnings = []
    try:
        # A commit and WAL after the moment: otherwise the end of the archive looks like missing WAL.
        repository.run("archive")
    except RepositoryError as error:
        warnings.append(f"the newest changes may be missing: {error}")
    before = stamp(datetime.now(UTC))
    try:
        found = repository.run("recover", when, "2")
    except RepositoryError as error:
        raise Failed(unreachable(error, at)) from error
    try:
        source = repository.recovered(database.name)
        if database.name not in source.names():
            raise Failed(f"there was no database {database.name} at {at}")
        content = source.content()
        active = store.manifest(store.current)
        heads = Revision(source, base).read(active)
        schema = store.schema | ({} if heads is None else {"heads": heads})
        note = {"name": f"AT={at}", "release": "that time", "schema": schema}

        def fill(name: str) -> None:
            repository.run("copy", database.name, name)

        if into:
            database.add(into, fill, content)
        else:
            if wrong := incompatibility(note, active):
                raise Failed(
                    wrong.replace("BACKUP=AT=", "AT=").replace("make rollback VERSION=that time", "make rollback VERSION=<release>")
                )
            try:
                database.replace(fill, content)
            finally:
                if database.replaced:
                    store.record_schema(schema)
        behind = not into and comparison(note, active).state in ("behind", "new")
    finally:
        try:
            repository.run("discard")
        except (RepositoryError, EngineError) as error:
            warnings.append(f"what was restored beside could not be removed: {error}")
    rows = {table: int(text.split()[0]) for table, text in content.items()}
    return found | {"before": before, "rows": rows, "behind": behind, "warnings": warnings}
