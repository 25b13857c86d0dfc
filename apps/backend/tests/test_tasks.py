"""/api/tasks"""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx
import pytest


def add(client: httpx.Client, **task: Any) -> dict[str, Any]:
    response = client.post("/api/tasks", json=task)
    assert response.status_code == 201, response.text
    return response.json()


def test_the_life_of_a_task(client: httpx.Client) -> None:
    task = add(client, title="  buy milk ", description="two litres")
    path = f"/api/tasks/{task['id']}"
    assert set(task) == {"id", "title", "description", "completed", "created_at", "updated_at"}
    assert (task["title"], task["description"], task["completed"]) == ("buy milk", "two litres", False)
    assert client.get(path).json() == task
    done = client.patch(path, json={"completed": True, "description": None}).json()
    assert (done["completed"], done["description"], done["title"]) == (True, None, "buy milk")
    assert done["updated_at"] > task["updated_at"]
    assert done["created_at"] == task["created_at"]
    deleted = client.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert client.get(path).status_code == client.delete(path).status_code == 404


def test_created_tells_where(client: httpx.Client) -> None:
    response = client.post("/api/tasks", json={"title": "x"})
    assert client.get(response.headers["location"]).json() == response.json()


def test_paging_and_filters(client: httpx.Client) -> None:
    for number in range(7):
        add(client, title=f"task {number}", completed=number % 2 == 1)
    add(client, title="100% sure", description="Under_score")
    page = client.get("/api/tasks", params={"limit": 3, "offset": 1}).json()
    assert [item["title"] for item in page["items"]] == ["task 6", "task 5", "task 4"]
    assert (page["total"], page["limit"], page["offset"]) == (8, 3, 1)
    assert client.get("/api/tasks", params={"completed": "true"}).json()["total"] == 3
    assert client.get("/api/tasks", params={"completed": "false", "q": "TASK"}).json()["total"] == 4
    # What means something to LIKE means nothing here.
    assert client.get("/api/tasks", params={"q": "%"}).json()["total"] == 1
    assert client.get("/api/tasks", params={"q": "_"}).json()["total"] == 1
    assert client.get("/api/tasks", params={"q": "under_s"}).json()["total"] == 1
    assert client.get("/api/tasks", params={"offset": 1_000_000}).json()["items"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"title": ""},
        {"title": "   "},
        {"title": "\u00a0\u2003"},
        {"title": "x" * 201},
        {"title": "a\x00b"},
        {"title": "two\nlines"},
        {"title": 7},
        {"title": None},
        {"title": "x", "description": "y" * 2001},
        {"title": "x", "description": "a\x00b"},
        {"title": "x", "completed": "yes"},
        {"title": "x", "completed": None},
        {"title": "x", "owner_id": "somebody-else"},
        {"title": "x", "a\ud800b": 1},
        {"title": "lone \ud800 surrogate"},
        [],
        "x",
        None,
    ],
)
def test_what_cannot_be_a_task(client: httpx.Client, body: Any) -> None:
    # The standard library's JSON can say what httpx's cannot: a lone surrogate.
    response = client.post("/api/tasks", content=json.dumps(body), headers={"Content-Type": "application/json"})
    problem = response.json()
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert problem["type"] == "urn:berth:problem:invalid-request"
    assert problem["errors"]
    assert all(set(error) == {"location", "message"} for error in problem["errors"])


@pytest.mark.parametrize("body", [{}, {"title": None}, {"completed": None}, {"title": ""}, {"id": str(uuid4())}])
def test_what_cannot_be_a_change(client: httpx.Client, body: Any) -> None:
    task = add(client, title="x")
    assert client.patch(f"/api/tasks/{task['id']}", json=body).status_code == 422
    assert client.get(f"/api/tasks/{task['id']}").json() == task


@pytest.mark.parametrize(
    "parameters",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "x"},
        {"offset": -1},
        {"offset": 10**12},
        {"completed": "maybe"},
        {"q": "a\x00"},
        {"q": "x" * 201},
    ],
)
def test_what_cannot_be_asked_for(client: httpx.Client, parameters: dict[str, Any]) -> None:
    assert client.get("/api/tasks", params=parameters).status_code == 422


def test_bodies_that_are_not_json(client: httpx.Client) -> None:
    assert client.post("/api/tasks", content=b"{", headers={"Content-Type": "application/json"}).status_code == 422
    assert (
        client.post("/api/tasks", content=b"\x80\x80 {}", headers={"Content-Type": "application/json"}).status_code
        == 400
    )
    assert (
        client.post("/api/tasks", content=b'{"title": "x"}', headers={"Content-Type": "text/plain"}).status_code == 422
    )


def test_a_repeated_request_adds_once(client: httpx.Client) -> None:
    headers = {"Idempotency-Key": "retry-1"}
    first = client.post("/api/tasks", json={"title": "once"}, headers=headers)
    second = client.post("/api/tasks", json={"title": "once"}, headers=headers)
    assert first.json() == second.json()
    assert client.get("/api/tasks").json()["total"] == 1


def test_one_users_key_is_not_anothers(client: httpx.Client, signed_in: Any, user: str) -> None:
    headers = {"Idempotency-Key": "shared"}
    other = signed_in(f"{user}-other")
    mine = client.post("/api/tasks", json={"title": "mine"}, headers=headers).json()
    theirs = other.post("/api/tasks", json={"title": "theirs"}, headers=headers).json()
    assert (mine["title"], theirs["title"]) == ("mine", "theirs")


def test_unknown_paths_and_methods_are_problems(client: httpx.Client) -> None:
    missing = client.get("/api/none")
    assert (missing.status_code, missing.json()["type"]) == (404, "urn:berth:problem:not-found")
    wrong = client.put("/api/tasks")
    assert (wrong.status_code, wrong.json()["title"]) == (405, "Method Not Allowed")
    assert wrong.headers["allow"] == "GET, POST"
    assert client.post(f"/api/tasks/{uuid4()}").headers["allow"] == "DELETE, GET, PATCH"
    assert client.get("/api/tasks/not-a-uuid").status_code == 422


def test_a_body_that_is_too_large(impatient_client: httpx.Client) -> None:
    big = {"title": "x", "description": "y" * 5000}
    response = impatient_client.post("/api/tasks", json=big)
    assert (response.status_code, response.headers["content-type"]) == (413, "application/problem+json")

    def chunks() -> Any:
        for _ in range(10):
            yield b" " * 1000

    assert (
        impatient_client.post("/api/tasks", content=chunks(), headers={"Content-Type": "application/json"}).status_code
        == 413
    )
    assert impatient_client.post("/mcp", json={"x": "y" * 5000}).status_code == 413
