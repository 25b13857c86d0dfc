"""The Responses protocol (POST /v1/responses): its input as messages for the rules, an answer as objects and events.

https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from pydantic import BaseModel, ConfigDict

from app.rules import Move


class ResponsesRequest(BaseModel):
    """The part of a Responses request that matters here; the rest is let through."""

    model_config = ConfigDict(extra="allow")

    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    stream: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None


def messages_of(given: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The input as messages of Chat Completions, without items that mean nothing to the rules, such as reasoning."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    messages: list[dict[str, Any]] = []
    for item in given:
        kind = item.get("type", "message")
        if kind == "message":
            messages.append({"role": item.get("role"), "content": item.get("content")})
        elif kind == "function_call":
            function = {"name": item.get("name", ""), "arguments": item.get("arguments", "")}
            call = {"id": item.get("call_id", ""), "type": "function", "function": function}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        elif kind == "function_call_output":
            messages.append({"role": "tool", "tool_call_id": item.get("call_id", ""), "content": item.get("output")})
    return messages


class Response:
    """A move as a response of the protocol, whole or as events."""

    def __init__(
        self, move: Move, asked: ResponsesRequest, model: str, usage: dict[str, int], pause: float = 0.0
    ) -> None:
        self.pause = pause
        self.output: list[dict[str, Any]] = []
        if move.text:
            content = [{"type": "output_text", "text": move.text, "annotations": [], "logprobs": []}]
            message = {"id": f"msg_{uuid4().hex}", "type": "message", "status": "completed", "role": "assistant"}
            self.output.append({**message, "content": content})
        for call in move.calls:
            arguments = json.dumps(call.arguments, ensure_ascii=False)
            made = {"id": f"fc_{uuid4().hex}", "type": "function_call", "status": "completed"}
            self.output.append(
                {**made, "call_id": f"call_{uuid4().hex[:24]}", "name": call.name, "arguments": arguments}
            )
        self.usage = {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        }
        self.head: dict[str, Any] = {
            "id": f"resp_{uuid4().hex}",
            "object": "response",
            "created_at": int(time.time()),
            "model": model,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.instructions,
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "tool_choice": asked.tool_choice or "auto",
            "tools": asked.tools or [],
            "metadata": {},
            "store": False,
        }

    def whole(self) -> dict[str, Any]:
        """The response as one object."""
        return {**self.head, "status": "completed", "output": self.output, "usage": self.usage}

    async def stream(self) -> AsyncIterator[str]:
        """The response as server-sent events, numbered: text word by word, a call's arguments after its name."""
        number = 0
        async for kind, data in self._events():
            event = {"type": kind, "sequence_number": number, **data}
            number += 1
            yield f"event: {kind}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"

    async def _events(self) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        begun = {"response": {**self.head, "status": "in_progress", "output": [], "usage": None}}
        yield "response.created", begun
        yield "response.in_progress", begun
        for index, item in enumerate(self.output):
            empty: dict[str, Any] = {"content": []} if item["type"] == "message" else {"arguments": ""}
            opened = {**item, "status": "in_progress", **empty}
            yield "response.output_item.added", {"output_index": index, "item": opened}
            where = {"item_id": item["id"], "output_index": index}
            async for event in self._text(item, where) if item["type"] == "message" else self._call(item, where):
                yield event
            yield "response.output_item.done", {"output_index": index, "item": item}
        yield "response.completed", {"response": self.whole()}

    async def _text(self, item: dict[str, Any], where: dict[str, Any]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        (part,) = item["content"]
        where = {**where, "content_index": 0}
        yield "response.content_part.added", {**where, "part": {**part, "text": ""}}
        for index, word in enumerate(part["text"].split(" ")):
            delta = word if index == 0 else f" {word}"
            yield "response.output_text.delta", {**where, "delta": delta, "logprobs": []}
            if self.pause:
                await asyncio.sleep(self.pause)
        yield "response.output_text.done", {**where, "text": part["text"], "logprobs": []}
        yield "response.content_part.done", {**where, "part": part}

    async def _call(self, item: dict[str, Any], where: dict[str, Any]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        yield "response.function_call_arguments.delta", {**where, "delta": item["arguments"]}
        yield "response.function_call_arguments.done", {**where, "name": item["name"], "arguments": item["arguments"]}
