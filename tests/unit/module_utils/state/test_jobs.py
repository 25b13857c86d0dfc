"""The record of jobs, which a container of the application writes: what is read of it, and what status says."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.filter.fleet import fleet_status
from ansible_collections.berth.stack.plugins.filter.status import status_text, stored_lines
from ansible_collections.berth.stack.plugins.module_utils.state import jobs

RUN: dict[str, Any] = {
    "due": "2026-01-01T02:00:00Z", "started": "2026-01-01T02:00:01Z", "ended": "2026-01-01T02:00:31Z", "seconds": 30.2, "outcome": "ok",
    "status": 0, "made_up": False, "release": "v1", "again": False,
}  # fmt: skip
RECORD: dict[str, Any] = {"job": "x", "schedule": "0 2 * * * UTC", "handled": RUN["due"], "next": "2026-01-02T02:00:00Z", "last": RUN}


STORED = {
    "backups": [{"label": "20260101-010000F", "type": "full", "repository": 1, "stop": 1767229200, "why": "x"}],
    "backup": {"when": "2026-01-01T01:00:00Z", "outcome": "failed", "what": "no bucket"},
    "backup-check": {"when": "2026-01-01T04:00:00Z", "outcome": "ok", "what": "12 rows"},
}
LINE = {"when": "2026-01-01T01:00:00Z", "who": "timer", "verb": "backup", "from": "", "to": "", "outcome": "ok", "seconds": 3, "what": "w"}


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    (tmp_path / jobs.BACKUPS).mkdir(parents=True)
    return tmp_path


def test_status_has_the_age_of_backups_in_repositories_of_their_check_and_of_the_archive(backups: Path) -> None:
    (backups / jobs.STORED).write_text(json.dumps(STORED))
    found = jobs.stored(backups) | {"archived_seconds": 31, "failing": False, "waiting": 0}
    assert stored_lines(found, 1767229200 + 5 * 3600)[1:] == [
        "backups: repository 1: 20260101-010000F 5.0 h old",
        "WAL: archived 31 s ago",
        "last backup: 2026-01-01T01:00:00Z failed: no bucket",
        "last check: 2026-01-01T04:00:00Z ok: 12 rows",
    ]
    assert "ARCHIVING FAILS, 7 segments wait" in stored_lines(found | {"failing": True, "waiting": 7}, 0)[2]
    assert "not archived yet" in stored_lines(found | {"archived_seconds": -1}, 0)[2]
    assert stored_lines({}, 0) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"backups": [1]}', '{"backup": {"when": 1}}', "null"])
def test_a_record_of_repositories_that_is_none_is_no_error(text: str, backups: Path) -> None:
    assert jobs.stored(backups) == {}
    (backups / jobs.STORED).write_text(text)
    (backups / jobs.AUDIT).write_text(text)
    assert jobs.stored(backups) in ({}, {"newest": {}})
    assert jobs.audited(backups) == []


def test_runs_of_the_timer_are_in_the_audit_log_and_a_link_is_not_followed(backups: Path) -> None:
    (backups / jobs.AUDIT).write_text(json.dumps(LINE | {"more": "x"}) + "\n")
    assert jobs.audited(backups) == [LINE]
    (backups / jobs.AUDIT).rename(backups / "elsewhere")
    (backups / jobs.AUDIT).symlink_to(backups / "elsewhere")
    assert jobs.audited(backups) == []


def test_runs_of_the_timer_are_jobs_of_the_status(backups: Path) -> None:
    (backups / jobs.BACKUPS / "backup-full.json").write_text(json.dumps(RECORD))
    assert [one["job"] for one in jobs.records(backups)] == ["backup-full"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "jobs/runs").mkdir(parents=True)
    (tmp_path / "jobs/release").mkdir()
    return tmp_path / "jobs/runs"


def shown(root: Path) -> str:
    service = {
        "service": "scheduler",
        "version": "v1",
        "health": "healthy",
        "restarts": 0,
        "memory_bytes": 0,
        "started_at": "",
        "container": "c",
    }
    status = {"stack": "s", "version": "v1", "previous": "", "url": "u", "services": [service], "jobs": jobs.records(root)}
    return status_text(status)


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (RECORD, "nightly  2026-01-01 02:00  ok      30.2     2026-01-02 02:00"),
        (RECORD | {"last": RUN | {"outcome": "failed", "status": 3}}, "failed, exit status 3"),
        (RECORD | {"last": RUN | {"outcome": "timeout", "status": -15}}, "failed, ended at its time limit"),
        (RECORD | {"last": RUN | {"outcome": "interrupted", "ended": None, "seconds": None, "status": None}}, "interrupted"),
        (RECORD | {"last": RUN | {"made_up": True}}, "ok (made up)"),
        (RECORD | {"running": {key: RUN[key] for key in ("due", "started", "made_up")}}, "running"),
        (RECORD | {"missed": {"times": 2, "last": "2025-12-31T02:00:00Z"}}, "2, last 2025-12-31 02:00"),
        ({"next": RECORD["next"]}, "not run yet"),
    ],
)
def test_status_tells_how_each_job_went(runs: Path, record: dict[str, Any], line: str) -> None:
    (runs / "nightly.json").write_text(json.dumps(record))
    (runs / "nightly.lock").touch()
    text = shown(runs.parents[1])
    assert line in text and text.splitlines()[-2].split() == ["job", "last", "run", "result", "seconds", "next", "run", "missed"]


def test_status_of_several_hosts_tells_it_by_host(runs: Path) -> None:
    (runs / "nightly.json").write_text(json.dumps(RECORD))
    status = {"stack": "s", "version": "v1", "url": "u", "services": [], "jobs": jobs.records(runs.parents[1])}
    text = fleet_status(["a", "b"], {"a": {"r": {"status": status}}, "b": {"r": {"status": status | {"jobs": []}}}}, "r")
    assert [line.split()[:2] for line in text.splitlines() if "nightly" in line] == [["a", "nightly"]]


@pytest.mark.parametrize("content", ["{", "[]", "null", "", '"x"', "\xff", "{" * 70000])
def test_what_is_no_record_is_said_to_be_none(runs: Path, content: str) -> None:
    (runs / "nightly.json").write_bytes(content.encode("latin-1"))
    assert jobs.records(runs.parents[1]) == [{"job": "nightly", "unreadable": True}]
    assert "its record cannot be read" in shown(runs.parents[1])


def test_nothing_of_the_host_is_read_through_a_record(runs: Path) -> None:
    secret = runs.parents[1] / "secret.json"
    secret.write_text(json.dumps(RECORD))
    (runs / "link.json").symlink_to(secret)
    os.mkfifo(runs / "pipe.json")
    assert jobs.records(runs.parents[1]) == [{"job": "link", "unreadable": True}, {"job": "pipe", "unreadable": True}]


def test_a_record_puts_nothing_else_on_the_terminal(runs: Path) -> None:
    bad = "\x1b[2J gone"
    run = RUN | {"started": bad, "outcome": bad, "status": bad, "seconds": [bad]}
    (runs / "a\x1bb.json").write_text(json.dumps(RECORD | {"next": bad, "last": run, "missed": {"times": bad, "last": bad}}))
    text = shown(runs.parents[1])
    assert "gone" not in text and "\x1b" not in text


def test_the_release_whose_jobs_run_is_written_where_only_root_writes(runs: Path) -> None:
    root = runs.parents[1]
    assert jobs.active_release(root) == ""
    jobs.activate(root, "v2")
    assert jobs.active_release(root) == "v2" and (root / "jobs/release/current").stat().st_mode & 0o777 == 0o644
    mount = {"source": str(runs), "target": "/run/jobs/runs"}
    assert jobs.has_jobs(root, {"containers": [{"mounts": [mount]}]}) and not jobs.has_jobs(root, {"containers": [{"mounts": []}, {}]})
