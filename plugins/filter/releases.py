"""What a host remembers of its releases, for a person or for a program."""

from __future__ import annotations

import json
from typing import Any

from ..module_utils.release.table import table

RELEASES = ("release", "state", "released", "by", "image_version", "secrets_generation", "schema")
AUDIT = ("when", "who", "verb", "from", "to", "outcome", "seconds")


def releases_text(known: dict[str, Any], stack: str, form: str = "") -> str:
    """A table of the releases that a host keeps, or with `form` json one document."""
    if form == "json":
        return json.dumps({"stack": stack, "current": known["current"], "pending": known["pending"], "releases": known["told"]}, indent=2)
    if not known["told"]:
        return f"{stack}: no release was made on this host yet; make up makes one"
    lines = table(RELEASES, known["told"])
    if known["pending"]:
        pending = known["pending"]
        what = f"{pending['verb']} from {pending['from']} to {pending['to']}"
        lines.append(f"Unfinished since {pending['since']}: {what}; run it again, or make rollback")
    elif any(row["state"] == "default of rollback" for row in known["told"]):
        lines.append("Go back: make rollback, or make rollback VERSION=<release>")
    return "\n".join(lines)


def audit_text(lines: list[dict[str, Any]], form: str = "") -> str:
    """The audit as a table, what was done below each line; with `form` json as it is written, one document a line."""
    if form == "json":
        return "\n".join(json.dumps(line) for line in lines)
    if not lines:
        return "nothing was done on this host yet"
    head, *rows = table(AUDIT, lines)
    told = [f"{row}\n    {line['what']}" if line.get("what") else row for row, line in zip(rows, lines, strict=True)]
    return "\n".join([head, *told])


def applied_line(applied: dict[str, Any], stack: str, url: str, check: bool = False) -> str:
    """One line about a switch, or with `check` about the one that would be made."""
    if not applied.get("changed"):
        return f"{stack} {applied['release']} serves already at {url}: nothing to do"
    before = f" (before: {applied['before']})" if applied["before"] and applied["before"] != applied["release"] else ""
    return f"{stack} {applied['release']} {'would serve' if check else 'serves'} at {url}{before}"


BACKUPS = ("name", "when", "why", "release", "schema", "MB", "checked")


def backups_text(backups: list[dict[str, Any]], stack: str, form: str = "") -> str:
    """A table of the backups that a host keeps, or with `form` json one document."""
    if form == "json":
        return json.dumps({"stack": stack, "backups": backups}, indent=2)
    if not backups:
        return f"{stack}: no backup was made on this host yet; make backup makes one"
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
        [*table(BACKUPS, rows), "Put one back: make restore BACKUP=<name>, or beside: make restore BACKUP=<name> INTO=<new database>"]
    )


def _rows(content: dict[str, str]) -> str:
    return f"{sum(int(text.split()[0]) for text in content.values())} rows in {len(content)} tables"


def backup_line(made: dict[str, Any], stack: str) -> str:
    """One line about a backup that was made, or in check mode would be."""
    if "would" in made:
        return f"{stack}: {made['would']}"
    note = made["backup"]
    checked = f"restored beside and compared: {_rows(note['content'])}" if "content" in note else "not checked"
    return f"{stack}: {made['path']} ({note['bytes'] / 1e6:.1f} MB; {checked})"


def restored_line(restored: dict[str, Any], stack: str, into: str = "") -> list[str]:
    """What is there now that a backup was put back, and how to undo it; in check mode, what would be done."""
    name = restored["backup"]["name"]
    if "would" in restored:
        typed = f"make restore BACKUP={name} " + (f"INTO={into}" if into else f"CONFIRM={stack}")
        return [f"{stack}: {restored['would']}", f"To do it: {typed}"]
    there = f"{sum(restored['rows'].values())} rows in {len(restored['rows'])} tables"
    then = f"in the database {into}, beside the one in use" if into else "in place; make deploy runs migrations that are newer than it"
    lines = [f"{stack}: {name} is {then} ({there})"]
    if restored.get("replaced"):
        lines.append(
            f"What it replaced is kept in {restored['replaced']}; to put that back: "
            f"make restore BACKUP={restored['replaced']} CONFIRM={stack}"
        )
    return lines


class FilterModule:
    """Filters of the verbs releases, audit, rollback, backup, restore."""

    def filters(self) -> dict[str, object]:
        return {
            "releases_text": releases_text,
            "audit_text": audit_text,
            "applied_line": applied_line,
            "backups_text": backups_text,
            "backup_line": backup_line,
            "restored_line": restored_line,
        }
