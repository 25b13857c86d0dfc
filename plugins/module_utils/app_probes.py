"""Looks at an application through its edge that go beyond a user's story: every operation, wrong input, wrong tokens, many at once.

Each probe returns its evidence (a line, or a line and figures) or raises Broken with what came instead.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import itertools
import json
import socket
import ssl
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.app_client import Broken, Browser
from ansible.module_utils.engine import memory_used

Evidence = str | tuple[str, dict[str, Any]]
# What the reference application's methods need in a body; other operations are asked without a token only.
# OWASP's list (Secure Headers Project), and what tells a stranger what an answer was made with.
SECURITY_HEADERS = (
    "strict-transport-security",
    "content-security-policy",
    "x-content-type-options",
    "x-frame-options",
    "referrer-policy",
    "permissions-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "x-permitted-cross-domain-policies",
)
TELL_TALE = ("server", "x-powered-by")


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def p95(values: list[float]) -> float:
    """The 95th percentile, by nearest rank."""
    ordered = sorted(values)
    return ordered[max(0, round(0.95 * len(ordered) + 0.5) - 1)] if ordered else 0.0


class Probes:
    """The probes, on the session of a story: its `web`, `token`, `user` and `engine`."""

    def __init__(self, story: Any) -> None:
        self.story = story
        self.wanted, self.engine = story.wanted, story.engine

    @property
    def web(self) -> Browser:
        return self.story.web

    @property
    def token(self) -> str:
        return self.story.token

    def steps(self) -> list[tuple[str, str, Callable[[], Evidence]]]:
        """(key, title, act) of what needs the story's session and task."""
        told: list[tuple[str, str, Callable[[], Evidence]]] = [
            ("tls", "The edge speaks TLS with a certificate of its authority, and nothing in the clear", self.tls),
            ("headers", "Answers carry the headers that browsers protect users by", self.headers),
            ("operations", "Every operation of the API is there, and refuses who has no token", self.operations),
            ("crud", "Tasks are created, read, changed and deleted", self.crud),
            ("validation", "Wrong input is refused with a reason", self.validation),
            ("tokens", "Forged, foreign and broken tokens are refused", self.tokens),
            ("origin", "Another site cannot sign in for the user", self.origin),
            ("users", "A user does not see another one's tasks", self.users),
        ]
        if self.wanted["mcp"]:
            told += [
                ("mcp", "The MCP server answers and lists its tools", self.mcp),
                ("mcp_call", "An MCP tool is called without the chat", self.mcp_call),
                ("mcp_guard", "The MCP server refuses who has no token", self.mcp_guard),
            ]
        if self.wanted["chat"]:
            told += [
                ("chat_stream", "The chat streams its answer", self.chat_stream),
                ("chat_memory", "The chat knows the conversation", self.chat_memory),
            ]
        return [
            *told,
            ("latency", "Answers come within their time", self.latency),
            ("burst", "Many at once get the right answers", self.burst),
            ("memory", "Memory does not grow with the number of requests", self.memory),
        ]

    # --- transport ----------------------------------------------------------------------------------------------------

    def tls(self) -> Evidence:
        url = urlsplit(self.wanted["url"])
        address = self.wanted["connect"] or url.hostname
        with (
            socket.create_connection((address, url.port or 443), 10) as plain,
            self.web.context.wrap_socket(plain, server_hostname=url.hostname) as secure,
        ):
            version, certificate = secure.version(), secure.getpeercert()
        if not certificate:
            raise Broken("this client verifies no certificate: what it says of the edge proves nothing")
        if version not in ("TLSv1.2", "TLSv1.3"):
            raise Broken(f"the edge speaks {version}")
        days = (ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86400
        if self.wanted["ca"]:
            # Who does not know the authority must be turned away: else this client verifies nothing, and its other steps prove nothing.
            stranger = Browser(self.wanted["url"], "", self.wanted["connect"], 10)
            try:
                stranger("GET", "/health", expect=None)
            except Broken as error:
                if "certificate" not in str(error).lower():
                    raise
            else:
                raise Broken("a client that does not trust the edge's authority was served: certificates are not verified")
        wrong = Browser(f"https://wrong-name.invalid:{url.port or 443}", self.wanted["ca"], address, 10)
        try:
            wrong("GET", "/health", expect=None)
        except Broken:
            pass
        else:
            raise Broken("the edge's certificate was taken for another name: names are not verified")
        clear = ""
        if self.wanted["http_port"]:
            connection = http.client.HTTPConnection(address, self.wanted["http_port"], timeout=10)
            connection.request("GET", "/api/tasks", headers={"Host": url.hostname})
            answer = connection.getresponse()
            target = answer.getheader("Location") or ""
            if answer.status not in (301, 302, 307, 308) or not target.startswith("https://"):
                raise Broken(f"http://…:{self.wanted['http_port']}/api/tasks answered {answer.status}, not a redirect to https")
            clear = f"; http is redirected ({answer.status})"
        return (
            f"{version}, certificate for {certificate['subjectAltName'][0][1]}, {days:.1f} days left; strangers' trust is refused{clear}",
            {"days": days},
        )

    def headers(self) -> Evidence:
        paths = ("/", "/health", "/api/tasks", "/nothing-is-here", "/metrics")
        for path in paths:
            headers = {name.lower() for name in self.web("GET", path, expect=None)[1]}
            if missing := [name for name in SECURITY_HEADERS if name not in headers]:
                raise Broken(f"{path} lacks {', '.join(missing)}")
            if told := [name for name in TELL_TALE if name in headers]:
                raise Broken(f"{path} says {', '.join(told)}")
        return f"{len(SECURITY_HEADERS)} headers at each of {', '.join(paths)}"

    # --- the API ------------------------------------------------------------------------------------------------------

    def operations(self) -> Evidence:
        document = self.web("GET", "/openapi.json")[2]
        open_paths = set(self.wanted["public_paths"])
        checked, unsafe, broken = 0, [], []
        for path, methods in document["paths"].items():
            for method in methods:
                if method not in ("get", "post", "put", "patch", "delete"):
                    continue
                checked += 1
                address = path
                for parameter in [part.split("}")[0] for part in path.split("{")[1:]]:
                    address = address.replace("{" + parameter + "}", "00000000-0000-4000-8000-000000000000")
                body = {} if method in ("post", "put", "patch") else None
                status = self.web(method.upper(), address, body, expect=None)[0]
                if status >= 500 or (status == 404 and path in open_paths) or status == 405:
                    broken.append(f"{method.upper()} {path}: {status}")
                if path not in open_paths and status not in (401, 403):
                    unsafe.append(f"{method.upper()} {path}: {status}")
                # With a token, an operation that only reads must work.
                if method == "get" and path not in open_paths and "{" not in path:
                    status = self.web("GET", address, token=self.token, expect=None)[0]
                    if status != 200:
                        broken.append(f"GET {path} with a token: {status}")
        if unsafe:
            raise Broken(f"answered without a token: {', '.join(unsafe)}")
        if broken or not checked:
            raise Broken(f"not as the OpenAPI document says: {', '.join(broken) or 'it names no operation'}")
        return f"{checked} operations of /openapi.json; all but {', '.join(sorted(open_paths))} ask for a token", {"operations": checked}

    def crud(self) -> Evidence:
        _, _, task = self.web("POST", "/api/tasks", {"title": "acceptance: created"}, self.token, expect=201)
        path = f"/api/tasks/{task['id']}"
        read = self.web("GET", path, token=self.token)[2]
        if read["title"] != "acceptance: created":
            raise Broken(f"GET {path} told another title: {read['title']!r}")
        changed = self.web("PATCH", path, {"title": "acceptance: changed", "completed": True}, self.token)[2]
        again = self.web("GET", path, token=self.token)[2]
        if not (changed["completed"] and again["completed"] and again["title"] == "acceptance: changed"):
            raise Broken(f"PATCH {path} was not kept: {again}")
        self.web("DELETE", path, token=self.token, expect=204)
        self.web("GET", path, token=self.token, expect=404)
        return "201, 200, 200, 204, and 404 after it"

    def validation(self) -> Evidence:
        cases: list[tuple[str, Any, tuple[int, ...]]] = [
            ("an empty title", {"title": ""}, (400, 422)),
            ("no title", {}, (400, 422)),
            ("a title that is a number", {"title": 7}, (400, 422)),
            ("a title of 100,000 letters", {"title": "x" * 100_000}, (400, 413, 422)),
            ("broken JSON", b'{"title": ', (400, 422)),
            # Caddy 2.6 says 502 where the limit is met while it passes the body on.
            ("2 MB", b'{"title": "' + b"x" * 2_000_000 + b'"}', (413, 502)),
        ]
        for name, body, allowed in cases:
            status = last = self._refusal("POST", "/api/tasks", body)
            if status not in allowed:
                raise Broken(f"{name} was answered with {status}, not {' or '.join(map(str, allowed))}")
        status = self.web("GET", "/api/tasks/not-a-uuid", token=self.token, expect=None)[0]
        if status not in (400, 404, 422):
            raise Broken(f"an id that is none was answered with {status}")
        hostile = "x'); DROP TABLE task; -- <script>alert(1)</script>"
        task = self.web("POST", "/api/tasks", {"title": hostile}, self.token, expect=201)[2]
        kept = self.web("GET", f"/api/tasks/{task['id']}", token=self.token)[2]["title"]
        self.web("DELETE", f"/api/tasks/{task['id']}", token=self.token, expect=204)
        if kept != hostile:
            raise Broken(f"text with SQL and HTML came back as {kept!r}")
        return f"{len(cases) + 1} wrong inputs refused, the largest with {last}; SQL and HTML in a title stay text"

    def _refusal(self, method: str, path: str, body: Any) -> int:
        try:
            return self.web(method, path, body, self.token, expect=None)[0]
        except Broken:
            # The edge hangs up on a body that is too large as soon as it knows.
            return 413

    def tokens(self) -> Evidence:
        header, payload, signature = self.token.split(".")
        claims = decoded(payload)
        none = f"{encoded(json.dumps({'alg': 'none', 'typ': 'JWT'}).encode())}.{payload}."
        keys = self.web("GET", "/api/auth/jwks")[2]
        hs = f"{encoded(json.dumps({**decoded(header), 'alg': 'HS256'}).encode())}.{payload}"
        public = json.dumps(keys["keys"][0], separators=(",", ":")).encode()
        confused = f"{hs}.{encoded(hmac.new(public, hs.encode(), hashlib.sha256).digest())}"
        other = encoded(json.dumps({**claims, "sub": "somebody-else"}).encode())
        late = encoded(json.dumps({**claims, "exp": int(time.time()) - 3600}).encode())
        cases = {
            "no token": "",
            "text": "not-a-token",
            "algorithm none": none,
            "HS256 with the public key": confused,
            "another user under the same signature": f"{header}.{other}.{signature}",
            "an expired one under the same signature": f"{header}.{late}.{signature}",
            "a cut signature": self.token[:-8],
        }
        for name, token in cases.items():
            status = self.web("GET", "/api/tasks", token=token, expect=None)[0]
            if status != 401:
                raise Broken(f"{name} was answered with {status}, not 401")
        if not claims.get("exp") or claims["exp"] - time.time() > 86400:
            raise Broken("the token does not expire within a day")
        wrong = self.web("POST", "/api/auth/sign-in/email", {"email": self.story.user["email"], "password": "wrong"}, expect=None)[0]
        if wrong not in (400, 401, 403):
            raise Broken(f"a wrong password was answered with {wrong}")
        minutes = (claims["exp"] - claims.get("iat", time.time())) / 60
        return f"401 for {len(cases)} tokens; {wrong} for a wrong password; a token lives {minutes:.0f} minutes"

    def origin(self) -> Evidence:
        credentials = {key: self.story.user[key] for key in ("email", "password")}
        status = self.web("POST", "/api/auth/sign-in/email", credentials, expect=None, headers={"Origin": "https://evil.example"})[0]
        if status not in (400, 401, 403):
            raise Broken(f"a sign-in from https://evil.example was answered with {status}")
        return f"{status} for a foreign Origin"

    def users(self) -> Evidence:
        other = Browser(self.wanted["url"], self.wanted["ca"], self.wanted["connect"], self.wanted["timeout"])
        user = {**self.story.user, "email": f"other-{self.story.user['email']}"}
        other("POST", "/api/auth/sign-up/email", user)
        try:
            token = other("GET", "/api/auth/token")[2]["token"]
            status = other("GET", f"/api/tasks/{self.story.task}", token=token, expect=None)[0]
            items = other("GET", "/api/tasks", token=token)[2]["items"]
        finally:
            other("POST", "/api/auth/delete-user", {"password": user["password"]}, expect=None)
        if status not in (403, 404) or items:
            raise Broken(f"another user got {status} for the task, and {len(items)} tasks in the list")
        return f"{status} for the task, and an empty list"

    # --- MCP ----------------------------------------------------------------------------------------------------------

    def _mcp(self, method: str, params: dict[str, Any], token: str, expect: int | None = 200) -> tuple[int, Any]:
        headers = {"Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-06-18"}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        status, _, answer = self.web("POST", self.wanted["mcp"], body, token, expect, headers)
        if isinstance(answer, str):
            data = [line[5:].strip() for line in answer.splitlines() if line.startswith("data:")]
            answer = json.loads(data[-1]) if data else {}
        return status, answer or {}

    def mcp(self) -> Evidence:
        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "acceptance", "version": "1"}}
        begun = self._mcp("initialize", client, self.token)[1].get("result") or {}
        tools = [tool["name"] for tool in (self._mcp("tools/list", {}, self.token)[1].get("result") or {}).get("tools", [])]
        if not begun.get("serverInfo") or not tools:
            raise Broken(f"initialize: {begun or 'nothing'}; tools: {tools or 'none'}")
        return f"{begun['serverInfo'].get('name')}, protocol {begun.get('protocolVersion')}; tools: {', '.join(tools)}", {"tools": tools}

    def mcp_call(self) -> Evidence:
        listed = (self._mcp("tools/list", {}, self.token)[1].get("result") or {}).get("tools", [])
        tool = next((tool["name"] for tool in listed if "list" in tool["name"]), "")
        if not tool:
            raise Broken("the MCP server has no tool that lists")
        result = self._mcp("tools/call", {"name": tool, "arguments": {}}, self.token)[1].get("result") or {}
        if result.get("isError") or self.story.title not in json.dumps(result):
            raise Broken(f"{tool} does not tell the task of the story: {json.dumps(result)[:300]}")
        return f"{tool} tells the task that the chat added"

    def mcp_guard(self) -> Evidence:
        answers = {}
        for name, token in (("no token", ""), ("a broken token", self.token[:-8])):
            answers[name] = self._mcp("tools/list", {}, token, None)[0]
        if set(answers.values()) - {401, 403}:
            raise Broken(f"answered {answers}")
        return ", ".join(f"{status} for {name}" for name, status in answers.items())

    # --- chat ---------------------------------------------------------------------------------------------------------

    def chat_stream(self) -> Evidence:
        text = self.web("POST", "/api/chat/stream", {"message": "list my tasks"}, self.token, headers={"Accept": "text/event-stream"})[2]
        events = [line[6:].strip() for line in str(text).splitlines() if line.startswith("event:")]
        if "error" in events or "done" not in events or "delta" not in events:
            raise Broken(f"events: {events}")
        data = [json.loads(line[5:]) for line in str(text).splitlines() if line.startswith("data:")]
        self.story.others.append(data[0].get("conversation_id", ""))
        return f"{len(events)} events: {', '.join(dict.fromkeys(events))}"

    def chat_memory(self) -> Evidence:
        detail = self.web("GET", f"/api/conversations/{self.story.conversation}", token=self.token)[2]
        listed = self.web("GET", "/api/conversations", token=self.token)[2]["items"]
        if len(detail.get("messages", [])) < 2 or self.story.conversation not in [item["id"] for item in listed]:
            raise Broken(f"the conversation has {len(detail.get('messages', []))} messages, the list {len(listed)} conversations")
        return f"{len(detail['messages'])} messages are kept in the database"

    # --- many requests ------------------------------------------------------------------------------------------------

    def latency(self) -> Evidence:
        figures: dict[str, Any] = {}
        for name, path, token in (("page", "/", ""), ("health", "/health", ""), ("tasks", "/api/tasks", self.token)):
            seconds = []
            for _ in range(20):
                started = time.monotonic()
                self.web("GET", path, token=token)
                seconds.append(time.monotonic() - started)
            figures[name] = {"p95": round(p95(seconds) * 1000, 1), "median": round(statistics.median(seconds) * 1000, 1)}
        return "; ".join(f"{name}: median {f['median']} ms, p95 {f['p95']} ms" for name, f in figures.items()), figures

    def _many(self, requests: int, workers: int) -> tuple[Counter[str], list[float]]:
        """`requests` by `workers` connections that stay open: reads, and among them wrong ones that must be refused as such."""
        url = urlsplit(self.wanted["url"])
        kinds = [
            ("GET", "/api/tasks", self.token, 200),
            ("GET", "/health", "", 200),
            ("GET", "/api/health", "", 200),
            ("GET", "/api/tasks", "", 401),
            ("GET", "/api/tasks/nonsense", self.token, 422),
        ]
        outcomes: Counter[str] = Counter()
        seconds: list[float] = []
        lock = threading.Lock()

        def work(number: int) -> None:
            connection = self.web.connection(url.hostname or "", url.port or 443)
            for index in range(requests // workers):
                method, path, token, expected = kinds[(index + number) % len(kinds)]
                started = time.monotonic()
                try:
                    connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
                    answer = connection.getresponse()
                    answer.read()
                    outcome = (
                        "right"
                        if answer.status == expected or (expected == 422 and answer.status in (400, 404))
                        else f"{path} {answer.status}"
                    )
                except (OSError, http.client.HTTPException) as error:
                    outcome = type(error).__name__
                    connection.close()
                with lock:
                    outcomes[outcome] += 1
                    seconds.append(time.monotonic() - started)
            connection.close()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return outcomes, seconds

    def burst(self) -> Evidence:
        workers = self.wanted["burst_connections"]
        started = time.monotonic()
        outcomes, seconds = self._many(self.wanted["burst_requests"], workers)
        rate = len(seconds) / (time.monotonic() - started)
        figures = {
            "connections": workers,
            "requests": len(seconds),
            "rate": round(rate),
            "p95": round(p95(seconds) * 1000, 1),
            "outcomes": dict(outcomes),
        }
        wrong = len(seconds) - outcomes["right"]
        if wrong:
            raise Broken(f"{wrong} of {len(seconds)} answers were wrong: {dict(outcomes)}")
        return f"{len(seconds)} requests on {workers} connections: all answers right, p95 {figures['p95']} ms, {rate:.0f}/s", figures

    def memory(self) -> Evidence:
        """Equal bursts, memory read between them. A heap that warms up grows by less each time, a leak by the same: the least counts."""
        per_burst = self.wanted["burst_requests"]
        readings = [self._used()]
        for _ in range(4):
            self._many(per_burst, min(16, self.wanted["burst_connections"]))
            readings.append(self._used())
        pairs = list(itertools.pairwise(readings[1:]))
        growth = {name: min((after.get(name, 0) - before.get(name, 0)) / per_burst for before, after in pairs) for name in readings[0]}
        worst = max(growth, key=lambda name: growth[name], default="")
        figures = {"bytes_per_request": {name: round(value) for name, value in growth.items()}, "readings": readings}
        return f"in {len(pairs)} bursts of {per_burst} requests one adds {growth.get(worst, 0):.0f} bytes at least ({worst})", figures

    def _used(self) -> dict[str, int]:
        """Bytes in use by backend and frontend."""
        told = {}
        for container in self.engine.listing("containers", self.wanted["labels"]):
            service = container["Labels"].get("berth.service", "")
            if service in ("backend", "frontend") and container["State"] == "running":
                told[service] = told.get(service, 0) + memory_used(self.engine.statistics(container["Id"]))
        return told
