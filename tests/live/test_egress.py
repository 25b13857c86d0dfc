"""Internet access by a list of hosts: the services reach what is listed, by its name, and nothing else; the verification finds it so."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from conftest import STACK, docker, verb

OUTSIDE, UPSTREAM = f"{STACK}-outside", f"{STACK}-outside-upstream"
# Names in the network OUTSIDE, which stands for the internet. Two of them share a port.
NAMES = ("allowed.test", "second.test", "forbidden.test")
EGRESS = {"backend_image_egress": ["allowed.test", "second.test"], "frontend_image_egress": ["allowed.test"]}
SERVER = """
import http.server
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"this is {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("0.0.0.0", 443), Page).serve_forever()
"""
# Arguments: NAME HOST: the answer at port 443 of NAME to a request for HOST.
PYTHON = """
import socket, sys
name, host = sys.argv[1:]
with socket.create_connection((name, 443), 5) as s:
    s.sendall(f"GET / HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    data = b""
    while more := s.recv(4096):
        data += more
print(data.decode().rpartition("\\n")[2])
"""
NODE = "fetch(`http://${process.argv[1]}:443/`).then((r) => r.text()).then(console.log)"


def containers(service: str) -> list[str]:
    return docker("ps", "--quiet", f"--filter=label=berth.stack={STACK}", f"--filter=label=berth.service={service}").split()


def deploy(variables: dict[str, list[str]]) -> None:
    done = verb("deploy", "-e", json.dumps(variables))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr


def ask(service: str, *command: str) -> tuple[int, str]:
    done = subprocess.run(["docker", "exec", containers(service)[0], *command], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


@pytest.fixture(scope="module")
def listed() -> Iterator[None]:
    """The stack with EGRESS, and relays that have OUTSIDE besides the internet."""
    labels = ["--label", f"berth.test={STACK}", "--label", "berth.stack=", "--label", "berth.service="]
    image = docker("inspect", "--format", "{{.Image}}", containers("backend")[0])
    # The verification knows the networks of the stack by their label.
    docker("network", "create", "--label", f"berth.test={STACK}", "--label", f"berth.stack={STACK}", OUTSIDE)
    try:
        aliases = [word for name in NAMES for word in ("--network-alias", name)]
        docker(
            "run", "--detach", "--name", UPSTREAM, *labels, "--network", OUTSIDE, *aliases, "--entrypoint", "python3", image, "-c", SERVER
        )
        deploy(EGRESS)
        for service in ("egress-backend", "egress-frontend"):
            docker("network", "connect", OUTSIDE, containers(service)[0])
        yield
    finally:
        deploy({})
        gone = containers("egress-backend") == containers("egress-frontend") == []
        docker("rm", "--force", "--volumes", UPSTREAM)
        docker("network", "rm", OUTSIDE)
        assert gone, "without lists there are no relays"


@pytest.mark.parametrize("name", ["allowed.test", "second.test"])
def test_the_backend_reaches_the_hosts_of_its_list(listed: None, name: str) -> None:
    assert ask("backend", "python3", "-c", PYTHON, name, name) == (0, f"this is {name}")


def test_the_backend_reaches_nothing_else(listed: None) -> None:
    status, output = ask("backend", "python3", "-c", PYTHON, "forbidden.test", "forbidden.test")
    assert status and "name resolution" in output
    # By the relay of a listed name.
    assert ask("backend", "python3", "-c", PYTHON, "allowed.test", "forbidden.test") == (0, "")
    assert "refused: forbidden.test, port 443" in docker("logs", containers("egress-backend")[0])
    # By its address.
    address = docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", UPSTREAM)
    status, output = ask("backend", "python3", "-c", PYTHON, address, "forbidden.test")
    assert status and "unreachable" in output


def test_the_frontend_has_a_list_of_its_own(listed: None) -> None:
    assert ask("frontend", "node", "-e", NODE, "allowed.test") == (0, "this is allowed.test:443")
    status, output = ask("frontend", "node", "-e", NODE, "second.test")
    assert status and ("ENOTFOUND" in output or "EAI_AGAIN" in output)


def test_the_verification_finds_what_the_lists_say(listed: None) -> None:
    done = verb("verify", "-e", json.dumps(EGRESS), BERTH_ID="SSEC-05")
    assert done.returncode == 0, done.stdout[-3000:]


def test_the_verification_finds_a_way_round_the_list(listed: None) -> None:
    network, backend = f"{STACK}-internet", containers("backend")[0]
    docker("network", "connect", network, backend)
    try:
        done = verb("verify", "-e", json.dumps(EGRESS), BERTH_ID="SSEC-05")
        assert done.returncode != 0 and "has a way out by" in done.stdout
    finally:
        docker("network", "disconnect", network, backend)
