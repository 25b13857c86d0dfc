"""Generations of secrets: made once, never changed, mended when touched, and silent."""

from __future__ import annotations

import json
import os
import stat

import pytest
from ansible_collections.berth.stack.plugins.filter.status import secrets_text
from ansible_collections.berth.stack.plugins.module_utils.secrets import store as secret_store
from ansible_collections.berth.stack.plugins.module_utils.secrets.store import Refused, Store, problem_of, render, resolve, with_defaults
from ansible_collections.berth.stack.plugins.modules.secret_list import listing

SERVICES = {
    "backend": {
        "uid": os.getuid(),
        "files": {"url": "postgresql://backend_g{generation}:{password:url}@h/d", "key": "{key}", "keys": "{key:all}"},
    }
}
SCHEMA = with_defaults(
    {
        "password": {"services": ["backend"], "generate": 32},
        "key": {"services": ["backend"], "minimum": 12, "form": "[^,]+", "versions": 3},
    }
)
NOTHING = {"values": {}, "history": {}, "files": {}}
KEY, OTHER = "an-honest-key-1", "an-honest-key-2"


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "secrets")


def next_record(known, generation, rotate=(), **given):
    record = resolve(SCHEMA, given, {name: f"WHERE_{name}" for name in given}, known, rotate, generation)
    return record | {"files": render(SERVICES, SCHEMA, record, generation)}


def demultiplex(store, rotate=(), **given):
    newest = store.newest()
    record = next_record(store.record(newest), newest + 1, rotate, **given)
    store.write(newest + 1, SERVICES, record)
    return record


def test_values_are_given_generated_or_kept():
    first = next_record(NOTHING, 1, key=KEY)
    assert first["values"]["key"] == KEY and len(first["values"]["password"]) == 32
    assert first["history"]["key"]["source"] == "WHERE_key" and first["history"]["password"]["source"] == "generated"
    # What is no longer given is kept: another shell, without the variable, must not take the key away.
    assert next_record(first, 2)["values"] == first["values"]
    assert next_record(NOTHING, 1, key=KEY)["values"]["password"] != first["values"]["password"]


def test_a_secret_that_nothing_gives_and_that_is_not_generated_is_refused():
    with pytest.raises(Refused, match="secret key is required"):
        next_record(NOTHING, 1)


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("changeme", "placeholder"), ("CHANGE_ME_PLEASE", "placeholder"), ("PassWord123", "placeholder"), ("<your key>", "placeholder"),
        ("your-api-key-goes-here", "placeholder"), ("${OPENAI_API_KEY}", "placeholder"), ("xxxxxxxxxxxxxxxx", "placeholder"),
        ("an-hones", "shorter than 12"), ("ababababababab", "fewer than 5"), ("an-honest,key-1", "form"), ("an-honest-key\n", "form"),
    ],
)  # fmt: skip
def test_weak_values_are_refused_by_name_and_place_and_never_by_value(value, wrong):
    spec = SCHEMA["key"] | ({"form": r"[^\r\n]+"} if value.endswith("\n") else {})
    assert wrong in problem_of("key", value, spec)
    with pytest.raises(Refused) as refusal:
        resolve(SCHEMA | {"key": spec}, {"key": value}, {"key": "OPENAI_API_KEY in the environment"}, NOTHING)
    assert "secret key " in str(refusal.value) and "OPENAI_API_KEY" in str(refusal.value) and value not in str(refusal.value)


def test_every_weak_value_is_told_at_once():
    with pytest.raises(Refused) as refusal:
        resolve(SCHEMA, {"key": "tiny", "password": "secret"}, {}, NOTHING)
    assert "secret key" in str(refusal.value) and "secret password" in str(refusal.value)


def test_a_rotated_secret_gets_another_value_and_follows_the_old_ones():
    known = next_record(NOTHING, 1, key=KEY)
    again = next_record(known, 2, rotate=["password"])
    assert again["values"]["password"] != known["values"]["password"] and again["values"]["key"] == KEY
    assert again["history"]["password"]["version"] == 2 and again["history"]["password"]["previous"] == []  # one version is kept
    assert again["history"]["password"]["generation"] == 2 and again["history"]["key"]["generation"] == 1


def test_as_many_earlier_values_are_kept_as_the_schema_says():
    record = next_record(NOTHING, 1, key=KEY)
    assert record["files"]["backend"]["keys"] == f"1:{KEY}"
    for number, value in enumerate([OTHER, "an-honest-key-3", "an-honest-key-4"], start=2):
        record = next_record(record, number, key=value)
    assert record["files"]["backend"]["keys"] == f"4:an-honest-key-4,3:an-honest-key-3,2:{OTHER}"
    assert record["files"]["backend"]["key"] == "an-honest-key-4"


def test_a_value_is_fit_for_a_url():
    record = next_record(NOTHING, 3, key=KEY, password="p@ss/w:rd?12345678")
    assert record["files"]["backend"]["url"] == "postgresql://backend_g3:p%40ss%2Fw%3Ard%3F12345678@h/d"


PEM = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqG+/==\nSM49AgEGCCqGSM49\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("value", [PEM, PEM.rstrip(), PEM.replace("\n", "\r\n"), "\n blanks around \t\n", "naïve-ü-日本語"], ids=repr)
def test_a_secret_of_several_lines_is_written_byte_for_byte_and_once(store, value):
    # As in secrets_extra_schema: {signing_key: {services: [backend]}}, with no form and no file of its own.
    schema = with_defaults({"password": {"services": ["backend"], "generate": 32}, "signing_key": {"services": ["backend"], "minimum": 5}})
    services = {"backend": {"uid": os.getuid(), "files": {"url": "postgresql://{password:url}@h/d"}}}
    for generation in (1, 2):
        record = resolve(schema, {"signing_key": value}, {}, store.record(store.newest()), (), generation)
        record["files"] = render(services, schema, record, 1)
        if generation == 1:
            store.write(1, services, record)
    assert (store.root / "1/backend/signing_key").read_bytes() == value.encode()
    assert store.record(1)["values"] == record["values"] and store.record(1)["files"] == record["files"]
    store.actions.clear()
    store.reconcile(1, services, record["files"])
    assert store.actions == []


@pytest.mark.parametrize(("template", "fits"), [("{key}", True), ("u://{key:url}@h", True), ("u://{key}@h", False), ("{key:all}", False)])
def test_a_secret_of_several_lines_is_refused_where_it_would_break_a_file(template, fits):
    schema = with_defaults({"key": {"services": ["backend"]}})
    record = resolve(schema, {"key": PEM}, {}, NOTHING)
    if fits:
        render({"backend": {"files": {"f": template}}}, schema, record, 1)
    else:
        with pytest.raises(Refused, match=r"secret key contains a line break.* a file of its own") as refusal:
            render({"backend": {"files": {"f": template}}}, schema, record, 1)
        assert "BEGIN" not in str(refusal.value)


@pytest.mark.parametrize(
    ("value", "wrong"), [("an-honest\0key-123", "NUL"), ("an-honest-key-\udcff12", "UTF-8"), (f"{KEY}\n", "line break")]
)
def test_what_cannot_be_handed_on_whole_is_refused(value, wrong):
    assert wrong in problem_of("key", value, SCHEMA["key"] | {"form": r"[^\r\n]+"})


def test_schema_and_files_must_say_the_same():
    record = resolve(SCHEMA, {"key": KEY}, {}, NOTHING)
    with pytest.raises(Refused, match="is not in secrets_schema"):
        render({"backend": {"files": {"url": "{pasword}"}}}, SCHEMA, record, 1)
    # A service that is handed a secret which the schema does not grant it.
    with pytest.raises(Refused, match=r"secrets_schema\.key\.services has backend"):
        render(SERVICES | {"edge": {"files": {"key": "{key}"}}}, SCHEMA, record, 1)
    with pytest.raises(Refused, match="unknown key lenght"):
        with_defaults({"key": {"lenght": 3}})


def test_a_generation_has_files_that_only_their_owner_reads(store, tmp_path):
    record = demultiplex(store, key=KEY)
    folder = tmp_path / "secrets" / "1" / "backend"
    assert (folder / "url").read_text() == f"postgresql://backend_g1:{record['values']['password']}@h/d"
    assert stat.S_IMODE((folder / "url").stat().st_mode) == 0o400
    assert stat.S_IMODE(folder.stat().st_mode) == 0o500
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o711
    assert stat.S_IMODE((tmp_path / "secrets" / "1" / secret_store.RECORD).stat().st_mode) == 0o400


def test_a_new_value_makes_a_new_generation_and_leaves_the_old_one(store):
    first = demultiplex(store, key=KEY)
    demultiplex(store, key=OTHER)
    assert store.newest() == 2
    assert store.record(1) == first


def test_a_generation_of_before_there_was_a_history_is_read(store):
    record = demultiplex(store, key=KEY)
    del record["history"]
    store.write(2, SERVICES, record)
    assert store.record(2)["history"]["key"] | {"made": ""} == {
        "source": "generated", "generation": 2, "made": "", "version": 1, "previous": [],
    }  # fmt: skip


def test_generations_that_nothing_needs_are_removed_and_the_newest_never(store):
    for value in (KEY, OTHER, "an-honest-key-3", "an-honest-key-4"):
        demultiplex(store, key=value)
    assert store.prune(["2"]) == ["1", "3"]
    assert store.generations() == [2, 4]
    assert Store(store.root, check=True).prune([]) == ["2"] and store.generations() == [2, 4]


def test_the_list_says_all_but_the_values(store):
    demultiplex(store, key=KEY)
    made = store.record(1)["history"]["key"]["made"]
    reported = listing(store, SCHEMA, 2_000_000_000)
    assert [entry["name"] for entry in reported] == ["key", "password"]
    assert reported[0] | {"age_days": 0} == {
        "name": "key", "source": "WHERE_key", "made": made, "age_days": 0, "generation": 1, "version": 1, "services": ["backend"],
    }  # fmt: skip
    assert KEY not in str(reported)


@pytest.mark.parametrize("damage", ["content", "mode", "missing", "foreign", "directory"])
def test_what_was_touched_is_mended(store, tmp_path, damage):
    record = demultiplex(store, key=KEY)
    folder = tmp_path / "secrets" / "1" / "backend"
    folder.chmod(0o700)
    if damage == "content":
        (folder / "key").chmod(0o600)
        (folder / "key").write_text("other")
        (folder / "key").chmod(0o400)
    elif damage == "mode":
        (folder / "key").chmod(0o444)
    elif damage == "missing":
        (folder / "key").unlink()
    elif damage == "foreign":
        (folder / "more").write_text("x")
    store.actions.clear()
    store.reconcile(1, SERVICES, record["files"])
    assert store.actions
    assert {path.name: path.read_text() for path in folder.iterdir()} == record["files"]["backend"]
    store.actions.clear()
    store.reconcile(1, SERVICES, record["files"])
    assert store.actions == []


def test_check_mode_writes_nothing(tmp_path):
    store = Store(tmp_path / "secrets", check=True)
    demultiplex(store, key=KEY)
    assert store.actions and not (tmp_path / "secrets").exists()


def test_the_table_and_the_json_hold_no_value(store):
    demultiplex(store, key=KEY)
    listed = {"generation": 1, "generations": [1], "secrets": listing(store, SCHEMA, 2_000_000_000)}
    table, document = secrets_text(listed), secrets_text(listed, "json")
    assert table.splitlines()[0] == "generation 1 (kept: 1)" and "backend" in table and "WHERE_key" in table
    assert json.loads(document) == listed
    assert KEY not in table + document and store.record(1)["values"]["password"] not in table + document
    assert "make deploy" in secrets_text({"generation": 0, "generations": [], "secrets": []})


def test_what_every_release_uses_follows_the_newest_generation(store, tmp_path):
    services = SERVICES | {"model": {"uid": os.getuid(), "shared": True, "files": {"api_key": "{key:all}"}}}
    schema = SCHEMA | {"key": SCHEMA["key"] | {"services": ["backend", "model"]}}
    for number, key in enumerate((KEY, OTHER), start=1):
        record = resolve(schema, {"key": key}, {}, store.record(number - 1), (), number)
        record["files"] = render(services, schema, record, number)
        store.write(number, services, record)
        assert not (tmp_path / "secrets" / str(number) / "model").exists()
        shared = tmp_path / "secrets" / "shared" / "model" / "api_key"
        assert shared.read_text() == record["files"]["model"]["api_key"]
        assert stat.S_IMODE(shared.stat().st_mode) == 0o400 and stat.S_IMODE(shared.parent.parent.stat().st_mode) == 0o711
    assert shared.read_text() == f"2:{OTHER},1:{KEY}"
