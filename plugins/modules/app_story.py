#!/usr/bin/python
"""Tell the story of a user through the edge, and check each step of it."""

from __future__ import annotations

import contextlib
import http.client
import http.cookiejar
import json
import re
import secrets
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.engine import Engine, EngineError, wait_until

DOCUMENTATION = r"""
module: app_story
short_description: Tell the story of a user through the edge, and check each step of it
description:
  - Signs a new user up and in, asks the chat to add a task, finds it by the API and in the database, restarts all containers where
    that is wanted, finds session and task again, and removes user and task. Certificates are always verified.
  - Stops at the first step that is not as it should be.
options:
  url: {description: Where users reach the application., type: str, required: true}
  ca: {description: Certificate (PEM) of the authority to trust; empty for the public ones., type: str, default: ""}
  connect: {description: "Address to connect to instead of the URL's host, where the name is not known here.", type: str, default: ""}
  labels: {description: Labels of the stack's containers., type: dict, required: true}
  database:
    description: "C(container), C(name) and C(table) of the database; empty leaves out the look into it."
    type: dict
    default: {}
  restart: {description: Restart every container in the middle of the story., type: bool, default: false}
  timeout: {description: Seconds for one request., type: int, default: 30}
"""

EXAMPLES = r"""
- name: Tell the story
  app_story:
    url: https://localhost:8443
    ca: "{{ certificate }}"
    labels: {berth.stack: berth}
    database: {container: berth-database, name: app, table: backend.task}
"""

RETURN = r"""
steps:
  description: "The steps told: C(step), C(evidence), C(seconds)."
  type: list
  elements: dict
  returned: always
"""


class Broken(Exception):
    """A step that did not go as it should; the message says what came instead."""


class _Connection(http.client.HTTPSConnection):
    """HTTPS to another address than the name says; the certificate must still be the name's."""

    address = ""

    def connect(self) -> None:
        name, self.host = self.host, self.address or self.host
        http.client.HTTPConnection.connect(self)
        self.host = name
        self.sock = self._context.wrap_socket(self.sock, server_hostname=name)


class Browser:
    """Requests to one origin, with cookies as a browser keeps them."""

    def __init__(self, url: str, ca: str, connect: str, timeout: int) -> None:
        self.url, self.timeout = url, timeout
        context = ssl.create_default_context(cadata=ca) if ca else ssl.create_default_context()
        connection = type("Connection", (_Connection,), {"address": connect})

        class Handler(urllib.request.HTTPSHandler):
            def https_open(self, request: urllib.request.Request) -> Any:
                return self.do_open(connection, request, context=context)

        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), Handler(), urllib.request.HTTPCookieProcessor(self.cookies)
        )

    def __call__(
        self, method: str, path: str, body: Any = None, token: str = "", expect: int | None = 200
    ) -> tuple[int, dict[str, str], Any]:
        """(status, headers, decoded body); Broken when the status is not the expected one."""
        headers = {"Origin": self.url, "Accept": "application/json, text/html;q=0.9, */*;q=0.5"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if token:
            headers["Authorization"] = f"Bearer {token}"
        payload = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, payload, headers, method=method)
        try:
            with self.opener.open(request, timeout=self.timeout) as response:
                status, answered, raw = response.status, dict(response.headers), response.read()
        except urllib.error.HTTPError as error:
            status, answered, raw = error.code, dict(error.headers), error.read()
        except (OSError, http.client.HTTPException) as error:
            raise Broken(f"{method} {path}: {getattr(error, 'reason', error)}") from error
        if expect is not None and status != expect:
            raise Broken(f"{method} {path} answered {status}, not {expect}: {raw[:400].decode(errors='replace')}")
        try:
            return status, answered, json.loads(raw) if raw else None
        except ValueError:
            return status, answered, raw.decode(errors="replace")


class Story:
    """The steps, in order; each returns its evidence."""

    def __init__(self, wanted: dict[str, Any], engine: Engine) -> None:
        self.wanted, self.engine = wanted, engine
        self.web = Browser(wanted["url"], wanted["ca"], wanted["connect"], wanted["timeout"])
        nonce = secrets.token_hex(4)
        # A domain that RFC 2606 keeps from belonging to anybody.
        self.user = {"name": "Verification", "email": f"verify-{nonce}@example.com", "password": secrets.token_urlsafe(18)}
        self.title = f"buy milk {nonce}"
        self.token = self.conversation = self.task = ""
        self.signed_up = False

    def steps(self) -> list[tuple[str, Callable[[], str]]]:
        told = [
            ("Backend and frontend are healthy", self.health),
            ("The page loads with all that it refers to", self.page),
            ("Sign up", self.sign_up),
            ("Sign in", self.sign_in),
            ("Get a token", self.get_token),
            ("Without a token, tasks are refused", self.refused),
            ("The chat adds a task by an MCP tool", self.chat),
        ]
        if self.wanted["database"]:
            told.append(("The task is a row in PostgreSQL", self.row))
        told.append(("The API lists the task", self.listed))
        if self.wanted["restart"]:
            told += [
                ("Restart every container", self.restart),
                ("The session is still valid", self.get_token),
                ("The task is still there", self.listed),
            ]
        return [*told, ("Remove task, conversation and user", self.clean)]

    def health(self) -> str:
        backend = self.web("GET", "/health")[2]
        frontend = self.web("GET", "/api/health")[2]
        ready = self.web("GET", "/health/ready")[2]
        for name, answer in (("/health", backend), ("/api/health", frontend), ("/health/ready", ready)):
            if not isinstance(answer, dict) or answer.get("status") != "ok":
                raise Broken(f'{name} does not say {{"status": "ok"}}: {answer}')
        return f"version {backend.get('version')}; ready: {', '.join(ready.get('checks', {}))}"

    def page(self) -> str:
        _, headers, html = self.web("GET", "/")
        if "text/html" not in headers.get("Content-Type", headers.get("content-type", "")):
            raise Broken("/ is not an HTML page")
        assets = sorted(set(re.findall(r'(?:src|href)="(/[^"#]+\.(?:js|css|svg|ico|png|woff2)[^"]*)"', html)))
        for asset in assets:
            self.web("GET", asset.replace("&amp;", "&"))
        if not assets:
            raise Broken("/ refers to no script and no style sheet")
        return f"{len(assets)} assets loaded"

    def sign_up(self) -> str:
        self.web("POST", "/api/auth/sign-up/email", self.user)
        self.signed_up = True
        return self.user["email"]

    def sign_in(self) -> str:
        self.web.cookies.clear()
        self.web("POST", "/api/auth/sign-in/email", {key: self.user[key] for key in ("email", "password")})
        names = [cookie.name for cookie in self.web.cookies]
        if not any(cookie.secure for cookie in self.web.cookies):
            raise Broken(f"no secure session cookie was set: {names}")
        return f"cookie {names[0]}"

    def get_token(self) -> str:
        answer = self.web("GET", "/api/auth/token")[2]
        self.token = (answer or {}).get("token", "")
        if self.token.count(".") != 2:
            raise Broken("/api/auth/token gave no JWT")
        return "a JWT"

    def refused(self) -> str:
        self.web("GET", "/api/tasks", expect=401)
        self.web("POST", "/api/chat", {"message": "list my tasks"}, expect=401)
        return "401 for tasks and chat"

    def chat(self) -> str:
        answer = self.web("POST", "/api/chat", {"message": f"add a task: {self.title}"}, self.token)[2]
        self.conversation = answer["conversation_id"]
        calls = [call["name"] for call in answer["tool_calls"]]
        if not any("add" in name or "create" in name for name in calls):
            raise Broken(f"the chat called no tool that adds a task: {calls}; it said: {answer['reply'][:200]}")
        return f"tool {', '.join(calls)}; reply: {answer['reply'][:120]}"

    def row(self) -> str:
        database = self.wanted["database"]
        # The title is ours: letters, digits and spaces.
        query = f"SELECT count(*) FROM {database['table']} WHERE title = '{self.title}'"
        status, output = self.engine.execute(database["container"], ["psql", "-tAX", "-U", "postgres", "-d", database["name"], "-c", query])
        if status or output.strip() != "1":
            raise Broken(f"expected one row in {database['table']}, psql said: {output.strip()}")
        return f"one row in {database['table']}"

    def listed(self) -> str:
        items = self.web("GET", "/api/tasks?limit=100", token=self.token)[2]["items"]
        found = [item for item in items if item["title"] == self.title]
        if len(found) != 1:
            raise Broken(f"expected the task {self.title!r} once, found it {len(found)} times among {len(items)}")
        self.task = found[0]["id"]
        return f"task {self.task}"

    def restart(self) -> str:
        names = []
        order = {"database": 0, "model": 1, "edge": 3}
        containers = self.engine.listing("containers", self.wanted["labels"])
        for container in sorted(containers, key=lambda c: order.get(c["Labels"].get("berth.service", ""), 2)):
            self.engine.call("POST", f"/containers/{container['Id']}/restart", timeout=120)
            names.append(container["Names"][0].lstrip("/"))

        def healthy() -> bool:
            found = self.engine.listing("containers", self.wanted["labels"])
            return all("(healthy)" in c["Status"] or ("health" not in c["Status"] and c["State"] == "running") for c in found)

        if not wait_until(healthy, 90, 0.3):
            raise Broken(f"not every container is healthy 90 s after the restart of {', '.join(names)}")
        ready = wait_until(lambda: self.web("GET", "/health/ready", expect=None)[0] == 200, 30, 0.3)
        if not ready:
            raise Broken("/health/ready does not answer 200 after the restart")
        return f"{len(names)} containers restarted and healthy: {', '.join(names)}"

    def clean(self) -> str:
        self.web("DELETE", f"/api/tasks/{self.task}", token=self.token, expect=204)
        self.web("DELETE", f"/api/conversations/{self.conversation}", token=self.token, expect=204)
        self.web("POST", "/api/auth/delete-user", {"password": self.user["password"]})
        self.signed_up = False
        return "nothing of it is left"

    def give_up(self) -> None:
        """After a broken step: take the user away again, as far as that goes."""
        if self.signed_up:
            # What broke the story may break this too; the story's own message is the one that counts.
            with contextlib.suppress(Broken):
                self.web("POST", "/api/auth/delete-user", {"password": self.user["password"]})


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "ca": {"type": "str", "default": ""},
            "connect": {"type": "str", "default": ""},
            "labels": {"type": "dict", "required": True},
            "database": {"type": "dict", "default": {}},
            "restart": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=module.params["restart"], steps=[], msg="not told in check mode")
    if urlsplit(module.params["url"]).scheme != "https":
        module.fail_json(msg=f"the story needs an https URL, not {module.params['url']}")
    story = Story(module.params, Engine())
    steps: list[dict[str, Any]] = []
    for name, act in story.steps():
        started = time.monotonic()
        try:
            evidence = act()
        except (Broken, EngineError, KeyError, TypeError) as error:
            story.give_up()
            what = f"{type(error).__name__}: {error}" if isinstance(error, (KeyError, TypeError)) else str(error)
            module.fail_json(msg=f"{name}: {what}", steps=steps)
        steps.append({"step": name, "evidence": evidence, "seconds": round(time.monotonic() - started, 2)})
    # What the story made it took away again; only a restart is a change.
    module.exit_json(changed=module.params["restart"], steps=steps)


if __name__ == "__main__":
    main()
