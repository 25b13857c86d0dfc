"""A database outside the stack: asked, dumped and restored by one-off containers of the database's image, which has PostgreSQL's tools.

`base`, of a release's manifest: `external` (HOST:PORT), name, image, network, secrets (directory on the host, with the file `service` of
libpq's services and the authority's certificate), user (UID:GID), labels and hardening (what all containers of the stack have).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..docker.client import Engine
from ..docker.reconcile import RunFailed, run_to_end
from .dumps import SLOW, Database, DumpError

# Prints a line for each login that cannot connect. The image has a shell and PostgreSQL's tools, nothing else.
LOGINS = 'for use in "$@"; do error=$(PGSERVICE=$use psql -qtAXc "SELECT 1" 2>&1 >/dev/null) || echo "$use: $error"; done'

# Restores /dump in one transaction, without what belongs to the server's administrator: schemas, extensions and default privileges stay as
# they are. pg_restore by itself sets transaction_timeout, which servers before 17 do not know; where it fails, so does the transaction.
RESTORE = r"""
set -e
pg_restore -l /dump >/tmp/all
while IFS= read -r line; do
  case $line in
    *[0-9]" SCHEMA - "* | *[0-9]" EXTENSION - "* | *[0-9]" DEFAULT ACL "* | *[0-9]" DATABASE"* | *" - SCHEMA "* | *" - EXTENSION "*) ;;
    *) printf '%s\n' "$line" ;;
  esac
done </tmp/all >/tmp/list
{ pg_restore --clean --if-exists -L /tmp/list -f - /dump || echo 'SELECT 1/0;'; } | {
  while IFS= read -r line; do
    case $line in
      "SET transaction_timeout"*) break ;;
      "SET client_encoding"*) printf '%s\n' "$line"; break ;;
      *) printf '%s\n' "$line" ;;
    esac
  done >/tmp/start
  exec psql -q --single-transaction -v ON_ERROR_STOP=1 -o /dev/null -f /tmp/start -f -
}
"""


class External(Database):
    """One database of a server that is not the stack's."""

    sees_containers = False  # they come by a relay, from the address of the host

    def __init__(self, engine: Engine, base: dict[str, Any]) -> None:
        super().__init__(engine, "", base["name"])
        self.base = base

    @property
    def place(self) -> str:
        return f"{self.name} at {self.base['external']}"

    def running(self) -> bool:
        """Whether it can be asked: before the first deployment there are neither secrets nor networks."""
        found = self.engine.find(f"/images/{self.base['image']}/json"), self.engine.find(f"/networks/{self.base['network']}")
        return all(found) and (Path(self.base["secrets"]) / "service").is_file()

    def run(self, *command: str, timeout: float = SLOW, mounts: list[dict[str, Any]] | None = None) -> str:
        base, label = self.base, {"berth.service": "database-client", "berth.version": "any"}
        name = f"{base['labels']['berth.stack']}-database-client-{os.getpid()}-{secrets.token_hex(4)}"
        spec = base["hardening"] | {
            "name": name,
            "image": base["image"],
            "user": base["user"],
            "entrypoint": [command[0]],
            "command": list(command[1:]),
            "environment": {"PGSERVICEFILE": "/run/secrets/service", "PGSERVICE": "client", "PGAPPNAME": name, "HOME": "/tmp"},
            "labels": base["labels"] | label,
            "networks": [{"name": base["network"]}],
            "mounts": [{"type": "bind", "source": base["secrets"], "target": "/run/secrets", "read_only": True}, *(mounts or [])],
            "restart": "no",
            "healthcheck": {"test": ["NONE"]},
        }
        try:
            return run_to_end(self.engine, spec, base["labels"], timeout)
        except RunFailed as error:
            lines = [line for line in str(error).splitlines() if line.strip()]
            raise DumpError(f"{self.place}: {command[0]}: {' '.join(lines[1:])[-800:] or lines[0]}") from error

    def sql(self, text: str, database: str | None = None) -> str:
        return self.run("psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-c", text).strip()

    def refused_logins(self, uses: list[str]) -> list[str]:
        """The logins that cannot connect, a line each."""
        return self.run("sh", "-c", LOGINS, "sh", *uses, timeout=30 * len(uses)).strip().splitlines()

    def size(self) -> int:
        return int(self.sql("SELECT pg_database_size(current_database())"))

    def data_directory(self) -> Path | None:
        return None

    def reopen(self) -> None:
        return None

    @property
    def _owner(self) -> tuple[int, int]:
        uid, _, gid = str(self.base["user"]).partition(":")
        return int(uid), int(gid or uid)

    @contextmanager
    def _lent(self, dump: Path) -> Iterator[list[dict[str, Any]]]:
        """The mount of a dump, which the tools' user may read meanwhile."""
        before = dump.stat()
        os.chown(dump, *self._owner)
        try:
            yield [{"type": "bind", "source": str(dump), "target": "/dump", "read_only": True}]
        finally:
            os.chown(dump, before.st_uid, before.st_gid)

    def dump(self, to: Path) -> int:
        exchange = to.parent / ".exchange"
        exchange.mkdir(mode=0o700)
        os.chown(exchange, *self._owner)
        try:
            mount = {"type": "bind", "source": str(exchange), "target": "/exchange", "read_only": False}
            self.run("pg_dump", "-Fc", "-f", "/exchange/dump", mounts=[mount])
            made = exchange / "dump"
            os.chown(made, os.geteuid(), os.getegid())
            made.chmod(0o600)
            made.rename(to)
        finally:
            (exchange / "dump").unlink(missing_ok=True)
            exchange.rmdir()
        return to.stat().st_size

    def check(self, dump: Path) -> None:
        """Raise DumpError where a dump cannot be read to its end."""
        with self._lent(dump) as mounts:
            self.run("pg_restore", "-f", "/dev/null", "/dump", mounts=mounts)

    def replace(self, dump: Path | Callable[[str], None], content: dict[str, str] | None = None) -> dict[str, str]:
        """Replace the tables that the dump has, in one transaction; as the login of backups, which needs the rights of the owners."""
        if not isinstance(dump, Path):
            raise DumpError(f"{self.place} is not the stack's: it is restored from dumps only.")
        with self._lent(dump) as mounts:
            self.run("sh", "-c", RESTORE, mounts=mounts)
        self.replaced = True
        return {}


def database_of(engine: Engine, base: dict[str, Any] | None) -> Database | None:
    """The database that a manifest names (`around.database`); None for none."""
    if not base:
        return None
    return External(engine, base) if base.get("external") else Database(engine, base["container"], base["name"])
