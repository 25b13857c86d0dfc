"""Let tests import module_utils as modules do, and plugins by their file's name."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import ansible.module_utils

ROOT = Path(__file__).resolve().parents[2]

# ansible.module_utils.NAME is how a module on a host finds them; here they are put under that name, one object under both names.
sys.path[:0] = [str(ROOT / "plugins" / "modules"), str(ROOT / "plugins" / "filter"), str(ROOT / "plugins" / "action")]
ansible.module_utils.__path__.append(str(ROOT / "plugins" / "module_utils"))
for path in sorted((ROOT / "plugins" / "module_utils").glob("*.py")):
    sys.modules[path.stem] = importlib.import_module(f"ansible.module_utils.{path.stem}")
