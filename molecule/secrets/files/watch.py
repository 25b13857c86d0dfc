"""Use the application as one user, who signs up once, until a file exists; then write a report of failures: watch.py URL CA STOP OUT."""

from __future__ import annotations

import http.cookiejar
import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

URL, CA, STOP, OUT = sys.argv[1:]
opener = urllib.request.build_opener(
    urllib.request.ProxyHandler({}),
    urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=CA)),
    urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
)
report: dict[str, Any] = {"requests": 0, "failures": [], "tasks": 0, "found": 0, "chats": 0}


def ask(method: str, path: str, body: Any = None, token: str = "") -> Any:
    """The decoded response; None, and a recorded failure, if it is not a 2xx."""
    headers = {"Origin": URL, "Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    report["requests"] += 1
    try:
        with opener.open(urllib.request.Request(URL + path, data, headers, method=method), timeout=30) as response:
            return json.loads(response.read() or b"null")
    except urllib.error.HTTPError as error:
        output = f"{error.code} {error.read()[:200].decode(errors='replace')}"
    except OSError as error:
        output = str(error)
    report["failures"].append(f"{time.strftime('%H:%M:%S')} {method} {path}: {output}")
    return None


ask("POST", "/api/auth/sign-up/email", {"name": "Watch", "email": f"watch-{time.time()}@example.com", "password": f"watch-{time.time()}"})
while not Path(STOP).exists():
    token = (ask("GET", "/api/auth/token") or {}).get("token", "")
    report["tasks"] += ask("POST", "/api/tasks", {"title": f"task {report['tasks']}"}, token) is not None
    ask("GET", "/health/ready")
    report["chats"] += ask("POST", "/api/chat", {"message": "list my tasks"}, token) is not None
    time.sleep(0.2)
token = (ask("GET", "/api/auth/token") or {}).get("token", "")
offset = 0
while page := ask("GET", f"/api/tasks?limit=100&offset={offset}", token=token):
    found = page["items"] if isinstance(page, dict) else page
    report["found"] += len(found)
    offset += len(found)
    if len(found) < 100:
        break
Path(OUT).write_text(json.dumps(report))
