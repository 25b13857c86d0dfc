"""The notes of a run: written whole or not at all, and told truly in check mode."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.berth.stack.plugins.action import controller_file as action


def run(check: bool = False, **args):
    task = SimpleNamespace(args=args, check_mode=check, async_val=0, action="controller_file", diff=False)
    connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None), _load_name="local")
    return action.ActionModule(task, connection, SimpleNamespace(check_mode=check), None, None, None).run()


def test_a_file_and_its_directories_are_made_once(tmp_path):
    path = tmp_path / "a" / "b" / "note.json"
    given = {"path": str(path), "content": "{}\n", "mode": "0600", "directory_mode": "0700"}
    assert run(**given)["changed"]
    assert path.read_text() == "{}\n"
    assert [found.stat().st_mode & 0o777 for found in (path, path.parent)] == [0o600, 0o700]
    assert not run(**given)["changed"]
    assert [found.name for found in path.parent.iterdir()] == ["note.json"]


@pytest.mark.parametrize("other", [{"content": "other"}, {"mode": "0600"}])
def test_another_content_or_mode_is_a_change(tmp_path, other):
    given = {"path": str(tmp_path / "note"), "content": "one"}
    run(**given)
    assert run(**given | other)["changed"]


def test_check_mode_tells_and_does_not_write(tmp_path):
    path = tmp_path / "a" / "note"
    assert run(True, path=str(path), content="one")["changed"]
    assert not path.parent.exists()


def test_a_file_is_removed_once(tmp_path):
    path = tmp_path / "note"
    path.write_text("one")
    assert run(True, path=str(path), state="absent")["changed"]
    assert path.is_file()
    assert run(path=str(path), state="absent")["changed"]
    assert not path.exists()
    assert not run(path=str(path), state="absent")["changed"]


def test_a_place_where_nothing_can_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    reported = run(path=str(tmp_path / "file" / "note"), content="one")
    assert reported["failed"]
    assert "cannot be written" in reported["msg"]
