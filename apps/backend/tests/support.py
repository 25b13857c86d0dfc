"""What the tests run against: a real PostgreSQL, an issuer of tokens, model endpoints, and the service itself."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

BACKEND = Path(__file__).resolve().parents[1]
MOCK_LLM = BACKEND.parent / "mock_llm"
PUBLIC_URL = "https://localhost:8443"
API_KEY = "mock-key-for-tests"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(condition: Callable[[], Any], seconds: float = 20, what: str = "the condition") -> Any:
    """Poll until `condition` is true and return what it gave; errors of connections count as false."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            if result := condition():
                return result
        except (OSError, httpx.HTTPError):
            pass
        assert time.monotonic() < deadline, f"{what} did not come within {seconds} s"
        time.sleep(0.05)


class Postgres:
    """A PostgreSQL of the tests' own, from Debian's package, in a temporary directory."""

    def __init__(self, binaries: Path) -> None:
        self.binaries = binaries
        self.port = free_port()
        # The server refuses to run as root; Debian's package brings the user.
        self.user = "postgres" if os.geteuid() == 0 else None
        self._directory = tempfile.TemporaryDirectory(prefix="berth-pg-", ignore_cleanup_errors=True)
        self.data = Path(self._directory.name) / "data"
        if self.user:
            subprocess.run(["chown", self.user, self._directory.name], check=True)
        self._run("initdb", "--auth=trust", "--username=app", "--encoding=UTF8", "--no-sync", "-D", str(self.data))
        self.url = f"postgresql://app:a-test-password@127.0.0.1:{self.port}/postgres"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), *arguments]
        subprocess.run(command, check=True, user=self.user, capture_output=True, cwd=self._directory.name)

    def start(self) -> None:
        options = f"-p {self.port} -k {self._directory.name} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "-D", str(self.data), "-l", f"{self.data}.log", "-o", options, "-w", "start")

    def kill(self) -> None:
        """Stop at once, like a crash."""
        self._run("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop")

    def close(self) -> None:
        if (self.data / "postmaster.pid").exists():
            self.kill()
        self._directory.cleanup()

    def query(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        return query(self.url, sql, *arguments)


def query(url: str, sql: str, *arguments: Any) -> list[asyncpg.Record]:
    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()

    return asyncio.run(run())


class HttpServer:
    """A small HTTP server in a thread; subclasses answer."""

    def __init__(self, port: int = 0) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self, b"")

            def do_POST(self) -> None:
                outer.answer(self, self.rfile.read(int(self.headers.get("content-length", 0))))

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        raise NotImplementedError

    @staticmethod
    def send(request: BaseHTTPRequestHandler, status: int, body: bytes, media_type: str = "application/json") -> None:
        request.send_response(status)
        request.send_header("Content-Type", media_type)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer(HttpServer):
    """What the frontend does: signs tokens, serves the JWKS. `status` other than 200 plays an outage."""

    def __init__(self) -> None:
        self.keys: dict[str, Ed25519PrivateKey] = {}
        self.extra: list[dict[str, Any]] = []
        self.status = 200
        self.fetches = 0
        self.add_key("first")
        super().__init__()

    def add_key(self, kid: str) -> Ed25519PrivateKey:
        self.keys[kid] = Ed25519PrivateKey.generate()
        return self.keys[kid]

    @staticmethod
    def jwk(kid: str, key: Ed25519PrivateKey) -> dict[str, Any]:
        return {
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "kid": kid,
            "x": b64(key.public_key().public_bytes_raw()),
        }

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        self.fetches += 1
        keys = [*self.extra, *(self.jwk(kid, key) for kid, key in self.keys.items())]
        self.send(request, self.status, json.dumps({"keys": keys}).encode())

    def claims(self, subject: Any = "somebody", **changes: Any) -> dict[str, Any]:
        """The claims of a good token, with changes; a change to None removes the claim."""
        now = int(time.time())
        claims = {"sub": subject, "iss": PUBLIC_URL, "aud": PUBLIC_URL, "iat": now, "exp": now + 900, **changes}
        return {name: value for name, value in claims.items() if value is not None}

    def token(self, subject: Any = "somebody", kid: str = "first", **changes: Any) -> str:
        return jwt.encode(self.claims(subject, **changes), self.keys[kid], "EdDSA", {"kid": kid})

    def headers(self, subject: str, **changes: Any) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(subject, **changes)}"}


class ScriptedModel(HttpServer):
    """A model's endpoint that misbehaves as told: `behaviour(request, body)` answers the completions."""

    def __init__(self) -> None:
        self.behaviour: Callable[[BaseHTTPRequestHandler, dict[str, Any]], None] = self.fail_with(500)
        self.requests: list[dict[str, Any]] = []
        super().__init__()

    def answer(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        if request.path.endswith("/models"):
            self.send(request, 200, b'{"object": "list", "data": []}')
            return
        self.requests.append(json.loads(body))
        self.behaviour(request, self.requests[-1])

    @classmethod
    def fail_with(cls, status: int) -> Callable[..., None]:
        body = json.dumps({"error": {"message": "canary-in-a-vendors-error", "type": "x", "code": None}}).encode()
        return lambda request, _: cls.send(request, status, body)

    @classmethod
    def say(cls, *deltas: dict[str, Any], finish: str = "stop") -> Callable[..., None]:
        """Stream these deltas."""

        def behaviour(request: BaseHTTPRequestHandler, _: dict[str, Any]) -> None:
            head = {"id": "c", "created": 1, "model": "m", "object": "chat.completion.chunk"}
            chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
            chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
            lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + ["data: [DONE]\n\n"]
            cls.send(request, 200, "".join(lines).encode(), "text/event-stream")

        return behaviour

    @classmethod
    def call(cls, name: str, arguments: str) -> Callable[..., None]:
        """Call a tool, whatever came before."""
        function = {"name": name, "arguments": arguments}
        delta = {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": function}]}
        return cls.say({"role": "assistant"}, delta, finish="tool_calls")


class Process:
    """A server in a process of its own; its output is kept in a file. Coverage makes one three times as slow."""

    def __init__(
        self, directory: Path, environment: dict[str, str], port: int | None = None, covered: bool = True
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = Path(tempfile.mkstemp(prefix="berth-log-", suffix=".txt")[1])
        command = [sys.executable, "-m", "uvicorn", "app.main:app", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--timeout-keep-alive", "130"]  # longer than clients keep idle connections: no race at their end
        unwanted = ("_URL",) if covered else ("_URL", "COVERAGE_PROCESS_CONFIG")
        inherited = {name: value for name, value in os.environ.items() if not name.endswith(unwanted)}
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=directory, env={**inherited, **environment}, stdout=output, stderr=subprocess.STDOUT
            )

    def wait(self, path: str = "/health", seconds: float = 30) -> Process:
        def answers() -> bool:
            assert self.process.poll() is None, self.output()
            return httpx.get(self.url + path, timeout=5, trust_env=False).status_code == 200

        wait_for(answers, seconds, f"{path} of {self.url}")
        return self

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def lines(self) -> list[dict[str, Any]]:
        """The log, parsed: a line that is not JSON is an error."""
        return [json.loads(line) for line in self.output().splitlines()]

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20) -> float:
        """Ask it to stop and say how long that took."""
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(seconds)
        return time.monotonic() - begun

    def close(self) -> None:
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.unlink(missing_ok=True)


def settings(database_url: str, issuer: Issuer, model_url: str, port: int, **changes: str) -> dict[str, str]:
    """The environment of a backend."""
    return {
        "DATABASE_URL": database_url,
        "PUBLIC_URL": PUBLIC_URL,
        "AUTH_JWKS_URL": f"{issuer.url}/api/auth/jwks",
        "OPENAI_BASE_URL": f"{model_url}/v1",
        "OPENAI_API_KEY": API_KEY,
        "OPENAI_MODEL": "mock",
        "MCP_URL": f"http://127.0.0.1:{port}/mcp",
        "APP_VERSION": "1.2.3",
        "APP_REVISION": "abc1234",
        **changes,
    }


@contextmanager
def running_backend(
    database_url: str, issuer: Issuer, model_url: str, covered: bool = True, **changes: str
) -> Iterator[Process]:
    """A backend of its own."""
    port = free_port()
    backend = Process(BACKEND, settings(database_url, issuer, model_url, port, **changes), port, covered)
    try:
        yield backend
    finally:
        backend.close()


def alembic(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": database_url}
    command = [sys.executable, "-m", "alembic", *arguments]
    return subprocess.run(command, cwd=BACKEND, env=environment, capture_output=True, text=True, check=False)


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of a server-sent event stream."""
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events
