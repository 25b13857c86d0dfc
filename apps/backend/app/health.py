"""Readiness: the state of the database, the MCP server and the model, each looked at with a time-out."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import httpx
from mcp.server.mcpserver import MCPServer
from pydantic import BaseModel, ConfigDict, Field

from app.assistant import Assistant
from app.database import Database
from app.settings import Settings

logger = logging.getLogger(__name__)

State = Literal["ok", "starting", "unavailable"]
HEALTH_EXAMPLE: Any = {"status": "ok", "version": "1.4.0", "revision": "3f9c2d1"}
READY_EXAMPLE: Any = {
    "status": "ok",
    "version": "1.4.0",
    "revision": "3f9c2d1",
    "checks": {
        "database": {"status": "ok", "duration_ms": 1.8},
        "mcp": {
            "status": "ok",
            "duration_ms": 2.9,
            "tools": ["add_task", "list_tasks", "complete_task", "update_task", "delete_task"],
        },
        "model": {"status": "ok", "duration_ms": 4.1, "model": "mock"},
    },
}
# How long an answer is believed: a vendor's endpoint is not asked at every probe. What is away is asked again soon.
MODEL_SECONDS = 15.0
LOCAL_SECONDS = 1.0


class Health(BaseModel):
    """The process is up."""

    model_config = ConfigDict(json_schema_extra={"examples": [HEALTH_EXAMPLE]})

    status: Literal["ok"] = "ok"
    version: str
    revision: str


class Check(BaseModel):
    """The state of one part."""

    status: State
    duration_ms: float | None = None
    detail: str | None = None


class McpCheck(Check):
    """The state of the MCP server, with its tools."""

    tools: list[str]


class ModelCheck(Check):
    """The state of the model's endpoint."""

    model: str


class Checks(BaseModel):
    """All parts."""

    database: Check
    mcp: McpCheck
    model: ModelCheck


class Readiness(BaseModel):
    """`degraded` (still 200): only the model is away, so all but chat works."""

    model_config = ConfigDict(json_schema_extra={"examples": [READY_EXAMPLE]})

    status: Literal["ok", "degraded", "unavailable"]
    version: str
    revision: str
    checks: Checks = Field(description="The parts that the service needs.")


class HealthService:
    """Looks at the parts, and remembers for a moment what it saw."""

    def __init__(self, settings: Settings, database: Database, mcp: MCPServer[Any], assistant: Assistant) -> None:
        self.settings = settings
        self.database = database
        self.mcp = mcp
        self.assistant = assistant
        # Asked most often of all, and always the same.
        self.alive = Health(version=settings.app_version, revision=settings.app_revision).model_dump_json().encode()
        self._http = httpx.AsyncClient(timeout=2, trust_env=False)
        self._seen: dict[str, tuple[float, Check]] = {}  # until when it is to be believed, and what it was
        self._locks = {name: asyncio.Lock() for name in ("database", "mcp", "model")}

    async def readiness(self) -> Readiness:
        """Look at all parts."""
        database, mcp, model, tools = await asyncio.gather(
            self._check("database", self.database.ping, LOCAL_SECONDS),
            self._check("mcp", self._ask_mcp, LOCAL_SECONDS),
            self._check("model", self._ask_model, MODEL_SECONDS),
            self.mcp.list_tools(),
        )
        checks = Checks(
            database=database,
            mcp=McpCheck(**mcp.model_dump(), tools=[tool.name for tool in tools]),
            model=ModelCheck(**model.model_dump(), model=self.settings.openai_model),
        )
        status: Literal["ok", "degraded", "unavailable"] = "ok"
        if model.status == "unavailable":
            status = "degraded"
        if database.status != "ok" or mcp.status != "ok" or model.status == "starting":
            status = "unavailable"
        return Readiness(
            status=status, version=self.settings.app_version, revision=self.settings.app_revision, checks=checks
        )

    async def _check(self, name: str, ask: Callable[[], Awaitable[None]], keep: float) -> Check:
        async with self._locks[name]:
            begun = time.monotonic()
            if name in self._seen and begun < self._seen[name][0]:
                return self._seen[name][1]
            status: State = "ok"
            detail = None
            try:
                await ask()
            except StillStartingError:
                status, detail, keep = "starting", "loading", 0
            except Exception as error:
                status, detail, keep = "unavailable", type(error.__cause__ or error).__name__, LOCAL_SECONDS
            ended = time.monotonic()
            check = Check(status=status, detail=detail, duration_ms=round((ended - begun) * 1000, 1))
            self._seen[name] = (ended + keep, check)
            return check

    async def _ask_mcp(self) -> None:
        """The server is there when it answers at all, be it with 401 or 405: a server error or silence is an outage."""
        response = await self._http.options(self.settings.mcp_url)
        if response.status_code >= 500 or response.status_code == 404:
            raise httpx.HTTPStatusError("MCP", request=response.request, response=response)

    async def _ask_model(self) -> None:
        if not self.assistant.ready:
            raise StillStartingError
        await self.assistant.check_model()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


class StillStartingError(Exception):
    """Not an error: the part is being loaded."""
