"""Releases and the database revision, in a separate stack: migrations are reported; releases that do not fit are rejected."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import ROOT, docker, verb

STACK = "berth-migrations"
STATE = Path("/var/lib") / STACK
PORTS = {"HTTPS_PORT": os.environ.get("MIGRATIONS_HTTPS_PORT", "18643"), "HTTP_PORT": os.environ.get("MIGRATIONS_HTTP_PORT", "18680")}
QUICK = {"release_monitor_seconds": 0, "release_drain_timeout": 30}
STEP = '''"""A step of a test."""
from alembic import op
import sqlalchemy as sa

revision = "{name}"
down_revision = "{down}"

def upgrade():
    {up}

def downgrade():
    {back}
'''
ADDS = {"up": 'op.add_column("task", sa.Column("{name}", sa.Text()))', "back": 'op.drop_column("task", "{name}")'}
DROPS = {"up": 'op.drop_column("task", "extra")', "back": 'op.add_column("task", sa.Column("extra", sa.Text()))'}
EXTRA = ("extra", "0001", {"up": DROPS["back"], "back": DROPS["up"]})
# What waits for a lock for as long as nobody ends it.
WAITS = {"up": 'op.execute("SET LOCAL lock_timeout = 0"); op.add_column("task", sa.Column("{name}", sa.Text()))', "back": "pass"}


class Stack:
    """The stack; its backend is the reference application's with more migrations."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "STACK_NAME": STACK,
            "LOCAL_DIR": str(folder / "local"),
            "FRONTEND_SOURCE": str(ROOT / "apps/frontend"),
            **PORTS,
        }

    def source(self, name: str, *steps: tuple[str, str, dict[str, str]], first: str = "0001") -> str:
        """A source with further migrations (revision, previous revision, statement)."""
        made = self.folder / name
        shutil.copytree(ROOT / "apps/backend", made, ignore=shutil.ignore_patterns("__pycache__", ".*_cache", "tests"))
        versions = made / "migrations/versions"
        if first != "0001":
            path = next(versions.glob("0001*.py"))
            path.write_text(path.read_text().replace('"0001"', f'"{first}"'))
        for step, down, does in steps:
            lines = {key: text.format(name=f"c{step}") for key, text in does.items()}
            (versions / f"{step}.py").write_text(STEP.format(name=step, down=down, **lines))
        return str(made)

    def deploy(self, source: str, *words: str, variables: dict[str, Any] | None = None, **more: str) -> tuple[int, str]:
        extra = json.dumps(QUICK | (variables or {}))
        done = verb("deploy", "-e", extra, *words, **self.environment, BACKEND_SOURCE=source, **more)
        return done.returncode, done.stdout + done.stderr

    def serve(self, source: str, words: str, **more: Any) -> str:
        """Deploy, expect these words in the output; the release's name."""
        status, output = self.deploy(source, **more)
        assert status == 0 and words in output, output[-4000:]
        return (STATE / "current").read_text().strip()

    def refuse(self, source: str, *expected: str, check: bool = False, **more: str) -> str:
        """Deploy, expect a rejection with these words before anything is changed."""
        before = self.existing()
        status, output = self.deploy(source, *(["--check"] if check else []), **more)
        assert status == 2 and not [word for word in expected if word not in output], output[-4000:]
        assert "Traceback" not in output and self.existing() == before
        return output

    def existing(self) -> list[str]:
        """Containers, contents of the state directory except records of runs, and the database revision."""
        listed = docker("ps", "--all", "--no-trunc", "--filter", f"label=berth.stack={STACK}", "--format", "{{.ID}} {{.Names}}")
        noted = [path for path in sorted(STATE.rglob("*.json")) if path.name != "state.json"]
        infrastructure = json.loads((STATE / "state.json").read_text())["infrastructure"]  # the rest tells runs apart
        return [
            listed,
            str(infrastructure),
            *(f"{path} {path.read_text()}" for path in noted),
            (STATE / "current").read_text(),
            self.sql(REVISION),
        ]

    def sql(self, text: str) -> str:
        return docker("exec", f"{STACK}-database", "psql", "-qtAX", "-U", "postgres", "-d", "app", "-c", text)


REVISION = "SELECT string_agg(version_num, ',') FROM backend.alembic_version"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("migrations"))
    yield made
    done = verb("destroy", "-e", f"teardown_confirm={STACK}", **made.environment)
    assert done.returncode == 0, done.stdout[-2000:]


def test_the_revision_of_the_database_decides(stack: Stack) -> None:
    extra, drop = EXTRA, ("drop", "extra", DROPS)
    one, two = stack.source("one", extra), stack.source("two", extra, drop)

    # Each migration that runs is told.
    status, output = stack.deploy(one)
    assert status == 0, output[-4000:]
    assert "migrate the database for backend: none -> extra" in output and "migrate the database for frontend" in output, output[-4000:]
    first = (STATE / "current").read_text().strip()
    stack.serve(two, "migrate the database for backend: extra -> drop")

    # An older version cannot live with a column that is gone, whichever way it comes.
    words = [
        "is not compatible with the database",
        "drop: drop_column",
        "at revision drop",
        "is extra",
        f" VERSION={first} SCHEMA=downgrade",
    ]
    stack.refuse(two, *words, BERTH_VERSION=first)
    stack.refuse(one, "is not compatible with the database")

    # Another branch, two heads, and three ways to edit what ran; in check mode, that builds nothing, as well.
    side = ("side", "extra", ADDS)
    stack.refuse(stack.source("branch", extra, side), "at revision drop", "is side", "alembic merge", "the common ancestor is extra")
    stack.refuse(stack.source("heads", extra, drop, side), "2 heads (drop, side)", "alembic merge")
    put = stack.source("put", ("put", "0001", ADDS), (extra[0], "put", extra[2]), drop)
    stack.refuse(put, "were edited after they ran", "extra comes after put", "came after 0001", "at revision drop")
    taken = stack.source("taken", ("drop", "0001", DROPS))
    stack.refuse(taken, "extra ran here, and the release does not have it", "SCHEMA=accept", check=True)
    other = stack.source("other", (extra[0], extra[1], ADDS), drop)
    stack.refuse(other, "extra does something else in the release", "at revision drop", "SCHEMA=accept", check=True)
    renamed = stack.source("renamed", ("extra", "first", extra[2]), drop, first="first")
    stack.refuse(renamed, "0001 ran here, and the release does not have it", check=True)

    # Nor is the version table believed where it cannot be right.
    stack.sql("INSERT INTO backend.alembic_version VALUES ('extra')")
    stack.refuse(two, "several rows, and extra comes before another", "at revision drop, extra", check=True)
    stack.sql("DELETE FROM backend.alembic_version")
    stack.refuse(two, "its migrations ran to drop and tables exist", "task", "alembic stamp drop", check=True)
    stack.sql("INSERT INTO backend.alembic_version VALUES ('drop')")

    # What somebody did by hand is seen, and what was not run against this database is run.
    assert "nothing has changed" in stack.deploy(two)[1]
    docker("exec", f"{STACK}-backend-{(STATE / 'current').read_text().strip()}", "python3", "-m", "alembic", "downgrade", "extra")
    stack.serve(two, "migrate the database for backend: extra -> drop")
    command = {"backend_image_migrate_command": ["python3", "-m", "alembic", "-x", "seed=1", "upgrade", "head"]}
    stack.serve(two, "run the migration command of backend (the database stays at drop)", variables=command)
    # A tool that says that migrations are pending after it ended well is believed.
    check = {"frontend_image_migrate_check_command": ["node", "-e", "console.log('3 are pending'); process.exit(1)"]}
    status, output = stack.deploy(two, variables=command | check)
    assert status == 2 and "its check command still reports" in output and "3 are pending" in output, output[-4000:]
    stack.sql("UPDATE backend.alembic_version SET version_num = 'elsewhere'")
    stack.refuse(two, "Neither", "has elsewhere", "at revision elsewhere", "is drop", variables=command)
    stack.sql("UPDATE backend.alembic_version SET version_num = 'drop'")

    # A migration that waits for a lock when its time is over leaves nobody waiting behind it.
    docker(
        "exec",
        "--detach",
        f"{STACK}-database",
        "psql",
        "-U",
        "postgres",
        "-d",
        "app",
        "-c",
        "BEGIN; LOCK TABLE backend.task IN SHARE MODE; SELECT pg_sleep(200)",
    )
    waits = stack.source("waits", extra, drop, ("waits", "drop", WAITS))
    status, output = stack.deploy(waits, variables={"release_migrate_timeout": 6})
    assert status == 2 and "did not end within 6" in output, output[-4000:]
    assert stack.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == "0"
    stack.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(200)%' AND pid <> pg_backend_pid()")
    assert stack.sql(REVISION) == "drop"

    # Going back with the database, when asked to.
    stack.serve(two, "downgrade the database: drop -> extra", BERTH_VERSION=first, BERTH_SCHEMA="downgrade")
    assert (stack.sql(REVISION), (STATE / "current").read_text().strip().startswith(first)) == ("extra", True)


READER = "BEGIN; SELECT count(*) FROM backend.task; SELECT pg_sleep(900)"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


class Visitor:
    """A user of the stack with a task."""

    def __init__(self, stack: Stack) -> None:
        base = f"https://localhost:{PORTS['HTTPS_PORT']}"
        context = ssl.create_default_context(cafile=stack.environment["LOCAL_DIR"] + "/edge-ca.crt")
        self.http = httpx.Client(base_url=base, verify=context, timeout=30, trust_env=False, headers={"Origin": base})
        email = f"live-{secrets.token_hex(6)}@example.com"
        body = {"name": "Live", "email": email, "password": secrets.token_urlsafe(18)}
        self.http.post("/api/auth/sign-up/email", json=body).raise_for_status()
        self.http.headers["Authorization"] = f"Bearer {self.http.get('/api/auth/token').raise_for_status().json()['token']}"

    def seconds(self, path: str) -> float:
        """How long an answer takes."""
        began = time.monotonic()
        self.http.get(path).raise_for_status()
        return time.monotonic() - began


def test_a_migration_that_waits_for_a_lock_ends_in_seconds_and_names_who_holds_it(stack: Stack) -> None:
    limit = 4
    status, output = stack.deploy(stack.source("before", EXTRA))
    assert status == 0, output[-4000:]
    visitor = Visitor(stack)
    words = ["--env", "PGAPPNAME=the-reader", f"{STACK}-database", "psql", "-U", "postgres", "-d", "app", "-c", READER]
    docker("exec", "--detach", *words)
    while stack.sql("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'the-reader'") == "0":
        time.sleep(0.1)
    # It sets a timeout of its own, none, and its driver ignores PGOPTIONS.
    waits = stack.source("waiting", EXTRA, ("more", "extra", WAITS))
    during: list[float] = []
    with ThreadPoolExecutor() as pool:
        deployed = pool.submit(stack.deploy, waits, variables={"release_migrate_lock_timeout": limit})
        while not deployed.done() and stack.sql(WAITING) == "0":
            time.sleep(0.1)
        began = time.monotonic()
        query = pool.submit(visitor.seconds, "/api/tasks")  # it stands behind the migration
        other = Visitor(stack)
        while not deployed.done():
            during.append(other.seconds("/api/health"))
            time.sleep(0.2)
        ended = time.monotonic() - began
    status, output = deployed.result()
    after = visitor.seconds("/api/tasks")
    print(
        f"the deploy ended {ended:.1f} s after the wait began (limit {limit} s); "
        f"health during it: at most {max(during):.2f} s of {len(during)}; "
        f"the request for the table: {query.result():.2f} s during, {after:.2f} s after"
    )
    assert status == 2 and "is still active" in output, output[-4000:]
    expected = ["waited ", "release_migrate_lock_timeout, 4 s", "a lock on backend.task", "ADD COLUMN cmore", "application the-reader"]
    assert not [word for word in [*expected, "SELECT pg_sleep(900)", "pg_terminate_backend("] if word not in output], output[-4000:]
    assert ended <= limit + 5 and query.result() <= limit + 2 and max(during) < 1 and after < 1
    assert stack.sql(WAITING) == "0" and stack.sql(REVISION) == "extra"
    log = re.search(rf"Its log: ({STATE}/releases/\S+[.]backend-migration[.]log)", output)
    assert log and "login backend_g1" in Path(log[1]).read_text(), output[-4000:]
    stack.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'the-reader'")
    stack.serve(waits, "migrate the database for backend: extra -> more")
