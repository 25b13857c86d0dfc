#!/usr/bin/python
"""Check the application end to end, as a user through the edge."""

from __future__ import annotations

DOCUMENTATION = r"""
module: e2e_check
short_description: Check the application end to end, as a user through the edge
description:
  - Signs a new user up and in, asks the chat to add a task, finds it by the API and in the database, restarts all containers where
    O(restart) is set, finds session and task again, and removes user and task. Certificates are always verified.
  - Then checks what else the acceptance criteria ask of the application (module_utils/verify/probes_*.py).
  - A step that fails fails the module, or, with O(report), is one of its results; steps that need it are then skipped.
options:
  url: {description: Where users reach the application., type: str, required: true}
  ca: {description: Certificate (PEM) of the authority to trust; empty for the public ones., type: str, default: ""}
  connect: {description: "Address to connect to instead of the URL's host, where the name does not resolve here.", type: str, default: ""}
  labels: {description: Labels of the stack's containers., type: dict, required: true}
  directory: {description: "State directory of the stack; it records the containers of an earlier Berth.", type: path, default: ""}
  database:
    description: "C(container), C(name) and C(table) of the database; empty skips the query."
    type: dict
    default: {}
  restart: {description: Restart every container in the middle., type: bool, default: false}
  report: {description: Report broken steps as results instead of failing at the first., type: bool, default: false}
  mcp: {description: "Path of the MCP server, empty where the application has none.", type: str, default: /mcp}
  chat: {description: Whether the application has a chat., type: bool, default: true}
  http_port: {description: Port that redirects to the URL; 0 where there is none., type: int, default: 0}
  public_paths: {description: Operations that need no token., type: list, elements: str, default: [/health, /health/ready]}
  burst_requests: {description: Requests of one burst., type: int, default: 240}
  burst_connections: {description: Connections of one burst., type: int, default: 32}
  timeout: {description: Seconds for one request., type: int, default: 30}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Check the application end to end
  berth.stack.e2e_check:
    url: https://localhost:8443
    ca: "{{ certificate }}"
    labels: {berth.stack: berth}
    database: {container: berth-database, name: app, table: backend.task}
"""

RETURN = r"""
steps:
  description: "Each step: C(key), C(step), C(outcome) (ok, broken or skipped), C(evidence), C(figures), C(seconds)."
  type: list
  elements: dict
  returned: always
"""

import contextlib
import re
import secrets
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError, wait_until
from ..module_utils.docker.ownership import stack_containers
from ..module_utils.state.store import Store
from ..module_utils.verify.app_client import Broken, Browser
from ..module_utils.verify.probes import Evidence
from ..module_utils.verify.probes_access import Access
from ..module_utils.verify.probes_agent import Agent
from ..module_utils.verify.probes_api import Api
from ..module_utils.verify.probes_edge import Edge
from ..module_utils.verify.probes_load import Load


class Step(NamedTuple):
    """One step: its key, its title, what it does, and the keys of the steps that it needs."""

    key: str
    title: str
    run: Callable[[], Evidence]
    needs: set[str] = set()


class EndToEndCheck:
    """The steps, in order; each returns its evidence."""

    def __init__(self, options: dict[str, Any], engine: Engine) -> None:
        self.options, self.engine = options, engine
        self.web = Browser(options["url"], options["ca"], options["connect"], options["timeout"])
        nonce = secrets.token_hex(4)
        # A domain that RFC 2606 keeps from belonging to anybody.
        self.user = {"name": "Verification", "email": f"verify-{nonce}@example.com", "password": secrets.token_urlsafe(18)}
        self.title = f"buy milk {nonce}"
        self.token = self.conversation = self.task = ""
        self.others: list[str] = []
        self.signed_up = False

    def steps(self) -> list[Step]:
        steps = [
            Step("health", "Backend and frontend are healthy", self.health),
            Step("page", "The page loads with all that it refers to", self.page),
            Step("sign_up", "Sign up", self.sign_up),
            Step("sign_in", "Sign in", self.sign_in, {"sign_up"}),
            Step("token", "Get a token", self.get_token, {"sign_in"}),
            Step("refused", "Without a token, tasks are refused", self.refused),
        ]
        if self.options["chat"]:
            steps.append(Step("chat", "The chat adds a task by an MCP tool", self.chat, {"token"}))
        else:
            steps.append(Step("chat", "Add a task", self.add, {"token"}))
        if self.options["database"]:
            steps.append(Step("row", "The task is a row in PostgreSQL", self.row, {"chat"}))
        steps.append(Step("listed", "The API lists the task", self.listed, {"chat"}))
        probes = [probe for group in (Edge, Api, Access, Agent, Load) for probe in group(self).steps()]
        steps += [Step(key, title, run, {"token"} if key not in ("tls", "headers") else set()) for key, title, run in probes]
        if self.options["restart"]:
            steps += [
                Step("restart", "Restart every container", self.restart),
                Step("session_kept", "The session is still valid", self.get_token, {"token"}),
                Step("task_kept", "The task is still there", self.listed, {"listed"}),
            ]
        return [*steps, Step("clean", "Remove task, conversation and user", self.clean, {"token"})]

    def health(self) -> Evidence:
        backend = self.web("GET", "/health")[2]
        frontend = self.web("GET", "/api/health")[2]
        ready = self.web("GET", "/health/ready")[2]
        for name, answer in (("/health", backend), ("/api/health", frontend), ("/health/ready", ready)):
            if not isinstance(answer, dict) or answer.get("status") != "ok":
                raise Broken(f'{name} is not {{"status": "ok"}}: {answer}')
        checks = ready.get("checks", {})
        return f"version {backend.get('version')}; ready: {', '.join(checks)}", {"version": backend.get("version"), "checks": checks}

    def page(self) -> Evidence:
        _, headers, html = self.web("GET", "/")
        if "text/html" not in headers.get("Content-Type", headers.get("content-type", "")):
            raise Broken("/ is not an HTML page")
        assets = sorted(set(re.findall(r'(?:src|href)="(/[^"#]+\.(?:js|css|svg|ico|png|woff2)[^"]*)"', html)))
        for asset in assets:
            self.web("GET", asset.replace("&amp;", "&"))
        if not assets:
            raise Broken("/ refers to no script and no style sheet")
        return f"{len(assets)} assets loaded", {"assets": len(assets)}

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

    def chat(self) -> Evidence:
        answer = self.web("POST", "/api/chat", {"message": f"add a task: {self.title}"}, self.token)[2]
        self.conversation = answer["conversation_id"]
        calls = [call["name"] for call in answer["tool_calls"]]
        if not any("add" in name or "create" in name for name in calls):
            raise Broken(f"the chat called no tool that adds a task: {calls}; its reply: {answer['reply'][:200]}")
        return f"tool {', '.join(calls)}; reply: {answer['reply'][:120]}", {"tools": calls}

    def add(self) -> str:
        self.web("POST", "/api/tasks", {"title": self.title}, self.token, expect=201)
        return "201"

    def row(self) -> str:
        database = self.options["database"]
        # The title is ours: letters, digits and spaces.
        query = f"SELECT count(*) FROM {database['table']} WHERE title = '{self.title}'"
        status, output = self.engine.execute(database["container"], ["psql", "-tAX", "-U", "postgres", "-d", database["name"], "-c", query])
        if status or output.strip() != "1":
            raise Broken(f"expected one row in {database['table']}, psql reported: {output.strip()}")
        return f"one row in {database['table']}"

    def listed(self) -> str:
        items = self.web("GET", "/api/tasks?limit=100", token=self.token)[2]["items"]
        found = [item for item in items if item["title"] == self.title]
        if len(found) != 1:
            raise Broken(f"expected the task {self.title!r} once, found it {len(found)} times among {len(items)}")
        self.task = found[0]["id"]
        return f"task {self.task}"

    def restart(self) -> Evidence:
        names, started = [], time.monotonic()
        order = {"database": 0, "model": 1, "edge": 3}
        containers = stack_containers(self.engine, self.options["labels"], self.options["recorded"])
        for container in sorted(containers, key=lambda c: order.get(c["Labels"].get("berth.service", ""), 2)):
            self.engine.call("POST", f"/containers/{container['Id']}/restart", timeout=120)
            names.append(container["Names"][0].lstrip("/"))

        def healthy() -> bool:
            found = stack_containers(self.engine, self.options["labels"], self.options["recorded"])
            return all("(healthy)" in c["Status"] or ("health" not in c["Status"] and c["State"] == "running") for c in found)

        if not wait_until(healthy, 90, 0.3):
            raise Broken(f"not every container is healthy 90 s after the restart of {', '.join(names)}")
        ready = wait_until(lambda: self.web("GET", "/health/ready", expect=None)[0] == 200, 30, 0.3)
        if not ready:
            raise Broken("/health/ready does not answer 200 after the restart")
        seconds = round(time.monotonic() - started, 2)
        return f"{len(names)} containers restarted and healthy: {', '.join(names)}", {"containers": len(names), "seconds": seconds}

    def clean(self) -> str:
        if self.task:
            self.web("DELETE", f"/api/tasks/{self.task}", token=self.token, expect=204)
        for conversation in filter(None, [self.conversation, *self.others]):
            self.web("DELETE", f"/api/conversations/{conversation}", token=self.token, expect=204)
        self.web("POST", "/api/auth/delete-user", {"password": self.user["password"]})
        self.signed_up = False
        return "all of it removed"

    def give_up(self) -> None:
        """After a broken step: remove the user, as far as that goes."""
        if self.signed_up:
            # What broke the check may break this too; the first message is the one that counts.
            with contextlib.suppress(Broken):
                self.web("POST", "/api/auth/delete-user", {"password": self.user["password"]})


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "ca": {"type": "str", "default": ""},
            "connect": {"type": "str", "default": ""},
            "labels": {"type": "dict", "required": True},
            "directory": {"type": "path", "default": ""},
            "database": {"type": "dict", "default": {}},
            "restart": {"type": "bool", "default": False},
            "report": {"type": "bool", "default": False},
            "mcp": {"type": "str", "default": "/mcp"},
            "chat": {"type": "bool", "default": True},
            "http_port": {"type": "int", "default": 0},
            "public_paths": {"type": "list", "elements": "str", "default": ["/health", "/health/ready"]},
            "burst_requests": {"type": "int", "default": 240},
            "burst_connections": {"type": "int", "default": 32},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=module.params["restart"], steps=[], msg="not run in check mode")
    if urlsplit(module.params["url"]).scheme != "https":
        module.fail_json(msg=f"the end-to-end check needs an https URL, not {module.params['url']}")
    recorded = Store(module.params["directory"]).containers if module.params["directory"] else set()
    check = EndToEndCheck(module.params | {"recorded": recorded}, Engine())
    steps: list[dict[str, Any]] = []
    ok: set[str] = set()
    for step in check.steps():
        result = {"key": step.key, "step": step.title, "outcome": "ok", "evidence": "", "figures": {}, "seconds": 0.0}
        steps.append(result)
        if missing := step.needs - ok:
            result.update(outcome="skipped", evidence=f"not run: it needs {', '.join(sorted(missing))}")
            continue
        started = time.monotonic()
        try:
            evidence = step.run()
            result["evidence"], result["figures"] = evidence if isinstance(evidence, tuple) else (evidence, {})
            ok.add(step.key)
        except Exception as error:  # an answer that is not as it should be, or a defect of the step: neither ends the others
            what = str(error)
            if not isinstance(error, (Broken, EngineError)):
                last = traceback.extract_tb(error.__traceback__)[-1]
                what = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
            result.update(outcome="broken", evidence=what)
            if not module.params["report"]:
                check.give_up()
                module.fail_json(msg=f"{step.title}: {what}", steps=steps)
        result["seconds"] = round(time.monotonic() - started, 2)
    check.give_up()
    # What the check made it removed again; only a restart is a change.
    module.exit_json(changed=module.params["restart"], steps=steps)


if __name__ == "__main__":
    main()
