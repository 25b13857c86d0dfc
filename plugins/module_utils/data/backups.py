"""Backups of a stack on its host: a directory each, `backups/<time>-<why>/`, with the dump and its metadata.

`backup.json` has when, why, release, schema (the recorded one, with the revisions read from the database), automatic (made by a release
or restore), bytes and sha256 of the dump, database_bytes (on the server's disk) and, where the backup was checked, content: rows and
checksum by table, of the dump restored into a separate database.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tarfile
import time
from pathlib import Path
from typing import Any

from ..state.store import Store, now, write
from .dumps import Database, DumpError
from .external import External
from .migrations import REFUSED, Comparison, breaking_lines, compare, listed

DUMP, NOTE, STATE = "database.dump", "backup.json", "state.tar"


def megabytes(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


def rows(content: dict[str, str]) -> dict[str, int]:
    """Number of rows by table, from the result of `Database.content`."""
    return {table: int(text.split()[0]) for table, text in content.items()}


def is_automatic(note: dict[str, Any]) -> bool:
    """Whether a release or a restore made the backup. An older Berth did not record that, and did not check such backups."""
    return bool(note.get("automatic", note["why"].startswith("before-") and "content" not in note))


def describe(note: dict[str, Any]) -> str:
    """A backup's metadata as text."""
    existing = rows(note["content"]) if "content" in note else None
    size = megabytes(note["bytes"]) + (f", {sum(existing.values())} rows in {len(existing)} tables" if existing is not None else "")
    return f"made {note['when']} ({note['why']}), of release {note['release'] or 'none'}; {size}"


def confirmation_prompt(stack: str, note: dict[str, Any], release: str, database: str, size: int, behind: bool) -> str:
    """The message that asks for confirmation before a restore replaces the database in use."""
    lines = [
        f"This replaces the database of {stack} by the backup {note['name']} and requires CONFIRM={stack}. Nothing was changed.",
        f"  The backup: {describe(note)}",
        f"  It replaces: database {database} in use by release {release}, {megabytes(size)}; a backup of that is made first",
        *(["  Release " + release + " has newer migrations than the backup: run make deploy right after it"] if behind else []),
        f"To inspect it first in a new database: make restore BACKUP={note['name']} INTO=<new name>",
        f"To confirm: make restore BACKUP={note['name']} CONFIRM={stack}",
    ]
    return "\n".join(lines)


def external_confirmation(database: External, note: dict[str, Any], given: str, into: str) -> str:
    """The message that refuses a restore into a database outside the stack, or asks for its confirmation; empty where it is confirmed."""
    address = database.base["external"].rpartition(":")[0]
    again = f"make restore BACKUP={note['name']}"
    if into:
        return (
            f"INTO={into} is refused: the server {address} is not the stack's (database_external). Nothing was changed. "
            f"Create the database there, and restore the dump with pg_restore"
        )
    if given == address:
        return ""
    return (
        f"The database {database.place} is not the stack's (database_external): its provider's own restore may be the better way. "
        f"Nothing was changed.\n  The backup: {describe(note)}\n  It replaces the tables that it has, in one transaction, as the login "
        f"of backups, which needs the rights of their owners; a backup of the database is made first\nTo confirm: {again} CONFIRM={address}"
    )


def comparison(note: dict[str, Any], release: dict[str, Any]) -> Comparison:
    """Compare a release with the database of a backup."""
    schema = note.get("schema") or {}
    return compare(sorted(schema.get("heads") or []), schema, (), release.get("schema") or {}, every_head=True)


def incompatibility(note: dict[str, Any], release: dict[str, Any]) -> str:
    """Why the active release is not compatible with a backup's database; empty where it is, or can migrate it."""
    found = comparison(note, release)
    if found.state not in REFUSED:
        return ""
    return (
        f"{note['name']} is of release {note['release']}. The active release {release['version']} is not compatible with its database: "
        f"that is at revision {listed(found.at)}, and the head of {release['version']} is {listed(found.heads)}. Nothing was changed.\n"
        f"{breaking_lines(found)}"
        f"Roll back to that release first, then restore: make rollback VERSION={note['release']}\n"
        f"Or restore into a new database: make restore BACKUP={note['name']} INTO=<new name>"
    )


def shortage(needs: dict[str, int], free: dict[str, int]) -> str:
    """The message about insufficient disk space, empty where it suffices; `needs`: bytes by purpose, `free`: bytes by path."""
    required = sum(needs.values())
    short = [f"{path} has {megabytes(existing)} free" for path, existing in free.items() if existing < required]
    parts = ", ".join(f"{megabytes(count)} for {what}" for what, count in needs.items())
    return f"{'; '.join(short)}, and {parts} are needed. Free some space: make backups lists the backups there" if short else ""


class Backups:
    """The backups below a state directory."""

    def __init__(self, store: Store) -> None:
        self.store, self.root = store, store.root / "backups"

    def all(self) -> list[dict[str, Any]]:
        """The metadata of each backup, with its name; newest first."""
        notes = [{"name": path.parent.name, **json.loads(path.read_text())} for path in self.root.glob(f"[!.]*/{NOTE}")]
        return sorted(notes, key=lambda note: note["name"], reverse=True)

    def find(self, name: str) -> dict[str, Any]:
        """A backup by its name, or the newest one; empty where there is none."""
        return next((note for note in self.all() if not name or note["name"] == name), {})

    def path(self, name: str) -> Path:
        return self.root / name

    def make(
        self,
        why: str,
        database: Database | None,
        check: bool,
        extra: dict[str, str] | None = None,
        at: list[str] | None = None,
        automatic: bool = False,
    ) -> dict[str, Any]:
        """Make a backup; it gets its name when it is complete. `extra`: content of further files by name; `at`: the database's
        revisions, None where they could not be read."""
        self.store.prepare()
        self.root.mkdir(exist_ok=True, mode=0o700)
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + re.sub(r"[^A-Za-z0-9_.-]+", "-", why)[:60]
        scratch = self.root / f".{name}.new"
        shutil.rmtree(scratch, ignore_errors=True)
        self.check_space(database, dump=True, copy=check)
        scratch.mkdir(mode=0o700)
        schema = self.store.schema | ({} if at is None else {"heads": at})
        note: dict[str, Any] = {
            "when": now(),
            "why": why,
            "release": self.store.current,
            "schema": schema,
            "bytes": 0,
            "automatic": automatic,
        }
        try:
            if database:
                note["bytes"] = database.dump(scratch / DUMP)
                note |= {"sha256": self.checksum(scratch / DUMP), "database_bytes": database.size()}
                if check and isinstance(database, External):  # there is no place for a copy at the server
                    database.check(scratch / DUMP)
                elif check:
                    note["content"] = self.content(database, scratch / DUMP)
            with tarfile.open(scratch / STATE, "w") as archive:
                for part in ("releases", "current", "schema.json", "audit.jsonl", "edge/config"):
                    if (self.store.root / part).exists():
                        archive.add(self.store.root / part, part)
            os.chmod(scratch / STATE, 0o600)
            for file, text in (extra or {}).items():
                write(scratch / file, text, 0o600)
            write(scratch / NOTE, json.dumps(note, indent=2) + "\n", 0o600)
            scratch.rename(self.root / name)
        except BaseException:
            shutil.rmtree(scratch, ignore_errors=True)
            raise
        return {"name": name, **note}

    def content(self, database: Database, dump: Path) -> dict[str, str]:
        """The content of a dump, by restoring it into a temporary database."""
        temporary = f"{database.name}_check_{os.getpid()}"
        database.create(temporary)
        try:
            database.restore(dump, temporary)
            return database.content(temporary)
        finally:
            database.drop(temporary)

    def checksum(self, dump: Path) -> str:
        digest = hashlib.sha256()
        with dump.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()

    def damage(self, note: dict[str, Any]) -> str:
        """How the dump of a backup differs from its metadata; empty where it does not."""
        dump = self.path(note["name"]) / DUMP
        if not dump.is_file():
            return f"{dump} is missing"
        size = dump.stat().st_size
        if size != note["bytes"]:
            return f"{dump} has {size} bytes instead of {note['bytes']}"
        if note.get("sha256") not in (None, self.checksum(dump)):
            return f"{dump} does not have its recorded checksum"
        return ""

    def check_space(self, database: Database | None, dump: bool, copy: bool, note: dict[str, Any] | None = None) -> None:
        """Raise DumpError where the disks lack space for a dump, for a copy of the database, or both."""
        if database is None:
            return
        external = isinstance(database, External)  # its server's disk is not this host's
        copy, size = copy and not external, database.size()
        # Estimate the compression by the last dump; without one assume none.
        last = self.find("").get("bytes") or size
        server: dict[str, int] = {} if external else {"a temporary dump": note["bytes"] if note else min(size, 2 * last)}
        if copy:
            server["a copy of the database"] = max(note.get("database_bytes", size), note["bytes"]) if note else size
        kept = {"a dump": min(size, 2 * last)} if dump else {}
        here, existing = self.store.root, database.data_directory()
        if existing and os.stat(existing).st_dev == os.stat(here).st_dev:
            problems = [shortage(server | kept, {str(here): shutil.disk_usage(here).free})]
        else:
            problems = [shortage(kept, {str(here): shutil.disk_usage(here).free})] if kept else []
            problems += [shortage(server, {str(existing): shutil.disk_usage(existing).free})] if existing else []
        found = [problem for problem in problems if problem]
        if found:
            raise DumpError("; ".join(found))

    def restore(self, name: str, database: Database, into: str = "") -> dict[str, str]:
        """Restore a backup into place, or into a new database `into`; returns its content. Raises DumpError."""
        note, dump = self.find(name), self.path(name) / DUMP
        damage = self.damage(note)
        if damage:
            raise DumpError(f"the backup is damaged: {damage}")
        if into:
            return database.add(into, dump, note.get("content"))
        try:
            return database.replace(dump, note.get("content"))
        finally:
            if database.replaced:
                self.store.record_schema(note["schema"])

    def prune(self, keep: int, automatic: bool = False) -> list[str]:
        """Remove all but the newest `keep` backups (with `automatic`: of automatic ones), and remains of interrupted runs."""
        among = [note for note in self.all() if not automatic or is_automatic(note)]
        doomed = [note["name"] for note in among[keep:]]
        for name in doomed:
            shutil.rmtree(self.path(name))
        for path in self.root.glob(".*.new"):
            shutil.rmtree(path, ignore_errors=True)
        return doomed
