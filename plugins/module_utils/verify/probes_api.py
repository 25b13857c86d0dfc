"""Probes of an application's API: every operation, tasks, wrong input."""

from __future__ import annotations

from typing import Any

from .app_client import Absent, Broken
from .application import demands_token, filled, operations, takes_json
from .probes import Evidence, Probes, Step

# Of an API that was not made for these probes, so many operations are asked.
MOST = 100


class Api(Probes):
    """Operations with and without a token, and what they make of their input.

    Of an API that need not be the reference application's (part `api` is not required) nothing is requested that may change something: that
    an operation exists is asked with OPTIONS, and without a token only what reads is requested.
    """

    def steps(self) -> list[Step]:
        held = self.check.held("api")
        return [
            Step("operations", "Every operation of the API is there", self.operations, ("api",), ("token",) if held else ()),
            Step("guarded", "Operations refuse who has no token", self.guarded, ("api",)),
            Step("crud", "Tasks are created, read, changed and deleted", self.crud, ("tasks",), ("token",)),
            Step("validation", "Wrong input is refused with a reason", self.validation, (), ("token",) if held else ()),
        ]

    def _requests(self) -> list[tuple[str, str, str]]:
        """(method, path, address) of every operation, with an id that nothing has in place of parameters."""
        return [(method, path, filled(path)) for method, path, _ in operations(self.application.document())]

    def operations(self) -> Evidence:
        if not self.check.held("api"):
            return self._declared()
        open_paths = set(self.options["public_paths"])
        broken = []
        requests = self._requests()
        for method, path, address in requests:
            body: dict[str, Any] | None = {} if method in ("post", "put", "patch") else None
            status = self.web(method.upper(), address, body, expect=None)[0]
            if status >= 500 or (status == 404 and path in open_paths) or status == 405:
                broken.append(f"{method.upper()} {path}: {status}")
            # With a token, an operation that only reads must work.
            if method == "get" and path not in open_paths and "{" not in path:
                status = self.web("GET", address, token=self.token, expect=None)[0]
                if status != 200:
                    broken.append(f"GET {path} with a token: {status}")
        if broken or not requests:
            raise Broken(f"not as the OpenAPI document declares: {', '.join(broken) or 'it names no operation'}")
        return f"{len(requests)} operations of /openapi.json", {"operations": len(requests)}

    def _declared(self) -> Evidence:
        """Whether what is behind the paths of the document knows them; where the edge passes a path elsewhere, the backend is asked."""
        requests = self._requests()
        if not requests:
            raise Absent("the OpenAPI document names no operation")
        gone = []
        for method, path, address in requests[:MOST]:
            status = self.application.fetch("backend", address, "OPTIONS")[0]
            if status == 404 or status >= 500:
                gone.append(f"{method.upper()} {path}: {status}")
        if gone:
            raise Broken(f"not as the OpenAPI document declares: {', '.join(gone)}")
        routed = sum(self.application.server(address) == "backend" for _, _, address in requests)
        return f"{len(requests[:MOST])} of {len(requests)} operations exist; the edge passes {routed} to the backend", {
            "operations": len(requests)
        }

    def guarded(self) -> Evidence:
        document = self.application.document()
        held, open_paths = self.check.held("api"), set(self.options["public_paths"])
        secured = [
            (method, path, filled(path))
            for method, path, operation in operations(document)
            if (path not in open_paths if held else method == "get" and demands_token(document, operation))
        ]
        if not secured:
            raise Absent("no operation that reads declares security in the OpenAPI document")
        unsafe = []
        for method, path, address in secured[:MOST]:
            if held:
                status = self.web(method.upper(), address, {} if method in ("post", "put", "patch") else None, expect=None)[0]
            else:
                status = self.application.fetch("backend", address)[0]
            if status not in (401, 403):
                unsafe.append(f"{method.upper()} {path}: {status}")
        if unsafe:
            raise Broken(f"answered without a token: {', '.join(unsafe)}")
        return f"{len(secured[:MOST])} operations refuse who has no token"

    def crud(self) -> Evidence:
        _, _, task = self.web("POST", "/api/tasks", {"title": "acceptance: created"}, self.token, expect=201)
        path = f"/api/tasks/{task['id']}"
        read = self.web("GET", path, token=self.token)[2]
        if read["title"] != "acceptance: created":
            raise Broken(f"GET {path} returned another title: {read['title']!r}")
        changed = self.web("PATCH", path, {"title": "acceptance: changed", "completed": True}, self.token)[2]
        again = self.web("GET", path, token=self.token)[2]
        if not (changed["completed"] and again["completed"] and again["title"] == "acceptance: changed"):
            raise Broken(f"PATCH {path} was not kept: {again}")
        self.web("DELETE", path, token=self.token, expect=204)
        self.web("GET", path, token=self.token, expect=404)
        return "201, 200, 200, 204, and 404 after it"

    def validation(self) -> Evidence:
        return self._broken_json() if self.application.lacks("tasks") else self._wrong_tasks()

    def _broken_json(self) -> Evidence:
        """Bodies that are no JSON, to operations that require it: nothing can come of them."""
        document = self.application.document()
        targets = [(method, filled(path), path) for method, path, operation in operations(document) if takes_json(operation)]
        targets = [target for target in targets if self.application.server(target[1]) == "backend"]
        if not targets:
            raise Absent("the edge passes no operation that requires JSON to the backend")
        statuses = {}
        for method, address, path in targets[:MOST]:
            statuses[f"{method.upper()} {path}"] = self.web(method.upper(), address, b'{"title": ', expect=None)[0]
        if wrong := [f"{name}: {status}" for name, status in statuses.items() if not 400 <= status < 500]:
            raise Broken(f"broken JSON was not refused: {', '.join(wrong)}")
        return f"broken JSON is refused by {len(statuses)} operations ({', '.join(map(str, sorted(set(statuses.values()))))})"

    def _wrong_tasks(self) -> Evidence:
        cases: list[tuple[str, Any, tuple[int, ...]]] = [
            ("an empty title", {"title": ""}, (400, 422)),
            ("no title", {}, (400, 422)),
            ("a title that is a number", {"title": 7}, (400, 422)),
            ("a title of 100,000 letters", {"title": "x" * 100_000}, (400, 413, 422)),
            ("broken JSON", b'{"title": ', (400, 422)),
            # Caddy 2.6 responds with 502 where the limit is met while it passes the body on.
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
