"""The running application through its edge: BASE_URL, trusted by EDGE_CA; STACK_NAME names its containers.

Certificates are verified. Users that a test signs up are deleted after it, with all that is theirs.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

BASE_URL = os.environ.get("BASE_URL", "https://localhost:8443")
EDGE_CA = os.environ.get("EDGE_CA", ".local/edge-ca.crt")
STACK = os.environ.get("STACK_NAME", "berth")
ROOT = Path(__file__).resolve().parents[2]
os.environ["BERTH_ENV_FILE"] = ""  # tests are the same for everybody: no .env


def docker(*words: str) -> str:
    """Output of the docker CLI."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


def verb(name: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `make NAME`'s playbook to its end."""
    command = [str(ROOT / ".venv/bin/ansible-playbook"), f"playbooks/{name}.yml", *words]
    return subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False)


@contextmanager
def other_edge(directory: Path, replaced: dict[str, str], before: str, name: str, program: str) -> Iterator[str]:
    """Address of an edge of its own, with this stack's routes, certificate and image, and one upstream.

    `replaced`: {upstream of the routes: the one instead}; `before`: the release before the one that serves, as the mark names it, or empty;
    the upstream is the Python `program`, called STACK-`name`. Nothing of it counts as the stack's.
    """
    config = Path("/var/lib") / STACK / "edge/config"
    upstream, edge, network = (f"{STACK}-{name}{end}" for end in ("", "-edge", "-network"))
    # Images hand their labels to containers.
    labels = ["--label", f"berth.test={STACK}", "--label", "berth.stack=", "--label", "berth.service="]
    own = (docker("ps", "--quiet", f"--filter=label=berth.stack={STACK}", f"--filter=label=berth.service={s}") for s in ("backend", "edge"))
    image, caddy = (docker("inspect", "--format", "{{.Image}}", container) for container in own)
    routes = (config / "Caddyfile").read_text()
    for old, new in replaced.items():
        assert old in routes
        routes = routes.replace(old, new)
    (directory / "Caddyfile").write_text(routes)
    mark = min(path.name for path in (config / "serving").iterdir()).partition("~")[0]
    (directory / "serving").mkdir()
    (directory / "serving" / (f"{mark}~{before}" if before else mark)).touch()
    for path in (directory, directory / "serving"):
        path.chmod(0o755)
    docker("network", "create", *labels, network)
    try:
        docker("run", "--detach", "--name", upstream, *labels, "--network", network, "--entrypoint", "python3", image, "-c", program)
        docker(
            "run", "--detach", "--name", edge, *labels, "--network", network, "--publish", "127.0.0.1::8443", "--volume",
            f"{directory}:/etc/caddy:ro", "--volume", f"{STACK}-edge:/data", "--tmpfs", "/run/caddy:mode=1777", caddy,
        )  # fmt: skip
        yield f"https://localhost:{docker('port', edge, '8443/tcp').rsplit(':', 1)[1]}"
    finally:
        for container in (edge, upstream):
            subprocess.run(["docker", "rm", "--force", "--volumes", container], capture_output=True, check=False)
        docker("network", "rm", network)


def existing() -> list[str]:
    """Containers, networks and volumes of every stack, and the contents of state directories."""
    kinds = (["ps", "--all", "--quiet", "--no-trunc"], ["network", "ls", "--quiet"], ["volume", "ls", "--quiet"])
    listed = [docker(*words) for words in kinds]
    state = Path("/var/lib") / STACK
    kept = [path for path in state.rglob("*") if path.name != "audit.jsonl" and not path.name.startswith(".")]
    return [*listed, *sorted(f"{path} {path.stat().st_mtime_ns}" for path in kept)]


@dataclass(frozen=True)
class User:
    """A user with an account."""

    email: str
    password: str
    token: str
    cookies: httpx.Cookies

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


def client(connections: int = 20, timeout: float = 60) -> httpx.AsyncClient:
    """A client of the edge that verifies its certificate."""
    return httpx.AsyncClient(
        base_url=BASE_URL,
        verify=ssl.create_default_context(cafile=EDGE_CA),
        timeout=timeout,
        trust_env=False,
        limits=httpx.Limits(max_connections=connections),
        headers={"Origin": BASE_URL},
    )


async def sign_up() -> User:
    """A new account and its token."""
    email, password = f"live-{secrets.token_hex(6)}@example.com", secrets.token_urlsafe(18)
    async with client() as http:
        answer = await http.post("/api/auth/sign-up/email", json={"name": "Live", "email": email, "password": password})
        answer.raise_for_status()
        token = (await http.get("/api/auth/token")).raise_for_status().json()["token"]
        return User(email, password, token, http.cookies)


async def leave(user: User) -> None:
    """Delete tasks, conversations and the account."""
    async with client() as http:
        for kind in ("tasks", "conversations"):
            while items := (await http.get(f"/api/{kind}?limit=100", headers=user.headers)).json()["items"]:
                for item in items:
                    (await http.delete(f"/api/{kind}/{item['id']}", headers=user.headers)).raise_for_status()
        http.cookies = user.cookies
        (await http.post("/api/auth/delete-user", json={"password": user.password})).raise_for_status()


@pytest.fixture
def users() -> Iterator[Callable[[int], list[User]]]:
    """users(3): three new users."""
    made: list[User] = []

    async def together(calls: list[Awaitable[User]]) -> list[User]:
        return list(await asyncio.gather(*calls))

    def make(count: int) -> list[User]:
        for start in range(0, count, 5):
            made.extend(asyncio.run(together([sign_up() for _ in range(min(5, count - start))])))
        return made[-count:]

    yield make

    async def all_leave() -> None:
        await asyncio.gather(*(leave(user) for user in made))

    asyncio.run(all_leave())
