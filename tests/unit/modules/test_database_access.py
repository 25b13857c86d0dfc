"""A service that uses the tables of another one with its own login: granted, kept for later tables and over a restore, and revoked. With a
real server where PostgreSQL is installed."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.berth.stack.plugins.module_utils.data.dumps import ACCESS
from ansible_collections.berth.stack.plugins.module_utils.settings.database_access import wrong_access
from ansible_collections.berth.stack.plugins.modules.postgres_roles import (
    CLUSTER,
    INSIDE,
    logins,
    plan_database,
    plan_roles,
)

BINARIES = Path(os.environ.get("POSTGRES_BINARIES", "/usr/lib/postgresql/15/bin"))
ROLES = [
    {"name": "backend", "schema": "backend", "connections": 40, "service": "backend", "file": "database_url"},
    {"name": "frontend", "schema": "auth", "connections": 15, "service": "frontend", "file": "database_url"},
]
READ, WRITE = {"backend": {"frontend": "read"}}, {"backend": {"frontend": "write"}}
Sql = Callable[..., str]


def record(number: int) -> dict:
    """The secrets of a generation."""
    return {"files": {s: {"database_url": f"postgresql://{s}_g{number}:word{number}@database/app"} for s in ("backend", "frontend")}}


@pytest.mark.parametrize(
    ("access", "words"),
    [
        ({}, ""),
        (READ, ""),
        (WRITE, ""),
        ([], "is []; it must be by service"),
        ({"backend": "frontend"}, "it must be by service"),
        ({"backend": {"backend": "read"}}, "two different services of backend, frontend"),
        ({"worker": {"backend": "read"}}, "two different services of backend, frontend"),
        ({"backend": {"frontend": "all"}}, "it must be read or write"),
    ],
)
def test_wrong_access_is_refused_with_an_example(access: object, words: str) -> None:
    problem = wrong_access(access, ["backend", "frontend"])
    assert (words in problem and "{backend: {frontend: read}}" in problem) if words else problem == ""


@pytest.fixture(scope="module")
def server() -> Iterator[Path]:
    """The socket's directory of a server."""
    if not (BINARIES / "initdb").exists():
        pytest.skip("PostgreSQL is not installed")
    # The server refuses to run as root; Debian's package brings the user.
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="berth-access-", ignore_cleanup_errors=True) as directory:
        if user:
            subprocess.run(["chown", user, directory], check=True)

        def run(program: str, *arguments: str) -> None:
            command = [str(BINARIES / program), "-D", f"{directory}/data", *arguments]
            subprocess.run(command, check=True, user=user, capture_output=True, cwd=directory)

        run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync")
        run("pg_ctl", "-l", f"{directory}/log", "-w", "-o", f"-k {directory} -c listen_addresses= -c fsync=off", "start")
        yield Path(directory)
        run("pg_ctl", "-m", "immediate", "-w", "stop")


@pytest.fixture
def sql(server: Path) -> Iterator[Sql]:
    """sql(statements, user, database): runs them; the output, or an error with the server's message. The database app is new."""

    def run(text: str, user: str = "postgres", database: str = "app") -> str:
        command = [BINARIES / "psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-h", server, "-U", user, "-d", database, "-f", "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    run("CREATE DATABASE app", database="postgres")
    yield run
    for name in ("app", "app_new"):
        run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", database="postgres")
    names = run("SELECT string_agg(rolname, ', ') FROM pg_roles WHERE rolname ~ '^(back|front)end'", database="postgres")
    run(f"DROP ROLE {names}", database="postgres")


def deploy(sql: Sql, access: dict, *numbers: int) -> list[str]:
    """What the module does, with the secrets of these generations; its actions."""
    plan = plan_roles(json.loads(sql(CLUSTER.format(database="'app'"))), ROLES, logins(ROLES, [record(n) for n in numbers]), access)
    sql(";\n".join(plan.statements) or "SELECT 1")
    inside = plan_database(json.loads(sql(INSIDE)), "app", ROLES, access)
    sql(";\n".join(inside.statements) or "SELECT 1")
    return plan.actions + inside.actions


def test_a_service_reads_the_tables_of_another_one_over_deployments_and_rotations(sql: Sql) -> None:
    deploy(sql, {}, 1)
    sql("CREATE TABLE session (id serial, word text); INSERT INTO session (word) VALUES ('one')", "frontend_g1")
    with pytest.raises(RuntimeError, match="permission denied for schema auth"):
        sql("SELECT word FROM auth.session", "backend_g1")
    assert "let backend read tables in schema auth" in deploy(sql, READ, 1)
    # By its name, and by that of its schema.
    assert sql("SELECT word FROM session", "backend_g1") == sql("SELECT word FROM auth.session", "backend_g1") == "one"
    # Its own tables come first.
    sql("CREATE TABLE task (id int)", "backend_g1")
    assert sql("SELECT schemaname FROM pg_tables WHERE tablename = 'task'") == "backend"
    with pytest.raises(RuntimeError, match="permission denied"):
        sql("DELETE FROM session", "backend_g1")
    with pytest.raises(RuntimeError, match="permission denied"):
        sql("SELECT * FROM backend.task", "frontend_g1")
    # Tables of a later migration, and the login of a later secret.
    sql("CREATE TABLE account (id int)", "frontend_g1")
    assert deploy(sql, READ, 1) == []
    assert deploy(sql, READ, 1, 2) == ["create login backend_g2", "create login frontend_g2"]
    assert sql("SELECT count(*) FROM account", "backend_g2") == "0"
    assert deploy(sql, READ, 2) == ["drop login backend_g1", "drop login frontend_g1"]
    assert sql("SELECT count(*) FROM session", "backend_g2") == "1"


def test_write_includes_sequences_and_goes_back_to_read_and_to_nothing(sql: Sql) -> None:
    deploy(sql, WRITE, 1)
    sql("CREATE TABLE session (id serial, word text)", "frontend_g1")
    sql("INSERT INTO session (word) VALUES ('one'); UPDATE session SET word = 'two'", "backend_g1")
    assert deploy(sql, WRITE, 1) == []
    deploy(sql, READ, 1)
    assert sql("SELECT word FROM session", "backend_g1") == "two"
    with pytest.raises(RuntimeError, match="permission denied"):
        sql("INSERT INTO session (word) VALUES ('three')", "backend_g1")
    assert deploy(sql, READ, 1) == []
    deploy(sql, {}, 1)
    sql("CREATE TABLE later (id int)", "frontend_g1")
    for table in ("session", "later"):
        with pytest.raises(RuntimeError, match="permission denied"):
            sql(f"SELECT * FROM auth.{table}", "backend_g1")
    assert deploy(sql, {}, 1) == []


def test_a_grant_by_hand_is_taken_back(sql: Sql) -> None:
    deploy(sql, {}, 1)
    sql("CREATE TABLE session (id int)", "frontend_g1")
    sql("GRANT USAGE ON SCHEMA auth TO backend; GRANT ALL ON auth.session TO backend")
    assert deploy(sql, {}, 1) == ["revoke access of backend to schema auth"]
    with pytest.raises(RuntimeError, match="permission denied"):
        sql("SELECT * FROM auth.session", "backend_g1")


def test_a_restore_of_an_older_backup_keeps_the_access(sql: Sql) -> None:
    deploy(sql, READ, 1)
    # The older backup: the tables, no privileges.
    sql("CREATE DATABASE app_new", database="postgres")
    sql(
        "CREATE SCHEMA auth AUTHORIZATION frontend; CREATE TABLE auth.session (id int); ALTER TABLE auth.session OWNER TO frontend",
        database="app_new",
    )
    sql(sql(ACCESS), database="app_new")
    assert sql("SELECT count(*) FROM session", "backend_g1", "app_new") == "0"
    sql("CREATE TABLE account (id int)", "frontend_g1", "app_new")
    assert sql("SELECT count(*) FROM account", "backend_g1", "app_new") == "0"
    # One without the schema.
    sql("DROP SCHEMA auth CASCADE", database="app_new")
    sql(sql(ACCESS), database="app_new")
