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
from ansible_collections.berth.stack.plugins.module_utils.data.dumps import ACCESS, EXTENSIONS
from ansible_collections.berth.stack.plugins.module_utils.data.external import RESTORE
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
        ({"frontend": {"create": True, "backend": "read"}}, ""),
    ],
)
def test_wrong_access_is_refused_with_an_example(access: object, words: str) -> None:
    problem = wrong_access(access, ["backend", "frontend"])
    assert (words in problem and "{backend: {frontend: read}}" in problem) if words else problem == ""


@pytest.mark.parametrize("access", [{"frontend": {"create": "yes"}}, {"worker": {"create": True}}])
def test_who_creates_schemas_is_a_service_and_true_or_false(access: dict) -> None:
    assert "must be of backend or frontend, and true or false, for example {frontend: {create: true}}" in wrong_access(
        access, ["backend", "frontend"]
    )


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


def deploy(sql: Sql, access: dict, *numbers: int, extensions: tuple[str, ...] = ()) -> list[str]:
    """What the module does, with the secrets of these generations; its actions."""
    desired = logins(ROLES, [record(n) for n in numbers])
    plan = plan_roles(json.loads(sql(CLUSTER.format(database="'app'"))), ROLES, desired, access, list(extensions))
    sql(";\n".join(plan.statements) or "SELECT 1")
    inside = plan_database(json.loads(sql(INSIDE)), "app", ROLES, access, list(extensions))
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


def test_a_service_creates_schemas_that_are_its_own(sql: Sql) -> None:
    deploy(sql, {}, 1)
    # PostgreSQL asks for the right before it looks whether the schema exists.
    for schema in ("drizzle", "auth"):
        with pytest.raises(RuntimeError, match="permission denied for database app"):
            sql(f"CREATE SCHEMA IF NOT EXISTS {schema}", "frontend_g1")
    create = {"frontend": {"create": True}}
    assert deploy(sql, create, 1) == ["let frontend create schemas"]
    sql("CREATE SCHEMA IF NOT EXISTS auth; CREATE SCHEMA IF NOT EXISTS drizzle; CREATE TABLE drizzle.done (id serial)", "frontend_g1")
    assert deploy(sql, create, 1, 2) == ["create login backend_g2", "create login frontend_g2"]
    sql("INSERT INTO drizzle.done DEFAULT VALUES", "frontend_g2")
    with pytest.raises(RuntimeError, match="permission denied for schema drizzle"):
        sql("SELECT * FROM drizzle.done", "backend_g2")
    with pytest.raises(RuntimeError, match="permission denied for database app"):
        sql("CREATE SCHEMA mine", "backend_g2")
    # Another service's access includes these schemas.
    both = create | READ
    assert "let backend read tables in schema drizzle" in deploy(sql, both, 2)
    sql("CREATE TABLE drizzle.later (id int)", "frontend_g2")
    assert sql("SELECT count(*) FROM drizzle.done, drizzle.later", "backend_g2") == "0"
    assert deploy(sql, both, 2) == []
    taken = deploy(sql, {}, 2)
    assert "let frontend create no more schemas" in taken and "revoke access of backend to schema drizzle" in taken
    with pytest.raises(RuntimeError, match="permission denied for database app"):
        sql("CREATE SCHEMA more", "frontend_g2")
    sql("DROP SCHEMA drizzle CASCADE", "frontend_g2")


def test_extensions_are_found_by_each_service_and_kept_over_rotation_and_restore(sql: Sql) -> None:
    deploy(sql, {}, 1)
    with pytest.raises(RuntimeError, match="permission denied"):
        sql("CREATE EXTENSION IF NOT EXISTS citext", "backend_g1")
    names = ("citext", "pgcrypto", "earthdistance")
    deploy(sql, {}, 1, extensions=names)
    sql("CREATE EXTENSION IF NOT EXISTS citext; CREATE TABLE person (mail citext); INSERT INTO person VALUES ('A@b')", "backend_g1")
    assert deploy(sql, {}, 1, extensions=names) == []
    assert deploy(sql, {}, 1, 2, extensions=names) == ["create login backend_g2", "create login frontend_g2"]
    assert sql("SELECT count(*) FROM person WHERE mail = 'a@B'", "backend_g2") == "1"
    assert sql("SELECT length(digest('x', 'sha256'))", "frontend_g2") == "32"
    with pytest.raises(RuntimeError, match="permission denied for schema extensions"):
        sql("CREATE TABLE extensions.mine (id int)", "backend_g2")
    # A dump from before them, restored into a new database.
    sql("CREATE DATABASE app_new", database="postgres")
    sql(sql(EXTENSIONS), database="app_new")
    assert sql("SELECT 'A'::citext = 'a'::citext", "backend_g2", "app_new") == "t"
    assert sql("SELECT string_agg(extname, ' ' ORDER BY 1) FROM pg_extension", database="app_new") == sql(
        "SELECT string_agg(extname, ' ' ORDER BY 1) FROM pg_extension"
    )


def test_an_extension_that_somebody_created_in_another_schema_is_moved(sql: Sql) -> None:
    deploy(sql, {}, 1)
    sql("CREATE EXTENSION citext SCHEMA public")
    assert "move extension citext to schema extensions" in deploy(sql, {}, 1, extensions=("citext",))
    assert sql("SELECT 'A'::citext = 'a'::citext", "backend_g1") == "t"


def test_a_restore_into_a_server_that_is_not_the_stacks_is_one_transaction(sql: Sql, server: Path, tmp_path: Path) -> None:
    deploy(sql, {}, 1, extensions=("citext",))
    sql("CREATE TABLE session (mail citext); INSERT INTO session VALUES ('back\\slash'), ('two')", "frontend_g1")
    environment = os.environ | {"PGHOST": str(server), "PGUSER": "postgres", "PGDATABASE": "app", "PATH": f"{BINARIES}:/usr/bin:/bin"}
    subprocess.run(["pg_dump", "-Fc", "-f", tmp_path / "dump"], env=environment, check=True)
    sql("DELETE FROM session", "frontend_g1")

    def restore() -> int:
        # The script of the container, whose directories are these.
        script = RESTORE.replace("/tmp/", f"{tmp_path}/").replace(" /dump", f" {tmp_path}/dump")
        return subprocess.run(["sh", "-c", script], env=environment, capture_output=True, check=False).returncode

    whole = (tmp_path / "dump").read_bytes()
    (tmp_path / "dump").write_bytes(whole[:-60])
    assert restore() != 0 and sql("SELECT count(*) FROM session", "frontend_g1") == "0"
    (tmp_path / "dump").write_bytes(whole)
    assert restore() == 0 and sql("SELECT count(*) FROM session WHERE mail = 'TWO'", "frontend_g1") == "1"
    # Schemas, their privileges and extensions are not touched: nothing is left to do.
    assert deploy(sql, {}, 1, extensions=("citext",)) == []
