"""The MCP server: tools that manage the tasks of the user whose token came with the request."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp.types import INTERNAL_ERROR, ToolAnnotations
from pydantic import BaseModel, Field
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.auth import Authenticator
from app.limits import RateLimit
from app.metrics import Metrics
from app.problems import ProblemError
from app.schemas import Description, TaskCreate, TaskPage, TaskRead, Title
from app.settings import Settings
from app.tasks import TaskService

IDEMPOTENCY_KEY = "berth/idempotency-key"
PATH = "/mcp"
# Names that the service is reached by without the edge, besides the public one.
INTERNAL_HOSTS = ("127.0.0.1", "localhost", "[::1]", "backend")

TaskId = Annotated[UUID, Field(description="The id of the task, as list_tasks tells it.")]


class Deleted(BaseModel):
    """What delete_task answers."""

    id: UUID
    deleted: bool = True


def build_server(tasks: TaskService, metrics: Metrics, version: str) -> MCPServer[Any]:
    """The server with its tools. A failure that the model can act on is a ToolError, an outage is an MCPError."""
    server: MCPServer[Any] = MCPServer(
        "berth-tasks",
        title="Tasks",
        version=version,
        instructions="Tools to manage the tasks of the signed-in user.",
        log_level="WARNING",
        subscriptions=False,
    )

    async def run(tool: str, work: Any) -> Any:
        """Await a tool's work, count it, and turn its problem into an answer of the protocol."""
        outcome = "ok"
        try:
            return await work
        except ProblemError as error:
            if error.status < 500:
                outcome = "rejected"
                raise ToolError(error.detail) from None
            outcome = "unavailable"
            raise MCPError(INTERNAL_ERROR, error.detail, {"status": error.status, "kind": error.kind}) from None
        except Exception:
            outcome = "error"
            raise
        finally:
            metrics.tool_calls.labels(tool, outcome).inc()

    @server.tool(annotations=ToolAnnotations(title="Add a task", destructive_hint=False, open_world_hint=False))
    async def add_task(title: Title, ctx: Context, description: Description | None = None) -> TaskRead:
        """Add a task to the user's list."""
        task = TaskCreate(title=title, description=description)
        result: TaskRead = await run("add_task", tasks.add(owner_of(ctx), task, idempotency_key_of(ctx)))
        return result

    @server.tool(annotations=ToolAnnotations(title="List tasks", read_only_hint=True, open_world_hint=False))
    async def list_tasks(
        ctx: Context,
        completed: Annotated[bool | None, Field(description="Only done (true) or only open (false) tasks.")] = None,
        query: Annotated[
            str | None, Field(max_length=200, pattern=r"^[^\x00]*$", description="Text to look for in the tasks.")
        ] = None,
        limit: Annotated[int, Field(ge=1, le=100)] = 100,
        offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
    ) -> TaskPage:
        """List the user's tasks with their ids, newest first."""
        page = tasks.list(owner_of(ctx), limit=limit, offset=offset, completed=completed, query=query)
        result: TaskPage = await run("list_tasks", page)
        return result

    @server.tool(
        annotations=ToolAnnotations(
            title="Complete a task", destructive_hint=False, idempotent_hint=True, open_world_hint=False
        )
    )
    async def complete_task(task_id: TaskId, ctx: Context) -> TaskRead:
        """Mark a task as done."""
        result: TaskRead = await run("complete_task", tasks.update(owner_of(ctx), task_id, {"completed": True}))
        return result

    @server.tool(
        annotations=ToolAnnotations(
            title="Update a task", destructive_hint=True, idempotent_hint=True, open_world_hint=False
        )
    )
    async def update_task(
        task_id: TaskId,
        ctx: Context,
        title: Title | None = None,
        description: Description | None = None,
        completed: bool | None = None,
    ) -> TaskRead:
        """Change a task's title, description or state; what is not given stays as it is."""
        given = {"title": title, "description": description, "completed": completed}
        changes = {name: value for name, value in given.items() if value is not None}
        if not changes:
            raise ToolError("Give a title, a description or completed to change.")
        result: TaskRead = await run("update_task", tasks.update(owner_of(ctx), task_id, changes))
        return result

    @server.tool(
        annotations=ToolAnnotations(
            title="Delete a task", destructive_hint=True, idempotent_hint=True, open_world_hint=False
        )
    )
    async def delete_task(task_id: TaskId, ctx: Context) -> Deleted:
        """Delete a task for good."""
        await run("delete_task", tasks.delete(owner_of(ctx), task_id))
        return Deleted(id=task_id)

    return server


def owner_of(ctx: Context) -> str:
    """The user whose token came with the HTTP request; Guard has put it there."""
    request: Request = ctx.request_context.request  # type: ignore[assignment]
    user_id: str = request.scope["state"]["user_id"]
    return user_id


def idempotency_key_of(ctx: Context) -> str | None:
    """The key that a caller gave in `_meta`, so that a repeated call does its work once."""
    meta: Any = ctx.request_context.meta or {}
    key = meta.get(IDEMPOTENCY_KEY) if isinstance(meta, dict) else getattr(meta, IDEMPOTENCY_KEY, None)
    return key if isinstance(key, str) and 0 < len(key) <= 200 and key.isprintable() else None


def transport_security(settings: Settings) -> TransportSecuritySettings:
    """Which Host and Origin headers are let in: the public ones, internal names, and what the settings add."""
    public = urlsplit(settings.public_url)
    hosts = [public.netloc, *_split(settings.mcp_allowed_hosts)]
    for name in INTERNAL_HOSTS:
        hosts += [name, f"{name}:*"]
    origins = [f"{public.scheme}://{public.netloc}", *_split(settings.mcp_allowed_origins)]
    return TransportSecuritySettings(enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins)


def _split(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


class Guard:
    """Lets POST requests with a valid token through to the MCP server.

    There are no sessions (any replica answers any request), so there is nothing to GET or to DELETE.
    """

    def __init__(self, app: ASGIApp, authenticator: Authenticator, limit: RateLimit) -> None:
        self.app = app
        self.authenticator = authenticator
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":  # says nothing but that somebody is there; the readiness probe asks it
            await Response(status_code=204, headers={"Allow": "POST"})(scope, receive, send)
            return
        try:
            await self._check(scope)
        except ProblemError as error:
            await error.response(PATH)(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _check(self, scope: Scope) -> None:
        scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        user = await self.authenticator.user_of(scheme, token.strip())
        scope.setdefault("state", {})["user_id"] = user.id
        self.limit.check(user.id)
        if scope["method"] != "POST":
            raise ProblemError(
                405, "method-not-allowed", "This server is stateless: POST only.", headers={"Allow": "POST"}
            )


__all__ = ["IDEMPOTENCY_KEY", "PATH", "Guard", "build_server", "transport_security"]
