"""The tables. Unqualified names: the database role's search_path says in which schema they are."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Boolean, Column, DateTime, ForeignKey, Index, Integer, String, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

TITLE_MAX = 200
DESCRIPTION_MAX = 2000


def _timestamp() -> Any:
    return Column(DateTime(timezone=True), nullable=False, server_default=func.now())


class Task(SQLModel, table=True):
    """Something that one user wants to get done."""

    __tablename__ = "task"
    __table_args__ = (
        Index("ix_task_owner_created", "owner_id", text("created_at DESC"), text("id DESC")),
        # A repeated request (same key) finds the task that its first try made.
        UniqueConstraint("owner_id", "idempotency_key", name="uq_task_owner_idempotency_key"),
    )

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    owner_id: str = Field(sa_column=Column(String(255), nullable=False))
    title: str = Field(sa_column=Column(String(TITLE_MAX), nullable=False))
    description: str | None = Field(default=None, sa_column=Column(String(DESCRIPTION_MAX)))
    completed: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=text("false")))
    idempotency_key: str | None = Field(default=None, sa_column=Column(String(200)))
    created_at: datetime = Field(default=None, sa_column=_timestamp())
    updated_at: datetime = Field(default=None, sa_column=_timestamp())


class Conversation(SQLModel, table=True):
    """A chat of one user."""

    __tablename__ = "conversation"
    __table_args__ = (Index("ix_conversation_owner_updated", "owner_id", text("updated_at DESC"), text("id DESC")),)

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    owner_id: str = Field(sa_column=Column(String(255), nullable=False))
    title: str = Field(sa_column=Column(String(TITLE_MAX), nullable=False))
    turn_count: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default=text("0")))
    created_at: datetime = Field(default=None, sa_column=_timestamp())
    updated_at: datetime = Field(default=None, sa_column=_timestamp())


class Turn(SQLModel, table=True):
    """A user's message and all that came of it, in one row: there are no half turns, whatever runs at the same time."""

    __tablename__ = "turn"

    conversation_id: UUID = Field(
        sa_column=Column(ForeignKey("conversation.id", ondelete="CASCADE"), primary_key=True, nullable=False)
    )
    position: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    message: str = Field(sa_column=Column(String, nullable=False))
    tool_calls: list[dict[str, Any]] = Field(
        default_factory=list, sa_column=Column(JSONB, nullable=False, server_default=text("'[]'::jsonb"))
    )
    reply: str = Field(sa_column=Column(String, nullable=False))
    created_at: datetime = Field(default=None, sa_column=_timestamp())
