"""/health, /health/ready and /metrics: without a token."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.health import Health, HealthService, Readiness
from app.metrics import CONTENT_TYPE

router = APIRouter(tags=["health"])


@router.get("/health", summary="Liveness", operation_id="health", response_model=Health)
async def health(request: Request) -> Response:
    """The process answers. Looks at nothing else."""
    service: HealthService = request.app.state.health
    return Response(service.alive, media_type="application/json")


@router.get(
    "/health/ready",
    summary="Readiness",
    operation_id="ready",
    responses={503: {"model": Readiness, "description": "The database or the MCP server is away, or a part starts."}},
)
async def ready(request: Request, response: Response) -> Readiness:
    """Whether requests can be served, part by part."""
    service: HealthService = request.app.state.health
    readiness = await service.readiness()
    if readiness.status == "unavailable" or request.app.state.chat.draining:
        response.status_code = 503
    return readiness


@router.get("/metrics", include_in_schema=False)
async def metrics(request: Request) -> Response:
    """For Prometheus, inside only: the edge does not route it."""
    return Response(request.app.state.metrics.render(), media_type=CONTENT_TYPE)
