"""What an application is: which parts it has, by what was declared and by asking the one that runs.

A part that is required counts as there: where it is not, the steps about it fail. A part that was declared absent, or that the application
does not show, has a reason, and the steps about it are not applicable.
"""

from __future__ import annotations

import fnmatch
import http.client
import json
from collections.abc import Iterable
from typing import Any

from ..docker.client import Engine
from .app_client import Absent, Broken, Browser

PARTS = ("agents", "api", "auth", "budgets", "chat", "controls", "database", "logs", "mcp", "ready", "tasks", "version")
DOCUMENTS = ("/openapi.json", "/api/openapi.json", "/api/v1/openapi.json")
METHODS = ("get", "post", "put", "patch", "delete")
NOBODY = "00000000-0000-4000-8000-000000000000"
# What the steps about these parts ask for, by path: the methods of its operations.
CONTRACTS = {
    "tasks": {"/api/tasks": ("get", "post"), "/api/tasks/{}": ("get", "patch", "delete")},
    "chat": {
        "/api/chat": ("post",),
        "/api/chat/stream": ("post",),
        "/api/conversations": ("get",),
        "/api/conversations/{}": ("get", "delete"),
    },
}
# ... and properties of the response of the first of them.
PROPERTIES = {"tasks": {"items"}, "chat": {"conversation_id", "reply", "tool_calls"}}


def unnamed(path: str) -> str:
    """A path with its parameters' names left out."""
    return "".join(part if index == 0 else "{}" + part.partition("}")[2] for index, part in enumerate(path.split("{")))


def filled(path: str) -> str:
    """A path with an id that nothing has in place of its parameters."""
    return unnamed(path).replace("{}", NOBODY)


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) of an OpenAPI document."""
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS and isinstance(operation, dict)
    ]


def demands_token(document: dict[str, Any], operation: dict[str, Any]) -> bool:
    """Whether an operation declares that its clients must show who they are; an empty requirement leaves it to them."""
    declared = operation.get("security", document.get("security") or [])
    return bool(declared) and {} not in declared


def takes_json(operation: dict[str, Any]) -> bool:
    """Whether an operation requires a body of JSON."""
    body = operation.get("requestBody") or {}
    return bool(body.get("required")) and "application/json" in (body.get("content") or {})


def missing_of_contract(document: dict[str, Any], part: str) -> str:
    """Why the API of an OpenAPI document is not what the steps about `part` ask for; empty where it is."""
    paths = {unnamed(path): methods for path, methods in document["paths"].items()}
    for path, methods in CONTRACTS[part].items():
        for method in methods:
            if method not in paths.get(path, {}):
                return f"the API has no {method.upper()} {path}"
    path, (method, *_) = next(iter(CONTRACTS[part].items()))
    responses = paths[path][method].get("responses") or {}
    schema = (((responses.get("200") or responses.get("201") or {}).get("content") or {}).get("application/json") or {}).get("schema") or {}
    if lacking := PROPERTIES[part] - _properties(document, schema):
        return f"{method.upper()} {path} declares no {', '.join(sorted(lacking))} in its response"
    return ""


def _properties(document: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    """The properties of a schema, through references and combinations."""
    if reference := str(schema.get("$ref", "")).removeprefix("#/"):
        found: Any = document
        for part in reference.split("/"):
            found = found.get(part, {})
        return _properties(document, found)
    combined = [one for key in ("allOf", "anyOf", "oneOf") for one in schema.get(key) or []]
    return set(schema.get("properties") or {}).union(*(_properties(document, one) for one in combined))


class Application:
    """The application of a stack. `options` are the module's; parts are decided once, when they are first asked for."""

    def __init__(self, options: dict[str, Any], web: Browser, engine: Engine, containers: Iterable[dict[str, Any]]) -> None:
        self.options, self.web, self.engine = options, web, engine
        self.required: set[str] = set(options["required"]) - set(options["absent"])
        self.containers = list(containers)
        self._reasons: dict[str, str] = {}
        self._document: dict[str, Any] | None = None

    # what the edge does ---------------------------------------------------------------------------------------------------

    def server(self, path: str) -> str:
        """The service that the edge passes a path to: backend, frontend, or nothing for one that it hides."""
        for service, patterns in (("", "hidden_paths"), ("frontend", "frontend_paths"), ("backend", "backend_paths")):
            if any(fnmatch.fnmatchcase(path.lower(), pattern.lower()) for pattern in self.options[patterns]):
                return service
        return "frontend"

    def fetch(self, service: str, path: str, method: str = "GET") -> tuple[int, Any]:
        """(status, body) of a path of a service: through the edge where that passes it to the service, otherwise at its container."""
        if self.server(path) == service:
            status, _, body = self.web(method, path, expect=None)
            return status, body
        return self.fetch_directly(service, path, method)

    def fetch_directly(self, service: str, path: str, method: str = "GET") -> tuple[int, Any]:
        """(status, body) of a path, asked at the address of a container of the service."""
        listed = next((c for c in self.containers if c["Labels"].get("berth.service") == service and c["State"] == "running"), None)
        if listed is None:
            raise Broken(f"no container of the {service} runs")
        networks = ((listed.get("NetworkSettings") or {}).get("Networks") or {}).values()
        address = next((network["IPAddress"] for network in networks if network.get("IPAddress")), "")
        connection = http.client.HTTPConnection(address, self.options["ports"][service], timeout=self.options["timeout"])
        try:
            connection.request(method, path, headers={"Host": "localhost", "Accept": "application/json, */*;q=0.5"})
            response = connection.getresponse()
            text = response.read(8_000_000).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise Broken(f"{method} {path} at the {service}'s container: {error}") from error
        finally:
            connection.close()
        try:
            return response.status, json.loads(text) if text else None
        except ValueError:
            return response.status, text

    # what it has ----------------------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """Its OpenAPI document; Absent where it publishes none."""
        if self._document is None:
            self._document = {}
            for path in DOCUMENTS[: 1 if "api" in self.required else None]:
                try:
                    status, body = self.fetch("backend", path)
                except Broken:
                    continue
                if status == 200 and isinstance(body, dict) and isinstance(body.get("paths"), dict):
                    self._document = body
                    break
        if not self._document:
            raise Absent("the backend publishes no OpenAPI document")
        return self._document

    def lacks(self, part: str) -> str:
        """Why it does not have a part; empty where it has it, or must have it."""
        if part in self.options["absent"]:
            return str(self.options["absent"][part])
        if part in self.required:
            return ""
        if part not in self._reasons:
            try:
                self._reasons[part] = self._reason(part)
            except Absent as absent:
                self._reasons[part] = str(absent)
        return self._reasons[part]

    def _reason(self, part: str) -> str:
        if part == "api":
            self.document()
        if part in CONTRACTS:
            return missing_of_contract(self.document(), part)
        if part == "auth":
            return self._no_better_auth()
        if part == "mcp":
            return self._no_mcp()
        if part == "ready" and not self.options["ready"]:
            return "backend_image_ready_path is empty"
        if part == "ready" and self.fetch("backend", self.options["ready"])[0] == 404:
            return f"the backend has no {self.options['ready']}"
        return ""

    def _no_better_auth(self) -> str:
        """Better Auth answers /api/auth/ok; other libraries and pages do not, or not so."""
        status, _, body = self.web("GET", "/api/auth/ok", expect=None)
        if status >= 500 or (status == 200 and isinstance(body, dict) and body.get("ok") is True):
            return ""
        return f"no Better Auth answers at /api/auth (/api/auth/ok: {status})"

    def _no_mcp(self) -> str:
        path = self.options["mcp"]
        if not path:
            return "verify_mcp_path is empty"
        if self.server(path) != "backend":
            return f"the edge passes no {path} to the backend (edge_backend_paths)"
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        accept = {"Accept": "application/json, text/event-stream"}
        status, headers, _ = self.web("POST", path, body, expect=None, headers=accept)
        if status in (307, 308) and not path.endswith("/"):  # a mounted application has a slash at its end
            path = self.options["mcp"] = f"{path}/"
            status, headers, _ = self.web("POST", path, body, expect=None, headers=accept)
        kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
        return f"no MCP server answers at {path} ({status})" if status in (404, 405) or "text/html" in kind else ""

    def absent(self) -> dict[str, str]:
        """The parts that it does not have, each with the reason, of those that were asked for."""
        return dict(self.options["absent"]) | {part: reason for part, reason in self._reasons.items() if reason}
