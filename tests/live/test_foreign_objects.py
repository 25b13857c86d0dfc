"""Foreign containers and tags of the stack's images survive a release; a docker context does not affect a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import STACK, docker, verb

MINE = f"{STACK}-mine"
LABELS = ("--filter", f"label=berth.stack={STACK}", "--filter", "label=berth.service=backend")


@pytest.fixture
def mine() -> Iterator[str]:
    """A foreign container of the backend's image under a foreign tag; its id."""
    image = docker("ps", "--format", "{{.Image}}", *LABELS).splitlines()[0]
    docker("tag", image, f"{MINE}:1")
    try:
        yield docker("run", "--detach", "--name", MINE, "--network", "none", "--entrypoint", "python3", f"{MINE}:1", "-m", "http.server")
    finally:
        docker("rm", "--force", MINE)
        docker("image", "rm", f"{MINE}:1")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user whose docker context is an unreachable engine."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    docker("context", "create", "elsewhere", "--docker", f"host=unix://{tmp_path}/dead.sock")
    docker("context", "use", "elsewhere")
    yield
    docker("context", "use", "default")


def services() -> dict[str, str]:
    """{container: health} of make status."""
    reported = verb("status", BERTH_FORMAT="json")
    assert reported.returncode == 0, reported.stdout + reported.stderr
    found = json.JSONDecoder().raw_decode(reported.stdout[reported.stdout.index("{") :])[0]
    return {service["container"]: service["health"] for service in found["services"]}


def test_a_release_leaves_somebodys_container_alone_and_goes_to_one_engine(mine: str, elsewhere: None) -> None:
    before = set(services())
    assert before and MINE not in before
    done = verb("rotate", BERTH_SECRET="backend_password")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"drain and remove {MINE}" not in done.stdout
    after = services()
    assert MINE not in after and set(after) != before, "another release serves"
    shown = verb("logs", BERTH_SERVICE="backend", BERTH_TAIL="1")
    assert shown.returncode == 0 and MINE not in shown.stdout
