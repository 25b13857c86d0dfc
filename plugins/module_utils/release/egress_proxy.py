"""The way out of a service with an allow-list: a TCP relay that connects to the hosts of its arguments and to no other.

It runs in a container of its own, which has internet access; the service's network is internal, and in it the listed names are the
address of this container (module_utils/docker/spec.py, `links`). Arguments: HOST:PORT. Where one host is listed for a port, each
connection to the port is relayed to it. Where there are several, the name in the TLS ClientHello (SNI) or in the HTTP request (Host)
decides. TLS is not terminated. HTTP on 127.0.0.1:PORT (environment) is its health check. Standard library only: the filter
`egress_relays` passes this text to the interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys

SECONDS = 10


def server_name(data: bytes) -> str | None:
    """The host that a client's first bytes name: SNI or HTTP's Host; empty for none, None where more bytes are needed."""
    if not data:
        return None
    if data[0] != 22:
        found = re.search(rb"\r\nhost:[ \t]*([^\s:]+)", data, re.I)
        return found[1].decode("ascii", "replace").lower() if found else "" if b"\r\n\r\n" in data else None
    if len(data) < 5 or len(data) < 5 + int.from_bytes(data[3:5], "big"):
        return None
    try:
        at = 5 + 4 + 2 + 32  # record, handshake, version, random
        at += 1 + data[at]  # session id
        at += 2 + int.from_bytes(data[at : at + 2], "big")  # ciphers
        at += 1 + data[at]  # compression
        end = at + 2 + int.from_bytes(data[at : at + 2], "big")
        at += 2
        while at + 4 <= end:
            kind, length = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
            if kind == 0:  # server_name: list length 2, type 1, name length 2
                return data[at + 9 : at + 4 + length].decode("ascii", "replace").lower()
            at += 4 + length
    except IndexError:
        pass
    return ""


async def _read_name(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """(the name, the bytes read) of a connection."""
    data = b""
    while (name := server_name(data)) is None and len(data) < 16384:
        more = await reader.read(4096)
        if not more:
            break
        data += more
    return name or "", data


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def relay(port: int, hosts: list[str], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Relay one connection to the host that is meant, or close it, with a line in the log."""
    upstream: asyncio.StreamWriter | None = None
    host, sent = hosts[0], b""
    try:
        if len(hosts) > 1:
            host, sent = await asyncio.wait_for(_read_name(reader), SECONDS)
        if host not in hosts:
            print(
                f"WARNING: refused: {host or 'a connection that names no host'}, port {port}, is not among {', '.join(hosts)}", flush=True
            )
            return
        answers, opened = await asyncio.wait_for(asyncio.open_connection(host, port), SECONDS)
        upstream = opened
        opened.write(sent)
        await asyncio.gather(_pump(reader, opened), _pump(answers, writer))
    except (OSError, TimeoutError, asyncio.TimeoutError) as error:  # noqa: UP041 # two classes before Python 3.11
        print(f"WARNING: failed: {host}:{port}: {str(error) or 'timed out'}", flush=True)
    finally:
        for end in filter(None, (upstream, writer)):
            end.close()


async def _healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readline()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


def by_port(targets: list[str]) -> dict[int, list[str]]:
    """{port: hosts} of HOST:PORT."""
    found: dict[int, list[str]] = {}
    for target in targets:
        host, _, port = target.rpartition(":")
        found.setdefault(int(port), []).append(host.lower())
    return found


async def serve(targets: list[str], health_port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    for port, hosts in by_port(targets).items():
        await asyncio.start_server(lambda r, w, port=port, hosts=hosts: relay(port, hosts, r, w), "0.0.0.0", port)  # type: ignore[misc]
    await asyncio.start_server(_healthy, "127.0.0.1", health_port)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    print(f"INFO: relays to {', '.join(targets)}", flush=True)
    await stopped.wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1:], int(os.environ["PORT"])))
