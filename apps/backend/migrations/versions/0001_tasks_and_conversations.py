"""Tasks, conversations and their turns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _timestamp(name: str) -> sa.Column[sa.DateTime]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now())


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "task",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("owner_id", sa.String(255), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("description", sa.String(2000)),
        sa.Column("completed", sa.Boolean(), nullable=False, server_default=sa.text("false")),
        sa.Column("idempotency_key", sa.String(200)),
        _timestamp("created_at"),
        _timestamp("updated_at"),
        sa.UniqueConstraint("owner_id", "idempotency_key", name="uq_task_owner_idempotency_key"),
    )
    op.create_index("ix_task_owner_created", "task", ["owner_id", sa.text("created_at DESC"), sa.text("id DESC")])
    op.create_table(
        "conversation",
        sa.Column("id", sa.Uuid(), primary_key=True),
        sa.Column("owner_id", sa.String(255), nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.Column("turn_count", sa.Integer(), nullable=False, server_default=sa.text("0")),
        _timestamp("created_at"),
        _timestamp("updated_at"),
    )
    op.create_index(
        "ix_conversation_owner_updated", "conversation", ["owner_id", sa.text("updated_at DESC"), sa.text("id DESC")]
    )
    op.create_table(
        "turn",
        sa.Column("conversation_id", sa.Uuid(), sa.ForeignKey("conversation.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("message", sa.String(), nullable=False),
        sa.Column("tool_calls", postgresql.JSONB(), nullable=False, server_default=sa.text("'[]'::jsonb")),
        sa.Column("reply", sa.String(), nullable=False),
        _timestamp("created_at"),
    )


def downgrade() -> None:
    """Remove the tables."""
    for table in ("turn", "conversation", "task"):
        op.drop_table(table)
