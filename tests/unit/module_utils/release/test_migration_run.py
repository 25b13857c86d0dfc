"""One run of a migration: its limits, what it waits for, and its log."""

from __future__ import annotations

from threading import Event
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.data.dumps import Database
from ansible_collections.berth.stack.plugins.module_utils.data.revision import Revision
from ansible_collections.berth.stack.plugins.module_utils.docker.reconcile import RunFailed
from ansible_collections.berth.stack.plugins.module_utils.release import migration
from ansible_collections.berth.stack.plugins.module_utils.release.migration import Migration, command_text, with_timeouts
from conftest import PLUGINS
from engines import LABELS, Host
from test_deployment import act, deploy
from test_lock_waits import READER, session
from test_migrations import FRONTEND, ONE, TWO, Server

LIMITS = {"migrate_timeout": 5, "migrate_lock_timeout": 10, "migrate_statement_timeout": 0}
SPEC = {"name": "s-migrate", "image": "sha256:m", "networks": [{"name": "s-data"}], "entrypoint": ["migrate"]}


@pytest.fixture
def server(host: Host, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A server beside a migration that works until somebody kills it."""
    made, killed = Server(host, []), Event()
    host.engine.image("sha256:m")
    host.engine.logged["s-migrate"] = "Running upgrade 1 -> 2"
    call = host.engine.call

    def wait(method: str, path: str, *words: Any, **other: Any) -> Any:
        if path.endswith("/wait"):
            if not killed.wait(other["timeout"]):
                raise OSError("timed out")
            return {"StatusCode": 137}
        if path.endswith("/kill"):
            killed.set()
        return call(method, path, *words, **other)

    host.engine.call = wait  # type: ignore[method-assign]
    monkeypatch.setattr(f"{PLUGINS}.module_utils.release.migration.INTERVAL", 0.01)
    return made


def run(host: Host, **limits: int) -> str:
    """The message of a run that fails."""
    revision = Revision(Database(host.engine, "s-database", "app"), {})
    host.store.prepare()
    with pytest.raises(RunFailed) as failed:
        Migration(host.engine, revision, SPEC, LABELS, LIMITS | limits, host.store.migration_log("v1", "backend"), "it").run()
    assert "s-migrate" not in host.engine.containers
    return str(failed.value)


def test_a_migration_that_waits_too_long_for_a_lock_is_ended_and_who_holds_it_is_named(host: Host, server: Server) -> None:
    server.sessions = [session(waited=10 + migration.GRACE + 0.1)]
    host.engine.place("s-backend-v1")
    host.engine.containers["s-backend-v1"]["NetworkSettings"]["Networks"] = {"s-data": {"IPAddress": READER["address"]}}
    message = run(host)
    assert message.startswith(
        "s-migrate waited 10 s (limit: release_migrate_lock_timeout, 10 s) for a lock on backend.task, for: ALTER TABLE"
    )
    assert "session 7 (login backend_g1, from s-backend-v1): idle in transaction" in message
    assert "s-migrate was ended; last lines of its log:\nRunning upgrade 1 -> 2\nIts log: " in message
    assert any("pg_terminate_backend(pid)" in text and "'{127.0.0.1}'" in text for text in server.asked), (
        "nothing of it waits on in the server"
    )


def test_one_that_waits_less_is_let_be_and_explained_where_its_time_is_over(host: Host, server: Server) -> None:
    server.sessions = [session(waited=10)]
    message = run(host, migrate_timeout=1)
    assert "s-migrate waited 10 s" in message and "s-migrate did not end within 1 s; last lines:\nRunning upgrade 1 -> 2" in message
    assert ("POST", "/containers/s-migrate/kill") not in host.engine.changes


def test_a_limit_of_0_is_none(host: Host, server: Server) -> None:
    server.sessions = [session(waited=3000, seconds=3000)]
    assert "(limit" not in run(host, migrate_timeout=1, migrate_lock_timeout=0)
    assert ("POST", "/containers/s-migrate/kill") not in host.engine.changes


def test_a_statement_that_takes_too_long_is_named(host: Host, server: Server) -> None:
    server.sessions = [session(waited=None, seconds=31)]
    assert run(host, migrate_statement_timeout=30).startswith(
        "A statement of s-migrate ran for 31 s, the limit is 30 s (release_migrate_statement_timeout): ALTER TABLE task ADD COLUMN c text\n"
    )


def test_one_that_waited_for_nothing_is_told_as_it_ended(host: Host, server: Server) -> None:
    assert run(host, migrate_timeout=1).startswith("s-migrate did not end within 1 s")


def test_a_server_that_cannot_be_asked_ends_nothing(host: Host, server: Server) -> None:
    host.engine.execute = lambda *_, **__: (2, "no connection")  # type: ignore[method-assign]
    assert run(host, migrate_timeout=1).startswith("s-migrate did not end within 1 s")


@pytest.mark.parametrize(
    ("environment", "limits", "expected"),
    [
        ({}, (10, 0), "-c lock_timeout=10s"),
        (
            {"PGOPTIONS": "-c lock_timeout=1s -c x.y=1"},
            (10, 60),
            "-c lock_timeout=1s -c x.y=1 -c lock_timeout=10s -c statement_timeout=60s",
        ),
        ({"PGOPTIONS": "-c x.y=1"}, (0, 0), "-c x.y=1"),
        ({}, (0, 0), None),
    ],
)
def test_drivers_that_read_pgoptions_get_the_limits(environment: dict[str, str], limits: tuple[int, int], expected: str | None) -> None:
    spec = {"name": "s", "environment": environment | {"A": "b"}}
    made = with_timeouts(spec, *limits)["environment"]
    assert (made.get("PGOPTIONS"), made["A"]) == (expected, "b")
    assert spec["environment"] == environment | {"A": "b"}


def test_a_command_is_shown_without_what_sets_its_environment() -> None:
    assert command_text(["python3", "-IS", "-c", "...", "A=b", "--", "python3", "-m", "alembic"]) == "python3 -m alembic"
    assert command_text(["node", "migrate.mjs"]) == "node migrate.mjs"


# the log ------------------------------------------------------------------------------------------------------------------


def test_the_log_of_a_migration_is_kept_with_its_release(host: Host) -> None:
    generation = host.store.root / "secrets" / "4"
    generation.mkdir(parents=True)
    (generation / "record.json").write_text(
        '{"values": {}, "files": {"backend": {"database_url": "postgresql://backend_g4:x%40y@database/app"}}}'
    )
    server = Server(host, [])
    server.deploy("v1", TWO)
    kept = host.store.folder / "v1.frontend-migration.log"
    assert kept.stat().st_mode & 0o777 == 0o600
    head, *lines = kept.read_text().splitlines()
    assert "migration of frontend for v1, image sha256:frontend-v1, login unknown: node migrate.mjs; ended with exit status 0 after" in head
    assert lines == ["first of s-frontend-migrate", "last of s-frontend-migrate"]
    assert host.engine.exits == {}
    manifest = host.store.manifest("v1") | {"secrets_generation": "4"}
    host.store.record(manifest)
    server.at = ["1"]
    act(host, release="v1", backup=False).run()
    assert "login backend_g4: python3 -m alembic upgrade head" in (host.store.folder / "v1.backend-migration.log").read_text()
    # The log of a release that failed is there until one succeeds.
    host.engine.exits["s-backend-migrate"] = 1
    with pytest.raises(Exception, match=r"Its log: .*/v2\.backend-migration\.log"):
        server.deploy("v2", ONE | {"heads": ["2"], "revisions": TWO["revisions"]}, command=["other"], then=["2"])
    failed = host.store.folder / "v2.backend-migration.log"
    assert "ended with exit status 1" in failed.read_text()
    host.engine.exits.clear()
    assert FRONTEND in server.deploy("v3", TWO) and not failed.exists() and kept.exists()


def test_a_log_goes_with_its_release_and_no_other(host: Host) -> None:
    for version in ("v1", "v1.2"):
        deploy(host, version)
        for name in ("backend-migration.log", "backend.cdx.json"):
            (host.store.folder / f"{version}.{name}").write_text("")
    host.store.forget("v1")
    assert sorted(path.name for path in host.store.folder.iterdir()) == ["v1.2.backend-migration.log", "v1.2.backend.cdx.json", "v1.2.json"]
