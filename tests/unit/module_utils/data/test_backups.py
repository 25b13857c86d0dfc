"""What a restore refuses before it touches the database in use, what it asks for, and that a failed one leaves nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.data import backups as backups_module
from ansible_collections.berth.stack.plugins.module_utils.data.backups import (
    DUMP,
    NOTE,
    Backups,
    confirmation_prompt,
    incompatibility,
    shortage,
)
from ansible_collections.berth.stack.plugins.module_utils.data.dumps import Database, DumpError, difference, name_problem
from ansible_collections.berth.stack.plugins.module_utils.docker.client import EngineError
from ansible_collections.berth.stack.plugins.module_utils.state.interrupts import Interrupted
from ansible_collections.berth.stack.plugins.module_utils.state.store import Failed, Store, write
from ansible_collections.berth.stack.plugins.modules import stack_backup
from ansible_collections.berth.stack.plugins.modules.stack_backup import target
from engines import ME
from test_audit import Module

CONTENT = {"public.tasks": "3 111"}
OLD, NEW = "20260101T000000Z-old", "20260102T000000Z-new"


class FakeDatabase(Database):
    """A server whose databases are a dict of their contents; `fail` names the step that PostgreSQL refuses."""

    def __init__(self, fail: str = "", restored: dict[str, str] = CONTENT, size: int = 1000) -> None:
        self.name, self.fail, self.restored, self.bytes = "app", fail, restored, size
        self.existing: dict[str, dict[str, str]] = {"app": {"public.tasks": "9 999"}, "postgres": {}}
        self.closed = False

    def names(self) -> list[str]:
        return sorted(self.existing)

    def size(self) -> int:
        return self.bytes

    def data_directory(self) -> Path | None:
        return None

    def create(self, name: str) -> None:
        assert name not in self.existing
        self.existing[name] = {}

    def drop(self, name: str) -> None:
        self.existing.pop(name, None)

    def dump(self, to: Path) -> int:
        return to.write_bytes(b"dump")

    def restore(self, dump: Path, into: str) -> None:
        if self.fail == "restore":
            raise DumpError("pg_restore ended with status 1")
        self.existing[into] = dict(self.restored)

    def content(self, database: str | None = None) -> dict[str, str]:
        return dict(self.existing[database or self.name])

    def sql(self, text: str, database: str | None = None) -> str:
        if "ALLOW_CONNECTIONS" in text:
            self.closed = text.endswith("false")
        if "RENAME" in text:
            if self.fail == "rename":
                raise DumpError("database is being accessed by other users")
            self.existing["app_old"], self.existing["app"] = self.existing.pop("app"), self.existing.pop("app_new")
        return ""


@pytest.fixture
def kept(tmp_path: Path) -> Backups:
    """Two backups of release v1, which serves."""
    store = Store(tmp_path)
    store.prepare()
    store.record({"version": "v1", "schema": {"heads": ["1"], "revisions": {"1": {"down": [], "breaking": []}}}})
    for name in (OLD, NEW):
        (tmp_path / "backups" / name).mkdir(parents=True)
        note = {"when": "then", "why": "test", "release": "v1", "schema": {"heads": ["1"]}, "bytes": 4, "content": CONTENT}
        (tmp_path / "backups" / name / DUMP).write_bytes(b"dump")
        write(tmp_path / "backups" / name / NOTE, json.dumps(note), 0o600)
    return Backups(store)


def asked(kept: Backups, **other: str) -> dict[str, Any]:
    return target(kept, FakeDatabase(), {"name": "", "into": "", "stack": "s", "confirm": "", **other}, asking=True)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("app_then", ""),
        ("_then2", ""),
        ("a" * 63, ""),
        ("a" * 64, "not a valid database name"),
        ("a b;drop", "not a valid database name"),
        ('a"b', "not a valid database name"),
        ("App", "not a valid database name"),
        ("2then", "not a valid database name"),
        ("app\n", "not a valid database name"),
        ("app", "the database in use"),
        ("postgres", "the server or a restore uses"),
        ("template1", "the server or a restore uses"),
        ("app_new", "the server or a restore uses"),
        ("app_old", "the server or a restore uses"),
        ("earlier", "exists already"),
    ],
)
def test_into_is_the_name_of_a_database_that_does_not_exist_yet(name: str, words: str) -> None:
    reason = name_problem(name, "app", ["app", "earlier", "postgres"])
    assert (words in reason) if words else reason == ""


REFUSED: dict[str, tuple[dict[str, str], list[str]]] = {
    "without the stack's name": ({}, [NEW, "then (test)", "release v1", "3 rows in 1 tables", "database app", "CONFIRM=s", "INTO="]),
    "with another stack's name": ({"confirm": "t"}, ["CONFIRM=s"]),
    "an unknown backup": ({"name": "nope", "confirm": "s"}, ["no backup nope", OLD, NEW]),
    "into no identifier": ({"into": "a b;drop"}, ["INTO='a b;drop'"]),
    "into one that exists": ({"into": "postgres"}, ["INTO=postgres"]),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_restore_is_refused_with_what_to_type(case: tuple[dict[str, str], list[str]], kept: Backups) -> None:
    options, words = case
    with pytest.raises(Failed) as refused:
        asked(kept, **options)
    assert [word for word in [*words, "Nothing was changed"] if word not in str(refused.value)] == []


def test_a_restore_that_is_confirmed_or_goes_beside_takes_the_newest_backup_or_the_one_that_is_named(kept: Backups) -> None:
    assert asked(kept, confirm="s")["name"] == NEW
    assert asked(kept, confirm="s", name=OLD)["name"] == OLD
    assert asked(kept, into="app_then")["name"] == NEW


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda dump: dump.unlink(), "is missing"),
        (lambda dump: dump.write_bytes(b"dum"), "has 3 bytes instead of 4"),
        (lambda dump: dump.write_bytes(b"dumq"), "recorded checksum"),
    ],
)
def test_a_damaged_backup_is_refused_and_the_others_are_named(damage: Callable[[Path], Any], words: str, kept: Backups) -> None:
    note = kept.path(NEW) / NOTE
    note.write_text(json.dumps(json.loads(note.read_text()) | {"sha256": kept.checksum(kept.path(NEW) / DUMP)}))
    damage(kept.path(NEW) / DUMP)
    with pytest.raises(Failed, match=words) as refused:
        asked(kept, confirm="s")
    assert f"Other backups: {OLD}" in str(refused.value)


def test_a_backup_of_a_newer_release_that_took_something_away_is_refused(kept: Backups) -> None:
    revisions = {"1": {"down": [], "breaking": []}, "2": {"down": ["1"], "breaking": ["drop_column, line 5"]}}
    note = {"name": NEW, "release": "v2", "schema": {"heads": ["2"], "revisions": revisions}}
    serves = {"version": "v1", "schema": {"heads": ["1"], "revisions": {"1": revisions["1"]}}}
    message = incompatibility(note, serves)
    assert "drop_column, line 5" in message and "make rollback VERSION=v2" in message and f"BACKUP={NEW} INTO=" in message
    assert incompatibility(note | {"schema": {"heads": ["1"]}}, serves) == ""


def test_the_question_says_that_a_deploy_has_to_follow_where_the_backup_is_older() -> None:
    note = {"name": NEW, "when": "then", "why": "test", "release": "v1", "bytes": 2_000_000}
    assert "run make deploy right after it" in confirmation_prompt("s", note, "v2", "app", 8_000_000, behind=True)
    message = confirmation_prompt("s", note, "v2", "app", 8_000_000, behind=False)
    assert "make deploy" not in message and "2.0 MB" in message and "8.0 MB" in message


def test_too_little_room_is_told_with_figures() -> None:
    needs = {"a dump": 3_000_000, "a copy of the database": 8_000_000}
    message = shortage(needs, {"/var/lib/s": 10_000_000})
    assert "/var/lib/s has 10.0 MB free" in message and "3.0 MB for a dump, 8.0 MB for a copy of the database are needed" in message
    assert shortage(needs, {"/var/lib/s": 11_000_000}) == ""


def test_neither_a_backup_nor_a_restore_begins_where_the_disk_is_full(kept: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000))
    database = FakeDatabase(size=50_000_000)
    with pytest.raises(DumpError, match=r"has 0\.1 MB free"):
        monkeypatch.setattr(database, "data_directory", lambda: kept.root)
        kept.make("test", database, check=True)
    assert sorted(path.name for path in kept.root.iterdir()) == [OLD, NEW]


# a restore into place -----------------------------------------------------------------------------------------------------


def test_a_restore_into_place_replaces_the_database_when_the_new_one_is_whole(kept: Backups) -> None:
    database = FakeDatabase()
    assert kept.restore(NEW, database) == CONTENT
    assert database.existing == {"app": CONTENT, "postgres": {}} and kept.store.schema == {"heads": ["1"]}


@pytest.mark.parametrize("fail", ["restore", "rename", "content"])
def test_a_restore_that_fails_leaves_the_database_in_use_and_nothing_beside_it(fail: str, kept: Backups) -> None:
    database = FakeDatabase(fail, restored={"public.tasks": "2 222"} if fail == "content" else CONTENT)
    before = dict(database.existing)
    with pytest.raises(DumpError, match=r"public.tasks: 3 111 -> 2 222" if fail == "content" else "pg_restore|other users"):
        kept.restore(NEW, database)
    assert database.existing == before and not database.closed and kept.store.schema == {}


def test_a_restore_that_ends_after_the_renaming_is_noted_as_what_it_is(kept: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    database = FakeDatabase()
    sql = database.sql

    def gone(text: str, name: str | None = None) -> str:
        message = sql(text, name)
        if "RENAME" in text:
            raise Interrupted("it was interrupted (SIGTERM)")
        return message

    monkeypatch.setattr(database, "sql", gone)
    with pytest.raises(Interrupted):
        kept.restore(NEW, database)
    assert database.replaced and database.existing == {"app": CONTENT, "postgres": {}}, "nor does the old one stay beside"
    assert kept.store.schema == {"heads": ["1"]} and not database.closed


def test_an_engine_that_fails_at_removing_the_old_one_does_not_undo_a_restore(kept: Backups, monkeypatch: pytest.MonkeyPatch) -> None:
    database = FakeDatabase()
    drop = database.drop

    def fail(name: str) -> None:
        if name == "app_old" and name in database.existing:
            raise EngineError(0, "timed out")
        drop(name)

    monkeypatch.setattr(database, "drop", fail)
    assert kept.restore(NEW, database) == CONTENT and kept.store.schema == {"heads": ["1"]}


def test_a_backup_of_an_older_berth_is_restored(kept: Backups) -> None:
    schema = {"migrated": {"backend": "sha256:b"}, "heads": ["1"]}
    note = {"when": "then", "why": "on-demand", "release": "v1", "schema": schema, "bytes": 4}
    (kept.path(NEW) / NOTE).write_text(json.dumps(note))
    assert asked(kept, confirm="s")["name"] == NEW
    database = FakeDatabase()
    kept.check_space(database, dump=True, copy=True, note=kept.find(NEW))
    assert kept.restore(NEW, database) == CONTENT and kept.store.schema == note["schema"]


def test_a_release_lets_go_only_of_backups_that_releases_made(kept: Backups) -> None:
    for number in range(3):
        kept.make(f"before-v{number}", None, check=False, automatic=number < 2)
    old = kept.path(OLD) / NOTE  # an older Berth did not note that
    old.write_text(
        json.dumps({key: value for key, value in json.loads(old.read_text()).items() if key != "content"} | {"why": "before-v0"})
    )
    gone = kept.prune(1, automatic=True)
    assert [name.partition("-")[2] for name in gone] == ["before-v0", "old"]
    assert [note["why"] for note in kept.all()] == ["before-v2", "before-v1", "test"]


def test_a_backup_has_the_revisions_that_the_database_told(kept: Backups) -> None:
    kept.store.record_schema({"heads": ["1"], "revisions": {}})
    assert kept.make("test", None, check=False, at=[])["schema"] == {"heads": [], "revisions": {}}
    assert kept.make("else", None, check=False)["schema"]["heads"] == ["1"]


def test_a_backup_from_before_the_first_migration_is_behind_too(kept: Backups) -> None:
    note = json.loads((kept.path(NEW) / NOTE).read_text()) | {"schema": {}}
    (kept.path(NEW) / NOTE).write_text(json.dumps(note))
    with pytest.raises(Failed, match="run make deploy right after it"):
        asked(kept)


def test_a_restore_beside_that_fails_leaves_no_database(kept: Backups) -> None:
    database = FakeDatabase("restore")
    with pytest.raises(DumpError):
        kept.restore(NEW, database, into="app_then")
    assert "app_then" not in database.existing


def test_where_two_databases_differ_is_told_by_table() -> None:
    assert difference({"a": "1 1", "b": "1 1"}, {"a": "1 1", "c": "2 2"}) == "b: 1 1 -> missing; c: missing -> 2 2"


# the module ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "after", "outcome"),
    [
        (Interrupted("it was interrupted (SIGINT)"), True, "interrupted"),
        (Interrupted("it was interrupted (SIGINT)"), False, "interrupted"),
        (TypeError("odd"), False, "failed"),
    ],
)
def test_a_restore_says_what_it_left_and_is_written_down(
    kept: Backups, monkeypatch: pytest.MonkeyPatch, error: BaseException, after: bool, outcome: str
) -> None:
    serves = kept.store.manifest("v1")
    kept.store.record(serves | {"around": {"database": {"container": "s-database", "name": "app"}}})
    kept.store.state.keep("deployment", {"time": 1})
    database = FakeDatabase()
    monkeypatch.setattr(database, "reopen", lambda: None)
    monkeypatch.setattr(stack_backup, "database_of", lambda *_: database)
    monkeypatch.setattr(stack_backup, "revisions", lambda *_: ["1"])
    monkeypatch.setattr(stack_backup, "raise_on_signals", lambda: None)
    monkeypatch.setattr(stack_backup, "AnsibleModule", Module)
    options = {"directory": str(kept.store.root), "state": "restored", "name": NEW, "stack": "s", "confirm": "s", "who": ME}
    monkeypatch.setattr(Module, "given", options)
    sql = database.sql

    def end(text: str, name: str | None = None) -> str:
        message = sql(text, name) if after or "RENAME" not in text else ""
        if "RENAME" in text:
            raise error
        return message

    monkeypatch.setattr(database, "sql", end)
    with pytest.raises(SystemExit) as ended:
        stack_backup.main()
    message = str(ended.value)
    assert ("has been replaced by" in message, "The database in use was not changed" in message) == (after, not after)
    assert "-before-restore" in message and database.existing["app"] == (CONTENT if after else {"public.tasks": "9 999"})
    assert bool(kept.store.state.section("deployment")) != after
    assert (kept.store.audit_log()[-1]["verb"], kept.store.audit_log()[-1]["outcome"]) == ("restore", outcome)
    assert kept.store.note("lock") == {} and kept.find("")["schema"]["heads"] == ["1"] and kept.find("")["automatic"]
