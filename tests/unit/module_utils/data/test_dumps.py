"""What a dump or a restore that ends in the middle leaves in the database server: no database beside, no session, nobody locked out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.data.backups import Backups
from ansible_collections.berth.stack.plugins.module_utils.data.dumps import CONTENT, Database, DumpError
from ansible_collections.berth.stack.plugins.module_utils.docker.client import EngineError
from ansible_collections.berth.stack.plugins.module_utils.state.interrupts import Interrupted
from ansible_collections.berth.stack.plugins.module_utils.state.store import Store


class Server:
    """An engine whose one container answers commands, until one of them has `word` in it."""

    def __init__(self, word: str, error: BaseException | None) -> None:
        self.word, self.error = word, error
        self.ran: list[str] = []
        self.names: list[str] = []

    def execute(
        self, container: str, command: list[str], user: str | None = None, timeout: float = 0, environment: list[str] | None = None
    ) -> tuple[int, str]:
        line = " ".join(command)
        self.ran.append(line)
        if self.word in line and not any("pg_terminate_backend(pid) FROM" in ran for ran in self.ran):
            self.names = environment or []
            if self.error:
                raise self.error
            return 1, "it says no"
        return 0, "{}" if CONTENT in line else ""

    def upload(self, *_: Any, **__: Any) -> None:
        pass

    def call(self, *_: Any, **__: Any) -> Any:
        return {"Config": {"User": "999"}}


ENDS = [EngineError(0, "timed out"), Interrupted("it was interrupted"), TypeError("odd"), None]


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    path = tmp_path / "database.dump"
    path.write_bytes(b"PGDMP")
    return path


@pytest.mark.parametrize("error", ENDS, ids=str)
def test_a_database_beside_goes_where_a_restore_ends_in_the_middle(dump: Path, error: BaseException | None) -> None:
    server = Server("pg_restore", error)
    with pytest.raises(type(error) if error else DumpError):
        Database(server, "db", "app").replace(dump)  # type: ignore[arg-type]
    assert 'DROP DATABASE IF EXISTS "app_new" WITH (FORCE)' in server.ran[-1]
    assert not any("ALLOW_CONNECTIONS false" in line for line in server.ran), "what is live was not touched"
    if error:
        # The command goes on in the container when its caller has gone: its session is ended by its name.
        name = server.names[0].removeprefix("PGAPPNAME=")
        assert any(f"application_name = '{name}'" in line for line in server.ran)


@pytest.mark.parametrize("error", ENDS, ids=str)
def test_the_live_database_lets_its_users_in_again_where_it_cannot_be_renamed(dump: Path, error: BaseException | None) -> None:
    server = Server("RENAME", error)
    with pytest.raises(type(error) if error else DumpError):
        Database(server, "db", "app").replace(dump)  # type: ignore[arg-type]
    assert 'ALTER DATABASE "app" ALLOW_CONNECTIONS true' in server.ran[-3] and 'DROP DATABASE IF EXISTS "app_new"' in server.ran[-2]


def test_a_new_database_goes_where_the_backup_cannot_be_put_into_it(dump: Path, tmp_path: Path) -> None:
    store = Store(tmp_path)
    (tmp_path / "backups/one").mkdir(parents=True)
    dump.rename(tmp_path / "backups/one/database.dump")
    (tmp_path / "backups/one/backup.json").write_text('{"name": "one", "bytes": 5}')
    server = Server("pg_restore", EngineError(0, "timed out"))
    with pytest.raises(EngineError):
        Backups(store).restore("one", Database(server, "db", "app"), "copy")  # type: ignore[arg-type]
    assert 'DROP DATABASE IF EXISTS "copy"' in server.ran[-1]
