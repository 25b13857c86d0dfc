"""Let tests import plugins as Ansible does."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from ansible.plugins.loader import init_plugin_loader

ROOT = Path(__file__).resolve().parents[2]

# The collection as Ansible finds it; without the link that make setup makes, a link of our own.
COLLECTIONS = ROOT / ".ansible" / "collections"
if not (COLLECTIONS / "ansible_collections" / "berth" / "stack").exists():
    (COLLECTIONS / "ansible_collections" / "berth").mkdir(parents=True, exist_ok=True)
    (COLLECTIONS / "ansible_collections" / "berth" / "stack").symlink_to(ROOT)
init_plugin_loader([str(COLLECTIONS)])
# Every setting, and what roles get of settings and of each other: the defaults of the roles stack and wiring.
STACK = [*sorted((ROOT / "roles/stack/defaults/main").glob("*.yml")), ROOT / "roles/wiring/defaults/main.yml"]
PLUGINS = "ansible_collections.berth.stack.plugins"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A host without Docker (tests/unit/engines.py), whose clock is that of what switches releases."""
    engines = importlib.import_module("engines")
    made = engines.Host(tmp_path)
    monkeypatch.setattr(f"{PLUGINS}.module_utils.release.rollout.time", made.clock)
    monkeypatch.setattr(f"{PLUGINS}.module_utils.docker.reconcile.time", made.clock)
    monkeypatch.setattr(f"{PLUGINS}.module_utils.release.rollout.request", made.ask)
    monkeypatch.setattr(f"{PLUGINS}.module_utils.release.deployment.Engine", lambda: made.engine)
    return made
