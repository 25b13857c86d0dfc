"""Secrets as files, in generations (versions of all secrets): validation of values, content of the files, and their storage."""

from __future__ import annotations

import json
import os
import re
import secrets as randomness
import shutil
import string
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

ALPHABET = string.ascii_letters + string.digits
# Placeholders of examples, and the first guesses of an attacker.
PLACEHOLDER = re.compile(
    r"((please[-_ ]?)?(change|replace)[-_ ]?(me|it|this).*|your[-_ ].*|<.*>|\$?\{.*\}|x{3,}|todo|none|null"
    r"|(default|dummy|example|fake|foobar|letmein|passw(or)?d|placeholder|qwert[yz]|secret|test)[-_0-9!.]*)",
    re.IGNORECASE,
)
# Keys of a secret's schema, with their defaults.
SCHEMA = {"services": [], "generate": 0, "minimum": 16, "form": "", "versions": 1, "sources": None, "environment": ""}
DISTINCT = 5
RECORD = "record.json"
# Directory of services that all releases share: it always has the newest generation, so that their containers need no change.
SHARED = "shared"
# A value within other text must not contain line breaks, and in a list no comma.
ONE_LINE = r"[^\r\n]+"
LISTED = r"[^\r\n,]+"
SLOT = re.compile(r"{(\w+)(?::(url|all))?}")


class Refused(ValueError):
    """An invalid secret; the message names it and where it is set, never its value."""


def with_defaults(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """`schema`, {secret: {key: value}}, with all keys of SCHEMA."""
    whole = {}
    for name, spec in schema.items():
        unknown = sorted(set(spec or {}) - set(SCHEMA))
        if unknown:
            raise Refused(f"secrets_schema.{name}: unknown key {', '.join(unknown)}; valid keys: {', '.join(SCHEMA)}")
        whole[name] = SCHEMA | (spec or {})
    return whole


def problem_of(name: str, value: str, spec: dict[str, Any]) -> str:
    """The problem of a value, empty where it is valid. Without a form it may have several lines."""
    if "\0" in value:
        return "contains a NUL character, which no environment variable can hold"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    if PLACEHOLDER.fullmatch(value):
        return "is a placeholder"
    if len(value) < int(spec["minimum"]):
        return f"is shorter than {spec['minimum']} characters"
    if len(set(value)) < DISTINCT:
        return f"has fewer than {DISTINCT} different characters"
    if spec["form"] and not re.fullmatch(spec["form"], value):
        if value.endswith(("\r", "\n")) and re.fullmatch(spec["form"], value.rstrip("\r\n")):
            return "ends with a line break, which does not match its form"
        return f"does not match its form, {spec['form']}"
    return ""


def refuse_multiline(name: str, value: str, template: str) -> None:
    """Refuse a value with line breaks, or in a list with a comma, within other text of a file."""
    for slot, kind in SLOT.findall(template):
        if slot != name or kind == "url" or (template == f"{{{name}}}"):
            continue
        if not re.fullmatch(LISTED if kind == "all" else ONE_LINE, value):
            raise Refused(
                f"the secret {name} contains a line break{' or a comma' if kind == 'all' else ''}, and a file has it within other text "
                f"(secrets_services): give it a file of its own, {{{name}}}, or use {{{name}:url}} in a URL"
            )


def refuse_invalid(schema: dict[str, Any], given: dict[str, str], origin: dict[str, str]) -> None:
    """Refuse all invalid values in one message. `origin`: where each is set, as text."""
    problems = []
    for name, value in given.items():
        wrong = problem_of(name, value, schema[name])
        if wrong:
            instead = ", or remove it there to have one generated" if schema[name]["generate"] else ""
            problems.append(f"the secret {name} {wrong}: it is set by {origin.get(name, 'its source')}; set a valid one there{instead}")
    if problems:
        raise Refused("\n".join(problems))


def resolve(
    schema: dict[str, Any],
    given: dict[str, str],
    origin: dict[str, str],
    previous: dict[str, Any],
    rotate: Iterable[str] = (),
    generation: int = 1,
) -> dict[str, Any]:
    """The record's `values` and `history`: each secret as given, else of the previous generation, else generated."""
    refuse_invalid(schema, given, origin)
    values, history, missing = {}, {}, []
    for name, spec in schema.items():
        before = previous["values"].get(name)
        if name in given:
            value, source = given[name], origin.get(name, "given")
        elif before is not None and name not in rotate:
            value, source = before, ""
        elif spec["generate"]:
            value, source = "".join(randomness.choice(ALPHABET) for _ in range(int(spec["generate"]))), "generated"
        else:
            missing.append(name)
            continue
        values[name] = value
        history[name] = _history(name, value, source, int(spec["versions"]), previous, generation)
    if missing:
        raise Refused("\n".join(f"the secret {name} is required, but no source has it, and it is not generated" for name in missing))
    return {"values": values, "history": history}


def _history(name: str, value: str, source: str, versions: int, previous: dict[str, Any], generation: int) -> dict[str, Any]:
    """A value's source, generation, time and version, and the earlier values, newest first."""
    before = previous["values"].get(name)
    entry = previous.get("history", {}).get(name) or {"source": "generated", "version": 1, "previous": []}
    if value == before:
        return entry | ({"source": source} if source else {})
    earlier = [] if before is None else [before, *entry["previous"]][: versions - 1]
    return {
        "source": source,
        "generation": generation,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "version": entry["version"] + 1 if before is not None else 1,
        "previous": earlier,
    }


def render(services: dict[str, Any], schema: dict[str, Any], record: dict[str, Any], generation: int) -> dict[str, dict[str, str]]:
    """{service: {file: content}}, from templates.

    {name} is replaced by a secret, {name:url} by it as a part of a URL, {name:all} by it and its earlier values, newest first, as
    2:value,1:value; {generation} by the number of the generation. A secret of a service that is in none of its files gets a file of
    its name.
    """
    own = {service: {name for name, spec in schema.items() if service in spec["services"]} for service in services}
    used: dict[str, set[str]] = {name: set() for name in schema}
    rendered: dict[str, dict[str, str]] = {}
    for service, spec in services.items():
        rendered[service] = {}
        alone = {name: f"{{{name}}}" for name in sorted(own[service]) if not any(_holds(name, text) for text in spec["files"].values())}
        for name, template in (alone | spec["files"]).items():
            for slot, _form in SLOT.findall(template):
                if slot == "generation":
                    continue
                if slot not in schema:
                    raise Refused(f"the file {name} of {service} refers to the secret {slot}, which is not in secrets_schema")
                used[slot].add(service)
                refuse_multiline(slot, record["values"][slot], template)
            rendered[service][name] = SLOT.sub(lambda match: _slot(match, record, generation), template)
    for name, found in used.items():
        wrong = found ^ set(schema[name]["services"])
        if wrong:
            raise Refused(
                f"secrets_schema.{name}.services has {', '.join(schema[name]['services']) or 'no service'}, but the files of "
                f"{', '.join(sorted(found)) or 'no service'} contain it (secrets_services): use the same services in both"
            )
    return rendered


def _holds(name: str, template: str) -> bool:
    return any(slot == name for slot, _form in SLOT.findall(template))


def _slot(match: re.Match[str], record: dict[str, Any], generation: int) -> str:
    name, form = match.groups()
    if name == "generation":
        return str(generation)
    value, entry = str(record["values"][name]), record["history"][name]
    if form == "url":
        return quote(value, safe="")
    if form == "all":
        return ",".join(f"{entry['version'] - i}:{each}" for i, each in enumerate([value, *entry["previous"]]))
    return value


class Store:
    """The generations in one directory."""

    def __init__(self, root: Path, check: bool = False) -> None:
        self.root, self.check, self.actions = root, check, list[str]()

    def generations(self) -> list[int]:
        """Numbers of the complete generations, oldest first."""
        return sorted(int(p.name) for p in self.root.glob("*") if p.name.isdigit() and (p / RECORD).is_file())

    def newest(self) -> int:
        return max(self.generations(), default=0)

    def record(self, generation: int) -> dict[str, Any]:
        """What a generation contains: {values: {name: value}, history: {name: {...}}, files: {service: {file: content}}}."""
        if not generation:
            return {"values": {}, "history": {}, "files": {}}
        path = self.root / str(generation) / RECORD
        record: dict[str, Any] = json.loads(path.read_text())
        # Generations of an older Berth have no history.
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(path.stat().st_mtime))
        record.setdefault(
            "history",
            {n: {"source": "generated", "generation": generation, "made": made, "version": 1, "previous": []} for n in record["values"]},
        )
        return record

    def database_login(self, generation: str, service: str) -> str:
        """The user of a service's database URL in a generation; empty where there is none."""
        try:
            return unquote(urlsplit(self.record(int(generation))["files"][service]["database_url"]).username or "")
        except (OSError, ValueError, KeyError):
            return ""

    def prune(self, keep: Iterable[str]) -> list[str]:
        """Remove all generations except `keep` and the newest; returns their numbers."""
        kept = {str(number) for number in keep} | {str(self.newest())}
        removed = [str(number) for number in self.generations() if str(number) not in kept]
        for number in removed:
            self.record_change(f"remove generation {number}", partial(shutil.rmtree, self.root / number))
        return removed

    def write(self, generation: int, services: dict[str, Any], record: dict[str, Any]) -> None:
        """Write a generation; it gets its name when it is complete."""
        self.actions.append(f"write generation {generation}")
        if self.check:
            return
        self.root.mkdir(parents=True, exist_ok=True)
        os.chmod(self.root, 0o711)
        target, scratch = self.root / str(generation), self.root / f".{generation}.new"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o711)
        for service, contents in record["files"].items():
            if not services[service].get("shared"):
                self.write_service(scratch / service, int(services[service]["uid"]), contents)
        self.write_file(scratch / RECORD, json.dumps(record), 0, 0o400)
        os.chmod(scratch, 0o711)
        scratch.rename(target)
        self.reconcile(generation, {n: s for n, s in services.items() if s.get("shared")}, record["files"])

    def write_service(self, folder: Path, uid: int, contents: dict[str, str]) -> None:
        folder.mkdir(mode=0o500)
        for name, content in contents.items():
            self.write_file(folder / name, content, uid, 0o400)
        self.protect(folder, uid)

    def protect(self, folder: Path, uid: int) -> None:
        os.chmod(folder, 0o500)
        self.chown(folder, uid)

    @staticmethod
    def chown(path: Path, uid: int) -> None:
        if os.geteuid() == 0:
            os.chown(path, uid, uid)

    def write_file(self, path: Path, content: str, uid: int, mode: int) -> None:
        scratch = path.with_name(f".{path.name}.new")
        scratch.unlink(missing_ok=True)
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content.encode())
        os.chmod(scratch, mode)
        self.chown(scratch, uid)
        scratch.rename(path)

    def reconcile(self, generation: int, services: dict[str, Any], files: dict[str, dict[str, str]]) -> None:
        """Correct what was changed by hand in a generation: content, owner, mode, missing and additional files."""
        for service, spec in services.items():
            contents, uid = files[service], int(spec["uid"])
            folder = self.root / (SHARED if spec.get("shared") else str(generation)) / service
            if not folder.is_dir():
                if spec.get("shared") and not self.check:
                    folder.parent.mkdir(mode=0o711, exist_ok=True)
                    os.chmod(folder.parent, 0o711)
                self.record_change(f"write the directory of {service} again", partial(self.write_service, folder, uid, contents))
                continue
            if self.differs(folder, uid, 0o500):
                self.record_change(f"correct owner and mode of the directory of {service}", partial(self.protect, folder, uid))
            for path in folder.iterdir():
                if path.name not in contents:
                    self.record_change(f"remove {path.name} of {service}", path.unlink)
            for name, content in contents.items():
                path = folder / name
                if not path.is_file() or path.read_bytes() != content.encode() or self.differs(path, uid, 0o400):
                    self.record_change(f"write {name} of {service} again", partial(self.write_file, path, content, uid, 0o400))

    @staticmethod
    def differs(path: Path, uid: int, mode: int) -> bool:
        status = path.stat()
        return (status.st_mode & 0o7777) != mode or (os.geteuid() == 0 and status.st_uid != uid)

    def record_change(self, action: str, apply: Callable[[], Any]) -> None:
        self.actions.append(action)
        if not self.check:
            apply()
