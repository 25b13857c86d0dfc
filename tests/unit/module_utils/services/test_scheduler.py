"""The scheduler: that a run is started once, ends by itself or at its limit, is not lost, and is reported. With real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.berth.stack.plugins.module_utils.services import scheduler
from ansible_collections.berth.stack.plugins.module_utils.services.scheduler import Job, Scheduler, moment, stamp
from conftest import ROOT

FILE = ROOT / "plugins/module_utils/services/scheduler.py"
START = moment("2026-01-01T00:00:30Z")


class Bench:
    """A directory of jobs, a clock that is set, and a file that every run writes a line to."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.now, self.out = directory, START, directory / "out"
        for name in ("release", "runs"):
            (directory / name).mkdir()

    def given(self, release: str = "v1", command: list[str] | None = None, **job: object) -> dict:
        write = ["sh", "-c", f"echo $RELEASE >> {self.out}"]
        defaults = {
            "schedule": "0 * * * *",
            "command": command or write,
            "timeout": 20,
            "environment": {"RELEASE": release},
            "make_up": True,
        }
        return {"release": release, "timezone": "UTC", "directory": str(self.directory), "jobs": {"tidy": defaults | job}}

    def make(self, release: str = "v1", **job: object) -> Scheduler:
        return Scheduler(self.given(release, **job), lambda: self.now)

    def activate(self, release: str) -> None:
        (self.directory / "release" / "current").write_text(release + "\n")

    def after(self, **passed: float) -> None:
        self.now += timedelta(**passed)

    @property
    def state(self) -> dict:
        return json.loads((self.directory / "runs/tidy.json").read_text())

    @property
    def ran(self) -> list[str]:
        return self.out.read_text().split() if self.out.exists() else []

    def settle(self, *schedulers: Scheduler, seconds: float = 10) -> None:
        """Step until no run goes on; further steps start none."""
        deadline = time.monotonic() + seconds
        while True:
            for one in schedulers:
                one.step()
            if not any(job.busy for one in schedulers for job in one.jobs):
                return
            assert time.monotonic() < deadline, "a run does not end"
            time.sleep(0.02)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    made.activate("v1")
    yield made


def test_a_job_runs_when_it_is_due_and_not_before(bench):
    one = bench.make()
    bench.settle(one)
    assert bench.ran == [] and bench.state["next"] == "2026-01-01T01:00:00Z"
    bench.now = moment("2026-01-01T00:59:59Z")
    bench.settle(one)
    assert bench.ran == []
    bench.now = moment("2026-01-01T01:00:00Z")
    bench.settle(one)
    bench.settle(one)
    assert bench.ran == ["v1"]
    last = bench.state["last"]
    assert (last["due"], last["outcome"], last["status"], last["made_up"], last["release"]) == (
        "2026-01-01T01:00:00Z",
        "ok",
        0,
        False,
        "v1",
    )
    assert bench.state["next"] == "2026-01-01T02:00:00Z" and "running" not in bench.state


def test_a_job_has_the_time_that_its_run_is_for(bench):
    one = bench.make(command=["sh", "-c", f"echo $JOB_DUE >> {bench.out}"])
    bench.settle(one)
    bench.after(hours=1, minutes=2)
    bench.settle(one)
    assert bench.ran == ["2026-01-01T01:00:00Z"]


@pytest.mark.parametrize(
    ("command", "outcome", "status"),
    [(["sh", "-c", "exit 3"], "failed", 3), (["sh", "-c", "kill -9 $$"], "failed", -9), (["/no/such/program"], "failed", 127)],
)
def test_a_run_that_failed_is_recorded_with_its_status_and_not_repeated(bench, capfd, command, outcome, status):
    one = bench.make(command=command)
    bench.settle(one)
    bench.after(hours=1)
    bench.settle(one)
    first = bench.state["last"]
    bench.after(minutes=5)
    bench.settle(one)
    assert bench.state["last"] == first and (first["outcome"], first["status"]) == (outcome, status)
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["level"] for line in lines if line["message"] == "tidy failed"] == ["error"]


def test_a_run_is_ended_at_its_limit_with_all_that_it_started(bench):
    left = bench.directory / "left"
    one = bench.make(command=["sh", "-c", f"(trap '' TERM; sleep 30; touch {left}) & sleep 30"], timeout=0.3)
    bench.settle(one)
    bench.after(hours=1)
    started = time.monotonic()
    bench.settle(one)
    assert time.monotonic() - started < 5
    assert bench.state["last"]["outcome"] == "timeout" and bench.state["last"]["status"] == -signal.SIGTERM
    sessions = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(left) not in sessions


def test_a_run_that_takes_no_signal_is_killed(bench, monkeypatch):
    monkeypatch.setattr(scheduler, "KILL_AFTER", 0.2)
    one = bench.make(command=["python3", "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(30)"], timeout=0.5)
    bench.settle(one)
    bench.after(hours=1)
    bench.settle(one)
    assert bench.state["last"]["outcome"] == "timeout" and bench.state["last"]["status"] == -signal.SIGKILL


def test_a_release_starts_no_run_before_it_is_the_active_one(bench):
    old, new = bench.make("v1"), bench.make("v2")
    bench.settle(old, new)
    bench.after(hours=1)
    bench.settle(new, old)
    assert bench.ran == ["v1"]
    bench.activate("v2")
    bench.after(hours=1)
    bench.settle(old, new)
    assert bench.ran == ["v1", "v2"]
    bench.activate("v1")  # a rollback
    bench.after(hours=1)
    bench.settle(new, old)
    assert bench.ran == ["v1", "v2", "v1"]


def test_a_job_does_not_run_twice_at_once_across_releases_and_is_not_lost(bench):
    old = bench.make("v1", command=["sh", "-c", f"sleep 1; echo v1 >> {bench.out}"])
    new = bench.make("v2")
    bench.settle(old, new)
    bench.after(hours=1)
    old.step()  # the old release's run goes on
    old.stop()
    bench.activate("v2")
    bench.after(hours=1)
    new.step()
    assert bench.ran == [] and not new.jobs[0].busy, "the old run goes on: no second one beside it"
    bench.settle(old)
    assert bench.ran == ["v1"]
    bench.settle(new)
    assert bench.ran == ["v1", "v2"] and bench.state["last"]["due"] == "2026-01-01T02:00:00Z"


def test_two_active_schedulers_start_a_due_run_once(bench):
    many = [bench.make() for _ in range(4)]
    bench.settle(*many)
    bench.after(hours=1)
    bench.settle(*many)
    bench.settle(*many)
    assert bench.ran == ["v1"]


def test_missed_runs_are_made_up_once_and_reported(bench):
    bench.settle(bench.make())
    bench.after(hours=5, minutes=10)
    one = bench.make()
    bench.settle(one)
    bench.settle(one)
    assert bench.ran == ["v1"]
    assert bench.state["last"]["made_up"] and bench.state["last"]["due"] == "2026-01-01T05:00:00Z"
    assert bench.state["missed"] == {"times": 4, "last": "2026-01-01T05:00:00Z"}
    bench.after(minutes=50)
    bench.settle(one)
    assert bench.ran == ["v1", "v1"] and "missed" not in bench.state and not bench.state["last"]["made_up"]


def test_a_job_that_is_not_made_up_is_reported_only(bench):
    bench.settle(bench.make(make_up=False))
    bench.after(hours=2, minutes=10)
    bench.settle(bench.make(make_up=False))
    assert bench.ran == [] and bench.state["missed"] == {"times": 2, "last": "2026-01-01T02:00:00Z"}


def test_a_first_or_another_schedule_makes_nothing_up(bench):
    bench.settle(bench.make())
    bench.after(days=1)
    bench.settle(bench.make(schedule="30 * * * *"))
    assert bench.ran == [] and "missed" not in bench.state and bench.state["next"] == "2026-01-02T00:30:00Z"


def run_that_is_cut_off(bench: Bench, **job: object) -> None:
    """A run whose scheduler is killed, as by a power failure."""
    bench.settle(bench.make())
    child = os.fork()
    if child == 0:
        bench.after(hours=1)
        one = bench.make(command=["sleep", "30"], **job)
        one.step()
        os.killpg(one.jobs[0].process.pid, signal.SIGKILL)  # type: ignore[union-attr]
        os._exit(0)
    os.waitpid(child, 0)
    assert bench.state["running"]["due"] == "2026-01-01T01:00:00Z"
    bench.after(hours=1, minutes=5)


def test_a_run_that_ended_with_its_container_is_made_up_once(bench):
    run_that_is_cut_off(bench)
    bench.settle(bench.make())
    assert bench.ran == ["v1"]
    assert bench.state["last"]["made_up"] and bench.state["last"]["due"] == "2026-01-01T01:00:00Z"


def test_what_ends_its_container_again_is_not_made_up_again(bench):
    run_that_is_cut_off(bench)
    path = bench.directory / "runs/tidy.json"
    path.write_text(json.dumps(bench.state | {"running": bench.state["running"] | {"again": True}}))
    bench.settle(bench.make())
    assert bench.ran == [] and bench.state["last"]["outcome"] == "interrupted"


def test_an_interrupted_run_that_is_not_made_up_is_reported(bench):
    run_that_is_cut_off(bench, make_up=False)
    bench.settle(bench.make(make_up=False))
    assert bench.ran == [] and bench.state["last"]["outcome"] == "interrupted"


def test_a_clock_that_is_put_back_a_little_repeats_nothing(bench):
    one = bench.make()
    bench.settle(one)
    bench.after(hours=1)
    bench.settle(one)
    bench.after(seconds=-40)
    bench.settle(bench.make())
    bench.after(seconds=40)
    bench.settle(bench.make())
    assert bench.ran == ["v1"]


def test_nothing_starts_that_cannot_be_recorded(bench, monkeypatch):
    one = bench.make()
    bench.settle(one)
    write = Job._write
    monkeypatch.setattr(Job, "_write", lambda self: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    bench.after(hours=1)
    bench.settle(one)
    assert bench.ran == []
    monkeypatch.setattr(Job, "_write", write)
    bench.after(minutes=1)
    bench.settle(one)
    assert bench.ran == ["v1"]


def test_an_end_that_cannot_be_recorded_is_recorded_later_and_holds_the_job(bench, monkeypatch):
    one = bench.make()
    bench.settle(one)
    bench.after(hours=1)
    one.step()
    write = Job._write
    monkeypatch.setattr(Job, "_write", lambda self: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    deadline = time.monotonic() + 5
    while one.jobs[0].process and time.monotonic() < deadline:
        one.step()
        time.sleep(0.02)
    assert one.jobs[0].busy and "running" in bench.state
    monkeypatch.setattr(Job, "_write", write)
    bench.settle(one)
    assert bench.state["last"]["outcome"] == "ok" and bench.ran == ["v1"]


def test_a_record_that_cannot_be_read_starts_anew(bench):
    (bench.directory / "runs/tidy.json").write_text("{")
    bench.settle(bench.make())
    assert bench.state["next"] == "2026-01-01T01:00:00Z"


# the program, as the container runs it --------------------------------------------------------------------------------


def start(bench: Bench, release: str, **job: object) -> subprocess.Popen[str]:
    given = json.dumps(bench.given(release, schedule="* * * * *", **job))
    return subprocess.Popen(
        [sys.executable, "-IS", "-c", FILE.read_text(), given], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def until(condition: Callable[[], object], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def overdue(bench: Bench) -> None:
    """A record by which a run is due now."""
    handled = stamp(datetime.now(scheduler.UTC) - timedelta(seconds=90))
    (bench.directory / "runs/tidy.json").write_text(json.dumps({"schedule": "* * * * * UTC", "handled": handled}))


def test_on_sigterm_the_program_lets_its_run_end_and_another_goes_on(bench):
    overdue(bench)
    first = start(bench, "v1", command=["sh", "-c", f"sleep 2; echo v1 >> {bench.out}"])
    until(lambda: "running" in bench.state)
    first.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert first.poll() is None, "the run goes on"
    output, _ = first.communicate(timeout=15)
    assert first.returncode == 0 and bench.ran == ["v1"] and bench.state["last"]["outcome"] == "ok"
    messages = [json.loads(line)["message"] for line in output.splitlines()]
    assert messages[-1] == "stopped" and "stop after tidy, in 20 s at the latest" in messages


def test_the_program_ends_at_once_where_no_run_goes_on(bench):
    one = start(bench, "v2")
    assert one.stdout
    assert "listening on the schedule of tidy" in one.stdout.readline()
    one.send_signal(signal.SIGTERM)
    assert one.wait(timeout=5) == 0


def test_a_killed_program_leaves_the_job_to_the_next(bench):
    overdue(bench)
    first = start(bench, "v1", command=["sleep", "60"])
    until(lambda: "running" in bench.state)
    first.kill()
    first.wait()
    second = start(bench, "v1")
    until(lambda: "running" not in bench.state and bench.state.get("last"))
    second.send_signal(signal.SIGTERM)
    second.wait(timeout=5)
    assert bench.ran == ["v1"] and bench.state["last"]["made_up"]
