"""The Alembic revision that a stack's database is at, read from the database itself, and whether a release fits it."""

from __future__ import annotations

import json
from typing import Any

from ..state.store import Failed, Store
from .dumps import Database, DumpError
from .migrations import REFUSED, TABLE, Comparison, compare, literal, query, refusal, upgrades_all_heads

# Sessions of a container that is gone. A statement that waits for a lock does not notice that, and goes on blocking others.
END_SESSIONS = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE client_addr = ANY ({addresses}::inet[]) AND backend_start <= to_timestamp({before})"""


def chosen(found: dict[str, list[str]], table: str, home: str) -> list[str]:
    """The revisions of the backend among those of each schema: of the schema that `table` names, of its `home`, or of the only one."""
    place = table.rpartition(".")[0]
    if place:
        return found.get(place, [])
    if home in found or len(found) < 2:
        return found[home] if home in found else next(iter(found.values()), [])
    raise Failed(
        f"Several schemas of the database have a table {table or TABLE}: {', '.join(sorted(found))}. Nothing was changed. "
        f"Name the one of the backend: backend_image_version_table: {sorted(found)[0]}.{table or TABLE}"
    )


class Revision:
    """What the database of a stack says of itself. `base`: {container, name}, and of the backend `schema` and `version_table`."""

    def __init__(self, database: Database | None, base: dict[str, Any]) -> None:
        self.database, self.base = database, base

    def table(self, target: dict[str, Any]) -> str:
        """The table that the backend notes its revision in: the variable's, or what its env.py names."""
        return self.base.get("version_table") or (target.get("schema") or {}).get("table") or ""

    def read(self, target: dict[str, Any], required: bool = False) -> list[str] | None:
        """The revisions that the database is at, empty before the first migration; None where it cannot be asked now (Failed, where it
        `must`), or where the release has no Alembic migrations."""
        if self.database is None or not (target.get("schema") or {}).get("revisions"):
            return None
        actual = self.database.engine.find(f"/containers/{self.database.container}/json")
        if actual is None or not actual["State"]["Running"] or actual["State"]["Paused"]:
            if required:
                raise Failed(
                    f"The database does not run ({self.database.container}), so nobody can tell its revision: make deploy starts it."
                )
            return None
        table = self.table(target)
        try:
            said = self.database.sql(query(table))
        except DumpError as error:
            if f'database "{self.database.name}" does not exist' in str(error):
                return []
            if "connection to server" in str(error) and not required:
                return None
            raise Failed(f"The revision of the database cannot be read: {error}") from error
        return chosen(json.loads(said or "{}"), table, self.base.get("schema", ""))

    def end_sessions(self, addresses: list[str], before: float) -> int:
        """End what a container that is gone left in the server; how many sessions that were."""
        if self.database is None or not addresses:
            return 0
        found = literal("{" + ",".join(addresses) + "}")
        return int(self.database.sql(END_SESSIONS.format(addresses=found, before=f"{before:.3f}"), "postgres") or 0)


def command_of(target: dict[str, Any]) -> list[str]:
    """The command by which a release brings the database to its revision; empty where it has none."""
    return next((one["container"].get("entrypoint") or [] for one in target.get("migrations") or [] if one.get("alembic")), [])


def recorded_schema(store: Store) -> dict[str, Any]:
    """The chain that ran on the database, as far as the host remembers it: an older Berth did not note it for itself."""
    schema = store.schema
    return schema if schema.get("revisions") else schema | (store.manifest(store.current).get("schema") or {})


def compared(store: Store, at: list[str] | None, target: dict[str, Any], accepted: bool = False) -> Comparison:
    """How a release (a manifest) stands to the database, which is at `at`; `accepted`: whatever chain ran there, it made what the
    release's makes."""
    command = command_of(target)
    # Without a command nothing is upgraded, and several heads are nobody's business here.
    every = not command or upgrades_all_heads(command)
    ran = recorded_schema(store)
    others = [*(manifest.get("schema") or {} for manifest in store.releases()), ran]
    return compare(at, {} if accepted else ran, others, target.get("schema") or {}, every)


def require_compatible(found: Comparison, release: str, verb: str, choice: str) -> None:
    """Raise Failed where a release does not fit the database and `choice` (SCHEMA) does not say what to do about it."""
    chosen_for = {"breaking": ("downgrade", "restore", "accept"), "heads": ()}
    if found.state in REFUSED and choice not in chosen_for.get(found.state, ("accept",)):
        raise Failed(refusal(found, release, verb))
