"""Generations of secrets: made once, never changed, mended when touched, and silent."""

from __future__ import annotations

import os
import stat

import pytest
import secret_files
from secret_files import Refused, Store, render, resolve

SERVICES = {"backend": {"uid": os.getuid(), "files": {"url": "postgresql://u:{password}@h/d", "key": "{key}"}}}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "secrets", check=False)


def written(store, values):
    record = {"values": values, "files": render(SERVICES, values)}
    store.write(store.newest() + 1, SERVICES, record)
    return record


def test_values_are_kept_given_or_generated():
    values = resolve({"key": "given-by-the-user"}, {"password": 32, "key": 8}, {"password": "kept-from-before"})
    assert values == {"password": "kept-from-before", "key": "given-by-the-user"}
    fresh = resolve({}, {"password": 32}, {})["password"]
    assert len(fresh) == 32 and fresh != resolve({}, {"password": 32}, {})["password"]


@pytest.mark.parametrize("value", ["changeme", "CHANGE_ME_PLEASE", "PassWord", "<your key>", "your-api-key", "tiny7"])
def test_placeholders_and_weak_values_are_refused_by_name_and_not_by_value(value):
    with pytest.raises(Refused) as refusal:
        resolve({"key": value}, {}, {})
    assert "key" in str(refusal.value) and value not in str(refusal.value)


def test_a_template_that_needs_an_unknown_secret_is_refused():
    with pytest.raises(Refused, match="password"):
        render(SERVICES, {"key": "x"})


def test_a_generation_has_files_that_only_their_owner_reads(store, tmp_path):
    written(store, {"password": "p" * 12, "key": "k" * 12})
    folder = tmp_path / "secrets" / "1" / "backend"
    assert (folder / "url").read_text() == "postgresql://u:pppppppppppp@h/d"
    assert stat.S_IMODE((folder / "url").stat().st_mode) == 0o400
    assert stat.S_IMODE(folder.stat().st_mode) == 0o500
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o711
    assert stat.S_IMODE((tmp_path / "secrets" / "1" / secret_files.RECORD).stat().st_mode) == 0o400


def test_a_new_value_makes_a_new_generation_and_leaves_the_old_one(store):
    first = written(store, {"password": "p" * 12, "key": "k" * 12})
    written(store, {"password": "q" * 12, "key": "k" * 12})
    assert store.newest() == 2
    assert store.record(1) == first


@pytest.mark.parametrize("damage", ["content", "mode", "missing", "foreign", "directory"])
def test_what_was_touched_is_mended(store, tmp_path, damage):
    record = written(store, {"password": "p" * 12, "key": "k" * 12})
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
    store.mend(1, SERVICES, record["files"])
    assert store.actions
    assert {path.name: path.read_text() for path in folder.iterdir()} == record["files"]["backend"]
    store.actions.clear()
    store.mend(1, SERVICES, record["files"])
    assert store.actions == []


def test_check_mode_writes_nothing(tmp_path):
    store = Store(tmp_path / "secrets", check=True)
    written(store, {"password": "p" * 12, "key": "k" * 12})
    assert store.actions and not (tmp_path / "secrets").exists()
