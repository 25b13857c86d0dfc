"""/api/tasks"""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request, Response

from app.auth import CurrentUser
from app.problems import responses
from app.schemas import TEXT, IdempotencyKey, TaskCreate, TaskPage, TaskRead, TaskUpdate
from app.tasks import TaskService

router = APIRouter(prefix="/api/tasks", tags=["tasks"], responses=responses(401, 422, 429, 503))

Limit = Annotated[int, Query(ge=1, le=100, description="How many at most.")]
Offset = Annotated[int, Query(ge=0, le=1_000_000, description="How many to skip.")]


def _tasks(request: Request) -> TaskService:
    service: TaskService = request.app.state.tasks
    return service


@router.get("", summary="List tasks", operation_id="listTasks")
async def list_tasks(
    request: Request,
    user: CurrentUser,
    limit: Limit = 50,
    offset: Offset = 0,
    completed: Annotated[bool | None, Query(description="Only done or only open tasks.")] = None,
    q: Annotated[
        str | None, Query(max_length=200, pattern=TEXT, description="Text to look for in title and description.")
    ] = None,
) -> TaskPage:
    """The user's tasks, newest first."""
    return await _tasks(request).list(user.id, limit=limit, offset=offset, completed=completed, query=q)


@router.post("", status_code=201, summary="Add a task", operation_id="createTask", responses=responses(400, 413))
async def create_task(
    request: Request,
    response: Response,
    user: CurrentUser,
    task: TaskCreate,
    idempotency_key: Annotated[
        IdempotencyKey | None, Header(description="A repeated request with the same key adds nothing.")
    ] = None,
) -> TaskRead:
    """Add a task."""
    created = await _tasks(request).add(user.id, task, idempotency_key and f"http:{idempotency_key}")
    response.headers["Location"] = f"/api/tasks/{created.id}"
    return created


@router.get("/{task_id}", summary="Read a task", operation_id="getTask", responses=responses(404))
async def get_task(request: Request, user: CurrentUser, task_id: UUID) -> TaskRead:
    """One task."""
    return await _tasks(request).get(user.id, task_id)


@router.patch("/{task_id}", summary="Change a task", operation_id="updateTask", responses=responses(400, 404, 413))
async def update_task(request: Request, user: CurrentUser, task_id: UUID, changes: TaskUpdate) -> TaskRead:
    """Change the given members of a task."""
    return await _tasks(request).update(user.id, task_id, changes.changes)


@router.delete(
    "/{task_id}", status_code=204, summary="Delete a task", operation_id="deleteTask", responses=responses(404)
)
async def delete_task(request: Request, user: CurrentUser, task_id: UUID) -> None:
    """Delete a task."""
    await _tasks(request).delete(user.id, task_id)
