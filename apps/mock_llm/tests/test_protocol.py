"""The endpoint as a real process, asked by OpenAI's own client."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from fastapi.testclient import TestClient

from app.main import api_keys_from, create_app

KEY = "a-key-for-tests"
ADD: list[Any] = [{"role": "user", "content": "add a task: buy milk"}]
TOOLS: list[Any] = [{"type": "function", "function": {"name": "add_task", "parameters": {"type": "object"}}}]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    key = tmp_path_factory.mktemp("secrets") / "key"
    key.write_text(KEY + "\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port), "--no-access-log"],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "MOCK_LLM_API_KEY_FILE": str(key)},
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(f"{address}/health", trust_env=False).raise_for_status()
            break
        except httpx.HTTPError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
    yield address
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as api:
        yield api


def test_it_says_what_it_is(url: str, client: openai.OpenAI) -> None:
    assert httpx.get(f"{url}/health", trust_env=False).json()["model"] == "mock"
    assert [model.id for model in client.models.list()] == ["mock"]


def test_a_tool_call(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="mock", messages=ADD, tools=TOOLS)
    (choice,) = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    (call,) = choice.message.tool_calls or []
    assert (call.function.name, json.loads(call.function.arguments)) == ("add_task", {"title": "buy milk"})  # type: ignore[union-attr]
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_a_streamed_tool_call_and_its_usage(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model="mock", messages=ADD, tools=TOOLS, stream=True, stream_options={"include_usage": True}
        )
    )
    pieces = [piece for chunk in chunks if chunk.choices for piece in chunk.choices[0].delta.tool_calls or []]
    assert pieces[0].function
    assert pieces[0].function.name == "add_task"
    assert json.loads("".join(piece.function.arguments or "" for piece in pieces if piece.function)) == {
        "title": "buy milk"
    }
    assert chunks[-1].usage
    assert chunks[-2].choices[0].finish_reason == "tool_calls"


def test_a_streamed_text(client: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "user", "content": "hello"}]
    whole = client.chat.completions.create(model="mock", messages=messages).choices[0].message.content
    chunks = list(client.chat.completions.create(model="mock", messages=messages, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    assert all(chunk.usage is None for chunk in chunks)


def test_no_tool_when_none_may_be_chosen(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model="mock", messages=ADD, tools=TOOLS, tool_choice="none")
    assert "not given the tool" in (answer.choices[0].message.content or "")


def test_the_key_is_asked_for(url: str) -> None:
    for key in ("wrong", KEY + "x", "", "schl\u00fcssel"):
        headers = {"Authorization": f"Bearer {key}".encode()} if key else {}
        for method, path in (("GET", "models"), ("POST", "chat/completions")):
            body = {"model": "mock", "messages": ADD} if method == "POST" else None
            response = httpx.request(method, f"{url}/v1/{path}", headers=headers, json=body, trust_env=False)
            assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")


def test_errors_are_those_that_clients_know(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="There is no model 'gpt-9' here"):
        client.chat.completions.create(model="gpt-9", messages=ADD)
    with pytest.raises(openai.BadRequestError, match="messages"):
        client.chat.completions.create(model="mock", messages=[])


def test_releases_from_before_the_rename_are_answered(client: openai.OpenAI) -> None:
    assert client.chat.completions.create(model="rehearsal", messages=ADD, tools=TOOLS).model == "mock"


def test_200_requests_at_once(url: str) -> None:
    async def run() -> list[str]:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=60) as api:

            async def one(number: int) -> str:
                messages: list[Any] = [{"role": "user", "content": f"add a task: t{number}"}]
                stream = await api.chat.completions.create(
                    model="mock", messages=messages, tools=TOOLS, stream=True
                )
                text = ""
                async for chunk in stream:
                    for piece in chunk.choices[0].delta.tool_calls or []:
                        text += (piece.function and piece.function.arguments) or ""
                return json.loads(text)["title"]

            return await asyncio.gather(*(one(number) for number in range(200)))

    assert asyncio.run(run()) == [f"t{number}" for number in range(200)]


def test_it_can_think_for_a_while_and_be_open() -> None:
    with TestClient(create_app(list, delay=0.2, version="9")) as http:
        begun = time.monotonic()
        whole = http.post("/v1/chat/completions", json={"model": "mock", "messages": ADD, "tools": TOOLS})
        assert time.monotonic() - begun >= 0.2
        assert whole.json()["choices"][0]["finish_reason"] == "tool_calls"
        body = {"model": "mock", "messages": ADD, "tools": TOOLS, "stream": True}
        streamed = http.post("/v1/chat/completions", json={**body, "stream_options": {"include_usage": True}})
        assert streamed.text.endswith("data: [DONE]\n\n")
        hello = {"model": "mock", "messages": [{"role": "user", "content": "hello"}], "stream": True}
        assert '"content": "I"' in http.post("/v1/chat/completions", json=hello).text
        assert http.post("/v1/chat/completions", json={**body, "model": "x"}).status_code == 404
        assert http.post("/v1/chat/completions", json=[]).status_code == 400
        assert http.get("/health").json()["version"] == "9"
        assert http.get("/v1/models").status_code == 200
    with TestClient(create_app(lambda: ["k"])) as http:
        assert http.get("/v1/models").status_code == 401


def test_where_the_keys_come_from(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("from-a-file\n")
    assert api_keys_from({"MOCK_LLM_API_KEY_FILE": str(file)}) == ["from-a-file"]
    assert api_keys_from({"MOCK_LLM_API_KEY": "plain"}) == ["plain"]
    assert api_keys_from({}) == []


def test_a_new_key_needs_no_restart_and_the_old_one_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("1:first-key")
    with TestClient(create_app(lambda: api_keys_from({"MOCK_LLM_API_KEY_FILE": str(file)}))) as http:

        def status(key: str) -> int:
            return http.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code

        assert (status("first-key"), status("second-key")) == (200, 401)
        file.write_text("2:second-key,1:first-key")
        assert (status("first-key"), status("second-key"), status("2:second-key")) == (200, 200, 401)
