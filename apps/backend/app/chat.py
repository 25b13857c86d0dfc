"""Chat turns. Each runs as a task of its own: a client that goes away does not leave one half done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any
from uuid import UUID, uuid4

from app.assistant import Assistant
from app.auth import User
from app.conversations import ConversationService, OpenConversation
from app.metrics import Metrics
from app.problems import ProblemError, unavailable
from app.schemas import ChatResponse, ToolCall
from app.settings import Settings

logger = logging.getLogger(__name__)

Event = tuple[str, dict[str, Any]]

# Whether the request that is being answered was here before the end began.
_in_time: ContextVar[bool] = ContextVar("in_time", default=False)


def stopping() -> ProblemError:
    """503: this replica is going; another one, or its successor, will answer."""
    return unavailable("service", "This replica is stopping. Try again.", 1)


class RunningTurn:
    """A turn that is being worked on: its events as they come, its answer in the end."""

    def __init__(self, conversation_id: UUID) -> None:
        self.conversation_id = conversation_id
        self.events: asyncio.Queue[Event | None] = asyncio.Queue()
        self.task: asyncio.Task[ChatResponse]

    def emit(self, name: str, data: dict[str, Any]) -> None:
        """Tell of a step."""
        self.events.put_nowait((name, data))

    async def response(self) -> ChatResponse:
        """The answer; the turn goes on when whoever waits for it is cancelled."""
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if self.task.cancelled():
                raise stopping() from None
            raise

    async def stream(self, keepalive: float) -> AsyncIterator[Event | None]:
        """The events, the last being `done` or `error`; None when nothing happened for `keepalive` seconds."""
        while True:
            try:
                event = await asyncio.wait_for(self.events.get(), keepalive)
            except TimeoutError:
                yield None
                continue
            if event is None:
                return
            yield event


class ChatService:
    """Starts turns, bounds how many run at once and for how long, and waits for them at the end."""

    def __init__(
        self, conversations: ConversationService, assistant: Assistant, metrics: Metrics, settings: Settings
    ) -> None:
        self.conversations = conversations
        self.assistant = assistant
        self.metrics = metrics
        self.settings = settings
        self.draining = False
        self._slots = asyncio.Semaphore(settings.chat_concurrency)
        self._running: set[asyncio.Task[ChatResponse]] = set()
        self._arriving = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """Around a request, from before its user is known: one that came before the end began still begins its turn."""
        if self.draining:
            yield
            return
        _in_time.set(True)
        self._arriving += 1
        self._settle()
        try:
            yield
        finally:
            self._arriving -= 1
            self._settle()

    def _settle(self) -> None:
        if self._arriving or self._running:
            self._idle.clear()
        else:
            self._idle.set()

    async def start(self, user: User, message: str, conversation_id: UUID | None, key: str | None) -> RunningTurn:
        """Begin a turn; 404 and 503 of the database come from here, before anything is streamed."""
        if self.draining and not _in_time.get():
            raise stopping()
        conversation = await self.conversations.open(
            user.id, conversation_id, message, self.settings.chat_history_turns
        )
        turn = RunningTurn(conversation.id)
        turn.task = asyncio.create_task(self._run(turn, user, conversation, message, key or uuid4().hex))
        self._running.add(turn.task)
        self._settle()
        turn.task.add_done_callback(self._done)
        return turn

    async def _run(
        self, turn: RunningTurn, user: User, conversation: OpenConversation, message: str, key: str
    ) -> ChatResponse:
        outcome = "error"
        self.metrics.chat_in_flight.inc()
        turn.emit("conversation", {"conversation_id": str(conversation.id)})
        try:
            response = await self._answer(turn, user, conversation, message, key)
            turn.emit("done", response.model_dump(mode="json"))
            outcome = "ok"
            return response
        except ProblemError as error:
            outcome = error.kind
            turn.emit("error", error.problem().model_dump(mode="json", exclude_none=True))
            raise
        except asyncio.CancelledError:
            outcome = "stopped"
            turn.emit("error", stopping().problem().model_dump(mode="json", exclude_none=True))
            raise
        except Exception:
            problem = ProblemError(500, "internal-error", "Something went wrong here.")
            turn.emit("error", problem.problem().model_dump(mode="json", exclude_none=True))
            raise
        finally:
            turn.events.put_nowait(None)
            self.metrics.chat_in_flight.dec()
            self.metrics.chat_turns.labels(outcome).inc()

    async def _answer(
        self, turn: RunningTurn, user: User, conversation: OpenConversation, message: str, key: str
    ) -> ChatResponse:
        try:
            await asyncio.wait_for(self._slots.acquire(), self.settings.chat_queue_timeout)
        except TimeoutError:
            raise unavailable("service", "Too many chats are running. Try again in a moment.", 5) from None
        try:
            async with asyncio.timeout(self.settings.chat_timeout):
                answer = await self.assistant.answer(user, conversation.history, message, key, turn.emit)
        except TimeoutError as error:
            raise unavailable("model", "The answer took too long. Try again.", 5) from error
        finally:
            self._slots.release()
        await self.conversations.append(user.id, conversation.id, message, answer.tool_calls, answer.reply)
        calls = [ToolCall.model_validate(call) for call in answer.tool_calls]
        return ChatResponse(conversation_id=conversation.id, reply=answer.reply, tool_calls=calls)

    def _done(self, task: asyncio.Task[ChatResponse]) -> None:
        self._running.discard(task)
        self._settle()
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, ProblemError):
            logger.warning("chat turn failed", exc_info=error, extra={"fields": {"problem": error.kind}})
        elif error is not None:
            logger.error("chat turn failed", exc_info=error)

    async def drain(self) -> None:
        """Take no new requests and wait for those that are here and their turns; after the grace period stop them."""
        self.draining = True
        with suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), self.settings.shutdown_grace)
        await self.close()

    async def close(self) -> None:
        """Stop what is still running."""
        self.draining = True
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
