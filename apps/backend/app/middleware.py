"""What happens around every request: its id, its line in the log, its metrics, an answer when all else failed."""

from __future__ import annotations

import logging
import re
import time
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import request_id_var
from app.mcp_server import PATH as MCP_PATH
from app.metrics import Metrics
from app.problems import ProblemError, content_too_large

logger = logging.getLogger("app.access")

REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
# Asked every few seconds: at INFO they would bury the rest.
PROBES = frozenset({("GET", "/health"), ("GET", "/health/ready"), ("GET", "/metrics"), ("OPTIONS", MCP_PATH)})


class Observe:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, metrics: Metrics, max_body_bytes: int) -> None:
        self.app = app
        self.metrics = metrics
        self.max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_headers = Headers(scope=scope)
        given = request_headers.get("x-request-id", "")
        request_id = given if REQUEST_ID.match(given) else uuid4().hex
        request_id_var.set(request_id)
        state = scope.setdefault("state", {})
        status = received = 0
        begun = time.perf_counter()

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        async def counting_receive() -> Message:
            """For bodies that come without their length."""
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_body_bytes:
                raise HTTPException(413)  # FastAPI lets this kind through while it reads a body
            return message

        self.metrics.in_flight.inc()
        try:
            length = request_headers.get("content-length", "")
            if length.isdecimal() and int(length) > self.max_body_bytes:
                await content_too_large(self.max_body_bytes).response(scope["path"])(scope, receive, send_with_headers)
            else:
                await self.app(scope, counting_receive, send_with_headers)
        except Exception:
            logger.error("unhandled error", exc_info=True)
            if not status:
                problem = ProblemError(500, "internal-error", "Something went wrong here.")
                await problem.response(scope["path"])(scope, receive, send_with_headers)
        finally:
            self.metrics.in_flight.dec()
            self._record(scope, status, time.perf_counter() - begun, state.get("user_id"))

    def _record(self, scope: Scope, status: int, seconds: float, user_id: str | None) -> None:
        route = route_of(scope)
        method = scope["method"] if scope["method"] in METHODS else "OTHER"
        self.metrics.answered(method, route, status, seconds)
        level = logging.DEBUG if (method, route) in PROBES and status < 500 else logging.INFO
        if not logger.isEnabledFor(level):
            return
        client = scope.get("client")
        fields = {
            # As the edge says; UVICORN_PROXY_HEADERS and FORWARDED_ALLOW_IPS have put it here.
            "client": client[0] if client else None,
            "method": method,
            "route": route,
            # 0: the client went away before there was an answer.
            "status": status,
            "duration_ms": round(seconds * 1000, 1),
            "user_id": user_id,
        }
        logger.log(level, "request", extra={"fields": fields})


def route_of(scope: Scope) -> str:
    """The route's template: what a client puts into a path is in neither the log nor a label."""
    template = getattr(scope.get("route"), "path_format", None)
    if isinstance(template, str) and template != "":
        return template
    return MCP_PATH if scope["path"] == MCP_PATH else "unmatched"
