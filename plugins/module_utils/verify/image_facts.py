"""What a stack's images are made of, and what a scan of their layers finds; a scan is remembered, for an image never changes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ..docker.client import Engine
from ..docker.image_scan import SCANNER, history_hits, scan


def images(engine: Engine, directory: Path, identities: dict[str, str], canaries: list[bytes]) -> dict[str, Any]:
    """By service: configuration, history and what a scan of all layers found."""
    path = directory / "image-scans.json"
    secrets = hashlib.sha256(b"\0".join([SCANNER.encode(), *canaries])).hexdigest()[:16]
    remembered = json.loads(path.read_text()) if path.is_file() else {}
    scans = remembered.get("scans", {}) if remembered.get("secrets") == secrets else {}
    facts: dict[str, Any] = {}
    for service, identity in identities.items():
        inspected = engine.find(f"/images/{identity}/json")
        if inspected is None:
            facts[service] = {"error": f"the engine has no image {identity}"}
            continue
        history = engine.call("GET", f"/images/{identity}/history")
        if identity not in scans:
            with engine.stream(f"/images/{identity}/get") as stream:
                scans[identity] = scan(stream, canaries)
        config = inspected["Config"]
        facts[service] = {
            "id": identity,
            "tags": inspected.get("RepoTags") or [],
            "digests": inspected.get("RepoDigests") or [],
            "size": inspected["Size"],
            "created": inspected["Created"],
            "layers": [{"size": entry["Size"], "by": entry["CreatedBy"][:160]} for entry in history if entry["Size"]],
            "instructions": [entry["CreatedBy"].split()[0] for entry in history if entry["CreatedBy"]],
            "user": config.get("User") or "",
            "exposed": sorted(config.get("ExposedPorts") or {}),
            "entrypoint": config.get("Entrypoint") or [],
            "command": config.get("Cmd") or [],
            "health_test": (config.get("Healthcheck") or {}).get("Test") or [],
            "labels": config.get("Labels") or {},
            "environment": [entry.partition("=")[0] for entry in config.get("Env") or []],
            "scan": {**scans[identity], "secrets": scans[identity]["secrets"] + history_hits(history, config.get("Env") or [])},
        }
    kept = {identity: scans[identity] for identity in identities.values() if identity in scans}
    if remembered != {"secrets": secrets, "scans": kept} and directory.is_dir():
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps({"secrets": secrets, "scans": kept}))
        scratch.chmod(0o600)
        scratch.rename(path)
    return facts
