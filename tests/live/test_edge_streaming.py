"""A page that is streamed arrives as it is sent, also where the client accepts compression; a page of known length is compressed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import httpx
import pytest
from conftest import EDGE_CA, STACK, other_edge

# As Next.js streams a fallback of Suspense first; without compression of its own.
PAGE = """
import asyncio
async def handle(reader, writer):
    head = await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.1 200 OK\\r\\nContent-Type: text/html; charset=utf-8\\r\\nConnection: close\\r\\n")
    if b"/whole" in head:
        writer.write(b"Content-Length: 5000\\r\\n\\r\\n" + b"x" * 5000)
    else:
        writer.write(b"Transfer-Encoding: chunked\\r\\n\\r\\n")
        for text in (b"<p>loading" + b" " * 2000, b"<p>done"):
            writer.write(b"%x\\r\\n%b\\r\\n" % (len(text), text))
            await writer.drain()
            await asyncio.sleep(2)
        writer.write(b"0\\r\\n\\r\\n")
    await writer.drain()
    writer.close()
async def main():
    await (await asyncio.start_server(handle, "0.0.0.0", 3000)).serve_forever()
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an edge with this stack's routes, whose frontend is PAGE."""
    page = {f"{STACK}-frontend-{{release}}:3000": f"{STACK}-streaming:3000"}
    with other_edge(tmp_path_factory.mktemp("edge"), page, "", "streaming", PAGE) as found:
        yield found


async def first_and_last(address: str, path: str, accepted: str) -> tuple[float, float, httpx.Response]:
    """Seconds to the first piece of the body and to its end, and the response."""
    async with httpx.AsyncClient(verify=str(EDGE_CA), timeout=20) as http:
        for _ in range(50):
            try:
                began = time.monotonic()
                async with http.stream("GET", f"{address}{path}", headers={"Accept-Encoding": accepted}) as answer:
                    times = [time.monotonic() - began async for _ in answer.aiter_raw()]
                    if answer.status_code < 500:
                        return times[0], time.monotonic() - began, answer
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.2)
    raise AssertionError("the edge does not answer")


@pytest.mark.parametrize("accepted", ["zstd", "gzip", "gzip, deflate, br, zstd", "identity"])
def test_a_streamed_page_is_not_held_back(address: str, accepted: str) -> None:
    first, last, _ = asyncio.run(first_and_last(address, "/", accepted))
    assert first < 1 and last > 3, f"the fallback came after {first:.1f} s, the rest after {last:.1f} s"


@pytest.mark.parametrize("accepted", ["zstd", "gzip"])
def test_a_whole_page_is_compressed(address: str, accepted: str) -> None:
    _, _, answer = asyncio.run(first_and_last(address, "/whole", accepted))
    assert answer.headers["content-encoding"] == accepted and int(answer.headers["content-length"]) < 500
