"""Read the Alembic revision of a stack's database, and compare releases with it."""

from __future__ import annotations

import json
from typing import Any

from ..docker.client import EngineError
from ..state.store import Failed, Store
from .dumps import Database, DumpError
from .migrations import REFUSED, TABLE, Comparison, compare, literal, query, refusal, upgrades_all_heads

# Sessions of a removed container. A statement that waits for a lock does not notice its client's end, and goes on blocking others.
END_SESSIONS = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE client_addr = ANY ({addresses}::inet[]) AND backend_start <= to_timestamp({before})"""

TABLES = """SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {schema} AND c.relname <> {table} AND c.relkind IN ('r', 'p') ORDER BY 1"""
# Of another or a new database it differs, although the name is the same.
IDENTITY = "SELECT system_identifier || ':' || oid FROM pg_control_system(), pg_database WHERE datname = current_database()"


def chosen(found: dict[str, list[str]], table: str, home: str) -> list[str]:
    """The backend's revisions among those of each schema: of the schema that `table` names, of its `home` schema, or of the only one."""
    place = table.rpartition(".")[0]
    if place:
        return found.get(place, [])
    if home in found or len(found) < 2:
        return found[home] if home in found else next(iter(found.values()), [])
    raise Failed(
        f"Several schemas of the database have a table {table or TABLE}: {', '.join(sorted(found))}. Nothing was changed. "
        f"Set the backend's: backend_image_version_table: {sorted(found)[0]}.{table or TABLE}"
    )


class Revision:
    """The revision of a stack's database. `base`: {container, name}, and of the backend `schema` and `version_table`."""

    def __init__(self, database: Database | None, base: dict[str, Any]) -> None:
        self.database, self.base = database, base

    def table(self, target: dict[str, Any]) -> str:
        """The backend's version table: of the variable, else of its env.py."""
        return self.base.get("version_table") or (target.get("schema") or {}).get("table") or ""

    def read(self, target: dict[str, Any], required: bool = False) -> list[str] | None:
        """The database's revisions, empty before the first migration; None where the database cannot be read (with `required`: Failed) or
        the release has no Alembic migrations."""
        if self.database is None or not (target.get("schema") or {}).get("revisions"):
            return None
        if not self.database.running():
            if required:
                raise Failed(f"The database is not running ({self.database.place}), so its revision cannot be read: make deploy starts it.")
            return None
        table = self.table(target)
        try:
            output = self.database.sql(query(table))
        except DumpError as error:
            if f'database "{self.database.name}" does not exist' in str(error):
                return []
            if "connection to server" in str(error) and not required:
                return None
            raise Failed(f"The revision of the database cannot be read: {error}") from error
        return chosen(json.loads(output or "{}"), table, self.base.get("schema", ""))

    def identity(self) -> str:
        """What tells this very database from others; empty where it cannot be read."""
        try:
            return self.database.sql(IDENTITY) if self.database else ""
        except (DumpError, EngineError):
            return ""

    def end_sessions(self, addresses: list[str], before: float) -> int:
        """End the sessions of a removed container; returns how many."""
        if self.database is None or not self.database.sees_containers or not addresses:
            return 0
        found = literal("{" + ",".join(addresses) + "}")
        return int(self.database.sql(END_SESSIONS.format(addresses=found, before=f"{before:.3f}"), "postgres") or 0)

    def tables(self, target: dict[str, Any]) -> list[str]:
        """The backend's tables except the version table."""
        if self.database is None:
            return []
        place, _, table = self.table(target).rpartition(".")
        names = self.database.sql(TABLES.format(schema=literal(place or self.base.get("schema", "")), table=literal(table or TABLE)))
        return names.splitlines()


def command_of(target: dict[str, Any]) -> list[str]:
    """A release's migration command; empty where it has none."""
    return next((one["container"].get("entrypoint") or [] for one in target.get("migrations") or [] if one.get("alembic")), [])


def recorded_schema(store: Store) -> dict[str, Any]:
    """The chain that ran on the database; by the active release's manifest where an older Berth did not record it."""
    schema = store.schema
    return schema if schema.get("revisions") else schema | (store.manifest(store.current).get("schema") or {})


def compared(
    store: Store, at: list[str] | None, target: dict[str, Any], accepted: bool = False, revision: Revision | None = None
) -> Comparison:
    """Compare a release (a manifest) with the database's revisions `at`; `accepted`: regard the recorded chain as the release's;
    `revision`: what they were read with."""
    command = command_of(target)
    # Without a command nothing is upgraded, so several heads do not matter.
    every = not command or upgrades_all_heads(command)
    ran = recorded_schema(store)
    others = [*(manifest.get("schema") or {} for manifest in store.releases()), ran]
    tables = revision.tables(target) if revision and at == [] and ran.get("heads") else []
    return compare(at, {} if accepted else ran, others, target.get("schema") or {}, every, tables)


def require_compatible(found: Comparison, release: str, verb: str, choice: str) -> None:
    """Raise Failed where a release does not fit the database and `choice` (SCHEMA) does not resolve that."""
    chosen_for = {"breaking": ("downgrade", "restore", "accept"), "heads": (), "rows": ()}
    if found.state in REFUSED and choice not in chosen_for.get(found.state, ("accept",)):
        raise Failed(refusal(found, release, verb))
