"""The scheduler of a release's jobs: reads cron expressions and runs each job when it is due, one run of it at a time.

This file is a program of its own. It runs in a container of the backend's image, with that image's Python and the standard library alone:
`python3 -IS -c TEXT CONFIGURATION`, so that the release's manifest has all that a rollback needs. The controller imports it to validate
expressions. CONFIGURATION is JSON: {release, timezone, jobs: {name: {schedule, command, timeout, environment, make_up}}, directory}.

The directory, on the host, is shared by the schedulers of all releases:

- `release/current`: the release whose scheduler starts runs; written at the end of a rollout, read-only here
- `runs/JOB.lock`: locked during a run, by whichever release
- `runs/JOB.json`: `handled` (the last time in the schedule that was decided), `next`, `running`, `last`, `missed`

A job has the time that its run is for in JOB_DUE (2026-01-01T02:00:00Z).

What follows from these: a run is recorded before it starts, so that no other scheduler starts it again. On SIGTERM no run is started, and
those that go on have their time limit. A run that was due while no scheduler ran, or that ended with its container, is made up once
(`make_up`), and reported.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

UTC = timezone.utc  # noqa: UP017 # an image may bring a Python older than 3.11
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# name, lowest and highest value, names of the values (the first is that of the lowest)
FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("day of week", 0, 7, DAYS),
)
SHORT = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
# The longest time between two 29ths of February.
YEARS = 9
# Seconds after which a run is not the due one any more, but one that is made up.
LATE = 60
# Seconds from SIGTERM to SIGKILL for a job at its time limit.
KILL_AFTER = 10
# Written while the scheduler works; its health check reads the time.
ALIVE = "/tmp/scheduler"  # the container's own tmpfs
# Configuration of a container: where the directories are.
DIRECTORY = "/run/jobs"


class InvalidSchedule(ValueError):
    """Not a cron expression; the message says what is wrong."""


def _number(text: str, field: tuple[str, int, int, tuple[str, ...]]) -> int:
    name, low, high, names = field
    value = low + names.index(text.lower()) if text.lower() in names else int(text) if text.isdigit() else -1
    if not low <= value <= high:
        raise InvalidSchedule(f"{text!r} is no {name}: it must be {low} to {high}" + (f", or {names[0]} to {names[-1]}" if names else ""))
    return value


def _values(text: str, field: tuple[str, int, int, tuple[str, ...]]) -> frozenset[int]:
    name, low, high, _ = field
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/([1-9]\d*))?", part)
        if not match:
            raise InvalidSchedule(f"{part!r} is no {name}: write *, 5, 1-5, */15 or 1,3,5")
        star, first, last, step = match.groups()
        start = low if star else _number(first, field)
        end = high if star or (step and not last) else _number(last or first, field)
        if end < start:
            raise InvalidSchedule(f"{part!r} is no {name}: the range ends before it begins")
        found.update(range(start, end + 1, int(step or 1)))
    return frozenset(found)


class Schedule:
    """A cron expression (five fields, or @daily and the like) in a time zone.

    As in cron, a day matches where one of day of month and day of week does, if neither begins with `*`. Where clocks are put forward, a
    time that is skipped counts an hour later; where they are put back, a time counts once. An hour that begins with `*` means elapsed
    time instead: it counts whenever it is shown.
    """

    def __init__(self, text: str, zone: str = "UTC") -> None:
        self.text, self.zone = text, ZoneInfo(zone)
        fields = SHORT.get(text.strip().lower(), text).split()
        if len(fields) != len(FIELDS):
            raise InvalidSchedule(f"{text!r} has {len(fields)} fields, and must have five: minute, hour, day of month, month, day of week")
        self.minutes, self.hours, self.days, self.months, weekdays = (
            sorted(_values(part, field)) for part, field in zip(fields, FIELDS, strict=True)
        )
        self.weekdays = {value % 7 for value in weekdays}
        self.either = not fields[2].startswith("*") and not fields[4].startswith("*")
        self.every_hour = fields[1].startswith("*")
        if next(self.times(datetime(2024, 1, 1, tzinfo=UTC)), None) is None:
            raise InvalidSchedule(f"{text!r} never comes")

    def _on(self, day: date) -> bool:
        if day.month not in self.months:
            return False
        by_date, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return by_date or by_weekday if self.either else by_date and by_weekday

    def _instants(self, day: date) -> set[datetime]:
        found = set()
        for hour in self.hours:
            for minute in self.minutes:
                wall = datetime(day.year, day.month, day.day, hour, minute)
                for fold in (0, 1) if self.every_hour else (0,):
                    instant = wall.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)
                    if not self.every_hour or instant.astimezone(self.zone).replace(tzinfo=None) == wall:
                        found.add(instant)
        return found

    def times(self, after: datetime) -> Iterator[datetime]:
        """The times in the schedule after a moment, in UTC, in their order."""
        last, day = after, after.astimezone(self.zone).date() - timedelta(days=1)
        while day.year < last.year + YEARS:
            for instant in sorted(self._instants(day)) if self._on(day) else ():
                if instant > last:
                    last = instant
                    yield instant
            day += timedelta(days=1)

    def next(self, after: datetime) -> datetime:
        return next(self.times(after))

    def passed(self, after: datetime, now: datetime) -> tuple[int, datetime | None]:
        """(how many times in the schedule have passed, the last of them)."""
        count, last = 0, None
        for instant in self.times(after):
            if instant > now:
                break
            count, last = count + 1, instant
        return count, last


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def log(level: str, message: str, **more: Any) -> None:
    print(json.dumps({"time": stamp(datetime.now(UTC)), "level": level, "message": message, **more}), flush=True)


class Job:
    """One job. `clock` tells the time."""

    def __init__(self, name: str, given: dict[str, Any], zone: str, runs: Path, release: str, clock: Callable[[], datetime]) -> None:
        self.name, self.given, self.release, self.clock = name, given, release, clock
        self.schedule = Schedule(given["schedule"], zone)
        self.identity = f"{given['schedule']} {zone}"
        self.lock_file, self.state_file = runs / f"{name}.lock", runs / f"{name}.json"
        self.process: subprocess.Popen[bytes] | None = None
        self.state: dict[str, Any] = {}
        self.lock = -1
        # When to look again; None: at once.
        self.due: datetime | None = None
        self.deadline = 0.0
        self.over_limit = self.unrecorded = False

    @property
    def busy(self) -> bool:
        return self.process is not None or self.unrecorded

    def consider(self) -> None:
        """Start a run if one is due, unless another scheduler still runs this job."""
        now = self.clock()
        if self.busy or (self.due and now < self.due) or not self._take_lock():
            return
        try:
            self.state = self._read()
            made_up = self._decide(now)
            self._write()
        except OSError as error:  # what is not recorded is not started
            log("error", f"{self.name} waits for a minute: its record cannot be written", job=self.name, why=str(error))
            self.due = now + timedelta(minutes=1)
            made_up = None
        if made_up is None:
            self._drop_lock()
        else:
            self._start(made_up)

    def _decide(self, now: datetime) -> bool | None:
        """Whether to start a run, and whether it is made up; None: no run. Sets `running` to the run that is to be started."""
        state = self.state
        interrupted = state.pop("running", None)
        # Nobody was asked to run what a former schedule, or a wrong clock, left.
        if state.get("schedule") != self.identity or moment(state["handled"]) > now + timedelta(hours=1):
            state.update(schedule=self.identity, handled=stamp(now))
        count, last = self.schedule.passed(moment(state["handled"]), now)
        state["next"] = stamp(self.schedule.next(now))
        self.due = moment(state["next"])
        owed = None
        if interrupted:
            state["last"] = interrupted | {"ended": None, "seconds": None, "outcome": "interrupted", "status": None}
            again = self.given["make_up"] and not interrupted["again"]
            log(
                "error",
                f"a run of {self.name} was interrupted" + ("" if again else "; it is not made up"),
                job=self.name,
                due=interrupted["due"],
            )
            owed = moment(interrupted["due"]) if again else None
        if last:
            state["handled"] = stamp(last)
        late = last is not None and (now - last).total_seconds() > LATE
        skipped = count - (1 if last and (self.given["make_up"] or not late) else 0)
        due = last if last and (self.given["make_up"] or not late) else owed
        if skipped and last:
            before = state.get("missed") or {"times": 0}
            state["missed"] = {"times": before["times"] + skipped, "last": stamp(last)}
            log("error", f"{skipped} runs of {self.name} were missed", job=self.name, last=stamp(last))
        elif last and not late:
            state.pop("missed", None)
        if due is None:
            return None
        made_up = late or due is owed
        state["running"] = {"due": stamp(due), "started": stamp(now), "release": self.release, "made_up": made_up, "again": due is owed}
        return made_up

    def _start(self, made_up: bool) -> None:
        log("info", f"run {self.name}" + (", made up" if made_up else ""), job=self.name, due=self.state["running"]["due"])
        self.deadline, self.over_limit = time.monotonic() + self.given["timeout"], False
        try:
            self.process = subprocess.Popen(
                self.given["command"],
                env=os.environ | self.given["environment"] | {"JOB_DUE": self.state["running"]["due"]},
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            self._finish(127, str(error))

    def limit(self) -> None:
        """End a run at its time limit."""
        if self.process and time.monotonic() > self.deadline:
            how = signal.SIGKILL if self.over_limit else signal.SIGTERM
            self.over_limit, self.deadline = True, time.monotonic() + KILL_AFTER
            self._signal(how)

    def _signal(self, how: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if self.process:
                os.killpg(self.process.pid, how)

    def ended(self, status: int) -> None:
        """The run ended with this exit status (negative: by a signal)."""
        self._signal(signal.SIGKILL)  # what it left behind
        if self.process:
            self.process.returncode = status
        self._finish(status)

    def _finish(self, status: int, why: str = "") -> None:
        run = self.state.pop("running")
        now = self.clock()
        outcome = "timeout" if self.over_limit else "ok" if status == 0 else "failed"
        seconds = round((now - moment(run["started"])).total_seconds(), 1)
        self.state["last"] = run | {"ended": stamp(now), "seconds": seconds, "outcome": outcome, "status": status}
        self.process, self.unrecorded = None, True
        what = {"ok": "ended", "timeout": f"was ended at its time limit of {self.given['timeout']:g} s"}.get(outcome, "failed")
        log(
            "info" if outcome == "ok" else "error",
            f"{self.name} {what}",
            job=self.name,
            status=status,
            seconds=seconds,
            **({"why": why} if why else {}),
        )
        self.record()

    def record(self) -> None:
        """Record the end of a run; where that fails, it is tried again, and no other run starts."""
        if self.unrecorded:
            with contextlib.suppress(OSError):
                self._write()
                self._drop_lock()
                self.unrecorded, self.due = False, None  # its next time may have passed

    def _take_lock(self) -> bool:
        self.lock = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._drop_lock()
            return False
        return True

    def _drop_lock(self) -> None:
        os.close(self.lock)

    def _read(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads(self.state_file.read_text())
        except FileNotFoundError:
            return {}
        except ValueError:
            log("error", f"the record of {self.name} cannot be read: it starts anew", job=self.name)
            return {}
        return found

    def _write(self) -> None:
        scratch = self.state_file.with_suffix(".new")
        with scratch.open("w") as file:
            json.dump({"job": self.name, **self.state}, file)
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(self.state_file)
        directory = os.open(self.state_file.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(directory)
        os.close(directory)


class Scheduler:
    """Runs the jobs of one release, until SIGTERM and the end of the runs that go on."""

    def __init__(self, given: dict[str, Any], clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        directory = Path(given.get("directory", DIRECTORY))
        self.release: str = given["release"]
        self.current, runs = directory / "release" / "current", directory / "runs"
        self.jobs = [Job(name, job, given["timezone"], runs, self.release, clock) for name, job in given["jobs"].items()]
        self.stopping = self.active = False

    def is_active(self) -> bool:
        """Whether this release's scheduler is the one that starts runs."""
        try:
            return self.current.read_text().strip() == self.release
        except OSError:
            return False

    def step(self) -> None:
        self._reap()
        for job in self.jobs:
            job.limit()
            job.record()
        active = self.is_active()
        if active != self.active:
            self.active = active
            log("info", f"{'start' if active else 'leave'} the runs of {', '.join(job.name for job in self.jobs)}", release=self.release)
            for job in self.jobs:
                job.due = None
        for job in self.jobs if active and not self.stopping else ():
            job.consider()

    def _reap(self) -> None:
        """Collect ended runs, and as process 1 also what they left behind."""
        for job in self.jobs:
            if job.process:
                pid, status = os.waitpid(job.process.pid, os.WNOHANG)
                if pid:
                    job.ended(os.waitstatus_to_exitcode(status))
        running = {job.process.pid for job in self.jobs if job.process}
        with contextlib.suppress(ChildProcessError):
            while os.getpid() == 1 and (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
                if found.si_pid in running:
                    return  # it ended just now
                os.waitpid(found.si_pid, 0)

    def announce_stop(self) -> None:
        going_on = {job.name: job.given["timeout"] for job in self.jobs if job.process}
        if going_on:
            log("info", f"stop after {', '.join(going_on)}, in {max(going_on.values()):g} s at the latest")

    def stop(self) -> None:
        """Start no run any more."""
        self.stopping = True

    def run(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, lambda *_: self.stop())
        announced = False
        log("info", f"listening on the schedule of {', '.join(job.name for job in self.jobs)}", release=self.release)
        while True:
            self.step()
            if self.stopping and not any(job.busy for job in self.jobs):
                return
            if self.stopping and not announced:
                self.announce_stop()
                announced = True
            Path(ALIVE).touch()
            if select.select([reader], [], [], 1)[0]:
                os.read(reader, 4096)


def main() -> NoReturn:
    try:
        Scheduler(json.loads(sys.argv[1])).run()
    except ZoneInfoNotFoundError as error:
        log("error", f"{error}: the image has no time zones (Debian's tzdata)")
        sys.exit(78)
    log("info", "stopped")
    sys.exit(0)


if __name__ == "__main__":
    main()
