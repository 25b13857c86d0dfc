"""Many users at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import httpx

from tests.support import Issuer, Process

USERS, CHATS = 20, 200


def test_200_concurrent_chats_of_20_users(backend: Process, issuer: Issuer, user: str) -> None:
    """Every answer right, every task exactly once, nobody sees another's."""
    headers = {number: issuer.headers(f"{user}-{number}") for number in range(USERS)}

    async def run() -> tuple[list[httpx.Response], list[httpx.Response]]:
        limits = httpx.Limits(max_connections=CHATS)
        async with httpx.AsyncClient(base_url=backend.url, timeout=120, trust_env=False, limits=limits) as http:
            answers = await asyncio.gather(
                *(
                    http.post("/api/chat", json={"message": f"add a task: task {n}"}, headers=headers[n % USERS])
                    for n in range(CHATS)
                )
            )
            pages = await asyncio.gather(
                *(http.get("/api/tasks", params={"limit": 100}, headers=headers[n]) for n in range(USERS))
            )
        return answers, pages

    answers, pages = asyncio.run(run())
    assert [answer.status_code for answer in answers] == [200] * CHATS
    expected = defaultdict(list)
    for number, answer in enumerate(answers):
        body = answer.json()
        assert body["reply"] == f'I added "task {number}" to your tasks.'
        assert [(call["name"], call["result"]["title"]) for call in body["tool_calls"]] == [
            ("add_task", f"task {number}")
        ]
        expected[number % USERS].append(f"task {number}")
    for number, page in enumerate(pages):
        assert sorted(item["title"] for item in page.json()["items"]) == sorted(expected[number])
    assert len({answer.json()["conversation_id"] for answer in answers}) == CHATS
