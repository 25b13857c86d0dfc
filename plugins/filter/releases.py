"""Recorded releases, audit log and backups of a host, as text or JSON."""

from __future__ import annotations

import json
from typing import Any

from ..module_utils.release.table import table

RELEASES = ("release", "state", "released", "by", "image_version", "secrets_generation", "schema")
AUDIT = ("when", "who", "verb", "from", "to", "outcome", "seconds")


def releases_text(state: dict[str, Any], stack: str, form: str = "") -> str:
    """The recorded releases as a table, or with `form` json as one document."""
    if form == "json":
        return json.dumps(
            {"stack": stack, "current": state["current"], "pending": state["pending"], "releases": state["details"]}, indent=2
        )
    if not state["details"]:
        return f"{stack}: this host has no releases yet; make up creates one"
    lines = table(RELEASES, state["details"])
    if state["pending"]:
        pending = state["pending"]
        what = f"{pending['verb']} from {pending['from']} to {pending['to']}"
        lines.append(f"Unfinished since {pending['since']}: {what}; run it again, or make rollback")
    elif any(row["state"] == "rollback target" for row in state["details"]):
        lines.append("To roll back: make rollback, or make rollback VERSION=<release>")
    return "\n".join(lines)


def audit_text(lines: list[dict[str, Any]], form: str = "") -> str:
    """The audit log as a table, with the actions below each line; with `form` json one document a line."""
    if form == "json":
        return "\n".join(json.dumps(line) for line in lines)
    if not lines:
        return "the audit log of this host is empty"
    head, *rows = table(AUDIT, lines)
    details = [f"{row}\n    {line['what']}" if line.get("what") else row for row, line in zip(rows, lines, strict=True)]
    return "\n".join([head, *details])


def applied_line(applied: dict[str, Any], stack: str, url: str, check: bool = False) -> str:
    """The result of a rollout in one line; with `check` of a planned one."""
    if not applied.get("changed"):
        return f"{stack} {applied['release']} serves at {url}: no changes"
    before = f" (previous: {applied['before']})" if applied["before"] and applied["before"] != applied["release"] else ""
    return f"{stack} {applied['release']} {'would serve' if check else 'serves'} at {url}{before}"


BACKUPS = ("name", "when", "why", "release", "schema", "MB", "checked")


def backups_text(backups: list[dict[str, Any]], stack: str, form: str = "", stored: dict[str, Any] | None = None) -> str:
    """The backups of a host as a table, or with `form` json as one document, with those that are `stored` in repositories."""
    if form == "json":
        return json.dumps({"stack": stack, "backups": backups} | ({"repositories": stored} if stored else {}), indent=2)
    if not backups and stored:
        return f"{stack}: no dumps on this host"
    if not backups:
        return f"{stack}: this host has no backups yet; make backup creates one"
    rows = [
        one
        | {
            "schema": ", ".join(one["schema"].get("heads") or []),
            "MB": f"{one['bytes'] / 1e6:.1f}",
            "checked": f"{len(one['content'])} tables" if "content" in one else "no",
        }
        for one in backups
    ]
    return "\n".join(
        [*table(BACKUPS, rows), "To restore: make restore BACKUP=<name>, or into a new database: make restore BACKUP=<name> INTO=<name>"]
    )


def _rows(content: dict[str, str]) -> str:
    return f"{sum(int(text.split()[0]) for text in content.values())} rows in {len(content)} tables"


def backup_line(made: dict[str, Any], stack: str) -> str:
    """The result of a backup in one line; in check mode the planned one."""
    if "would" in made:
        return f"{stack}: {made['would']}"
    note = made["backup"]
    checked = f"checked by restoring: {_rows(note['content'])}" if "content" in note else "not checked"
    return f"{stack}: {made['path']} ({note['bytes'] / 1e6:.1f} MB; {checked})"


def restored_line(restored: dict[str, Any], stack: str, into: str = "") -> list[str]:
    """The result of a restore and how to undo it; in check mode the planned one."""
    name = restored["backup"]["name"]
    if "would" in restored:
        typed = f"make restore BACKUP={name} " + (f"INTO={into}" if into else f"CONFIRM={stack}")
        return [f"{stack}: {restored['would']}", f"To confirm: {typed}"]
    rows = f"{sum(restored['rows'].values())} rows in {len(restored['rows'])} tables"
    where = f"restored into the new database {into}" if into else "restored; make deploy runs newer migrations"
    lines = [f"{stack}: {name} was {where} ({rows})"]
    if restored.get("replaced"):
        lines.append(
            f"The previous database is in the backup {restored['replaced']}; to restore it: "
            f"make restore BACKUP={restored['replaced']} CONFIRM={stack}"
        )
    return lines


class FilterModule:
    """Filters of the commands releases, audit, rollback, backup, restore."""

    def filters(self) -> dict[str, object]:
        return {
            "releases_text": releases_text,
            "audit_text": audit_text,
            "applied_line": applied_line,
            "backups_text": backups_text,
            "backup_line": backup_line,
            "restored_line": restored_line,
        }
