"""The name of a content and the preflight, by their modules: both go by the files that reach the image."""

from __future__ import annotations

import os
import re
import subprocess

import pytest
from trees import BACKEND, FRONTEND, ROOT, checkout, run_module, write

KINDS = {"backend": "fastapi", "frontend": "nextjs"}


def content(source, service="backend", **context):
    image = {
        "source": source,
        "dockerfile": ROOT / f"roles/{service}_image/files/Dockerfile",
        "context": {"kind": KINDS[service], **context},
    }
    answer, status = run_module("source_version", images={service: image})
    assert status == 0, answer
    return answer["contents"][service]


def check(source, service="backend", **options):
    runtime = {"backend": ("3.11", "/health", 8000), "frontend": ("18.20.4", "/api/health", 3000)}[service]
    given = dict(zip(("runtime", "health_path", "port"), runtime, strict=True)) | {"environment": ["DATABASE_URL", "API_URL"], **options}
    answer, status = run_module("source_check", source=source, kind=KINDS[service], role=f"{service}_image", **given)
    return answer, status


def test_what_git_ignores_is_not_in_the_hash(tmp_path):
    """Case S-a: the version stays, whatever lies in the files that git ignores."""
    ignored = "certs/\nservice-account.json\ndata/\n"
    source = checkout(write(tmp_path, BACKEND, {".gitignore": ignored}))
    before = content(source)
    write(source, {"certs/dev.pem": "key", "service-account.json": "{}", "data/big.bin": "x"})
    assert content(source) == before


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ("frontend", "app/coverage/page.jsx"),
        ("frontend", ".env.production"),
        ("backend", "data/cities.db"),
        ("backend", "app/coverage/__init__.py"),
        ("backend", "build/tables.py"),
    ],
)
def test_what_changes_in_a_tracked_file_changes_the_version(tmp_path, service, path):
    """Case S-b."""
    source = checkout(write(tmp_path, {"backend": BACKEND, "frontend": FRONTEND}[service], {path: "a = 1\n"}))
    before = content(source, service)
    write(source, {path: "a = 2\n"})
    assert content(source, service) != before


def test_a_tracked_package_named_like_a_report_is_in_the_source(tmp_path):
    """Case S-b: it was said not to be in the source, with the advice to commit it."""
    package = {"app/main.py": BACKEND["app/main.py"] + "import app.coverage\n", "app/coverage/__init__.py": ""}
    answer, status = check(checkout(write(tmp_path, BACKEND, package)))
    assert status == 0, answer


def test_a_key_in_what_would_be_copied_is_refused_and_one_that_is_ignored_is_not(tmp_path):
    """Case S-a."""
    body = "A1b2C3d4" * 8
    key = "-----BEGIN PRIVATE " + f"KEY-----\n{body}\n{body}\n-----END PRIVATE " + "KEY-----\n"
    source = checkout(write(tmp_path, BACKEND))
    write(source, {"certs/dev.pem": key})
    answer, status = check(source)
    assert status == 1
    assert "certs/dev.pem:1: a private key is here, and would be copied into the image" in answer["msg"]
    assert body not in str(answer)
    assert check(source, accepted=[{"check": "credential", "reason": "a test key", "until": "2999-01-01"}])[1] == 0
    assert check(source, dockerfile="Dockerfile")[1] == 1, "a Dockerfile of the user's own is given the same files"
    write(source, {".gitignore": "certs/\n"})
    answer, status = check(source)
    assert status == 0, answer


def test_new_files_are_named(tmp_path):
    source = checkout(write(tmp_path, BACKEND))
    write(source, {"app/new.py": ""})
    assert check(source)[0]["notes"] == ["New in the source, and not yet in git: app/new.py. It goes into the image."]


def test_what_has_no_commit_is_dated_and_not_by_0(tmp_path):
    """Case S-t: Next.js takes a page dated 0 for one without a date, and serves it for ever."""
    undated = 1577836800  # 2020-01-01
    write(tmp_path, {"a/page.html": ""})
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    subprocess.run([ROOT / "roles/base_image/files/settle-times", tmp_path / "a"], check=True, env=environment)
    assert {path.stat().st_mtime for path in (tmp_path / "a", tmp_path / "a/page.html")} == {undated}
    for service in KINDS:
        dockerfile = (ROOT / f"roles/{service}_image/files/Dockerfile").read_text()
        assert re.findall(r"^ARG SOURCE_DATE_EPOCH=(.*)$", dockerfile, re.M) == [str(undated)]
    answer, _ = run_module(
        "source_version", images={"a": {"source": tmp_path, "dockerfile": ROOT / "roles/backend_image/files/Dockerfile"}}
    )
    assert answer["created"] == {"a": 0}, "no commit: the Dockerfile's date is taken"


def test_migrations_that_do_not_reach_the_image_are_none_of_its(tmp_path):
    """Ignored by git, as some templates have it: the image would be deployed and never get there."""
    step = 'revision = "{0}"\ndown_revision = {1}\n'
    files = {"alembic.ini": "[alembic]\nscript_location = ./migrations\n", "migrations/env.py": "", ".gitignore": "*_local.py\n",
             "migrations/versions/1_a.py": step.format("1", None)}  # fmt: skip
    source = checkout(write(tmp_path, BACKEND, files))
    write(source, {"migrations/versions/2_local.py": step.format("2", '"1"')})
    image = {"source": source, "dockerfile": ROOT / "roles/backend_image/files/Dockerfile", "context": {"kind": "fastapi"}}
    answer, _ = run_module("source_version", images={"backend": image}, migrations="backend")
    assert answer["schema"]["heads"] == ["1"]
    (source / ".gitignore").unlink()
    answer, _ = run_module("source_version", images={"backend": image}, migrations="backend")
    assert answer["schema"]["heads"] == ["2"]
    (source / "migrations").rename(source / "shared")
    (source / "migrations").symlink_to("shared")
    answer, _ = run_module("source_version", images={"backend": image}, migrations="backend")
    assert answer["schema"]["heads"] == ["2"]
