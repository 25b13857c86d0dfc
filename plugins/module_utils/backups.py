"""Backups of a stack on its host: a directory each, `backups/<time>-<why>/`, with the dump and what it belongs to.

`backup.json` has when, why, release, schema (what the database was brought to), bytes and, where the backup was checked, content: by
table, rows and checksum, of the dump put back into a database beside.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.dumps import Database, DumpError
from ansible.module_utils.releases import Store, now, write

DUMP, NOTE, STATE = "database.dump", "backup.json", "state.tar"


class Backups:
    """The backups below a state directory."""

    def __init__(self, store: Store) -> None:
        self.store, self.root = store, store.root / "backups"

    def all(self) -> list[dict[str, Any]]:
        """What each backup says of itself, with its name; the newest first."""
        notes = [{"name": path.parent.name, **json.loads(path.read_text())} for path in self.root.glob(f"[!.]*/{NOTE}")]
        return sorted(notes, key=lambda note: note["name"], reverse=True)

    def find(self, name: str) -> dict[str, Any]:
        """A backup by its name, or the newest; empty where there is none."""
        return next((note for note in self.all() if not name or note["name"] == name), {})

    def path(self, name: str) -> Path:
        return self.root / name

    def make(self, why: str, database: Database | None, check: bool, extra: dict[str, str] | None = None) -> dict[str, Any]:
        """Write a backup beside its place and move it there when it is whole. `extra`: further files, content by name."""
        self.store.prepare()
        self.root.mkdir(exist_ok=True, mode=0o700)
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + re.sub(r"[^A-Za-z0-9_.-]+", "-", why)[:60]
        scratch = self.root / f".{name}.new"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o700)
        note: dict[str, Any] = {"when": now(), "why": why, "release": self.store.current, "schema": self.store.schema, "bytes": 0}
        try:
            if database:
                note["bytes"] = database.dump(scratch / DUMP)
                if check:
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
        """What a dump holds, told by restoring it into a database of its own."""
        beside = f"{database.name}_check_{os.getpid()}"
        database.create(beside)
        try:
            database.restore(dump, beside)
            return json.loads(database.content(beside))
        finally:
            database.drop(beside)

    def restore(self, name: str, database: Database, into: str = "") -> dict[str, str]:
        """Put a backup into place, or into a new database `into`; returns what is there then. Raises DumpError."""
        dump = self.path(name) / DUMP
        if into:
            database.create(into)
            try:
                database.restore(dump, into)
                return json.loads(database.content(into))
            except BaseException:
                database.drop(into)
                raise
        database.replace(dump)
        self.store.migrated(self.find(name)["schema"])
        return json.loads(database.content())

    def prune(self, keep: int) -> list[str]:
        """Remove all but the newest `keep`, and what an interrupted run left; the names of those that went."""
        doomed = [note["name"] for note in self.all()[keep:]]
        for name in doomed:
            shutil.rmtree(self.path(name))
        for path in self.root.glob(".*.new"):
            shutil.rmtree(path, ignore_errors=True)
        return doomed


__all__ = ["Backups", "DumpError"]
