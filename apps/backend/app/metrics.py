"""Metrics for Prometheus. Labels are route templates and outcomes, never what a client can choose freely."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from sqlalchemy.ext.asyncio import AsyncEngine

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """All metrics of one application."""

    def __init__(self, version: str, revision: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        Gauge("app_info", "What runs.", ["version", "revision"], registry=self.registry).labels(version, revision).set(
            1
        )
        self.requests = Counter(
            "http_requests_total", "Requests by their outcome.", ["method", "route", "status"], registry=self.registry
        )
        self.duration = Histogram(
            "http_request_duration_seconds",
            "From the first byte of the request to the last of the answer.",
            ["method", "route"],
            buckets=DURATION_BUCKETS,
            registry=self.registry,
        )
        self._counted: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self.in_flight = Gauge("http_requests_in_flight", "Requests being answered.", registry=self.registry)
        self.chat_turns = Counter(
            "chat_turns_total", "Chat turns by their outcome.", ["outcome"], registry=self.registry
        )
        self.chat_in_flight = Gauge("chat_turns_in_flight", "Chat turns being worked on.", registry=self.registry)
        self.tool_calls = Counter(
            "mcp_tool_calls_total", "MCP tool calls by their outcome.", ["tool", "outcome"], registry=self.registry
        )

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. Which counters are its is looked up once: each request would pay for it otherwise."""
        key = (method, route, status)
        if key not in self._counted:
            self._counted[key] = (self.requests.labels(method, route, str(status)), self.duration.labels(method, route))
        requests, duration = self._counted[key]
        requests.inc()
        duration.observe(seconds)

    def watch_pool(self, engine: AsyncEngine) -> None:
        """Report the connection pool whenever the metrics are read."""
        gauge = Gauge("database_connections", "Pooled connections.", ["state"], registry=self.registry)
        gauge.labels("in_use").set_function(engine.pool.checkedout)  # type: ignore[attr-defined]
        gauge.labels("idle").set_function(engine.pool.checkedin)  # type: ignore[attr-defined]

    def render(self) -> bytes:
        """The text exposition format."""
        return generate_latest(self.registry)
