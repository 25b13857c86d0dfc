"""Let tests import module_utils as modules do, and plugins by their file's name."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import ansible.module_utils
import pytest

ROOT = Path(__file__).resolve().parents[2]

# ansible.module_utils.NAME is how a module on a host finds them; here they are put under that name, one object under both names.
sys.path[:0] = [str(ROOT / "plugins" / "modules"), str(ROOT / "plugins" / "filter"), str(ROOT / "plugins" / "action")]
ansible.module_utils.__path__.append(str(ROOT / "plugins" / "module_utils"))
for path in sorted((ROOT / "plugins" / "module_utils").glob("*.py")):
    sys.modules[path.stem] = importlib.import_module(f"ansible.module_utils.{path.stem}")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A host without Docker (tests/unit/engines.py), whose clock is that of what switches releases."""
    engines = importlib.import_module("engines")
    made = engines.Host(tmp_path)
    for name in ("switch", "stack"):
        monkeypatch.setattr(sys.modules[name], "time", made.clock)
    monkeypatch.setattr(sys.modules["switch"], "ask", made.ask)
    monkeypatch.setattr(sys.modules["release_act"], "Engine", lambda: made.engine)
    return made
