"""Backups in repositories, by pgBackRest: backup, check, and recovery to a moment beside the server in use.

This file is a program of its own. It runs in the container STACK-backup (image of the database, with pgBackRest and Python):
`python3 -IS -c LAUNCHER COMMAND [WORD...]`; the controller and the host import it for its pure functions. Its last line is a JSON object;
exit status 1 with {"error": ...} where it failed.

- `prepare FIRST`: create the stanza in each repository and check that WAL arrives there; without a backup, start one (unless `false`)
- `backup TYPE WHY`: full, diff or incr, into each repository
- `check DATABASE QUERY`: restore the newest backup and all WAL, read and verify every table, compare with the server in use
- `archive`: have all that is committed by now in the repositories
- `recover MOMENT COPIES`: restore beside, to a moment or (empty) to the end, if there is room for COPIES of
  it, and start a server on it; `copy SOURCE TARGET`: stream one of its
  databases into a database of the server in use; `discard`: stop and remove it. It holds a lock from recover to discard
- `information`: backups and archived WAL of each repository

The server in use is reached by a socket in its volume, which is mounted read-only here. Paths are variables of the environment: DATA (that
volume), RECOVERY (a volume for what is restored), RECORDS (a directory on the host for records of runs, read by `make status` and
`make audit`); PGBACKREST_CONFIG and PGBACKREST_STANZA are pgBackRest's own.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

# How the program is started: its text is in the container's environment.
PROGRAM = "BERTH_REPOSITORY_PROGRAM"
LAUNCHER = f"import os; exec(os.environ['{PROGRAM}'])"
UTC = timezone.utc  # noqa: UP017 # the same text is imported on hosts with an older Python
DATA, RECOVERY, RECORDS = (
    Path(os.environ.get(name, default))
    for name, default in (("DATA", "/var/lib/postgresql/data"), ("RECOVERY", "/var/lib/postgresql/recovery"), ("RECORDS", "/run/jobs/runs"))
)
# Written after each run: what status and audit read.
STATE, AUDIT = "repository.state", "repository.audit"
MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?:(:\d\d)(\.\d{1,6})?)?\s*(Z|[+-]\d\d:?\d\d)")
REACHED = re.compile(r"last completed transaction was at log time (\S+ \S+)")
REPLAYED = re.compile(r"redo done at ([0-9A-F]+)/([0-9A-F]+)")
SEGMENT = 1 << 24
# Seconds until a WAL segment that was closed must be in the repositories.
ARCHIVED_WITHIN = 60
# Seconds that a stopped server has to end.
STOP = 60
KEPT_LINES = 1000
# Bytes of WAL and of the server's own that recovery needs.
SPARE = 1 << 30


class Refused(Exception):
    """What cannot be done; the message says why, and `more` is added to the result."""

    def __init__(self, message: str, **more: Any) -> None:
        super().__init__(message)
        self.more = more


# pure functions -------------------------------------------------------------------------------------------------------


def moment(text: str) -> datetime:
    """The moment of 2026-11-27T14:03Z, 2026-11-27T14:03:05.25Z or 2026-11-27T15:03+01:00. Raises ValueError."""
    found = MOMENT.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no moment: write it with its time zone, 2026-11-27T14:03Z or 2026-11-27T15:03:20+01:00")
    day, minute, second, fraction, zone = found.groups()
    zone = "+0000" if zone == "Z" else zone.replace(":", "")
    written = f"{day} {minute}{second or ':00'}{fraction or '.0'}{zone}"
    return datetime.strptime(written, "%Y-%m-%d %H:%M:%S.%f%z").astimezone(UTC)


def stamp(when: datetime) -> str:
    """A moment as it is typed: to the second, with a fraction if it has one, rounded to milliseconds."""
    text = when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{when.microsecond // 1000:03}" if when.microsecond >= 1000 else "") + "Z"


def log_moment(text: str) -> datetime | None:
    """The moment of a server's log, 2026-11-27 14:03:05.123456+00; None for none."""
    try:
        return moment(re.sub(r"([+-]\d\d)$", r"\g<1>00", text))
    except ValueError:
        return None


def backups_in(information: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The complete backups of `pgbackrest info`, oldest first: label, type, repository, start and stop (seconds), bytes (of the cluster),
    stored (bytes in the repository), why."""
    found = [
        {
            "label": one["label"],
            "type": one["type"],
            "repository": one["database"]["repo-key"],
            "start": one["timestamp"]["start"],
            "stop": one["timestamp"]["stop"],
            "bytes": one["info"]["size"],
            "stored": one["info"]["repository"].get("delta", 0),
            "why": (one.get("annotation") or {}).get("why", ""),
        }
        for stanza in information
        for one in stanza.get("backup") or []
        if not one.get("error")
    ]
    return sorted(found, key=lambda one: (one["stop"], one["label"]))


def archives_in(information: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The archived WAL of each repository: repository, first and last segment."""
    return [
        {"repository": one["database"]["repo-key"], "first": one.get("min"), "last": one.get("max")}
        for stanza in information
        for one in stanza.get("archive") or []
    ]


def chosen(backups: list[dict[str, Any]], at: datetime | None) -> dict[str, Any]:
    """The backup from which a moment is reached soonest: the newest that was complete by then. Raises Refused."""
    usable = [one for one in backups if at is None or one["stop"] <= at.timestamp()]
    if usable:
        return usable[-1]
    if not backups:
        raise Refused("the repositories have no backup")
    first = stamp(datetime.fromtimestamp(min(one["stop"] for one in backups), UTC))
    raise Refused(f"no backup was complete at that time: the first moment that can be restored is {first}", first=first)


def segment(name: str) -> int:
    """The number of a WAL segment within its timeline."""
    return int(name[8:16], 16) * ((1 << 32) // SEGMENT) + int(name[16:24], 16)


def replayed(log: str) -> int:
    """The number of the last WAL segment that a server's recovery read, by its log; -1 for none."""
    found = REPLAYED.findall(log)
    return (int(found[-1][0], 16) << 32 | int(found[-1][1], 16)) // SEGMENT if found else -1


def compared(before: dict[str, str], restored: dict[str, str], after: dict[str, str]) -> tuple[bool, str]:
    """(whether tables are identical with those of the server in use, what is wrong). Its rows may change meanwhile; tables that did not
    change must be identical."""
    still = {name: text for name, text in before.items() if after.get(name) == text}
    wrong = [
        f"{name}: {text} in use, {restored.get(name, 'missing')} restored"
        for name, text in sorted(still.items())
        if restored.get(name) != text
    ]
    wrong += [f"{name}: missing" for name in sorted(set(before) & set(after) - set(restored) - set(still))]
    return len(still) == len(before) == len(after), "; ".join(wrong)


# programs -------------------------------------------------------------------------------------------------------------


def run(*command: str, **more: Any) -> str:
    """The output of a program. Raises Refused with its last lines."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **more)
    output: str = done.stdout.decode(errors="replace")
    if done.returncode:
        errors = [line for line in output.splitlines() if "ERROR" in line] or output.splitlines()
        raise Refused(f"{Path(command[0]).name} {command[-1]}: {' '.join(' '.join(errors[-3:]).split())[-900:] or done.returncode}")
    return output


def pgbackrest(*words: str) -> str:
    output = run("pgbackrest", *words)
    if words[-1] != "info":
        sys.stdout.write(output)
        sys.stdout.flush()
    return output


def repositories() -> list[str]:
    """The numbers of the repositories."""
    return re.findall(r"^repo(\d+)-path=", Path(os.environ["PGBACKREST_CONFIG"]).read_text(), re.M)


def information() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(pgbackrest("--output=json", "--log-level-console=off", "info"))
    return found


def sql(text: str, database: str = "postgres", socket: Path = DATA) -> str:
    return run(
        "psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-h", str(socket), "-U", "postgres", "-d", database, "-c", text
    ).strip()  # fmt: skip


def archive_all() -> None:
    """Have all that is committed by now in the repositories. A commit of its own comes last: then what is before it is whole."""
    sql("SELECT pg_current_xact_id()")
    last = sql("SELECT pg_walfile_name(pg_switch_wal())")
    deadline = time.monotonic() + ARCHIVED_WITHIN
    # Names of segments have their order within a timeline, and a server in use has one.
    while sql("SELECT coalesce(last_archived_wal, '') FROM pg_stat_archiver") < last:
        if time.monotonic() > deadline:
            why = sql("SELECT coalesce(last_failed_wal || ' failed at ' || last_failed_time, 'no attempt failed') FROM pg_stat_archiver")
            raise Refused(f"the WAL segment {last} was not archived within {ARCHIVED_WITHIN} s ({why})")
        time.sleep(0.2)


def tell(**result: Any) -> None:
    print(json.dumps(result), flush=True)


@contextlib.contextmanager
def recorded(verb: str, what: str) -> Iterator[dict[str, Any]]:
    """Record a run for status and audit; what is put into the yielded mapping is recorded as its result."""
    began, result, outcome = datetime.now(UTC), dict[str, Any](), "ok"
    try:
        yield result
    except BaseException as error:
        outcome, what = "failed", f"{what}: {' '.join(str(error).split())[:500]}"
        raise
    finally:
        seconds = round((datetime.now(UTC) - began).total_seconds(), 1)
        what = result.pop("what", what)
        line = {
            "when": stamp(began),
            "who": "timer",
            "verb": verb,
            "from": "",
            "to": "",
            "outcome": outcome,
            "seconds": seconds,
            "what": what,
        }
        with contextlib.suppress(OSError):
            if "JOB_DUE" in os.environ:  # else the command that asked for it writes the audit log
                kept = (RECORDS / AUDIT).read_text().splitlines()[-KEPT_LINES:] if (RECORDS / AUDIT).is_file() else []
                replace(RECORDS / AUDIT, "".join(f"{each}\n" for each in [*kept, json.dumps(line)]))
            state = json.loads((RECORDS / STATE).read_text()) if (RECORDS / STATE).is_file() else {}
            state[verb] = {"when": stamp(began), "outcome": outcome, "seconds": seconds, "what": what}
            with contextlib.suppress(Refused):
                found = information()
                state |= {"backups": backups_in(found), "archives": archives_in(found)}
            replace(RECORDS / STATE, json.dumps(state))


def replace(path: Path, text: str) -> None:
    scratch = path.with_name(f".{path.name}.new")
    scratch.write_text(text)
    scratch.rename(path)


# commands -------------------------------------------------------------------------------------------------------------


def prepare(first: str = "true") -> None:
    pgbackrest("--io-timeout=10", "stanza-create")
    pgbackrest("--io-timeout=10", "check")
    with_backup = {one["repository"] for one in backups_in(information())}
    missing = [number for number in repositories() if int(number) not in with_backup and first == "true"]
    if missing:
        # It may take hours, and nothing waits for it: process 1 takes care of it.
        program = sys.orig_argv[: -len(sys.argv[1:])] if sys.argv[1:] else sys.orig_argv
        # Its output is the container's: what it had of this command would keep that from ending.
        log = Path("/proc/1/fd/1") if os.access("/proc/1/fd/1", os.W_OK) else Path(os.devnull)
        with log.open("ab", buffering=0) as output:
            command = [*program, "backup", "full", "first"]
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    tell(repositories=len(repositories()), first=missing)


def backup(kind: str, why: str) -> None:
    with recorded("backup", f"{kind} backup") as result:
        failed = []
        # Each repository by itself: one that cannot be reached keeps no other from its backup.
        for number in repositories():
            try:
                pgbackrest(f"--type={kind}", f"--repo={number}", f"--annotation=why={why}", "backup")
            except Refused as error:
                failed.append(f"repository {number}: {error}")
        if failed:
            raise Refused("; ".join(failed))
        made = backups_in(information())[-len(repositories()) :]
        result["what"] = "; ".join(f"{one['type']} backup {one['label']} in repository {one['repository']}" for one in made)
    tell(made=made)


def check(database: str, query: str) -> None:
    with recorded("backup-check", "check") as result:
        began = time.monotonic()
        before = json.loads(sql(query, database))
        archive_all()
        found = recover("")
        try:
            # Every page has a checksum, and every row is read; indexes must have all rows.
            restored = json.loads(sql(query, database, RECOVERY))
            run("pg_amcheck", "-h", str(RECOVERY), "-U", "postgres", "--install-missing", "--heapallindexed", database)
        finally:
            discard()
        identical, wrong = compared(before, restored, json.loads(sql(query, database)))
        if wrong:
            raise Refused(f"{found['backup']} differs from the database in use: {wrong}")
        rows = sum(int(text.split()[0]) for text in restored.values())
        how = "identical with the database in use" if identical else "as in the database in use, which changed meanwhile"
        result["what"] = f"restored {found['backup']} and all WAL: {rows} rows in {len(restored)} tables, {how}"
        outcome = found | {"rows": rows, "tables": len(restored), "identical": identical, "seconds": round(time.monotonic() - began, 1)}
    tell(**outcome)


def recover(text: str, copies: str = "1") -> dict[str, Any]:
    at = moment(text) if text else None
    lock = take_lock()
    try:
        return _recover(at, lock, int(copies))
    except BaseException:
        discard()
        raise


def _recover(at: datetime | None, lock: IO[str], copies: int) -> dict[str, Any]:
    wipe()
    backup = chosen(backups_in(information()), at)
    free = shutil.disk_usage(RECOVERY).free
    # WAL is fetched segment by segment, and checkpoints remove it.
    need = backup["bytes"] * copies + SPARE
    if free < need:
        raise Refused(f"{need / 1e9:.1f} GB are needed to restore {backup['label']} beside the database, and {free / 1e9:.1f} GB are free")
    target = ["--type=default"]
    if at:
        target = ["--type=time", f"--target={at.strftime('%Y-%m-%d %H:%M:%S.%f')}+00", "--target-action=promote"]
    cluster = RECOVERY / "pgdata"
    cluster.mkdir(mode=0o700)
    where = [f"--repo={backup['repository']}", f"--set={backup['label']}", f"--pg1-path={cluster}"]
    began = time.monotonic()
    pgbackrest(*where, "--archive-mode=off", *target, "restore")
    found = information()
    reached = start(cluster, lock)
    if at is None:
        refuse_gap(archives_in(found), reached)
    return {
        "backup": backup["label"],
        "repository": backup["repository"],
        "bytes": backup["bytes"],
        "reached": stamp(reached) if reached else "",
        "seconds": round(time.monotonic() - began, 1),
    }


def take_lock() -> IO[str]:
    """One recovery at a time: the server inherits the lock."""
    lock = (RECOVERY / "lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Refused("another restore or backup check is running: try again when it has ended (make status)") from None
    return lock


def start(cluster: Path, lock: IO[str]) -> datetime | None:
    """Start a server and wait until it has recovered; returns when the last transaction was that it has. Raises Refused."""
    log = RECOVERY / "log"
    # A standby that serves would need the settings of the server in use.
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(RECOVERY),
        "hot_standby": "off",
        "archive_mode": "off",
        "fsync": "off",
        "log_timezone": "UTC",
        "hba_file": str(RECOVERY / "hba"),
        "ident_file": str(cluster / "pg_ident.conf"),
        "ssl": "off",
    }
    (RECOVERY / "hba").write_text("local all postgres peer\n")
    command = ["postgres", "-D", str(cluster), *(word for name, value in settings.items() for word in ("-c", f"{name}={value}"))]
    with log.open("wb") as output:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, pass_fds=[lock.fileno()]
        )
    while True:
        ended = server.poll()
        if ended is not None:
            text = log.read_text(errors="replace")
            found = REACHED.findall(text)
            reached = log_moment(found[-1]) if found else None
            last = [line for line in text.splitlines() if "FATAL" in line or "PANIC" in line]
            more = {"reached": stamp(reached) if reached else ""}
            raise Refused(f"the server did not recover: {(last or text.splitlines() or ['no log'])[-1][-400:]}", **more)
        with contextlib.suppress(Refused):
            if sql("SELECT pg_is_in_recovery()", socket=RECOVERY) == "f":
                break
        time.sleep(0.3)
    found = REACHED.findall(log.read_text(errors="replace"))
    return log_moment(found[-1]) if found else None


def refuse_gap(archives: list[dict[str, Any]], reached: datetime | None) -> None:
    """Refuse a recovery to the end that stopped before the last WAL segment: one in between is missing."""
    last = max((one["last"] for one in archives if one["last"]), default="")
    if last and replayed((RECOVERY / "log").read_text(errors="replace")) < segment(last):
        raise Refused(
            f"WAL is missing in the repositories: their last segment {last} cannot be reached", reached=stamp(reached) if reached else ""
        )


def copy(source: str, target: str) -> None:
    """Stream a database of the recovered server into one of the server in use."""
    with subprocess.Popen(
        ["pg_dump", "-h", str(RECOVERY), "-U", "postgres", "-Fc", "-Z0", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as dump:
        done = subprocess.run(
            ["pg_restore", "-h", str(DATA), "-U", "postgres", "--exit-on-error", "-d", target],
            stdin=dump.stdout,
            capture_output=True,
            check=False,
        )
        if dump.stdout:  # so that pg_dump ends where pg_restore has
            dump.stdout.close()
        errors = dump.stderr.read() if dump.stderr else b""
    if done.returncode or dump.returncode:
        raise Refused(f"{source} could not be copied: {(done.stderr + errors).decode(errors='replace').strip()[-800:]}")


def wipe() -> None:
    for path in RECOVERY.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != "lock":
            path.unlink()


def discard() -> None:
    """Stop the recovered server, and remove what was restored."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError, IndexError):
        pid = int((RECOVERY / "pgdata" / "postmaster.pid").read_text().splitlines()[0])
        if b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGQUIT)
            deadline = time.monotonic() + STOP
            while time.monotonic() < deadline and b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes():
                time.sleep(0.1)
    wipe()


def main() -> int:
    command, *words = sys.argv[1:]
    try:
        if command == "prepare":
            prepare(*words)
        elif command == "backup":
            backup(*words)
        elif command == "check":
            check(*words)
        elif command == "recover":
            tell(**recover(*words))
        elif command == "archive":
            archive_all()
            tell()
        elif command == "copy":
            copy(*words)
            tell()
        elif command == "discard":
            discard()
            tell()
        elif command == "information":
            found = information()
            tell(backups=backups_in(found), archives=archives_in(found))
        else:
            raise Refused(f"there is no command {command}")
    except (Refused, OSError, ValueError) as error:
        tell(error=str(error), **getattr(error, "more", {}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
