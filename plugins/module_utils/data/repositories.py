"""Where backups go that leave the host (backup_repositories): validation, pgBackRest's configuration, and what containers need for it.

A repository: `type` (volume: of the stack; directory: of the host, for example a mounted one of another machine; s3), and
directory: `path`; s3: `endpoint`, `bucket`, `region`, `port`, `path`, `path_style`, `ca_file`, `credentials` (the secrets NAME_key and
NAME_key_secret). Pure functions.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..docker.ownership import DECLARED
from .repository import LAUNCHER, PROGRAM

KEYS = {
    "volume": set[str](),
    "directory": {"path"},
    "s3": {"endpoint", "bucket", "region", "port", "path", "path_style", "ca_file", "credentials"},
}
REQUIRED = {"volume": set[str](), "directory": {"path"}, "s3": {"endpoint", "bucket", "region"}}
SCHEDULES = ("full", "differential", "check")
# In containers.
STORE, RECOVERY, RECORDS, CONFIGURATION = "/var/lib/pgbackrest", "/var/lib/postgresql/recovery", "/run/jobs", "pgbackrest.conf"
DATA = "/var/lib/postgresql/data"
# What pgBackRest, and Debian's Python for its timer, add to the database's image.
PACKAGES = "pgbackrest python3"
PASSPHRASE = "backup_passphrase"  # the secret's name
HOST = re.compile(r"(?=.{1,253}$)(?=.*[a-z])[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.I)


def problems(repositories: Any, engine: str) -> list[str]:
    """A line for each thing that is wrong with backup_repositories."""
    if not isinstance(repositories, list):
        return [f"backup_repositories must be a list, is {type(repositories).__name__}: [{{type: volume}}]"]
    wrong = [f"backup_repositories[{number}]{text}" for number, one in enumerate(repositories) for text in _of(one)]
    if [one.get("type") for one in repositories if isinstance(one, dict)].count("volume") > 1:
        wrong.append("backup_repositories: a stack has one volume for backups; remove the second one of type volume")
    if repositories and engine == "swarm":
        wrong.append("backup_repositories: not supported on a Swarm: use stack_engine: hosts, or the dumps of make backup")
    return wrong


def _of(one: Any) -> Iterator[str]:
    kind = one.get("type") if isinstance(one, dict) else None
    if kind not in KEYS:
        yield f".type: {kind!r} is none of {', '.join(KEYS)}; for example {{type: s3, endpoint: s3.example.com, bucket: b, region: r}}"
        return
    if unknown := sorted(set(one) - KEYS[kind] - {"type"}):
        yield f": {kind} has no key {', '.join(unknown)}; keys: {', '.join(sorted(KEYS[kind])) or 'none'}"
    if missing := sorted(key for key in REQUIRED[kind] if not one.get(key)):
        yield f": {kind} requires {', '.join(missing)}"
        return
    for key, value in one.items():
        if re.search(r"[\s{}]", str(value)):
            yield f".{key}: {value!r} has a space or a brace"
    if kind != "s3":
        if kind == "directory" and not re.fullmatch(r"/[^/].*", str(one["path"])):
            yield f".path: {one['path']!r} is no directory of the host: an absolute path"
        return
    if not HOST.fullmatch(str(one["endpoint"])):
        yield f".endpoint: {one['endpoint']!r} is no name of a host, without https:// and port (port: 9000 is a key of its own)"
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", str(one["bucket"])):
        yield f".bucket: {one['bucket']!r} is no name of a bucket"
    if not re.fullmatch(r"\d{1,5}", str(one.get("port", 443))) or not 0 < int(one.get("port", 443)) < 65536:
        yield f".port: {one['port']!r} is no port"
    if not str(one.get("path", "/")).startswith("/"):
        yield f".path: {one['path']!r} must begin with /"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", str(one.get("credentials", "backup_s3"))):
        yield f".credentials: {one['credentials']!r}: lower-case letters, digits and _"


def _style(one: Mapping[str, Any]) -> bool:
    return str(one.get("path_style", False)).lower() in ("true", "yes", "on", "1")


def _host(one: Mapping[str, Any]) -> str:
    """The host that requests of a repository go to."""
    return str(one["endpoint"]) if _style(one) else f"{one['bucket']}.{one['endpoint']}"


def _in_s3(repositories: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in repositories if one["type"] == "s3"]


def egress(repositories: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The hosts that the database connects to, as stack_egress has them."""
    hosts = list(dict.fromkeys(f"{_host(one)}:{one.get('port', 443)}" for one in _in_s3(repositories)))
    return {"database": hosts} if hosts else {}


def secret_schema(repositories: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The secrets of the repositories: the passphrase, and the keys of S3."""
    if not repositories:
        return {}
    # The passphrase has a default, the controller's file: whatever else has it comes first.
    made: dict[str, dict[str, Any]] = {
        PASSPHRASE: {"services": ["backup"], "form": r"[^\s]+", "sources": ["environment", "sops", "command", "vault"]}
    }
    for one in _in_s3(repositories):
        for name in ("key", "key_secret"):
            made[f"{one.get('credentials', 'backup_s3')}_{name}"] = {"services": ["backup"], "minimum": 5, "form": r"[^\s]+"}
    return made


def files(repositories: list[dict[str, Any]], stack: str, settings: Mapping[str, Any], certificates: Mapping[str, str]) -> dict[str, str]:
    """Templates of the files in /run/secrets. `settings`: retention, wal_limit; `certificates`: content by ca_file."""
    if not repositories:
        return {}
    made = {CONFIGURATION: configuration(repositories, stack, settings)}
    for number, one in enumerate(repositories, 1):
        if one.get("ca_file"):
            made[f"repository-{number}.crt"] = certificates[one["ca_file"]]
    return made


def configuration(repositories: list[dict[str, Any]], stack: str, settings: Mapping[str, Any]) -> str:
    """pgBackRest's configuration, in which secrets are {name}."""
    retention = settings["retention"]
    lines = ["[global]"]
    for number, one in enumerate(repositories, 1):
        own: dict[str, Any] = {"path": f"{STORE}/{stack}"}
        if one["type"] == "directory":
            own = {"path": f"{STORE}-{number}/{stack}"}
        elif one["type"] == "s3":
            keys = one.get("credentials", "backup_s3")
            own = {
                "path": one.get("path", f"/{stack}"),
                "type": "s3",
                "s3-endpoint": one["endpoint"],
                "s3-bucket": one["bucket"],
                "s3-region": one["region"],
                "s3-key": f"{{{keys}_key}}",
                "s3-key-secret": f"{{{keys}_key_secret}}",
                "s3-uri-style": "path" if _style(one) else "host",
                "storage-port": one.get("port", 443),
            }
            own |= {"storage-ca-file": f"/run/secrets/repository-{number}.crt"} if one.get("ca_file") else {}
        own |= {"cipher-type": "aes-256-cbc", "cipher-pass": f"{{{PASSPHRASE}}}", "bundle": "y"}
        own |= {f"retention-{kind[:4] if kind == 'differential' else kind}": retention[kind] for kind in retention}
        lines += [f"repo{number}-{key}={value}" for key, value in own.items()]
    lines += [
        "compress-type=zst",
        "process-max=2",
        "start-fast=y",
        "archive-timeout=60",
        "log-level-console=info",
        "log-level-file=off",
        "lock-path=/tmp/pgbackrest",
        # For no other command: a restore beside empties the spool.
        "[global:archive-push]",
        "log-level-console=warn",
        "archive-async=y",
        f"spool-path={DATA}/spool",
        f"archive-push-queue-max={settings['wal_limit']}",
        "[global:archive-get]",
        "log-level-console=warn",
        f"[{stack}]",
        f"pg1-path={DATA}/pgdata",
        f"pg1-socket-path={DATA}",
    ]
    return "\n".join(lines) + "\n"


def _environment(stack: str) -> dict[str, str]:
    return {"PGBACKREST_CONFIG": f"/run/secrets/{CONFIGURATION}", "PGBACKREST_STANZA": stack}


def _mounts(repositories: list[dict[str, Any]], stack: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number, one in enumerate(repositories, 1):
        if one["type"] == "volume":
            found.append({"type": "volume", "source": f"{stack}-backups", "target": STORE})
        elif one["type"] == "directory":
            found.append({"type": "bind", "source": one["path"], "target": f"{STORE}-{number}"})
    return found


def volumes(repositories: list[dict[str, Any]], stack: str) -> list[dict[str, Any]]:
    """The volumes to create: of the repository, and of what is restored beside."""
    labels = {"labels": {"berth.service": "backup", "berth.version": "any"}}
    kept = [f"{stack}-backups"] if any(one["type"] == "volume" for one in repositories) else []
    return [{"name": name} | labels for name in [*kept, f"{stack}-recovery"]] if repositories else []


def with_repositories(service: dict[str, Any], repositories: list[dict[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """The database's service, archiving its WAL. `given`: stack, secrets (directory), endpoints (networks), archive_timeout."""
    if not repositories:
        return service
    settings = {
        "archive_mode": "on",
        "archive_command": "pgbackrest archive-push %p",
        "archive_timeout": given["archive_timeout"],
        # For the container of the backups, which mounts the volume.
        "unix_socket_directories": f"/run/postgresql,{DATA}",
    }
    own = {str(word).partition("=")[0] for word in service["command"]}
    return service | {
        "environment": (service.get("environment") or {}) | _environment(given["stack"]),
        "networks": [*service["networks"], *given["endpoints"]],
        "mounts": [*service["mounts"], *_mounts(repositories, given["stack"])],
        "secrets": given["secrets"],
        # pgBackRest archives in the background: as its parent the server would take its end for a crash of its own.
        "init": True,
        "command": [*service["command"], *(word for name in settings if name not in own for word in ("-c", f"{name}={settings[name]}"))],
    }


def schedule_jobs(schedule: Mapping[str, str], database: str, query: str) -> dict[str, dict[str, Any]]:
    """The jobs of the timer. An empty schedule has no job."""
    program = ["python3", "-IS", "-c", LAUNCHER]
    commands = {
        "full": [*program, "backup", "full", "schedule"],
        "differential": [*program, "backup", "diff", "schedule"],
        "check": [*program, "check", database, query],
    }
    return {
        f"backup-{name}": {"schedule": schedule[name], "command": commands[name], "timeout": 86400, "environment": {}, "make_up": True}
        for name in SCHEDULES
        if schedule.get(name)
    }


def timer(service: dict[str, Any], repositories: list[dict[str, Any]], given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The service that makes and checks backups and restores them beside, in a list; empty without repositories.

    `service` is the database's; `given`: stack, secrets, endpoints, directory (of its records, on the host), memory, entrypoint (of the
    scheduler of jobs), healthcheck and program (the text of repository.py).
    """
    if not repositories:
        return []
    stack = given["stack"]
    data = next(mount["source"] for mount in service["mounts"] if mount["target"] == DATA)
    return [
        {
            "name": f"{stack}-backup",
            "service": "backup",
            "repository": service["repository"],
            "tag": service["tag"],
            "entrypoint": given["entrypoint"],
            "command": [],
            "environment": _environment(stack) | {PROGRAM: given["program"]},
            "networks": given["endpoints"],
            "secrets": given["secrets"],
            "mounts": [
                {"type": "volume", "source": data, "target": DATA, "read_only": True},
                {"type": "volume", "source": f"{stack}-recovery", "target": RECOVERY},
                *_mounts(repositories, stack),
                {"type": "bind", "source": f"{given['directory']}/release", "target": f"{RECORDS}/release", "read_only": True},
                {"type": "bind", "source": f"{given['directory']}/runs", "target": f"{RECORDS}/runs"},
            ],
            "labels": {DECLARED: "backup"},
            "user": service["user"],
            "healthcheck": given["healthcheck"],
            "mem_limit": given["memory"],
            "cpus": 1.0,
            "pids_limit": 100,
            # A backup that is interrupted is made up, and continues with what it has.
            "stop_grace_period": 10,
        }
    ]


def with_policy(policy: Mapping[str, Any], repositories: list[dict[str, Any]]) -> dict[str, Any]:
    """The network policy with the container of the backups: it reaches what the database's relay leads to, and no service."""
    made = dict(policy)
    if repositories:
        made["backup"] = {"needs": ["egress-database"] if egress(repositories) else [], "neighbours": [], "internet": False}
    return made
