"""The end-to-end check of applications that are not the reference application: what they do not have is not applicable."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import HTTPRedirectHandler, Request

import pytest
from ansible_collections.berth.stack.plugins.module_utils.verify.app_client import Broken, Browser
from ansible_collections.berth.stack.plugins.modules import e2e_check
from ansible_collections.berth.stack.plugins.modules.e2e_check import EndToEndCheck, run

PAGE = '<html><script src="/_next/static/x.js"></script></html>'
HTML = {"Content-Type": "text/html"}
# What an edge in front of tests/sources/pairs/relay answers; other paths are the frontend's 404.
RELAY: dict[str, tuple[int, dict[str, str], Any]] = {
    "/": (200, HTML, PAGE),
    "/_next/static/x.js": (200, {}, "1"),
    "/health": (200, {}, "ok"),
    "/ask": (200, {}, {"answer": 42}),
}
OPERATION: dict[str, Any] = {"responses": {"200": {"content": {"application/json": {"schema": {}}}}}}
DOCUMENT: dict[str, Any] = {"paths": {"/health": {"get": OPERATION}, "/ask": {"get": OPERATION}}}
OPTIONS = {
    "url": "https://localhost:9443", "ca": "", "connect": "", "labels": {"berth.stack": "s"}, "recorded": set(),
    "database": {}, "restart": False, "required": [], "absent": {}, "health": {"backend": "/health", "frontend": "/"},
    "ready": "/health/ready", "page": "/", "ports": {"backend": 8000, "frontend": 3000}, "backend_paths": ["/health", "/ask"],
    "frontend_paths": [], "hidden_paths": ["/metrics"], "mcp": "/mcp", "http_port": 0, "public_paths": ["/health"],
    "burst_requests": 4, "burst_connections": 2, "timeout": 5,
}  # fmt: skip
HANDLED_HERE = {"tls", "headers", "latency", "burst", "memory"}


class Web:
    """An edge: answers by path, or by method and path."""

    def __init__(self, answers: dict[str, tuple[int, dict[str, str], Any]]) -> None:
        self.answers, self.cookies, self.asked = answers, [], list[tuple[str, str]]()

    def __call__(
        self, method: str, path: str, body: Any = None, token: str = "", expect: int | None = 200, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        self.asked.append((method, path))
        found = self.answers.get(f"{method} {path}") or (self.answers.get(path) if method in ("GET", "OPTIONS") else None)
        status, answered, content = found or (404, HTML, "<html>not found</html>")
        if expect is not None and status != expect:
            raise Broken(f"{method} {path} answered {status}, not {expect}")
        return status, answered, content


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch):
    """Run the steps, without those of transport and load, against an edge and what the containers answer by themselves."""

    def check(answers: dict[str, Any], inside: dict[str, Any] | None = None, **options: Any) -> dict[str, dict[str, Any]]:
        web = Web(answers)
        monkeypatch.setattr(e2e_check, "Browser", lambda *_: web)
        monkeypatch.setattr(e2e_check, "stack_containers", lambda *_: [])
        made = EndToEndCheck(OPTIONS | options, engine=None)  # type: ignore[arg-type]

        def directly(service: str, path: str, method: str = "GET") -> tuple[int, Any]:
            return (inside or {}).get(path, (404, None))

        monkeypatch.setattr(made.application, "fetch_directly", directly)
        steps = [step for step in made.steps() if step.key not in HANDLED_HERE]
        monkeypatch.setattr(made, "steps", lambda: steps)
        results = {one["key"]: one for one in run(made, report=True)[0]}
        results["absent"] = made.application.absent()
        results["asked"] = web.asked  # type: ignore[assignment]
        return results

    return check


INSIDE = {"/openapi.json": (200, DOCUMENT)}


def test_an_application_without_chat_sign_in_and_readiness_fails_nothing(checked):
    results = checked(RELAY, INSIDE)
    outcomes = {key: one["outcome"] for key, one in results.items() if key not in ("absent", "asked")}
    assert [key for key, outcome in outcomes.items() if outcome == "ok"] == ["health", "frontend_health", "page", "operations"]
    assert set(outcomes.values()) == {"ok", "absent"}
    assert all(one["evidence"] for key, one in results.items() if key not in ("absent", "asked"))
    assert results["ready"]["evidence"] == "the backend has no /health/ready"
    assert results["chat"]["evidence"] == "the API has no POST /api/chat"
    assert results["listed"]["evidence"] == "the API has no GET /api/tasks"
    assert results["mcp"]["evidence"] == "the edge passes no /mcp to the backend (edge_backend_paths)"
    assert results["sign_up"]["evidence"].startswith("no Better Auth answers at /api/auth")
    assert set(results["absent"]) == {"ready", "chat", "tasks", "mcp", "auth"}


def test_nothing_that_could_change_something_is_requested_of_an_unknown_api(checked):
    document = {"paths": {"/ask": {"post": OPERATION | {"security": [{"bearer": []}]}, "delete": OPERATION}}}
    results = checked(RELAY | {"OPTIONS /ask": (405, {}, None)}, {"/openapi.json": (200, document)})
    assert results["operations"]["outcome"] == "ok"
    assert {method for method, _ in results["asked"]} == {"GET", "OPTIONS"}


@pytest.mark.parametrize(
    ("part", "step", "outcome"),
    [
        ("auth", "sign_up", "broken"),
        ("chat", "chat", "skipped"),  # what it needs, a token, is absent: that excuses nothing
        ("mcp", "mcp", "broken"),
        ("ready", "ready", "broken"),
        ("tasks", "refused", "broken"),
    ],
)
def test_a_part_that_is_required_fails_where_it_is_absent(checked, part, step, outcome):
    results = checked(RELAY, INSIDE, required=[part])
    assert results[step]["outcome"] == outcome
    assert part not in results["absent"]


def test_a_declared_absence_counts_whatever_is_found_or_required(checked):
    results = checked(RELAY, INSIDE, required=["mcp"], absent={"mcp": "it has none"})
    assert results["mcp"] == results["mcp"] | {"outcome": "absent", "evidence": "it has none"}


@pytest.mark.parametrize(
    ("change", "step", "evidence"),
    [
        ({"/health": (503, {}, {"status": "degraded"})}, "health", "/health answered 503"),
        ({"/health": (200, {}, {"status": "unhealthy"})}, "health", "/health answered 200"),
        ({"/": (500, HTML, "oops")}, "page", "GET / answered 500"),
        ({"/_next/static/x.js": (404, {}, "")}, "page", "GET /_next/static/x.js answered 404"),
        ({"/ask": (404, {}, "")}, "operations", "GET /ask: 404"),
    ],
)
def test_what_it_has_is_held_to_work(checked, change, step, evidence):
    result = checked(RELAY | change, INSIDE)[step]
    assert result["outcome"] == "broken"
    assert evidence in result["evidence"]


def test_a_mounted_mcp_server_is_asked_where_its_path_leads_and_one_that_wants_a_token_is_not_applicable(checked):
    edge = RELAY | {"POST /mcp": (307, {"Location": "https://localhost:9443/mcp/"}, ""), "POST /mcp/": (401, {}, {"error": "unauthorized"})}
    results = checked(edge, INSIDE, backend_paths=["/health", "/ask", "/mcp", "/mcp/*"])
    assert results["mcp"]["evidence"] == "the MCP server wants a token (401), and this check has none"
    assert results["mcp"]["outcome"] == "absent"
    answer = {"result": {"serverInfo": {"name": "x"}, "protocolVersion": "2025-06-18", "tools": [{"name": "add"}]}}
    results = checked(edge | {"POST /mcp/": (200, {}, answer)}, INSIDE, backend_paths=["/health", "/ask", "/mcp", "/mcp/*"])
    assert results["mcp"]["evidence"] == "x, protocol 2025-06-18; tools: add"
    assert results["mcp_guard"]["outcome"] == "absent"


def test_a_page_that_redirects_to_another_site_is_no_page_of_the_application(checked):
    result = checked(RELAY | {"/": (302, {"Location": "https://accounts.example/"}, "")}, INSIDE)["page"]
    assert (result["outcome"], result["evidence"]) == ("absent", "/ redirects to another site (302), for example to sign in")


def test_a_browser_follows_redirects_within_the_origin_only():
    web = Browser("https://localhost:9443", "", "", 5)
    (handler,) = [one for one in web.opener.handlers if isinstance(one, HTTPRedirectHandler)]
    request = Request("https://localhost:9443/")

    def followed(target: str) -> bool:
        return handler.redirect_request(request, None, 302, "Found", {}, target) is not None

    assert followed("https://localhost:9443/login")
    assert followed("https://localhost:9443")
    assert not followed("https://accounts.example/")
    assert not followed("https://localhost:94430/")


def test_operations_that_declare_security_must_refuse_and_wrong_json_must_be_refused(checked):
    secured = OPERATION | {"security": [{"bearer": []}]}
    body = {"requestBody": {"required": True, "content": {"application/json": {}}}}
    document = {"paths": {"/ask": {"get": secured, "post": OPERATION | body}, "/health": {"get": OPERATION}}}
    inside = {"/openapi.json": (200, document)}
    results = checked(RELAY | {"POST /ask": (422, {}, {})}, inside)
    assert results["guarded"]["outcome"] == "broken"
    assert results["guarded"]["evidence"] == "answered without a token: GET /ask: 200"
    assert results["validation"]["evidence"] == "broken JSON is refused by 1 operations (422)"
    results = checked(RELAY | {"/ask": (401, {}, {}), "POST /ask": (500, {}, {})}, inside)
    assert results["guarded"]["evidence"] == "1 operations refuse who has no token"
    assert results["validation"]["evidence"] == "broken JSON was not refused: POST /ask: 500"


def test_better_auth_that_a_stranger_cannot_join_is_not_applicable_beyond_that(checked):
    closed = RELAY | {"/api/auth/ok": (200, {}, {"ok": True}), "POST /api/auth/sign-up/email": (400, {}, {"message": "invitation only"})}
    results = checked(closed, INSIDE, database={"container": "s-database", "name": "app", "table": "backend.task"})
    assert results["sign_up"]["outcome"] == "absent"
    assert "invitation only" in results["sign_up"]["evidence"]
    assert results["sign_in"]["evidence"] == results["sign_up"]["evidence"]
    results = checked(closed, INSIDE)
    assert "could not be removed again" in results["sign_up"]["evidence"]
    assert ("POST", "/api/auth/sign-up/email") not in results["asked"]
    results = checked(
        closed | {"POST /api/auth/sign-up/email": (500, {}, "")}, INSIDE, database={"container": "d", "name": "a", "table": "t"}
    )
    assert results["sign_up"]["outcome"] == "broken"


def test_a_user_whom_the_application_does_not_let_go_is_removed_in_the_database(checked, monkeypatch):
    queries: list[tuple[str, ...]] = []

    def query(self: EndToEndCheck, *statements: str) -> str:
        queries.append(statements)
        return json.dumps(['auth."user"']) if "information_schema" in statements[0] else "[]"

    monkeypatch.setattr(EndToEndCheck, "query", query)
    monkeypatch.setattr(e2e_check, "WATCH_CONNECTIONS", ("SELECT watched",))
    auth = {"/api/auth/ok": (200, {}, {"ok": True}), "POST /api/auth/sign-up/email": (200, {}, {})}
    auth |= {"POST /api/auth/sign-in/email": (403, {}, {"code": "EMAIL_NOT_VERIFIED"})}
    results = checked(RELAY | auth, INSIDE, database={"container": "d", "name": "a", "table": "t"})
    assert results["sign_in"]["outcome"] == "absent"
    assert results["clean"]["outcome"] == "ok"
    (deleted,) = [one for statements in queries for one in statements if one.startswith("DELETE")]
    assert deleted.startswith('DELETE FROM auth."user" WHERE email = \'verify-')


@pytest.mark.parametrize(("after", "outcome"), [({"t": "3 9"}, "ok"), ({"t": "2 7"}, "ok"), ({"t": "0 0"}, "broken"), ({}, "broken")])
def test_rows_of_a_database_survive_a_restart(checked, monkeypatch, after, outcome):
    contents = iter([{"t": "3 9", "empty": "0 0"}, after | {"empty": "0 0"}])

    def query(self: EndToEndCheck, *statements: str) -> str:
        if statements == (e2e_check.CONTENT,):
            return json.dumps(next(contents))
        return "1000" if "pg_database_size" in statements[0] else "[]"

    monkeypatch.setattr(EndToEndCheck, "query", query)
    monkeypatch.setattr(e2e_check, "WATCH_CONNECTIONS", ("SELECT watched",))
    results = checked(RELAY, INSIDE, database={"container": "d", "name": "a", "table": "t"}, restart=True)
    assert results["restart"]["outcome"] == "ok"
    assert results["data_kept"]["outcome"] == outcome


def test_connections_that_exist_during_a_request_only_are_seen(checked, monkeypatch):
    seen = {"user": "backend_g1", "application": "", "remote": True, "tls": "TLSv1.3"}

    def query(self: EndToEndCheck, *statements: str) -> str:
        return json.dumps([seen] if statements == ("SELECT watched",) else [])

    monkeypatch.setattr(EndToEndCheck, "query", query)
    monkeypatch.setattr(e2e_check, "WATCH_CONNECTIONS", ("SELECT watched",))
    results = checked(RELAY, INSIDE, database={"container": "d", "name": "a", "table": "t"})
    assert results["connections"]["figures"]["connections"] == [seen]


def test_the_reference_applications_contract_is_found_in_its_document_through_references(checked):
    def answers(*names: str) -> dict[str, Any]:
        schema = {"schema": {"$ref": "#/components/schemas/x"}}
        return {"responses": {"200": {"content": {"application/json": schema}}}} if names else {"responses": {"204": {}}}

    paths = {"/api/tasks": {"get": answers("items"), "post": answers()}, "/api/tasks/{id}": {"get": {}, "patch": {}, "delete": {}}}
    document = {"paths": paths, "components": {"schemas": {"x": {"allOf": [{"properties": {"items": {}}}]}}}}
    assert "tasks" not in checked(RELAY, {"/openapi.json": (200, document)})["absent"]
    document["components"] = {"schemas": {"x": {"type": "array"}}}
    absent = checked(RELAY, {"/openapi.json": (200, document)})["absent"]
    assert absent["tasks"] == "GET /api/tasks declares no items in its response"
