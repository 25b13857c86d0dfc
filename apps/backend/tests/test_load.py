"""Many users at once."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator

import httpx
import pytest

from tests.support import Issuer, Process, running_backend

USERS, CHATS = 20, 200


@pytest.fixture
def patient(database_url: str, issuer: Issuer, mock_llm: Process) -> Iterator[Process]:
    """A replica that lets chats wait for as long as a slow machine needs; test_failures tries the turning away."""
    changes = {"CHAT_QUEUE_TIMEOUT": "300", "CHAT_TIMEOUT": "300"}
    with running_backend(database_url, issuer, mock_llm.url, covered=False, **changes) as process:
        yield process.wait("/health/ready")


def test_200_concurrent_chats_of_20_users(patient: Process, issuer: Issuer, user: str) -> None:
    """Every answer right, every task exactly once, nobody sees another's."""
    headers = {number: issuer.headers(f"{user}-{number}") for number in range(USERS)}

    async def run() -> tuple[list[httpx.Response], list[httpx.Response]]:
        limits = httpx.Limits(max_connections=CHATS)
        async with httpx.AsyncClient(base_url=patient.url, timeout=300, trust_env=False, limits=limits) as http:
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
