"""Route the edge to the active release; at every moment it routes to running containers.

The edge reads the name of a marker file to find the active release, so that a switch is a new file. It is reloaded only where the routes
themselves differ.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ..docker.client import EngineError
from ..docker.reconcile import Stack, Unhealthy
from ..docker.spec import SpecError
from ..state.store import Failed, Store, write

# Seconds until requests that were routed to the old release have reached it: the edge connects within this time.
SETTLE = 0.3
# Placeholder of the route id in a Caddyfile that reads marker files (role edge).
ROUTES = "@routes@"


def routes(edge: dict[str, Any]) -> tuple[str, str]:
    """(Caddyfile of a release, route id: the first part of its marker's name); the id is empty where the Caddyfile names its upstreams."""
    text = edge["caddyfile"]
    if ROUTES not in text:
        return text, ""
    route_id = hashlib.sha256(text.encode()).hexdigest()[:12]
    return text.replace(ROUTES, route_id), route_id


class Edge:
    """The edge of one host. `options`: as of Rollout."""

    def __init__(self, stack: Stack, store: Store, options: dict[str, Any]) -> None:
        self.engine, self.stack, self.store, self.options = stack.engine, stack, store, options
        # Whether this run continues one that was interrupted.
        self.resumed = False

    @property
    def container(self) -> str:
        return str(self.options["edge"]["container"])

    @property
    def caddyfile(self) -> Path:
        return Path(self.options["edge"]["directory"]) / "config" / "Caddyfile"

    @property
    def markers(self) -> Path:
        """The directory of marker files."""
        return self.caddyfile.parent / "serving"

    def points_to(self, release: dict[str, Any]) -> bool:
        """Whether the edge is configured for this release."""
        text, route_id = routes(release["edge"])
        written = self.caddyfile.is_file() and self.caddyfile.read_text() == text
        return written and (not route_id or self._marker(route_id).partition("~")[0] == release["version"])

    def route(self, release: dict[str, Any], previous: dict[str, Any], monitored: bool = False) -> bool:
        """Route to the release; True if that changed anything. `monitored`: the previous release gets requests that this one refuses."""
        text, route_id = routes(release["edge"])
        old, marker = self.caddyfile.read_text() if self.caddyfile.is_file() else "", self._marker(route_id)
        rewritten = old != text
        changed = rewritten or (bool(route_id) and marker.partition("~")[0] != release["version"])
        before, after = (f"# release: {name}\n{routes}" for name, routes in ((self.store.current, old), (release["version"], text)))
        diff = {"header": str(self.caddyfile), "before": before if old else "", "after": after}
        if changed and self.stack.record_change("switch the edge", **diff):
            same_upstreams = monitored and previous["edge"]["upstreams"] == release["edge"]["upstreams"]
            self.set_marker(release, previous["version"] if same_upstreams else "")
            if rewritten:
                self.caddyfile.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
                write(self.caddyfile, text, 0o644)
        spec = self.options["edge_service"].get("spec")
        if self.stack.check:
            if spec:
                self.stack.container(spec)
            return changed
        actions, created_before = len(self.stack.actions), self.container in self.stack.created
        try:
            if spec:
                self.stack.container(self._spec_with_volumes())
            elif (actual := self.engine.find(f"/containers/{self.container}/json")) is None:
                raise Failed(f"the edge {self.container} does not exist on this host; make deploy creates it")
            else:
                self.stack.ensure_running(self.container, actual)
            restarted = len(self.stack.actions) > actions
            if restarted or created_before:
                self.stack.wait([self.container], self.options["health_timeout"])
            # An interrupted run may have written the routes without loading them.
            if (rewritten or self.resumed) and not restarted:
                self._reload()
        except (EngineError, SpecError, Unhealthy, Failed) as error:
            if previous:
                write(self.caddyfile, old or routes(previous["edge"])[0], 0o644)
                self.set_marker(previous)
                self._remove_other_markers(routes(previous["edge"])[1])
            raise Failed(f"the edge did not accept the new routes and keeps the old ones: {error}") from error
        self._remove_other_markers(route_id)
        return changed

    # its container ----------------------------------------------------------------------------------------------------

    def containers_to_create(self) -> list[dict[str, Any]]:
        """The edge's container where it is missing and has routes; the switch waits for it."""
        service = self.options["edge_service"]
        if service and self.caddyfile.is_file() and self.engine.find(f"/containers/{self.container}/json") is None:
            return [self._spec_with_volumes()]
        return []

    def _spec_with_volumes(self) -> dict[str, Any]:
        """The container's specification; creates the volumes that it needs."""
        for volume in self.options["edge_service"].get("volumes") or []:
            self.stack.volume(volume)
        spec: dict[str, Any] = self.options["edge_service"]["spec"]
        return spec

    def _reload(self) -> None:
        status, output = self.engine.execute(self.container, self.options["edge"]["reload"])
        if status:
            raise Failed(output.strip()[-800:])

    # marker files -----------------------------------------------------------------------------------------------------

    def _markers(self, route_id: str) -> list[Path]:
        """Marker files of these routes, the current one first: ROUTE_ID.NUMBER.RELEASE, or RELEASE~PREVIOUS while it is monitored."""
        return sorted(self.markers.glob(f"{route_id}.*")) if route_id and self.markers.is_dir() else []

    def _marker(self, route_id: str) -> str:
        return next((file.name.split(".", 2)[2] for file in self._markers(route_id)), "")

    def set_marker(self, release: dict[str, Any], previous: str = "") -> None:
        """Write the marker of a release and, while it is monitored, of the previous one. Nothing for routes that name their upstreams."""
        route_id = routes(release["edge"])[1]
        desired = f"{release['version']}{'~' if previous else ''}{previous}"
        if self.stack.check or not route_id or self._marker(route_id) == desired:
            return
        self.markers.mkdir(parents=True, exist_ok=True)
        for directory in (self.markers, self.markers.parent):
            directory.chmod(0o755)
        existing = self._markers(route_id)
        # Keep the current one until the next switch: a request may have just read its name.
        for stale in existing[1:]:
            stale.unlink()
        number = int(existing[0].name.split(".", 2)[1]) - 1 if existing else 999999
        file = self.markers / f".{route_id}.new"
        file.touch()
        file.chmod(0o644)
        file.rename(self.markers / f"{route_id}.{number:06d}.{desired}")

    def _remove_other_markers(self, route_id: str) -> None:
        for file in self.markers.iterdir() if self.markers.is_dir() else ():
            if not route_id or not file.name.startswith(f"{route_id}."):
                file.unlink()
