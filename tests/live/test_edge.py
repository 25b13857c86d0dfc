"""The edge and misbehaving clients: forged addresses, oversized and slow requests; TLS and headers."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from conftest import BASE_URL, EDGE_CA, STACK, docker

HTTP_PORT = int(os.environ.get("HTTP_PORT", "8080"))
URL = urlsplit(BASE_URL)
HOST, PORT = str(URL.hostname), URL.port or 443
SSLYZE = Path(__file__).resolve().parents[2] / ".venv-tls/bin/python"


def edge(**more: object) -> httpx.Client:
    return httpx.Client(base_url=BASE_URL, verify=ssl.create_default_context(cafile=EDGE_CA), trust_env=False, timeout=20, **more)  # type: ignore[arg-type]


def connection() -> ssl.SSLSocket:
    """A raw connection, for requests that no HTTP client sends."""
    return ssl.create_default_context(cafile=EDGE_CA).wrap_socket(socket.create_connection((HOST, PORT), 10), server_hostname=HOST)


def answer(raw: ssl.SSLSocket) -> bytes:
    """Data received until the edge closes the connection or the socket times out."""
    output = b""
    try:
        while piece := raw.recv(65536):
            output += piece
    except (TimeoutError, ssl.SSLError, ConnectionError):
        pass
    return output


# --- headers --------------------------------------------------------------------------------------------------------------

# Of OWASP's list (Secure Headers Project): name and what its value must contain.
WANTED = {
    "strict-transport-security": "max-age=31536000",
    "content-security-policy": "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "",
    "permissions-policy": "camera=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-embedder-policy": "",
    "x-permitted-cross-domain-policies": "none",
    "x-dns-prefetch-control": "off",
}
TELL_TALE = ("server", "x-powered-by", "via", "x-aspnet-version", "alt-svc")
ANSWERS: dict[str, tuple[int, str, str, dict[str, str]]] = {
    "the interface": (200, "GET", "/", {}),
    "the API": (200, "GET", "/health", {}),
    "the API's document": (200, "GET", "/openapi.json", {}),
    "no token": (401, "GET", "/api/tasks", {}),
    "authentication": (200, "GET", "/api/auth/get-session", {}),
    "no such page": (404, "GET", "/nothing-is-here", {}),
    "hidden": (404, "GET", "/metrics", {}),
    "not allowed": (405, "PUT", "/health", {}),
    "too large": (413, "POST", "/api/tasks", {}),
    "another host": (421, "GET", "/", {"Host": "evil.example"}),
}


def wrong_headers(found: httpx.Headers, without: tuple[str, ...] = ()) -> list[str]:
    """Expected headers that are missing, duplicated or different, and headers that reveal software."""
    expected = {name: part for name, part in WANTED.items() if name not in without}
    wrong = [name for name, part in expected.items() if len(found.get_list(name)) != 1 or part not in found[name]]
    return [f"{name}: {found.get_list(name)}" for name in [*wrong, *(name for name in TELL_TALE if name in found)]]


@pytest.mark.parametrize("kind", ANSWERS)
def test_every_kind_of_answer_carries_the_headers_once(kind: str) -> None:
    status, method, path, headers = ANSWERS[kind]
    with edge() as http:
        found = http.request(method, path, headers=headers, content=b"x" * 2_000_000 if status == 413 else None)
        assert found.status_code == status
        assert wrong_headers(found.headers) == []


def test_the_redirect_leads_to_the_one_name_and_carries_the_headers() -> None:
    for host in (HOST, "evil.example"):
        found = httpx.get(f"http://{HOST}:{HTTP_PORT}/a?b=c", headers={"Host": host}, trust_env=False)
        assert (found.status_code, found.headers["location"]) == (308, f"{BASE_URL}/a?b=c")
        assert wrong_headers(found.headers, without=("strict-transport-security",)) == [], "over HTTP it must not be sent (RFC 6797, 7.2)"
        assert "strict-transport-security" not in found.headers


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "//metrics", "/%6detrics", "/./metrics", "/api/../metrics", "/METRICS"])
def test_metrics_are_not_for_the_outside(path: str) -> None:
    with connection() as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: {URL.netloc}\r\nConnection: close\r\n\r\n".encode())
        output = answer(raw)
    assert output.startswith((b"HTTP/1.1 404", b"HTTP/1.1 308", b"HTTP/1.1 400"))
    assert b"# HELP" not in output


# --- who the client is ----------------------------------------------------------------------------------------------------

FORGED = {
    "X-Forwarded-For": "6.6.6.6",
    "Forwarded": "for=6.6.6.6",
    "X-Real-IP": "6.6.6.6",
    "True-Client-IP": "6.6.6.6",
    "CF-Connecting-IP": "6.6.6.6",
}


def logged_client(path: str, headers: dict[str, str]) -> str:
    """Client address of a request in the backend's log."""
    request_id = secrets.token_hex(8)
    with edge() as http:
        http.get(path, headers={**headers, "X-Request-Id": request_id})
    container = docker("ps", "--quiet", f"--filter=label=berth.stack={STACK}", "--filter=label=berth.service=backend").split()[0]
    for _ in range(50):
        lines = [json.loads(line) for line in docker("logs", "--tail=200", container).splitlines() if request_id in line]
        if found := [line["client"] for line in lines if "client" in line]:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"the backend logged no request {request_id}")


def test_a_client_cannot_say_where_it_comes_from() -> None:
    honest = logged_client("/api/tasks", {})
    assert honest not in ("", None, "6.6.6.6")
    assert logged_client("/api/tasks", FORGED) == honest
    assert logged_client("/api/tasks", {"X-Forwarded-For": f"6.6.6.6, {honest}"}) == honest


# --- too much, too slowly -------------------------------------------------------------------------------------------------


def test_heads_are_bounded() -> None:
    with connection() as raw:
        raw.sendall(f"GET / HTTP/1.1\r\nHost: {URL.netloc}\r\nX-Big: {'a' * 40000}\r\n\r\n".encode())
        assert answer(raw).startswith(b"HTTP/1.1 431")


def test_bodies_are_bounded_whether_they_say_their_length_or_not() -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(30):
            yield b"x" * 100_000

    # The edge may hang up on a client that goes on sending, so this one does not.
    with connection() as raw:
        raw.sendall(f"POST /api/tasks HTTP/1.1\r\nHost: {URL.netloc}\r\nContent-Length: 3000000\r\n\r\n".encode())
        raw.settimeout(10)
        head = raw.recv(65536).decode()
    assert head.startswith("HTTP/1.1 413 ")
    assert "content-type: application/problem+json" in head.lower()
    with edge() as http, contextlib.suppress(httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        assert http.post("/api/tasks", content=pieces()).status_code == 413


def test_who_breaks_off_takes_nothing_from_others() -> None:
    """Requests aborted within their body must not make the edge mark the backend as down."""

    def break_off() -> None:
        with connection() as raw:
            raw.sendall(f"POST /api/tasks HTTP/1.1\r\nHost: {URL.netloc}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            try:
                for _ in range(15):
                    raw.sendall(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
            except (ConnectionError, ssl.SSLError):
                return

    with ThreadPoolExecutor(4) as pool, edge() as http:
        vandals = [pool.submit(break_off) for _ in range(40)]
        seen = [http.get("/health") for _ in range(40)]
        for vandal in vandals:
            vandal.result()
    assert {found.status_code for found in seen} == {200}
    assert max(found.elapsed.total_seconds() for found in seen) < 1


def test_slow_clients_are_let_go_while_others_are_served() -> None:
    """60 connections that send one byte per second: all closed within the limits, other clients served meanwhile."""
    begun = time.monotonic()
    body = f"POST /api/tasks HTTP/1.1\r\nHost: {URL.netloc}\r\nContent-Length: 5000\r\n\r\n".encode()

    def dawdle(start: bytes) -> float:
        with connection() as raw:
            raw.sendall(start)
            raw.settimeout(1)
            while time.monotonic() - begun < 90:
                try:
                    raw.sendall(b"x")
                    if not raw.recv(65536):
                        break
                except TimeoutError:
                    continue
                except (ConnectionError, ssl.SSLError):
                    break
        return time.monotonic() - begun

    with ThreadPoolExecutor(60) as pool, edge() as http:
        slow = [pool.submit(dawdle, start) for start in [b"GET / HTTP/1.1\r\nX-Slow: "] * 40 + [body] * 20]
        served = []
        while not all(one.done() for one in slow):
            served.append(http.get("/health"))
            time.sleep(0.5)
    assert {found.status_code for found in served} == {200}
    assert max(one.result() for one in slow[:40]) < 20, "the head's limit is 10 s"
    assert max(one.result() for one in slow[40:]) < 45, "the body's limit is 30 s"


# --- TLS ------------------------------------------------------------------------------------------------------------------


def test_sslyze_finds_modern_protocols_and_ciphers_only(tmp_path: Path) -> None:
    result = tmp_path / "sslyze.json"
    subprocess.run(
        [SSLYZE, "-m", "sslyze", f"--json_out={result}", "--certinfo_ca_file", str(Path(EDGE_CA).resolve()), f"{HOST}:{PORT}"],
        capture_output=True, timeout=180, check=False,
    )  # fmt: skip
    (scan,) = json.loads(result.read_text())["server_scan_results"]
    reported = {name: part["result"] for name, part in scan["scan_result"].items() if part and part["status"] == "COMPLETED"}

    def ciphers(protocol: str) -> set[str]:
        return {entry["cipher_suite"]["name"] for entry in reported[f"{protocol}_cipher_suites"]["accepted_cipher_suites"]}

    assert [protocol for protocol in ("ssl_2_0", "ssl_3_0", "tls_1_0", "tls_1_1") if ciphers(protocol)] == []
    assert ciphers("tls_1_3") >= {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"}
    modern = ciphers("tls_1_2")
    assert modern and all(
        name.startswith("TLS_ECDHE_") and name.endswith(("GCM_SHA256", "GCM_SHA384", "POLY1305_SHA256")) for name in modern
    )
    assert not reported["heartbleed"]["is_vulnerable_to_heartbleed"]
    assert not reported["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"]
    assert not reported["tls_compression"]["supports_compression"]
    assert not reported["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"]
    assert reported["robot"]["robot_result"].startswith("NOT_VULNERABLE")


def test_no_other_name_is_certified() -> None:
    context = ssl.create_default_context(cafile=EDGE_CA)
    with pytest.raises(ssl.SSLError), context.wrap_socket(socket.create_connection((HOST, PORT), 10), server_hostname="evil.example"):
        pass
