"""Many concurrent users, and a database outage under load."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable

import httpx
from conftest import STACK, User, client, docker

USERS, CHATS = 20, 200


def test_200_concurrent_chats_of_20_users(users: Callable[[int], list[User]]) -> None:
    """Correct responses, every task exactly once, users see only their own."""
    people = users(USERS)

    async def run() -> tuple[list[httpx.Response], list[httpx.Response]]:
        async with client(connections=CHATS, timeout=120) as http:
            answers = await asyncio.gather(
                *(
                    http.post("/api/chat", json={"message": f"add a task: task {n}"}, headers=people[n % USERS].headers)
                    for n in range(CHATS)
                )
            )
            pages = await asyncio.gather(*(http.get("/api/tasks", params={"limit": 100}, headers=person.headers) for person in people))
        return answers, pages

    answers, pages = asyncio.run(run())
    assert Counter(answer.status_code for answer in answers) == {200: CHATS}
    expected = defaultdict(list)
    for number, answer in enumerate(answers):
        body = answer.json()
        assert [(call["name"], call["result"]["title"]) for call in body["tool_calls"]] == [("add_task", f"task {number}")]
        assert body["reply"] == f'I added "task {number}" to your tasks.'
        expected[number % USERS].append(f"task {number}")
    for number, page in enumerate(pages):
        assert sorted(item["title"] for item in page.json()["items"]) == sorted(expected[number])
    assert len({answer.json()["conversation_id"] for answer in answers}) == CHATS


def test_posts_after_the_servers_keep_alive_time() -> None:
    """uvicorn and Node.js close idle connections after 5 s: no request of the edge is lost at that moment."""
    reported: Counter[tuple[str, int]] = Counter()

    async def run() -> None:
        async with client(connections=100) as http:

            async def seldom(path: str) -> None:
                for _ in range(4):
                    reported[path, (await http.post(path, json={})).status_code] += 1
                    await asyncio.sleep(random.uniform(4.995, 5.01))

            await asyncio.gather(*(seldom(path) for path in ["/api/chat", "/api/auth/no-such"] * 50))

    asyncio.run(run())
    assert reported == {("/api/chat", 401): 200, ("/api/auth/no-such", 404): 200}


def containers() -> dict[str, tuple[str, int]]:
    """Name -> (start time, restart count) of all containers but the database."""
    found = json.loads(docker("inspect", *docker("ps", "--quiet", f"--filter=label=berth.stack={STACK}").split()))
    return {item["Name"][1:]: (item["State"]["StartedAt"], item["RestartCount"]) for item in found if item["Name"] != f"/{STACK}-database"}


def test_the_database_is_killed_for_ten_seconds(users: Callable[[int], list[User]]) -> None:
    """During the outage errors are 503 and JSON; five seconds after it there is none; no container restarted."""
    people = users(5)
    before = containers()
    assert len(before) >= 3
    answers: list[tuple[float, str, int, str]] = []
    away = [0.0, 0.0]

    async def ask(http: httpx.AsyncClient, person: User, until: Callable[[], bool]) -> None:
        number = 0
        while not until():
            number += 1
            if number % 4 == 0:
                request = http.post("/api/chat", json={"message": "add a task: kept"}, headers=person.headers)
            elif number % 2 == 0:
                request = http.post("/api/tasks", json={"title": "kept"}, headers=person.headers)
            else:
                request = http.get("/api/tasks", headers=person.headers)
            answer = await request
            answers.append((time.monotonic(), str(answer.request.url.path), answer.status_code, answer.headers["content-type"]))
            await asyncio.sleep(0.1)

    async def run() -> None:
        ended = asyncio.Event()
        async with client(connections=20) as http:
            load = [asyncio.create_task(ask(http, person, ended.is_set)) for person in people]
            await asyncio.sleep(3)
            away[0] = time.monotonic()
            await asyncio.to_thread(docker, "kill", f"{STACK}-database")
            await asyncio.sleep(10)
            await asyncio.to_thread(docker, "start", f"{STACK}-database")
            away[1] = time.monotonic()
            await asyncio.sleep(12)
            ended.set()
            await asyncio.gather(*load)

    asyncio.run(run())
    wrong = [answer for answer in answers if answer[2] not in (200, 201)]
    assert {answer[2] for answer in wrong} == {503}, Counter(answer[1:] for answer in wrong)
    assert {answer[3] for answer in wrong} == {"application/problem+json"}
    assert not [answer for answer in wrong if answer[0] < away[0] or answer[0] > away[1] + 5]
    assert [answer for answer in answers if answer[0] > away[1] + 5]
    assert containers() == before
