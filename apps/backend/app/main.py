"""The application: `uvicorn app.main:app`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import Route

from app import problems
from app.assistant import Assistant
from app.auth import Authenticator
from app.chat import ChatService
from app.conversations import ConversationService
from app.database import Database
from app.health import HealthService
from app.limits import RateLimit
from app.logs import configure_logging
from app.mcp_server import PATH as MCP_PATH
from app.mcp_server import Guard, build_server, transport_security
from app.metrics import Metrics
from app.middleware import Observe
from app.routers import chat, conversations, health, tasks
from app.settings import Settings, SettingsError
from app.shutdown import drain_before_exit
from app.tasks import TaskService

logger = logging.getLogger(__name__)


def create_app(settings: Settings) -> FastAPI:
    """Put the parts together. Nothing is connected to before it is needed."""
    metrics = Metrics(settings.app_version, settings.app_revision)
    database = Database(settings)
    metrics.watch_pool(database.engine)
    authenticator = Authenticator(settings)
    request_limit = RateLimit(settings.rate_limit_per_minute)
    task_service = TaskService(database)
    conversation_service = ConversationService(database)
    mcp = build_server(task_service, metrics, settings.app_version)
    mcp_app = mcp.streamable_http_app(
        streamable_http_path=MCP_PATH,
        stateless_http=True,
        json_response=True,
        max_request_body_size=settings.max_body_bytes,
        transport_security=transport_security(settings),
    )
    assistant = Assistant(settings)
    chat_service = ChatService(conversation_service, assistant, metrics, settings)
    health_service = HealthService(settings, database, mcp, assistant)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        assistant.start()
        async with mcp.session_manager.run():
            drain_before_exit(chat_service)
            capacity = asyncio.create_task(database.check_capacity())
            logger.info("started", extra={"fields": {"version": settings.app_version}})
            yield
            capacity.cancel()
            await chat_service.close()
        await assistant.close()
        await health_service.close()
        await authenticator.keys.close()
        await database.close()
        logger.info("stopped")

    app = FastAPI(
        title="Task assistant",
        summary="Tasks, and a chat that manages them through MCP tools.",
        description="Every error is a problem document (RFC 9457, `application/problem+json`). "
        "`/mcp` serves the same tasks over MCP (streamable HTTP) and takes the same bearer token.",
        version=settings.app_version,
        lifespan=lifespan,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False},
    )
    app.state.settings = settings
    app.state.metrics = metrics
    app.state.authenticator = authenticator
    app.state.request_limit = request_limit
    app.state.chat_limit = RateLimit(settings.chat_rate_limit_per_minute)
    app.state.tasks = task_service
    app.state.conversations = conversation_service
    app.state.chat = chat_service
    app.state.health = health_service

    problems.install(app, settings.max_body_bytes)
    for module in (health, tasks, chat, conversations):
        app.include_router(module.router)
    guard = Guard(mcp_app, authenticator, request_limit)
    app.router.routes.append(Route(MCP_PATH, guard, name="mcp"))
    app.add_middleware(Observe, metrics=metrics, max_body_bytes=settings.max_body_bytes)
    app.openapi = openapi_of(app, settings)  # type: ignore[method-assign]
    return app


def openapi_of(app: FastAPI, settings: Settings) -> Callable[[], dict[str, Any]]:
    """The OpenAPI document: FastAPI's, with the problem model and the limits that are in force."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                servers=[{"url": "/"}],
            )
            schemas = document["components"]["schemas"]
            template = "#/components/schemas/{model}"
            for model in (problems.FieldError, problems.Problem):
                schema = model.model_json_schema(ref_template=template)
                schema.pop("$defs", None)
                schemas[model.__name__] = schema
            schemas.pop("HTTPValidationError", None)
            schemas.pop("ValidationError", None)
            schemas["ChatRequest"]["properties"]["message"]["maxLength"] = settings.chat_message_max_length
            app.openapi_schema = document
        return app.openapi_schema

    return openapi


def load_settings() -> Settings:
    """The settings, or the end of the process with one line that names what is wrong."""
    try:
        return Settings.load(os.environ)
    except SettingsError as error:
        line = {"level": "ERROR", "message": "configuration refused", "problems": error.problems}
        print(json.dumps(line), file=sys.stderr, flush=True)
        raise SystemExit(1) from None


settings = load_settings()
configure_logging(settings.log_level)
app = create_app(settings)
