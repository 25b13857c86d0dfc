"""Conversations in the database, so that any replica can take up any of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import delete, func, select

from app.database import Database
from app.models import TITLE_MAX, Conversation, Turn
from app.problems import not_found
from app.schemas import ConversationDetail, ConversationPage, ConversationRead, Message, ToolCall

DETAIL_TURNS = 200


@dataclass
class OpenConversation:
    """A conversation that a turn is about to be added to, with its last turns, the oldest first."""

    id: UUID
    history: list[Turn] = field(default_factory=list)


class ConversationService:
    """Every method takes the owner first and reaches that user's rows only."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def open(self, owner: str, conversation_id: UUID | None, message: str, turns: int) -> OpenConversation:
        """Find a conversation with its last `turns`, or begin one, named after its first message."""
        async with self.database.session() as session:
            if conversation_id is None:
                title = " ".join(message.split())[:TITLE_MAX]
                row = Conversation(id=uuid4(), owner_id=owner, title=title)
                session.add(row)
                return OpenConversation(row.id)
            found = await session.scalars(select(Conversation).where(*_owned(owner, conversation_id)))
            if found.one_or_none() is None:
                raise not_found("conversation")
            return OpenConversation(conversation_id, await _last_turns(session, conversation_id, turns))

    async def append(
        self, owner: str, conversation_id: UUID, message: str, tool_calls: list[dict[str, Any]], reply: str
    ) -> None:
        """Add a whole turn. The row lock gives turns that end at the same time different positions."""
        async with self.database.session() as session:
            found = await session.scalars(select(Conversation).where(*_owned(owner, conversation_id)).with_for_update())
            conversation = found.one_or_none()
            if conversation is None:
                raise not_found("conversation")
            session.add(
                Turn(
                    conversation_id=conversation_id,
                    position=conversation.turn_count,
                    message=message,
                    tool_calls=tool_calls,
                    reply=reply,
                )
            )
            conversation.turn_count += 1
            conversation.updated_at = datetime.now(UTC)

    async def list(self, owner: str, *, limit: int, offset: int) -> ConversationPage:
        """A page of conversations in which something was said, the last used first."""
        columns = Conversation.__table__.c  # type: ignore[attr-defined]
        conditions = (columns.owner_id == owner, columns.turn_count > 0)
        async with self.database.session() as session:
            total = (await session.scalars(select(func.count()).select_from(Conversation).where(*conditions))).one()
            rows = await session.scalars(
                select(Conversation)
                .where(*conditions)
                .order_by(columns.updated_at.desc(), columns.id.desc())
                .limit(limit)
                .offset(offset)
            )
            items = [ConversationRead.model_validate(row) for row in rows]
        return ConversationPage(items=items, total=total, limit=limit, offset=offset)

    async def get(self, owner: str, conversation_id: UUID) -> ConversationDetail:
        """A conversation with its last messages."""
        async with self.database.session() as session:
            row = (await session.scalars(select(Conversation).where(*_owned(owner, conversation_id)))).one_or_none()
            if row is None:
                raise not_found("conversation")
            turns = await _last_turns(session, conversation_id, DETAIL_TURNS)
        messages: list[Message] = []
        for turn in turns:
            calls = [ToolCall.model_validate(call) for call in turn.tool_calls]
            messages.append(Message(role="user", content=turn.message, created_at=turn.created_at))
            messages.append(Message(role="assistant", content=turn.reply, tool_calls=calls, created_at=turn.created_at))
        summary = ConversationRead.model_validate(row).model_dump()
        return ConversationDetail(**summary, messages=messages, truncated=row.turn_count > len(turns))

    async def delete(self, owner: str, conversation_id: UUID) -> None:
        """Remove a conversation and all of its turns."""
        async with self.database.session() as session:
            result = await session.execute(delete(Conversation).where(*_owned(owner, conversation_id)))
        if result.rowcount == 0:  # type: ignore[attr-defined]
            raise not_found("conversation")


async def _last_turns(session: Any, conversation_id: UUID, turns: int) -> list[Turn]:
    columns = Turn.__table__.c  # type: ignore[attr-defined]
    rows = await session.scalars(
        select(Turn).where(columns.conversation_id == conversation_id).order_by(columns.position.desc()).limit(turns)
    )
    return list(reversed(rows.all()))


def _owned(owner: str, conversation_id: UUID) -> tuple[Any, Any]:
    columns = Conversation.__table__.c  # type: ignore[attr-defined]
    return columns.owner_id == owner, columns.id == conversation_id
