"""Redis, a worker and a job every minute, through a deployment, a rollback and the end of their host, in the pair `courier`.

Of the job, no time is run twice, none is lost, and no run is cut off but that of the host's end, which is made up. The job takes 15 s, so
that every change comes while it runs. About five minutes: a schedule has no seconds.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from test_sources import PAIRS, ROOT, STACK, ask, play

SECONDS = 15
RECORD = Path(f"/var/lib/{STACK}/jobs/runs/sweep.json")


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


def containers(service: str) -> list[str]:
    return docker(
        "ps", "--filter", f"label=berth.stack={STACK}", "--filter", f"label=berth.service={service}", "--format", "{{.Names}}"
    ).split()


def sweeps() -> list[tuple[str, str, str, float]]:
    """What the job wrote: (begin or end, the time that its run is for, release, when)."""
    lines = [line.split() for line in json.loads(ask({"path": "/sweeps"})[1])]
    return [(what, due, release, float(when)) for what, due, release, when in lines]


def until(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.5)


def run_begins() -> str:
    """Wait for a run to begin; the time that it is for."""
    before = len([one for one in sweeps() if one[0] == "begin"])
    until(lambda: len([one for one in sweeps() if one[0] == "begin"]) > before, 75, "a run of the job")
    return sweeps()[-1][1]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Path]:
    shutil.copytree(PAIRS / "courier", tmp_path / "courier")
    play("destroy", tmp_path / "courier", "-e", f"teardown_confirm={STACK}", "-e", '{"teardown_images": false}')
    yield tmp_path / "courier"
    play("destroy", ROOT, "-e", f"teardown_confirm={STACK}")
    left = docker("ps", "--all", "--quiet", "--filter", f"label=berth.stack={STACK}") + docker(
        "volume", "ls", "--quiet", "--filter", f"label=berth.stack={STACK}"
    )
    assert not left, "no container and no volume is left"


def test_no_run_is_lost_repeated_or_cut_off(source: Path) -> None:
    play("deploy", source)
    ask({"path": "/parcels", "method": "POST", "body": {}})
    until(lambda: '"delivered":1' in ask({"path": "/parcels"})[1], 20, "the worker delivers")

    run_begins()
    play("deploy", source, "-e", json.dumps({"backend_image_extra_environment": {"GREETING": "two"}}))
    second = Path(f"/var/lib/{STACK}/current").read_text().strip()
    assert second.endswith("-r2")
    run_begins()
    assert sweeps()[-1][2] == second, "the new release runs the job"
    play("rollback", source)
    ask({"path": "/parcels", "method": "POST", "body": {}})
    until(lambda: '"delivered":2' in ask({"path": "/parcels"})[1], 20, "the worker delivers after a rollback")

    cut_off = run_begins()
    assert sweeps()[-1][2] == second.removesuffix("-r2"), "the release before runs the job again"
    running = [*containers("redis"), *containers("worker"), *containers("scheduler")]
    docker("kill", *running)
    docker("start", *running)
    until(lambda: ("end", cut_off) in [one[:2] for one in sweeps()], 90, "the run that was cut off is made up")
    assert json.loads(RECORD.read_text())["last"]["made_up"]
    run_begins()
    until(lambda: len([one for one in sweeps() if one[0] == "end"]) == len({one[1] for one in sweeps()}), 30, "the last run ends")

    found = sweeps()
    begun, ended = ([one[1] for one in found if one[0] == what] for what in ("begin", "end"))
    assert sorted(begun) == sorted([*ended, cut_off]), "each began once and ended, but the one that was cut off"
    assert len(set(ended)) == len(ended), "none ended twice"
    times = [datetime.fromisoformat(due) for due in ended]
    assert [later - earlier for earlier, later in pairwise(times)] == [timedelta(minutes=1)] * (len(times) - 1), "none is lost"
    open_run = ""
    for what, due, release, when in found:
        if what == "end":
            started = [one[3] for one in found if one[:3] == ("begin", due, release)][-1]
            assert open_run == due and when - started >= SECONDS, "one at a time, and to its end"
        open_run = due if what == "begin" else ""
    assert not [one for one in docker("ps", "--format", "{{.Names}}", "--filter", f"label=berth.stack={STACK}").split() if second in one], (
        "drained"
    )
