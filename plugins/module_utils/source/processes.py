"""The processes that a source's own files for other tools start: a Dockerfile, a Procfile, a compose file."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .checks import TESTS, Tree, line_of

SERVER = re.compile(r"\b(?:uvicorn|gunicorn|hypercorn|granian|daphne)\b[^\n]*?[\s\"'=]([A-Za-z_][\w.]*):([A-Za-z_]\w*)(\(\))?")
FASTAPI = re.compile(r"\bfastapi[\s\"',]+run[\s\"',]+(?:--\S+[\s\"',]+)*([\w./-]+\.py)")
PORT = re.compile(r"--(?:port|bind)[\s\"',=]+(?:[\w.*]*:)?(\d{2,5})\b")
COMPOSE = re.compile(r"^(docker-)?compose(\.[\w-]+)?\.ya?ml$")
# What compose files have for development alone.
DEVELOPMENT = re.compile(r"dev|override|test|local")


# Images of servers that an application may need beside its database.
SERVERS = re.compile(r"^(?:[\w.-]+/)*(redis|valkey)(-stack-server|-stack)?(?=[:@]|$)")
# Programs that take work from a queue, as what Python runs them by.
WORKERS = {"celery": "celery", "arq": "arq", "dramatiq": "dramatiq", "taskiq": "taskiq", "rq": "rq.cli"}


@dataclass
class Process:
    """One process. `app` is module:attribute of an ASGI server, empty for another; `own`: of the same source as the backend; `image`: that
    which a compose file names, `elsewhere` its command there, and `context` the directory of the source that it builds."""

    name: str
    where: str
    app: str = ""
    port: int = 0
    factory: bool = False
    command: list[str] = field(default_factory=list)
    own: bool = False
    image: str = ""
    elsewhere: list[str] = field(default_factory=list)
    context: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    web: bool = False


def declared_processes(tree: Tree, beside: Path | None = None) -> list[Process]:
    """All of a source; those of the compose file of the directory `beside` at the end."""
    found: list[Process] = []
    for path in sorted(tree.written, key=lambda one: (one.count("/"), one)):
        name = posixpath.basename(path)
        if TESTS.search(path) or re.search(r"(^|/)\.(?!github)", path):
            continue
        text = re.sub(r"\\\n", "  ", tree.text(path) or "") if re.match(r"Dockerfile|Procfile|.*compose", name) else ""
        if name == "Procfile":
            found += _procfile(path, text)
        elif re.match(r"Dockerfile(\.\w+)?$", name) and not DEVELOPMENT.search(name):
            found += [one for one in _lines(path, text) if one.app]
        elif COMPOSE.match(name) and not DEVELOPMENT.search(name):
            found += _compose(path, tree.text(path) or "", tree.root, (tree.root / path).parent)
    if beside is not None and beside != tree.root:
        for file in sorted(beside.glob("*compose*.y*ml")):
            if COMPOSE.match(file.name) and not DEVELOPMENT.search(file.name) and file.is_file() and file.stat().st_size < 200_000:
                found += _compose(
                    f"../{file.name}" if tree.root.parent == beside else str(file), file.read_text(errors="replace"), tree.root, beside
                )
    return found


def claimed(found: list[Process], folder: str) -> list[Process]:
    """The processes of the backend, whose code is in `folder` of the source, and servers: a compose file may build a part of the source,
    and a service may use the image that another one builds."""
    for one in found:
        one.own |= bool(one.context) and f"{folder}/".startswith(f"{one.context}/")
    built = {one.image for one in found if one.own and one.image}
    for one in found:
        if one.elsewhere and (one.own or (one.image in built and not one.context)):
            one.own, one.command = True, one.elsewhere
    return [one for one in found if one.own or one.app or SERVERS.match(one.image)]


def started(text: str, where: str, name: str = "") -> Process:
    """The process of one command line."""
    process = Process(name, where)
    if match := SERVER.search(f" {text}"):
        process.app, process.factory = f"{match[1]}:{match[2]}", "--factory" in text or bool(match[3])
    elif match := FASTAPI.search(text):
        process.app = f"{match[1].removeprefix('./').removesuffix('.py').replace('/', '.')}:app"
    if match := PORT.search(text):
        process.port = int(match[1])
    return process


def _lines(path: str, text: str) -> Iterator[Process]:
    for match in re.finditer(r"^\s*(?:CMD|ENTRYPOINT)\s+(.*)$", text, re.M):
        yield started(match[1], f"{path}:{line_of(text, match.start(1))}", "web")


def _procfile(path: str, text: str) -> Iterator[Process]:
    for match in re.finditer(r"^(\w[\w-]*):\s*(.+)$", text, re.M):
        process = started(match[2], f"{path}:{line_of(text, match.start())}", match[1])
        process.own, process.web = True, match[1] == "web"
        process.command = _words(match[2])
        if match[1] not in ("release",):
            yield process


def _words(command: Any) -> list[str]:
    if isinstance(command, list):
        return [str(one) for one in command]
    try:
        return shlex.split(str(command))
    except ValueError:
        return str(command).split()


def _compose(path: str, text: str, source: Path, folder: Path) -> Iterator[Process]:
    try:
        import yaml
    except ImportError:  # a builder elsewhere may lack it
        return
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        return
    services = document.get("services") if isinstance(document, dict) else None
    for name, service in services.items() if isinstance(services, dict) else ():
        if not isinstance(service, dict):
            continue
        build = service.get("build")
        context = build.get("context", ".") if isinstance(build, dict) else build
        built = (folder / context).resolve() if isinstance(context, str) else None
        own, inside = built == source, built is not None and source in built.parents
        at = re.search(rf"^\s+{re.escape(str(name))}:", text, re.M)
        where = f"{path}:{line_of(text, at.end()) if at else 1}"
        command = service.get("command") or service.get("entrypoint") or ""
        words = _words(command) if command else []
        process = started(" ".join(words), where, str(name)) if words else Process(str(name), where)
        process.own, process.command = own, words if own else []
        process.image, process.elsewhere = str(service.get("image") or ""), [] if own or (build and not inside) else words
        process.context = built.relative_to(source).as_posix() if built and inside else ""
        process.environment = _variables(service.get("environment"))
        if own or inside or not build:
            yield process


def as_module(command: list[str]) -> list[str]:
    """The command of a worker or scheduler as a container of the backend's image runs it."""
    words = [one for one in command if one not in ("uv", "run", "poetry", "exec", "python", "python3", "-m")]
    if not words or words[0] not in WORKERS:
        return command
    if words[0] == "celery" and "beat" in words and not any(re.match(r"-s|--schedule", one) for one in words):
        words += ["--schedule", "/tmp/celerybeat-schedule"]  # all else is read-only
    return ["python3", "-m", WORKERS[words[0]], *words[1:]]


def is_worker(command: list[str]) -> bool:
    words = as_module(command)[2:]
    return bool(words) and words[0] in WORKERS.values() and (words[0] in ("arq", "dramatiq") or "worker" in words)


def _variables(given: Any) -> dict[str, str]:
    if isinstance(given, dict):
        return {str(name): "" if value is None else str(value) for name, value in given.items()}
    return dict(str(one).partition("=")[::2] for one in given) if isinstance(given, list) else {}
