"""Which files reach an image, and the hash that names them."""

from __future__ import annotations

import os

import pytest
from build_context import Ignore, content_hash, context_files


@pytest.mark.parametrize(
    ("pattern", "path", "ignored"),
    [
        ("node_modules", "node_modules/a/b.js", True),
        ("node_modules", "src/node_modules/a.js", False),
        ("**/node_modules", "src/node_modules/a.js", True),
        ("**/node_modules", "node_modules/a.js", True),
        ("*.md", "README.md", True),
        ("*.md", "docs/README.md", False),
        ("**/*.pyc", "a/b/c.pyc", True),
        (".env*", ".env.local", True),
        ("/tests", "tests/test_a.py", True),
        ("tests/", "tests/test_a.py", True),
        ("a?c", "abc", True),
        ("[ab].txt", "b.txt", True),
        ("[!ab].txt", "b.txt", False),
        ("# comment", "# comment", False),
    ],
)
def test_patterns(pattern, path, ignored):
    assert Ignore(pattern).ignores(path) is ignored


def test_the_last_pattern_that_matches_decides():
    rules = Ignore("*\n!src\nsrc/secret.txt")
    assert rules.ignores("other.txt")
    assert not rules.ignores("src/a.py")
    assert rules.ignores("src/secret.txt")


@pytest.fixture
def source(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("print()")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "t.py").write_text("")
    os.symlink("main.py", tmp_path / "app" / "link.py")
    return tmp_path


def test_context_files(source):
    assert list(context_files(source, Ignore("tests"))) == ["app/link.py", "app/main.py"]


def test_what_is_taken_back_below_an_ignored_directory_is_found(source):
    assert list(context_files(source, Ignore("tests\n!tests/t.py"))) == ["app/link.py", "app/main.py", "tests/t.py"]


def test_the_hash_changes_with_what_reaches_the_image_and_with_nothing_else(source):
    ignore = Ignore("tests")
    first = content_hash(source, ignore, b"recipe")
    os.utime(source / "app" / "main.py", (1, 1))
    (source / "tests" / "t.py").write_text("changed")
    assert content_hash(source, ignore, b"recipe") == first
    assert content_hash(source, ignore, b"another recipe") != first
    (source / "app" / "main.py").chmod(0o755)
    executable = content_hash(source, ignore, b"recipe")
    assert executable != first
    (source / "app" / "main.py").write_text("print(1)")
    assert content_hash(source, ignore, b"recipe") not in (first, executable)
