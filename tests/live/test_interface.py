"""The OpenAPI document compared with the service behind the edge."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from conftest import BASE_URL, EDGE_CA, User


def test_schemathesis_finds_nothing(users: Callable[[int], list[User]], tmp_path: Path) -> None:
    (user,) = users(1)
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{BASE_URL}/openapi.json",
        "--checks", "all", "--max-examples", "20", "--seed", "1", "--no-color", "--suppress-health-check", "all",
        "--tls-verify", str(Path(EDGE_CA).resolve()), "-H", f"Authorization: Bearer {user.token}",
    ]  # fmt: skip
    environment = {**os.environ, "REQUESTS_CA_BUNDLE": str(Path(EDGE_CA).resolve())}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert "12 selected / 12 total" in run.stdout
