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
  - Steps about a part that the application does not have are not applicable (outcome C(absent)). Whether it has a part is asked of the one
    that runs, by its OpenAPI document and its paths, unless O(required) or O(absent) names the part.
  - A step that fails fails the module, or, with O(report), is one of its results; steps that need it are then skipped.
options:
  url: {description: Where users reach the application., type: str, required: true}
  ca: {description: Certificate (PEM) of the authority to trust; empty for the public ones., type: str, default: ""}
  connect: {description: "Address to connect to instead of the URL's host, where the name does not resolve here.", type: str, default: ""}
  labels: {description: Labels of the stack's containers., type: dict, required: true}
  directory: {description: "State directory of the stack; it records the containers of an earlier Berth.", type: path, default: ""}
  database:
    description: "C(container), C(name) and C(table) of the database; empty skips what asks it."
    type: dict
    default: {}
  restart: {description: Restart every container in the middle., type: bool, default: false}
  report: {description: Report broken steps as results instead of failing at the first., type: bool, default: false}
  required: {description: "Parts that the application must have: PARTS in verify/application.py.", type: list, elements: str, default: []}
  absent: {description: "Parts that it does not have, each with the reason.", type: dict, default: {}}
  health: {description: Health paths of C(backend) and C(frontend)., type: dict, default: {backend: /health, frontend: /api/health}}
  ready: {description: "Readiness path of the backend, empty for none.", type: str, default: /health/ready}
  page: {description: Path of the page., type: str, default: /}
  ports: {description: Ports of C(backend) and C(frontend) in their containers., type: dict, default: {backend: 8000, frontend: 3000}}
  backend_paths: {description: Patterns of paths that the edge passes to the backend., type: list, elements: str, default: []}
  frontend_paths: {description: Patterns of paths below those that it passes to the frontend., type: list, elements: str, default: []}
  hidden_paths: {description: Patterns of paths that it answers with 404., type: list, elements: str, default: []}
  mcp: {description: "Path of the MCP server, empty where the application has none.", type: str, default: /mcp}
  http_port: {description: Port that redirects to the URL; 0 where there is none., type: int, default: 0}
  public_paths:
    description: Operations that need no token. Of an application whose API is not required, those that its OpenAPI document declares to.
    type: list
    elements: str
    default: [/health, /health/ready]
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
  description: "Each step: C(key), C(step), C(outcome) (ok, broken, skipped or absent), C(evidence), C(figures), C(seconds)."
  type: list
  elements: dict
  returned: always
absent:
  description: Parts that the application does not have, each with the reason.
  type: dict
  returned: always
"""

import contextlib
import json
import re
import secrets
import threading
import time
import traceback
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.data.dumps import CONTENT
from ..module_utils.docker.client import Engine, EngineError, wait_until
from ..module_utils.docker.ownership import stack_containers
from ..module_utils.state.store import Store
from ..module_utils.verify.app_client import Absent, Broken, Browser
from ..module_utils.verify.application import PARTS, Application, demands_token, operations
from ..module_utils.verify.container_commands import ASK_CONNECTIONS, WATCH_CONNECTIONS
from ..module_utils.verify.probes import Evidence, Step
from ..module_utils.verify.probes_access import Access
from ..module_utils.verify.probes_agent import Agent
from ..module_utils.verify.probes_api import Api
from ..module_utils.verify.probes_edge import Edge
from ..module_utils.verify.probes_load import Load

# Above this size of a database its content is not compared.
COMPARED = 500_000_000
WELL = ("ok", "healthy", "up", "pass", "ready", "alive")


class EndToEndCheck:
    """The steps, in order; each returns its evidence."""

    def __init__(self, options: dict[str, Any], engine: Engine) -> None:
        self.options, self.engine = options, engine
        self.web = Browser(options["url"], options["ca"], options["connect"], options["timeout"])
        self.application = Application(options, self.web, engine, self.containers())
        nonce = secrets.token_hex(4)
        # A domain that RFC 2606 keeps from belonging to anybody.
        self.user = {"name": "Verification", "email": f"verify-{nonce}@example.com", "password": secrets.token_urlsafe(18)}
        self.title = f"buy milk {nonce}"
        self.token = self.conversation = self.task = ""
        self.others: list[str] = []
        self.signed_up = False
        self.content: dict[str, str] | None = None

    def containers(self) -> list[dict[str, Any]]:
        return stack_containers(self.engine, self.options["labels"], self.options["recorded"])

    def held(self, part: str) -> bool:
        """Whether the application must have a part."""
        return part in self.application.required

    def steps(self) -> list[Step]:
        chat = not self.application.lacks("chat")
        steps = [
            Step("health", "The backend is healthy", self.health),
            Step("frontend_health", "The frontend is healthy", self.frontend_health),
            Step("ready", "The backend reports that it is ready", self.ready, ("ready",)),
            Step("page", "The page loads with all that it refers to", self.page),
            Step("sign_up", "Sign up", self.sign_up, ("auth",)),
            Step("sign_in", "Sign in", self.sign_in, ("auth",), ("sign_up",)),
            Step("token", "Get a token", self.get_token, ("auth",), ("sign_in",)),
            Step("refused", "Without a token, tasks are refused", self.refused, ("tasks",)),
            Step("chat", "The chat adds a task by an MCP tool", self.chat, ("chat",), ("token",)),
            Step("task", "Add a task", self.add, ("tasks",), ("chat",) if chat else ("token",)),
        ]
        if self.options["database"]:
            steps.append(Step("row", "The task is a row in PostgreSQL", self.row, ("database", "tasks"), ("task",)))
            steps.append(Step("connections", "Connections to the database", self.connections, ("database",)))
        steps.append(Step("listed", "The API lists the task", self.listed, ("tasks",), ("task",)))
        for group in (Edge, Api, Access, Agent, Load):
            steps += group(self).steps()
        if self.options["restart"]:
            steps += [
                Step("restart", "Restart every container", self.restart),
                Step("session_kept", "The session is still valid", self.get_token, ("auth",), ("token", "restart")),
                Step("task_kept", "The task is still there", self.listed, ("tasks",), ("listed", "restart")),
            ]
            if self.options["database"]:
                steps.append(Step("data_kept", "The database has its rows", self.data_kept, (), ("restart",)))
        return [*steps, Step("clean", "Remove task, conversation and user", self.clean, ("auth",), ("sign_up",))]

    def _well(self, service: str, path: str, strict: bool) -> Any:
        """The response of a health path that is 2xx, and, where it has a status, reports one that is well."""
        status, answer = self.application.fetch(service, path)
        reported = answer.get("status") if isinstance(answer, dict) else None
        if not 200 <= status < 300 or (reported != "ok" if strict else isinstance(reported, str) and reported.lower() not in WELL):
            raise Broken(f"{path} answered {status}: {str(answer)[:300]}")
        return answer

    def health(self) -> Evidence:
        path = self.options["health"]["backend"]
        answer = self._well("backend", path, self.held("version"))
        version = answer.get("version") if isinstance(answer, dict) else None
        return f"{path}: {f'version {version}' if version else '2xx'}", {"version": version}

    def frontend_health(self) -> Evidence:
        path = self.options["health"]["frontend"]
        self._well("frontend", path, self.held("version"))
        return f"{path}: 2xx"

    def ready(self) -> Evidence:
        path = self.options["ready"]
        answer = self._well("backend", path, self.held("ready"))
        checks = answer.get("checks") if isinstance(answer, dict) else None
        checks = checks if isinstance(checks, dict) else {}
        return f"{path}: {', '.join(checks) or '2xx'}", {"checks": checks}

    def page(self) -> Evidence:
        path = self.options["page"]
        status, headers, html = self.web("GET", path, expect=200 if self.held("controls") else None)
        if status in (301, 302, 303, 307, 308):
            raise Absent(f"{path} redirects to another site ({status}), for example to sign in")
        if status != 200:
            raise Broken(f"GET {path} answered {status}: {str(html)[:300]}")
        if "text/html" not in headers.get("Content-Type", headers.get("content-type", "")):
            if not self.held("controls"):
                raise Absent(f"{path} is not an HTML page: it refers to nothing")
            raise Broken(f"{path} is not an HTML page")
        assets = sorted(set(re.findall(r'(?:src|href)="(/[^/"#][^"#]*\.(?:js|css|svg|ico|png|woff2)[^"]*)"', html)))
        for asset in assets:
            self.web("GET", asset.replace("&amp;", "&"))
        if not assets and self.held("controls"):
            raise Broken(f"{path} refers to no script and no style sheet")
        return f"{path}: {len(assets)} assets loaded", {"assets": len(assets)}

    def sign_up(self) -> str:
        if self.held("auth"):
            self.web("POST", "/api/auth/sign-up/email", self.user)
        else:
            if not self.options["database"]:
                raise Absent("a user that signs up could not be removed again: the database is not the stack's own")
            status, _, answer = self.web("POST", "/api/auth/sign-up/email", self.user, expect=None)
            if 400 <= status < 500:
                raise Absent(f"nobody can sign up by e-mail address and password alone ({status}: {str(answer)[:120]})")
            if status != 200:
                raise Broken(f"/api/auth/sign-up/email answered {status}: {str(answer)[:300]}")
        self.signed_up = True
        return self.user["email"]

    def sign_in(self) -> str:
        self.web.cookies.clear()
        credentials = {key: self.user[key] for key in ("email", "password")}
        status, _, answer = self.web("POST", "/api/auth/sign-in/email", credentials, expect=None)
        if status == 403 and not self.held("auth"):
            raise Absent(f"a new user cannot sign in at once ({str(answer)[:120]})")
        if status != 200:
            raise Broken(f"POST /api/auth/sign-in/email answered {status}: {str(answer)[:300]}")
        names = [cookie.name for cookie in self.web.cookies]
        if not any(cookie.secure for cookie in self.web.cookies):
            raise Broken(f"no secure session cookie was set: {names}")
        return f"cookie {names[0]}"

    def get_token(self) -> str:
        status, _, answer = self.web("GET", "/api/auth/token", expect=None)
        if status == 404 and not self.held("auth"):
            raise Absent("Better Auth issues no JSON Web Tokens (/api/auth/token: 404)")
        self.token = (answer if isinstance(answer, dict) else {}).get("token", "")
        if status != 200 or self.token.count(".") != 2:
            raise Broken(f"/api/auth/token gave no JWT ({status})")
        return "a JWT"

    def refused(self) -> str:
        if not self.held("tasks"):
            document = self.application.document()
            if not any(path == "/api/tasks" and demands_token(document, one) for _, path, one in operations(document)):
                raise Absent("the operations of tasks declare no security")
        self.web("GET", "/api/tasks", expect=401)
        if self.application.lacks("chat"):
            return "401 for tasks"
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
        if self.conversation:
            return "by the chat"
        self.web("POST", "/api/tasks", {"title": self.title}, self.token, expect=201)
        return "201"

    def query(self, *statements: str) -> str:
        """The output of statements, run in one session of the database's superuser."""
        database = self.options["database"]
        command = ["psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database["name"]]
        status, output = self.engine.execute(database["container"], [*command, *(word for one in statements for word in ("-c", one))])
        if status:
            raise Broken(f"psql reported: {output.strip()[-300:]}")
        return output.strip()

    def row(self) -> str:
        table = self.options["database"]["table"]
        # The title is ours: letters, digits and spaces.
        rows = self.query(f"SELECT count(*) FROM {table} WHERE title = '{self.title}'")
        if rows != "1":
            raise Broken(f"expected one row in {table}, psql reported: {rows}")
        return f"one row in {table}"

    def connections(self) -> Evidence:
        """Who is connected to the database. A pool keeps connections; without one they exist while a request runs only."""
        found = json.loads(self.query(ASK_CONNECTIONS))
        if not any(one["remote"] and one["user"].startswith("backend") for one in found):
            stop = threading.Event()
            asking = threading.Thread(target=self._ask_for_data, args=(stop,))
            asking.start()
            try:
                found = json.loads(self.query(*WATCH_CONNECTIONS))
            finally:
                stop.set()
                asking.join()
        users = sorted({one["user"] for one in found if one["remote"]})
        return f"connected over the network: {', '.join(users) or 'nobody'}", {"connections": found}

    def _ask_for_data(self, stop: threading.Event) -> None:
        """Request what may need the database, again and again: page, health, and operations that read and need no parameter."""
        paths = [("frontend", self.options["page"]), ("backend", self.options["health"]["backend"])]
        if not self.application.lacks("ready"):
            paths.append(("backend", self.options["ready"]))
        with contextlib.suppress(Absent):
            document = self.application.document()
            for method, path, operation in operations(document):
                needed = any(parameter.get("required") for parameter in operation.get("parameters") or [])
                if method == "get" and not needed and "{" not in path and len(paths) < 20:
                    paths.append(("backend", path))
        while not stop.is_set():
            for service, path in paths:
                # What it answers does not matter here.
                with contextlib.suppress(Broken):
                    if not stop.is_set():
                        self.application.fetch(service, path)

    def listed(self) -> str:
        items = self.web("GET", "/api/tasks?limit=100", token=self.token)[2]["items"]
        found = [item for item in items if item["title"] == self.title]
        if len(found) != 1:
            raise Broken(f"expected the task {self.title!r} once, found it {len(found)} times among {len(items)}")
        self.task = found[0]["id"]
        return f"task {self.task}"

    def restart(self) -> Evidence:
        if self.options["database"] and int(self.query("SELECT pg_database_size(current_database())")) < COMPARED:
            self.content = json.loads(self.query(CONTENT))
        names, started = [], time.monotonic()
        order = {"database": 0, "model": 1, "edge": 3}
        for container in sorted(self.containers(), key=lambda c: order.get(c["Labels"].get("berth.service", ""), 2)):
            self.engine.call("POST", f"/containers/{container['Id']}/restart", timeout=120)
            names.append(container["Names"][0].lstrip("/"))

        def healthy() -> bool:
            return all("(healthy)" in c["Status"] or ("health" not in c["Status"] and c["State"] == "running") for c in self.containers())

        def served() -> bool:
            # Addresses of containers are others now.
            self.application.containers = self.containers()
            path = self.options["health"]["backend"] if self.application.lacks("ready") else self.options["ready"]
            with contextlib.suppress(Broken):
                well = 200 <= self.application.fetch("backend", path)[0] < 300
                return well and self.web("GET", self.options["page"], expect=None)[0] < 400
            return False

        if not wait_until(healthy, 90, 0.3):
            raise Broken(f"not every container is healthy 90 s after the restart of {', '.join(names)}")
        if not wait_until(served, 30, 0.3):
            raise Broken("the backend is not ready, or the page does not load, 30 s after the restart")
        seconds = round(time.monotonic() - started, 2)
        return f"{len(names)} containers restarted and healthy: {', '.join(names)}", {"containers": len(names), "seconds": seconds}

    def data_kept(self) -> str:
        if self.content is None:
            raise Absent(f"the database is larger than {COMPARED // 1_000_000} MB: its rows were not counted")
        now = json.loads(self.query(CONTENT))

        def rows(content: dict[str, str], table: str) -> int:
            return int(content.get(table, "-1").partition(" ")[0])

        # An application may remove what has expired, not all that it had.
        lost = [table for table in self.content if rows(self.content, table) > 0 and rows(now, table) < 1]
        if lost:
            raise Broken(f"no row is left in {', '.join(lost)}")
        return f"{sum(rows(now, table) for table in now)} rows in {len(now)} tables"

    def clean(self) -> str:
        if self.task:
            self.web("DELETE", f"/api/tasks/{self.task}", token=self.token, expect=204)
        for conversation in filter(None, [self.conversation, *self.others]):
            self.web("DELETE", f"/api/conversations/{conversation}", token=self.token, expect=204)
        self.remove_user()
        return "all of it removed"

    def remove_user(self) -> None:
        """Remove the user by the application, or, where that lets nobody go, the row of the user in the database."""
        password = {"password": self.user["password"]}
        if self.held("auth"):
            self.web("POST", "/api/auth/delete-user", password)
        elif self.web("POST", "/api/auth/delete-user", password, expect=None)[0] != 200:
            where = "column_name = 'email' AND lower(table_name) IN ('user', 'users')"
            tables = (
                f"SELECT coalesce(json_agg(format('%I.%I', table_schema, table_name)), '[]') FROM information_schema.columns WHERE {where}"
            )
            # The address is ours: letters, digits, a hyphen and a full stop.
            self.query(*(f"DELETE FROM {table} WHERE email = '{self.user['email']}'" for table in json.loads(self.query(tables))))
        self.signed_up = False

    def give_up(self) -> None:
        """After a broken step: remove the user, as far as that goes."""
        if self.signed_up:
            # What broke the check may break this too; the first message is the one that counts.
            with contextlib.suppress(Broken):
                self.remove_user()

    def unmet(self, step: Step, absent: dict[str, str]) -> str:
        """Why a step is not applicable; empty where it is. `absent`: the steps before it that were not, with their reasons, which are no
        excuse for a part that is required."""
        reasons = [self.application.lacks(part) for part in step.parts]
        if not any(map(self.held, step.parts)):
            reasons += [absent.get(key, "") for key in step.needs]
        return next(filter(None, reasons), "")


def run(check: EndToEndCheck, report: bool) -> tuple[list[dict[str, Any]], str]:
    """(result of each step, what failed where `report` is not set)."""
    results: list[dict[str, Any]] = []
    ok: set[str] = set()
    absent: dict[str, str] = {}
    for step in check.steps():
        result = {"key": step.key, "step": step.title, "outcome": "ok", "evidence": "", "figures": {}, "seconds": 0.0}
        results.append(result)
        started = time.monotonic()
        try:
            if reason := check.unmet(step, absent):
                raise Absent(reason)
            if missing := set(step.needs) - ok:
                result.update(outcome="skipped", evidence=f"not run: it needs {', '.join(sorted(missing))}")
                continue
            evidence = step.run()
            result["evidence"], result["figures"] = evidence if isinstance(evidence, tuple) else (evidence, {})
            ok.add(step.key)
        except Absent as reason:
            absent[step.key] = str(reason)
            result.update(outcome="absent", evidence=str(reason))
        except Exception as error:  # an answer that is not as it should be, or a defect of the step: neither ends the others
            what = str(error)
            if not isinstance(error, (Broken, EngineError)):
                last = traceback.extract_tb(error.__traceback__)[-1]
                what = f"{type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"
            result.update(outcome="broken", evidence=what)
            if not report:
                return results, f"{step.title}: {what}"
        result["seconds"] = round(time.monotonic() - started, 2)
    return results, ""


def main() -> None:
    paths = {"type": "list", "elements": "str"}
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
            "required": {**paths, "default": []},
            "absent": {"type": "dict", "default": {}},
            "health": {"type": "dict", "default": {"backend": "/health", "frontend": "/api/health"}},
            "ready": {"type": "str", "default": "/health/ready"},
            "page": {"type": "str", "default": "/"},
            "ports": {"type": "dict", "default": {"backend": 8000, "frontend": 3000}},
            "backend_paths": {**paths, "default": []},
            "frontend_paths": {**paths, "default": []},
            "hidden_paths": {**paths, "default": []},
            "mcp": {"type": "str", "default": "/mcp"},
            "http_port": {"type": "int", "default": 0},
            "public_paths": {**paths, "default": ["/health", "/health/ready"]},
            "burst_requests": {"type": "int", "default": 240},
            "burst_connections": {"type": "int", "default": 32},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=module.params["restart"], steps=[], absent={}, msg="not run in check mode")
    if urlsplit(module.params["url"]).scheme != "https":
        module.fail_json(msg=f"the end-to-end check needs an https URL, not {module.params['url']}")
    if unknown := sorted({*module.params["required"], *module.params["absent"]} - set(PARTS)):
        module.fail_json(msg=f"verify_required, verify_absent: no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    recorded = Store(module.params["directory"]).containers if module.params["directory"] else set()
    check = EndToEndCheck(module.params | {"recorded": recorded}, Engine())
    steps, failed = run(check, module.params["report"])
    check.give_up()
    if failed:
        module.fail_json(msg=failed, steps=steps)
    # What the check made it removed again; only a restart is a change.
    module.exit_json(changed=module.params["restart"], steps=steps, absent=check.application.absent())


if __name__ == "__main__":
    main()
