"""Request bodies at the edge: a body reaches the upstream unchanged or not at all when a connection is refused (Caddy 2.6 retries with
another request's), and many slow bodies do not exhaust memory."""

from __future__ import annotations

import asyncio
import re
import ssl
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import BASE_URL, EDGE_CA, STACK, docker, other_edge

ROOT = Path(__file__).resolve().parents[2]
ECHO = """
import asyncio, re
async def handle(reader, writer):
    try:
        while True:
            head = await reader.readuntil(b"\\r\\n\\r\\n")
            length = re.search(rb"content-length: (\\d+)", head, re.I)
            body = await reader.readexactly(int(length[1]) if length else 0)
            await asyncio.sleep(0.002)
            writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()
async def main():
    await (await asyncio.start_server(handle, "0.0.0.0", 8000)).serve_forever()
asyncio.run(main())
"""


@pytest.fixture
def refusing(tmp_path: Path) -> Iterator[str]:
    """Address of an edge as while a release is monitored: the one that serves refuses connections, the one before is ECHO."""
    backends = {
        f"{STACK}-backend-{{release}}:8000": f"{STACK}-bodies-edge:9",
        f"{STACK}-backend-{{before}}:8000": f"{STACK}-bodies:8000",
    }
    with other_edge(tmp_path, backends, "before", "bodies", ECHO) as found:
        yield found


def test_no_body_is_mixed_up_when_the_release_that_serves_refuses(refusing: str) -> None:
    reported: Counter[str] = Counter()

    async def one(http: httpx.AsyncClient) -> None:
        for _ in range(20):
            body = uuid.uuid4().hex * 20
            answer = await http.post("/api/tasks", content=body)
            reported[
                "as sent" if answer.text == body else f"another body: {answer.status_code}" if answer.status_code == 200 else "refused"
            ] += 1

    async def main() -> None:
        async with httpx.AsyncClient(base_url=refusing, verify=str(EDGE_CA), timeout=20) as http:
            for _ in range(50):
                try:
                    await http.get("/health")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
            await asyncio.sleep(1.2)  # the upstream that refused the first one is asked again
            await asyncio.gather(*(one(http) for _ in range(40)))

    asyncio.run(main())
    assert set(reported) <= {"as sent", "refused"}, reported
    assert reported["as sent"] > 700, reported


# Argument: port, path, number of clients, bytes that each announces. It sends all but the last ten, says so, and waits until it is ended.
SLOW = """
import asyncio, ssl, sys
port, path, clients, size = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
kept = []
async def one():
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    kept.append((reader, writer))
    head = f"POST {path} HTTP/1.1\\r\\nHost: localhost:{port}\\r\\nContent-Type: application/json\\r\\nContent-Length: {size}\\r\\n\\r\\n"
    writer.write(head.encode() + b"x" * (size - 10))
    await writer.drain()
async def main():
    done = await asyncio.gather(*(one() for _ in range(clients)), return_exceptions=True)
    print("sent", sum(item is None for item in done), flush=True)
    await asyncio.sleep(60)
asyncio.run(main())
"""


def memory_share(container: str) -> float:
    """Memory usage of a container in percent of its limit."""
    return float(docker("stats", "--no-stream", "--format", "{{.MemPerc}}", container).rstrip("%"))


def test_slow_senders_take_bounded_memory_and_others_are_served() -> None:
    """Default settings; 200 clients whose bodies would fill the edge's memory if it buffered them."""
    clients, size = 200, 1_000_000
    name = f"{STACK}-edge"
    # What the edge does not hold must not be too much for the application that reads it.
    application = docker("ps", "--quiet", f"--filter=label=berth.stack={STACK}", "--filter=label=berth.service=frontend").split()
    state = ("inspect", "--format", "{{.Name}} {{.RestartCount}} {{.State.Pid}} {{.State.OOMKilled}}", name, *application)
    before = docker(*state)
    port = re.findall(r":(\d+)$", BASE_URL)[0]
    senders = subprocess.Popen([sys.executable, "-c", SLOW, port, "/", str(clients), str(size)], stdout=subprocess.PIPE, text=True)
    assert senders.stdout
    context = ssl.create_default_context(cafile=EDGE_CA)
    answers: Counter[str] = Counter()
    slowest = 0.0

    def ask(http: httpx.Client, method: str, path: str, body: bytes = b"") -> None:
        nonlocal slowest
        begun = time.monotonic()
        try:
            answers[f"{path} {http.request(method, path, content=body).status_code}"] += 1
        except httpx.TransportError as error:
            answers[f"{path} {type(error).__name__}"] += 1
        slowest = max(slowest, time.monotonic() - begun)

    try:
        with httpx.Client(base_url=BASE_URL, verify=context, timeout=15, trust_env=False) as http:
            begun = time.monotonic()
            while time.monotonic() - begun < 4:
                ask(http, "GET", "/health")
                time.sleep(0.05)
            sent = senders.stdout.readline().split()
            share = memory_share(name)
            # Somebody else's large body is passed on meanwhile; the backend refuses it.
            ask(http, "POST", "/api/tasks", b"x" * 900_000)
            ask(http, "GET", "/health")
    finally:
        senders.kill()
        senders.wait()
    assert docker(*state) == before, f"the edge or the frontend was restarted; others got {dict(answers)}"
    assert set(answers) == {"/health 200", "/api/tasks 413"}, answers
    assert sent == ["sent", str(clients)]
    assert slowest < 5
    assert share < 80, f"{share} % of the edge's memory are in use"
