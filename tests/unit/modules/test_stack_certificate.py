"""Certificates are tried as a client would, and made again before they end. Made here by this machine's openssl and the module's script."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from ansible_collections.berth.stack.plugins.modules.stack_certificate import (
    MAKE,
    PEM,
    alternatives,
    authority_days_left,
    days_left,
    find_problems,
    put,
)

NAMES = ["database", "db.internal", "10.0.0.5"]


def made(tmp_path, given="", authority="new", days=730, authority_days=7300, names=NAMES):
    """The four texts of the script, run by this machine's shell and openssl instead of the image's."""
    variables = {
        "authority": authority, "authority_days": str(authority_days), "days": str(days), "stack": "berth", "name": names[0],
        "names": alternatives(names), "PATH": os.environ["PATH"],
    }  # fmt: skip
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    script = MAKE.replace("cd /tmp", f"cd {work}")
    done = subprocess.run(["sh", "-c", script], input=given, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    texts = PEM.findall(done.stdout)
    assert len(texts) == 4
    return texts


@pytest.fixture
def kept(tmp_path):
    """Directories (authority, certificate) with what `keep` puts there."""
    authority, directory = tmp_path / "authority", tmp_path / "directory"

    def keep(texts):
        for folder in (authority, directory):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        for path, text in zip(
            (authority / "ca.key", authority / "ca.crt", directory / "server.key", directory / "server.crt"), texts, strict=True
        ):
            put(path, text, 0o400, os.getuid())
        return authority, directory

    return keep


def test_a_client_that_verifies_strictly_accepts_it(tmp_path, kept):
    authority, directory = kept(made(tmp_path))
    for name in NAMES:
        assert 729 < days_left(authority / "ca.crt", directory / "server.crt", directory / "server.key", name) <= 730
    assert 7299 < authority_days_left(authority / "ca.crt") <= 7300
    assert find_problems(authority, directory, NAMES, 180)[:2] == ("", "")
    assert oct((directory / "server.key").stat().st_mode & 0o777) == "0o400"


def test_what_a_client_would_refuse_is_made_again(tmp_path, kept):
    authority, directory = kept(made(tmp_path))
    assert "refuse" in find_problems(authority, directory, [*NAMES, "other"], 180)[1]
    foreign = made(tmp_path, authority="new")
    kept([*foreign[:2], *made(tmp_path)[2:]])
    assert "refuse" in find_problems(authority, directory, NAMES, 180)[1]
    kept([*foreign[:3], made(tmp_path)[3]])
    assert "refuse" in find_problems(authority, directory, NAMES, 180)[1]
    (directory / "server.crt").unlink()
    assert find_problems(authority, directory, NAMES, 180)[:2] == ("", "it does not exist")
    shutil.rmtree(authority)
    assert find_problems(authority, directory, NAMES, 180)[:2] == ("it does not exist", "its authority is new")


def test_it_is_made_again_before_it_ends(tmp_path, kept):
    authority, directory = kept(made(tmp_path, days=100))
    assert find_problems(authority, directory, NAMES, 180)[1] == "it expires in 100 days"
    assert find_problems(authority, directory, NAMES, 30)[1] == ""
    kept(made(tmp_path, authority_days=300))
    assert find_problems(authority, directory, NAMES, 180)[0] == "it expires soon"


def test_the_authority_keeps_its_key_so_that_running_clients_go_on(tmp_path, kept):
    first = made(tmp_path)
    renewed = made(tmp_path, given="".join(first[:2]), authority="kept")
    assert renewed[:2] == first[:2] and renewed[3] != first[3]
    again = made(tmp_path, given="".join(first[:2]), authority="new")
    assert again[0] == first[0] and again[1] != first[1]
    # A client that was started with the authority's first certificate, and a server with a certificate of the second.
    authority, directory = kept([first[0], first[1], *again[2:]])
    assert find_problems(authority, directory, NAMES, 180)[:2] == ("", "")
