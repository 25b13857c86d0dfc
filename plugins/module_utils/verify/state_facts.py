"""What stands in a stack's state directory: secrets, releases and backups. No secret is part of an answer."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from ..data.backups import Backups
from ..docker.client import Engine
from ..docker.image_scan import hits
from ..state.store import Store


def secret_values(directory: Path) -> list[bytes]:
    """All values of all generations' secrets; shorter ones than 12 bytes would be found everywhere."""
    values: set[bytes] = set()
    for path in (directory / "secrets").glob("*/*/*"):
        values.add(path.read_bytes().strip())
    for path in (directory / "secrets").glob("*/record.json"):
        record = json.loads(path.read_text())
        earlier = [value for secret in record.get("history", {}).values() for value in secret["previous"]]
        values |= {str(value).encode() for value in [*record.get("values", {}).values(), *earlier]}
    return sorted(value for value in values if len(value) >= 12)


def secrets(directory: Path) -> dict[str, Any]:
    """Modes and owners of the secrets' files; never their content."""
    root = directory / "secrets"
    if not root.is_dir():
        return {"generations": [], "files": []}
    files = []
    for path in sorted(root.rglob("*")):
        about = path.lstat()
        files.append(
            {"path": str(path.relative_to(root)), "directory": path.is_dir(), "mode": oct(stat.S_IMODE(about.st_mode)), "uid": about.st_uid}
        )
    return {"generations": sorted(path.name for path in root.iterdir() if path.is_dir()), "files": files}


def releases(engine: Engine, directory: Path, labels: dict[str, str], canaries: list[bytes]) -> dict[str, Any]:
    """The releases that the stack can go back to, what was done to it, and its backups."""
    store = Store(directory)
    existing = {image["Id"] for image in engine.listing("images", labels)}
    kept = [
        {
            "version": manifest["version"],
            "image_version": manifest.get("image_version", manifest["version"]),
            "released": manifest.get("released", ""),
            "images": manifest.get("images") or {},
            "images_exist": bool(manifest.get("images")) and set(manifest["images"].values()) <= existing,
            "configuration": bool(manifest.get("containers")),
            # An older Berth's manifests do not describe how to run them.
            "replayable": "around" in manifest and bool(manifest.get("edge")),
            "secrets": str(manifest.get("secrets_generation", "")),
            "secret_hits": hits(json.dumps(manifest).encode(), canaries),
        }
        for manifest in store.releases()
    ]
    configuration = [str(p.relative_to(directory)) for p in (directory / "edge").rglob("*") if p.is_file()]
    return {
        "current": store.current,
        "previous": store.previous,
        "kept": kept,
        "pending": store.pending,
        "audit": store.audit_log(50),
        "backups": [{key: note.get(key) for key in ("name", "when", "release", "bytes")} for note in Backups(store).all()],
        "configuration": configuration,
    }
