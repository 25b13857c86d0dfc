"""/mcp with the official client, and with what such a server must not let in."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx
import httpx2
import pytest
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.types import CallToolResult

from app.mcp_server import IDEMPOTENCY_KEY
from tests.support import Issuer, Process

TOOLS = ["add_task", "complete_task", "delete_task", "list_tasks", "update_task"]
LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
ACCEPT = {"Accept": "application/json, text/event-stream"}


def session(backend: Process, headers: dict[str, str], work: Any) -> Any:
    """Run `work(session)` in a session of the SDK's client."""

    async def run() -> Any:
        async with (
            httpx2.AsyncClient(headers=headers, trust_env=False) as http,
            streamable_http_client(f"{backend.url}/mcp", http_client=http) as streams,
            ClientSession(streams[0], streams[1]) as client,
        ):
            await client.initialize()
            return await work(client)

    return asyncio.run(run())


def post(backend: Process, headers: dict[str, str], **changes: Any) -> httpx.Response:
    return httpx.post(f"{backend.url}/mcp", json={**LIST, **changes}, headers={**ACCEPT, **headers}, trust_env=False)


def test_tools_are_listed_with_their_schemas(backend: Process, issuer: Issuer) -> None:
    listed = session(backend, issuer.headers("mcp"), lambda client: client.list_tools())
    assert sorted(tool.name for tool in listed.tools) == TOOLS
    add = next(tool for tool in listed.tools if tool.name == "add_task")
    assert add.input_schema["required"] == ["title"]
    assert add.input_schema["properties"]["title"]["maxLength"] == 200
    assert "ctx" not in add.input_schema["properties"]
    assert all(tool.description and tool.annotations for tool in listed.tools)


def test_tools_act_as_the_user_of_the_token(backend: Process, issuer: Issuer, client: httpx.Client, user: str) -> None:
    async def work(mcp: ClientSession) -> list[CallToolResult]:
        added = await mcp.call_tool("add_task", {"title": "by mcp", "description": "d"})
        task_id = added.structured_content["id"]
        return [
            added,
            await mcp.call_tool("update_task", {"task_id": task_id, "title": "changed"}),
            await mcp.call_tool("complete_task", {"task_id": task_id}),
            await mcp.call_tool("list_tasks", {"completed": True, "query": "chan"}),
        ]

    added, changed, completed, listed = session(backend, issuer.headers(user), work)
    assert not any(result.is_error for result in (added, changed, completed, listed))
    assert changed.structured_content["title"] == "changed"
    assert completed.structured_content["completed"] is True
    assert listed.structured_content["items"] == client.get("/api/tasks").json()["items"]

    async def steal(mcp: ClientSession) -> list[CallToolResult]:
        task_id = added.structured_content["id"]
        return [
            await mcp.call_tool("delete_task", {"task_id": task_id}),
            await mcp.call_tool("update_task", {"task_id": task_id, "title": "mine"}),
        ]

    for result in session(backend, issuer.headers(f"{user}-other"), steal):
        assert result.is_error
        assert result.content[0].text.endswith(": There is no such task.")
    deleted = session(
        backend,
        issuer.headers(user),
        lambda mcp: mcp.call_tool("delete_task", {"task_id": added.structured_content["id"]}),
    )
    assert deleted.structured_content["deleted"] is True
    assert client.get("/api/tasks").json()["total"] == 0


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("add_task", {}),
        ("add_task", {"title": ""}),
        ("add_task", {"title": "x" * 201}),
        ("add_task", {"title": "a\x00b"}),
        ("complete_task", {"task_id": "not-an-id"}),
        ("update_task", {"task_id": str(uuid4())}),
        ("list_tasks", {"limit": 1000}),
        ("drop_tables", {}),
    ],
)
def test_wrong_calls_are_errors_for_the_model(
    backend: Process, issuer: Issuer, tool: str, arguments: dict[str, Any]
) -> None:
    result = session(backend, issuer.headers("mcp"), lambda mcp: mcp.call_tool(tool, arguments))
    assert result.is_error


def test_a_repeated_call_adds_once(backend: Process, issuer: Issuer, client: httpx.Client, user: str) -> None:
    async def work(mcp: ClientSession) -> list[CallToolResult]:
        meta: Any = {IDEMPOTENCY_KEY: "same"}
        return [await mcp.call_tool("add_task", {"title": "once"}, meta=meta) for _ in range(2)]

    first, second = session(backend, issuer.headers(user), work)
    assert first.structured_content == second.structured_content
    assert client.get("/api/tasks").json()["total"] == 1


@pytest.mark.parametrize(
    "host", ["localhost:8443", "127.0.0.1:8000", "localhost", "backend:8000", "backend", "[::1]:8000"]
)
def test_hosts_that_are_let_in(backend: Process, issuer: Issuer, host: str) -> None:
    assert post(backend, {**issuer.headers("mcp"), "Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.example:8443",
        "127.0.0.1.evil.example:80",
        "backend.evil:8000",
        "10.0.0.1",
    ],
)
def test_hosts_that_are_not(backend: Process, issuer: Issuer, host: str) -> None:
    assert post(backend, {**issuer.headers("mcp"), "Host": host}).status_code == 421


def test_the_public_origin_is_let_in(backend: Process, issuer: Issuer) -> None:
    assert post(backend, {**issuer.headers("mcp"), "Origin": "https://localhost:8443"}).status_code == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://localhost:8443",
        "https://localhost",
        "https://localhost:8443.evil.example",
        "null",
    ],
)
def test_other_origins_are_not(backend: Process, issuer: Issuer, origin: str) -> None:
    assert post(backend, {**issuer.headers("mcp"), "Origin": origin}).status_code == 403


def test_there_are_no_sessions(backend: Process, issuer: Issuer) -> None:
    headers = issuer.headers("mcp")
    for method in ("GET", "DELETE", "PUT"):
        response = httpx.request(method, f"{backend.url}/mcp", headers={**ACCEPT, **headers}, trust_env=False)
        assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert "mcp-session-id" not in post(backend, headers).headers
    assert post(backend, {**headers, "Mcp-Session-Id": "made-up"}).status_code == 200


def test_a_session_of_another_user_cannot_be_ridden(backend: Process, issuer: Issuer, user: str) -> None:
    """A session id in the header changes nothing: the token alone says whose tasks are meant."""
    call = {"method": "tools/call", "params": {"name": "add_task", "arguments": {"title": "private"}}}
    assert post(backend, {**issuer.headers(user), "Mcp-Session-Id": "s"}, **call).status_code == 200
    listing = {"method": "tools/call", "params": {"name": "list_tasks", "arguments": {}}}
    assert "private" not in post(backend, {**issuer.headers(f"{user}-x"), "Mcp-Session-Id": "s"}, **listing).text


def test_garbage_is_a_client_error(backend: Process, issuer: Issuer) -> None:
    headers = {**ACCEPT, **issuer.headers("mcp"), "Content-Type": "application/json"}
    for body in (b"", b"{", b"[]", b"null", b'{"jsonrpc": "2.0"}', b"\xff\xfe"):
        assert 400 <= httpx.post(f"{backend.url}/mcp", content=body, headers=headers, trust_env=False).status_code < 500
