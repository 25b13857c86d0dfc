"""Extensions, schemas of tools and access between services, in the stack's own PostgreSQL 17: kept over rotation and restore."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, docker

STACK = f"{os.environ.get('STACK_NAME', 'berth')}-ext"
STATE = Path("/var/lib") / STACK
SETTINGS = {
    "database_version": 17,
    "database_extensions": ["citext", "pgcrypto", "vector"],
    "database_access": {"backend": {"create": True, "frontend": "read"}},
}
# Statements of the first argument, with the login of the container; prints the last one's value.
PROGRAM = """
import asyncio, sys
from pathlib import Path
import asyncpg
async def main():
    login = await asyncpg.connect(Path("/run/secrets/database_url").read_text())
    for statement in sys.argv[1:]:
        value = await login.fetchval(statement)
    print(value)
asyncio.run(main())
"""


def call(name: str, *words: str, change: dict | None = None, **environment: str) -> tuple[int, str]:
    own = {
        "STACK_NAME": STACK,
        "HTTPS_PORT": "18473",
        "HTTP_PORT": "18474",
        "LOCAL_DIR": str(ROOT / ".local" / STACK),
        "BERTH_OUTPUT": "plain",
    }
    command = [str(ROOT / ".venv/bin/ansible-playbook"), f"playbooks/{name}.yml", "-e", json.dumps(SETTINGS | (change or {})), *words]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | own | environment, capture_output=True, text=True, timeout=1200, check=False)
    return done.returncode, done.stdout + done.stderr


def backend(*statements: str) -> tuple[int, str]:
    release = (STATE / "current").read_text().strip()
    command = ["docker", "exec", f"{STACK}-backend-{release}", "python3", "-c", PROGRAM, *statements]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def superuser(text: str) -> str:
    return docker("exec", f"{STACK}-database", "psql", "-qtAX", "-U", "postgres", "-d", "app", "-c", text)


def everything_works() -> None:
    assert backend("SELECT count(*) FROM note WHERE mail = 'a@B'") == (0, "1")
    assert backend("SELECT round((at <-> '[1,2,4]')::numeric, 3) FROM note") == (0, "1.000")
    assert backend("SELECT length(digest('x', 'sha256'))") == (0, "32")
    assert backend("INSERT INTO tool.done DEFAULT VALUES RETURNING 1") == (0, "1")
    assert backend("CREATE SCHEMA IF NOT EXISTS tool", "SELECT 1") == (0, "1")
    # Better Auth's table, by the login of the backend; nobody reads the other way round.
    assert backend("SELECT count(*) FROM session")[0] == 0
    status, output = backend("DELETE FROM session")
    assert status and "InsufficientPrivilegeError" in output
    for schema in ("backend", "tool"):
        assert superuser(f"SELECT has_schema_privilege('frontend', '{schema}', 'USAGE')") == "f"
    assert superuser("SELECT has_database_privilege('frontend', 'app', 'CREATE')") == "f"


@pytest.fixture(scope="module")
def stack() -> Iterator[None]:
    status, output = call("deploy")
    assert status == 0, output[-6000:]
    yield
    status, output = call("destroy", "-e", f"teardown_confirm={STACK}")
    assert status == 0, output[-3000:]


def test_migrations_find_extensions_and_create_schemas(stack: None) -> None:
    assert superuser("SHOW server_version_num").startswith("17")
    statements = (
        "CREATE EXTENSION IF NOT EXISTS citext",
        "CREATE EXTENSION IF NOT EXISTS vector",
        "CREATE TABLE note (mail citext, at vector(3))",
        "INSERT INTO note VALUES ('A@b', '[1,2,3]')",
        "CREATE SCHEMA IF NOT EXISTS backend",
        "CREATE SCHEMA IF NOT EXISTS tool",
        "CREATE TABLE tool.done (id serial)",
        "SELECT 1",
    )
    assert backend(*statements) == (0, "1")
    everything_works()


def test_a_second_run_has_nothing_to_do(stack: None) -> None:
    status, output = call("deploy")
    assert status == 0 and "nothing has changed since the last run" in output, output[-3000:]


def test_the_verification_accepts_what_is_declared(stack: None) -> None:
    status, output = call("verify", BERTH_ID="SBE-06")
    assert status == 0, output[-4000:]


def test_they_are_kept_over_a_rotation(stack: None) -> None:
    status, output = call("rotate", BERTH_SECRET="backend_password")
    assert status == 0, output[-3000:]
    everything_works()


def test_they_are_kept_over_a_restore(stack: None) -> None:
    status, output = call("backup", BERTH_WHY="extensions")
    assert status == 0, output[-3000:]
    superuser("DROP TABLE backend.note; DROP EXTENSION vector; DROP SCHEMA tool CASCADE")
    kept = max(path.name for path in STATE.glob("backups/*-extensions"))
    status, output = call("restore", BERTH_BACKUP=kept, BERTH_CONFIRM=STACK)
    assert status == 0, output[-3000:]
    everything_works()


def test_an_unknown_extension_is_refused_with_those_that_there_are(stack: None) -> None:
    status, output = call("deploy", change={"database_extensions": ["citext", "tricorder"]})
    assert status == 2 and "database_extensions has tricorder; available: bloom," in output
