"""Point the edge to the release that serves; at every moment it points to a pair that is up.

It asks the name of a file which one that is, so that a switch is a new file; it is reloaded only where the routes themselves differ.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ..docker.client import EngineError
from ..docker.reconcile import Stack, Unhealthy
from ..docker.spec import SpecError
from ..state.store import Failed, Store, write

# Until requests that had chosen the old release have reached it: the edge dials within this.
SETTLE = 0.3
# What stands for itself in a Caddyfile that asks the name of a file which release serves (role edge).
ROUTES = "@routes@"


def routes(edge: dict[str, Any]) -> tuple[str, str]:
    """The Caddyfile of a release, and how the file begins that tells it who serves; empty where it names its upstreams itself."""
    text = edge["caddyfile"]
    if ROUTES not in text:
        return text, ""
    route_id = hashlib.sha256(text.encode()).hexdigest()[:12]
    return text.replace(ROUTES, route_id), route_id


class Edge:
    """The edge of one host. `wanted` holds the module's options."""

    def __init__(self, stack: Stack, store: Store, wanted: dict[str, Any]) -> None:
        self.engine, self.stack, self.store, self.options = stack.engine, stack, store, wanted
        # Whether this run takes up one that was interrupted.
        self.resumed = False

    @property
    def container(self) -> str:
        return self.options["edge"]["container"]

    @property
    def caddyfile(self) -> Path:
        return Path(self.options["edge"]["directory"]) / "config" / "Caddyfile"

    @property
    def serving(self) -> Path:
        """The directory of the file whose name says which release serves."""
        return self.caddyfile.parent / "serving"

    def points_to(self, release: dict[str, Any]) -> bool:
        """Whether the edge was told that this release serves."""
        text, route_id = routes(release["edge"])
        written = self.caddyfile.is_file() and self.caddyfile.read_text() == text
        return written and (not route_id or self._marker(route_id).partition("~")[0] == release["version"])

    def route(self, release: dict[str, Any], previous: dict[str, Any], monitored: bool = False) -> bool:
        """Point the edge to the release; True when it was done. `watched`: the other one gets what it refuses."""
        text, route_id = routes(release["edge"])
        was, serves = self.caddyfile.read_text() if self.caddyfile.is_file() else "", self._marker(route_id)
        rewritten = was != text
        # What it points to already, watched or not, needs no switch.
        changed = rewritten or (bool(route_id) and serves.partition("~")[0] != release["version"])
        before, after = (f"# serves: {name}\n{routes}" for name, routes in ((self.store.current, was), (release["version"], text)))
        if changed and self.stack.record_change("switch the edge", header=str(self.caddyfile), before=before if was else "", after=after):
            self.set_marker(
                release, previous["version"] if monitored and previous["edge"]["upstreams"] == release["edge"]["upstreams"] else ""
            )
            if rewritten:
                self.caddyfile.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
                write(self.caddyfile, text, 0o644)
        spec = self.options["edge_service"].get("spec")
        if self.stack.check:
            spec and self.stack.container(spec)
            return changed
        actions, early = len(self.stack.actions), self.container in self.stack.created
        try:
            if spec:
                self._ensure_container()
            elif self.engine.find(f"/containers/{self.container}/json") is None:
                raise Failed(f"the edge {self.container} is not on this host; make deploy brings it back")
            else:
                self._ensure_running()
            fresh = len(self.stack.actions) > actions
            if fresh or early:
                self.stack.wait([self.container], self.options["wait"])
            # One that was interrupted may have written the routes and not loaded them.
            if (rewritten or self.resumed) and not fresh:
                self._reload()
        except (EngineError, SpecError, Unhealthy, Failed) as error:
            if previous:
                write(self.caddyfile, was or routes(previous["edge"])[0], 0o644)
                self.set_marker(previous)
                self._remove_other_markers(routes(previous["edge"])[1])
            raise Failed(f"the edge did not take the new routes, the old ones stay: {error}") from error
        self._remove_other_markers(route_id)
        return changed

    # its container ----------------------------------------------------------------------------------------------------

    def containers_to_create(self) -> list[dict[str, Any]]:
        """The container of an edge that is gone and has routes from before, to be made beside all else; the switch waits for it."""
        service = self.options["edge_service"]
        if service and self.caddyfile.is_file() and self.engine.find(f"/containers/{self.container}/json") is None:
            return [self._spec_with_volumes()]
        return []

    def _ensure_container(self) -> None:
        self.stack.container(self._spec_with_volumes())

    def _spec_with_volumes(self) -> dict[str, Any]:
        """The container's specification; makes the volumes that it needs."""
        for volume in self.options["edge_service"].get("volumes") or []:
            self.stack.volume(volume)
        spec: dict[str, Any] = self.options["edge_service"]["spec"]
        return spec

    def _ensure_running(self) -> None:
        state = self.engine.call("GET", f"/containers/{self.container}/json")
        self.stack.ensure_running(self.container, state)

    def _reload(self) -> None:
        status, output = self.engine.execute(self.container, self.options["edge"]["reload"])
        if status:
            raise Failed(output.strip()[-800:])

    # the files that say who serves ------------------------------------------------------------------------------------

    def _markers(self, route_id: str) -> list[Path]:
        """Files that say to the edge with these routes who serves: MARK.NUMBER.RELEASE, or RELEASE~BEFORE; the first is in force."""
        return sorted(self.serving.glob(f"{route_id}.*")) if route_id and self.serving.is_dir() else []

    def _marker(self, route_id: str) -> str:
        return next((file.name.split(".", 2)[2] for file in self._markers(route_id)), "")

    def set_marker(self, release: dict[str, Any], before: str = "") -> None:
        """Say to the edge who serves and, while it is watched, who did before. Nothing for routes that say it themselves."""
        route_id = routes(release["edge"])[1]
        wanted = f"{release['version']}{'~' if before else ''}{before}"
        if self.stack.check or not route_id or self._marker(route_id) == wanted:
            return
        self.serving.mkdir(parents=True, exist_ok=True)
        for directory in (self.serving, self.serving.parent):
            directory.chmod(0o755)
        there = self._markers(route_id)
        # The one in force until now stays until the next time: a request may have just read its name.
        for stale in there[1:]:
            stale.unlink()
        number = int(there[0].name.split(".", 2)[1]) - 1 if there else 999999
        file = self.serving / f".{route_id}.new"
        file.touch()
        file.chmod(0o644)
        file.rename(self.serving / f"{route_id}.{number:06d}.{wanted}")

    def _remove_other_markers(self, route_id: str) -> None:
        """Keep the files of these routes alone."""
        for file in self.serving.iterdir() if self.serving.is_dir() else ():
            if not route_id or not file.name.startswith(f"{route_id}."):
                file.unlink()
