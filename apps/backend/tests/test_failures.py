"""The model, the tools or the database are away: 503 that may be tried again, and all the rest works on."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support import (
    HttpServer,
    Issuer,
    Postgres,
    Process,
    ScriptedModel,
    events_of,
    free_port,
    running_backend,
    wait_for,
)


def assert_unavailable(response: httpx.Response, part: str) -> None:
    assert response.status_code == 503, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert int(response.headers["retry-after"]) >= 1
    problem = response.json()
    assert problem["type"] == f"urn:berth:problem:{part}-unavailable"
    assert problem["retry_after"] == int(response.headers["retry-after"])
    assert problem["request_id"] == response.headers["x-request-id"]


def hang(seconds: float) -> Callable[..., None]:
    def behaviour(request: Any, _: dict[str, Any]) -> None:
        time.sleep(seconds)
        request.close_connection = True

    return behaviour


def cut_off(request: Any, _: dict[str, Any]) -> None:
    """Begin a stream and go away."""
    request.send_response(200)
    request.send_header("Content-Type", "text/event-stream")
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b'data: {"id": "c", ')
    request.close_connection = True


BROKEN_MODELS = {
    "error 500": ScriptedModel.fail_with(500),
    "wrong key": ScriptedModel.fail_with(401),
    "rate limit": ScriptedModel.fail_with(429),
    "silence": hang(1.5),
    "cut off": cut_off,
    "calls tools for ever": ScriptedModel.call("list_tasks", "{}"),
    "calls a tool that is not there": ScriptedModel.call("launch_rockets", "{}"),
    "calls a tool with garbage": ScriptedModel.call("list_tasks", "{"),
}


@pytest.mark.parametrize("name", BROKEN_MODELS)
def test_a_broken_model_is_a_503(impatient_client: httpx.Client, scripted: ScriptedModel, name: str) -> None:
    scripted.behaviour = BROKEN_MODELS[name]
    response = impatient_client.post("/api/chat", json={"message": "hello"})
    assert_unavailable(response, "model")
    assert "canary" not in response.text
    assert impatient_client.get("/api/tasks").status_code == 200
    assert impatient_client.get("/api/conversations").json()["total"] == 0


def test_a_stream_ends_with_the_problem(impatient_client: httpx.Client, scripted: ScriptedModel) -> None:
    scripted.behaviour = scripted.fail_with(500)
    response = impatient_client.post("/api/chat/stream", json={"message": "hello"})
    events = events_of(response.text)
    assert [name for name, _ in events] == ["conversation", "error"]
    problem = events[1][1]
    assert (problem["status"], problem["type"]) == (503, "urn:berth:problem:model-unavailable")
    assert problem["retry_after"] >= 1
    # The same conversation can be gone on with.
    scripted.behaviour = scripted.say({"role": "assistant", "content": "back"})
    again = impatient_client.post("/api/chat", json={"message": "hello", **events[0][1]})
    assert again.json()["reply"] == "back"


def test_the_model_is_asked_again_a_bounded_number_of_times(
    impatient_client: httpx.Client, scripted: ScriptedModel
) -> None:
    answers = [scripted.fail_with(500), scripted.say({"role": "assistant", "content": "second try"})]
    scripted.behaviour = lambda request, body: answers.pop(0)(request, body)
    assert impatient_client.post("/api/chat", json={"message": "x"}).json()["reply"] == "second try"
    scripted.requests.clear()
    scripted.behaviour = scripted.fail_with(500)
    impatient_client.post("/api/chat", json={"message": "x"})
    assert len(scripted.requests) == 2


def test_too_many_chats_at_once_are_turned_away(impatient: Process, issuer: Issuer, scripted: ScriptedModel) -> None:
    say = scripted.say({"role": "assistant", "content": "ok"})

    def slow(request: Any, body: dict[str, Any]) -> None:
        time.sleep(0.8)
        say(request, body)

    scripted.behaviour = slow

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=impatient.url, trust_env=False, timeout=30) as http:
            return await asyncio.gather(
                *(http.post("/api/chat", json={"message": "x"}, headers=issuer.headers(f"crowd-{n}")) for n in range(8))
            )

    answers = asyncio.run(run())
    counts = Counter(answer.status_code for answer in answers)
    assert set(counts) == {200, 503}
    assert counts[200] >= 2
    assert_unavailable(next(answer for answer in answers if answer.status_code == 503), "service")


def test_an_answer_that_takes_too_long(impatient_client: httpx.Client, scripted: ScriptedModel) -> None:
    def drip(request: Any, _: dict[str, Any]) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.end_headers()
        for _ in range(60):
            time.sleep(0.1)
            try:
                request.wfile.write(b": still thinking\n\n")
            except OSError:
                return
        request.close_connection = True

    scripted.behaviour = drip
    begun = time.monotonic()
    assert_unavailable(impatient_client.post("/api/chat", json={"message": "x"}), "model")
    assert time.monotonic() - begun < 5


class Refusing(HttpServer):
    """An MCP server that answers everything with one status."""

    status = 401

    def answer(self, request: Any, body: bytes) -> None:
        self.send(request, self.status, b"{}")


def test_tools_that_are_away_or_refuse(database_url: str, issuer: Issuer, mock_llm: Process, user: str) -> None:
    port = free_port()
    changes = {"MCP_URL": f"http://127.0.0.1:{port}/mcp", "MCP_TIMEOUT": "2", "MCP_MAX_RETRIES": "1"}
    with (
        running_backend(database_url, issuer, mock_llm.url, **changes) as backend,
        httpx.Client(base_url=backend.url, headers=issuer.headers(user), timeout=30, trust_env=False) as http,
    ):
        backend.wait()
        assert_unavailable(http.post("/api/chat", json={"message": "list my tasks"}), "mcp")
        assert http.get("/api/tasks").status_code == 200
        ready = http.get("/health/ready")
        assert (ready.status_code, ready.json()["checks"]["mcp"]["status"]) == (503, "unavailable")
        assert ready.json()["checks"]["mcp"]["tools"]
        server = Refusing(port)
        try:
            for server.status in (401, 500):
                assert_unavailable(http.post("/api/chat", json={"message": "list my tasks"}), "mcp")
        finally:
            server.close()


@pytest.mark.skipif("os.environ.get('TEST_DATABASE_URL')", reason="the database is not ours to kill")
class TestDatabaseOutage:
    def test_it_starts_while_the_database_is_away(self, issuer: Issuer, postgres: Postgres, database_url: str) -> None:
        postgres.kill()
        try:
            no_model = f"http://127.0.0.1:{free_port()}"
            with running_backend(postgres.url, issuer, no_model, OPENAI_MAX_RETRIES="0") as backend:
                backend.wait()
                headers = issuer.headers("early")
                assert_unavailable(httpx.get(f"{backend.url}/api/tasks", headers=headers, trust_env=False), "database")
                wait_for(
                    lambda: (
                        httpx.get(f"{backend.url}/health/ready", trust_env=False).json()["checks"]["model"]["status"]
                        != "starting"
                    )
                )
                ready = httpx.get(f"{backend.url}/health/ready", trust_env=False)
                assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
                postgres.start()
                wait_for(
                    lambda: httpx.get(f"{backend.url}/api/tasks", headers=headers, trust_env=False).status_code == 200,
                    5,
                )
                wait_for(lambda: httpx.get(f"{backend.url}/health/ready", trust_env=False).status_code == 200, 5)
                # Without its model the service is degraded, and still ready.
                ready = httpx.get(f"{backend.url}/health/ready", trust_env=False).json()
                assert (ready["status"], ready["checks"]["model"]["status"]) == ("degraded", "unavailable")
        finally:
            if not (postgres.data / "postmaster.pid").exists():
                postgres.start()

    def test_a_kill_under_load(self, backend: Process, issuer: Issuer, postgres: Postgres, user: str) -> None:
        """Errors are 503 and JSON while it is away; none 5 s after it is back; nothing restarts; no task twice or lost."""
        process = backend.process.pid
        answers: list[tuple[float, int, str, httpx.Response]] = []

        async def run() -> tuple[float, float]:
            stop = asyncio.Event()
            async with httpx.AsyncClient(base_url=backend.url, timeout=60, trust_env=False) as http:

                async def worker(number: int) -> None:
                    turn = 0
                    while not stop.is_set():
                        turn += 1
                        message = f"t{number}-{turn}"
                        headers = issuer.headers(f"{user}-{number}")
                        if number % 2:
                            response = await http.post(
                                "/api/chat", json={"message": f"add a task: {message}"}, headers=headers
                            )
                        else:
                            response = await http.post("/api/tasks", json={"title": message}, headers=headers)
                        answers.append((time.monotonic(), number, message, response))
                        await asyncio.sleep(0.05)

                workers = [asyncio.create_task(worker(number)) for number in range(8)]
                await asyncio.sleep(1)
                await asyncio.to_thread(postgres.kill)
                await asyncio.sleep(3)
                await asyncio.to_thread(postgres.start)
                back = time.monotonic()
                await asyncio.sleep(7)
                stop.set()
                await asyncio.gather(*workers)
            return back, time.monotonic()

        back, _ = asyncio.run(run())
        statuses = Counter(response.status_code for _, _, _, response in answers)
        assert set(statuses) == {200, 201, 503}, statuses
        for _, _, _, response in answers:
            if response.status_code == 503:
                assert_unavailable(response, "database")
        late = [response.status_code for when, _, _, response in answers if when > back + 5]
        assert late
        assert 503 not in late
        assert backend.process.pid == process
        assert backend.process.poll() is None
        for number in range(8):
            succeeded = Counter(
                message for _, who, message, response in answers if who == number and response.is_success
            )
            rows = postgres.query("SELECT title FROM task WHERE owner_id = $1", f"{user}-{number}")
            stored = Counter(row["title"] for row in rows)
            assert not succeeded - stored  # what was promised is there
            assert set(stored.values()) <= {1}  # and nothing twice

    def test_a_database_that_hangs(
        self, issuer: Issuer, scripted: ScriptedModel, postgres: Postgres, database_url: str
    ) -> None:
        import subprocess

        with running_backend(
            postgres.url, issuer, scripted.url, DATABASE_COMMAND_TIMEOUT="1", DATABASE_CONNECT_TIMEOUT="1"
        ) as backend:
            backend.wait("/health/ready")
            headers = issuer.headers("patient")
            assert httpx.get(f"{backend.url}/api/tasks", headers=headers, trust_env=False).status_code == 200
            pids = [
                str(row["pid"])
                for row in postgres.query("SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'backend-%'")
            ]
            main = (postgres.data / "postmaster.pid").read_text().splitlines()[0]
            subprocess.run(["kill", "-STOP", main, *pids], check=True)
            try:
                assert_unavailable(
                    httpx.get(f"{backend.url}/api/tasks", headers=headers, timeout=10, trust_env=False), "database"
                )
                assert httpx.get(f"{backend.url}/health", trust_env=False).status_code == 200
            finally:
                subprocess.run(["kill", "-CONT", main, *pids], check=True)
            wait_for(
                lambda: httpx.get(f"{backend.url}/api/tasks", headers=headers, trust_env=False).status_code == 200, 5
            )


def test_a_stop_lets_a_chat_and_a_stream_end(
    database_url: str, issuer: Issuer, scripted: ScriptedModel, user: str
) -> None:
    """The tool is called after the signal: the process must still answer /mcp then."""
    import threading

    asked, go_on = threading.Event(), threading.Event()
    call, say = scripted.call("add_task", '{"title": "late"}'), scripted.say({"role": "assistant", "content": "added"})

    def wait_then_call(request: Any, body: dict[str, Any]) -> None:
        if body["messages"][-1]["role"] == "tool":
            say(request, body)
        else:
            asked.set()
            go_on.wait(10)
            call(request, body)

    scripted.behaviour = wait_then_call
    with running_backend(database_url, issuer, scripted.url) as backend:
        backend.wait("/health/ready")
        texts: list[str] = []

        def stream() -> None:
            response = httpx.post(
                f"{backend.url}/api/chat/stream",
                json={"message": "x"},
                headers=issuer.headers(user),
                timeout=30,
                trust_env=False,
            )
            texts.append(response.text)

        thread = threading.Thread(target=stream)
        thread.start()
        assert asked.wait(10)
        backend.process.send_signal(signal.SIGTERM)
        wait_for(lambda: httpx.get(f"{backend.url}/health/ready", trust_env=False).status_code == 503, 5, "draining")
        refused = httpx.post(
            f"{backend.url}/api/chat", json={"message": "x"}, headers=issuer.headers(user), trust_env=False
        )
        assert_unavailable(refused, "service")
        go_on.set()
        thread.join(15)
        assert backend.process.wait(15) in (0, -signal.SIGTERM)
        name, done = events_of(texts[0])[-1]
        assert (name, done["reply"], done["tool_calls"][0]["result"]["title"]) == ("done", "added", "late")
        assert backend.lines()[-1]["message"].startswith(("Finished server process", "stopped"))
