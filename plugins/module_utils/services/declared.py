"""What an operator declares in stack_services and stack_jobs: its validation, and the containers, secrets and connections that follow.

A service is one of three kinds: `package` (a server from Debian's packages), `image` (any image), both reconciled with the infrastructure;
and, with neither, a `command` of the backend's image, which belongs to the release. Keys are those of the Compose specification where it
has them. Pure functions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ..docker.ownership import DECLARED
from ..docker.spec import SpecError, size
from ..settings.environment import ValueRefused, secret_names, texts
from . import scheduler
from .scheduler import InvalidSchedule, Schedule

Entries = Mapping[str, dict[str, Any]]

SCHEDULER = "scheduler"
# Names of the stack's own services, networks and volumes.
RESERVED = ("backend", "frontend", "database", "edge", "model", "network", "base", "registry", "compose", "app", "data", "egress")
NAME = re.compile(r"[a-z][a-z0-9-]{0,19}")
LIMITS = {"mem_limit", "cpus", "pids_limit"}
COMMON = LIMITS | {"environment", "networks", "expose", "healthcheck", "tmpfs", "stop_grace_period", "shm_size", "init", "command"}
KEYS = {
    "release": COMMON | {"secrets", "health_path"},
    "package": COMMON | {"package", "volumes"},
    "image": COMMON | {"image", "entrypoint", "user", "volumes", "secrets"},
    SCHEDULER: LIMITS | {"environment", "networks", "tmpfs"},
}
JOB_KEYS = {"schedule", "command", "timeout", "environment", "make_up"}
HEALTH_KEYS = {"test", "interval", "timeout", "retries", "start_period", "start_interval", "disable"}
TIMEOUT = 3600
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")
SLOT = re.compile(r"{(\w+)(?::\w+)?}")


@dataclass(frozen=True)
class Package:
    """A server from Debian's packages: files/PACKAGE builds its image (role services)."""

    release: str
    port: int
    uid: int
    data: str
    scheme: str


PACKAGES = {
    "redis": Package("bookworm", 6379, 71, "/data", "redis"),
    "valkey": Package("trixie", 6379, 71, "/data", "redis"),
}


class Refused(ValueError):
    """A declaration that cannot be what it is; a line for each."""


def kind(entry: Mapping[str, Any]) -> str:
    return "package" if entry.get("package") else "image" if entry.get("image") else "release"


def is_own(entry: Mapping[str, Any]) -> bool:
    """Whether a service is not of the release's image, and so reconciled with the infrastructure."""
    return kind(entry) != "release"


def duration(value: Any) -> float:
    """Seconds of `90`, `1m30s`, `1h`."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    match = DURATION.fullmatch(str(value).strip())
    if str(value).strip().isdigit():
        return float(value)
    if not match or not any(match.groups()):
        raise ValueError(f"{value!r} is no duration: write seconds, or 1h30m, 90s")
    hours, minutes, seconds = match.groups()
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + float(seconds or 0)


# validation -----------------------------------------------------------------------------------------------------------


def problems(services: Any, jobs: Any, given: Mapping[str, Any]) -> list[str]:
    """A line for each thing that is wrong with the declarations.

    `given`: networks (their short names), secrets (names of secrets and of the backend's files), environment_secrets (names that may be in
    an environment), timezone and engine.
    """
    wrong = [
        f"{name} must be a mapping of names, is {type(value).__name__}: {name}: {{NAME: {{...}}}}"
        for name, value in (("stack_services", services), ("stack_jobs", jobs))
        if not isinstance(value, Mapping)
    ]
    if wrong:
        return wrong
    servers = [name for name, entry in services.items() if isinstance(entry, dict) and entry.get("package") in PACKAGES]
    given = {**given, "secrets": [*given["secrets"], *map(url_name, servers), *map(password_name, servers)]}
    for name, entry in services.items():
        where = f"stack_services.{name}"
        wrong += [f"{where}{text}" for text in _of_service(name, entry, bool(jobs), given)]
    for name, job in jobs.items():
        wrong += [f"stack_jobs.{name}{text}" for text in _of_job(name, job, given)]
    try:
        ZoneInfo(str(given["timezone"]))
    except (ValueError, OSError, KeyError):
        wrong.append(f"stack_jobs_timezone: {given['timezone']!r} is no time zone: write one as Europe/Berlin, or UTC")
    if jobs and given["engine"] == "swarm":
        wrong.append(
            "stack_jobs: a Swarm does not run jobs: it moves a service to other nodes, which do not share the record of its runs. "
            "Remove stack_jobs, or use stack_engine: hosts"
        )
    volumes = [volume.partition(":")[0] for entry in services.values() if isinstance(entry, dict) for volume in _volumes(entry)]
    wrong += [f"stack_services: two services have the volume {each}" for each in sorted({v for v in volumes if volumes.count(v) > 1})]
    return wrong


def _volumes(entry: Mapping[str, Any]) -> list[str]:
    found = entry.get("volumes")
    return [str(one) for one in found] if isinstance(found, list) else []


def _of_service(name: str, entry: Any, jobs: bool, given: Mapping[str, Any]) -> Iterator[str]:
    if not NAME.fullmatch(str(name)) or name in RESERVED:
        yield f": no name of a service: up to 20 lower-case letters, digits and hyphens, and none of {', '.join(RESERVED)}"
        return
    if not isinstance(entry, dict):
        yield f": must be a mapping, is {type(entry).__name__}"
        return
    what = SCHEDULER if jobs and name == SCHEDULER else kind(entry)
    if unknown := sorted(set(entry) - KEYS[what]):
        of = {"release": "a command of the backend's image", SCHEDULER: "the scheduler of stack_jobs"}.get(what, f"a service with {what}")
        yield f": {of} has no key {', '.join(unknown)}; keys: {', '.join(sorted(KEYS[what]))}"
    if what == "release" and not _words(entry.get("command")):
        yield ".command: a list, the program and its arguments (or set package, or image)"
    elif "command" in entry and not _words(entry["command"]):
        yield ".command: must be a list of words"
    if what == "package" and entry["package"] not in PACKAGES:
        yield f".package: {entry['package']!r} is none of {', '.join(PACKAGES)}; for others set image"
    if what == "image":
        yield from _of_image(entry)
    yield from _of_keys(entry, given)


def _of_image(entry: Mapping[str, Any]) -> Iterator[str]:
    reference = str(entry["image"])
    tag = reference.rpartition("/")[2].partition("@")[0].partition(":")[2]
    if "@" not in reference and tag in ("", "latest"):
        yield f".image: {reference} names no version: add a tag (not latest) or a digest, NAME@sha256:..."
    user = str(entry.get("user", ""))
    if not re.fullmatch(r"[1-9]\d*(:\d+)?", user):
        yield (
            ".user: the user and group that it runs as, as numbers and not 0, for example '999:999' "
            f"(docker run --rm --entrypoint id {reference} shows the image's)"
        )


def _of_keys(entry: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """What all kinds of services have alike."""
    for key in ("mem_limit", "shm_size"):
        try:
            size(entry.get(key))
        except SpecError as error:
            yield f".{key}: {error}"
    for key in ("cpus", "pids_limit"):
        if key in entry and not re.fullmatch(r"\d+(\.\d+)?", str(entry[key])):
            yield f".{key}: {entry[key]!r} is no number"
    try:
        duration(entry.get("stop_grace_period", 0))
    except ValueError as error:
        yield f".stop_grace_period: {error}"
    yield from _of_environment(entry, given)
    networks = entry.get("networks", [])
    if not isinstance(networks, (list, dict)) or (unknown := sorted(set(networks) - set(given["networks"]))):
        names = f"{', '.join(unknown)}: " if isinstance(networks, (list, dict)) else ""
        yield f".networks: {names}networks are {', '.join(given['networks'])}"
    ports = entry.get("expose", [])
    if not isinstance(ports, list) or not all(re.fullmatch(r"\d{1,5}", str(port)) and 0 < int(port) < 65536 for port in ports):
        yield f".expose: {ports!r} is no list of ports"
    if entry.get("health_path") and not (str(entry["health_path"]).startswith("/") and ports):
        yield ".health_path: a path that begins with /, of the first port in expose"
    for volume in _volumes(entry):
        if not re.fullmatch(r"[a-z][a-z0-9-]*:/[^:]+(:ro)?", volume) or volume.partition(":")[0] in RESERVED:
            yield f".volumes: {volume}: NAME:/PATH, a volume of the stack (none of the host's directories, and not {', '.join(RESERVED)})"
    for secret in entry.get("secrets") or []:
        if secret not in given["secrets"]:
            yield f".secrets: there is no secret {secret}: declare it in secrets_extra_schema, for example {{{secret}: {{generate: 32}}}}"
    yield from _of_health(entry.get("healthcheck") or {})


def _of_health(check: Any) -> Iterator[str]:
    if not isinstance(check, dict) or set(check) - HEALTH_KEYS:
        yield f".healthcheck: keys are {', '.join(sorted(HEALTH_KEYS))}"
        return
    test = check.get("test")
    if test is not None and not (isinstance(test, list) and test and test[0] in ("CMD", "CMD-SHELL", "NONE")):
        yield ".healthcheck.test: must be a list that begins with CMD (CMD-SHELL needs a shell in the image), or [NONE]"
    for key in ("interval", "timeout", "start_period", "start_interval"):
        try:
            duration(check.get(key, 0))
        except ValueError as error:
            yield f".healthcheck.{key}: {error}"


def _of_environment(entry: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    variables = entry.get("environment") or {}
    if not isinstance(variables, dict):
        yield ".environment: must be a mapping, NAME: value"
        return
    try:
        texts(variables, "")
    except ValueRefused as error:
        yield from (f".environment{line}" for line in str(error).splitlines())
    shown = [name for name in secret_names(variables) if name not in given["environment_secrets"]]
    if shown:
        yield (
            f".environment: {', '.join(shown)} shows in docker inspect: give a secret as a file (secrets), or by "
            "backend_image_secrets_environment; or name it in container_environment_secrets"
        )


def _of_job(name: str, job: Any, given: Mapping[str, Any]) -> Iterator[str]:
    if not NAME.fullmatch(str(name)):
        yield ": no name of a job: up to 20 lower-case letters, digits and hyphens"
    if not isinstance(job, dict) or set(job) - JOB_KEYS:
        yield f": a mapping with {', '.join(sorted(JOB_KEYS))}"
        return
    try:
        Schedule(str(job.get("schedule", "")))
    except InvalidSchedule as error:
        yield f".schedule: {error}"
    if not _words(job.get("command")):
        yield ".command: a list, the program and its arguments"
    try:
        if duration(job.get("timeout", TIMEOUT)) <= 0:
            yield ".timeout: must be more than 0 seconds"
    except ValueError as error:
        yield f".timeout: {error}"
    if not isinstance(job.get("make_up", True), bool):
        yield ".make_up: must be true or false"
    yield from _of_environment(job, given)


def _words(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(word, (str, int, float)) for word in value)


# containers -----------------------------------------------------------------------------------------------------------


def _networks(
    name: str, entry: Mapping[str, Any], networks: Mapping[str, str], backend: Iterable[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """Its networks, in which it has its own name, or the aliases that are declared. `backend`: those of the backend, for its commands; with
    `egress` they have whatever else leads the backend outside.
    """
    chosen = entry.get("networks") or (["app", "data", "egress"] if backend is not None else ["data"])
    aliases = {networks[short]: (chosen[short] or {}).get("aliases") if isinstance(chosen, dict) else None for short in chosen}
    joined: list[dict[str, Any]] = [{"name": full, "aliases": given or [name]} for full, given in aliases.items()]
    own = {network["name"] for network in joined} | set(networks.values())
    if backend is not None and not entry.get("networks"):
        present = {network["name"] for network in backend}
        joined = [network for network in joined if network["name"] in present]
    if "egress" in chosen:
        joined += [{key: each[key] for key in each if key != "aliases"} for each in backend or [] if each["name"] not in own]
    return joined


def _healthcheck(check: Mapping[str, Any]) -> dict[str, Any]:
    if check.get("disable"):
        return {"test": ["NONE"]}
    return {key: value if key in ("test", "retries") else duration(value) for key, value in check.items() if key != "disable"}


def _limits(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What is of the container as it is declared."""
    given = {key: entry[key] for key in (*LIMITS, "shm_size", "init", "tmpfs") if key in entry}
    if "stop_grace_period" in entry:
        given["stop_grace_period"] = round(duration(entry["stop_grace_period"]))
    return given


def release_services(services: Entries, backend: Mapping[str, Any], networks: Mapping[str, str]) -> list[dict[str, Any]]:
    """The services of the release's image. They are as the backend is (`backend`, its description) where they declare nothing else."""
    return [
        _of_release(name, entry, backend, networks) for name, entry in services.items() if kind(entry) == "release" and entry.get("command")
    ]


def _of_release(name: str, entry: Mapping[str, Any], backend: Mapping[str, Any], networks: Mapping[str, str]) -> dict[str, Any]:
    ports, path = [int(port) for port in entry.get("expose") or []], entry.get("health_path")
    serves = ({"PORT": str(ports[0])} if ports else {}) | ({"HEALTH_PATH": path} if path else {})
    made = dict(backend) | {
        "name": _renamed(backend, name),
        "service": name,
        "entrypoint": [str(word) for word in entry["command"]],
        "command": [],
        "environment": backend["environment"] | serves | (entry.get("environment") or {}),
        "networks": _networks(name, entry, networks, backend["networks"]),
        **({"expose": ports} if ports else {}),
        **_limits(entry),
    }
    if "secrets" in entry:
        made["secrets"] = str(Path(backend["secrets"]).with_name(name))
    check = _healthcheck(entry.get("healthcheck") or {})
    # The image's own check requests the backend's port and path.
    return made | {"healthcheck": check if "test" in check or path else check | {"test": ["NONE"]}}


def _renamed(backend: Mapping[str, Any], name: str) -> str:
    return str(backend["name"]).replace(f"-{backend['service']}-", f"-{name}-", 1)


def scheduler_service(
    jobs: Entries, services: Entries, backend: Mapping[str, Any], networks: Mapping[str, str], zone: str, directory: str
) -> list[dict[str, Any]]:
    """The service that runs the jobs, in a list; empty without jobs. `directory`: where the host keeps their record."""
    if not jobs:
        return []
    entry = services.get(SCHEDULER) or {}
    whole: dict[str, dict[str, Any]] = {
        name: {
            "schedule": str(job["schedule"]),
            "command": [str(word) for word in job["command"]],
            "timeout": duration(job.get("timeout", TIMEOUT)),
            "environment": texts(job.get("environment") or {}, f"stack_jobs.{name}.environment"),
            "make_up": bool(job.get("make_up", True)),
        }
        for name, job in jobs.items()
    }
    configuration = {"release": backend["release"], "timezone": str(zone), "jobs": whole}
    alive = f"import os, time; raise SystemExit(time.time() - os.stat({scheduler.ALIVE!r}).st_mtime > 30)"
    longest = max(job["timeout"] for job in whole.values())
    made = _of_release(
        SCHEDULER,
        entry | {"command": ["python3", "-IS", "-c", Path(scheduler.__file__).read_text(), json.dumps(configuration)]},
        backend,
        networks,
    )
    where = scheduler.DIRECTORY
    return [
        made
        | {
            "mounts": [
                {"type": "bind", "source": f"{directory}/release", "target": f"{where}/release", "read_only": True},
                {"type": "bind", "source": f"{directory}/runs", "target": f"{where}/runs"},
            ],
            "stop_grace_period": round(longest) + scheduler.KILL_AFTER + 10,
            "healthcheck": {"test": ["CMD", "python3", "-IS", "-c", alive], "interval": 30},
        }
    ]


def infrastructure_services(services: Entries, stack: str, networks: Mapping[str, str], given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The services of other images. `given`: contents (hashes of images, by service) and secrets (the directory of the generation)."""
    made = []
    for name, entry in services.items():
        if not is_own(entry):
            continue
        package = PACKAGES.get(entry.get("package", ""))
        ports = [int(port) for port in entry.get("expose") or ([package.port] if package else [])]
        user = f"{package.uid}:{package.uid}" if package else str(entry["user"])
        mounts = [_mount(volume, stack) for volume in _own_volumes(name, entry)]
        command = [str(word) for word in entry.get("command") or []]
        limits: dict[str, Any] = {"mem_limit": "256m", "cpus": 0.5, "pids_limit": 64, "stop_grace_period": 30} | _limits(entry)
        if package:
            # A quarter is left for what it does in the background; a full server refuses writes instead of being killed.
            command = ["--maxmemory", str(size(limits["mem_limit"]) * 3 // 4), *command]
        made.append(
            {
                "name": f"{stack}-{name}",
                "service": name,
                "repository": f"{stack}-{name}",
                "tag": str(given["contents"].get(name, ""))[:12],
                "networks": _networks(name, entry, networks),
                "environment": entry.get("environment") or {},
                "mounts": mounts,
                "labels": {DECLARED: kind(entry)},
                "user": user if ":" in user else f"{user}:{user}",
                "expose": ports,
                "healthcheck": _healthcheck(entry.get("healthcheck") or {}),
                **limits,
                **({"command": command} if command else {}),
                **({"entrypoint": [str(word) for word in entry["entrypoint"]]} if entry.get("entrypoint") else {}),
                **({"secrets": f"{given['secrets']}/{name}"} if package or entry.get("secrets") else {}),
            }
        )
    return made


def _own_volumes(name: str, entry: Mapping[str, Any]) -> list[str]:
    package = PACKAGES.get(entry.get("package", ""))
    return _volumes(entry) or ([f"{name}:{package.data}"] if package and "volumes" not in entry else [])


def _mount(volume: str, stack: str) -> dict[str, Any]:
    name, target, *mode = volume.split(":")
    return {"type": "volume", "source": f"{stack}-{name}", "target": target} | ({"read_only": True} if mode else {})


def volumes(services: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The volumes that the infrastructure's `services` mount."""
    return [
        {"name": mount["source"], "labels": {"berth.service": service["service"], "berth.version": "any"}}
        for service in services
        for mount in service["mounts"]
    ]


# images ---------------------------------------------------------------------------------------------------------------


def debian_releases(services: Entries) -> list[str]:
    """The Debian releases that base images are needed of."""
    return sorted({PACKAGES[entry["package"]].release for entry in services.values() if entry.get("package") in PACKAGES})


def builds(services: Mapping[str, dict[str, Any]], stack: str, contents: Mapping[str, str], revision: str) -> list[dict[str, Any]]:
    """The images to build, from their recipes."""
    return [
        recipe
        | {
            "service": name,
            "repository": f"{stack}-{name}",
            "tag": str(contents.get(name, ""))[:12],
            "revision": revision,
            "content": contents.get(name, ""),
        }
        for name, recipe in services.items()
    ]


def recipes(services: Entries, bases: Mapping[str, Mapping[str, str]], files: str) -> dict[str, dict[str, Any]]:
    """How the image of each service is built, by its name. `files`: the directory of the Dockerfiles; `bases`: the base images."""
    made: dict[str, dict[str, Any]] = {}
    for name, entry in services.items():
        if package := PACKAGES.get(entry.get("package", "")):
            base = bases.get(package.release) or {}
            where, args = f"{files}/server", {"BASE_IMAGE": base.get("reference", ""), "SERVER": entry["package"]}
            made[name] = {"source": where, "dockerfile": f"{where}/Dockerfile", "base": base.get("layers_id", ""), "args": args}
        elif is_own(entry):
            where = f"{files}/image"
            made[name] = {"source": where, "dockerfile": f"{where}/Dockerfile", "base": "", "args": {"IMAGE": str(entry["image"])}}
    return made


# secrets --------------------------------------------------------------------------------------------------------------


def password_name(service: str) -> str:
    """The secret with the password of a server from a package."""
    return f"{service.replace('-', '_')}_password"


def url_name(service: str) -> str:
    """The file of the backend with the URL of a server from a package."""
    return f"{service.replace('-', '_')}_url"


def with_passwords(schema: Mapping[str, Any], services: Entries) -> dict[str, Any]:
    """The schema of secrets with the passwords of servers from packages: earlier ones stay valid, for rollbacks."""
    own = {
        password_name(name): {"services": [name, "backend"], "generate": 32, "versions": 12, "form": "[A-Za-z0-9]+"}
        for name, entry in services.items()
        if entry.get("package") in PACKAGES
    }
    return dict(schema) | {name: spec | (schema.get(name) or {}) for name, spec in own.items()}


def with_files(files: Mapping[str, Any], services: Entries) -> dict[str, Any]:
    """{service: its uid and files} with those of declared services; the backend gets the URL of each server from a package."""
    made = dict(files)
    backend = dict(made["backend"])
    for name, entry in services.items():
        if package := PACKAGES.get(entry.get("package", "")):
            secret = password_name(name)
            made[name] = {"uid": package.uid, "files": {"password": f"{{{secret}:all}}"}}
            url = {url_name(name): f"{package.scheme}://:{{{secret}:url}}@{name}:{package.port}/0"}
            backend = backend | {"files": url | dict(backend["files"])}
    made["backend"] = backend
    for name, entry in services.items():
        if names := entry.get("secrets"):
            # A release's process may have what the backend has, in the backend's form.
            known = backend["files"] if kind(entry) == "release" else {}
            uid = backend["uid"] if kind(entry) == "release" else int(str(entry["user"]).partition(":")[0])
            made[name] = {"uid": uid, "files": {secret: known.get(secret, f"{{{secret}}}") for secret in names}}
        elif "secrets" in entry:
            made[name] = {"uid": backend["uid"], "files": {}}
    return made


def with_users(schema: Mapping[str, Any], services: Entries, files: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of secrets, in which each names the declared services whose files have it."""
    made = {name: dict(spec or {}) for name, spec in schema.items()}
    for service, entry in services.items():
        if entry.get("secrets"):
            for secret in {name for template in files[service]["files"].values() for name in SLOT.findall(template)} & set(made):
                made[secret]["services"] = [*(made[secret].get("services") or []), service]
    return made


# connections ----------------------------------------------------------------------------------------------------------


def with_services(policy: Mapping[str, Any], services: Entries, jobs: Entries, given: Mapping[str, Any]) -> dict[str, Any]:
    """The network policy with declared services: who shares a network with one that has a port reaches it.

    `given`: own (the networks of the stack's own services, by service), networks (their full names, by short ones) and ways_out (networks
    with internet access).
    """
    joined = {service: {network["name"] for network in networks} for service, networks in given["own"].items() if service in policy}
    listening, new = list(joined), {}
    for name, entry in {**services, **({SCHEDULER: services.get(SCHEDULER) or {}} if jobs else {})}.items():
        backend = None if is_own(entry) else given["own"]["backend"]
        new[name] = {network["name"] for network in _networks(name, entry, given["networks"], backend)}
        if entry.get("expose") or entry.get("package"):
            listening.append(name)
    joined |= new
    out = set(given["ways_out"])
    made = {service: dict(row) for service, row in policy.items()}
    for service, networks in joined.items():
        reached = [other for other in listening if other != service and joined[other] & networks]
        if service in new:
            made[service] = {"needs": [], "neighbours": reached, "internet": bool(networks & out)}
        else:
            made[service]["neighbours"] = [*made[service]["neighbours"], *(other for other in reached if other in new)]
    return made
