"""The relay of a list of hosts: it connects to these and to no other."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from ansible_collections.berth.stack.plugins.module_utils.release import egress_proxy
from ansible_collections.berth.stack.plugins.module_utils.release.egress_proxy import by_port, relay, server_name

Ask = Callable[[int], Awaitable[bytes]]


def hello(name: str | None) -> bytes:
    """The ClientHello of Python's TLS client."""
    sent = ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


def test_a_connection_names_its_host_by_tls_or_http() -> None:
    data = hello("api.stripe.com")
    assert server_name(data) == "api.stripe.com"
    assert server_name(data[:40]) is None, "the rest is on its way"
    assert server_name(hello(None)) == ""
    assert server_name(data[:9] + b"\xff" * (len(data) - 9)) == ""
    assert server_name(b"GET / HTTP/1.1\r\nHost: API.Stripe.com:80\r\n\r\n") == "api.stripe.com"
    assert server_name(b"GET / HTTP/1.1\r\nHos") is None
    assert server_name(b"EHLO me\r\n\r\n") == ""


def asked(hosts: list[str], ask: Ask, monkeypatch: pytest.MonkeyPatch) -> tuple[bytes, list[str]]:
    """(the answer to `ask` through the relay of `hosts`, the hosts that the relay connected to); each answers with its name."""
    reached: list[str] = []
    real = asyncio.open_connection

    async def main() -> bytes:
        async def upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(reached[-1].encode() + b" got " + await reader.read(4) + b"\n")
            writer.close()

        server = await asyncio.start_server(upstream, "127.0.0.1", 0)

        async def connect(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reached.append(host)
            return await real("127.0.0.1", server.sockets[0].getsockname()[1])

        front = await asyncio.start_server(lambda r, w: relay(443, hosts, r, w), "127.0.0.1", 0)
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "open_connection", connect)
            return await ask(front.sockets[0].getsockname()[1])

    return asyncio.run(main()), reached


def sends(data: bytes) -> Ask:
    async def ask(port: int) -> bytes:
        reader, writer = await OPEN("127.0.0.1", port)
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return answer

    return ask


OPEN = asyncio.open_connection


def test_the_name_decides_where_several_hosts_share_a_port(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    hosts = ["a.example", "b.example"]
    answer, reached = asked(hosts, sends(hello("b.example")), monkeypatch)
    assert reached == ["b.example"] and answer.startswith(b"b.example got \x16\x03")
    for foreign in (hello("evil.example"), b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"EHLO me\r\n\r\n"):
        assert asked(hosts, sends(foreign), monkeypatch) == (b"", [])
    assert "refused: evil.example, port 443, is not among a.example, b.example" in capsys.readouterr().out


def test_one_host_of_a_port_is_connected_to_at_once_whatever_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    answer, reached = asked(["a.example"], sends(hello("evil.example")), monkeypatch)
    assert reached == ["a.example"] and answer.startswith(b"a.example got")


def test_ports_have_their_hosts() -> None:
    assert by_port(["a.example:443", "B.example:443", "c.example:587"]) == {443: ["a.example", "b.example"], 587: ["c.example"]}


def test_it_runs_from_its_text_alone_and_ends_on_sigterm() -> None:
    async def main() -> tuple[bytes, bytes, int | None]:
        text = Path(egress_proxy.__file__).read_text()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", "-c", text, "localhost:18992", env={"PORT": "18991"}, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout
        started = await asyncio.wait_for(process.stdout.readline(), 10)
        health = await sends(b"GET / HTTP/1.1\r\n\r\n")(18991)
        process.terminate()
        return started, health, await asyncio.wait_for(process.wait(), 10)

    started, health, status = asyncio.run(main())
    assert started == b"INFO: relays to localhost:18992\n" and health.startswith(b"HTTP/1.1 200") and status == 0
