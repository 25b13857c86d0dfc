"""An OpenAI-compatible endpoint (Chat Completions, Responses) backed by fixed rules: `uvicorn app.main:app`.

Settings: MOCK_LLM_API_KEY or MOCK_LLM_API_KEY_FILE (accepted bearer keys: `key` or `2:key,1:key`; none:
open), MOCK_LLM_DELAY_SECONDS (delay before each response, 0), APP_VERSION.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response, StreamingResponse

from app.responses import Response as ModelResponse
from app.responses import ResponsesRequest, messages_of
from app.rules import Move, next_move

MODEL = "mock"
# Releases from before the model was renamed still ask for it by its earlier name after a rollback.
ACCEPTED = {MODEL, "rehearsal"}
CREATED = 1_700_000_000


class ApiError(Exception):
    """An error in the shape that OpenAI's clients know."""

    def __init__(self, status: int, kind: str, code: str | None, message: str) -> None:
        self.response = JSONResponse(
            {"error": {"message": message, "type": kind, "param": None, "code": code}}, status_code=status
        )


class CompletionRequest(BaseModel):
    """The part of a Chat Completions request that matters here; the rest is let through."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[dict[str, Any]] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    stream: bool = False
    stream_options: dict[str, Any] | None = None


def api_keys_from(environ: dict[str, str]) -> list[str]:
    """The keys that clients may send. The file is read each time, so a new key needs no restart."""
    path = environ.get("MOCK_LLM_API_KEY_FILE")
    text = Path(path).read_text(encoding="utf-8") if path else environ.get("MOCK_LLM_API_KEY", "")
    return [re.sub(r"^\d+:", "", entry.strip()) for entry in text.split(",") if entry.strip()]

SLOWLY_SECONDS = 0.3


def create_app(api_keys: Callable[[], list[str]], delay: float = 0, version: str = "development") -> FastAPI:
    """The endpoint. `delay`: seconds to wait before each answer."""
    app = FastAPI(title="Mock LLM", version=version, openapi_url=None)

    def check_key(request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        keys = api_keys()
        if keys and not any(hmac.compare_digest(given.encode(), key.encode()) for key in keys):
            raise ApiError(401, "invalid_request_error", "invalid_api_key", "The API key is not the right one.")

    @app.exception_handler(ApiError)
    async def on_api_error(_: Request, error: ApiError) -> Response:
        return error.response

    @app.exception_handler(RequestValidationError)
    async def on_invalid(_: Request, error: RequestValidationError) -> Response:
        fields = ", ".join(".".join(map(str, item["loc"][1:])) or "body" for item in error.errors())
        return ApiError(400, "invalid_request_error", None, f"Not valid: {fields}.").response

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok", "model": MODEL, "version": version}

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        check_key(request)
        return {"object": "list", "data": [{"id": MODEL, "object": "model", "created": CREATED, "owned_by": "berth"}]}

    def check_model(name: str) -> None:
        if name not in ACCEPTED:
            message = f"There is no model {name!r} here, only {MODEL!r}."
            raise ApiError(404, "invalid_request_error", "model_not_found", message)

    @app.post("/v1/chat/completions")
    async def completions(request: Request, body: CompletionRequest) -> Response:
        check_key(request)
        check_model(body.model)
        tools = {str(tool.get("function", {}).get("name")) for tool in body.tools or []}
        move = next_move(body.messages, set() if body.tool_choice == "none" else tools)
        if delay:
            await asyncio.sleep(delay)
        answer = Answer(move, body.messages)
        if not body.stream:
            return JSONResponse(answer.completion())
        with_usage = bool((body.stream_options or {}).get("include_usage"))
        return StreamingResponse(answer.stream(with_usage), media_type="text/event-stream")

    @app.post("/v1/responses")
    async def responses(request: Request, body: ResponsesRequest) -> Response:
        check_key(request)
        check_model(body.model)
        if body.previous_response_id or body.conversation:
            message = "The mock LLM keeps no responses and no conversations: send the whole conversation as input."
            raise ApiError(400, "invalid_request_error", "previous_response_not_found", message)
        messages = messages_of(body.input)
        tools = {str(tool.get("name")) for tool in body.tools or [] if tool.get("type") == "function"}
        move = next_move(messages, set() if body.tool_choice == "none" else tools)
        if delay:
            await asyncio.sleep(delay)
        counted = Answer(move, messages)
        answer = ModelResponse(move, body, MODEL, counted.usage, counted.pause)
        if not body.stream:
            return JSONResponse(answer.whole())
        return StreamingResponse(answer.stream(), media_type="text/event-stream")

    return app


class Answer:
    """A move in the protocol's words, whole or in pieces."""

    def __init__(self, move: Move, messages: list[dict[str, Any]]) -> None:
        self.head = {"id": f"chatcmpl-{uuid4().hex}", "created": int(time.time()), "model": MODEL}
        self.text = move.text
        # "..., slowly": a stream that takes its time, to see what becomes of one that is open while something happens.
        asked = next((str(m.get("content") or "") for m in reversed(messages) if m.get("role") == "user"), "")
        self.pause = SLOWLY_SECONDS if asked.rstrip(" .!").lower().endswith("slowly") else 0.0
        self.calls: list[dict[str, Any]] = [
            {
                "id": f"call_{uuid4().hex[:24]}",
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)},
            }
            for call in move.calls
        ]
        self.finish_reason = "tool_calls" if self.calls else "stop"
        length = len(self.text) + sum(len(call["function"]["arguments"]) for call in self.calls)
        read = sum(len(str(message.get("content") or "")) for message in messages)
        # About four characters a token, as a rule of thumb.
        prompt, completion = read // 4 + 1, length // 4 + 1
        self.usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def completion(self) -> dict[str, Any]:
        """The answer as one object."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text or None, "refusal": None}
        if self.calls:
            message["tool_calls"] = self.calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self.finish_reason}
        return {**self.head, "object": "chat.completion", "choices": [choice], "usage": self.usage}

    async def stream(self, with_usage: bool) -> AsyncIterator[str]:
        """The answer as server-sent events: text word by word, a call's arguments after its name."""
        yield self._chunk({"role": "assistant", "content": "" if self.text else None})
        for index, word in enumerate(self.text.split(" ") if self.text else []):
            yield self._chunk({"content": word if index == 0 else f" {word}"})
            if self.pause:
                await asyncio.sleep(self.pause)
        for index, call in enumerate(self.calls):
            function = call["function"]
            opened = {**call, "index": index, "function": {"name": function["name"], "arguments": ""}}
            yield self._chunk({"tool_calls": [opened]})
            yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": function["arguments"]}}]})
        yield self._chunk({}, self.finish_reason)
        if with_usage:
            yield self._event({**self.head, "object": "chat.completion.chunk", "choices": [], "usage": self.usage})
        yield "data: [DONE]\n\n"

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self._event({**self.head, "object": "chat.completion.chunk", "choices": [choice]})

    @staticmethod
    def _event(data: dict[str, Any]) -> str:
        return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


app = create_app(
    lambda: api_keys_from(dict(os.environ)),
    float(os.environ.get("MOCK_LLM_DELAY_SECONDS", "0")),
    os.environ.get("APP_VERSION", "development"),
)
