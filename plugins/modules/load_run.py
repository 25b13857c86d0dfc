#!/usr/bin/python
"""Put load on an application with k6, run commands in the middle of it, and record every response and lost write."""

from __future__ import annotations

DOCUMENTATION = r"""
module: load_run
short_description: Put load on an application with k6, and run verbs in the middle of it
description:
  - Load goes to loopback addresses only. Every acknowledged write is searched for in the end; the run's user and tasks are removed.
options:
  url: {description: Where the application is reached., type: str, required: true}
  ca: {description: "Certificate (PEM) of the authority to trust; empty for the public ones.", type: str, default: ""}
  connect: {description: "Address to connect to instead of the URL's host.", type: str, default: ""}
  k6: {description: Path of k6., type: path, required: true}
  script: {description: Path of the load script., type: path, required: true}
  seconds: {description: How long., type: int, default: 600}
  rate: {description: Requests a second., type: int, default: 40}
  chat: {description: Whether the application has a chat., type: bool, default: true}
  commands:
    description: "Commands to run in the middle: C(name), C(at) in seconds, C(command) as a list, C(environment)."
    type: list
    elements: dict
    default: []
  directory: {description: Working directory of the commands., type: path, required: true}
  to: {description: "File (JSON) for what was seen, as load_figures wants it.", type: path, required: true}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Run a load test
  berth.stack.load_run: {url: "https://localhost:8443", k6: .venv-load/bin/k6, script: load.js, directory: ., to: load.json}
"""

RETURN = r"""
requests: {description: How many were sent., type: int, returned: always}
acknowledged: {description: Writes that were answered with 201., type: int, returned: always}
lost: {description: Titles of acknowledged writes that are not there., type: list, elements: str, returned: always}
commands: {description: "C(name), C(time), C(ok), C(seconds) of the commands.", type: list, elements: dict, returned: always}
"""

import csv
import ipaddress
import json
import os
import re
import secrets
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.verify.app_client import Broken, Browser


def loopback(host: str) -> bool:
    """Whether a name leads to this machine only."""
    return all(ipaddress.ip_address(info[4][0]).is_loopback for info in socket.getaddrinfo(host, None))


def probe(options: dict[str, Any], results: list[tuple[float, bool]], stop: threading.Event) -> None:
    """Ask ten times a second whether the application is ready, each time by a new connection."""
    web = Browser(options["url"], options["ca"], options["connect"], 3)
    while not stop.is_set():
        started = time.time()
        try:
            good = web("GET", "/health/ready", expect=None)[0] == 200
        except Broken:
            good = False
        results.append((round(started, 3), good))
        time.sleep(max(0.0, started + 0.1 - time.time()))


def perform(commands: list[dict[str, Any]], started: float, directory: str, results: list[dict[str, Any]]) -> None:
    """Run the commands at their times, one after another."""
    for command in sorted(commands, key=lambda command: float(command["at"])):
        time.sleep(max(0.0, started + float(command["at"]) - time.time()))
        started_at = time.time()
        environment = {**os.environ, **{k: str(v) for k, v in (command.get("environment") or {}).items()}}
        ended = subprocess.run(command["command"], cwd=directory, env=environment, capture_output=True, text=True, check=False)
        entry = {"name": command["name"], "time": started_at, "ok": ended.returncode == 0, "seconds": round(time.time() - started_at, 1)}
        results.append(entry | ({} if entry["ok"] else {"output": (ended.stdout + ended.stderr)[-1500:]}))


def kept(options: dict[str, Any], nonce: str, acknowledged: set[str]) -> list[str]:
    """Titles that were acknowledged and are not there; the run's user is removed."""
    web = Browser(options["url"], options["ca"], options["connect"], 30)
    password = f"load-{nonce}-password"
    web("POST", "/api/auth/sign-in/email", {"email": f"load-{nonce}@example.com", "password": password})
    token = web("GET", "/api/auth/token")[2]["token"]
    existing: dict[str, str] = {}
    offset = 0
    while items := web("GET", f"/api/tasks?limit=100&offset={offset}", token=token)[2]["items"]:
        existing |= {item["title"]: item["id"] for item in items}
        offset += len(items)
    # The service keeps tasks of users that are gone: the run takes its own away.
    for identity in existing.values():
        web("DELETE", f"/api/tasks/{identity}", token=token, expect=None)
    web("POST", "/api/auth/delete-user", {"password": password}, expect=None)
    return sorted(acknowledged - set(existing))


def load(options: dict[str, Any]) -> dict[str, Any]:
    nonce = secrets.token_hex(4)
    probes: list[tuple[float, bool]] = []
    commands: list[dict[str, Any]] = []
    stop = threading.Event()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        environment = {**os.environ, "K6_NO_USAGE_REPORT": "true"}
        if options["ca"]:
            (place / "ca.pem").write_text(options["ca"])
            environment["SSL_CERT_FILE"] = str(place / "ca.pem")
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
            environment.pop(name, None)
        settings = {
            "URL": options["url"],
            "DURATION": options["seconds"],
            "RATE": options["rate"],
            "CHAT": int(options["chat"]),
            "NONCE": nonce,
        }
        command = [
            options["k6"],
            "run",
            "--quiet",
            "--no-color",
            "--out",
            f"csv={place / 'out.csv'}",
            "--log-output",
            f"file={place / 'log'}",
        ]
        command += [word for key, value in settings.items() for word in ("--env", f"{key}={value}")]
        started = time.time()
        threads = [
            threading.Thread(target=probe, args=(options, probes, stop)),
            threading.Thread(target=perform, args=(options["commands"], started, options["directory"], commands)),
        ]
        for thread in threads:
            thread.start()
        ended = subprocess.run([*command, options["script"]], env=environment, capture_output=True, text=True, check=False)
        seconds = time.time() - started
        threads[1].join()
        time.sleep(2)
        stop.set()
        threads[0].join()
        if not (place / "out.csv").is_file():
            raise RuntimeError(f"k6 ended with {ended.returncode}: {(ended.stderr + ended.stdout)[-800:]}")
        requests = []
        with open(place / "out.csv", newline="") as file:
            for row in csv.DictReader(file):
                if row["metric_name"] == "http_req_duration":
                    kind = re.search(r"kind=(\w+)", row.get("extra_tags", ""))
                    status = int(row["status"] or 0)
                    requests.append(
                        {
                            "time": float(row["timestamp"]),
                            "ms": float(row["metric_value"]),
                            "status": status,
                            "kind": kind[1] if kind else "sign-up",
                        }
                    )
        acknowledged = set(re.findall(r"ack (load [0-9a-f]+ \d+-\d+)", (place / "log").read_text()))
    if not requests:
        raise RuntimeError(f"k6 sent nothing: {(ended.stderr + ended.stdout)[-800:]}")
    return {
        "started": started,
        "seconds": round(seconds, 1),
        "requests": requests,
        "probes": probes,
        "acknowledged": len(acknowledged),
        "lost": kept(options, nonce, acknowledged),
        "commands": commands,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "ca": {"type": "str", "default": ""},
            "connect": {"type": "str", "default": ""},
            "k6": {"type": "path", "required": True},
            "script": {"type": "path", "required": True},
            "seconds": {"type": "int", "default": 600},
            "rate": {"type": "int", "default": 40},
            "chat": {"type": "bool", "default": True},
            "commands": {"type": "list", "elements": "dict", "default": []},
            "directory": {"type": "path", "required": True},
            "to": {"type": "path", "required": True},
        }
    )
    options = module.params
    host = options["connect"] or urlsplit(options["url"]).hostname or ""
    if not loopback(host):
        module.fail_json(msg=f"{host} is not this machine: make stress sends its load to loopback addresses only")
    try:
        run = load(options)
    except (RuntimeError, Broken, OSError, KeyError) as error:
        module.fail_json(msg=str(error))
    Path(options["to"]).parent.mkdir(parents=True, exist_ok=True)
    Path(options["to"]).write_text(json.dumps(run))
    module.exit_json(
        changed=True, requests=len(run["requests"]), acknowledged=run["acknowledged"], lost=run["lost"], commands=run["commands"]
    )


if __name__ == "__main__":
    main()
