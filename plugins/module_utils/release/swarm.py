"""Roll a release out on a Swarm: update its services, a new task beside each old one, and revert them where they fail.

The counterpart of module_utils/release/rollout.py. The edges are not changed: they find the tasks of a service by its name.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..docker.client import Engine, EngineError
from ..docker.reconcile import Stack
from ..docker.spec import SpecError
from ..state.store import Failed, Store
from .swarm_spec import differing_paths, secret_name, secrets_directory, service_body, service_name

# A new service has no previous version to revert to: fail after so many failed tasks.
ATTEMPTS = 3
# Default number of tasks of a new service: one may fail.
REPLICAS = 2


class SwarmRollout:
    """The rollout of a release on a Swarm, by one of its managers. `options` as of Rollout; `swarm`: the settings of its services."""

    def __init__(self, engine: Engine, store: Store, options: dict[str, Any], check: bool) -> None:
        self.engine, self.store, self.options, self.check = engine, store, options, check
        self.stack = Stack(engine, options["labels"], check)
        # Whether abort() was called, and the services that this run created.
        self.aborted = False
        self.created: list[str] = []

    def record_change(self, action: str, **diff: str) -> bool:
        return self.stack.record_change(action, **diff)

    @property
    def _replayed(self) -> bool:
        """Whether the release was active before: its services are updated at once, and monitored for a shorter time."""
        return not self.options["manifest"]

    def run(
        self, target: dict[str, Any], migrate: Callable[[], None] | None = None, before_switch: Callable[[], None] | None = None
    ) -> bool:
        """Make `target` the active release; True if anything was changed. Raises Failed, with the previous release still active."""
        before = self.store.manifest(self.store.current)
        previous = before if before.get("version") != target["version"] else {}
        if not self.check and (previous or self.store.pending):
            self.store.begin_operation(self.options["verb"], before.get("version", ""), target["version"])
        if migrate:
            migrate()
        if before_switch:
            before_switch()
        try:
            self._update_services(target, together=self._replayed)
        except (Failed, SpecError, EngineError) as error:
            raise Failed(self.abort(target, previous, str(error))) from error
        self._remove_unused_secrets()
        return bool(self.stack.actions) or bool(previous)

    def _update_services(self, release: dict[str, Any], together: bool) -> None:
        """Update the services of a release one after another, in the order of their dependencies; or all `together`."""
        begun: list[tuple[dict[str, Any], bool]] = []
        for spec in release["containers"]:
            body = self._body(spec, release["version"])
            changed = self._update(body)
            if self.check:
                continue
            begun.append((body, changed))
            if not together:
                self._wait(body, changed)
        if together:
            for body, changed in begun:
                self._wait(body, changed)

    def abort(self, target: dict[str, Any], previous: dict[str, Any], why: str) -> str:
        """Revert the services that were updated; returns the message."""
        self.aborted = True
        if previous and not self.check:
            try:
                # First: they may depend on what only the new release has.
                self._remove_services(name for name in self.created if name not in self._services(previous))
                self._update_services(previous, together=True)
                why += f"\n{previous['version']} is still active"
                self.store.end()
            except (Failed, SpecError, EngineError) as error:
                why += f"\n{previous['version']} could not be restored everywhere: {error}"
                why += "\nThe unfinished operation is recorded. To roll back: make rollback"
        elif not self.check and not self.store.current:
            self._remove_services(self._services(target))
            self.store.end()
        self._remove_unused_secrets()
        return f"Release {target['version']} did not become active:\n{why}"

    def _services(self, release: dict[str, Any]) -> list[str]:
        return [service_name(spec, release["version"]) for spec in release["containers"]]

    def _remove_services(self, names: Iterable[str]) -> None:
        for name in names:
            if self.engine.find(f"/services/{name}"):
                self.engine.call("DELETE", f"/services/{name}")

    # one service ------------------------------------------------------------------------------------------------------

    def _body(self, spec: dict[str, Any], release: str) -> dict[str, Any]:
        service = spec["labels"]["berth.service"]
        networks = {}
        for network in spec["networks"]:
            found = self.engine.find(f"/networks/{network['name']}")
            if found is None and not self.check:
                raise Failed(f"the network {network['name']} does not exist; make deploy creates it")
            networks[network["name"]] = found["Id"] if found else network["name"]
        settings = self.options["swarm"]
        existing = self.engine.find(f"/services/{service_name(spec, release)}")
        # Without a setting the number stays as it is.
        running = existing["Spec"]["Mode"]["Replicated"]["Replicas"] if existing else REPLICAS
        return service_body(
            spec | {"labels": self.options["labels"] | spec["labels"]},
            release,
            networks,
            self._secrets(service, secrets_directory(spec)),
            {
                "replicas": int(settings["replicas"].get(service) or running),
                "constraints": settings["constraints"].get(service, []),
                "endpoint_mode": settings["endpoint_mode"],
                "monitor": 1 if self._replayed else max(1.0, float(self.options["monitor_seconds"])),
                "parallelism": 0 if self._replayed else 1,
            },
        )

    def _secrets(self, service: str, directory: str) -> dict[str, dict[str, str]]:
        """{file: id and name} of the Swarm secrets with the contents of a directory; creates the missing ones."""
        found: dict[str, dict[str, str]] = {}
        for path in sorted(Path(directory).iterdir()) if directory and Path(directory).is_dir() else []:
            content = path.read_bytes()
            name = secret_name(f"{self.options['labels']['berth.stack']}-{service}", path.name, content)
            existing = self.engine.call("GET", "/secrets", {"filters": {"name": [name]}}) or []
            identity = next((entry["ID"] for entry in existing if entry["Spec"]["Name"] == name), "")
            if not identity and self.record_change(f"create secret {name}"):
                labels = self.options["labels"] | {"berth.service": service}
                body = {"Name": name, "Labels": labels, "Data": base64.b64encode(content).decode()}
                identity = self.engine.call("POST", "/secrets/create", body=body)["ID"]
            found[path.name] = {"id": identity, "name": name}
        return found

    def _update(self, body: dict[str, Any]) -> bool:
        """Create or update a service; True if its tasks are replaced."""
        name = body["Name"]
        actual = self.engine.find(f"/services/{name}")
        if actual is None:
            if self.record_change(f"create service {name}", header=name, before="", after=f"{body['Mode']}\n"):
                self.engine.call("POST", "/services/create", body=body)
                self.created.append(name)
            return True
        # The update settings differ between deploy and rollback; alone they are no reason to update.
        lasting = {key: value for key, value in body.items() if key not in ("UpdateConfig", "RollbackConfig")}
        differ = differing_paths(lasting, actual["Spec"])
        if not differ:
            return False
        was, now = (spec["Mode"]["Replicated"]["Replicas"] for spec in (actual["Spec"], body))
        scaled = differ == ["Mode.Replicated.Replicas"]
        action = f"scale {name} from {was} to {now}" if scaled else f"update service {name} ({', '.join(sorted(set(differ)))})"
        if self.record_change(action, header=name, before=f"{was} replicas\n", after=f"{now} replicas\n"):
            task = body["TaskTemplate"] | {"ForceUpdate": actual["Spec"]["TaskTemplate"].get("ForceUpdate", 0)}
            self.engine.call(
                "POST", f"/services/{actual['ID']}/update", {"version": actual["Version"]["Index"]}, body | {"TaskTemplate": task}
            )
        return not scaled

    # wait -------------------------------------------------------------------------------------------------------------

    def _wait(self, body: dict[str, Any], changed: bool) -> None:
        """Wait until all tasks of a service are up to date and healthy; Failed when the engine reverts them, or after the timeout."""
        name, replicas = body["Name"], body["Mode"]["Replicated"]["Replicas"]
        timeout = self.options["health_timeout"] * max(1, replicas if changed else 1) + float(self.options["monitor_seconds"])
        deadline = time.monotonic() + timeout
        while True:
            service = self.engine.call("GET", f"/services/{name}")
            update = (service.get("UpdateStatus") or {}).get("State", "")
            tasks = self.engine.call("GET", "/tasks", {"filters": {"service": [name]}}) or []
            mine = [task for task in tasks if not differing_paths(body["TaskTemplate"], task["Spec"])]
            up = [task for task in mine if task["DesiredState"] == "running" and task["Status"]["State"] == "running"]
            others = [task for task in tasks if task not in mine and task["DesiredState"] == "running"]
            if len(up) >= replicas and not others and (not changed or update in ("", "completed")):
                return
            failed = [task for task in mine if task["Status"]["State"] in ("failed", "rejected")]
            other_spec = differing_paths(body["TaskTemplate"], service["Spec"]["TaskTemplate"])
            reverted = update.startswith("rollback") or update == "paused" or bool(other_spec)
            if reverted or (not service.get("PreviousSpec") and len(failed) >= ATTEMPTS) or time.monotonic() > deadline:
                raise Failed(self._report(name, replicas, up, failed or mine, reverted))
            time.sleep(0.2)

    def _report(self, name: str, replicas: int, up: list[Any], tasks: list[Any], reverted: bool) -> str:
        summary = f"{name}: {len(up)} of {replicas} tasks became healthy" + ("; the engine reverted the service" if reverted else "")
        newest = max(tasks, key=lambda task: task["Status"]["Timestamp"], default=None)
        if newest is None:
            return summary
        reason = newest["Status"].get("Err") or newest["Status"].get("Message") or newest["Status"]["State"]
        lines = [summary, f"the last one: {newest['Status']['State']}: {reason}"]
        try:
            lines += ["last lines of its log:", self.engine.logs(newest["ID"], 20, kind="tasks")]
        except EngineError as error:
            lines.append(f"its log cannot be read: {error}")
        return "\n".join(lines)

    def _remove_unused_secrets(self) -> None:
        """Remove the secrets of this stack that no service uses; a rollback creates them again from the generations on the host."""
        if self.check:
            return
        own = {"filters": {"label": [f"berth.stack={self.options['labels']['berth.stack']}"]}}
        used = {
            entry["SecretID"]
            for service in self.engine.call("GET", "/services", own)
            for spec in (service["Spec"], service.get("PreviousSpec") or {"TaskTemplate": {"ContainerSpec": {}}})
            for entry in spec["TaskTemplate"]["ContainerSpec"].get("Secrets") or []
        }
        for entry in self.engine.call("GET", "/secrets", own):
            if entry["ID"] not in used and self.record_change(f"remove secret {entry['Spec']['Name']}"):
                self.engine.call("DELETE", f"/secrets/{entry['ID']}")
