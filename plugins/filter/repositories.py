"""Backups in repositories (backup_repositories): validation, files, containers and connections that follow."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.data import repositories, repository
from ..module_utils.data.dumps import CONTENT
from ..module_utils.docker.ownership import DECLARED
from ..module_utils.release.table import table
from ..module_utils.services import scheduler
from .caller import from_caller
from .egress import egress_endpoints, egress_relays

# The name under which the timer's scheduler is the one that runs: it has no releases.
NAME = "backup"


def repository_files(listed: list[dict[str, Any]], stack: str, settings: dict[str, Any]) -> dict[str, str]:
    """Templates of the files in /run/secrets. `settings`: retention and wal_limit. CA certificates are files of the controller."""
    names = {str(one["ca_file"]) for one in listed if one.get("ca_file")}
    try:
        certificates = {name: Path(from_caller(name)).read_text() for name in names}
    except OSError as error:
        raise AnsibleFilterError(f"backup_repositories: ca_file {error.filename} cannot be read: {error.strerror}") from error
    return repositories.files(listed, stack, settings, certificates)


def _endpoints(listed: list[dict[str, Any]], stack: str) -> list[dict[str, Any]]:
    return egress_endpoints(repositories.egress(listed), "database", stack, NAME)


def with_repositories(service: dict[str, Any], listed: list[dict[str, Any]], given: dict[str, Any]) -> dict[str, Any]:
    """The database's service, archiving its WAL. `given`: stack, secrets (directory) and archive_timeout."""
    return repositories.with_repositories(service, listed, given | {"endpoints": _endpoints(listed, given["stack"])}) if listed else service


def backup_services(service: dict[str, Any], listed: list[dict[str, Any]], given: dict[str, Any]) -> list[dict[str, Any]]:
    """The service that makes backups, and the relay by which it and the database reach S3; empty without repositories.

    `service` is the database's. `given`: stack, secrets, directory, memory, schedule, timezone and database (its name).
    """
    jobs = repositories.schedule_jobs(given["schedule"], given["database"], CONTENT)
    configuration = {"release": NAME, "timezone": given["timezone"], "jobs": jobs}
    alive = f"import os, time; raise SystemExit(time.time() - os.stat({scheduler.ALIVE!r}).st_mtime > 30)"
    more = {
        "endpoints": _endpoints(listed, given["stack"]),
        "entrypoint": ["python3", "-IS", "-c", Path(scheduler.__file__).read_text(), json.dumps(configuration)],
        "healthcheck": {"test": ["CMD", "python3", "-IS", "-c", alive], "interval": 30},
        "program": Path(repository.__file__).read_text(),
    }
    image = {key: service[key] for key in ("repository", "tag", "user")} | {"release": service["tag"]}
    # Removed when it is declared no more; its health is not the database's.
    own = {"labels": {DECLARED: "backup"}, "healthcheck": {"test": ["CMD", "healthcheck"]}}
    relays = [relay | own for relay in egress_relays(repositories.egress(listed), image, given["stack"], NAME)]
    return relays + repositories.timer(service, listed, given | more)


STORED = ("name", "type", "repository", "complete", "MB", "stored MB", "why")


def repositories_text(found: dict[str, Any], stack: str) -> str:
    """The backups in repositories as a table, newest first, and from when on each moment can be restored."""
    if not found.get("backups"):
        return f"{stack}: the repositories have no backup yet, or cannot be read; make backup makes one"
    rows = [
        {
            "name": one["label"],
            "type": {"diff": "differential", "incr": "incremental"}.get(one["type"], one["type"]),
            "repository": one["repository"],
            "complete": _time(one["stop"]),
            "MB": f"{one['bytes'] / 1e6:.1f}",
            "stored MB": f"{one['stored'] / 1e6:.1f}",
            "why": one["why"],
        }
        for one in reversed(found["backups"])
    ]
    first = min(one["stop"] for one in found["backups"])
    return "\n".join(
        [*table(STORED, rows), f"Each moment from {_time(first)} on can be restored: make restore AT=<moment> INTO=<new name>"]
    )


def _time(seconds: int) -> str:
    return repository.stamp(datetime.fromtimestamp(seconds, repository.UTC))


def repository_line(done: dict[str, Any], stack: str) -> str:
    """The result of a backup or a check in one line; in check mode the planned one."""
    if "would" in done:
        return f"{stack}: {done['would']}"
    return f"{stack}: {'; '.join(done['actions'])}" + (
        f", {'identical with' if done['result']['identical'] else 'as in'} the database in use ({done['result']['seconds']} s)"
        if "identical" in done["result"]
        else ""
    )


def moment_lines(done: dict[str, Any], stack: str, at: str, into: str = "") -> list[str]:
    """The result of a restore to a moment, and how to undo it; in check mode the planned one."""
    if "would" in done:
        return [f"{stack}: {done['would']}"]
    result = done["result"]
    rows = f"{sum(result['rows'].values())} rows in {len(result['rows'])} tables"
    last = f", last change {result['reached']}" if result["reached"] else ""
    where = f"restored into the new database {into}" if into else "restored"
    lines = [f"{stack}: {at} was {where} from backup {result['backup']} ({rows}{last}; {result['seconds']} s to recover)"]
    if not into:
        lines += ["The active release has newer migrations: run make deploy now"] if result["behind"] else []
        lines.append(f"To go back to the database that was replaced: make restore AT={result['before']} CONFIRM={stack}")
    return lines


class FilterModule:
    """Filters of the role backup."""

    def filters(self) -> dict[str, object]:
        return {
            "moment_lines": moment_lines,
            "repositories_text": repositories_text,
            "repository_line": repository_line,
            "backup_services": backup_services,
            "repository_problems": repositories.problems,
            "repository_egress": repositories.egress,
            "repository_secrets": repositories.secret_schema,
            "repository_files": repository_files,
            "repository_volumes": repositories.volumes,
            "repository_policy": repositories.with_policy,
            "with_repositories": with_repositories,
        }
