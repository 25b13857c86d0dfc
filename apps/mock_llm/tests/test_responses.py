"""The Responses protocol, asked by OpenAI's own client and by the Agents SDK, whose default it is."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from agents import Agent, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from fastapi.testclient import TestClient

from app.main import create_app
from app.responses import messages_of
from tests.test_protocol import KEY, client, url  # noqa: F401 # fixtures

TOOLS: list[Any] = [{"type": "function", "name": "add_task", "parameters": {"type": "object"}, "strict": False}]


@pytest.fixture
def api(client: openai.OpenAI) -> openai.OpenAI:  # noqa: F811
    return client


def test_a_tool_call(api: openai.OpenAI) -> None:
    answer = api.responses.create(model="mock", input="add a task: buy milk", tools=TOOLS)
    (call,) = answer.output
    assert call.type == "function_call"
    assert (call.name, json.loads(call.arguments)) == ("add_task", {"title": "buy milk"})
    assert answer.status == "completed"
    assert answer.usage
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0


def test_the_turn_after_a_tool_call(api: openai.OpenAI) -> None:
    begun: list[Any] = [{"role": "user", "content": [{"type": "input_text", "text": "add a task: buy milk"}]}]
    (call,) = api.responses.create(model="mock", input=begun, tools=TOOLS).output
    assert call.type == "function_call"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": '{"title": "buy milk"}'}
    answer = api.responses.create(model="mock", input=[*begun, call.model_dump(), result], tools=TOOLS)  # type: ignore[list-item]
    assert answer.output_text == 'I added "buy milk" to your tasks.'


def test_a_streamed_tool_call(api: openai.OpenAI) -> None:
    events = list(api.responses.create(model="mock", input="add a task: buy milk", tools=TOOLS, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert [event.type for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
        "response.completed",
    ]
    (call,) = events[-1].response.output  # type: ignore[union-attr]
    assert json.loads(events[3].delta) == json.loads(call.arguments) == {"title": "buy milk"}  # type: ignore[union-attr]


def test_a_streamed_text(api: openai.OpenAI) -> None:
    whole = api.responses.create(model="mock", input="hello").output_text
    with api.responses.stream(model="mock", input="hello") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert text == whole == final.output_text
    assert final.usage


def test_no_tool_when_none_may_be_chosen(api: openai.OpenAI) -> None:
    answer = api.responses.create(model="mock", input="add a task: buy milk", tools=TOOLS, tool_choice="none")
    assert "not given the tool" in answer.output_text


@pytest.mark.parametrize("streamed", [False, True])
def test_the_agents_sdk_runs_a_turn_with_its_default(url: str, streamed: bool) -> None:  # noqa: F811
    set_tracing_disabled(True)
    added: list[str] = []

    @function_tool
    def add_task(title: str) -> str:
        """Add a task."""
        added.append(title)
        return json.dumps({"title": title})

    async def turn() -> str:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as http:
            agent = Agent(name="a", tools=[add_task], model=OpenAIResponsesModel("mock", http))
            if not streamed:
                return str((await Runner.run(agent, "add a task: buy milk")).final_output)
            run = Runner.run_streamed(agent, "add a task: buy milk")
            kinds = [event.type async for event in run.stream_events()]
            assert "run_item_stream_event" in kinds
            return str(run.final_output)

    text = asyncio.run(turn())
    assert added == ["buy milk"]
    assert text == 'I added "buy milk" to your tasks.'


def test_errors_are_those_that_clients_know(api: openai.OpenAI, url: str) -> None:  # noqa: F811
    with pytest.raises(openai.NotFoundError, match="There is no model 'gpt-9' here"):
        api.responses.create(model="gpt-9", input="hello")
    with pytest.raises(openai.BadRequestError, match="input"):
        api.responses.create(model="mock")
    with pytest.raises(openai.BadRequestError, match="keeps no responses"):
        api.responses.create(model="mock", input="hello", previous_response_id="resp_1")
    response = httpx.post(f"{url}/v1/responses", json={"model": "mock", "input": "hello"}, trust_env=False)
    assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")


def test_a_slow_stream_takes_its_time_and_the_delay_counts() -> None:
    with TestClient(create_app(list, delay=0.05)) as http:
        body = {"model": "mock", "input": "hello, slowly", "stream": True}
        with pytest.MonkeyPatch.context() as patch:
            waited: list[float] = []

            async def sleep(seconds: float) -> None:
                waited.append(seconds)

            patch.setattr(asyncio, "sleep", sleep)
            text = http.post("/v1/responses", json=body).text
    assert waited[0] == 0.05
    assert waited.count(0.3) == text.count("event: response.output_text.delta")


def test_items_that_say_nothing_to_the_rules_are_left_out() -> None:
    items = [{"type": "reasoning", "summary": []}, {"role": "user", "content": "hello"}, {"type": "web_search_call"}]
    assert messages_of(items) == [{"role": "user", "content": "hello"}]
