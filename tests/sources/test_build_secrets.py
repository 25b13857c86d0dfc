"""Build secrets are in no layer, history, log or report: passes a canary and searches for it everywhere."""

from __future__ import annotations

import gzip
import json
import os
import secrets
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAIR = Path(__file__).with_name("pairs") / "board"
STACK = os.environ.get("CANARY_STACK", "canary")


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def places(image: str, canary: str, scratch: Path) -> Iterator[str]:
    """Places of `canary` in an image: its history, its configuration, a file of any of its layers."""
    if canary in docker("history", "--no-trunc", image):
        yield "history"
    archive = scratch / "image.tar"
    docker("save", "--output", str(archive), image)
    with tarfile.open(archive) as outer:
        for member in outer:
            data = outer.extractfile(member).read() if member.isreg() else b""
            if canary.encode() in (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data):
                yield member.name
    archive.unlink()


def test_a_leak_is_found(tmp_path):
    """Proof that the search works: an image with the canary in a file, and one with it in an argument."""
    canary = f"canary-{secrets.token_hex(8)}"
    (tmp_path / "leak").write_text(f"token = {canary}\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch\nARG TOKEN\nCOPY leak /leak\nENV KEPT=${TOKEN}\n")
    image = f"{STACK}-leak:{canary}"
    docker("build", "--quiet", "--build-arg", f"TOKEN={canary}", "--tag", image, str(tmp_path))
    try:
        found = list(places(image, canary, tmp_path))
        assert "history" in found and len(found) >= 3, found
    finally:
        docker("rmi", "--force", image)


@pytest.fixture
def built(tmp_path) -> Iterator[tuple[str, str, list[str]]]:
    """(canary, output, images) of an application built with a canary in the credentials of both package managers."""
    canary = f"canary-{secrets.token_hex(8)}"
    (tmp_path / "netrc").write_text(f"machine packages.invalid login ci password {canary}\n")
    (tmp_path / "npmrc").write_text(f"//packages.invalid/:_authToken={canary}\n")
    given = {
        "backend_image_build_secrets": {"netrc": f"{tmp_path}/netrc"},
        "frontend_image_build_secrets": {"npm_config": f"{tmp_path}/npmrc"},
        "image_checks_services": ["backend", "frontend"],
        "image_checks_report": f"{tmp_path}/local/images.json",
        "image_checks_sbom_directory": f"{tmp_path}/local",
        "container_build_nocache": True,
    }
    environment = os.environ | {
        "STACK_NAME": STACK, "LOCAL_DIR": str(tmp_path / "local"), "ANSIBLE_FORCE_COLOR": "0",
        "BACKEND_SOURCE": str(PAIR / "backend"), "FRONTEND_SOURCE": str(PAIR / "frontend"),
    }  # fmt: skip
    options = ["-i", "inventory/local.yml", "-vvv", "--diff", "-e", f"@{PAIR}/vars.yml", "-e", json.dumps(given)]
    command = [ROOT / ".venv/bin/ansible-playbook", *options, "tests/sources/build_secrets.yml"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    output = done.stdout + done.stderr
    try:
        images = docker("images", "--quiet", "--filter", f"label=berth.stack={STACK}", "--filter", "label=berth.content").split()
        # A finding of the checks fails the run and is not what this test is about; a build that failed is.
        assert len(set(images)) >= 3, output[-4000:]
        yield canary, output, sorted(set(images))
    finally:
        for image in docker("images", "--quiet", "--filter", f"label=berth.stack={STACK}").split():
            subprocess.run(["docker", "rmi", "--force", image], capture_output=True, check=False)


def test_a_secret_of_a_build_is_found_nowhere(built, tmp_path):
    canary, output, images = built
    assert canary not in output, "the run's own output"
    for image in images:
        assert list(places(image, canary, tmp_path)) == [], image
    kept = [path for path in (tmp_path / "local").rglob("*") if path.is_file()]
    assert {"images.json"} <= {path.name for path in kept} and any(path.parent.name == "builds" for path in kept)
    assert [str(path) for path in kept if canary.encode() in path.read_bytes()] == []
