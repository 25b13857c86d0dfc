"""Traffic of many users through the edge during operations on the stack; reports every failure."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from conftest import User, client


@dataclass
class Outcome:
    """Result: requests sent, failures as text, titles of acknowledged tasks, interrupted streams."""

    sent: int = 0
    failed: list[str] = field(default_factory=list)
    written: list[tuple[int, str]] = field(default_factory=list)
    streams: int = 0


class Traffic:
    """`rate` requests a second from all users in turn: pages, reads, writes, chats; and one open event stream after another."""

    def __init__(self, people: list[User], rate: float) -> None:
        self.people, self.rate, self.outcome = people, rate, Outcome()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _one(self, http: httpx.AsyncClient, number: int) -> None:
        who = number % len(self.people)
        headers = self.people[who].headers
        kind = ("page", "list", "add", "list", "health", "list", "add", "page", "list", "chat")[number % 10]
        self.outcome.sent += 1
        began = time.time()
        try:
            if kind == "page":
                answer = await http.get("/")
            elif kind == "health":
                answer = await http.get("/health/ready")
            elif kind == "list":
                answer = await http.get("/api/tasks?limit=5", headers=headers)
            elif kind == "add":
                answer = await http.post("/api/tasks", json={"title": f"task {number}"}, headers=headers)
            else:
                answer = await http.post("/api/chat", json={"message": f"add a task: chat {number}"}, headers=headers)
            if answer.status_code >= 400:
                self.outcome.failed.append(f"{began:.2f} {kind}: {answer.status_code} {answer.text[:150]}")
            elif kind in ("add", "chat"):
                self.outcome.written.append((who, f"{'task' if kind == 'add' else 'chat'} {number}"))
        except httpx.HTTPError as error:
            self.outcome.failed.append(f"{began:.2f}..{time.time():.2f} {kind}: {type(error).__name__} {error}")

    async def _streams(self, http: httpx.AsyncClient) -> None:
        for number in itertools.count():
            if self._stop.is_set():
                return
            headers = self.people[number % len(self.people)].headers
            began = time.time()
            try:
                async with http.stream("POST", "/api/chat/stream", json={"message": "hello, slowly"}, headers=headers) as answer:
                    text = "".join([part async for part in answer.aiter_text()])
                if answer.status_code != 200 or "event: done" not in text:
                    self.outcome.failed.append(f"{began:.2f}..{time.time():.2f} stream: {answer.status_code} ended with {text[-150:]!r}")
                self.outcome.streams += 1
            except httpx.HTTPError as error:
                self.outcome.failed.append(f"{began:.2f}..{time.time():.2f} stream: {type(error).__name__} {error}")
            await asyncio.sleep(0.2)

    async def _run(self) -> None:
        async with client(connections=50) as http:
            streams = asyncio.create_task(self._streams(http))
            running: set[asyncio.Task[None]] = set()
            start = time.monotonic()
            for number in itertools.count():
                if self._stop.is_set():
                    break
                await asyncio.sleep(max(0, start + number / self.rate - time.monotonic()))
                running.add(task := asyncio.create_task(self._one(http, number)))
                task.add_done_callback(running.discard)
            await asyncio.gather(streams, *running)

    @contextmanager
    def flowing(self) -> Iterator[Outcome]:
        """While the block runs."""
        self._thread.start()
        time.sleep(1)
        try:
            yield self.outcome
        finally:
            time.sleep(1)
            self._stop.set()
            self._thread.join()
