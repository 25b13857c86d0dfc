#!/usr/bin/env python3
"""Users of an application with several edges during an event: requests sent and failures.

usage: traffic.py --ca FILE --until FILE [--begun FILE] [--url https://localhost:8443] [--rate 10] [--shared] HOST:PORT...

Each edge is asked RATE times a second until the file UNTIL is there (BEGUN is made when users begin): pages, reading and writing of
tasks, chat, each with the user's token, on connections that stay open. With --shared one user goes from edge to edge, so that a session
and a conversation meet every replica. At the end the tasks are counted: each write that was answered must be there. Prints one JSON
document; exit status 0 whatever it found.
"""

from __future__ import annotations

import argparse
import http.client
import json
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils" / "verify"))
from app_client import Broken, Browser

TIMEOUT = 15


class User:
    """An account and its conversation."""

    def __init__(self, url: str, ca: str, address: str) -> None:
        host, _, _ = address.partition(":")
        self.browser = Browser(url, ca, host, TIMEOUT)
        body = {"name": "Hosts", "email": f"hosts-{secrets.token_hex(6)}@example.com", "password": secrets.token_urlsafe(18)}
        self.browser("POST", "/api/auth/sign-up/email", body)
        self.token = self.browser("GET", "/api/auth/token")[2]["token"]
        self.conversation = ""
        self.written: set[str] = set()
        self.lock = threading.Lock()


class Edge(threading.Thread):
    """Requests through one edge, one after another at a steady rate, on one connection."""

    def __init__(self, address: str, port: int, user: User, ca: str, url: str, rate: float, until: Path) -> None:
        super().__init__(daemon=True)
        self.address, self.user, self.rate, self.until = address, user, rate, until
        self.browser, self.port = Browser(url, ca, address.partition(":")[0], TIMEOUT), port
        self.sent, self.failures, self.latencies, self.last_good, self.gap = 0, [], [], time.monotonic(), 0.0

    def run(self) -> None:
        requests, connection, due = self.requests(), None, time.monotonic()
        while not self.until.exists():
            due = max(due + 1 / self.rate, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))
            method, path, body = next(requests)
            connection = connection or self.browser.connection("localhost", self.port)
            began = time.monotonic()
            self.sent += 1
            try:
                status, answer = self.ask(connection, method, path, body)
                problem = "" if status < 400 else f"{status} {answer[:120]!r}"
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                connection, problem = None, f"{type(error).__name__}: {error}"
            if problem:
                self.failures.append({"at": time.strftime("%H:%M:%S"), "what": f"{method} {path}", "why": problem})
                continue
            self.latencies.append(time.monotonic() - began)
            self.gap = max(self.gap, time.monotonic() - self.last_good)
            self.last_good = time.monotonic()
            self.keep(path, body, answer)

    def requests(self) -> Iterator[tuple[str, str, Any]]:
        number = 0
        while True:
            number += 1
            yield "GET", "/api/tasks?limit=5", None
            yield "POST", "/api/tasks", {"title": f"t-{secrets.token_hex(6)}"}
            yield "GET", "/api/health", None
            yield "GET", "/", None
            if number % 5 == 0:
                with self.user.lock:
                    going_on = {"conversation_id": self.user.conversation} if self.user.conversation else {}
                yield "POST", "/api/chat", {"message": "list my tasks", **going_on}

    def ask(self, connection: http.client.HTTPSConnection, method: str, path: str, body: Any) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self.user.token}", "Origin": self.user.browser.url, "Content-Type": "application/json"}
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()

    def keep(self, path: str, body: Any, answer: bytes) -> None:
        with self.user.lock:
            if path == "/api/tasks" and body:
                self.user.written.add(body["title"])
            if path == "/api/chat":
                self.user.conversation = json.loads(answer)["conversation_id"]

    def reported(self) -> dict[str, Any]:
        ordered = sorted(self.latencies) or [0.0]
        return {
            "sent": self.sent,
            "failed": len(self.failures),
            "longest_gap_seconds": round(self.gap, 2),
            "p95_ms": round(ordered[int(len(ordered) * 0.95)] * 1000),
            "failures": self.failures[:20],
        }


def lost(user: User) -> list[str]:
    """Acknowledged writes that are missing."""
    existing: set[str] = set()
    for offset in range(0, len(user.written) + 100, 100):
        existing |= {task["title"] for task in user.browser("GET", f"/api/tasks?limit=100&offset={offset}", token=user.token)[2]["items"]}
    return sorted(user.written - existing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("edges", nargs="+")
    parser.add_argument("--ca", type=Path, required=True)
    parser.add_argument("--until", type=Path, required=True)
    parser.add_argument("--begun", type=Path)
    parser.add_argument("--url", default="https://localhost:8443")
    parser.add_argument("--rate", type=float, default=10)
    parser.add_argument("--shared", action="store_true")
    options = parser.parse_args()
    ca, port = options.ca.read_text(), int(options.url.rpartition(":")[2])
    users = [User(options.url, ca, edge) for edge in (options.edges[:1] if options.shared else options.edges)]
    edges = [
        Edge(address, port, users[0 if options.shared else number], ca, options.url, options.rate, options.until)
        for number, address in enumerate(options.edges)
    ]
    for edge in edges:
        edge.start()
    if options.begun:
        options.begun.touch()
    for edge in edges:
        edge.join()
    reported: dict[str, Any] = {
        "edges": {edge.address: edge.reported() for edge in edges},
        "lost": [title for user in users for title in lost(user)],
    }
    reported["sent"] = sum(edge["sent"] for edge in reported["edges"].values())
    reported["failed"] = sum(edge["failed"] for edge in reported["edges"].values())
    print(json.dumps(reported, indent=2))


if __name__ == "__main__":
    try:
        main()
    except Broken as error:
        sys.exit(f"traffic: {error}")
