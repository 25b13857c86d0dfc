"""The state of a stack on its host: manifests, the active release, the pending operation, locks, the audit log.

All of it is in the state directory (`/var/lib/<stack>`):

- `releases/<release>.json`: the manifest, all that is needed to run the release again; `<release>.<service>-migration.log` beside it
- `current`: the name of the active release
- `pending.json`: the unfinished operation, which the next run continues
- `schema.json`: the database's revision, and the images and commands that migrated it
- `state.json`: what builds and deployments were made from and left, and the infrastructure that releases depend on (record.py)
- `lock`: the run that works on the stack, until when; `lock.<command>`: of a command that may run beside others;
  `lock.begun`: the run that builds images, which blocks no other
- `jobs/release/current`: the release whose jobs run; `jobs/runs/JOB.json`: the record of a job's runs, by its scheduler
- `audit.jsonl`: one line for each command: ok, failed, refused or interrupted; none for a command without changes

Files are replaced atomically, never written in place.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .interrupts import Interrupted
from .record import Record

# The release's name in a manifest that has none yet: the name depends on the content.
PLACEHOLDER = "@release@"
# A bill of materials or a log beside a manifest: RELEASE.SERVICE.cdx.json, RELEASE.SERVICE-migration.log.
ATTACHED = re.compile(r"(.+)\.[^.]+\.(?:cdx\.json|log)")
# Keys that are not part of a release's identity. Services are those of the infrastructure, which has its own.
VOLATILE = ("version", "released", "by", "previous", "fingerprint", "services")


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write(path: Path, text: str, mode: int) -> None:
    """Replace a file atomically; it is synced to disk before it gets its name."""
    scratch = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(scratch, mode)
    scratch.rename(path)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is none."""
    content: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return content


def fingerprint(manifest: dict[str, Any]) -> str:
    """Hash over the identity of a release."""
    lasting = {key: value for key, value in manifest.items() if key not in VOLATILE}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()


def with_name(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    """The manifest with the placeholder replaced by its name."""
    result: dict[str, Any] = json.loads(json.dumps(manifest).replace(PLACEHOLDER, name))
    return result


class Store:
    """The state directory of one stack on this host."""

    def __init__(self, directory: str | Path) -> None:
        self.root = Path(directory)
        self.folder = self.root / "releases"
        self.state = Record(self.root)

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.chmod(self.root, 0o711)

    # releases ---------------------------------------------------------------------------------------------------------

    @property
    def current(self) -> str:
        path = self.root / "current"
        return path.read_text().strip() if path.is_file() else ""

    def manifest(self, release: str) -> dict[str, Any]:
        """A release's manifest; empty where there is none."""
        path = self.folder / f"{release}.json"
        valid = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", release)
        return read_json(path) if valid else {}

    def releases(self) -> list[dict[str, Any]]:
        """All manifests, newest first."""
        # The directory also holds each release's bills of materials.
        paths = [path for path in self.folder.glob("[!.]*.json") if not path.name.endswith(".cdx.json")]
        return sorted((json.loads(path.read_text()) for path in paths), key=lambda m: (m.get("released", ""), m["version"]), reverse=True)

    @property
    def previous(self) -> str:
        """The release to roll back to: the one that was active before the current one was deployed, or, where that is removed, the newest
        that is older than the current one."""
        current = self.manifest(self.current)
        recorded = str(current.get("previous", ""))
        if not recorded or self.manifest(recorded):
            return recorded
        older = [m for m in self.releases() if m["version"] != self.current and m.get("released", "") < current.get("released", "")]
        return str(max(older, key=lambda m: m.get("released", ""))["version"]) if older else ""

    def name(self, manifest: dict[str, Any], fleet_release: str = "") -> str:
        """The name of a release with this content: the images' version; where that is in use, with -r2, -r3, ...

        `fleet_release` is its name on another host; preferred where it is unused here or names the same content.
        """
        base, identity = str(manifest["image_version"]), fingerprint(manifest)
        if self.manifest(self.current).get("fingerprint") == identity:
            return self.current
        if fleet_release and self.manifest(fleet_release).get("fingerprint", identity) == identity:
            return fleet_release
        candidates = itertools.chain([base], (f"{base}-r{number}" for number in itertools.count(2)))
        return next(name for name in candidates if not (found := self.manifest(name)) or found.get("fingerprint") == identity)

    def record(self, manifest: dict[str, Any]) -> None:
        """Record a manifest and make its release the current one."""
        self.prepare()
        write(self.folder / f"{manifest['version']}.json", json.dumps(manifest, indent=2) + "\n", 0o600)
        write(self.root / "current", manifest["version"] + "\n", 0o644)

    def forget(self, release: str) -> None:
        """Remove a manifest, and the bills of materials and logs of its release."""
        (self.folder / f"{release}.json").unlink(missing_ok=True)
        for path in self.folder.glob("*"):
            if (found := ATTACHED.fullmatch(path.name)) and found[1] == release:
                path.unlink(missing_ok=True)

    def migration_log(self, release: str, service: str, kind: str = "migration") -> Path:
        """The file of a migration's log; creates its directory."""
        self.prepare()
        return self.folder / f"{release}.{service}-{kind}.log"

    def forget_logs(self) -> None:
        """Remove the logs of releases that failed."""
        known = {manifest["version"] for manifest in self.releases()}
        for path in self.folder.glob("*.log"):
            if (found := ATTACHED.fullmatch(path.name)) and found[1] not in known:
                path.unlink(missing_ok=True)

    # the pending operation and the database ---------------------------------------------------------------------------

    def note(self, name: str) -> dict[str, Any]:
        """The content of a JSON file; empty where there is none."""
        return read_json(self.root / name)

    @property
    def pending(self) -> dict[str, Any]:
        """{verb, from, to, since} of an operation that did not finish."""
        return self.note("pending.json")

    def begin_operation(self, verb: str, before: str, after: str) -> None:
        self.prepare()
        write(self.root / "pending.json", json.dumps({"verb": verb, "from": before, "to": after, "since": now()}) + "\n", 0o644)

    def end(self) -> None:
        (self.root / "pending.json").unlink(missing_ok=True)

    @property
    def schema(self) -> dict[str, Any]:
        """{migrated: {service: image id}, commands: {service: command}, database: its identity, and of the backend heads and revisions}."""
        return self.note("schema.json")

    def record_schema(self, schema: dict[str, Any]) -> None:
        self.prepare()
        write(self.root / "schema.json", json.dumps(schema, indent=2) + "\n", 0o644)

    # infrastructure ---------------------------------------------------------------------------------------------------

    @property
    def infrastructure(self) -> dict[str, dict[str, Any]]:
        """{networks, volumes, containers: {name: its spec}, edge: {spec, volumes}} as the last deploy reconciled it."""
        return {"networks": {}, "volumes": {}, "containers": {}, "edge": {}} | self.state.section("infrastructure")

    @property
    def containers(self) -> set[str]:
        """Names of all recorded containers, of releases and infrastructure."""
        names = set(self.infrastructure["containers"]) | {(self.infrastructure["edge"].get("spec") or {}).get("name", "")}
        for manifest in self.releases():
            infrastructure = manifest.get("around") or {}
            names |= {spec["name"] for spec in manifest.get("containers") or []}
            names |= {step["container"]["name"] for step in manifest.get("migrations") or []}
            names |= {(infrastructure.get(part) or {}).get("container", "") for part in ("edge", "database")}
        return names - {""}

    def record_infrastructure(self, **kinds: dict[str, Any]) -> None:
        """Add to the recorded infrastructure; a spec of None removes an entry."""
        recorded = self.infrastructure
        for kind, specs in kinds.items():
            recorded[kind] = {name: spec for name, spec in (recorded[kind] | specs).items() if spec is not None}
        if recorded != self.infrastructure:
            self.prepare()
            self.state.keep("infrastructure", recorded)

    # audit log --------------------------------------------------------------------------------------------------------

    def audit(self, **line: Any) -> None:
        self.prepare()
        path = self.root / "audit.jsonl"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640), "w") as file:
            file.write(json.dumps({"when": now(), **line}) + "\n")

    def audit_log(self, lines: int = 50) -> list[dict[str, Any]]:
        path = self.root / "audit.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()[-lines:]] if path.is_file() else []

    @property
    def holders(self) -> list[dict[str, Any]]:
        """The holders of locks, each with the lock's `name` and the audit `line` for the case that its run has ended."""
        names = sorted(path.name for path in self.root.glob("lock*") if re.fullmatch(r"lock(\.[a-z-]+)?", path.name))
        found = [held | {"name": name.removeprefix("lock").lstrip(".")} for name in names if (held := self.note(name))]
        runs = {(held["host"], held["pid"], held["started"]): held for held in reversed(found)}
        return [held | {"line": {"when": held["since"], **self.interrupted(held)}} for held in reversed(runs.values())]

    def interrupted(self, held: dict[str, Any]) -> dict[str, Any]:
        """The audit line of a run that ended while it held a lock."""
        since = f"the run that started {held['since']} ended before it was finished"
        line = {"who": f"{held['owner']}@{held['host']}", "verb": held["verb"], "what": since, "from": self.current}
        return line | {"to": self.pending.get("to") or self.current, "outcome": "interrupted", "seconds": 0.0}


def audit_outcome(error: BaseException, actions: list[str]) -> str:
    """The outcome of a command that ended with `error`: interrupted, refused where nothing had been changed yet, or failed."""
    if isinstance(error, Interrupted) or isinstance(error.__cause__, Interrupted):
        return "interrupted"
    return "refused" if isinstance(error, (Failed, Locked)) and not actions else "failed"


class Failed(Exception):
    """The operation was refused or failed; the message says why, what is active, and what to type."""


class Locked(Exception):
    """Another run holds the lock; `holder` is its record."""

    def __init__(self, holder: dict[str, Any]) -> None:
        self.holder = holder
        super().__init__(
            f"{holder['owner']} on {holder['host']} (process {holder['pid']}) has held the lock since {holder['since']}, "
            f"for {holder['verb']}{': ' + holder['reason'] if holder.get('reason') else ''}; it expires at {holder['expires']}. "
            "Wait for it (LOCK_WAIT=300 makes a run wait), or, if you know that the run has ended: make unlock"
        )


class Lock:
    """One run at a time. `who` is {owner, host, pid, started}: a run of a playbook, on its controller.

    The file `lock` names its holder; it spans all modules of a run and expires. A module that works holds a kernel lock too (flock on
    `.working`): where a run is killed, its last module runs to its end, and the next run waits for that.
    """

    def __init__(self, store: Store, who: dict[str, Any], name: str = "") -> None:
        """`name`: of the lock of a command that may run beside others; empty for the stack's own lock."""
        self.store, self.who = store, who
        self.path = store.root / (f"lock.{name}" if name else "lock")

    @property
    def run_id(self) -> dict[str, Any]:
        return {key: self.who[key] for key in ("host", "pid", "started")}

    def announce(self, verb: str) -> None:
        """Record this run before it needs the lock: if it is interrupted, the next run writes that into the audit log."""
        if self.store.root.is_dir():
            note = self.who | {"verb": verb, "since": now(), "began": time.time(), "expires": now(), "token": secrets.token_hex(8)}
            write(self.store.root / "lock.begun", json.dumps(note) + "\n", 0o644)

    def withdraw(self, held: dict[str, Any]) -> None:
        """Remove the record of announce()."""
        begun = self.store.note("lock.begun")
        if begun and all(begun[key] == held.get(key) for key in self.run_id):
            (self.store.root / "lock.begun").unlink(missing_ok=True)

    def holder(self) -> dict[str, Any]:
        """The current holder; empty where the lock is free or expired."""
        held = self.store.note(self.path.name)
        return held if held and held["expires"] > now() else {}

    def is_own(self, held: dict[str, Any]) -> bool:
        return all(held.get(key) == value for key, value in self.run_id.items())

    def acquire(self, verb: str, reason: str = "", seconds: int = 3600, wait: float = 0, dead: str = "") -> str:
        """Take the lock; the run whose token is `dead` has ended. Returns whose lock was taken over, empty for nobody's.

        The interruption of that run is written into the audit log.
        """
        deadline = time.monotonic() + wait
        self.store.prepare()
        while True:
            with self.exclusive():
                held, expired = self.holder(), self.store.note(self.path.name)
                own = bool(held) and self.is_own(held)
                if not held or own or held["token"] == dead:
                    note = self.who | {
                        "verb": verb,
                        "reason": reason,
                        "since": held["since"] if own else now(),
                        "began": held["began"] if own else time.time(),
                        "expires": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds)),
                        "token": held["token"] if own else secrets.token_hex(8),
                    }
                    if expired and not own and not self.is_own(expired):
                        self.store.audit(**self.store.interrupted(expired))
                        self.withdraw(expired)
                    write(self.path, json.dumps(note) + "\n", 0o644)
                    if not expired or own:
                        return ""
                    return f"{expired['owner']} on {expired['host']} ({expired['verb']} since {expired['since']})"
            if time.monotonic() > deadline:
                raise Locked(held)
            time.sleep(0.5)

    def release(self) -> float:
        """Release the lock if it is held by this run; returns for how many seconds it was held."""
        self.withdraw(self.who)
        held = self.store.note(self.path.name)
        if not held or not self.is_own(held):
            return 0.0
        self.path.unlink(missing_ok=True)
        return round(time.time() - float(held["began"]), 1)

    def force_release(self) -> dict[str, Any]:
        """Release the lock of any run, which the audit log gets as interrupted; returns its record."""
        held = self.store.note(self.path.name)
        if held:
            self.store.audit(**self.store.interrupted(held))
            self.withdraw(held)
        self.path.unlink(missing_ok=True)
        return held

    def finish(self, verb: str, outcome: str, what: str = "", before: str | None = None, to: str | None = None) -> None:
        """Release the lock if it is held by this run, and write the run's line into the audit log.

        A host without a state directory of the stack does not get one.
        """
        if not self.store.root.is_dir():
            return
        release = self.store.current
        line = {"who": f"{self.who['owner']}@{self.who['host']}", "verb": verb, "what": what}
        line |= {"from": release if before is None else before, "to": release if to is None else to, "outcome": outcome}
        seconds = self.release()
        self.store.audit(**line, seconds=0.0 if outcome == "interrupted" else seconds)
        write(self.store.root / ".recorded", json.dumps(self.run_id | {"outcome": outcome}) + "\n", 0o600)

    @property
    def recorded_outcome(self) -> str:
        """The outcome that the audit log has of this run; empty for none."""
        last = self.store.note(".recorded")
        return str(last["outcome"]) if last and self.is_own(last) else ""

    @contextmanager
    def exclusive(self, patience: float = 300) -> Iterator[None]:
        """Hold the kernel lock; waits for the module of a run that was killed."""
        self.store.prepare()
        with open(self.store.root / ".working", "w") as file:
            deadline = time.monotonic() + patience
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise Locked(self.store.note(self.path.name) or self.who | {"since": "?", "verb": "?", "expires": "?"}) from None
                    time.sleep(0.1)
            yield
