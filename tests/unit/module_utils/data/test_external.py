"""A database outside the stack: its tools run in one-off containers, which have the credentials as a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.data import external
from ansible_collections.berth.stack.plugins.module_utils.data.backups import DUMP, Backups, external_confirmation
from ansible_collections.berth.stack.plugins.module_utils.data.dumps import Database, DumpError
from ansible_collections.berth.stack.plugins.module_utils.data.external import External, database_of
from ansible_collections.berth.stack.plugins.module_utils.docker.reconcile import RunFailed
from ansible_collections.berth.stack.plugins.module_utils.state.store import Store
from engines import Clock, FakeEngine


@pytest.fixture
def base(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/service").write_text("[client]\n")
    return {
        "external": "db.example.com:5432", "name": "shop", "image": "s-database:1", "network": "s-internet",
        "user": f"{os.geteuid()}:{os.getegid()}",
        "secrets": str(tmp_path / "secrets"), "labels": {"berth.stack": "s"}, "hardening": {"read_only": True, "cap_drop": ["ALL"]},
    }  # fmt: skip


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The one-off containers; pg_dump writes its file as the real one does."""
    seen: list[dict[str, Any]] = []

    def run_to_end(engine: Any, spec: dict[str, Any], labels: dict[str, str], timeout: float) -> str:
        seen.append(spec)
        if spec["entrypoint"] == ["pg_dump"]:
            place = next(mount["source"] for mount in spec["mounts"] if mount["target"] == "/exchange")
            Path(place, "dump").write_bytes(b"PGDMP")
        return "4096\n"

    monkeypatch.setattr(external, "run_to_end", run_to_end)
    return seen


def test_a_manifest_names_which_database_it_is(base: dict[str, Any]) -> None:
    engine = FakeEngine(Clock())
    assert database_of(engine, None) is None and database_of(engine, {}) is None
    assert type(database_of(engine, {"container": "s-database", "name": "app"})) is Database
    assert isinstance(database_of(engine, base), External)


def test_it_is_asked_as_soon_as_there_are_secrets_image_and_network(base: dict[str, Any]) -> None:
    engine = FakeEngine(Clock())
    database = External(engine, base)
    assert not database.running()
    engine.images["sha256:1"] = {"Id": "sha256:1", "RepoTags": ["s-database:1"]}
    engine.networks["s-internet"] = {"Name": "s-internet"}
    assert database.running()
    Path(base["secrets"], "service").unlink()
    assert not database.running()


def test_credentials_are_a_file_and_the_container_is_hardened(base: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    assert External(FakeEngine(Clock()), base).size() == 4096
    spec = runs[0]
    assert spec["entrypoint"] == ["psql"] and spec["networks"] == [{"name": "s-internet"}]
    assert spec["environment"]["PGSERVICEFILE"] == "/run/secrets/service" and spec["environment"]["PGSERVICE"] == "client"
    assert spec["mounts"] == [{"type": "bind", "source": base["secrets"], "target": "/run/secrets", "read_only": True}]
    assert spec["read_only"] and spec["cap_drop"] == ["ALL"] and spec["labels"]["berth.service"] == "database-client"


def test_a_failure_says_which_database_and_what_the_tool_said(base: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> str:
        raise RunFailed("s-client ended with exit status 2; last lines:\npsql: error: connection to server at x failed")

    monkeypatch.setattr(external, "run_to_end", fail)
    with pytest.raises(DumpError, match=r"shop at db.example.com:5432: psql: psql: error: connection to server at x failed"):
        External(FakeEngine(Clock()), base).sql("SELECT 1")


def test_a_backup_is_dumped_to_the_host_and_read_to_its_end(base: dict[str, Any], runs: list[dict[str, Any]], tmp_path: Path) -> None:
    backups = Backups(Store(tmp_path / "state"))
    note = backups.make("test", External(FakeEngine(Clock()), base), check=True)
    kept = backups.path(note["name"])
    assert (kept / DUMP).read_bytes() == b"PGDMP" and (kept / DUMP).stat().st_mode & 0o777 == 0o600
    assert note["bytes"] == 5 and "content" not in note and backups.damage(backups.find("")) == ""
    assert not (kept / ".exchange").exists()
    assert [spec["entrypoint"][0] for spec in runs] == ["psql", "pg_dump", "psql", "pg_restore"]
    assert "/dev/null" in runs[-1]["command"]


def test_a_restore_is_refused_by_name_until_it_is_confirmed(base: dict[str, Any]) -> None:
    database = External(FakeEngine(Clock()), base)
    note = {"name": "n", "when": "now", "why": "w", "release": "v1", "bytes": 5}
    refused = external_confirmation(database, note, "s", "")
    assert "shop at db.example.com:5432 is not the stack's" in refused and "CONFIRM=db.example.com" in refused
    assert external_confirmation(database, note, "db.example.com", "") == ""
    assert "INTO=copy is refused" in external_confirmation(database, note, "db.example.com", "copy")


def test_a_restore_is_one_transaction(base: dict[str, Any], runs: list[dict[str, Any]], tmp_path: Path) -> None:
    database = External(FakeEngine(Clock()), base)
    (tmp_path / "dump").write_bytes(b"PGDMP")
    database.replace(tmp_path / "dump")
    assert database.replaced and "psql -q --single-transaction -v ON_ERROR_STOP=1" in runs[0]["command"][1]
    assert {"type": "bind", "source": str(tmp_path / "dump"), "target": "/dump", "read_only": True} in runs[0]["mounts"]


def test_the_state_directory_knows_no_container_of_it(base: dict[str, Any], tmp_path: Path) -> None:
    store = Store(tmp_path / "state")
    store.prepare()
    store.record({"version": "v1", "containers": [], "images": {}, "around": {"database": base}})
    assert store.containers == set()
