"""Which files reach an image, and the hash that names them."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from ansible_collections.berth.stack.plugins.module_utils.source.context import content_hash, context_files, git, origin
from ansible_collections.berth.stack.plugins.module_utils.source.tree import Ignore


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

    def content_of(recipe=b"recipe"):
        return content_hash(source, context_files(source, Ignore("tests")), recipe)

    first = content_of()
    os.utime(source / "app" / "main.py", (1, 1))
    (source / "tests" / "t.py").write_text("changed")
    assert content_of() == first
    assert content_of(b"another recipe") != first
    (source / "app" / "main.py").chmod(0o755)
    executable = content_of()
    assert executable != first
    (source / "app" / "main.py").write_text("print(1)")
    assert content_of() not in (first, executable)


@pytest.mark.parametrize(
    ("remote", "told"),
    [
        ("https://ci:token@example.org/team/app.git", "https://example.org/team/app.git"),
        ("git@example.org:team/app.git", "git@example.org:team/app.git"),
        ("/srv/git/app.git", None),
        (None, None),
    ],
)
def test_where_a_source_is_from_without_credentials(tmp_path, remote, told):
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    if remote:
        git(tmp_path, "remote", "add", "origin", remote)
    assert origin(tmp_path).get("org.opencontainers.image.source") == told


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("package.json", json.dumps({"license": "MIT OR Apache-2.0"}), "MIT OR Apache-2.0"),
        ("package.json", json.dumps({}), None),
        ("package.json", "{", None),
        ("pyproject.toml", '[project]\nlicense = {text = "BSD-3-Clause"}\n', "BSD-3-Clause"),
        ("pyproject.toml", '[project]\nlicense = {file = "LICENSE"}\n', None),
    ],
)
def test_the_licence_that_a_source_names(tmp_path, name, text, told):
    (tmp_path / name).write_text(text)
    assert origin(tmp_path).get("org.opencontainers.image.licenses") == told
