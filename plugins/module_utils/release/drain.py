"""Drain and remove old containers; remove releases beyond the retention."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import signal
import time
from collections.abc import Collection

from ..docker.client import Engine, EngineError
from ..docker.ownership import DRAINING, own_names, stack_containers
from ..docker.reconcile import stop_timeout
from ..state.store import Lock, Store, write


class Drain:
    """Drains containers in a process of its own, so that a run does not wait for a client's open stream."""

    def __init__(self, engine: Engine, store: Store, lock: Lock) -> None:
        self.engine, self.store, self.lock = engine, store, lock
        self.lock_file = store.root / ".draining"
        # {container: token of the drain that removes it}. A drain that still waits leaves a container to one that was started later.
        self.owners_file = store.root / ".drains.json"

    def leftovers(self, labels: dict[str, str], services: list[str], keep: str) -> list[str]:
        """Containers of other releases; frontends first, because they send requests to the backends."""
        found = [
            (c["Labels"].get("berth.service") != "frontend", c["Names"][0].lstrip("/"))
            for c in stack_containers(self.engine, labels, self.store.containers)
            if c["Labels"].get("berth.service") in services and (c["Labels"].get("berth.version") != keep or DRAINING in c["Names"][0])
        ]
        return [name for _, name in sorted(found)]

    def busy(self) -> bool:
        """Whether a drain is running."""
        if not self.lock_file.is_file():
            return False
        with self.lock_file.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _is_owner(self, name: str, token: str) -> bool:
        return self.owners_file.is_file() and json.loads(self.owners_file.read_text()).get(name) == token

    def _claim(self, names: list[str]) -> str:
        """Take these containers over from any earlier drain; returns the token of this one."""
        owners, token = json.loads(self.owners_file.read_text()) if self.owners_file.is_file() else {}, secrets.token_hex(8)
        existing = {name: other for name, other in owners.items() if self.engine.find(f"/containers/{name}/json")}
        write(self.owners_file, json.dumps(existing | dict.fromkeys(names, token)), 0o600)
        return token

    def start(self, names: list[str], after: float, wait: float, behind: Collection[str] = ()) -> bool:
        """Drain `names` `after` seconds from now, and when the containers with the ids `behind` are gone; wait up to `wait` seconds for it.

        True if they are removed by then.
        """
        found = [self.engine.find(f"/containers/{name}/json") for name in names]
        identities = [actual["Id"] for actual in found if actual]
        token = self._claim(names)
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
                with self.lock_file.open("a") as file:
                    fcntl.flock(file, fcntl.LOCK_SH)
                    self._drain(names, after, token, behind)
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        deadline = time.monotonic() + wait
        while wait and any(self.engine.find(f"/containers/{identity}/json") for identity in identities):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return bool(wait)

    def _drain(self, names: list[str], after: float, token: str, behind: Collection[str] = ()) -> None:
        time.sleep(after)
        while self.store.root.is_dir() and any(self.engine.find(f"/containers/{identity}/json") for identity in behind):
            time.sleep(1)
        for name in names:
            if not self.store.root.is_dir():
                return  # the stack was destroyed meanwhile
            try:
                # Not during a rollout: a rollback may need this container again.
                with self.lock.exclusive():
                    actual = self.engine.find(f"/containers/{name}/json")
                    if (
                        actual is None
                        or not self._is_owner(name, token)
                        or (DRAINING not in name and actual["Config"]["Labels"].get("berth.version") == self.store.current)
                    ):
                        continue
                    if DRAINING not in name:
                        # From now on a rollback may create a container of this name.
                        self.engine.call("POST", f"/containers/{name}/rename", {"name": f"{name}{DRAINING}{actual['Id'][:6]}"})
                self.engine.call("POST", f"/containers/{actual['Id']}/stop", timeout=stop_timeout(actual))
                self.engine.call("DELETE", f"/containers/{actual['Id']}", {"force": "true", "v": "true"})
            except EngineError:
                continue  # somebody else removed it


def retire(engine: Engine, store: Store, keep: int, protected: set[str]) -> list[str]:
    """Remove all but the newest `keep` releases, with the images that no other release has; returns their names.

    Only names that Berth gave are removed from an image; an image with another name, or in use by a container, stays.
    """
    releases = store.releases()
    kept = {m["version"] for m in releases[:keep]} | protected
    kept_images = {image for m in releases if m["version"] in kept for image in m["images"].values()}
    removed = []
    for manifest in releases:
        if manifest["version"] in kept:
            continue
        given = set((manifest.get("references") or {}).values())
        for image in manifest["images"].values():
            if image in kept_images:
                continue
            try:
                found = engine.find(f"/images/{image}/json") or {}
                named = found.get("RepoTags") or found.get("RepoDigests")
                # An image that lost its name to another one is removed by its id.
                for name in own_names(found, kept_images, given) if named or not found else [image]:
                    engine.call("DELETE", f"/images/{name}")
            except EngineError:
                continue  # in use by a container that is not part of a release
        store.forget(manifest["version"])
        removed.append(manifest["version"])
    return removed
