"""`docker compose up` and the roles run the same containers: compares the engine's configuration of every service."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import STACK

ROOT = Path(__file__).resolve().parents[2]
# Beside the stack of the other tests, on ports of its own.
ENVIRONMENT = os.environ | {"STACK_NAME": STACK, "HTTPS_PORT": "18453", "HTTP_PORT": "18090"}
ALIKE = (
    "ReadonlyRootfs", "CapAdd", "CapDrop", "SecurityOpt", "Privileged", "Memory", "MemorySwap", "NanoCpus", "CpuShares", "PidsLimit",
    "RestartPolicy", "LogConfig", "Tmpfs", "ShmSize", "Init",
)  # fmt: skip


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


def containers(stack: str) -> dict[str, dict[str, Any]]:
    """{service: docker inspect} of running containers."""
    ids = run("docker", "ps", "--quiet", "--filter", f"label=berth.stack={stack}").split()
    found = json.loads(run("docker", "inspect", *ids)) if ids else []
    return {container["Config"]["Labels"]["berth.service"]: container for container in found}


@pytest.fixture(scope="module")
def compose() -> Iterator[dict[str, dict[str, Any]]]:
    playbook = str(ROOT / ".venv/bin/ansible-playbook")
    try:
        run(playbook, "-i", "inventory/local.yml", "playbooks/compose.yml")
        run("docker", "compose", "up", "--wait")
        yield containers(f"{STACK}-compose")
    finally:
        run("docker", "compose", "down", "--volumes")


def hardening(container: dict[str, Any]) -> dict[str, Any]:
    config, host = container["Config"], container["HostConfig"]
    output = {key: host.get(key) or None for key in ALIKE}
    output["CapAdd"], output["CapDrop"] = sorted(host["CapAdd"] or []), sorted(host["CapDrop"] or [])
    output["SecurityOpt"] = sorted(option.removesuffix(":true") for option in host["SecurityOpt"])
    output["Ulimits"] = sorted((limit["Name"], limit["Soft"], limit["Hard"]) for limit in host["Ulimits"])
    output |= {key: config.get(key) or None for key in ("User", "Entrypoint", "Cmd", "Healthcheck", "StopTimeout")}
    output["Image"] = container["Image"]
    output["environment"] = sorted(entry.partition("=")[0] for entry in config["Env"])
    output["mounts"] = sorted((m["Destination"], m["Type"], m["RW"]) for m in container["Mounts"])
    output["networks"] = sorted(name.rpartition("-" if "_" not in name else "_")[2] for name in container["NetworkSettings"]["Networks"])
    output["ports"] = sorted((port, [b["HostIp"] for b in bound or []]) for port, bound in (host["PortBindings"] or {}).items())
    return output


def test_every_service_runs_as_the_roles_run_it(compose):
    deployed = containers(STACK)
    assert set(compose) == set(deployed) and len(deployed) >= 4
    for service, container in deployed.items():
        assert hardening(compose[service]) == hardening(container), service


def test_its_inner_networks_have_no_way_out(compose):
    for network in ("app", "data"):
        assert json.loads(run("docker", "network", "inspect", f"{STACK}-compose_{network}"))[0]["Internal"] is True


def test_secrets_are_files_and_in_no_environment(compose):
    folder = Path(os.environ.get("LOCAL_DIR", ROOT / ".local")) / "compose/secrets/current"
    values = {path.read_text().strip() for path in folder.glob("*/*") if path.is_file()}
    assert len(values) > 3
    for container in compose.values():
        assert not any(value in entry for value in values for entry in container["Config"]["Env"])
    assert subprocess.run(["git", "check-ignore", "-q", ".local/compose"], cwd=ROOT, check=False).returncode == 0


def test_the_edge_serves_the_application(compose, tmp_path):
    authority = tmp_path / "ca.crt"
    run("docker", "compose", "cp", "edge:/data/caddy/pki/authorities/local/root.crt", str(authority))
    answer = run(
        "curl",
        "--silent",
        "--fail",
        "--retry",
        "20",
        "--retry-delay",
        "1",
        "--noproxy",
        "*",
        "--cacert",
        str(authority),
        "https://localhost:18453/health/ready",
    )
    assert json.loads(answer)["status"] == "ok"
