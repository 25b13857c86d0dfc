"""Chat: through the Agents SDK, over MCP, into the database."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.support import Issuer, Process, ScriptedModel, events_of, query, wait_for


def chat(client: httpx.Client, message: str, conversation_id: str | None = None, **headers: str) -> dict[str, Any]:
    body = {"message": message} | ({"conversation_id": conversation_id} if conversation_id else {})
    response = client.post("/api/chat", json=body, headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


def titles(client: httpx.Client) -> list[tuple[str, bool]]:
    return sorted((item["title"], item["completed"]) for item in client.get("/api/tasks").json()["items"])


def test_a_task_added_by_chat_is_in_the_database(client: httpx.Client, user: str, database_url: str) -> None:
    answer = chat(client, "add a task: buy milk")
    assert set(answer) == {"conversation_id", "reply", "tool_calls"}
    (call,) = answer["tool_calls"]
    assert set(call) == {"name", "arguments", "result"}
    assert (call["name"], call["arguments"]) == ("add_task", {"title": "buy milk"})
    assert "buy milk" in answer["reply"]
    (row,) = query(database_url, "SELECT id, title FROM task WHERE owner_id = $1", user)
    assert (str(row["id"]), row["title"]) == (call["result"]["id"], "buy milk")
    assert client.get("/api/tasks").json()["items"] == [call["result"]]


def test_every_tool_by_chat(client: httpx.Client) -> None:
    chat(client, "add tasks: milk, bread and eggs")
    assert titles(client) == [("bread", False), ("eggs", False), ("milk", False)]
    completed = chat(client, "complete milk")
    assert [call["name"] for call in completed["tool_calls"]] == ["list_tasks", "complete_task"]
    chat(client, "rename bread to rye bread")
    chat(client, "please delete eggs")
    assert titles(client) == [("milk", True), ("rye bread", False)]
    listed = chat(client, "show my open tasks")
    assert "rye bread" in listed["reply"]
    assert "milk" not in listed["reply"]


def test_talk_that_needs_no_tool(client: httpx.Client) -> None:
    answer = chat(client, "hello there")
    assert answer["tool_calls"] == []
    assert "mock LLM" in answer["reply"]


def test_the_stream_tells_every_step(client: httpx.Client) -> None:
    chat(client, "add a task: buy milk")
    with client.stream("POST", "/api/chat/stream", json={"message": "complete buy milk"}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        events = events_of(response.read().decode())
    names = [name for name, _ in events]
    assert names[:5] == ["conversation", "tool_call", "tool_result", "tool_call", "tool_result"]
    assert set(names[5:-1]) == {"delta"}
    assert names[-1] == "done"
    done = events[-1][1]
    assert set(done) == {"conversation_id", "reply", "tool_calls"}
    assert events[0][1] == {"conversation_id": done["conversation_id"]}
    assert "".join(data["text"] for name, data in events if name == "delta") == done["reply"]
    assert set(events[1][1]) == {"id", "name", "arguments"}
    assert set(events[2][1]) == {"id", "name", "result"}
    assert events[3][1]["id"] == events[4][1]["id"] != events[1][1]["id"]
    assert [call["result"] for call in done["tool_calls"]] == [events[2][1]["result"], events[4][1]["result"]]


def test_a_conversation_is_kept_listed_read_and_deleted(client: httpx.Client) -> None:
    first = chat(client, "add a task:\n  buy milk")
    chat(client, "list my tasks", first["conversation_id"])
    other = chat(client, "hello")
    listed = client.get("/api/conversations").json()
    assert [item["id"] for item in listed["items"]] == [other["conversation_id"], first["conversation_id"]]
    assert listed["items"][1]["title"] == "add a task: buy milk"
    assert client.get("/api/conversations", params={"limit": 1, "offset": 1}).json()["items"] == listed["items"][1:]
    path = f"/api/conversations/{first['conversation_id']}"
    detail = client.get(path).json()
    roles = [message["role"] for message in detail["messages"]]
    assert roles == ["user", "assistant", "user", "assistant"]
    assert detail["messages"][0]["content"] == "add a task:\n  buy milk"
    assert detail["messages"][1]["tool_calls"] == first["tool_calls"]
    assert detail["messages"][1]["content"] == first["reply"]
    assert detail["truncated"] is False
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == client.delete(path).status_code == 404
    assert (
        client.post("/api/chat", json={"message": "x", "conversation_id": first["conversation_id"]}).status_code == 404
    )


def test_another_replica_takes_a_conversation_up(
    client: httpx.Client, impatient_client: httpx.Client, scripted: ScriptedModel
) -> None:
    first = chat(client, "add a task: buy milk")
    scripted.requests.clear()
    scripted.behaviour = scripted.say({"role": "assistant", "content": "Go on."})
    second = chat(impatient_client, "and now?", first["conversation_id"])
    assert second == {"conversation_id": first["conversation_id"], "reply": "Go on.", "tool_calls": []}
    # What the model saw there is all that was said and done here.
    seen = [message for message in scripted.requests[0]["messages"] if message["role"] != "system"]
    assert [message["role"] for message in seen] == ["user", "assistant", "tool", "assistant", "user"]
    assert first["tool_calls"][0]["result"]["id"] in str(seen[2]["content"])
    assert seen[3]["content"] == first["reply"]
    assert len(client.get(f"/api/conversations/{first['conversation_id']}").json()["messages"]) == 4


def test_a_retry_with_the_same_key_adds_once(client: httpx.Client) -> None:
    key = {"Idempotency-Key": f"retry-{uuid4()}"}
    first = chat(client, "add tasks: milk, milk", **key)
    second = chat(client, "add tasks: milk, milk", **key)
    assert [call["result"] for call in first["tool_calls"]] == [call["result"] for call in second["tool_calls"]]
    assert titles(client) == [("milk", False), ("milk", False)]
    chat(client, "add tasks: milk, milk")
    assert len(titles(client)) == 4


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"message": ""},
        {"message": " \n\t "},
        {"message": 1},
        {"message": "a\x00b"},
        {"message": "x", "conversation_id": "1"},
        {"message": "x", "role": "system"},
    ],
)
@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
def test_what_cannot_be_a_message(client: httpx.Client, path: str, body: dict[str, Any]) -> None:
    assert client.post(path, json=body).status_code == 422


@pytest.mark.parametrize("path", ["/api/chat", "/api/chat/stream"])
def test_limits_of_a_message(client: httpx.Client, impatient_client: httpx.Client, path: str) -> None:
    response = impatient_client.post(path, json={"message": "x" * 101})
    assert (response.status_code, response.json()["type"]) == (422, "urn:berth:problem:message-too-long")
    assert client.post(path, json={"message": "x" * 101}).status_code == 200
    assert client.post(path, json={"message": "x", "conversation_id": str(uuid4())}).status_code == 404


def test_the_rate_of_chats_is_limited_for_each_user(
    impatient: Process, issuer: Issuer, scripted: ScriptedModel, user: str
) -> None:
    scripted.behaviour = scripted.say({"role": "assistant", "content": "ok"})
    with httpx.Client(base_url=impatient.url, headers=issuer.headers(user), trust_env=False, timeout=30) as http:
        answers = [http.post("/api/chat", json={"message": "x"}) for _ in range(25)]
        statuses = [answer.status_code for answer in answers]
        assert statuses[:20] == [200] * 20
        assert 429 in statuses[20:]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["type"] == "urn:berth:problem:too-many-requests"
        assert 1 <= int(refused.headers["retry-after"]) <= 3
        assert http.get("/api/tasks").status_code == 200
        http.headers = issuer.headers(f"{user}-other")
        assert http.post("/api/chat", json={"message": "x"}).status_code == 200


def test_a_client_that_goes_away_does_not_stop_the_turn(
    impatient_client: httpx.Client, client: httpx.Client, scripted: ScriptedModel
) -> None:
    import threading

    go_on = threading.Event()
    say = scripted.say({"role": "assistant", "content": "late"})

    def slow(request: Any, body: dict[str, Any]) -> None:
        go_on.wait(5)
        say(request, body)

    scripted.behaviour = slow
    with impatient_client.stream("POST", "/api/chat/stream", json={"message": "hello"}) as response:
        line = next(response.iter_lines())
        assert line == "event: conversation"
    go_on.set()
    page = wait_for(lambda: client.get("/api/conversations").json()["items"], 5, "the turn")
    detail = client.get(f"/api/conversations/{page[0]['id']}").json()
    assert [message["content"] for message in detail["messages"]] == ["hello", "late"]


def test_a_quiet_stream_is_kept_open(impatient_client: httpx.Client, scripted: ScriptedModel) -> None:
    import time

    say = scripted.say({"role": "assistant", "content": "at last"})

    def slow(request: Any, body: dict[str, Any]) -> None:
        time.sleep(0.8)
        say(request, body)

    scripted.behaviour = slow
    with impatient_client.stream("POST", "/api/chat/stream", json={"message": "hello"}) as response:
        text = response.read().decode()
    assert text.count(": keep-alive\n\n") >= 2
    assert events_of(text)[-1][0] == "done"


def test_many_turns_at_once_in_one_conversation(
    client: httpx.Client, backend: Process, issuer: Issuer, user: str
) -> None:
    conversation = chat(client, "hello")["conversation_id"]

    async def all_at_once() -> list[httpx.Response]:
        async with httpx.AsyncClient(
            base_url=backend.url, headers=issuer.headers(user), timeout=60, trust_env=False
        ) as http:
            body = {"conversation_id": conversation}
            return await asyncio.gather(
                *(http.post("/api/chat", json={**body, "message": f"add a task: t{n}"}) for n in range(12))
            )

    answers = asyncio.run(all_at_once())
    assert {answer.status_code for answer in answers} == {200}
    messages = client.get(f"/api/conversations/{conversation}").json()["messages"]
    assert len(messages) == 26
    for asked, answered in zip(messages[2::2], messages[3::2], strict=True):
        assert (asked["role"], answered["role"]) == ("user", "assistant")
        title = asked["content"].removeprefix("add a task: ")
        assert [call["arguments"] for call in answered["tool_calls"]] == [{"title": title}]
    assert sorted(title for title, _ in titles(client)) == sorted(f"t{n}" for n in range(12))


def test_what_a_model_says_is_made_storable(
    impatient_client: httpx.Client, scripted: ScriptedModel, client: httpx.Client
) -> None:
    scripted.behaviour = scripted.say({"role": "assistant", "content": "a\x00b \ud800 c"})
    answer = chat(impatient_client, "x")
    assert answer["reply"] == "ab ? c"
    detail = client.get(f"/api/conversations/{answer['conversation_id']}").json()
    assert detail["messages"][1]["content"] == "ab ? c"


def test_a_tool_that_refuses_is_told_to_the_model(
    impatient_client: httpx.Client, scripted: ScriptedModel, signed_in: Callable[[str], httpx.Client]
) -> None:
    missing = str(uuid4())
    call, say = (
        scripted.call("delete_task", f'{{"task_id": "{missing}"}}'),
        scripted.say({"role": "assistant", "content": "Sorry."}),
    )

    def once(request: Any, body: dict[str, Any]) -> None:
        answered = any(message["role"] == "tool" for message in body["messages"])
        (say if answered else call)(request, body)

    scripted.behaviour = once
    answer = chat(impatient_client, "delete it")
    assert answer["reply"] == "Sorry."
    (made,) = answer["tool_calls"]
    assert (made["name"], made["arguments"]) == ("delete_task", {"task_id": missing})
    assert made["result"].endswith("There is no such task.")
