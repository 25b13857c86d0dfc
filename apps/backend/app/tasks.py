"""Tasks of one user. The HTTP routes and the MCP tools both end here."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from app.database import Database
from app.models import Task
from app.problems import not_found
from app.schemas import TaskCreate, TaskPage, TaskRead


class TaskService:
    """Every method takes the owner first and reaches that user's rows only."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def add(self, owner: str, task: TaskCreate, idempotency_key: str | None = None) -> TaskRead:
        """Store a new task; asked again with the same key, answer the task that the first time made."""
        values = {"id": uuid4(), "owner_id": owner, "idempotency_key": idempotency_key, **task.model_dump()}
        statement = (
            insert(Task)
            .values(values)
            .on_conflict_do_nothing(constraint="uq_task_owner_idempotency_key")
            .returning(Task)
        )
        async with self.database.session() as session:
            row = (await session.scalars(statement)).one_or_none()
            if row is None:
                same = select(Task).where(_owned(owner), _column("idempotency_key") == idempotency_key)
                row = (await session.scalars(same)).one()
            return TaskRead.model_validate(row)

    async def list(
        self,
        owner: str,
        *,
        limit: int = 50,
        offset: int = 0,
        completed: bool | None = None,
        query: str | None = None,
    ) -> TaskPage:
        """A page of the user's tasks, newest first; `query` is looked for in title and description."""
        conditions = [_owned(owner)]
        if completed is not None:
            conditions.append(_column("completed") == completed)
        if query:
            conditions.append(
                _column("title").icontains(query, autoescape=True)
                | func.coalesce(_column("description"), "").icontains(query, autoescape=True)
            )
        async with self.database.session() as session:
            total = (await session.scalars(select(func.count()).select_from(Task).where(*conditions))).one()
            rows = await session.scalars(
                select(Task)
                .where(*conditions)
                .order_by(_column("created_at").desc(), _column("id").desc())
                .limit(limit)
                .offset(offset)
            )
            items = [TaskRead.model_validate(row) for row in rows]
        return TaskPage(items=items, total=total, limit=limit, offset=offset)

    async def get(self, owner: str, task_id: UUID) -> TaskRead:
        """One task; 404 when it is not the user's."""
        async with self.database.session() as session:
            row = (await session.scalars(select(Task).where(_owned(owner), _column("id") == task_id))).one_or_none()
        if row is None:
            raise not_found("task")
        return TaskRead.model_validate(row)

    async def update(self, owner: str, task_id: UUID, changes: dict[str, Any]) -> TaskRead:
        """Change some members of a task."""
        statement = (
            update(Task)
            .where(_owned(owner), _column("id") == task_id)
            .values(**changes, updated_at=func.now())
            .returning(Task)
        )
        async with self.database.session() as session:
            row = (await session.scalars(statement)).one_or_none()
        if row is None:
            raise not_found("task")
        return TaskRead.model_validate(row)

    async def delete(self, owner: str, task_id: UUID) -> None:
        """Remove a task."""
        async with self.database.session() as session:
            result = await session.execute(delete(Task).where(_owned(owner), _column("id") == task_id))
        if result.rowcount == 0:  # type: ignore[attr-defined]
            raise not_found("task")


def _column(name: str) -> Any:
    return Task.__table__.c[name]  # type: ignore[attr-defined]


def _owned(owner: str) -> ColumnElement[bool]:
    condition: ColumnElement[bool] = _column("owner_id") == owner
    return condition
