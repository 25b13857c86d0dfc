"""Reconcile networks, volumes and containers of a stack: compare, change what differs, record the changes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from .client import Engine, EngineError
from .ownership import CREATED
from .spec import (
    UPDATABLE,
    SpecError,
    container_body,
    differences,
    network_changes,
)


class Unhealthy(Exception):
    """A container that did not become healthy; the message has its last log lines and its check."""


class Stack:
    """Reconciles objects with `labels`; in check mode it only records what it would change."""

    def __init__(self, engine: Engine, labels: dict[str, str], check: bool) -> None:
        self.engine, self.labels, self.check = engine, labels, check
        self.actions: list[str] = []
        self.diff: list[dict[str, str]] = []
        self.created: set[str] = set()
        # Those of them that replaced an existing container.
        self.replaced: set[str] = set()
        self.seconds: dict[str, float] = {}
        # Containers whose checks failed while they were paused: unhealthy may be temporary.
        self.unpaused: set[str] = set()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure the duration of a phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0) + time.monotonic() - began, 2)

    def record_change(self, action: str, header: str = "", before: str = "", after: str = "") -> bool:
        """Record a change; True unless in check mode."""
        self.actions.append(action)
        self.diff.append({"before_header": header or action, "after_header": header or action, "before": before, "after": after})
        return not self.check

    # networks and volumes -------------------------------------------------------------------------------------------

    def network(self, spec: dict[str, Any]) -> None:
        name = spec["name"]
        options = spec.get("options") or {}
        if not spec.get("way_out", True):
            options = options | {"com.docker.network.bridge.enable_ip_masquerade": "false"}
        desired = {
            "Driver": spec.get("driver", "bridge"),
            "Internal": bool(spec.get("internal", False)),
            "Attachable": bool(spec.get("attachable", False)),
            "Options": {k: str(v) for k, v in options.items()},
            "Labels": self.labels | (spec.get("labels") or {}),
        }
        actual = self.engine.find(f"/networks/{name}")
        if actual:
            if not self.labels.items() <= (actual.get("Labels") or {}).items():
                raise SpecError(
                    f"A network named {name} is on this host, and Berth did not create it. Nothing of it was changed.\n"
                    f"Remove it (docker network rm {name}), then run this again, or give the stack another name (STACK_NAME)."
                )
            # The engine adds this option to an overlay itself.
            (actual.get("Options") or {}).pop("com.docker.network.driver.overlay.vxlanid_list", None)
            changed = {k: (actual.get(k), v) for k, v in desired.items() if (actual.get(k) or None) != (v or None)}
            if not changed:
                return
            if self.record_change(f"replace network {name} ({', '.join(changed)} differ)", name, *_diff_text(changed)):
                self._replace_network(name, desired, list(actual.get("Containers") or {}))
        elif self.record_change(f"create network {name}", name, "", "present\n"):
            self.engine.call("POST", "/networks/create", body={"Name": name, **desired})

    def _replace_network(self, name: str, desired: dict[str, Any], containers: list[str]) -> None:
        """Create the network again, and reconnect its containers."""
        inspected = {container: self.engine.call("GET", f"/containers/{container}/json") for container in containers}
        for container in containers:
            self.engine.call("POST", f"/networks/{name}/disconnect", body={"Container": container, "Force": True})
        self.engine.call("DELETE", f"/networks/{name}")
        self.engine.call("POST", "/networks/create", body={"Name": name, **desired})
        for container, actual in inspected.items():
            aliases = actual["NetworkSettings"]["Networks"][name].get("Aliases") or []
            try:
                self._join(name, container, {"Aliases": [alias for alias in aliases if alias != container[:12]]})
            except EngineError:
                # Undo a partial connection; the container is replaced later (see _networks).
                with contextlib.suppress(EngineError):
                    self.engine.call("POST", f"/networks/{name}/disconnect", body={"Container": container, "Force": True})

    def volume(self, spec: dict[str, Any]) -> None:
        name = spec["name"]
        if self.engine.find(f"/volumes/{name}") is None and self.record_change(f"create volume {name}", name, "", "present\n"):
            self.engine.call("POST", "/volumes/create", body={"Name": name, "Labels": self.labels | (spec.get("labels") or {})})

    # containers -----------------------------------------------------------------------------------------------------

    def container(self, spec: dict[str, Any]) -> None:
        self.containers([spec])

    def containers(self, specs: list[dict[str, Any]]) -> None:
        """Reconcile containers; those to create are created in parallel, because the engine mostly waits."""
        creating = [make for spec in specs if (make := self._plan_container(spec))]
        with ThreadPoolExecutor(max_workers=4) as pool:
            list(pool.map(lambda make: make(), creating))

    def _plan_container(self, spec: dict[str, Any]) -> Callable[[], None] | None:
        """Update a container in place where possible; returns what creates or replaces it, None where that is not needed."""
        name = spec["name"]
        image = self.engine.find(f"/images/{spec['image']}/json")
        if image is None and not self.check:
            raise SpecError(f"service {name}: image {spec['image']} is not on this host; build or load it first (make build)")
        body = container_body(spec | {"labels": self.labels | (spec.get("labels") or {})}, image or {})
        actual = self.engine.find(f"/containers/{name}/json")
        if actual is None:
            return partial(self._create, name, body) if self.record_change(f"create container {name}", name, "", "running\n") else None
        refuse_foreign(name, actual, self.labels)
        changed = differences(body, actual)
        if set(changed) - set(UPDATABLE):
            replace = self.record_change(f"replace container {name} ({', '.join(changed)} differ)", name, *_diff_text(changed))
            return partial(self._replace, name, body, actual) if replace else None
        if changed and self.record_change(f"update container {name} ({', '.join(changed)})", name, *_diff_text(changed)):
            self.engine.call("POST", f"/containers/{name}/update", body={k: body["HostConfig"][k] for k in UPDATABLE})
        self._networks(name, body, actual)
        self.ensure_running(name, actual)
        return None

    def _replace(self, name: str, body: dict[str, Any], actual: dict[str, Any]) -> None:
        self._remove(name, actual)
        self.replaced.add(name)
        self._create(name, body)

    def _create(self, name: str, body: dict[str, Any]) -> None:
        # Before API 1.44 only one network may be given at creation; connecting the others before the start works everywhere.
        endpoints = body["NetworkingConfig"]["EndpointsConfig"]
        first = dict(list(endpoints.items())[:1])
        create(self.engine, name, body | {"NetworkingConfig": {"EndpointsConfig": first}})
        self.created.add(name)
        for network, settings in list(endpoints.items())[1:]:
            self._join(network, name, settings)
        start(self.engine, name)

    def _join(self, network: str, name: str, settings: dict[str, Any]) -> None:
        self.engine.call("POST", f"/networks/{network}/connect", body={"Container": name, "EndpointConfig": settings})

    def _networks(self, name: str, body: dict[str, Any], actual: dict[str, Any]) -> None:
        join, leave = network_changes(body, actual)
        if not join and not leave:
            return
        if self.record_change(
            f"connect container {name} to {', '.join(join) or 'its networks only'}", name, f"leave {leave}\n", f"join {sorted(join)}\n"
        ):
            try:
                for network in leave:
                    self.engine.call("POST", f"/networks/{network}/disconnect", body={"Container": name, "Force": True})
                for network, settings in join.items():
                    self._join(network, name, settings)
            except EngineError as error:
                # An engine that was restarted with live containers has lost their interfaces, and may have changed only part.
                self.record_change(f"replace container {name} (the engine cannot change its networks: {error})")
                self._replace(name, body, actual)

    def ensure_running(self, name: str, actual: dict[str, Any]) -> None:
        """Start, unpause or (where it is unhealthy) restart an existing container."""
        state = actual["State"]
        if state["Paused"]:
            if self.record_change(f"unpause container {name}", name, "paused\n", "running\n"):
                self.engine.call("POST", f"/containers/{name}/unpause")
                self.unpaused.add(name)
        elif not state["Running"]:
            if self.record_change(f"start container {name}", name, f"{state['Status']}\n", "running\n"):
                self.engine.call("POST", f"/containers/{name}/start")
        elif (state.get("Health") or {}).get("Status") == "unhealthy" and self.record_change(
            f"restart container {name} (unhealthy)", name, "unhealthy\n", "healthy\n"
        ):
            self.engine.call("POST", f"/containers/{name}/restart", timeout=stop_timeout(actual))

    def _remove(self, name: str, actual: dict[str, Any]) -> None:
        if actual["State"]["Running"]:
            self.engine.call("POST", f"/containers/{name}/stop", timeout=stop_timeout(actual))
        self.engine.call("DELETE", f"/containers/{name}", {"force": "true", "v": "true"})

    # absence --------------------------------------------------------------------------------------------------------

    def absent(self, kind: str, names: list[str]) -> None:
        for name in names:
            actual = self.engine.find(f"/{kind}/{name}" + ("/json" if kind == "containers" else ""))
            labels = ((actual or {}).get("Config") or actual or {}).get("Labels") or {}
            # An object of the same name without the labels is not Berth's.
            if actual is None or not self.labels.items() <= labels.items():
                continue
            if not self.record_change(f"remove {kind[:-1]} {name}", name, "present\n", ""):
                continue
            if kind == "containers":
                self._remove(name, actual)
            else:
                self.engine.call("DELETE", f"/{kind}/{name}")

    # health ---------------------------------------------------------------------------------------------------------

    def wait(self, names: list[str], seconds: int) -> dict[str, dict[str, Any]]:
        """Poll until every container is healthy; Unhealthy as soon as one cannot become healthy."""
        deadline = time.monotonic() + seconds
        pending, result = list(names), {}
        while pending:
            for name in list(pending):
                actual = self.engine.call("GET", f"/containers/{name}/json")
                health = (actual["State"].get("Health") or {}).get("Status", "none")
                if not seconds or (actual["State"]["Running"] and health in ("healthy", "none") and not actual["State"]["Restarting"]):
                    pending.remove(name)
                    result[name] = {
                        "id": actual["Id"],
                        "image": actual["Image"],
                        "health": health,
                        "started_at": actual["State"]["StartedAt"],
                        "created": name in self.created,
                    }
                elif (health == "unhealthy" and name not in self.unpaused) or _crashed(actual) or time.monotonic() > deadline:
                    raise Unhealthy(self._health_report(name, actual, seconds))
            if pending:
                time.sleep(0.1)
        return result

    def _health_report(self, name: str, actual: dict[str, Any], seconds: int) -> str:
        state = actual["State"]
        lines = [f"{name} did not become healthy (limit {seconds} s): it is {state['Status']}"]
        if not state["Running"] or actual["RestartCount"]:
            killed = ", killed for using more memory than its limit" if state["OOMKilled"] else ""
            lines.append(f"exit code {state['ExitCode']}{killed}, restarted {actual['RestartCount']} times. {state['Error']}".strip())
        health = state.get("Health")
        if health:
            lines.append(f"health: {health['Status']}, {health['FailingStreak']} failures in a row")
            lines += [f"  output of its check: {entry['Output'].strip()[:500]}" for entry in (health["Log"] or [])[-1:]]
            lines.append(f"  check: {actual['Config']['Healthcheck']}")
        lines += ["last lines of its log:", self.engine.logs(name)]
        return "\n".join(lines)

    def remove_created(self) -> str:
        """Remove the containers that this run created, except those that replaced another one; returns a message about those left."""
        kept = sorted(self.created & self.replaced)
        report = [f"Not removed, because it replaced an existing container: {', '.join(kept)}"] if kept else []
        return "\n".join(filter(None, [self.remove(self.created - self.replaced), *report]))

    def remove(self, names: Iterable[str]) -> str:
        """Remove containers, running or not; returns a message about those that cannot be removed, empty for none."""
        leftover = []
        for name in sorted(names):
            try:
                self.engine.call("DELETE", f"/containers/{name}", {"force": "true", "v": "true"})
                self.created.discard(name)
            except EngineError as error:
                if error.status != 404:
                    leftover.append(name)
        return f"Not removed: {', '.join(leftover)}. To remove: docker rm --force {' '.join(leftover)}" if leftover else ""


def stop_timeout(actual: dict[str, Any]) -> float:
    """Seconds after which a stop of an inspected container must have ended: its own grace period, and time for the engine."""
    return max(120.0, float((actual.get("Config") or {}).get("StopTimeout") or 0) + 60)


def _crashed(actual: dict[str, Any]) -> bool:
    """Whether a container exited, or is restarted again and again by its restart policy."""
    return actual["RestartCount"] > 1 or actual["State"]["Status"] in ("exited", "dead")


def _diff_text(changed: dict[str, tuple[Any, Any]]) -> tuple[str, str]:
    """Before and after, as text for --diff. Secrets are files, so no value here is a secret."""
    before = "".join(f"{key}: {was}\n" for key, (was, _) in changed.items())
    return before, "".join(f"{key}: {desired}\n" for key, (_, desired) in changed.items())


def refuse_foreign(name: str, actual: dict[str, Any], labels: dict[str, str]) -> None:
    """Raise SpecError where an existing container lacks the labels of the stack."""
    given = actual["Config"].get("Labels") or {}
    if not labels.items() <= given.items():
        raise SpecError(
            f"A container named {name} is on this host, and Berth did not create it. Nothing of it was changed.\n"
            f"Rename it (docker rename {name} ANOTHER-NAME) or remove it (docker rm -f {name}), then run this again."
        )


def create(engine: Engine, name: str, body: dict[str, Any]) -> None:
    """Create a container with the label that proves it is Berth's (module_utils/docker/ownership.py)."""
    engine.call("POST", "/containers/create", {"name": name}, body | {"Labels": (body.get("Labels") or {}) | {CREATED: name}})


def start(engine: Engine, name: str, patience: float = 10) -> None:
    """Start a container; waits for a Swarm's overlay networks, which reach a node a moment after their creation."""
    deadline = time.monotonic() + patience
    while True:
        try:
            engine.call("POST", f"/containers/{name}/start")
            return
        except EngineError as error:
            if "could not find a network" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.3)


class RunFailed(Exception):
    """A one-off container that failed; the message has its last log lines. `status`: its exit status, None where it did not end."""

    status: int | None = None


class Observer:
    """What run_to_end reports of a container; this one ignores it."""

    def started(self, name: str, used: list[str]) -> None:
        """It runs, with these IP addresses."""

    def ended(self, log: str) -> None:
        """It ended, or its time is over; called before it is removed."""

    def removed(self, used: list[str], when: float) -> None:
        """It was removed at this time (Unix seconds). Servers may still work for it."""


def addresses(actual: dict[str, Any] | None) -> list[str]:
    """The IP addresses of a container."""
    joined = ((actual or {}).get("NetworkSettings") or {}).get("Networks") or {}
    return [address for end in joined.values() for key in ("IPAddress", "GlobalIPv6Address") if (address := end.get(key))]


def run_to_end(
    engine: Engine, spec: dict[str, Any], labels: dict[str, str], timeout: float, observer: Observer | None = None, lines: int = 200
) -> str:
    """Run a one-off container, remove it, and return its output (the last `lines`). Raises RunFailed where its exit status is not 0."""
    name, spec = spec["name"], spec | {"labels": labels | (spec.get("labels") or {})}
    observer = observer or Observer()

    def remove(used: list[str]) -> None:
        now = time.time()
        engine.call("DELETE", f"/containers/{name}", {"force": "true", "v": "true"})
        observer.removed(used, now)

    leftover = engine.find(f"/containers/{name}/json")
    if leftover:  # of a run that was killed
        refuse_foreign(name, leftover, labels)
        remove(addresses(leftover))
    image = engine.find(f"/images/{spec['image']}/json")
    if image is None:
        raise RunFailed(f"image {spec['image']} is not on this host")
    create(engine, name, container_body(spec, image))
    used: list[str] = []
    output = ""
    try:
        start(engine, name)
        used = addresses(engine.find(f"/containers/{name}/json"))
        observer.started(name, used)
        status = engine.call("POST", f"/containers/{name}/wait", timeout=timeout)["StatusCode"]
        output = engine.logs(name, lines)
    except (EngineError, OSError) as error:
        timed_out = "time" in str(error).lower()
        with contextlib.suppress(EngineError, OSError):
            output = engine.logs(name, lines)
        last = "\n".join(output.splitlines()[-20:])
        raise RunFailed(f"{name} did not end within {timeout} s; last lines:\n{last}" if timed_out else f"{name} {error}") from error
    finally:
        observer.ended(output)
        remove(used)
    if status:
        failed = RunFailed(f"{name} ended with exit status {status}; last lines:\n" + "\n".join(output.splitlines()[-25:]))
        failed.status = status
        raise failed
    return output
