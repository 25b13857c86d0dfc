"""A restore requires confirmation, dumps the replaced database, rejects invalid requests; the audit log records all of it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import STACK, docker, existing, verb

STATE = Path("/var/lib") / STACK


def sql(text: str, database: str = "app") -> str:
    return docker("exec", f"{STACK}-database", "psql", "-qtAX", "-U", "postgres", "-d", database, "-c", text)


def audited() -> list[dict[str, str]]:
    return [json.loads(line) for line in (STATE / "audit.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def backup() -> Iterator[str]:
    """A backup without the table `later`, which the current database has; its name."""
    done = verb("backup", BERTH_WHY="test-restore")
    assert done.returncode == 0, done.stdout
    sql("CREATE TABLE later (x int); INSERT INTO later VALUES (1)")
    yield max(path.name for path in (STATE / "backups").glob("*-test-restore"))
    sql("DROP TABLE IF EXISTS later")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, ["test-restore", "database app", f"CONFIRM={STACK}", "INTO="]),
        ({"BERTH_INTO": "postgres", "BERTH_CONFIRM": STACK}, ["INTO=postgres"]),
    ],
)
def test_a_restore_is_refused_and_nothing_is_touched(environment: dict[str, str], words: list[str], backup: str) -> None:
    before = existing()
    done = verb("restore", **environment)
    output = done.stdout + done.stderr
    assert done.returncode == 2 and [word for word in words if word not in output] == [], output
    assert existing() == before and sql("SELECT x FROM later") == "1"
    assert (audited()[-1]["verb"], audited()[-1]["outcome"]) == ("restore", "refused")


def test_a_restore_keeps_what_it_replaces_and_tells_how_to_put_that_back(backup: str) -> None:
    done = verb("restore", BERTH_BACKUP=backup, BERTH_CONFIRM=STACK)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = max(path.name for path in (STATE / "backups").glob("*-before-restore"))
    assert f" BACKUP={kept} CONFIRM={STACK}" in done.stdout
    assert sql("SELECT to_regclass('later') IS NULL") == "t"
    done = verb("restore", BERTH_BACKUP=kept, BERTH_CONFIRM=STACK)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sql("SELECT x FROM later") == "1"
    assert [line["outcome"] for line in audited()[-2:]] == ["ok", "ok"]
    assert sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'app%'", "postgres") == "1"


def test_a_run_that_was_interrupted_is_told_by_status_and_audit_and_written_down_by_the_next() -> None:
    gone = {"owner": "ann", "host": socket.gethostname(), "pid": 2**22, "started": "1", "verb": "deploy", "reason": "", "token": "t"}
    times = {"since": "2026-01-01T00:00:00Z", "began": 0, "expires": "2099-01-01T00:00:00Z"}
    (STATE / "lock").write_text(json.dumps(gone | times))
    for question in ("status", "audit"):
        assert "interrupted" in verb(question, BERTH_OUTPUT="plain").stdout
    assert verb("unlock").returncode == 0
    assert [(line["verb"], line["outcome"]) for line in audited()[-2:]] == [("deploy", "interrupted"), ("unlock", "ok")]


def test_what_is_refused_and_what_changes_no_release_have_their_lines() -> None:
    verb("maintenance", BERTH_ON="false")
    assert (audited()[-1]["verb"], audited()[-1]["outcome"]) == ("maintenance", "ok")
    assert verb("stress").returncode == 2
    assert (audited()[-1]["verb"], audited()[-1]["outcome"]) == ("stress", "refused")
