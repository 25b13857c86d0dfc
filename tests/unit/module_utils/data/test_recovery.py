"""A restore to a moment: refused with the moment that can be restored, beside or into place, and nothing stays beside."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.data import recovery
from ansible_collections.berth.stack.plugins.module_utils.data.dumps import Database, archive_of
from ansible_collections.berth.stack.plugins.module_utils.data.recovery import Repository, RepositoryError, restore, target
from ansible_collections.berth.stack.plugins.module_utils.data.repository import UTC
from ansible_collections.berth.stack.plugins.module_utils.state.store import Failed, Store
from test_backups import CONTENT, FakeDatabase

AT = "2026-11-27T12:00Z"
FOUND = {"backup": "F", "repository": 1, "bytes": 1, "reached": "2026-11-27T11:59:59Z", "seconds": 1}


class FakeRepository(Repository):
    """Answers of the program, by command; a string is an error."""

    def __init__(self, database: FakeDatabase, source: FakeDatabase, **answers: Any) -> None:
        self.database, self.source, self.answers = database, source, {"recover": FOUND} | answers
        self.calls: list[tuple[str, ...]] = []

    def run(self, *words: str) -> dict[str, Any]:
        self.calls.append(words)
        answer = self.answers.get(words[0], {})
        if "error" in answer:
            raise RepositoryError(answer["error"], answer)
        if words[0] == "copy":
            self.database.existing[words[2]] = dict(self.source.content())
        return dict(answer)

    def recovered(self, name: str) -> Database:
        return self.source


class Filled(FakeDatabase):
    """A server that is filled by a function instead of a dump."""

    def restore(self, dump: Any, into: str) -> None:
        dump(into)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path)
    made.record({"version": "v1"})
    return made


@pytest.fixture
def databases() -> Iterator[tuple[Filled, FakeDatabase]]:
    source = FakeDatabase()
    source.existing["app"] = dict(CONTENT)
    yield Filled(), source


def test_a_moment_in_the_future_or_without_a_time_zone_is_refused() -> None:
    now = datetime(2026, 11, 27, 11, tzinfo=UTC)
    with pytest.raises(Failed, match="in the future"):
        target(AT, now)
    with pytest.raises(Failed, match="time zone"):
        target("2026-11-27T12:00", now)
    assert target("2026-11-27T11:00+01:00", now) == "2026-11-27T10:00:00.000000Z"
    assert target("latest") == ""


def test_a_moment_is_restored_into_place_and_what_was_beside_is_removed(databases: tuple[Filled, FakeDatabase], store: Store) -> None:
    database, source = databases
    repository = FakeRepository(database, source)
    result = restore(repository, database, store, {}, AT, "")
    assert database.existing["app"] == CONTENT and database.replaced
    assert result["rows"] == {"public.tasks": 3} and result["warnings"] == []
    assert [words[0] for words in repository.calls] == ["archive", "recover", "copy", "discard"]
    assert repository.calls[1] == ("recover", "2026-11-27T12:00:00.000000Z", "2")


def test_a_moment_is_restored_beside(databases: tuple[Filled, FakeDatabase], store: Store) -> None:
    database, source = databases
    before = dict(database.existing["app"])
    restore(FakeRepository(database, source), database, store, {}, AT, "app_then")
    assert (database.existing["app"], database.existing["app_then"], database.replaced) == (before, CONTENT, False)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"error": "recovery ended", "reached": "2026-11-27T11:00:00.5Z"}, "make restore AT=2026-11-27T11:00:00.5Z"),
        ({"error": "the first moment is X", "first": "X"}, "the first moment is X"),
        ({"error": "2 GB are needed"}, "2 GB are needed"),
    ],
)
def test_what_cannot_be_restored_is_refused_with_what_can(
    answer: dict[str, str], words: str, databases: tuple[Filled, FakeDatabase], store: Store
) -> None:
    database, source = databases
    repository = FakeRepository(database, source, recover=answer)
    with pytest.raises(Failed) as refusal:
        restore(repository, database, store, {}, AT, "")
    assert words in str(refusal.value) and not database.replaced
    assert "discard" not in [words[0] for words in repository.calls], "it may be another run's"


def test_a_copy_that_differs_changes_nothing_and_leaves_nothing(databases: tuple[Filled, FakeDatabase], store: Store) -> None:
    database, source = databases
    repository = FakeRepository(database, source)
    before = {name: dict(content) for name, content in database.existing.items()}
    repository.source = FakeDatabase()  # what is copied: other rows than the content that was read
    repository.recovered = lambda name: source  # type: ignore[method-assign]
    with pytest.raises(Exception, match="differs"):
        restore(repository, database, store, {}, AT, "")
    assert database.existing == before and repository.calls[-1] == ("discard",)


def test_an_archive_that_fails_now_is_a_warning_since_earlier_moments_are_there(
    databases: tuple[Filled, FakeDatabase], store: Store
) -> None:
    database, source = databases
    result = restore(FakeRepository(database, source, archive={"error": "not archived"}), database, store, {}, AT, "")
    assert "not archived" in result["warnings"][0]


def test_the_programs_last_line_is_its_result() -> None:
    class Engine:
        output = "log\n" + json.dumps({"a": 1})

        def execute(self, *_: Any, **__: Any) -> tuple[int, str]:
            return 0, self.output

    engine: Any = Engine()
    repository = Repository(engine, "c")
    assert repository.run("information") == {"a": 1}
    engine.output = json.dumps({"error": "why", "first": "X"})
    with pytest.raises(RepositoryError, match="why") as failure:
        repository.run("recover")
    assert failure.value.result["first"] == "X"
    engine.output = "Traceback"
    with pytest.raises(RepositoryError, match="Traceback"):
        repository.run("recover")
    assert recovery.LATEST == "latest"


@pytest.mark.parametrize("size", [0, 1, 511, 512, 3 * (1 << 20) + 7])
def test_a_dump_is_put_into_its_envelope_in_pieces(size: int, tmp_path: Path) -> None:
    dump = tmp_path / "dump"
    dump.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    pieces = list(archive_of(dump, "inside", 70))
    assert max(map(len, pieces)) <= 1 << 20
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        (member,) = archive.getmembers()
        file = archive.extractfile(member)
        assert file and (member.name, member.uid, member.mode, file.read()) == ("inside", 70, 0o400, dump.read_bytes())
