"""State written by the previous version stays readable: names of files and keys are literal here, as that version wrote them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible_collections.berth.stack.plugins.module_utils.data.backups import Backups
from ansible_collections.berth.stack.plugins.module_utils.release.drain import Drain
from ansible_collections.berth.stack.plugins.module_utils.secrets.store import Store as Secrets
from ansible_collections.berth.stack.plugins.module_utils.state.store import Lock
from engines import ME, SERVICES, Host
from test_deployment import act

HELD = {"owner": "bob", "host": "there", "pid": 9, "started": "1", "verb": "deploy", "reason": "", "since": "2026-01-01T00:00:00Z"}


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def written(host: Host) -> None:
    """A host with two releases, infrastructure, an unfinished deploy and an expired lock."""
    host.images("v1", "v2")
    around = {
        "services": list(SERVICES),
        "database": {},
        "edge": {"container": "s-edge", "directory": str(host.folder / "edge"), "reload": ["reload"]},
        "smoke": [{"service": service, "port": 8000, "path": f"/{service}", "status": ["2xx"]} for service in SERVICES],
        "swarm": {},
    }
    for version in ("v1", "v2"):
        manifest = {
            "version": version,
            "image_version": version,
            "released": f"2026-01-0{version[1]}T00:00:00Z",
            "by": "bob@there",
            "previous": "v1" if version == "v2" else "",
            "fingerprint": f"hash of {version}",
            "secrets_generation": "1",
            "schema": {},
            "images": {service: f"sha256:{service}-{version}" for service in SERVICES},
            "references": {service: f"s-{service}:{version}" for service in SERVICES},
            "networks": [{"name": "s-app"}],
            "containers": [
                {
                    "name": f"s-{service}-{version}",
                    "image": f"sha256:{service}-{version}",
                    "labels": {"berth.service": service, "berth.version": version},
                    "networks": [{"name": "s-app"}],
                }
                for service in SERVICES
            ],
            "migrations": [],
            "edge": {"caddyfile": "/@routes@.* s-backend-{release}:8000", "upstreams": {"backend": "s-backend-{release}:8000"}},
            "around": around,
        }
        write(host.store.folder / f"{version}.json", manifest)
    root = host.store.root
    write(root / "current", "v2\n")
    write(root / "pending.json", {"verb": "deploy", "from": "v2", "to": "v3", "since": "2026-01-03T00:00:00Z"})
    write(root / "schema.json", {"migrated": {"backend": "sha256:backend-v2"}, "commands": {"backend": ["migrate"]}, "heads": ["2"]})
    model = {"name": "s-model", "image": "sha256:backend-v1", "networks": [{"name": "s-app"}]}
    edge = {"spec": {"name": "s-edge", "image": "sha256:backend-v1"}, "volumes": []}
    networks = {"s-app": {"name": "s-app"}}
    write(root / "foundation.json", {"networks": networks, "volumes": {}, "containers": {"s-model": model}, "edge": edge})
    write(root / "lock", HELD | {"began": 1.0, "expires": "2026-01-01T01:00:00Z", "token": "t"})
    line = {"when": "2026-01-02T00:00:00Z", "who": "bob@there", "verb": "deploy", "what": "switch the edge", "from": "v1", "to": "v2"}
    write(root / "audit.jsonl", json.dumps(line | {"outcome": "ok", "seconds": 1.0}) + "\n")
    write(root / ".drains.json", {"s-backend-v1": "token"})
    write(root / ".recorded", {key: ME[key] for key in ("host", "pid", "started")} | {"outcome": "ok"})


def test_releases_locks_and_records_are_read(host: Host) -> None:
    written(host)
    store = host.store
    assert (store.current, store.previous, store.pending["to"], store.schema["heads"]) == ("v2", "v1", "v3", ["2"])
    assert [manifest["version"] for manifest in store.releases()] == ["v2", "v1"]
    assert set(store.infrastructure["containers"]) == {"s-model"} and store.infrastructure["edge"]["spec"]["name"] == "s-edge"
    assert {"s-model", "s-edge", "s-backend-v1", "s-frontend-v2"} <= store.containers
    assert store.holders[0]["line"]["verb"] == "deploy" and store.audit_log()[0]["outcome"] == "ok"
    lock = Lock(store, ME)
    assert lock.recorded_outcome == "ok"
    assert lock.acquire("rollback") == "bob on there (deploy since 2026-01-01T00:00:00Z)"
    assert store.audit_log()[-1]["outcome"] == "interrupted"
    assert Drain(host.engine, store, lock)._is_owner("s-backend-v1", "token")


def test_a_rollback_uses_the_recorded_manifest_and_creates_the_infrastructure(host: Host) -> None:
    written(host)
    (host.store.root / "pending.json").unlink()
    outcome = act(host).run()
    assert (outcome["release"], outcome["before"], host.store.current, host.serves) == ("v1", "v2", "v1", "v1")
    assert {"s-model", "s-backend-v1", "s-frontend-v1"} <= set(host.engine.containers) and "s-app" in host.engine.networks


def test_backups_and_secrets_are_read(host: Host) -> None:
    root = host.store.root
    note = {"when": "2026-01-01T00:00:00Z", "why": "on-demand", "release": "v1", "schema": {"heads": ["1"]}, "bytes": 0, "automatic": False}
    write(root / "backups" / "20260101T000000Z-on-demand" / "backup.json", note)
    assert Backups(host.store).find("")["release"] == "v1"
    history = {"source": "generated", "generation": 1, "made": "2026-01-01T00:00:00Z", "version": 1, "previous": []}
    record = {"values": {"key": "k"}, "history": {"key": history}, "files": {"backend": {"key": "k"}}}
    write(root / "secrets" / "1" / "record.json", record)
    secrets = Secrets(root / "secrets")
    assert (secrets.generations(), secrets.record(1)) == ([1], record)
