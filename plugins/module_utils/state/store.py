"""What a host remembers of its releases: manifests, which one serves, what is under way, who works on it, who did what.

Everything lies below one state directory (`/var/lib/<stack>`):

- `releases/<release>.json`: the manifest, all that is needed to run the release again
- `current`: the name of the release that serves
- `pending.json`: what an unfinished verb was about to do; the next run takes it up
- `schema.json`: the revision that the database is at
- `lock`: who works on the stack, and until when; `lock.<command>`: the same for a command that others may run beside;
  `lock.begun`: who builds for it, which hinders nobody
- `audit.jsonl`: one line for each command: ok, failed, refused or interrupted; none for one that found nothing to do

Files are replaced whole, never written in place.
"""

from __future__ import annotations

import fcntl
import hashlib
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

# Stands for the release's name in a manifest that has none yet: the name follows from the content.
PLACEHOLDER = "@release@"
# What does not make a release another one: when and by whom it was made, and what it was made after.
VOLATILE = ("version", "released", "by", "previous", "fingerprint")


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def write(path: Path, text: str, mode: int) -> None:
    """Replace a file whole, on disk before it gets its name."""
    scratch = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(scratch, mode)
    scratch.rename(path)


def fingerprint(manifest: dict[str, Any]) -> str:
    """Hash over what makes a release what it is."""
    lasting = {key: value for key, value in manifest.items() if key not in VOLATILE}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()


def with_name(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    """The manifest with its name in all places that wait for it."""
    return json.loads(json.dumps(manifest).replace(PLACEHOLDER, name))


class Store:
    """The state directory of one stack on this host."""

    def __init__(self, directory: str | Path) -> None:
        self.root = Path(directory)
        self.folder = self.root / "releases"

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.chmod(self.root, 0o711)

    # what serves ------------------------------------------------------------------------------------------------------

    @property
    def current(self) -> str:
        path = self.root / "current"
        return path.read_text().strip() if path.is_file() else ""

    def manifest(self, release: str) -> dict[str, Any]:
        """A release's manifest; empty where there is none."""
        path = self.folder / f"{release}.json"
        known = re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", release) and path.is_file()
        return json.loads(path.read_text()) if known else {}

    def releases(self) -> list[dict[str, Any]]:
        """All manifests, the last released first."""
        # A release's bills of materials lie beside its manifest.
        paths = [path for path in self.folder.glob("[!.]*.json") if not path.name.endswith(".cdx.json")]
        return sorted((json.loads(path.read_text()) for path in paths), key=lambda m: (m.get("released", ""), m["version"]), reverse=True)

    @property
    def previous(self) -> str:
        """The release to go back to: the one that served before the current one was deployed; where that was retired since, the newest that
        is older than the current one."""
        current = self.manifest(self.current)
        noted = current.get("previous", "")
        if not noted or self.manifest(noted):
            return noted
        older = [m for m in self.releases() if m["version"] != self.current and m.get("released", "") < current.get("released", "")]
        return max(older, key=lambda m: m.get("released", ""))["version"] if older else ""

    def name(self, manifest: dict[str, Any], elsewhere: str = "") -> str:
        """The name of a release with this content: that of the images' version; where it is taken, with -r2, -r3, ...

        `elsewhere` is its name on another host; where it is free here, or names the same, it is taken.
        """
        base, wanted, number = manifest["image_version"], fingerprint(manifest), 1
        if self.manifest(self.current).get("fingerprint") == wanted:
            return self.current
        if elsewhere and self.manifest(elsewhere).get("fingerprint", wanted) == wanted:
            return elsewhere
        while True:
            candidate = base if number == 1 else f"{base}-r{number}"
            there = self.manifest(candidate)
            if not there or there.get("fingerprint") == wanted:
                return candidate
            number += 1

    def record(self, manifest: dict[str, Any]) -> None:
        """Keep a manifest and let its release be the current one."""
        self.prepare()
        write(self.folder / f"{manifest['version']}.json", json.dumps(manifest, indent=2) + "\n", 0o600)
        write(self.root / "current", manifest["version"] + "\n", 0o644)

    def forget(self, release: str) -> None:
        """Remove a manifest and what lies beside it."""
        for path in [self.folder / f"{release}.json", *self.folder.glob(f"{release}.*.cdx.json")]:
            path.unlink(missing_ok=True)

    # what is under way, and where the database is ---------------------------------------------------------------------

    def note(self, name: str) -> dict[str, Any]:
        """What a file of notes says; empty where there is none."""
        path = self.root / name
        return json.loads(path.read_text()) if path.is_file() else {}

    @property
    def pending(self) -> dict[str, Any]:
        """{verb, from, to, since} of a verb that did not come to its end."""
        return self.note("pending.json")

    def begin_operation(self, verb: str, before: str, after: str) -> None:
        self.prepare()
        write(self.root / "pending.json", json.dumps({"verb": verb, "from": before, "to": after, "since": now()}) + "\n", 0o644)

    def end(self) -> None:
        (self.root / "pending.json").unlink(missing_ok=True)

    @property
    def schema(self) -> dict[str, Any]:
        """What the database was brought to: {migrated: {service: image id}, and, for the backend, heads and revisions}."""
        return self.note("schema.json")

    def record_schema(self, schema: dict[str, Any]) -> None:
        self.prepare()
        write(self.root / "schema.json", json.dumps(schema, indent=2) + "\n", 0o644)

    # what the releases stand on ---------------------------------------------------------------------------------------

    @property
    def infrastructure(self) -> dict[str, dict[str, Any]]:
        """As the last look at everything left it: {networks, volumes, containers: {name: its spec}, edge: {spec, volumes}}."""
        return {"networks": {}, "volumes": {}, "containers": {}, "edge": {}} | self.note("foundation.json")

    @property
    def containers(self) -> set[str]:
        """Names of all containers that releases, and what they stand on, have or had here."""
        names = set(self.infrastructure["containers"]) | {(self.infrastructure["edge"].get("spec") or {}).get("name", "")}
        for manifest in self.releases():
            around = manifest.get("around") or {}
            names |= {spec["name"] for spec in manifest.get("containers") or []}
            names |= {one["container"]["name"] for one in manifest.get("migrations") or []}
            names |= {(around.get(part) or {}).get("container", "") for part in ("edge", "database")}
        return names - {""}

    def record_infrastructure(self, **kinds: dict[str, Any]) -> None:
        """Remember more of it; what is None there stands there no longer."""
        known = self.infrastructure
        for kind, with_name in kinds.items():
            known[kind] = {name: spec for name, spec in (known[kind] | with_name).items() if spec is not None}
        if known != self.infrastructure:
            self.prepare()
            write(self.root / "foundation.json", json.dumps(known, indent=2) + "\n", 0o600)

    # who did what -----------------------------------------------------------------------------------------------------

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
        """Who works on this stack, each with the `name` of the lock and the `line` that the audit gets if that run has ended."""
        with_name = sorted(path.name for path in self.root.glob("lock*") if re.fullmatch(r"lock(\.[a-z-]+)?", path.name))
        found = [held | {"name": name.removeprefix("lock").lstrip(".")} for name in with_name if (held := self.note(name))]
        runs = {(held["host"], held["pid"], held["started"]): held for held in reversed(found)}
        return [held | {"line": {"when": held["since"], **self.interrupted(held)}} for held in reversed(runs.values())]

    def interrupted(self, held: dict[str, Any]) -> dict[str, Any]:
        """The line of the audit for a run that ended while it held a lock."""
        since = f"the run that began {held['since']} ended before its work was done"
        line = {"who": f"{held['owner']}@{held['host']}", "verb": held["verb"], "what": since, "from": self.current}
        return line | {"to": self.pending.get("to") or self.current, "outcome": "interrupted", "seconds": 0.0}


def audit_outcome(error: BaseException, actions: list[str]) -> str:
    """What the audit calls a command that ended with `error`: interrupted, or refused where nothing had been done yet."""
    if isinstance(error, Interrupted) or isinstance(error.__cause__, Interrupted):
        return "interrupted"
    return "refused" if isinstance(error, (Failed, Locked)) and not actions else "failed"


class Failed(Exception):
    """The release does not serve; the message says why, and what serves instead."""


class Locked(Exception):
    """Somebody else works on the stack; `holder` says who."""

    def __init__(self, holder: dict[str, Any]) -> None:
        self.holder = holder
        super().__init__(
            f"{holder['owner']} on {holder['host']} (process {holder['pid']}) has held the lock since {holder['since']}, "
            f"for {holder['verb']}{': ' + holder['reason'] if holder.get('reason') else ''}; it expires at {holder['expires']}. "
            "Wait for it (LOCK_WAIT=300 makes a run wait), or, if you know that it is dead: make unlock"
        )


class Lock:
    """One worker at a time. `who` is {owner, host, pid, started}: a run of a playbook, on its controller.

    Who holds it is told by the file `lock`, which outlives a module's run and expires. That a module works right now is told by
    the kernel (flock on `.working`): where a run was killed, its last module goes on to its end, and the next run waits for that.
    """

    def __init__(self, store: Store, who: dict[str, Any], name: str = "") -> None:
        """`name`: of the lock of a command that others may run beside; empty for the stack's own."""
        self.store, self.who = store, who
        self.path = store.root / (f"lock.{name}" if name else "lock")

    @property
    def run_id(self) -> dict[str, Any]:
        return {key: self.who[key] for key in ("host", "pid", "started")}

    def announce(self, verb: str) -> None:
        """Say that this run works for the stack, before it needs the lock: should it be interrupted, the next one writes that down."""
        if self.store.root.is_dir():
            note = self.who | {"verb": verb, "since": now(), "began": time.time(), "expires": now(), "token": secrets.token_hex(8)}
            write(self.store.root / "lock.begun", json.dumps(note) + "\n", 0o644)

    def withdraw(self, held: dict[str, Any]) -> None:
        """Remove what a run has announced."""
        begun = self.store.note("lock.begun")
        if begun and all(begun[key] == held.get(key) for key in self.run_id):
            (self.store.root / "lock.begun").unlink(missing_ok=True)

    def holder(self) -> dict[str, Any]:
        """Who holds it now; empty where nobody does or the time is over."""
        held = self.store.note(self.path.name)
        return held if held and held["expires"] > now() else {}

    def is_own(self, held: dict[str, Any]) -> bool:
        return all(held.get(key) == value for key, value in self.run_id.items())

    def acquire(self, verb: str, reason: str = "", seconds: int = 3600, wait: float = 0, dead: str = "") -> str:
        """Hold the lock; a holder whose token is `dead` has gone. Returns whose lock was taken over, empty for nobody's.

        That the holder's run was interrupted is written into the audit, since that run cannot do it any more.
        """
        deadline = time.monotonic() + wait
        self.store.prepare()
        while True:
            with self.exclusive():
                held, over = self.holder(), self.store.note(self.path.name)
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
                    if over and not own and not self.is_own(over):
                        self.store.audit(**self.store.interrupted(over))
                        self.withdraw(over)
                    write(self.path, json.dumps(note) + "\n", 0o644)
                    return f"{over['owner']} on {over['host']} ({over['verb']} since {over['since']})" if over and not own else ""
            if time.monotonic() > deadline:
                raise Locked(held)
            time.sleep(0.5)

    def release(self) -> float:
        """Give it back if it is ours; the seconds that it was held."""
        self.withdraw(self.who)
        held = self.store.note(self.path.name)
        if not held or not self.is_own(held):
            return 0.0
        self.path.unlink(missing_ok=True)
        return round(time.time() - held["began"], 1)

    def force_release(self) -> dict[str, Any]:
        """Take it away from whoever holds it, whose run is written down as interrupted; who that was."""
        held = self.store.note(self.path.name)
        if held:
            self.store.audit(**self.store.interrupted(held))
            self.withdraw(held)
        self.path.unlink(missing_ok=True)
        return held

    def finish(self, verb: str, outcome: str, what: str = "", before: str | None = None, to: str | None = None) -> None:
        """Give the lock back if it is ours, and write down what became of this run: the one place where a command gets its line.

        A host that has no state of the stack gets none by that: what failed there left nothing to go on with.
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
        """The outcome that this run has in the audit by now; empty for none."""
        last = self.store.note(".recorded")
        return last["outcome"] if last and self.is_own(last) else ""

    @contextmanager
    def exclusive(self, patience: float = 300) -> Iterator[None]:
        """While a module works on the stack; waits for the module of a run that was killed."""
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
