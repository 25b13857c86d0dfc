"""/api/chat, answered at once or as server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.routing import APIRoute
from pydantic import ConfigDict, Field
from starlette.responses import StreamingResponse

from app.auth import CurrentUser, User
from app.chat import ChatService, RunningTurn
from app.problems import ProblemError, responses
from app.schemas import CHAT_RESPONSE_EXAMPLE, MESSAGE, TOOL_CALL_EXAMPLE, ChatResponse, IdempotencyKey, Input
from app.settings import Settings


class ChatRequest(Input):
    """A message to the assistant; with a conversation's id it goes on with that one."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"message": "add a task: buy milk"}]})

    # The hard limit of the schema; CHAT_MESSAGE_MAX_LENGTH is the one in force, and the OpenAPI document tells it.
    message: str = Field(min_length=1, max_length=100_000, pattern=MESSAGE, examples=["add a task: buy milk"])
    conversation_id: UUID | None = None


async def chat_user(request: Request, user: CurrentUser) -> User:
    """Dependency: the user, counted for the rate limit of chats too."""
    request.app.state.chat_limit.check(user.id)
    return user


ChatUser = Annotated[User, Depends(chat_user)]
Key = Annotated[
    IdempotencyKey | None,
    Header(alias="Idempotency-Key", description="Send it again with a retry: tasks are then added once."),
]


class ChatRoute(APIRoute):
    """A route whose requests are counted from before their user is known: the end waits for the turns they begin."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def counted(request: Request) -> Response:
            service: ChatService = request.app.state.chat
            with service.arriving():
                return await answer(request)

        return counted


router = APIRouter(
    prefix="/api/chat", tags=["chat"], responses=responses(400, 401, 404, 413, 422, 429, 503), route_class=ChatRoute
)


async def _start(request: Request, user: User, body: ChatRequest, key: str | None) -> RunningTurn:
    settings: Settings = request.app.state.settings
    if len(body.message) > settings.chat_message_max_length:
        raise ProblemError(
            422, "message-too-long", f"A message may have {settings.chat_message_max_length} characters at most."
        )
    service: ChatService = request.app.state.chat
    return await service.start(user, body.message, body.conversation_id, key)


@router.post("", summary="Chat", operation_id="chat")
async def chat(request: Request, user: ChatUser, body: ChatRequest, idempotency_key: Key = None) -> ChatResponse:
    """Send a message and get the whole answer."""
    turn = await _start(request, user, body, idempotency_key)
    return await turn.response()


def _sse(name: str, data: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


# One event of the stream, as OpenAPI 3.2 and the tools that read streams describe it.
EVENT_SCHEMA = {
    "type": "object",
    "properties": {
        "event": {"enum": ["conversation", "tool_call", "tool_result", "delta", "done", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
STREAM_EXAMPLE = "".join(
    [
        _sse("conversation", {"conversation_id": CHAT_RESPONSE_EXAMPLE["conversation_id"]}),
        _sse("tool_call", {"id": "call_1", "name": "add_task", "arguments": TOOL_CALL_EXAMPLE["arguments"]}),
        _sse("tool_result", {"id": "call_1", "name": "add_task", "result": TOOL_CALL_EXAMPLE["result"]}),
        _sse("delta", {"text": "I added "}),
        _sse("done", CHAT_RESPONSE_EXAMPLE),
    ]
)


@router.post(
    "/stream",
    summary="Chat, streamed",
    operation_id="chatStream",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events `conversation`, `tool_call`, `tool_result`, `delta`, and at last `done` or `error` "
            "(a Problem). Lines that begin with a colon keep the connection open.",
            "content": {"text/event-stream": {"schema": EVENT_SCHEMA, "example": STREAM_EXAMPLE}},
        }
    },
)
async def chat_stream(
    request: Request, user: ChatUser, body: ChatRequest, idempotency_key: Key = None
) -> StreamingResponse:
    """Send a message and get the answer as it comes. A client that goes away does not stop the turn."""
    turn = await _start(request, user, body, idempotency_key)
    keepalive = request.app.state.settings.stream_keepalive

    async def events() -> AsyncIterator[str]:
        async for event in turn.stream(keepalive):
            yield ": keep-alive\n\n" if event is None else _sse(*event)

    headers = {"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"}
    return StreamingResponse(events(), media_type="text/event-stream", headers=headers)
