"""Deploy and rollback under traffic: no request is lost, no open stream is cut, every acknowledged write is there."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, STACK, User, client, docker, verb
from traffic import Outcome, Traffic

STATE = Path("/var/lib") / STACK
# A name that no earlier run of these tests gave to another content.
NEXT = f"test-{secrets.token_hex(3)}"
# Its configuration: with another one the release would be NEXT-r2.
MARK = {"backend_image_extra_environment": {"MARK": "two"}}
PEOPLE, RATE = 20, int(os.environ.get("TRAFFIC_RATE", "60"))


def done(name: str, variables: dict[str, Any] | None = None, **environment: str) -> str:
    run = verb(name, "-e", json.dumps(variables or {}), **environment)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    return run.stdout


def refused(name: str, variables: dict[str, Any] | None = None, **environment: str) -> str:
    run = verb(name, "-e", json.dumps(variables or {}), **environment)
    assert run.returncode != 0, run.stdout[-3000:]
    return run.stdout + run.stderr


def current() -> str:
    return (STATE / "current").read_text().strip()


def pair() -> dict[str, dict[str, str]]:
    """Containers of the active release: environment by name."""
    chosen = [f"--filter=label=berth.{key}={value}" for key, value in (("stack", STACK), ("version", current()))]
    found = json.loads(docker("inspect", *docker("ps", "--quiet", *chosen).split()))
    return {c["Name"][1:]: dict(entry.split("=", 1) for entry in c["Config"]["Env"]) for c in found}


def nothing_lost(outcome: Outcome, people: list[User]) -> None:
    assert outcome.failed == [], f"{len(outcome.failed)} of {outcome.sent}: {outcome.failed[:10]}"
    assert outcome.sent > RATE and outcome.streams > 0 and outcome.written
    expected = defaultdict(set)
    for who, title in outcome.written:
        expected[who].add(title)

    async def read() -> None:
        async with client() as http:
            for who, titles in expected.items():
                existing, page = [], 0
                while True:
                    items = (await http.get(f"/api/tasks?limit=100&offset={page * 100}", headers=people[who].headers)).json()["items"]
                    existing += [item["title"] for item in items]
                    page += 1
                    if len(items) < 100:
                        break
                assert titles <= set(existing), titles - set(existing)
                assert len(existing) == len(set(existing)), "a write is there twice"

    asyncio.run(read())


@pytest.fixture(scope="module")
def first() -> str:
    """The active release at the start, with another version built; active again at the end."""
    done("build", BERTH_VERSION=NEXT)
    return current()


@pytest.fixture(autouse=True)
def back(first: str) -> Iterator[None]:
    """Every test starts with the first release, whatever a failed test left."""
    yield
    if current() != first:
        done("rollback", BERTH_VERSION=first)


def test_deploy_rollback_and_deploy_again_lose_nothing(first: str, users: Callable[[int], list[User]]) -> None:
    people = users(PEOPLE)
    with Traffic(people, RATE).flowing() as outcome:
        done("deploy", MARK | {"release_monitor_seconds": 2}, BERTH_VERSION=NEXT)
        assert current() == NEXT
        assert {env.get("MARK") for name, env in pair().items() if "-backend-" in name} == {"two"}
        done("rollback")
        assert current() == first
        # The old configuration is back with the old release.
        assert {env.get("MARK") for env in pair().values()} == {None}
        done("rollback", BERTH_VERSION=NEXT)
        assert current() == NEXT
        assert {env.get("MARK") for name, env in pair().items() if "-backend-" in name} == {"two"}
    nothing_lost(outcome, people)


def test_a_release_of_the_same_images_with_another_configuration_passes_the_verification(first: str) -> None:
    images = json.loads((STATE / "releases" / f"{first}.json").read_text())["image_version"]
    done("deploy", MARK | {"release_monitor_seconds": 0}, BERTH_VERSION=images)
    assert current().startswith(f"{images}-r")
    done("verify", BERTH_ID="VPOST-01,TEST-02,VAL-01")


LOG = "last lines of its log"
# What is wrong with a release, and what the message has to say.
BROKEN: dict[str, tuple[dict[str, Any], list[str]]] = {
    "crashes at start": ({"backend_image_extra_environment": {"PUBLIC_URL": "no address"}}, ["exit code", LOG]),
    "never gets healthy": ({"backend_image_extra_environment": {"HEALTH_PATH": "/nowhere"}}, ["did not become healthy", LOG]),
    "fails its smoke check": (
        {"release_smoke_checks": [{"service": "backend", "port": 8000, "path": "/nowhere", "status": [200]}]},
        ["failed its smoke check", LOG],
    ),
    "has routes that the edge does not take": (
        {"edge_tls_ciphers": ["TLS_NONE_SUCH"]},
        ["the edge did not accept the new routes and keeps the old ones", "TLS_NONE_SUCH"],
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_release_that_is_broken_gets_no_traffic(how: str, first: str, users: Callable[[int], list[User]]) -> None:
    variables, words = BROKEN[how]
    people = users(5)
    before = pair()
    with Traffic(people, 30).flowing() as outcome:
        output = refused("deploy", variables | {"release_health_timeout": 12}, BERTH_VERSION=NEXT)
    nothing_lost(outcome, people)
    assert not [word for word in [*words, f"{first} is still active"] if word not in output], output[-3000:]
    assert current() == first and pair() == before
    line = json.loads((STATE / "audit.jsonl").read_text().splitlines()[-1])
    assert (line["verb"], line["outcome"], line["from"]) == ("deploy", "failed", first)


def test_a_release_that_is_not_there_is_refused_with_the_list_of_those_that_are(first: str) -> None:
    before = pair()
    output = refused("rollback", BERTH_VERSION="nope")
    assert "There is no release nope" in output and first in output
    output = refused("deploy", BERTH_VERSION="nope")
    assert "There is no version nope to deploy" in output and NEXT in output
    assert current() == first and pair() == before


def start(name: str, variables: dict[str, Any], **environment: str) -> subprocess.Popen[str]:
    """A command in the background."""
    command = [str(ROOT / ".venv/bin/ansible-playbook"), f"playbooks/{name}.yml", "-e", json.dumps(variables)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        stdin=subprocess.DEVNULL,
    )


def test_a_release_that_dies_after_the_switch_is_switched_back(first: str, users: Callable[[int], list[User]]) -> None:
    people = users(5)
    serving = STATE / "edge/config/serving"
    with Traffic(people, 30).flowing() as outcome:
        run = start("deploy", MARK | {"release_monitor_seconds": 15}, BERTH_VERSION=NEXT)
        deadline = time.monotonic() + 240
        while not any(f".{NEXT}~" in path.name for path in serving.iterdir()):
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(2)
        backend = docker("inspect", f"{STACK}-backend-{NEXT}", "--format={{.State.Pid}}")
        os.kill(int(backend), signal.SIGKILL)  # as a crash: the engine did not ask for it
        output, _ = run.communicate(timeout=120)
    assert run.returncode != 0 and f"{first} is active again" in output and f"{NEXT} ended (" in output, output
    # What the one that died held at that moment is lost, and nothing else.
    assert len(outcome.failed) <= 10 and all("502" in line or "stream" in line for line in outcome.failed), outcome.failed
    assert current() == first and all(NEXT not in name for name in pair())


# What a version does from some seconds after its start on, when the traffic has reached it.
LATE = {
    "leaks its memory limit": (
        """
import threading, time
def late():
    held = []
    time.sleep(9)
    while True:
        held.append(b"x" * 20_000_000)
        time.sleep(0.05)
threading.Thread(target=late, daemon=True).start()
""",
        "killed for using more memory than its limit",
    ),
    "ends with an error": (
        """
import os, threading
threading.Timer(9, os._exit, [3]).start()
""",
        "exit code 3",
    ),
}


@pytest.mark.parametrize("how", LATE)
def test_a_version_that_fails_while_it_is_watched_is_switched_back(
    how: str, first: str, users: Callable[[int], list[User]], tmp_path: Path
) -> None:
    people, (code, word) = users(5), LATE[how]
    source, version = tmp_path / "backend", f"late-{secrets.token_hex(3)}"
    shutil.copytree(ROOT / "apps/backend", source, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    main = source / "app/main.py"
    main.write_text(main.read_text() + code)
    done("build", BACKEND_SOURCE=str(source), BERTH_VERSION=version)
    with Traffic(people, 30).flowing() as outcome:
        output = refused("deploy", {"release_monitor_seconds": 20}, BACKEND_SOURCE=str(source), BERTH_VERSION=version)
    assert f"{first} is active again" in output and word in output, output
    # What the one that died held at that moment is lost, and nothing else.
    assert len(outcome.failed) <= 10 and all("502" in line or "stream" in line for line in outcome.failed), outcome.failed
    assert current() == first and all(version not in name for name in pair())


def test_whoever_kills_a_deploy_leaves_one_release_whole(first: str, users: Callable[[int], list[User]]) -> None:
    """Interrupt at many moments. One complete release is active, nothing is lost, and the next run succeeds."""
    people, moments = users(5), int(os.environ.get("KILLS", "4"))
    with Traffic(people, 20).flowing() as outcome:
        for number in range(moments):
            run = start("deploy", MARK | {"release_monitor_seconds": 1}, BERTH_VERSION=NEXT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                run.wait(1 + number * 9 / moments + random.random())
            run.kill()
            run.communicate()
            versions = {json.loads(edge(path))["version"] for path in ("/health", "/api/health")}
            assert versions <= {first, NEXT} and len(versions) == 1
            done("rollback", BERTH_VERSION=first)
            assert current() == first
        done("deploy", MARK | {"release_monitor_seconds": 1}, BERTH_VERSION=NEXT)
        assert current() == NEXT and not (STATE / "pending.json").exists() and not (STATE / "lock").exists()
        done("rollback", BERTH_VERSION=first)
    nothing_lost(outcome, people)


def edge(path: str) -> str:
    """The release that users get now."""

    async def get() -> str:
        async with client() as http:
            return (await http.get(path)).raise_for_status().text

    return asyncio.run(get())


def test_of_two_at_once_one_is_told_who_works(first: str) -> None:
    run = start("deploy", MARK | {"release_monitor_seconds": 10}, BERTH_VERSION=NEXT)
    deadline = time.monotonic() + 60
    while not (STATE / "lock").exists():
        assert run.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    output = refused("rollback")
    assert "has held the lock since" in output and f"process {run.pid}" in output
    run.communicate(timeout=120)
    assert run.returncode == 0 and current() == NEXT
