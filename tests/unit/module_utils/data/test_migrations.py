"""What migrations say, how a release compares with the revision of the database, and what a run makes of it."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.data.migrations import (
    compare,
    edited_revisions,
    heads_refusal,
    query,
    revision,
    schema,
    version_table,
)
from ansible_collections.berth.stack.plugins.module_utils.data.revision import IDENTITY, chosen
from ansible_collections.berth.stack.plugins.module_utils.docker.reconcile import Observer, RunFailed, run_to_end
from ansible_collections.berth.stack.plugins.module_utils.state.interrupts import Interrupted
from ansible_collections.berth.stack.plugins.module_utils.state.store import Failed
from engines import LABELS, Host, pair
from test_deployment import act, manifest

# what a source says -----------------------------------------------------------------------------------------------------

HEAD = 'revision = "{0}"\ndown_revision = {1!r}\n\ndef upgrade():\n    {2}\n\ndef downgrade():\n    op.drop_table("x")\n'


@pytest.mark.parametrize(
    ("body", "breaks"),
    [
        ('op.create_table("t", sa.Column("id", sa.Integer()))', False),
        ('op.add_column("t", sa.Column("c", sa.Text()))', False),
        ('op.add_column("t", sa.Column("c", sa.Text(), nullable=False, server_default=""))', False),
        ('op.add_column("t", sa.Column("c", sa.Text(), nullable=False))', True),
        ('op.drop_column("t", "c")', True),
        ('op.drop_table("t")', True),
        ('op.rename_table("t", "u")', True),
        ('op.alter_column("t", "c", nullable=False)', True),
        ('op.alter_column("t", "c", nullable=True)', False),
        ('op.alter_column("t", "c", new_column_name="d")', True),
        ('op.execute("ALTER TABLE t DROP COLUMN c")', True),
        ('op.execute(sa.text("UPDATE t SET c = 1"))', False),
        ('op.drop_column("t", "c")  # berth: compatible', False),
        ('op.execute("SELECT f()")  # berth: breaking', True),
    ],
)
def test_what_an_older_release_cannot_live_with_is_found(body: str, breaks: bool) -> None:
    found = revision(HEAD.format("2", "1", body))
    assert found and bool(found["breaking"]) is breaks


def test_the_chain_of_a_source(tmp_path: Path) -> None:
    folder = tmp_path / "migrations/versions"
    folder.mkdir(parents=True)
    (folder / "1.py").write_text(HEAD.format("1", None, "pass"))
    (folder / "2.py").write_text(HEAD.format("2", "1", 'op.drop_column("t", "c")'))
    (folder / "note.py").write_text("def f(:")
    found = schema(tmp_path)
    contents = [one.pop("content") for one in found["revisions"].values()]
    assert len(set(contents)) == 2 and all(len(one) == 16 for one in contents)
    assert found == {
        "heads": ["2"],
        "revisions": {"1": {"down": [], "breaking": []}, "2": {"down": ["1"], "breaking": ["drop_column, line 5"]}},
    }
    assert schema(tmp_path / "migrations/versions/none") == {}


SAME = {
    "its place": (HEAD.format("2", "1a", "op.f('x', 1)")),
    "a comment": HEAD.format("2", "1", "op.f('x', 1)  # why"),
    "its format": HEAD.format("2", "1", 'op.f(\n        "x",\n        1,\n    )'),
    "its texts": '"""What it does."""\n' + HEAD.format("2", "1", '"""Here."""\n    op.f("x", 1)'),
    "the way back": HEAD.format("2", "1", "op.f('x', 1)").replace("drop_table", "rename_table"),
    "annotations": HEAD.format("2", "1", "op.f('x', 1)")
    .replace("upgrade()", "upgrade() -> None")
    .replace('revision = "2"', 'revision: str = "2"'),
    "an import": "import sqlalchemy as sa\n" + HEAD.format("2", "1", "op.f('x', 1)"),
}
OTHER = {
    "a value": HEAD.format("2", "1", "op.f('y', 1)"),
    "a step": HEAD.format("2", "1", "op.f('x', 1); op.g()"),
    "what it calls": "NAMES = ['a']\n" + HEAD.format("2", "1", "op.f('x', 1)"),
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_the_content_of_a_migration_is_what_it_does(text: str) -> None:
    first, second = revision(HEAD.format("2", "1", "op.f('x', 1)")), revision(text)
    assert first and second and first["content"] == second["content"]


@pytest.mark.parametrize("text", OTHER.values(), ids=OTHER)
def test_another_content_of_a_migration_is_seen(text: str) -> None:
    first, second = revision(HEAD.format("2", "1", "op.f('x', 1)")), revision(text)
    assert first and second and first["content"] != second["content"]


def source(folder: Path, steps: dict[str, Any], **files: str) -> Path:
    """A source with these migrations (down by revision) in migrations/versions, and further files by path (`__` for a slash)."""
    versions = folder / "migrations/versions"
    versions.mkdir(parents=True, exist_ok=True)
    for name, down in steps.items():
        (versions / f"{name}.py").write_text(HEAD.format(name, down, "pass"))
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_ini", ".ini").replace("_py", ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_two_branches_are_two_heads(tmp_path: Path) -> None:
    assert schema(source(tmp_path, {"1": None, "2a": "1", "2b": "1"}))["heads"] == ["2a", "2b"]
    assert "alembic merge -m" in heads_refusal(["2a", "2b"]) and heads_refusal(["2a"]) == ""


def test_only_what_alembic_ini_names_counts(tmp_path: Path) -> None:
    other = HEAD.format("other", None, "pass")
    made = source(tmp_path, {"1": None}, tests__versions__other_py=other, alembic_ini="[alembic]\nscript_location = %(here)s/migrations\n")
    assert schema(made)["heads"] == ["1"]
    (tmp_path / "alembic.ini").write_text(
        "[alembic]\nscript_location = migrations\nversion_locations = migrations/versions tests/versions\n"
    )
    assert schema(made)["heads"] == ["1", "other"]


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("context.configure(connection=c)", ""),
        ('context.configure(connection=c, version_table="revisions")', "revisions"),
        ('context.configure(version_table="revisions", version_table_schema="app")', "app.revisions"),
        ('context.configure(version_table_schema="app")', "app.alembic_version"),
        ("context.configure(version_table=NAME)", ""),
        ("def f(:", ""),
    ],
)
def test_the_table_of_revisions_is_the_one_that_env_py_names(tmp_path: Path, text: str, table: str) -> None:
    assert version_table(text) == table
    assert schema(source(tmp_path, {"1": None}, migrations__env_py=text)).get("table", "") == table


# a release and the database ---------------------------------------------------------------------------------------------


def chain(*steps: str, breaking: str = "") -> dict[str, Any]:
    """The schema of a source: `2<1` is revision 2 after 1, `4<2+3` merges two."""
    revisions = {}
    for step in steps:
        name, _, down = step.partition("<")
        revisions[name] = {"down": down.split("+") if down else [], "breaking": ["drop_column, line 5"] if name == breaking else []}
    below = {name for one in revisions.values() for name in one["down"]}
    return {"heads": sorted(set(revisions) - below), "revisions": revisions}


ONE, TWO = chain("1"), chain("1", "2<1")
TWO_B = chain("1", "2b<1")


def edited(source: dict[str, Any], name: str, content: str) -> dict[str, Any]:
    """A schema whose revision `name` has this content."""
    return source | {"revisions": source["revisions"] | {name: source["revisions"][name] | {"content": content}}}


STATES = {
    # the database's revisions, the chain that ran there, chains that are remembered, the release's, its state
    "no migrations in the source": (["1"], ONE, [], {}, "unversioned"),
    "nobody could ask": (None, ONE, [], TWO, "unread"),
    "an empty database": ([], {}, [], TWO, "new"),
    "an empty database where something ran once": ([], TWO, [], TWO, "new"),
    "at the head": (["2"], TWO, [], TWO, "same"),
    "at the head, and nothing remembered": (["2"], {}, [], TWO, "same"),
    "behind": (["1"], ONE, [], TWO, "behind"),
    "behind, by somebody's own downgrade": (["1"], TWO, [], TWO, "behind"),
    "behind, before two branches were merged": (["2", "2b"], {}, [], chain("1", "2<1", "2b<1", "3<2+2b"), "behind"),
    "behind, on one of two branches that were merged": (["2"], TWO, [], chain("1", "2<1", "2b<1", "3<2+2b"), "behind"),
    "ahead": (["2"], TWO, [], ONE, "ahead"),
    "ahead, remembered by another release only": (["2"], {}, [TWO], ONE, "ahead"),
    "ahead of what it needs": (["2"], chain("1", "2<1", breaking="2"), [], ONE, "breaking"),
    "a breaking step that the release has": (["3"], chain("1", "2<1", "3<2", breaking="2"), [], TWO, "ahead"),
    "on another branch": (["2"], TWO, [], TWO_B, "diverged"),
    "on another branch, that a release remembers": (["2"], {}, [TWO], TWO_B, "diverged"),
    "at a revision that nobody knows": (["9"], TWO, [ONE], TWO, "unknown"),
    "two heads": (["1"], ONE, [], chain("1", "2<1", "2b<1"), "heads"),
    "two heads, and an empty database": ([], {}, [], chain("1", "2<1", "2b<1"), "heads"),
    "a step was put below what ran": (["2"], TWO, [], chain("1", "1a<1", "2<1a"), "edited"),
    "a step that ran was taken away": (["3"], chain("1", "2<1", "3<2"), [], chain("1", "3<1"), "edited"),
    "the first step that ran was taken away": (["2"], TWO, [], chain("2"), "edited"),
    "what ran has another place": (["3"], chain("1", "2<1", "3<2"), [], chain("1", "3<1", "2<3"), "edited"),
    "a step that ran does something else": (["2"], edited(TWO, "1", "a"), [], edited(TWO, "1", "b"), "edited"),
    "a step that did not run does something else": (["1"], edited(TWO, "2", "a"), [], edited(TWO, "2", "b"), "behind"),
    "an older Berth did not record what a step does": (["2"], TWO, [], edited(TWO, "1", "b"), "same"),
    "a revision and the one before it": (["1", "2"], TWO, [], TWO, "rows"),
    "a revision and one far below it, remembered only": (["1", "3"], chain("1", "2<1", "3<2"), [], ONE, "rows"),
    "edited above what ran": (["1"], ONE, [TWO], chain("1", "1a<1", "2<1a"), "behind"),
}


@pytest.mark.parametrize("case", STATES.values(), ids=STATES)
def test_how_a_release_compares_with_the_database(case: tuple[Any, ...]) -> None:
    at, ran, others, target, state = case
    assert compare(at, ran, others, target, every_head=False).state == state


def test_tables_without_a_revision_where_migrations_ran() -> None:
    assert compare([], TWO, [], TWO, every_head=False, tables=["task"]).state == "unstamped"
    assert [compare([], ran, [], TWO, False, tables).state for ran, tables in (({}, ["task"]), (TWO, []))] == ["new", "new"]


def test_several_heads_are_right_where_the_command_says_so() -> None:
    both = chain("1", "2<1", "2b<1")
    assert [compare(at, both, [], both, every_head=True).state for at in ([], ["2"], ["2", "2b"])] == ["new", "behind", "same"]


def test_what_was_edited_is_named() -> None:
    assert edited_revisions(TWO, chain("1", "1a<1", "2<1a")["revisions"], ["2"]) == [
        "2 comes after 1a in the release, and came after 1 when it ran"
    ]
    assert (
        edited_revisions(chain("1", "2<1", "3<2"), chain("1", "3<1")["revisions"], ["3"])[0]
        == "2 ran on this database, and the release does not have it"
    )


def test_of_several_tables_that_of_the_backend_is_read() -> None:
    both = {"auth": ["9"], "backend": ["2"]}
    assert [chosen(both, "", "backend"), chosen(both, "auth.alembic_version", "backend"), chosen(both, "none.t", "backend")] == [
        ["2"],
        ["9"],
        [],
    ]
    assert [chosen({"public": ["1"]}, "", "backend"), chosen({}, "", "backend")] == [["1"], []]
    with pytest.raises(Failed, match=r"backend_image_version_table: a\.alembic_version"):
        chosen({"a": [], "b": []}, "", "backend")
    assert "c.relname = 'it''s'" in query("app.it's")


# a run ------------------------------------------------------------------------------------------------------------------

ALEMBIC = ["python3", "-m", "alembic", "upgrade", "head"]
CHECK = ["node", "check.mjs"]
# Of a tool whose steps are unknown, what it says is told.
FRONTEND = "migrate the database for frontend: last of s-frontend-migrate"


class Server:
    """The database of a host: answers what its revision is, and is brought to `then` by the backend's migration, where it runs."""

    def __init__(self, host: Host, at: list[str]) -> None:
        self.host, self.at, self.then, self.ran, self.asked = host, at, [""], list[str](), list[str]()
        self.tables, self.identity, self.sessions = list[str](), "7:1", list[dict[str, Any]]()
        host.infrastructure = host.infrastructure | {"database": {"container": "s-database", "name": "app", "schema": "backend"}}
        host.engine.place("s-database")
        host.engine.execute = self.execute  # type: ignore[method-assign]
        host.engine.on_start = self.start

    def execute(self, container: str, command: list[str], *_: Any, **__: Any) -> tuple[int, str]:
        if container != "s-database":
            return 0, ""
        self.asked.append(command[-1])
        answers = {"pg_terminate": "1", IDENTITY: self.identity, "c.relname <>": "\n".join(self.tables)}
        answers |= {"pg_blocking_pids": json.dumps(self.sessions), "": json.dumps({"backend": self.at} if self.at else {})}
        return 0, next(answer for words, answer in answers.items() if words in command[-1])

    def start(self, name: str) -> None:
        if name.endswith("-migrate"):
            self.ran.append(name)
            # Its check command changes nothing.
            check = self.host.engine.containers[name]["Config"].get("Entrypoint") == CHECK
            self.at = self.then if name == "s-backend-migrate" and not check else self.at

    def deploy(
        self, version: str, source: dict[str, Any], command: list[str] | None = None, check: bool = False, **other: Any
    ) -> list[str]:
        """Deploy; what was done to the database, in words. The migration brings it to the head of the source."""
        self.host.images(version)
        self.then = other.pop("then", source.get("heads", []))
        checks = {"check": CHECK} if other.pop("checked", False) else {}
        steps = [
            {"service": "backend", "alembic": True, "downgrade": ["downgrade", "{revision}"]}
            | {"container": {"name": "s-backend-migrate", "image": f"s-backend:{version}", "entrypoint": command or ALEMBIC}},
            {"service": "frontend"}
            | checks
            | {"container": {"name": "s-frontend-migrate", "image": f"s-frontend:{version}", "entrypoint": ["node", "migrate.mjs"]}},
        ]
        made = manifest(self.host, version, schema=source, migrations=steps)
        run = act(self.host, check, **{"verb": "deploy", "manifest": made, "infrastructure": "skip", "backup": False} | other)
        self.ran.clear()
        run.run()
        for name in self.host.running - pair(version) - {"s-database"}:
            del self.host.engine.containers[name]
        return [done for done in run.rollout.stack.actions if "database" in done or "migration" in done]

    def refused(self, version: str, source: dict[str, Any], **other: Any) -> str:
        """What a deploy that is refused says; the host is as before."""
        self.host.engine.changes.clear()
        before, at, running = self.host.files(), self.at, self.host.running
        with pytest.raises(Failed) as failed:
            self.deploy(version, source, **other)
        assert (self.host.files(), self.host.engine.changes, self.at, self.host.running) == (before, [], at, running)
        return str(failed.value)


def test_each_migration_that_ran_is_told_by_the_revision_before_and_after(host: Host) -> None:
    server = Server(host, [])
    assert server.deploy("v1", TWO) == ["migrate the database for backend: none -> 2", FRONTEND]
    assert server.deploy("v1", TWO) == [] and server.ran == []
    three = chain("1", "2<1", "3<2")
    assert server.deploy("v2", three)[0] == "migrate the database for backend: 2 -> 3"
    assert host.store.schema["heads"] == ["3"] and host.store.schema["commands"]["backend"] == ALEMBIC


@pytest.mark.parametrize("check", [False, True])
def test_another_branch_is_refused_before_anything_is_touched(host: Host, check: bool) -> None:
    server = Server(host, [])
    server.deploy("v1", TWO)
    message = server.refused("v2", TWO_B, check=check)
    assert message.startswith("The database is at revision 2; the head of v2 is 2b. Nothing was changed.")
    assert "the common ancestor is 1" in message and "alembic merge" in message


def test_an_older_release_is_refused_by_deploy_as_by_rollback(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", ONE)
    server.deploy("v2", chain("1", "2<1", breaking="2"))
    message = server.refused("v1", ONE)
    assert message.startswith(
        "v1 is not compatible with the database: later migrations remove or change what it needs.\n  2: drop_column, line 5"
    )
    assert "The database is at revision 2; the head of v1 is 1." in message and "make deploy VERSION=v1 SCHEMA=downgrade" in message
    assert server.deploy("v1", ONE, schema="accept") == [FRONTEND]
    server.deploy("v2", chain("1", "2<1", breaking="2"))
    with pytest.raises(Failed, match="make rollback VERSION=v1 SCHEMA=restore"):
        act(host, release="v1").run()


def test_an_older_release_is_deployed_after_a_downgrade(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", ONE)
    server.deploy("v2", chain("1", "2<1", breaking="2"))
    assert server.deploy("v1", ONE, schema="downgrade")[-1] == "downgrade the database: 2 -> 1"
    assert (server.at, host.store.schema["heads"], host.store.current) == (["1"], ["1"], "v1")


def test_a_downgrade_that_does_not_come_to_the_release_fails(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", ONE)
    server.deploy("v2", chain("1", "2<1", breaking="2"))
    with pytest.raises(Failed, match="the database is now at revision 2; the head of v1 is 1"):
        server.deploy("v1", ONE, schema="downgrade", then=["2"])
    assert host.serves == "v2"


def test_restore_without_a_fitting_backup_is_refused_before_anything_is_touched(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", ONE)
    server.deploy("v2", chain("1", "2<1", breaking="2"))
    assert "No backup fits v1" in server.refused("v1", ONE, schema="restore")


@pytest.mark.parametrize(
    ("at", "source", "words"),
    [
        (["9"], TWO, "Neither v2 nor a recorded release has 9"),
        (["2"], chain("1", "2<1", "2b<1"), "end in 2 heads (2, 2b)"),
        (["2"], chain("1", "1a<1", "2<1a"), "2 comes after 1a in the release, and came after 1 when it ran"),
        (["1", "2"], TWO, "several rows, and 1 comes before another of them"),
    ],
)
def test_what_cannot_be_known_is_refused_with_both_revisions(host: Host, at: list[str], source: dict[str, Any], words: str) -> None:
    server = Server(host, [])
    server.deploy("v1", TWO)
    server.at = at
    message = server.refused("v2", source)
    assert words in message and f"The database is at revision {at[0]}" in message and "Nothing was changed." in message
    # Without what an older Berth did not write down either.
    (host.store.root / "schema.json").unlink()
    assert words in server.refused("v2", source)


def test_a_migration_that_ran_and_does_something_else_now_is_refused(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", edited(TWO, "1", "a"))
    message = server.refused("v2", edited(TWO, "1", "b"))
    assert "1 does something else in the release than it did when it ran" in message and "The database is at revision 2" in message
    assert server.deploy("v2", edited(TWO, "1", "b"), schema="accept") == [FRONTEND]
    assert server.deploy("v3", edited(TWO, "1", "b")) == [FRONTEND], "what was accepted is the record from then on"


def test_tables_whose_version_table_is_gone_are_not_migrated_from_the_start(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", TWO)
    server.at, server.tables = [], ["note", "task"]
    for check in (False, True):
        message = server.refused("v2", TWO, check=check)
        assert "its migrations ran to 2 and tables exist (note, task)" in message and "The head of v2 is 2. Nothing was changed." in message
        assert "alembic stamp 2" in message and "make deploy VERSION=v2 SCHEMA=accept" in message
    with pytest.raises(Failed, match="make rollback VERSION=v1 SCHEMA=accept"):
        act(host, release="v1").run()
    assert server.deploy("v2", TWO, schema="accept")[0] == "migrate the database for backend: none -> 2"


def test_a_database_that_is_ahead_of_what_is_recorded_is_taken_as_it_is(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", ONE)
    server.at = ["2"]
    assert server.deploy("v2", TWO) == [FRONTEND] and host.store.schema["heads"] == ["2"]


def test_an_edited_chain_that_is_accepted_is_the_one_from_then_on(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", TWO)
    squashed = chain("2")
    assert "SCHEMA=accept" in server.refused("v2", squashed)
    assert server.deploy("v2", squashed, schema="accept") == [FRONTEND]
    assert (host.store.current, server.deploy("v2", squashed)) == ("v2", [])


def test_an_empty_database_in_place_of_the_one_that_is_remembered_is_no_silent_success(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", TWO)
    first = act(host, release="v1", backup=False)
    first.run()
    server.at = []
    run = act(host, release="v1", backup=False)
    run.run()
    assert not first.warnings and "revision 2 is recorded for it" in run.warnings[0] and "make backups" in run.warnings[0]


def test_a_database_that_somebody_took_back_is_migrated_again(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", TWO)
    server.at = ["1"]
    assert server.deploy("v1", TWO) == ["migrate the database for backend: 1 -> 2"]


def test_another_command_is_run_with_the_same_image(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", TWO)
    assert server.deploy("v1", TWO, ["python3", "-m", "app.migrate"]) == ["run the migration command of backend (the database stays at 2)"]
    assert (server.deploy("v1", TWO, ["python3", "-m", "app.migrate"]), server.ran) == ([], [])


# tools whose steps are unknown ------------------------------------------------------------------------------------------


def test_another_database_of_the_same_name_has_not_had_what_ran_in_the_one_before(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", TWO)
    assert host.store.schema["database"] == "7:1"
    server.identity = "7:2"
    assert server.deploy("v1-config", TWO, check=True)[-1].startswith("migrate the database for frontend")
    act(host, release="v1", backup=False).run()
    assert server.ran == ["s-frontend-migrate"] and host.store.schema["database"] == "7:2"
    act(host, release="v1", backup=False).run()
    assert server.ran == ["s-frontend-migrate"]


def test_a_check_command_says_whether_migrations_are_pending(host: Host) -> None:
    server, statuses = Server(host, []), [1, 0, 0]
    call = host.engine.call

    def wait(method: str, path: str, *words: Any, **other: Any) -> Any:
        if path == "/containers/s-frontend-migrate/wait" and host.engine.containers["s-frontend-migrate"]["Config"]["Entrypoint"] == CHECK:
            return {"StatusCode": statuses.pop(0)}
        return call(method, path, *words, **other)

    host.engine.call = wait  # type: ignore[method-assign]
    # Pending, then run, then no more.
    assert FRONTEND in server.deploy("v1", TWO, checked=True)
    assert server.ran.count("s-frontend-migrate") == 3 and statuses == [0]
    # Of another image nothing is pending: the tool says so.
    assert server.deploy("v2", TWO, checked=True) == [] and server.ran == ["s-frontend-migrate"] and statuses == []
    # One that ends well and leaves migrations pending has failed.
    statuses[:] = [1, 3]
    with pytest.raises(
        Failed, match=r"(?s)the migration of frontend ended with exit status 0, and its check command still reports:.*status 3"
    ):
        server.deploy("v3", TWO, checked=True)
    assert host.store.current == "v2"


def test_a_check_command_is_not_asked_by_a_rollback_or_in_check_mode(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", TWO, checked=True)
    server.deploy("v2", TWO, checked=True)
    server.ran.clear()
    assert act(host, backup=False).run()["release"] == "v1"
    server.deploy("v3", TWO, checked=True, check=True)
    assert server.ran == []


def test_a_command_of_ones_own_is_run_with_each_new_image(host: Host) -> None:
    own = ["python3", "-m", "app.migrate"]
    server = Server(host, [])
    server.deploy("v1", TWO, own)
    assert server.deploy("v2", TWO, own)[0] == "run the migration command of backend (the database stays at 2)"


def test_a_command_that_ends_well_elsewhere_than_at_the_head_fails(host: Host) -> None:
    server = Server(host, ["1"])
    with pytest.raises(Failed, match="ended with exit status 0 and left the database at revision 2; the head of v1 is 3"):
        server.deploy("v1", chain("1", "2<1", "3<2"), then=["2"])
    assert host.store.current == "" and host.store.schema == {}
    server.at = []
    with pytest.raises(Failed, match=r"(?s)left the database at revision none.*backend_image_version_table"):
        server.deploy("v1", TWO, then=[])


def test_without_a_database_of_its_own_what_is_remembered_counts(host: Host) -> None:
    server = Server(host, [])
    host.infrastructure["database"] = {}
    assert server.deploy("v1", ONE)[0] == "migrate the database for backend"
    assert (server.deploy("v1", ONE), server.asked) == ([], [])
    assert server.deploy("v2", TWO)[0] == "migrate the database for backend"


def test_a_database_that_does_not_run_is_asked_when_it_does(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", ONE)
    host.engine.state("s-database", Running=False)
    with pytest.raises(Failed, match=r"The database is not running \(s-database\)"):
        server.deploy("v2", TWO)
    assert server.deploy("v2", TWO, check=True)[0] == "migrate the database for backend: 1 -> 2"


def test_going_back_starts_the_database_and_asks_it_then(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", ONE)
    server.deploy("v2", TWO)
    host.engine.image("sha256:database")
    host.store.record_infrastructure(containers={"s-database": {"name": "s-database", "image": "sha256:database"}})
    host.engine.state("s-database", Running=False, Status="exited")
    assert act(host, backup=False).run()["release"] == "v1"
    host.engine.state("s-database", Running=False, Status="exited")
    server.at = ["9"]
    with pytest.raises(Failed, match="The database is at revision 9; the head of v2 is 2"):
        act(host, backup=False, release="v2").run()
    assert host.serves == "v1"


# what is left of a migration that fails ---------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1])
def test_what_a_container_left_elsewhere_is_ended_after_it(host: Host, status: int) -> None:
    host.engine.image("sha256:m")
    host.engine.exits["s-migrate"] = status
    reported: list[str] = []

    class Ends(Observer):
        def removed(self, addresses: list[str], when: float) -> None:
            assert "s-migrate" not in host.engine.containers
            reported.extend(addresses)

    spec = {"name": "s-migrate", "image": "sha256:m", "networks": [{"name": "s-data"}]}
    try:
        run_to_end(host.engine, spec, LABELS, 5, Ends())
    except RunFailed as error:
        assert error.status == status
    assert reported == ["127.0.0.1"]


def test_sessions_of_a_migration_that_fails_are_ended(host: Host) -> None:
    server = Server(host, [])
    host.engine.exits["s-backend-migrate"] = 1
    with pytest.raises(Failed, match="s-backend-migrate ended with exit status 1"):
        server.deploy("v1", TWO, then=[])
    assert "s-backend-migrate" not in host.engine.containers and host.store.schema == {}


# what a release that fails leaves of the database -------------------------------------------------------------------------


def test_a_release_that_fails_after_its_migration_says_where_the_database_is(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", ONE)
    host.engine.answers["s-backend-v2"] = host.engine.answers["s-backend-v3"] = (500, "broken")
    with pytest.raises(Failed, match=r"(?s)v1 is still active.*The database was at revision 1 and is now at 2$"):
        server.deploy("v2", TWO)
    breaking = chain("1", "2<1", "3<2", breaking="3")
    with pytest.raises(Failed, match=r"now at 3, which v1 is not compatible with\. To roll back: make rollback VERSION=v1 SCHEMA=restore"):
        server.deploy("v3", breaking)


def test_a_release_that_fails_after_a_downgrade_says_that_what_serves_is_ahead_of_the_database(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", ONE)
    server.deploy("v2", chain("1", "2<1", breaking="2"))
    host.clock.after(2, lambda: host.engine.state("s-backend-v1", Running=False))
    with pytest.raises(Failed, match=r"v2 is active again(?s:.*)is now at 1, behind v2\. To migrate it again: make rollback VERSION=v2"):
        server.deploy("v1", ONE, schema="downgrade", monitor_seconds=10)
    assert host.serves == "v2"


def test_one_that_is_refused_when_the_database_was_started_to_be_asked_leaves_nothing_started(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", ONE)
    server.deploy("v2", chain("1", "2<1", breaking="2"))
    host.engine.image("sha256:database")
    host.store.record_infrastructure(containers={"s-database": {"name": "s-database", "image": "sha256:database"}})
    host.engine.containers.clear()
    with pytest.raises(Failed, match=r"(?s)v1 is not compatible with the database.*Nothing was changed"):
        act(host, release="v1", backup=False).run()
    assert host.engine.containers == {}


def test_going_back_to_a_manifest_of_an_older_berth_reads_the_schema_that_what_serves_names(host: Host) -> None:
    server = Server(host, [])
    server.deploy("v1", ONE)
    server.deploy("v2", TWO)
    old = host.store.manifest("v1")
    old["around"]["database"] = {"container": "s-database", "name": "app"}
    old["migrations"] = [one | {"changed": "Running upgrade"} for one in old["migrations"]]
    current = host.store.current
    host.store.record(old)
    host.store.record(host.store.manifest(current))
    execute = server.execute

    def several(container: str, command: list[str], *words: Any, **other: Any) -> tuple[int, str]:
        status, message = execute(container, command, *words, **other)
        return status, json.dumps(json.loads(message) | {"auth": ["9"]}) if message.startswith("{") else message

    host.engine.execute = several  # type: ignore[method-assign]
    # What ran by an older Berth is noted without the commands.
    host.store.record_schema({key: value for key, value in host.store.schema.items() if key != "commands"})
    assert act(host, release="v1", backup=False).run()["release"] == "v1"


def test_a_run_that_is_interrupted_does_not_wait_for_its_migrations(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(host, [])
    server.deploy("v1", ONE)

    class Told(ThreadPoolExecutor):
        """Whose caller is told to end while the first migration runs."""

        def map(self, work: Any, todo: Any, **_: Any) -> Any:  # type: ignore[override]
            host.engine.place("s-backend-migrate", image="s-backend:v2")
            raise Interrupted("it was interrupted (SIGINT)")

    monkeypatch.setattr("ansible_collections.berth.stack.plugins.module_utils.release.deployment.ThreadPoolExecutor", Told)
    with pytest.raises(Failed, match=r"(?s)v1 is still active.*interrupted"):
        server.deploy("v2", TWO)
    assert ("POST", "/containers/s-backend-migrate/kill") in host.engine.changes
