"""The health check of the images asks as the edge would: an application may accept its public name only."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT

NAME = "app.example.com:8443"


class Strict(http.server.BaseHTTPRequestHandler):
    """As Starlette with TrustedHostMiddleware and HTTPSRedirectMiddleware."""

    def do_GET(self) -> None:
        known = self.headers["Host"] == NAME and self.headers["X-Forwarded-Proto"] == "https"
        self.send_response(200 if known else 400)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (compiler := shutil.which("gcc")):
        pytest.skip("no C compiler")
    made = tmp_path_factory.mktemp("c") / "healthcheck"
    source = ROOT / "roles/base_image/files/healthcheck.c"
    subprocess.run([compiler, "-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-o", made, source], check=True)
    return made


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.HTTPServer(("127.0.0.1", 0), Strict) as server:
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(("host", "status"), [(NAME, 0), ("", 1), ("other", 1)])
def test_it_asks_for_the_public_name(program: Path, port: int, host: str, status: int) -> None:
    environment = os.environ | ({"HEALTH_HOST": host} if host else {})
    done = subprocess.run([program, str(port), "/health"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert status == 0 or f"400 Bad Request (asked for Host {host or f'127.0.0.1:{port}'})" in done.stdout
