"""The end of the process and chats: who was here before it began is answered, who comes after is not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from app.assistant import Answer
from app.chat import ChatService
from app.metrics import Metrics
from app.problems import ProblemError


class Conversations:
    async def open(self, *_: Any) -> Any:
        return SimpleNamespace(id=uuid4(), history=[])

    async def append(self, *_: Any) -> None:
        pass


class Model:
    async def answer(self, *_: Any) -> Answer:
        await asyncio.sleep(0.01)
        return Answer(reply="hello", tool_calls=[])


def chats(grace: float = 5) -> ChatService:
    settings = SimpleNamespace(
        chat_concurrency=1, chat_history_turns=1, chat_queue_timeout=1, chat_timeout=1, shutdown_grace=grace
    )
    known: Any = (Conversations(), Model(), Metrics("v", "r"), settings)
    return ChatService(*known)


USER: Any = SimpleNamespace(id="somebody")


def test_a_request_that_came_before_the_end_still_begins_its_turn_and_is_waited_for() -> None:
    async def scenario() -> str:
        service = chats()
        with service.arriving():
            end = asyncio.create_task(service.drain())
            await asyncio.sleep(0.01)
            assert service.draining
            assert not end.done()
            turn = await service.start(USER, "hello", None, None)
        await end
        assert turn.task.done()
        return (await turn.response()).reply

    assert asyncio.run(scenario()) == "hello"


def test_a_request_that_comes_after_it_is_refused() -> None:
    async def scenario() -> None:
        service = chats()
        await service.drain()
        with service.arriving():
            await service.start(USER, "hello", None, None)

    with pytest.raises(ProblemError, match="stopping"):
        asyncio.run(scenario())


def test_one_that_never_begins_is_waited_for_no_longer_than_the_grace() -> None:
    async def scenario() -> None:
        service = chats(grace=0.05)
        with service.arriving():
            await asyncio.wait_for(service.drain(), 1)

    asyncio.run(scenario())
