"""Dump, restore and compare databases of a stack's PostgreSQL server, over the Engine API alone.

The server's container has a read-only root, so files are exchanged through a directory of its volume, and removed there afterwards.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..docker.client import Engine, EngineError

# In the volume, next to the cluster.
EXCHANGE = "/var/lib/postgresql/data"
SLOW = 3600
# Number of rows and a checksum over their text, for each table of the application.
CONTENT = """
SELECT coalesce(json_object_agg(name, content), '{}') FROM (
  SELECT format('%I.%I', n.nspname, c.relname) AS name,
    (xpath('/row/c/text()', query_to_xml(format(
      'SELECT count(*) || '' '' || coalesce(sum((''x'' || substr(md5(t::text), 1, 12))::bit(48)::bigint), 0) AS c FROM %I.%I t',
      n.nspname, c.relname), false, true, '')))[1]::text AS content
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1) AS tables
"""

# Statements that give each role what it may do with the tables of other roles' schemas, where the schema exists. Access comes with default
# privileges (modules/postgres_roles.py).
ACCESS = """
SELECT string_agg(format(
  'DO $do$ BEGIN IF EXISTS (SELECT FROM pg_namespace WHERE nspname = %1$L) THEN GRANT USAGE ON SCHEMA %1$I TO %2$I;'
  ' GRANT %3$s ON ALL %4$s IN SCHEMA %1$I TO %2$I; ALTER DEFAULT PRIVILEGES FOR ROLE %5$I IN SCHEMA %1$I GRANT %3$s ON %4$s TO %2$I;'
  ' END IF; END $do$', schema, role, privileges, kind, owner), '; ')
FROM (SELECT n.nspname AS schema, pg_get_userbyid(a.grantee) AS role, string_agg(a.privilege_type, ', ') AS privileges,
    CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' ELSE 'SEQUENCES' END AS kind, pg_get_userbyid(d.defaclrole) AS owner
  FROM pg_default_acl d JOIN pg_namespace n ON n.oid = d.defaclnamespace, aclexplode(d.defaclacl) a
  WHERE d.defaclobjtype IN ('r', 'S') AND a.grantee <> 0 AND a.grantee <> d.defaclrole GROUP BY 1, 2, 4, 5) AS granted
"""

# Statements that create the extensions of the database where another one, of an older dump, lacks them (database_extensions).
EXTENSIONS = """
SELECT string_agg(
    format('CREATE SCHEMA IF NOT EXISTS %1$I; CREATE EXTENSION IF NOT EXISTS %2$I SCHEMA %1$I CASCADE', nspname, extname), '; ')
  || coalesce((SELECT '; ' || string_agg(format('GRANT USAGE ON SCHEMA %I TO %I', s.nspname, pg_get_userbyid(a.grantee)), '; ')
    FROM pg_namespace s, aclexplode(s.nspacl) a WHERE s.nspname = 'extensions' AND a.grantee NOT IN (0, s.nspowner)), '')
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE n.nspname = 'extensions'
"""

# PostgreSQL truncates longer names; these need no quotes.
IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class DumpError(Exception):
    """A dump or restore that failed; the message has PostgreSQL's."""


def name_problem(name: str, live: str, existing: list[str]) -> str:
    """Why a new database cannot have this name, empty where it can; `live`: the one in use, `existing`: the server's databases."""
    if not IDENTIFIER.fullmatch(name):
        return f"INTO={name!r} is not a valid database name: a lower-case letter or _, then at most 62 lower-case letters, digits or _"
    if name in (live, "postgres", "template0", "template1", f"{live}_new", f"{live}_old"):
        own = "the database in use" if name == live else "a name that the server or a restore uses"
        return f"INTO={name} is {own}: choose the name of a new database"
    if name in existing:
        return f"INTO={name}: this database exists already: choose the name of a new database"
    return ""


def difference(expected: dict[str, str], existing: dict[str, str]) -> str:
    """The tables in which two databases differ, with rows and checksums; empty where they do not."""
    names = [name for name in sorted(expected | existing) if expected.get(name) != existing.get(name)]
    return "; ".join(f"{name}: {expected.get(name, 'missing')} -> {existing.get(name, 'missing')}" for name in names)


def archive_of(path: Path, name: str, owner: int) -> Iterator[bytes]:
    """A tar archive with one file, in pieces: a dump must not pass through memory."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.uid, member.gid = path.stat().st_size, 0o400, owner, owner
    yield member.tobuf(tarfile.GNU_FORMAT)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            yield block
    yield bytes(-member.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


class Database:
    """One database of the stack's own server."""

    def __init__(self, engine: Engine, container: str, name: str) -> None:
        self.engine, self.container, self.name = engine, container, name

    # Whether a restore has replaced it.
    replaced = False
    # Of its commands: where the server's socket is, unless it is the usual one.
    environment: tuple[str, ...] = ()

    def run(self, *command: str, timeout: float = SLOW) -> str:
        # The engine does not end a command whose client is killed: name its sessions to end them.
        name = f"berth-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            status, output = self.engine.execute(
                self.container, list(command), timeout=timeout, environment=[f"PGAPPNAME={name}", *self.environment]
            )
        except BaseException:
            with suppress(Exception):
                self._end_sessions(name)
            raise
        if status:
            raise DumpError(f"{command[0]} ended with status {status}: {output.strip()[-800:]}")
        return output

    def _end_sessions(self, name: str) -> None:
        """End the sessions of an interrupted command."""
        query = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'"
        self.engine.execute(self.container, ["psql", "-qtAX", "-U", "postgres", "-d", "postgres", "-c", query], timeout=30)

    def sql(self, text: str, database: str | None = None) -> str:
        return self.run("psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database or self.name, "-c", text).strip()

    # Whether the server sees the address of each container, by which sessions of a migration are known.
    sees_containers = True

    def running(self) -> bool:
        """Whether it can be asked."""
        actual = self.engine.find(f"/containers/{self.container}/json")
        return bool(actual and actual["State"]["Running"] and not actual["State"]["Paused"])

    @property
    def place(self) -> str:
        """Where it runs, for messages."""
        return self.container

    def names(self) -> list[str]:
        """All databases of the server."""
        return self.sql("SELECT datname FROM pg_database ORDER BY 1", "postgres").splitlines()

    def size(self) -> int:
        """Bytes of the database on the server's disk."""
        return int(self.sql(f"SELECT pg_database_size('{self.name}')", "postgres"))

    def data_directory(self) -> Path | None:
        """The directory of the server's files on this host; None where it is not accessible."""
        mounts = self.engine.call("GET", f"/containers/{self.container}/json").get("Mounts") or []
        found = [Path(mount["Source"]) for mount in mounts if mount.get("Destination") == EXCHANGE and mount.get("Source")]
        return found[0] if found and found[0].is_dir() else None

    def content(self, database: str | None = None) -> dict[str, str]:
        """Rows and checksum by table."""
        content: dict[str, str] = json.loads(self.sql(CONTENT, database))
        return content

    def dump(self, to: Path) -> int:
        """Write a dump in PostgreSQL's custom format; returns its bytes."""
        inside = f"{EXCHANGE}/.dump-{os.getpid()}"
        try:
            self.run("pg_dump", "-U", "postgres", "-Fc", "-f", inside, self.name)
            with self.engine.archive(self.container, inside, timeout=SLOW) as answer, tarfile.open(fileobj=answer, mode="r|") as archive:
                for member in archive:
                    content: Any = archive.extractfile(member)
                    with os.fdopen(os.open(to, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                        while block := content.read(1 << 20):
                            file.write(block)
            return to.stat().st_size
        finally:
            self.engine.execute(self.container, ["rm", "-f", inside])

    def restore(self, dump: Path | Callable[[str], None], into: str) -> None:
        """Restore a dump into an empty database; or call what fills it."""
        if not isinstance(dump, Path):
            dump(into)
            return
        inside = f".restore-{os.getpid()}"
        try:
            self.engine.upload(self.container, EXCHANGE, archive_of(dump, inside, self._uid()), timeout=SLOW)
            self.run("pg_restore", "-U", "postgres", "--exit-on-error", "-d", into, f"{EXCHANGE}/{inside}")
        finally:
            self.engine.execute(self.container, ["rm", "-f", f"{EXCHANGE}/{inside}"])

    def _uid(self) -> int:
        user = self.engine.call("GET", f"/containers/{self.container}/json")["Config"]["User"]
        return int(user.partition(":")[0] or 0)

    def create(self, name: str) -> None:
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE template0', "postgres")

    def drop(self, name: str) -> None:
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', "postgres")

    def restore_verified(self, dump: Path | Callable[[str], None], into: str, content: dict[str, str] | None) -> dict[str, str]:
        """Restore a dump into an empty database and compare the result with `content`; returns the restored content."""
        self.restore(dump, into)
        restored = self.content(into)
        if content is not None and restored != content:
            raise DumpError(f"the restored database differs from the backup: {difference(content, restored)}")
        return restored

    def add(self, name: str, dump: Path | Callable[[str], None], content: dict[str, str] | None = None) -> dict[str, str]:
        """Restore a dump into a new database, which is dropped on failure; returns its content."""
        self.create(name)
        try:
            return self.restore_verified(dump, name, content)
        except BaseException:
            self.drop(name)
            raise

    def reopen(self) -> None:
        """Allow connections again after a restore that was killed before it renamed the database."""
        self.sql(
            f"UPDATE pg_database SET datallowconn = true WHERE datname = '{self.name}' AND NOT datallowconn",
            "postgres",
        )

    def _copy_access(self, new: str) -> None:
        """Give the database the extensions, and roles the access to other roles' schemas, of now: the dump may be older."""
        for statements in (EXTENSIONS, ACCESS):
            if granted := self.sql(statements):
                self.sql(granted, new)

    def replace(self, dump: Path | Callable[[str], None], content: dict[str, str] | None = None) -> dict[str, str]:
        """Replace the database: restore into a new one, then rename it; keeps the privileges. Returns its content."""
        new, old = f"{self.name}_new", f"{self.name}_old"
        self.drop(new)
        self.drop(old)
        self.create(new)
        try:
            existing = self.restore_verified(dump, new, content)
            privileges = self.sql(
                "SELECT string_agg(format('GRANT %s ON DATABASE %I TO %s', a.privilege_type, '" + new + "',"
                " CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(a.grantee::regrole::text) END), '; ')"
                " FROM pg_database d, aclexplode(d.datacl) a WHERE d.datname = '" + self.name + "'",
                "postgres",
            )
            if privileges:
                self.sql(f'REVOKE ALL ON DATABASE "{new}" FROM PUBLIC; {privileges}', "postgres")
            self._copy_access(new)
        except BaseException:
            self.drop(new)
            raise
        # Pools reconnect at once: allow no connections until the new database has the name.
        try:
            self.sql(f'ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS false', "postgres")
            self.sql(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{self.name}'", "postgres")
            self.sql(f'ALTER DATABASE "{self.name}" RENAME TO "{old}"; ALTER DATABASE "{new}" RENAME TO "{self.name}"', "postgres")
        except BaseException:
            self.sql(f'ALTER DATABASE "{self.name}" ALLOW_CONNECTIONS true', "postgres")
            self.drop(new)
            with suppress(DumpError, EngineError):
                # The rename may have succeeded although its response was lost.
                self.replaced = old in self.names()
                if self.replaced:
                    self.drop(old)
            raise
        self.replaced = True
        with suppress(DumpError, EngineError):  # the next restore drops a remaining old one
            self.drop(old)
        return existing
