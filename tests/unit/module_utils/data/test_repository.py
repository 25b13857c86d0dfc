"""The program that makes, checks and recovers backups: what it decides by itself, without pgBackRest and PostgreSQL."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.data import repository
from ansible_collections.berth.stack.plugins.module_utils.data.repository import (
    LAUNCHER,
    PROGRAM,
    UTC,
    Refused,
    backups_in,
    chosen,
    compared,
    log_moment,
    moment,
    replayed,
    segment,
    stamp,
)

NOON = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def backup(label: str, stop: float, number: int = 1, **more: Any) -> dict[str, Any]:
    """A backup as `pgbackrest info` has it."""
    return {
        "label": label,
        "type": "full",
        "error": False,
        "database": {"repo-key": number},
        "timestamp": {"start": stop - 5, "stop": stop},
        "info": {"size": 100, "repository": {"delta": 10}},
    } | more


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-27T12:00Z", NOON),
        ("2026-11-27 12:00:00Z", NOON),
        ("2026-11-27T13:00+01:00", NOON),
        ("2026-11-27T06:30-0530", NOON),
        ("2026-11-27T12:00:05.25Z", NOON.replace(second=5, microsecond=250000)),
    ],
)
def test_a_moment_is_read_with_its_time_zone(text: str, at: datetime) -> None:
    assert moment(text) == at
    assert moment(stamp(at)) == at


@pytest.mark.parametrize("text", ["2026-11-27T12:00", "2026-11-27", "noon", "2026-13-27T12:00Z", "2026-11-27T12:00.5Z", ""])
def test_what_is_no_moment_or_has_no_time_zone_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        moment(text)


def test_the_moment_in_a_servers_log_is_read() -> None:
    assert log_moment("2026-11-27 12:00:00.5+00") == NOON.replace(microsecond=500000)
    assert log_moment("nothing") is None


def test_a_moment_is_restored_from_the_newest_backup_that_was_complete_by_then() -> None:
    times = {"a": NOON.timestamp() - 100, "b": NOON.timestamp(), "c": NOON.timestamp() + 1}
    found = backups_in([{"backup": [backup(label, stop) for label, stop in reversed(times.items())]}])
    assert [one["label"] for one in found] == ["a", "b", "c"]
    assert chosen(found, NOON)["label"] == "b"
    assert chosen(found, None)["label"] == "c"
    with pytest.raises(Refused, match="2026-11-27T11:58:20Z") as refusal:
        chosen(found, NOON.replace(hour=1))
    assert refusal.value.more == {"first": "2026-11-27T11:58:20Z"}
    with pytest.raises(Refused, match="no backup"):
        chosen([], NOON)


def test_a_backup_with_errors_is_no_backup() -> None:
    assert backups_in([{"backup": [backup("a", 1, error=True)]}, {}]) == []


@pytest.mark.parametrize(
    ("restored", "after", "result"),
    [
        ({"t": "2 1"}, {"t": "2 1"}, (True, "")),
        ({"t": "1 7"}, {"t": "2 1"}, (True, "t: 2 1 in use, 1 7 restored")),
        ({}, {"t": "2 1"}, (True, "t: 2 1 in use, missing restored")),
        ({"t": "2 9"}, {"t": "3 2"}, (False, "")),  # it changed meanwhile
        ({}, {"t": "3 2"}, (False, "t: missing")),
    ],
)
def test_tables_that_did_not_change_must_be_identical(restored: dict[str, str], after: dict[str, str], result: tuple[bool, str]) -> None:
    assert compared({"t": "2 1"}, restored, after) == result


def test_a_gap_in_the_wal_is_seen_by_the_segment_in_which_recovery_ended() -> None:
    assert segment("000000020000000100000003") == 256 + 3
    assert replayed("LOG:  redo done at 1/3FFFF28 system usage: CPU") == 256 + 3
    assert replayed("LOG:  redo done at 0/2FFFF28\nLOG: redo done at 1/4000000") == 256 + 4
    assert replayed("") == -1


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RECOVERY", "RECORDS"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(repository, name, tmp_path / name)
    return tmp_path


def test_one_restore_at_a_time_and_the_second_does_not_touch_the_first(place: Path) -> None:
    kept = place / "RECOVERY" / "pgdata"
    kept.mkdir()
    with repository.take_lock(), pytest.raises(Refused, match="another restore"):
        repository.recover("")
    assert kept.is_dir()


def test_a_restore_that_fails_leaves_nothing_beside(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "information", lambda: [{"backup": [backup("a", 1, info={"size": 1 << 60, "repository": {}})]}])
    (place / "RECOVERY" / "old").mkdir()
    with pytest.raises(Refused, match="GB are needed to restore a"):
        repository.recover("")
    assert [path.name for path in (place / "RECOVERY").iterdir()] == ["lock"]


@pytest.mark.parametrize(("due", "lines"), [("2026-11-27T12:00:00Z", 1), ("", 0)])
def test_a_run_is_recorded_and_only_those_of_the_timer_are_lines_of_the_audit_log(
    due: str, lines: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "information", lambda: [{"backup": [backup("a", 1)]}])
    monkeypatch.setenv("JOB_DUE", due) if due else monkeypatch.delenv("JOB_DUE", raising=False)
    with pytest.raises(Refused), repository.recorded("backup", "full backup"):
        raise Refused("the bucket is gone")
    state = json.loads((place / "RECORDS" / repository.STATE).read_text())
    assert (state["backup"]["outcome"], state["backup"]["what"]) == ("failed", "full backup: the bucket is gone")
    assert [one["label"] for one in state["backups"]] == ["a"]
    audit = place / "RECORDS" / repository.AUDIT
    assert len(audit.read_text().splitlines() if audit.exists() else []) == lines


def test_one_repository_that_cannot_be_reached_keeps_no_other_from_its_backup(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def run(*words: str) -> str:
        if "--repo=1" in words:
            raise Refused("connection refused")
        made.append(words)
        return ""

    monkeypatch.setattr(repository, "pgbackrest", run)
    monkeypatch.setattr(repository, "repositories", lambda: ["1", "2"])
    monkeypatch.setattr(repository, "information", list)
    with pytest.raises(Refused, match="repository 1: connection refused"):
        repository.backup("full", "test")
    assert made == [("--type=full", "--repo=2", "--annotation=why=test", "backup")]


def program(directory: Path, programs: dict[str, str], *words: str) -> tuple[int, dict[str, Any]]:
    """Run the program as in its container, with these shell scripts for other programs."""
    for name, text in programs.items():
        (directory / name).write_text(f"#!/bin/sh\n{text}\n")
        (directory / name).chmod(0o755)
    environment = os.environ | {PROGRAM: Path(repository.__file__).read_text(), "PATH": f"{directory}:{os.environ['PATH']}"}
    environment |= {name: str(directory) for name in ("DATA", "RECOVERY", "RECORDS")}
    done = subprocess.run([sys.executable, "-IS", "-c", LAUNCHER, *words], env=environment, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def test_a_copy_fails_if_either_end_of_it_does(tmp_path: Path) -> None:
    ok, bad = "cat > /dev/null", "cat > /dev/null; echo no space >&2; exit 1"
    assert program(tmp_path, {"pg_dump": "echo data", "pg_restore": ok}, "copy", "app", "app_new") == (0, {})
    for programs in ({"pg_dump": "echo data; echo no space >&2; exit 1", "pg_restore": ok}, {"pg_dump": "echo data", "pg_restore": bad}):
        status, result = program(tmp_path, programs, "copy", "app", "app_new")
        assert status == 1 and "no space" in result["error"]


def test_the_programs_error_is_its_result(tmp_path: Path) -> None:
    status, result = program(tmp_path, {"pgbackrest": "echo '[]'"}, "recover", "2026-11-27T12:00")
    assert status == 1 and "time zone" in result["error"]
    status, result = program(tmp_path, {"pgbackrest": "echo '2026-11-27 P00  ERROR: [049]: cannot connect'; exit 49"}, "information")
    assert (status, result) == (1, {"error": "pgbackrest info: 2026-11-27 P00 ERROR: [049]: cannot connect"})


def test_what_the_archive_does_not_get_in_time_is_told(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: Callable[..., str] = lambda text, *_: "000000010000000000000002" if "switch" in text else ""  # noqa: E731
    monkeypatch.setattr(repository, "sql", answers)
    monkeypatch.setattr(repository, "ARCHIVED_WITHIN", 0)
    with pytest.raises(Refused, match="000000010000000000000002 was not archived"):
        repository.archive_all()
