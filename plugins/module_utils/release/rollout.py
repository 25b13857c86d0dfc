"""Roll a release out beside the active one: start, check, switch the traffic (module_utils/release/edge.py), monitor.

Deploy and rollback are the same operation on a manifest (module_utils/state/store.py); they differ in where the manifest comes from.
"""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..docker.client import Engine, EngineError
from ..docker.ownership import is_owned
from ..docker.reconcile import Stack, Unhealthy
from ..docker.spec import SpecError
from ..state import jobs
from ..state.store import Failed, Store
from .edge import SETTLE, Edge
from .smoke_checks import accepts, demanded


def request(engine: Engine, container: str, port: int, path: str) -> tuple[int, str]:
    """(status, body) of a GET to a container's own address: from the host, or, where it has no route there, from inside the container.

    It is sent as the edge would send it, for the public host name (public_host): an application may accept no other.
    """
    actual = engine.find(f"/containers/{container}/json")
    if actual is None:
        return 0, "the container does not exist"
    networks = actual["NetworkSettings"]["Networks"]
    address = next((n["IPAddress"] for n in networks.values() if n.get("IPAddress")), "")
    connection = http.client.HTTPConnection(address, port, timeout=10)
    try:
        headers = {"Host": host, "X-Forwarded-Proto": "https"} if (host := public_host(actual)) else {"Host": "localhost"}
        connection.request("GET", path, headers=headers | {"User-Agent": "berth-smoke-check"})
        response = connection.getresponse()
        return response.status, response.read(500).decode(errors="replace")
    except (TimeoutError, ConnectionRefusedError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__
    except OSError:
        return request_inside(engine, container, port, path)
    finally:
        connection.close()


def public_host(actual: dict[str, Any]) -> str:
    """The public name[:port] that a container's health check asks for, HEALTH_HOST in its environment; empty for none."""
    entries: list[str] = (actual.get("Config") or {}).get("Env") or []
    return next((entry.removeprefix("HEALTH_HOST=") for entry in entries if entry.startswith("HEALTH_HOST=")), "")


def request_inside(engine: Engine, container: str, port: int, path: str) -> tuple[int, str]:
    """The same by the image's own health check, whose output has the status line. Without one, the exit status decides: 200 or 500."""
    try:
        status, output = engine.execute(container, ["healthcheck", str(port), path], timeout=20)
    except EngineError as error:  # it ended since it was inspected
        return 0, str(error)
    if line := re.search(r"HTTP/\d(?:\.\d)? (\d{3})\b", output):
        return int(line[1]), output
    return (200 if status == 0 else 500), output


class Problem(str):
    """A message that begins with the container's name; empty for no problem. `retryable`: 503 or no response yet."""

    retryable = False


class Rollout:
    """The rollout of a release on one host. `options`: the module's parameters and the manifest's `around`."""

    def __init__(self, engine: Engine, store: Store, options: dict[str, Any], check: bool) -> None:
        self.engine, self.store, self.options, self.check = engine, store, options, check
        self.stack = Stack(engine, options["labels"], check)
        self.edge = Edge(self.stack, store, options)
        # Whether abort() was called.
        self.aborted = False

    def record_change(self, action: str, **diff: str) -> bool:
        return self.stack.record_change(action, **diff)

    def run(
        self, target: dict[str, Any], migrate: Callable[[], None] | None = None, before_switch: Callable[[], None] | None = None
    ) -> bool:
        """Make `target` the active release; True if anything was changed. Raises Failed, with the previous release still active."""
        before = self.store.manifest(self.store.current)
        previous = before if before.get("version") != target["version"] else {}
        for network in target.get("networks") or []:
            # In check mode those of the infrastructure are planned and do not exist.
            planned = f"create network {network['name']}" in self.stack.actions
            if not planned and self.engine.find(f"/networks/{network['name']}") is None:
                self.stack.network(network)
        self.edge.resumed = bool(self.store.pending)
        if not self.check and (previous or self.store.pending):
            self.store.begin_operation(self.options["verb"], before.get("version", ""), target["version"])
        phase = self.stack.phase
        if migrate:
            with phase("migrate"):
                self._start_relays(target, previous)
                migrate()
        with phase("start"):
            self._start(target, previous)
        with phase("smoke"):
            self._smoke(target, previous)
        if before_switch:
            before_switch()
        # Without a previous release there is nothing to switch back to, so nothing to monitor.
        with phase("switch"):
            try:
                switched = self.edge.route(target, previous, monitored=bool(previous and self.options["monitor_seconds"]))
            except Failed as error:
                time.sleep(SETTLE)
                # The edge may have loaded the new routes: the pending operation makes the next run load the old ones.
                raise Failed(self.abort(target, previous, str(error), keep_pending=True)) from error
        if switched and previous and not self.check:
            with phase("monitor"):
                self._monitor(target, previous)
        self.edge.set_marker(target)
        root = self.store.root
        if not self.check and jobs.has_jobs(root, target) and jobs.active_release(root) != target["version"]:
            jobs.activate(root, target["version"])
        return bool(self.stack.actions) or bool(previous)

    # start and check --------------------------------------------------------------------------------------------------

    def _start_relays(self, target: dict[str, Any], previous: dict[str, Any]) -> None:
        """Start the relays before the migrations, which reach a database outside the stack through them."""
        if ((target.get("around") or {}).get("database") or {}).get("external") and target.get("migrations"):
            relays = [spec for spec in target["containers"] if spec["labels"]["berth.service"].startswith("egress-")]
            self._start(target | {"containers": relays}, previous)

    def _start(self, target: dict[str, Any], previous: dict[str, Any]) -> None:
        names = [spec["name"] for spec in target["containers"]]
        try:
            self.stack.containers(target["containers"])
            if not self.check:
                self.stack.wait(names, self.options["health_timeout"])
        except (Unhealthy, SpecError, EngineError) as error:
            raise Failed(self.abort(target, previous, str(error))) from error

    def _smoke(self, target: dict[str, Any], previous: dict[str, Any]) -> None:
        """Run the smoke checks against new containers, by their own addresses."""
        if self.check or not (previous or self.stack.created):
            return
        began = time.monotonic()
        # A retryable failure has the time of a health check, any other the shorter one.
        while (problem := self._failed_check(target)) and time.monotonic() - began < self.options[
            "health_timeout" if problem.retryable else "smoke_timeout"
        ]:
            time.sleep(0.2)
        if problem:
            raise Failed(self.abort(target, previous, f"{problem}\n{self._log_tail(problem.split(' ')[0])}"))

    def _failed_check(self, target: dict[str, Any]) -> Problem:
        """The first smoke check that fails."""
        by_service = {spec["labels"]["berth.service"]: spec["name"] for spec in target["containers"]}
        checks = [(by_service[check["service"]], check) for check in self.options["smoke"] if check["service"] in by_service]
        with ThreadPoolExecutor(max_workers=8) as pool:
            responses = list(pool.map(lambda one: request(self.engine, one[0], int(one[1]["port"]), one[1]["path"]), checks))
        for (name, check), (status, body) in zip(checks, responses, strict=True):
            if not accepts(check, status):
                response = f"{status or 'no response'} {body.strip()[:300]}".strip()
                expected = f"{demanded(check)} was expected (release_smoke_checks)"
                host = public_host(self.engine.find(f"/containers/{name}/json") or {})
                for_host = f" for Host {host}" if host else ""
                asked = f"GET {check['path']}{for_host} on port {check['port']}"
                problem = Problem(f"{name} failed its smoke check {asked}: {response}; {expected}")
                problem.retryable = status in (0, 503)
                return problem
        return Problem()

    def _log_tail(self, name: str) -> str:
        return f"last lines of its log:\n{self.engine.logs(name, 20)}" if self.engine.find(f"/containers/{name}/json") else ""

    def abort(self, target: dict[str, Any], previous: dict[str, Any], why: str, keep_pending: bool = False) -> str:
        """Switch the edge back and remove what this run started, unless it is active; returns the message.

        Raises Failed or EngineError where the edge cannot be switched back; then nothing is removed.
        """
        self.aborted = True
        # An interrupted run may have left the edge with the routes of another release.
        wrong_routes = previous and (self.edge.points_to(target) or (self.edge.resumed and not self.edge.points_to(previous)))
        if not self.check and wrong_routes:
            self.edge.route(previous, target)
            time.sleep(SETTLE)
        if not self.check and (previous or not self.store.current):
            names = {spec["name"] for spec in target["containers"]}
            if not self.store.current:  # nor was there an edge
                names |= {self.edge.container} & (self.stack.created - self.stack.replaced)
            left = self.stack.remove(name for name in names if self._is_owned(name))
            why = f"{why}\n{left}" if left else why
            if not keep_pending:
                self.store.end()
        if previous:
            version = previous["version"]
            stopped = f"{version} is not running either; to start it: make rollback VERSION={version}"
            active = f"{version} is still active" if self.check or self.is_running(previous) else stopped
        else:
            active = "it is the active release" if self.store.current else "there was no active release"
        return f"Release {target['version']} did not get traffic ({active}):\n{why}"

    def _is_owned(self, name: str) -> bool:
        """Whether Berth created a container of this name."""
        labels = ((self.engine.find(f"/containers/{name}/json") or {}).get("Config") or {}).get("Labels") or {}
        return name in self.stack.created or (self.options["labels"].items() <= labels.items() and is_owned(name, labels))

    def is_running(self, release: dict[str, Any]) -> bool:
        """Whether all containers of a release run; True where the engine does not respond."""
        try:
            existing = [self.engine.find(f"/containers/{spec['name']}/json") for spec in release.get("containers") or []]
        except EngineError:
            return True
        return all(actual and actual["State"]["Running"] for actual in existing)

    # monitor ----------------------------------------------------------------------------------------------------------

    def _monitor(self, target: dict[str, Any], previous: dict[str, Any]) -> None:
        """Monitor the release with its traffic; abort as soon as it fails."""
        seconds: float = self.options["monitor_seconds"]
        names = [spec["name"] for spec in target["containers"]]
        started = {name: self.engine.call("GET", f"/containers/{name}/json")["State"]["StartedAt"] for name in names}
        end, misses, checked = time.monotonic() + seconds, 0, time.monotonic()
        while time.monotonic() < end:
            time.sleep(min(0.2, seconds))
            problem = next((why for name in names if (why := self._failure(name, started[name]))), "")
            if not problem and time.monotonic() - checked > 1:
                checked, failed = time.monotonic(), self._failed_check(target)
                misses = misses + 1 if failed else 0
                problem = failed if misses >= 3 else ""
            if problem:
                why = f"{problem}\n{self._log_tail(problem.split(' ')[0])}"
                details = self.abort(target, previous, why).partition("\n")[2]
                state = "is active again" if self.is_running(previous) else "is not running either"
                raise Failed(
                    f"Release {target['version']} failed within {seconds} s after the traffic switch; "
                    f"{previous['version']} {state}:\n{details}"
                )

    def _failure(self, name: str, started: str) -> str:
        actual = self.engine.find(f"/containers/{name}/json")
        if actual is None:
            return f"{name} no longer exists"
        state = actual["State"]
        # The engine counts a container that waits for its restart as running.
        if not state["Running"] or state["Restarting"] or state["StartedAt"] != started:
            code, out_of_memory = self.engine.last_exit(name, time.time() - self.options["monitor_seconds"] - SETTLE - 60)
            killed = ", killed for using more memory than its limit" if out_of_memory or state["OOMKilled"] else ""
            return f"{name} ended (exit code {code or state['ExitCode']}{killed}, restarted {actual['RestartCount']} times)"
        health = state.get("Health") or {}
        if health.get("Status") == "unhealthy":
            return f"{name} became unhealthy: {(health['Log'] or [{'Output': ''}])[-1]['Output'].strip()[:300]}"
        return ""
