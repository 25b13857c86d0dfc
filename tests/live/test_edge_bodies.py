"""A body reaches the upstream as it was sent, or not at all, when a connection is refused: Caddy 2.6 retries with another request's."""

from __future__ import annotations

import asyncio
import subprocess
import uuid
from collections import Counter
from pathlib import Path

import httpx
import pytest
from conftest import EDGE_CA, STACK, docker

ROOT = Path(__file__).resolve().parents[2]
ROUTES = Path("/var/lib") / STACK / "edge/config/Caddyfile"
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
def other_edge(tmp_path: Path):
    """An edge with the routes of this stack, whose upstream refuses, and behind it the release before: an echo. Yields its port."""
    network, echo, edge = (f"{STACK}-bodies-{name}" for name in ("network", "echo", "edge"))
    # Images hand their labels to containers; these are none of the stack.
    labels = ["--label", f"berth.test={STACK}", "--label", "berth.stack=", "--label", "berth.service="]
    backend, front = (
        docker("ps", "--quiet", f"--filter=label=berth.stack={STACK}", f"--filter=label=berth.service={s}") for s in ("backend", "edge")
    )
    image, caddy = (docker("inspect", "--format", "{{.Image}}", found) for found in (backend, front))
    refusing, serving = f"{edge}:9", f"{echo}:8000"
    routes = ROUTES.read_text()
    for where, instead in (("{release}", refusing), ("{before}", serving)):
        assert f"{STACK}-backend-{where}:8000" in routes
        routes = routes.replace(f"{STACK}-backend-{where}:8000", instead)
    (tmp_path / "Caddyfile").write_text(routes)
    # As while a release is watched: the one that serves refuses, the one before answers.
    name = min(path.name for path in (ROUTES.parent / "serving").iterdir())
    (tmp_path / "serving").mkdir()
    (tmp_path / "serving" / f"{name.partition('~')[0]}~before").touch()
    for directory in (tmp_path, tmp_path / "serving"):
        directory.chmod(0o755)
    docker("network", "create", *labels, network)
    try:
        docker("run", "--detach", "--name", echo, *labels, "--network", network, "--entrypoint", "python3", image, "-c", ECHO)
        docker(
            "run", "--detach", "--name", edge, *labels, "--network", network, "--publish", "127.0.0.1::8443", "--volume",
            f"{tmp_path}:/etc/caddy:ro", "--volume", f"{STACK}-edge:/data", "--tmpfs", "/run/caddy:mode=1777", caddy,
        )  # fmt: skip
        yield int(docker("port", edge, "8443/tcp").rsplit(":", 1)[1])
    finally:
        for name in (edge, echo):
            subprocess.run(["docker", "rm", "--force", "--volumes", name], capture_output=True, check=False)
        docker("network", "rm", network)


def test_no_body_is_mixed_up_when_the_release_that_serves_refuses(other_edge: int) -> None:
    told: Counter[str] = Counter()

    async def one(http: httpx.AsyncClient) -> None:
        for _ in range(20):
            body = uuid.uuid4().hex * 20
            answer = await http.post("/api/tasks", content=body)
            told[
                "as sent" if answer.text == body else f"another body: {answer.status_code}" if answer.status_code == 200 else "refused"
            ] += 1

    async def main() -> None:
        async with httpx.AsyncClient(base_url=f"https://localhost:{other_edge}", verify=str(EDGE_CA), timeout=20) as http:
            for _ in range(50):
                try:
                    await http.get("/health")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.1)
            await asyncio.sleep(1.2)  # the upstream that refused the first one is asked again
            await asyncio.gather(*(one(http) for _ in range(40)))

    asyncio.run(main())
    assert set(told) <= {"as sent", "refused"}, told
    assert told["as sent"] > 700, told
