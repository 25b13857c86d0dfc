"""The collection as Ansible's programs see it: what its archive holds."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

# A repository in use: what must be in no archive.
LOCAL_STATE = [
    ".ansible/tmp/x",
    ".env",
    ".env.production",
    ".envrc",
    ".local/edge-ca.crt",
    ".local/staging/edge-ca.crt",
    ".pytest_cache/x",
    ".vault-password",
    ".venv/bin/python",
    ".venv-load/bin/k6",
    ".vscode/settings.json",
    "apps/backend/.env",
    "apps/backend/.venv/bin/python",
    "apps/backend/app/__pycache__/main.pyc",
    "apps/backend/.mypy_cache/x",
    "apps/frontend/.env.local",
    "apps/frontend/.next/build",
    "apps/frontend/node_modules/next/index.js",
    "berth-stack-0.9.0.tar.gz",
    "compose.override.yaml",
    "deploy.key",
    "group_vars/all/vault.yml",
    "group_vars/all/zz_advice.yml",
    "images.tar.zst",
    "inventory/production.yml",
    "inventory/host_vars/web-1.yml",
    "playbooks/deploy.yml~",
    "playbooks/deploy.retry",
    "reports/latest/acceptance.json",
    "reports/.gitkeep",
]
FOLDERS = {"apps", "docs", "meta", "playbooks", "plugins", "requirements", "roles"}
FILES = {".env.example", "CHANGELOG.md", "CONTRIBUTING.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "compose.yaml"} | {
    "requirements.txt",
    "requirements.yml",
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], int]:
    """({path in the archive of a repository in use}, its size in bytes)."""
    made = tmp_path_factory.mktemp("repository")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for path in filter(None, tracked):
        if (ROOT / path).is_file():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, made / path)
    for path in LOCAL_STATE:
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text("secret")
    program = Path(sys.executable).with_name("ansible-galaxy")
    target = tmp_path_factory.mktemp("archive")
    subprocess.run([program, "collection", "build", made, "--output-path", target], check=True, capture_output=True, cwd=target)
    archive = next(target.glob("berth-stack-*.tar.gz"))
    with tarfile.open(archive) as opened:
        return {member.name for member in opened if member.isfile()}, archive.stat().st_size


def test_the_archive_holds_no_local_state(packed: tuple[set[str], int]) -> None:
    assert not packed[0] & set(LOCAL_STATE)


def test_the_archive_holds_what_a_playbook_elsewhere_needs_and_no_tools(packed: tuple[set[str], int]) -> None:
    names, size = packed
    assert {name.partition("/")[0] for name in names if "/" in name} == FOLDERS
    assert {name for name in names if "/" not in name} == FILES
    tracked = {str(path.relative_to(ROOT)) for part in ("roles", "plugins", "playbooks") for path in (ROOT / part).rglob("*.yml")}
    assert tracked <= names
    assert {"requirements/load.txt", "requirements/scanners.txt", "apps/backend/app/main.py", "apps/frontend/package.json"} <= names
    assert size < 1_500_000


def test_playbooks_can_be_called_by_their_names_in_the_collection() -> None:
    """A command whose name is no identifier imports one that has."""
    for path in (ROOT / "playbooks").glob("*.yml"):
        if not path.stem.isidentifier():
            named = f"{path.stem.replace('-', '_')}.yml"
            assert [play.get("ansible.builtin.import_playbook") for play in yaml.safe_load(path.read_text())] == [named]
