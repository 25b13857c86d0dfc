"""Let another release serve: started beside the one that does, checked, given the traffic (module_utils/release/edge.py), watched.

Deploy and rollback are the same act on a manifest (see module_utils/state/store.py); they differ in where the manifest comes from.
"""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..docker.client import Engine, EngineError
from ..docker.ownership import owned
from ..docker.reconcile import Stack, Unhealthy
from ..docker.spec import SpecError
from ..state.store import Failed, Store
from .edge import SETTLE, Edge
from .smoke_checks import accepts, demanded


def ask(engine: Engine, container: str, port: int, path: str) -> tuple[int, str]:
    """(status, why) of a GET to a container's own address: from the host, or, where the host has no way there, from inside."""
    actual = engine.find(f"/containers/{container}/json")
    if actual is None:
        return 0, "it is gone"
    networks = actual["NetworkSettings"]["Networks"]
    address = next((n["IPAddress"] for n in networks.values() if n.get("IPAddress")), "")
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": "localhost", "User-Agent": "berth-smoke-check"})
        answer = connection.getresponse()
        return answer.status, answer.read(500).decode(errors="replace")
    except (TimeoutError, ConnectionRefusedError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__
    except OSError:
        return asked_inside(engine, container, port, path)
    finally:
        connection.close()


def asked_inside(engine: Engine, container: str, port: int, path: str) -> tuple[int, str]:
    """The same with the image's own health check, whose output has the line of the status. One that says no more than whether the answer
    was a good one is taken at its word: 200 or 500.
    """
    try:
        status, said = engine.execute(container, ["healthcheck", str(port), path], timeout=20)
    except EngineError as error:  # it ended since it was looked at
        return 0, str(error)
    if answered := re.search(r"HTTP/\d(?:\.\d)? (\d{3})\b", said):
        return int(answered[1]), said
    return (200 if status == 0 else 500), said


class Problem(str):
    """What is wrong, in words that begin with the container; empty when nothing is. `later`: it asked for time (503, no answer yet)."""

    later = False


class Switch:
    """One act on one host. `wanted` holds the module's options."""

    def __init__(self, engine: Engine, store: Store, wanted: dict[str, Any], check: bool) -> None:
        self.engine, self.store, self.wanted, self.check = engine, store, wanted, check
        self.stack = Stack(engine, wanted["labels"], check)
        self.edge = Edge(self.stack, store, wanted)
        # Whether this run has put back what it could.
        self.gave_up = False

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
        self.edge.resumed = bool(self.store.pending)
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
            try:
                switched = self.edge.route(target, other, watched=bool(other and self.wanted["observe"]))
            except Failed as error:
                time.sleep(SETTLE)
                # The edge may have the new routes loaded: what stays noted makes the next run load them again.
                raise Failed(self.give_up(target, other, str(error), noted=True)) from error
        if switched and other and not self.check:
            with phase("observe"):
                self._observe(target, other)
        self.edge.point(target)
        return bool(self.stack.actions) or bool(other)

    # the new one ------------------------------------------------------------------------------------------------------

    def _start(self, target: dict[str, Any], other: dict[str, Any]) -> None:
        names = [spec["name"] for spec in target["containers"]]
        try:
            self.stack.containers(target["containers"])
            if not self.check:
                self.stack.wait(names, self.wanted["wait"])
        except (Unhealthy, SpecError, EngineError) as error:
            raise Failed(self.give_up(target, other, str(error))) from error

    def _smoke(self, target: dict[str, Any], other: dict[str, Any]) -> None:
        """Ask the new containers themselves what users will ask; only where something of them is new."""
        if self.check or not (other or self.stack.created):
            return
        began = time.monotonic()
        # What asks for time has as much as a container has to become healthy; what is broken stays so.
        while (problem := self._asked(target)) and time.monotonic() - began < self.wanted["wait" if problem.later else "smoke_wait"]:
            time.sleep(0.2)
        if problem:
            raise Failed(self.give_up(target, other, f"{problem}\n{self._last_lines(problem.split(' ')[0])}"))

    def _asked(self, target: dict[str, Any]) -> Problem:
        """The first smoke check that fails."""
        by_service = {spec["labels"]["berth.service"]: spec["name"] for spec in target["containers"]}
        asked = [(by_service[one["service"]], one) for one in self.wanted["smoke"] if one["service"] in by_service]
        with ThreadPoolExecutor(max_workers=8) as pool:
            answers = list(pool.map(lambda pair: ask(self.engine, pair[0], int(pair[1]["port"]), pair[1]["path"]), asked))
        for (name, one), (status, said) in zip(asked, answers, strict=True):
            if not accepts(one, status):
                said = f"{status or 'no answer'} {said.strip()[:300]}".strip()
                asked_for = f"{demanded(one)} was expected (release_smoke_checks)"
                problem = Problem(f"{name} failed its smoke check GET {one['path']} on port {one['port']}: {said}; {asked_for}")
                problem.later = status in (0, 503)
                return problem
        return Problem()

    def _last_lines(self, name: str) -> str:
        return f"last lines of its log:\n{self.engine.logs(name, 20)}" if self.engine.find(f"/containers/{name}/json") else ""

    def give_up(self, target: dict[str, Any], other: dict[str, Any], why: str, noted: bool = False) -> str:
        """Point the edge back, and remove what this run started, unless it is what serves; the message for a person.

        `noted`: it stays under way. Raises Failed or EngineError where the edge cannot be pointed back; nothing is removed then.
        """
        self.gave_up = True
        # What it points to may be what an interrupted run has left.
        elsewhere = other and (self.edge.points_to(target) or (self.edge.resumed and not self.edge.points_to(other)))
        if not self.check and elsewhere:
            self.edge.route(other, target)
            time.sleep(SETTLE)
        if not self.check and (other or not self.store.current):
            doomed = {spec["name"] for spec in target["containers"]}
            if not self.store.current:  # nor was there an edge
                doomed |= {self.edge.container} & (self.stack.created - self.stack.replaced)
            left = self.stack.remove(name for name in doomed if self._own(name))
            why = f"{why}\n{left}" if left else why
            if not noted:
                self.store.end()
        if other:
            version = other["version"]
            down = f"{version} does not run either: make rollback VERSION={version} starts it"
            serves = f"{version} serves on" if self.check or self.runs(other) else down
        else:
            serves = "it is what serves" if self.store.current else "nothing served before"
        return f"release {target['version']} did not get traffic ({serves}):\n{why}"

    def _own(self, name: str) -> bool:
        """Whether Berth created a container of this name: what stands in the way of a release stays."""
        labels = ((self.engine.find(f"/containers/{name}/json") or {}).get("Config") or {}).get("Labels") or {}
        return name in self.stack.created or (self.wanted["labels"].items() <= labels.items() and owned(name, labels))

    def runs(self, release: dict[str, Any]) -> bool:
        """Whether all containers of a release run; also where nobody can tell."""
        try:
            there = [self.engine.find(f"/containers/{spec['name']}/json") for spec in release.get("containers") or []]
        except EngineError:
            return True
        return all(actual and actual["State"]["Running"] for actual in there)

    # afterwards -------------------------------------------------------------------------------------------------------

    def _observe(self, target: dict[str, Any], other: dict[str, Any]) -> None:
        """Watch the release for a while with its traffic; the edge goes back as soon as it fails."""
        names = [spec["name"] for spec in target["containers"]]
        started = {name: self.engine.call("GET", f"/containers/{name}/json")["State"]["StartedAt"] for name in names}
        end, misses, asked = time.monotonic() + self.wanted["observe"], 0, time.monotonic()
        while time.monotonic() < end:
            time.sleep(min(0.2, self.wanted["observe"]))
            problem = next((why for name in names if (why := self._ill(name, started[name]))), "")
            if not problem and time.monotonic() - asked > 1:
                asked, answer = time.monotonic(), self._asked(target)
                misses = misses + 1 if answer else 0
                problem = answer if misses >= 3 else ""
            if problem:
                why = f"{problem}\n{self._last_lines(problem.split(' ')[0])}"
                told = self.give_up(target, other, why).partition("\n")[2]
                again = "serves again" if self.runs(other) else "does not run either"
                raise Failed(
                    f"release {target['version']} failed within the {self.wanted['observe']} s after the switch; "
                    f"{other['version']} {again}:\n{told}"
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
