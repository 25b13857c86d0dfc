"""A client of the Docker Engine API, so that one module run can read and change a whole stack.

It needs only the standard library. Paths and bodies are those of the Engine API, https://docs.docker.com/reference/api/engine/ ; the
lowest version is 1.44 (Docker 25), which `start_interval` needs.

The engine is the one of DOCKER_HOST, else of the local socket. Docker contexts are not supported: every play sets
DOCKER_CONTEXT=default, so that the docker CLI of the same run uses the same engine.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

API_VERSION = "1.44"
DEFAULT_HOST = "unix:///var/run/docker.sock"


class EngineError(Exception):
    """An error of the engine: HTTP `status` (0: it cannot be reached) and its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Engine:
    """A Docker Engine at a `unix://` or `tcp://` address (TLS by DOCKER_CERT_PATH, as the docker CLI does)."""

    def __init__(self, host: str | None = None, timeout: float = 60) -> None:
        self.host = host or os.environ.get("DOCKER_HOST") or DEFAULT_HOST
        self.timeout = timeout

    def _connection(self, timeout: float | None = None) -> http.client.HTTPConnection:
        url = urlsplit(self.host)
        hostname, timeout = url.hostname or "", timeout or self.timeout
        if url.scheme == "unix":
            return _UnixConnection(url.path, timeout)
        if url.scheme != "tcp":
            raise EngineError(
                0,
                f"DOCKER_HOST is {self.host!r}; supported are unix:// and tcp://. For another host: "
                "unset DOCKER_HOST, and add the host to an inventory (docs/hosts.md)",
            )
        if os.environ.get("DOCKER_TLS_VERIFY"):
            certificates = os.environ.get("DOCKER_CERT_PATH", os.path.expanduser("~/.docker"))
            context = ssl.create_default_context(cafile=os.path.join(certificates, "ca.pem"))
            context.load_cert_chain(os.path.join(certificates, "cert.pem"), os.path.join(certificates, "key.pem"))
            return http.client.HTTPSConnection(hostname, url.port or 2376, timeout=timeout, context=context)
        return http.client.HTTPConnection(hostname, url.port or 2375, timeout=timeout)

    def _open(self, method: str, path: str, query: dict[str, Any] | None, body: Any, timeout: float | None) -> http.client.HTTPResponse:
        encoded = {
            key: value if isinstance(value, tuple) else json.dumps(value) if isinstance(value, (dict, list)) else str(value)
            for key, value in (query or {}).items()
            if value is not None
        }
        # A tuple is a repeated parameter.
        target = f"/v{API_VERSION}{quote(path)}" + (f"?{urlencode(encoded, doseq=True)}" if encoded else "")
        connection = self._connection(timeout)
        try:
            if body is None:
                connection.request(method, target)
            else:
                connection.request(method, target, json.dumps(body), {"Content-Type": "application/json"})
            return connection.getresponse()
        except OSError as error:
            raise EngineError(0, f"no Docker Engine responds at {self.host}: {error}") from error

    def call(self, method: str, path: str, query: dict[str, Any] | None = None, body: Any = None, timeout: float | None = None) -> Any:
        """Send one request; return the decoded JSON response, or its raw bytes where it is not JSON."""
        response = self._open(method, path, query, body, timeout)
        payload = response.read()
        if response.status >= 400:
            try:
                message = json.loads(payload)["message"]
            except (ValueError, KeyError, TypeError):
                message = payload.decode(errors="replace") or response.reason
            raise EngineError(response.status, message)
        if response.headers.get_content_type() == "application/json" and payload:
            return json.loads(payload)
        return payload

    def stream(self, path: str, query: dict[str, Any] | None = None, timeout: float | None = None) -> http.client.HTTPResponse:
        """GET a large response, to be read in pieces."""
        response = self._open("GET", path, query, None, timeout or 300)
        if response.status >= 400:
            raise EngineError(response.status, response.read().decode(errors="replace"))
        return response

    def find(self, path: str) -> Any | None:
        """GET an object; None where it does not exist."""
        try:
            return self.call("GET", path)
        except EngineError as error:
            if error.status == 404:
                return None
            raise

    def listing(self, kind: str, labels: dict[str, str] | None = None, **query: Any) -> list[dict[str, Any]]:
        """List `containers`, `networks`, `volumes` or `images` that carry all of `labels`."""
        filters = {"label": [f"{key}={value}" for key, value in (labels or {}).items()]}
        path = f"/{kind}/json" if kind in ("containers", "images") else f"/{kind}"
        every = {"all": "true"} if kind == "containers" else {}
        response = self.call("GET", path, {**every, "filters": filters, **query})
        objects: list[dict[str, Any]] = (response["Volumes"] or []) if kind == "volumes" else response
        return objects

    def logs(self, container: str, lines: int = 20, kind: str = "containers", since: float = 0) -> str:
        """The last `lines` log lines of a container, or with `kind` tasks, of a Swarm task on any node, since a time in Unix seconds."""
        raw = self.call("GET", f"/{kind}/{container}/logs", {"stdout": 1, "stderr": 1, "tail": lines, "since": f"{since:.3f}"})
        return demultiplex(raw).rstrip()

    def last_exit(self, container: str, since: float) -> tuple[str, bool]:
        """(last exit code, whether it ran out of memory) of a container since a time in Unix seconds; an empty code where it did not exit.

        By the engine's events: the container's state loses both when it is started again.
        """
        filters = {"container": [container], "event": ["die", "oom"]}
        payload = self.stream("/events", {"since": f"{since:.3f}", "until": f"{time.time():.3f}", "filters": filters}).read()
        events = [json.loads(line) for line in payload.splitlines() if line.strip()]
        codes = [event["Actor"]["Attributes"].get("exitCode", "") for event in events if event["Action"] == "die"]
        return (codes[-1] if codes else ""), any(event["Action"] == "oom" for event in events)

    def archive(self, container: str, path: str, timeout: float | None = None) -> http.client.HTTPResponse:
        """A tar archive of a path in a container, to be read in pieces."""
        response = self._open("GET", f"/containers/{container}/archive", {"path": path}, None, timeout)
        if response.status >= 400:
            raise EngineError(response.status, response.read().decode(errors="replace"))
        return response

    def upload(self, container: str, directory: str, archive: Iterable[bytes], timeout: float | None = None) -> None:
        """Unpack a tar archive, given in pieces, into a directory of a container (where its root is read-only: of a volume)."""
        connection = self._connection(timeout)
        try:
            target = f"/v{API_VERSION}/containers/{quote(container)}/archive?{urlencode({'path': directory})}"
            connection.request("PUT", target, iter(archive), {"Content-Type": "application/x-tar"})
            response = connection.getresponse()
            if response.status >= 400:
                raise EngineError(response.status, response.read().decode(errors="replace"))
        except OSError as error:
            raise EngineError(0, f"no Docker Engine responds at {self.host}: {error}") from error
        finally:
            connection.close()

    def execute(
        self,
        container: str,
        command: list[str],
        user: str | None = None,
        timeout: float | None = None,
        environment: list[str] | None = None,
    ) -> tuple[int, str]:
        """Run a command in a running container, with additional environment (NAME=value); return its exit status and output."""
        body: dict[str, Any] = {"Cmd": command, "AttachStdout": True, "AttachStderr": True}
        if user:
            body["User"] = user
        if environment:
            body["Env"] = environment
        exec_id = self.call("POST", f"/containers/{container}/exec", body=body)["Id"]
        raw = self.call("POST", f"/exec/{exec_id}/start", body={"Detach": False, "Tty": False}, timeout=timeout)
        status = self.call("GET", f"/exec/{exec_id}/json")["ExitCode"]
        return status, demultiplex(raw)

    def statistics(self, container: str) -> dict[str, Any]:
        """The current resource usage of a running container."""
        stats: dict[str, Any] = self.call("GET", f"/containers/{container}/stats", {"stream": "false", "one-shot": "true"})
        return stats


def other_context(configuration: Path, chosen: str, address: str) -> tuple[str, str]:
    """(name, endpoint) of the docker context of the user's CLI, where its engine is not the one at `address`; else empty.

    `configuration` is the user's directory (~/.docker), `chosen` the user's DOCKER_CONTEXT.
    """
    try:
        name = chosen or json.loads((configuration / "config.json").read_text()).get("currentContext") or "default"
        meta = configuration / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
        endpoint = DEFAULT_HOST if name == "default" else json.loads(meta.read_text())["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "", ""  # invalid for the CLI too
    same = endpoint.replace("///run/", "///var/run/") == address.replace("///run/", "///var/run/")
    return ("", "") if same else (name, endpoint)


def demultiplex(raw: bytes) -> str:
    """The text of the engine's multiplexed output stream: frames of an 8 byte header and a payload."""
    parts, position = [], 0
    while position + 8 <= len(raw):
        size = struct.unpack(">I", raw[position + 4 : position + 8])[0]
        parts.append(raw[position + 8 : position + 8 + size])
        position += 8 + size
    return b"".join(parts).decode(errors="replace")


def memory_used(stats: dict[str, Any]) -> int:
    """Bytes in use by a container's statistics, as `docker stats` counts them: without the inactive file cache."""
    memory = stats.get("memory_stats") or {}
    details = memory.get("stats") or {}
    return max(0, int(memory.get("usage", 0)) - int(details.get("total_inactive_file", details.get("inactive_file", 0))))


def wait_until(condition: Any, seconds: float, interval: float = 0.1) -> Any:
    """Call `condition` until its result is true or `seconds` have passed; return the last result."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result or time.monotonic() > deadline:
            return result
        time.sleep(interval)


def image_names(image: dict[str, Any], keep: set[str]) -> list[str]:
    """The names of an image except those to `keep`; unless one is kept, also the digests by which it was pulled."""
    tags = image.get("RepoTags") or []
    if set(tags) & keep:
        return [tag for tag in tags if tag not in keep]
    named = {tag.rpartition(":")[0] for tag in tags}
    return [digest for digest in image.get("RepoDigests") or [] if digest.partition("@")[0] not in named] + tags
