"""The OpenAPI document compared with the running service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.support import Issuer, Process


def test_schemathesis_finds_nothing(backend: Process, issuer: Issuer, tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{backend.url}/openapi.json",
        "--checks", "all", "--max-examples", "25", "--seed", "1", "--no-color",
        "-H", f"Authorization: Bearer {issuer.token('schemathesis')}",
        "--suppress-health-check", "all",
    ]  # fmt: skip
    # Not measured itself; and in one thread, because CPython 3.11 cannot parse in two when recursion is deep.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    run = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=150, check=False
    )
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert "12 selected / 12 total" in run.stdout
    assert not [line for line in backend.lines() if line["level"] == "ERROR"]


def test_the_document_describes_itself_well(backend: Process) -> None:
    document = httpx.get(f"{backend.url}/openapi.json", trust_env=False).json()
    assert document["info"]["version"] == "1.2.3"
    assert "HTTPValidationError" not in json.dumps(document)
    public = {"/health", "/health/ready"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["operationId"]
            assert operation["summary"]
            assert bool(operation.get("security")) == (path not in public)
            for status, response in operation["responses"].items():
                if status[0] in "45" and path not in public:
                    assert list(response["content"]) == ["application/problem+json"], (path, status)
    for name in (
        "TaskCreate",
        "TaskRead",
        "TaskUpdate",
        "ChatRequest",
        "ChatResponse",
        "Health",
        "Readiness",
        "Problem",
    ):
        schema = document["components"]["schemas"][name]
        assert (
            schema.get("example")
            or schema.get("examples")
            or any("examples" in p for p in schema["properties"].values())
        ), name
    assert document["components"]["schemas"]["ChatRequest"]["properties"]["message"]["maxLength"] == 4000


def test_docs_are_there(backend: Process) -> None:
    assert httpx.get(f"{backend.url}/docs", trust_env=False).status_code == 200
