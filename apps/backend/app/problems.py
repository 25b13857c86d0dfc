"""Errors as RFC 9457 problem details: the exceptions that carry them, their handlers, their place in OpenAPI."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from app.logs import request_id_var
from app.text import storable

MEDIA_TYPE = "application/problem+json"
logger = logging.getLogger(__name__)


class FieldError(BaseModel):
    """One rejected value: where it was and why. The value itself is not repeated."""

    location: list[str | int] = Field(examples=[["body", "title"]])
    message: str = Field(examples=["String should have at least 1 character"])


class Problem(BaseModel):
    """Problem details (RFC 9457)."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:berth:problem:not-found",
                "title": "Not Found",
                "status": 404,
                "detail": "There is no such task.",
                "instance": "/api/tasks/6f2c1a34-6f0e-4c57-9a55-0f8f8f6f3f10",
                "request_id": "3c1f6a0b7d5e4c1f9b7a2d1e0f3c4b5a",
            }
        }
    )

    type: str = Field(description="URN of the kind of problem.")
    title: str = Field(description="The HTTP status in words.")
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="What happened, for people.")
    instance: str | None = Field(None, description="Path of the request.")
    request_id: str | None = Field(None, description="Names this request in the logs.")
    retry_after: int | None = Field(None, ge=1, description="Seconds after which the same request may succeed.")
    errors: list[FieldError] | None = Field(None, description="What was rejected, for validation errors.")


class ProblemError(Exception):
    """An error that is answered as a problem."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
        errors: list[FieldError] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.retry_after = None if retry_after is None else max(1, math.ceil(retry_after))
        self.headers = dict(headers or {})
        self.errors = errors

    def problem(self, instance: str | None = None) -> Problem:
        """The body of the answer."""
        return Problem(
            type=f"urn:berth:problem:{self.kind}",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            instance=instance,
            request_id=request_id_var.get(),
            retry_after=self.retry_after,
            errors=self.errors,
        )

    def response(self, instance: str | None = None) -> Response:
        """The whole answer."""
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        body = self.problem(instance).model_dump_json(exclude_none=True)
        return Response(body, self.status, headers, MEDIA_TYPE)


def unavailable(part: str, detail: str, retry_after: float = 2) -> ProblemError:
    """503: `part` (database, model, mcp, ...) is away; the same request may succeed a little later."""
    return ProblemError(503, f"{part}-unavailable", detail, retry_after=retry_after)


def not_found(what: str) -> ProblemError:
    """404, also for what belongs to somebody else."""
    return ProblemError(404, "not-found", f"There is no such {what}.")


def content_too_large(limit: int) -> ProblemError:
    """413."""
    return ProblemError(413, "content-too-large", f"A request body may have {limit} bytes at most.")


def install(app: FastAPI, max_body_bytes: int) -> None:
    """Answer every error of the application as a problem."""

    @app.exception_handler(ProblemError)
    async def on_problem(request: Request, error: ProblemError) -> Response:
        return error.response(request.url.path)

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [
            FieldError(location=[storable(part) for part in item["loc"]], message=item["msg"])
            for item in error.errors()
        ]
        return ProblemError(422, "invalid-request", "The request is not valid.", errors=errors).response(
            request.url.path
        )

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> Response:
        if error.status_code == 413:
            return content_too_large(max_body_bytes).response(request.url.path)
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(allowed_methods(request))
        kind = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
        return ProblemError(error.status_code, kind, str(error.detail), headers=headers).response(request.url.path)


def allowed_methods(request: Request) -> list[str]:
    """Every method that the path answers to. (Starlette names those of the first route only.)"""
    routes = request.app.router.routes

    def allowed(method: str) -> bool:
        scope = {**request.scope, "method": method}
        return any(route.matches(scope)[0] is Match.FULL for route in routes)

    return [method for method in ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT") if allowed(method)]


DESCRIPTIONS = {
    400: "The request body cannot be read.",
    401: "The bearer token is missing, or it is not valid.",
    404: "There is no such thing, or it belongs to somebody else.",
    413: "The request body is too large.",
    422: "The request is not valid.",
    429: "Too many requests by this user.",
    503: "A part that is needed is away for now: try again.",
}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """OpenAPI `responses` for these statuses."""
    documented: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        entry: dict[str, Any] = {
            "description": DESCRIPTIONS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        if status in (429, 503):
            entry["headers"] = {
                "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}
            }
        if status == 401:
            entry["headers"] = {"WWW-Authenticate": {"description": "Bearer", "schema": {"type": "string"}}}
        documented[status] = entry
    return documented
