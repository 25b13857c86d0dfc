"""Search a host for secrets of a stack outside of their files: search_host.py STACK; prints a JSON list of the places.

Looked at: what the engine says of containers, images, networks and volumes, images' histories and layers, logs, the arguments and
the environment of every process, and every file that any user of the host can read.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

STACK = sys.argv[1]
SKIPPED = ("/proc", "/sys", "/dev", "/var/lib/docker", "/var/lib/containerd")


def secrets() -> dict[bytes, str]:
    """{value: name} of all generations, as they are and as they stand in a URL."""
    found: dict[bytes, str] = {}
    for path in Path(f"/var/lib/{STACK}/secrets").glob("*/record.json"):
        record = json.loads(path.read_text())
        for name, value in record["values"].items():
            for each in [value, *record["history"][name]["previous"]]:
                found |= {each.encode(): name, quote(each, safe="").encode(): name}
    return found


SECRETS = secrets()
PATTERN = re.compile(b"|".join(re.escape(value) for value in SECRETS))
found: set[str] = set()


def search(place: str, text: bytes) -> None:
    found.update(f"{place}: {SECRETS[match]}" for match in set(PATTERN.findall(text)))


def docker(*arguments: str) -> bytes:
    done = subprocess.run(["docker", *arguments], capture_output=True, check=True)
    return done.stdout + done.stderr


def stream(place: str, *arguments: str) -> None:
    """Look through an output that is too large to keep."""
    with subprocess.Popen(["docker", *arguments], stdout=subprocess.PIPE) as process:
        tail = b""
        while block := process.stdout.read(1 << 22):
            search(place, tail + block)
            tail = block[-256:]
    assert process.returncode == 0, arguments


def readable_by_all(top: str) -> Iterator[Path]:
    """Files that any user can read: nothing above them keeps others out."""
    for folder, folders, files in os.walk(top):
        folders[:] = [
            name
            for name in folders
            if (path := os.path.join(folder, name)) not in SKIPPED and not os.path.islink(path) and os.stat(path).st_mode & stat.S_IXOTH
        ]
        for name in files:
            path = Path(folder, name)
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IROTH and status.st_size < 50_000_000:
                yield path


label = f"label=berth.stack={STACK}"
containers = docker("ps", "--all", "--quiet", "--filter", label).decode().split()
images = sorted(set(docker("images", "--quiet", "--no-trunc", "--filter", label).decode().split()))
assert containers and images
search("docker inspect", docker("inspect", *containers, *images))
for kind in ("network", "volume"):
    names = docker(kind, "ls", "--quiet", "--filter", label).decode().split()
    search(f"docker {kind} inspect", docker(kind, "inspect", *names))
for image in images:
    search("docker history", docker("history", "--no-trunc", image))
stream("docker save", "save", *images)
for container in containers:
    search("docker logs", docker("logs", container))
    search("docker diff", docker("diff", container))
for process in Path("/proc").glob("[0-9]*"):
    for what in ("cmdline", "environ"):
        try:
            search(f"{what} of {(process / 'comm').read_text().strip()}", (process / what).read_bytes())
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
files = 0
for path in readable_by_all("/"):
    files += 1
    search(f"file {path}", path.read_bytes())
assert files > 1000, "the host's files were not looked at"
print(json.dumps(sorted(found)))
