"""Probes of an application under many requests: response times, right responses, memory."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import statistics
import threading
import time
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

from ..docker.client import memory_used
from ..docker.ownership import stack_containers
from .app_client import Absent, Broken
from .application import demands_token, filled, operations
from .load_figures import percentile
from .probes import Evidence, Probes, Step


class Load(Probes):
    """One request after another, and many at once."""

    def steps(self) -> list[Step]:
        tasks = () if self.application.lacks("tasks") else ("token",)
        return [
            Step("latency", "Answers come within their time", self.latency, (), tasks),
            Step("burst", "Many at once get the right answers", self.burst, (), tasks),
            Step("memory", "Memory does not grow with the number of requests", self.memory, (), tasks),
        ]

    def _addresses(self) -> dict[str, str]:
        """By name: the paths that the edge passes where they belong."""
        health = self.options["health"]
        found = {"page": self.options["page"]}
        if self.application.server(health["backend"]) == "backend":
            found["health"] = health["backend"]
        if not self.application.lacks("tasks"):
            found["tasks"] = "/api/tasks"
        return found

    def latency(self) -> Evidence:
        figures: dict[str, Any] = {}
        for name, path in self._addresses().items():
            token = self.token if name == "tasks" else ""
            seconds = []
            for _ in range(20):
                started = time.monotonic()
                status = self.web("GET", path, token=token, expect=None)[0]
                if status >= 400:
                    raise Broken(f"GET {path} answered {status}")
                seconds.append(time.monotonic() - started)
            figures[name] = {"p95": round(percentile(seconds, 0.95) * 1000, 1), "median": round(statistics.median(seconds) * 1000, 1)}
        return "; ".join(f"{name}: median {f['median']} ms, p95 {f['p95']} ms" for name, f in figures.items()), figures

    def _kinds(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """(path, token, right statuses) of the requests of a burst: reads, and wrong ones that must be refused as such."""
        addresses, frontend = self._addresses(), self.options["health"]["frontend"]
        # An application may limit its clients by itself.
        limited = () if self.check.held("api") else (429,)
        kinds: list[tuple[str, str, tuple[int, ...]]] = []
        if "health" in addresses:
            kinds.append((addresses["health"], "", (200, 204, *limited)))
        if self.application.server(frontend) == "frontend":
            kinds.append((frontend, "", (200, 204, *limited)))
        if "tasks" in addresses:
            wrong = ("/api/tasks/nonsense", self.token, (422, 400, 404, *limited))
            return [("/api/tasks", self.token, (200, *limited)), *kinds, ("/api/tasks", "", (401, *limited)), wrong]
        with contextlib.suppress(Absent):
            document = self.application.document()
            refused = (filled(path) for method, path, one in operations(document) if method == "get" and demands_token(document, one))
            kinds += [(path, "", (401, 403, *limited)) for path in refused if self.application.server(path) == "backend"][:1]
        return [*kinds, (addresses["page"], "", (200, 301, 302, 303, 307, 308, *limited))]

    def _many(self, requests: int, workers: int) -> tuple[Counter[str], list[float]]:
        """`requests` by `workers` connections that stay open: reads, and among them wrong ones that must be refused as such."""
        url = urlsplit(self.options["url"])
        kinds = self._kinds()
        outcomes: Counter[str] = Counter()
        seconds: list[float] = []
        lock = threading.Lock()

        def work(number: int) -> None:
            connection = self.web.connection(url.hostname or "", url.port or 443)
            for index in range(requests // workers):
                path, token, right = kinds[(index + number) % len(kinds)]
                started = time.monotonic()
                try:
                    connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
                    answer = connection.getresponse()
                    answer.read()
                    outcome = "right" if answer.status in right else f"{path} {answer.status}"
                except (OSError, http.client.HTTPException) as error:
                    outcome = type(error).__name__
                    connection.close()
                with lock:
                    outcomes[outcome] += 1
                    seconds.append(time.monotonic() - started)
            connection.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes, seconds

    def burst(self) -> Evidence:
        workers = self.options["burst_connections"]
        started = time.monotonic()
        outcomes, seconds = self._many(self.options["burst_requests"], workers)
        rate = len(seconds) / (time.monotonic() - started)
        figures = {
            "connections": workers,
            "requests": len(seconds),
            "rate": round(rate),
            "p95": round(percentile(seconds, 0.95) * 1000, 1),
            "outcomes": dict(outcomes),
        }
        wrong = len(seconds) - outcomes["right"]
        if wrong:
            raise Broken(f"{wrong} of {len(seconds)} answers were wrong: {dict(outcomes)}")
        return f"{len(seconds)} requests on {workers} connections: all answers right, p95 {figures['p95']} ms, {rate:.0f}/s", figures

    def memory(self) -> Evidence:
        """Equal bursts, memory read between them. A heap that warms up grows by less each time, a leak by the same: the least counts."""
        per_burst = self.options["burst_requests"]
        readings = [self._used()]
        for _ in range(4):
            self._many(per_burst, min(16, self.options["burst_connections"]))
            readings.append(self._used())
        pairs = list(itertools.pairwise(readings[1:]))
        growth = {name: min((after.get(name, 0) - before.get(name, 0)) / per_burst for before, after in pairs) for name in readings[0]}
        worst = max(growth, key=lambda name: growth[name], default="")
        figures = {"bytes_per_request": {name: round(value) for name, value in growth.items()}, "readings": readings}
        return f"in {len(pairs)} bursts of {per_burst} requests one adds {growth.get(worst, 0):.0f} bytes at least ({worst})", figures

    def _used(self) -> dict[str, int]:
        """Bytes in use by backend and frontend."""
        used: dict[str, int] = {}
        for container in stack_containers(self.engine, self.options["labels"], self.options["recorded"]):
            service = container["Labels"].get("berth.service", "")
            if service in ("backend", "frontend") and container["State"] == "running":
                used[service] = used.get(service, 0) + memory_used(self.engine.statistics(container["Id"]))
        return used
