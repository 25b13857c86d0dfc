"""Let another release serve: started beside the one that does, checked, given the traffic, watched; the other one drained.

Deploy and rollback are the same act on a manifest (see module_utils/releases.py); they differ in where the manifest comes from.
At every moment of it the edge points to a pair that is up. It asks the name of a file which one that is, so that the switch is a new
file; the edge is reloaded only where the routes themselves differ.
"""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import secrets
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.module_utils.container_spec import SpecError
from ansible.module_utils.engine import Engine, EngineError, names_of
from ansible.module_utils.releases import Lock, Store, write
from ansible.module_utils.stack import Stack, Unhealthy

# Until requests that had chosen the old release have reached it: the edge dials within this.
SETTLE = 0.3


class Failed(Exception):
    """The release does not serve; the message says why, and what serves instead."""


# What stands for itself in a Caddyfile that asks the name of a file which release serves (role edge).
ROUTES = "@routes@"


def routes(edge: dict[str, Any]) -> tuple[str, str]:
    """The Caddyfile of a release, and how the file begins that tells it who serves; empty where it names its upstreams itself."""
    text = edge["caddyfile"]
    if ROUTES not in text:
        return text, ""
    mark = hashlib.sha256(text.encode()).hexdigest()[:12]
    return text.replace(ROUTES, mark), mark


def ask(engine: Engine, container: str, port: int, path: str) -> tuple[int, str]:
    """(status, why) of a GET to a container's own address: from the host, or, where the host has no way there, from inside."""
    networks = engine.call("GET", f"/containers/{container}/json")["NetworkSettings"]["Networks"]
    address = next((n["IPAddress"] for n in networks.values() if n.get("IPAddress")), "")
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": "localhost", "User-Agent": "berth-smoke-check"})
        answer = connection.getresponse()
        return answer.status, answer.read(500).decode(errors="replace")
    except (TimeoutError, ConnectionRefusedError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__
    except OSError:
        status, said = engine.execute(container, ["healthcheck", str(port), path], timeout=20)
        return (200 if status == 0 else 500), said
    finally:
        connection.close()


class Problem(str):
    """What is wrong, in words that begin with the container; empty when nothing is. `later`: it asked for time (503, no answer yet)."""

    later = False


class Switch:
    """One act on one host. `wanted` holds the module's options."""

    def __init__(self, engine: Engine, store: Store, wanted: dict[str, Any], check: bool) -> None:
        self.engine, self.store, self.wanted, self.check = engine, store, wanted, check
        self.stack = Stack(engine, wanted["labels"], check)

    @property
    def edge(self) -> str:
        return self.wanted["edge"]["container"]

    @property
    def caddyfile(self) -> Path:
        return Path(self.wanted["edge"]["directory"]) / "config" / "Caddyfile"

    @property
    def serving(self) -> Path:
        """The directory of the file whose name says which release serves."""
        return self.caddyfile.parent / "serving"

    def did(self, action: str, **diff: str) -> bool:
        return self.stack.did(action, **diff)

    # the whole act ----------------------------------------------------------------------------------------------------

    def to(
        self, target: dict[str, Any], migrate: Callable[[], None] | None = None, before_switch: Callable[[], None] | None = None
    ) -> bool:
        """Let `target` serve. True when something had to be done. Raises Failed, with what served before serving on."""
        before = self.store.manifest(self.store.current)
        other = before if before.get("version") != target["version"] else {}
        for network in target.get("networks") or []:
            # In check mode those that the release stands on are planned already, and not there.
            planned = f"create network {network['name']}" in self.stack.actions
            if not planned and self.engine.find(f"/networks/{network['name']}") is None:
                self.stack.network(network)
        self.resumed = bool(self.store.pending)
        if not self.check and (other or self.store.pending):
            self.store.begin(self.wanted["verb"], before.get("version", ""), target["version"])
        phase = self.stack.phase
        if migrate:
            with phase("migrate"):
                migrate()
        with phase("start"):
            self._start(target, other)
        with phase("smoke"):
            self._smoke(target, other)
        if before_switch:
            before_switch()
        # Watched as far as there is another release to go back to.
        with phase("switch"):
            switched = self._route(target, other, watched=bool(other and self.wanted["observe"]))
        if switched and other:
            with phase("observe"):
                self._observe(target, other)
        self._point(target)
        return bool(self.stack.actions) or bool(other)

    # the new one ------------------------------------------------------------------------------------------------------

    def _start(self, target: dict[str, Any], other: dict[str, Any]) -> None:
        names = [spec["name"] for spec in target["containers"]]
        try:
            for spec in target["containers"]:
                self.stack.container(spec)
            if not self.check:
                self.stack.wait(names, self.wanted["wait"])
        except (Unhealthy, SpecError, EngineError) as error:
            raise Failed(self._give_up(target, other, str(error))) from error

    def _smoke(self, target: dict[str, Any], other: dict[str, Any]) -> None:
        """Ask the new containers themselves what users will ask; only where something of them is new."""
        if self.check or not (other or self.stack.created):
            return
        began = time.monotonic()
        # What asks for time has as much as a container has to become healthy; what is broken stays so.
        while (problem := self._asked(target)) and time.monotonic() - began < self.wanted["wait" if problem.later else "smoke_wait"]:
            time.sleep(0.2)
        if problem:
            raise Failed(self._give_up(target, other, f"{problem}\n{self._last_lines(problem.split(' ')[0])}"))

    def _asked(self, target: dict[str, Any]) -> Problem:
        """The first smoke check that fails."""
        by_service = {spec["labels"]["berth.service"]: spec["name"] for spec in target["containers"]}
        asked = [(by_service[one["service"]], one) for one in self.wanted["smoke"] if one["service"] in by_service]
        with ThreadPoolExecutor(max_workers=8) as pool:
            answers = list(pool.map(lambda pair: ask(self.engine, pair[0], int(pair[1]["port"]), pair[1]["path"]), asked))
        for (name, one), (status, said) in zip(asked, answers, strict=True):
            fine = status in one["status"] if one.get("status") else 0 < status < 500
            if not fine:
                wanted = ", ".join(map(str, one["status"])) if one.get("status") else "an answer below 500"
                said = f"{status or 'no answer'} {said.strip()[:300]}".strip()
                problem = Problem(f"{name} failed its smoke check GET {one['path']} on port {one['port']}: {said}; {wanted} was wanted")
                problem.later = status in (0, 503)
                return problem
        return Problem()

    def _last_lines(self, name: str) -> str:
        return f"last lines of its log:\n{self.engine.logs(name, 20)}" if self.engine.find(f"/containers/{name}/json") else ""

    def _give_up(self, target: dict[str, Any], other: dict[str, Any], why: str) -> str:
        """Remove what this run started, unless it is what serves; the message for a person."""
        if other or not self.store.current:
            for spec in target["containers"]:
                self.engine.find(f"/containers/{spec['name']}/json") and self.engine.call(
                    "DELETE", f"/containers/{spec['name']}", {"force": "true", "v": "true"}
                )
            self.store.end()
        serves = f"{other['version']} serves on" if other else "nothing served before" if not self.store.current else "it is what serves"
        return f"release {target['version']} did not get traffic ({serves}):\n{why}"

    # the edge ---------------------------------------------------------------------------------------------------------

    def _route(self, release: dict[str, Any], other: dict[str, Any], watched: bool = False) -> bool:
        """Point the edge to the release; True when it was done. `watched`: the other one gets what it refuses."""
        text, mark = routes(release["edge"])
        was, serves = self.caddyfile.read_text() if self.caddyfile.is_file() else "", self._serves(mark)
        rewritten = was != text
        # What it points to already, watched or not, needs no switch.
        changed = rewritten or (bool(mark) and serves.partition("~")[0] != release["version"])
        before, after = (f"# serves: {name}\n{routes}" for name, routes in ((self.store.current, was), (release["version"], text)))
        if changed and self.did("switch the edge", header=str(self.caddyfile), before=before if was else "", after=after):
            self._point(release, other["version"] if watched and other["edge"]["upstreams"] == release["edge"]["upstreams"] else "")
            if rewritten:
                self.caddyfile.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
                write(self.caddyfile, text, 0o644)
        container = self.wanted["edge_service"].get("spec")
        if self.check:
            container and self.stack.container(container)
            return changed
        actions, early = len(self.stack.actions), self.edge in self.stack.created
        try:
            if container:
                self._have_edge()
            elif self.engine.find(f"/containers/{self.edge}/json") is None:
                raise Failed(f"the edge {self.edge} is not on this host; make deploy brings it back")
            else:
                self._up()
            fresh = len(self.stack.actions) > actions
            if fresh or early:
                self.stack.wait([self.edge], self.wanted["wait"])
            # One that was interrupted may have written the routes and not loaded them.
            if (rewritten or self.resumed) and not fresh:
                self._reload()
        except (EngineError, SpecError, Unhealthy, Failed) as error:
            if was and other:
                write(self.caddyfile, was, 0o644)
                self._point(other)
                self._only(routes(other["edge"])[1])
            raise Failed(f"the edge did not take the new routes, the old ones stay: {error}") from error
        self._only(mark)
        return changed

    def begin_edge(self) -> None:
        """Start an edge that is gone and has routes from before beside all else; the switch waits for it."""
        service = self.wanted["edge_service"]
        if service and self.caddyfile.is_file() and self.engine.find(f"/containers/{self.edge}/json") is None:
            self._have_edge()

    def _have_edge(self) -> None:
        for volume in self.wanted["edge_service"].get("volumes") or []:
            self.stack.volume(volume)
        self.stack.container(self.wanted["edge_service"]["spec"])

    def _files(self, mark: str) -> list[Path]:
        """Files that say to the edge with these routes who serves: MARK.NUMBER.RELEASE, or RELEASE~BEFORE; the first is in force."""
        return sorted(self.serving.glob(f"{mark}.*")) if mark and self.serving.is_dir() else []

    def _serves(self, mark: str) -> str:
        return next((file.name.split(".", 2)[2] for file in self._files(mark)), "")

    def _point(self, release: dict[str, Any], before: str = "") -> None:
        """Say to the edge who serves and, while it is watched, who did before. Nothing for routes that say it themselves."""
        mark = routes(release["edge"])[1]
        wanted = f"{release['version']}{'~' if before else ''}{before}"
        if self.check or not mark or self._serves(mark) == wanted:
            return
        self.serving.mkdir(parents=True, exist_ok=True)
        for directory in (self.serving, self.serving.parent):
            directory.chmod(0o755)
        there = self._files(mark)
        # The one in force until now stays until the next time: a request may have just read its name.
        for stale in there[1:]:
            stale.unlink()
        number = int(there[0].name.split(".", 2)[1]) - 1 if there else 999999
        file = self.serving / f".{mark}.new"
        file.touch()
        file.chmod(0o644)
        file.rename(self.serving / f"{mark}.{number:06d}.{wanted}")

    def _only(self, mark: str) -> None:
        """Keep the files of these routes alone."""
        for file in self.serving.iterdir() if self.serving.is_dir() else ():
            if not mark or not file.name.startswith(f"{mark}."):
                file.unlink()

    def _up(self) -> None:
        state = self.engine.call("GET", f"/containers/{self.edge}/json")
        self.stack._state(self.edge, state)

    def _reload(self) -> None:
        status, output = self.engine.execute(self.edge, self.wanted["edge"]["reload"])
        if status:
            raise Failed(output.strip()[-800:])

    # afterwards -------------------------------------------------------------------------------------------------------

    def _observe(self, target: dict[str, Any], other: dict[str, Any]) -> None:
        """Watch the release for a while with its traffic; the edge goes back as soon as it fails."""
        names = [spec["name"] for spec in target["containers"]]
        started = {name: self.engine.call("GET", f"/containers/{name}/json")["State"]["StartedAt"] for name in names}
        end, misses, asked = time.monotonic() + self.wanted["observe"], 0, time.monotonic()
        while not self.check and time.monotonic() < end:
            time.sleep(min(0.2, self.wanted["observe"]))
            problem = next((why for name in names if (why := self._ill(name, started[name]))), "")
            if not problem and time.monotonic() - asked > 1:
                asked, answer = time.monotonic(), self._asked(target)
                misses = misses + 1 if answer else 0
                problem = answer if misses >= 3 else ""
            if problem:
                self._route(other, target)
                why = f"{problem}\n{self._last_lines(problem.split(' ')[0])}"
                time.sleep(SETTLE)
                self._give_up(target, other, "")
                raise Failed(
                    f"release {target['version']} failed within the {self.wanted['observe']} s after the switch; "
                    f"{other['version']} serves again:\n{why}"
                )

    def _ill(self, name: str, started: str) -> str:
        actual = self.engine.find(f"/containers/{name}/json")
        if actual is None:
            return f"{name} is gone"
        state = actual["State"]
        # One that is about to be started again counts as running for the engine, and as unhealthy.
        if not state["Running"] or state["Restarting"] or state["StartedAt"] != started:
            code, full = self.engine.ended(name, time.time() - self.wanted["observe"] - SETTLE - 60)
            killed = ", killed for using more memory than its limit" if full or state["OOMKilled"] else ""
            return f"{name} ended (exit code {code or state['ExitCode']}{killed}, restarted {actual['RestartCount']} times)"
        health = state.get("Health") or {}
        if health.get("Status") == "unhealthy":
            return f"{name} became unhealthy: {(health['Log'] or [{'Output': ''}])[-1]['Output'].strip()[:300]}"
        return ""


class Drain:
    """Let containers finish what they do and go: in a process of its own, so that nobody waits for a client's open stream."""

    def __init__(self, engine: Engine, store: Store, lock: Lock) -> None:
        self.engine, self.store, self.lock = engine, store, lock
        self.note = store.root / ".draining"
        # Who drains what by now: {container: token}. One that was told before, and waits, leaves it to the one that was told since.
        self.told = store.root / ".drains.json"

    def leftovers(self, labels: dict[str, str], services: list[str], keep: str) -> list[str]:
        """Containers of other releases, that nobody drains; frontends first, for they ask the backends."""
        found = [
            (c["Labels"].get("berth.service") != "frontend", c["Names"][0].lstrip("/"))
            for c in self.engine.listing("containers", labels)
            if c["Labels"].get("berth.service") in services and (c["Labels"].get("berth.version") != keep or "-draining-" in c["Names"][0])
        ]
        return [name for _, name in sorted(found)]

    def busy(self) -> bool:
        """Whether a drain is under way."""
        self.store.prepare()
        with self.note.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _mine(self, name: str, token: str) -> bool:
        return self.told.is_file() and json.loads(self.told.read_text()).get(name) == token

    def _tell(self, names: list[str]) -> str:
        """Take these containers over from whoever was to drain them; the token by which that is known."""
        told, token = json.loads(self.told.read_text()) if self.told.is_file() else {}, secrets.token_hex(8)
        known = {name: other for name, other in told.items() if self.engine.find(f"/containers/{name}/json")}
        write(self.told, json.dumps(known | dict.fromkeys(names, token)), 0o600)
        return token

    def start(self, names: list[str], after: float, wait: float) -> bool:
        """Drain `names` `after` seconds from now; wait up to `wait` seconds for it. True when they are gone already."""
        found = [self.engine.find(f"/containers/{name}/json") for name in names]
        identities = [actual["Id"] for actual in found if actual]
        token = self._tell(names)
        child = os.fork()
        if child == 0:
            try:
                os.setsid()
                if os.fork():
                    os._exit(0)
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                null = os.open(os.devnull, os.O_RDWR)
                for stream in (0, 1, 2):
                    os.dup2(null, stream)
                os.closerange(3, 4096)
                with self.note.open("a") as file:
                    fcntl.flock(file, fcntl.LOCK_SH)
                    self._drain(names, after, token)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        deadline = time.monotonic() + wait
        while wait and any(self.engine.find(f"/containers/{identity}/json") for identity in identities):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return bool(wait)

    def _drain(self, names: list[str], after: float, token: str) -> None:
        time.sleep(after)
        for name in names:
            if not self.store.root.is_dir():
                return  # the stack was destroyed meanwhile
            try:
                # While nobody switches: a release that goes back to this container meanwhile keeps it.
                with self.lock.working():
                    actual = self.engine.find(f"/containers/{name}/json")
                    if (
                        actual is None
                        or not self._mine(name, token)
                        or ("-draining-" not in name and actual["Config"]["Labels"].get("berth.version") == self.store.current)
                    ):
                        continue
                    if "-draining-" not in name:
                        # Its name is free for a release that goes back to it from now on.
                        self.engine.call("POST", f"/containers/{name}/rename", {"name": f"{name}-draining-{actual['Id'][:6]}"})
                self.engine.call("POST", f"/containers/{actual['Id']}/stop", timeout=600)
                self.engine.call("DELETE", f"/containers/{actual['Id']}", {"force": "true", "v": "true"})
            except EngineError:
                continue  # somebody else removed it


def retire(engine: Engine, store: Store, keep: int, protected: set[str]) -> list[str]:
    """Forget all but the newest `keep` releases: manifests and images that no other release has. Says what went."""
    releases = store.releases()
    stay = {m["version"] for m in releases[:keep]} | protected
    kept_images = {image for m in releases if m["version"] in stay for image in m["images"].values()}
    gone = []
    for manifest in releases:
        if manifest["version"] in stay:
            continue
        for image in manifest["images"].values():
            if image in kept_images:
                continue
            try:
                for name in names_of(engine.find(f"/images/{image}/json") or {}, kept_images):
                    engine.call("DELETE", f"/images/{name}")
            except EngineError:
                continue  # a container outside the releases still has it
        store.forget(manifest["version"])
        gone.append(manifest["version"])
    return gone
