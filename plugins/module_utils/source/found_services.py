"""What runs beside a backend: servers that it needs, workers and further applications of its source, by its files for other tools."""

from __future__ import annotations

import json
import posixpath
import re
from typing import Any

from . import variables
from .fastapi import HEALTHY
from .found import Found, Part
from .processes import SERVERS, Process, as_module, is_worker
from .python_dependencies import Declared
from .python_entry import Entry, fits
from .python_modules import Application
from .python_routes import Routes

# Distributions that talk to Redis or Valkey, or may.
REDIS_CLIENTS = (
    "redis",
    "valkey",
    "celery",
    "arq",
    "rq",
    "dramatiq",
    "taskiq-redis",
    "aioredis",
    "fastapi-limiter",
    "hiredis",
    "redis-om",
    "aiocache",
)


def _serve(part: Part, services: dict[str, Any], where: str, why: str) -> None:
    """Note services beside the backend, with those that were found before."""
    found = part.found.get("stack_services") or Found("stack_services", {}, "likely")
    if services.keys() - found.value.keys():
        found.where = ", ".join(dict.fromkeys(filter(None, [found.where, where])))
        found.why, found.value = found.why or why, services | found.value
        part.found["stack_services"] = found


def queue(part: Part, commands: list[Process], installed: Declared, reads: dict[str, variables.Read]) -> set[str]:
    """Redis, where the source has its client and a compose file starts it or a variable names it; returns the variables that it answers."""
    client = next((name for name in REDIS_CLIENTS if name in installed.names), "")
    image = next((one for one in commands if SERVERS.match(one.image)), None)
    extra = any(one.endswith("[redis]") for one in installed.extras)
    whole: dict[str, variables.Read] = {}
    for name, read in reads.items():
        says = re.search(r"REDIS|VALKEY", name) or extra or "redis" in installed.names
        its = re.match(r"(rediss?|valkeys?)://", read.default) if read.default else says and (image or read.required)
        if variables.REDIS.match(name) and its:
            whole[name] = read
    parts = {name: match[1] for name in reads if (match := variables.REDIS_PART.match(name))}
    if not client or not (whole or any(one.startswith("PASS") for one in parts.values())):
        if client and image and parts:
            missing = f"{image.where} starts {image.image}, and the source reads no password for it, which Redis has here"
            part.notes.append(f"{missing}: read REDIS_PASSWORD or REDIS_URL (docs/deployment.md)")
        return set()
    name, first = "redis", reads[next(iter([*whole, *parts]))]
    _serve(part, {name: {"package": "redis"}}, image.where if image else first.where, f"{client} needs it")
    for variable in whole:
        _add(part, "secrets_environment", {variable: f"{name}_url"}, reads[variable].where)
    for variable, what in parts.items():
        if what.startswith("PASS"):
            _add(part, "secrets_environment", {variable: f"{name}_password"}, reads[variable].where)
            _add(part, "secrets_files", {f"{name}_password": f"{{{name}_password}}"}, reads[variable].where)
        else:
            _add(part, "environment", {variable: "6379" if what == "PORT" else name}, reads[variable].where)
    return {*whole, *parts}


def _add(part: Part, setting: str, values: dict[str, Any], where: str) -> None:
    """Note further entries of a mapping."""
    found = part.found.get(f"{part.role}_{setting}")
    values = (found.value if found else {}) | values
    if found:
        part.add(setting, values, found.certainty, found.where, found.why)
    else:
        part.add(setting, values, "likely", where, "variables that the source reads")


def processes(part: Part, commands: list[Process], entries: list[Entry], application: Application, routes: Routes) -> None:
    entry, services, named = entries[0], dict[str, dict[str, Any]](), set[str]()
    for one in commands:
        if (one.app and fits(entry, one.app)) or not one.own or not one.command or re.fullmatch(r"release|web", one.name):
            continue
        name = re.sub(r"[^a-z0-9-]+", "-", one.name.lower())[:20].strip("-")
        if any(
            "uvicorn.run(" in (application.tree.text(posixpath.join(entry.folder, word)) or "")
            for word in one.command
            if word.endswith(".py")
        ):
            continue  # a program that starts the application
        other = next((each for each in entries if one.app and fits(each, one.app)), None)
        if other and one.port and re.fullmatch(r"[a-z][a-z0-9-]{0,19}", one.name):
            # It is reached by its name, which is that of the compose file's.
            command = ["python3", "-m", "uvicorn", one.app, "--port", str(one.port), *(["--factory"] if one.factory else [])]
            healthy = [route.path for route in routes.of(other.path, other.name) if route.get and HEALTHY.match(route.path)]
            services[one.name] = {"command": command, "expose": [one.port], "health_path": min(healthy, key=len) if healthy else "/docs"}
            why = "processes of the same source that answer requests"
            _serve(part, services, one.where, why)
        elif one.app and not other:
            part.notes.append(f"{one.where} starts {one.app}, which is not in the source")
        elif is_worker(one.command):
            _serve(part, {name: {"command": as_module(one.command)}}, one.where, "processes of the same source that take work from a queue")
        elif name not in named:  # once of several compose files
            named.add(name)
            part.notes.append(
                f"a further process of the backend does not run by itself: {one.name} ({one.where}); to run it, set "
                f"stack_services: {{{name}: {{command: {json.dumps(as_module(one.command))}}}}} (docs/deployment.md)"
            )
    own = next((one for one in commands if one.own and one.app and fits(entry, one.app) and one.environment), None)
    own = own or next((one for one in commands if one.own and not one.command and one.environment), None)
    names = "|".join(services)
    for name, value in own.environment.items() if own else ():
        if names and re.match(rf"\w+://({names})[:/]", value):
            found = part.found.get("backend_image_environment")
            part.add(
                "environment",
                (dict(found.value) if found else {}) | {name: value},
                "certain",
                own.where if own else "",
                "addresses of its processes",
            )
            part.todo = [line for line in part.todo if f".{name}:" not in line]
    started = {one.app for one in commands}
    for other in entries[1:4]:
        if other.path != entry.path and other.app not in started and not any(fits(other, str(app)) for app in started if app):
            part.notes.append(
                f"another application in the backend's source: {other.app} ({other.where}); as a process of its own: stack_services"
            )
