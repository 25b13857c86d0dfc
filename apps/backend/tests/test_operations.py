"""What operators see: health, metrics, logs, migrations, start and stop."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support import Issuer, Process, ScriptedModel, alembic, events_of, query, running_backend, wait_for


def test_health_is_fast_and_says_what_runs(backend: Process) -> None:
    with httpx.Client(base_url=backend.url, trust_env=False) as http:
        durations = []
        for _ in range(50):
            begun = time.perf_counter()
            response = http.get("/health")
            durations.append(time.perf_counter() - begun)
            assert response.json() == {"status": "ok", "version": "1.2.3", "revision": "abc1234"}
    assert sorted(durations)[45] < 0.05


def test_readiness_names_every_part(backend: Process) -> None:
    ready = httpx.get(f"{backend.url}/health/ready", trust_env=False).json()
    assert (ready["status"], ready["version"]) == ("ok", "1.2.3")
    assert {name: check["status"] for name, check in ready["checks"].items()} == {
        "database": "ok",
        "mcp": "ok",
        "model": "ok",
    }
    assert sorted(ready["checks"]["mcp"]["tools"]) == [
        "add_task",
        "complete_task",
        "delete_task",
        "list_tasks",
        "update_task",
    ]
    assert ready["checks"]["model"]["model"] == "mock"


def test_metrics_are_prometheus_text(backend: Process, client: httpx.Client) -> None:
    client.post("/api/chat", json={"message": "list my tasks"})
    client.get("/api/tasks/6f2c1a34-6f0e-4c57-9a55-0f8f8f6f3f10")
    client.get("/a/path/that/nobody/has")
    response = httpx.get(f"{backend.url}/metrics", trust_env=False)
    assert response.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(response.text)}
    samples = {
        (s.name, s.labels.get("route"), s.labels.get("status")): s.value for s in families["http_requests"].samples
    }
    assert samples["http_requests_total", "/api/chat", "200"] >= 1
    assert samples["http_requests_total", "/api/tasks/{task_id}", "404"] >= 1
    assert samples["http_requests_total", "unmatched", "404"] >= 1
    assert "nobody" not in response.text
    assert families["app_info"].samples[0].labels == {"version": "1.2.3", "revision": "abc1234"}
    tools = {
        s.labels["tool"]: s.value
        for s in families["mcp_tool_calls"].samples
        if s.name.endswith("_total") and s.labels["outcome"] == "ok"
    }
    assert tools["list_tasks"] >= 1
    assert {
        "database_connections",
        "chat_turns",
        "http_request_duration_seconds",
        "process_resident_memory_bytes",
    } <= set(families)


def test_log_lines_are_json_and_tell_who_and_what_but_not_the_words(
    impatient: Process, issuer: Issuer, scripted: ScriptedModel, user: str
) -> None:
    canary = f"canary{time.time_ns()}"
    token = issuer.token(user)
    headers = {"Authorization": f"Bearer {token}", "X-Request-Id": f"id-{canary[:12]}"}
    with httpx.Client(base_url=impatient.url, headers=headers, timeout=30, trust_env=False) as http:
        scripted.behaviour = scripted.call("add_task", f'{{"title": "{canary}"}}')
        assert http.post("/api/chat", json={"message": f"add a task: {canary}"}).status_code == 503  # for ever
        scripted.behaviour = scripted.call("add_task", f'{{"title": "{canary}\\u0000"}}')
        assert http.post("/api/chat", json={"message": f"add a task: {canary}"}).status_code == 503
        scripted.behaviour = scripted.fail_with(500)
        assert http.post("/api/chat", json={"message": canary}).status_code == 503
        assert http.post("/api/tasks", json={"title": canary, canary: 1}).status_code == 422
        assert http.post("/api/tasks", json={"title": canary}).status_code == 201
        assert http.get("/api/tasks", params={"q": canary}).status_code == 200
        assert http.get(f"/{canary}").status_code == 404
        answer = http.get("/api/tasks")
        assert answer.headers["x-request-id"] == f"id-{canary[:12]}"

    def logged(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [line for line in lines if line["logger"] == "app.access" and line["route"] != "/mcp"]

    def ours() -> list[dict[str, Any]]:
        return [line for line in impatient.lines() if line.get("request_id") == f"id-{canary[:12]}"]

    wait_for(lambda: len(logged(ours())) == 8)  # a line is written after its answer
    lines = ours()
    requests = logged(lines)
    assert [line["status"] for line in requests] == [503, 503, 503, 422, 201, 200, 404, 200]
    for line in requests[:6]:
        assert line["user_id"] == user
        assert line["duration_ms"] >= 0
        assert line["method"] in ("GET", "POST")
        assert line["route"].startswith("/api/")
    # The same id leads to the calls that the assistant made over MCP.
    assert any(line.get("route") == "/mcp" for line in lines)
    output = impatient.output()
    assert canary not in output
    assert token not in output
    assert "canary-in-a-vendors-error" not in output
    assert "mock-key-for-tests" not in output
    assert "a-test-password" not in output


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "\u00e9"])
def test_request_ids_that_are_not_taken_over(backend: Process, given: str) -> None:
    response = httpx.get(f"{backend.url}/health", headers={"X-Request-Id": given.encode()}, trust_env=False)
    assert response.headers["x-request-id"] != given
    assert len(response.headers["x-request-id"]) == 32


def test_an_idle_stop_is_quick(database_url: str, issuer: Issuer, scripted: ScriptedModel) -> None:
    with running_backend(database_url, issuer, scripted.url, DATABASE_POOL_SIZE="80") as backend:
        backend.wait()
        backend.wait("/health/ready", seconds=10)  # the SDK is loaded beside the start, and seen as soon as it is there
        (warning,) = wait_for(lambda: [line for line in backend.lines() if line["level"] == "WARNING"])
        assert (warning["message"], warning["pool"]) == ("the pool is too large for two overlapping releases", 85)
        assert backend.stop() < 3
        assert backend.process.returncode in (0, -signal.SIGTERM)
        messages = [line["message"] for line in backend.lines() if line["logger"].startswith("app.main")]
        assert messages == ["started", "stopped"]


@pytest.mark.parametrize("signals", [1, 2])
def test_a_stop_does_not_wait_for_ever(
    database_url: str, issuer: Issuer, scripted: ScriptedModel, user: str, signals: int
) -> None:
    """Chats that hang are ended by the grace period, or at once by a second signal; their clients are told to try again."""
    release = threading.Event()
    scripted.behaviour = lambda request, body: release.wait(30)
    grace = "1" if signals == 1 else "60"
    with running_backend(database_url, issuer, scripted.url, SHUTDOWN_GRACE=grace) as backend:
        backend.wait("/health/ready")
        headers = issuer.headers(user)
        before = len(scripted.requests)
        with (
            ThreadPoolExecutor() as pool,
            httpx.Client(base_url=backend.url, headers=headers, timeout=30, trust_env=False) as http,
        ):
            answer = pool.submit(http.post, "/api/chat", json={"message": "x"})
            stream = pool.submit(http.post, "/api/chat/stream", json={"message": "x"})
            wait_for(lambda: len(scripted.requests) == before + 2)
            begun = time.monotonic()
            for _ in range(signals):
                backend.process.send_signal(signal.SIGTERM)
                time.sleep(0.3)
            assert (answer.result().status_code, answer.result().json()["type"]) == (
                503,
                "urn:berth:problem:service-unavailable",
            )
            assert events_of(stream.result().text)[-1][1]["type"] == "urn:berth:problem:service-unavailable"
            http.close()
            backend.process.wait(10)
            assert time.monotonic() - begun < 8
        release.set()


def test_migrations_go_up_and_down_and_match_the_models(database_url: str) -> None:
    name = f"migrations_{time.time_ns()}"
    query(database_url, f"CREATE DATABASE {name}")
    url = database_url.rsplit("/", 1)[0] + f"/{name}"
    try:
        assert alembic(url, "current").stdout == ""
        for arguments in (
            ["upgrade", "head"],
            ["upgrade", "head"],
            ["check"],
            ["downgrade", "base"],
            ["upgrade", "head"],
        ):
            run = alembic(url, *arguments)
            assert run.returncode == 0, run.stderr
        assert alembic(url, "current").stdout.strip() == alembic(url, "heads").stdout.strip() == "0001 (head)"
        assert "CREATE TABLE task" in alembic(url, "upgrade", "head", "--sql").stdout
    finally:
        query(database_url, f"DROP DATABASE {name}")


def test_migrations_keep_to_the_search_path_of_the_role(database_url: str) -> None:
    role = f"role_{time.time_ns()}"
    for statement in (
        f"CREATE ROLE {role} LOGIN PASSWORD 'long-enough-1'",
        f"CREATE SCHEMA {role} AUTHORIZATION {role}",
        f"ALTER ROLE {role} SET search_path = {role}",
    ):
        query(database_url, statement)
    host = database_url.split("@", 1)[1]
    try:
        assert alembic(f"postgresql://{role}:long-enough-1@{host}", "upgrade", "head").returncode == 0
        tables = query(database_url, "SELECT tablename FROM pg_tables WHERE schemaname = $1 ORDER BY 1", role)
        assert [row["tablename"] for row in tables] == ["alembic_version", "conversation", "task", "turn"]
    finally:
        query(database_url, f"DROP SCHEMA {role} CASCADE")
        query(database_url, f"DROP ROLE {role}")


def test_migrations_refuse_what_they_cannot_use() -> None:
    run = alembic("postgresql://backend:changeme@database/app", "upgrade", "head")
    assert run.returncode == 1
    assert "DATABASE_URL has a placeholder as its password" in run.stderr
    assert "changeme" not in run.stderr


def test_a_fault_of_ours_is_a_500_that_tells_nothing(
    database_url: str, issuer: Issuer, scripted: ScriptedModel, user: str
) -> None:
    """Played with a database without tables."""
    name = f"empty_{time.time_ns()}"
    query(database_url, f"CREATE DATABASE {name}")
    url = database_url.rsplit("/", 1)[0] + f"/{name}"
    try:
        with running_backend(url, issuer, scripted.url) as backend:
            backend.wait()
            for path, body in (("/api/tasks", {"title": "canary"}), ("/api/chat", {"message": "canary"})):
                response = httpx.post(backend.url + path, json=body, headers=issuer.headers(user), trust_env=False)
                assert (response.status_code, response.headers["content-type"]) == (500, "application/problem+json")
                assert response.json()["detail"] == "Something went wrong here."
            ready = httpx.get(f"{backend.url}/health/ready", trust_env=False).json()
            assert (ready["status"], ready["checks"]["database"]["status"]) == ("unavailable", "unavailable")
            wait_for(lambda: len([line for line in backend.lines() if line["level"] == "ERROR"]) == 2)
            assert "canary" not in backend.output()
    finally:
        query(database_url, f"DROP DATABASE {name} WITH (FORCE)")
