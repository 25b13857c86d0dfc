"""A user's browser, as far as the end-to-end check needs one: requests to one origin, cookies, certificates always verified."""

from __future__ import annotations

import http.client
import http.cookiejar
import json
import ssl
import time
import urllib.error
import urllib.request
from functools import partial
from typing import Any


class Broken(Exception):
    """A step failed; the message has what came instead."""


class Absent(Exception):
    """The application has no such part; the message has the reason."""


class _Connection(http.client.HTTPSConnection):
    """HTTPS to another address than the name resolves to; the certificate must still be the name's."""

    def __init__(self, host: str, port: int | None = None, *, address: str, context: ssl.SSLContext, timeout: float | None = None) -> None:
        super().__init__(host, port, context=context, timeout=timeout)
        self.address, self.tls = address, context

    def connect(self) -> None:
        name, self.host = self.host, self.address or self.host
        http.client.HTTPConnection.connect(self)
        self.host = name
        self.sock = self.tls.wrap_socket(self.sock, server_hostname=name)


class Browser:
    """Requests to one origin, with cookies as a browser keeps them."""

    def __init__(self, url: str, ca: str, connect: str, timeout: int) -> None:
        self.url, self.timeout = url, timeout
        context = self.context = ssl.create_default_context(cadata=ca) if ca else ssl.create_default_context()
        connection = self._connection = partial(_Connection, address=connect, context=context)

        class Handler(urllib.request.HTTPSHandler):
            def https_open(self, request: urllib.request.Request) -> Any:
                return self.do_open(connection, request)

        class Redirects(urllib.request.HTTPRedirectHandler):
            """Redirects within the origin are followed; one to another site is the answer."""

            def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> urllib.request.Request | None:
                same = newurl == url or newurl.startswith((f"{url}/", f"{url}?"))
                return super().redirect_request(req, fp, code, msg, headers, newurl) if same else None

        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), Handler(), Redirects(), urllib.request.HTTPCookieProcessor(self.cookies)
        )

    def connection(self, host: str, port: int) -> http.client.HTTPSConnection:
        """A connection that stays open, for many requests one after another."""
        return self._connection(host, port, timeout=self.timeout)

    def __call__(
        self, method: str, path: str, body: Any = None, token: str = "", expect: int | None = 200, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], Any]:
        """(status, headers, decoded body); Broken when the status is not the expected one. A body of bytes is sent as it is."""
        headers = {"Origin": self.url, "Accept": "application/json, text/html;q=0.9, */*;q=0.5", **(headers or {})}
        if body is not None:
            headers.setdefault("Content-Type", "application/json")
        if token:
            headers["Authorization"] = f"Bearer {token}"
        payload = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, payload, headers, method=method)
        for last in (False, False, True):
            try:
                with self.opener.open(request, timeout=self.timeout) as response:
                    status, answered, raw = response.status, dict(response.headers), response.read()
            except urllib.error.HTTPError as error:
                status, answered, raw = error.code, dict(error.headers), error.read()
            except (OSError, http.client.HTTPException) as error:
                raise Broken(f"{method} {path}: {getattr(error, 'reason', error)}") from error
            if status != 429 or last or not path.startswith("/api/auth/"):
                break
            # Sign-ins are counted by the minute, those of an earlier verification too: the limit is right, and is waited for.
            wait = next((value for name, value in answered.items() if name.lower() in ("retry-after", "x-retry-after")), "10")
            time.sleep(min(60.0, float(wait) if wait.isdigit() else 10.0) + 0.5)
        if expect is not None and status != expect:
            raise Broken(f"{method} {path} answered {status}, not {expect}: {raw[:400].decode(errors='replace')}")
        try:
            return status, answered, json.loads(raw) if raw else None
        except ValueError:
            return status, answered, raw.decode(errors="replace")
