"""Secrets as files of their own, in generations: what makes a value fit, what the files hold, and where they lie."""

from __future__ import annotations

import json
import os
import re
import secrets as randomness
import shutil
import string
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

ALPHABET = string.ascii_letters + string.digits
# What people leave standing from an example, and what guessers try first.
PLACEHOLDER = re.compile(
    r"((please[-_ ]?)?(change|replace)[-_ ]?(me|it|this).*|your[-_ ].*|<.*>|\$?\{.*\}|x{3,}|todo|none|null"
    r"|(default|dummy|example|fake|foobar|letmein|passw(or)?d|placeholder|qwert[yz]|secret|test)[-_0-9!.]*)",
    re.IGNORECASE,
)
# What a secret may say of itself, with what it means when it does not.
SCHEMA = {"services": [], "generate": 0, "minimum": 16, "form": "", "versions": 1, "sources": None, "environment": ""}
DISTINCT = 5
RECORD = "record.json"
# The directory of services that every release uses: its files follow the newest generation, so that their containers stay as they are.
SHARED = "shared"
# Within other text a value with line breaks would end the line, and in a list of values a comma the value.
ONE_LINE = r"[^\r\n]+"
LISTED = r"[^\r\n,]+"
SLOT = re.compile(r"{(\w+)(?::(url|all))?}")


class Refused(ValueError):
    """A secret that must not be used; the message names it and where it is set, never its value."""


def with_defaults(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """`schema`, {secret: {word: value}}, with every word there; see SCHEMA."""
    whole = {}
    for name, spec in schema.items():
        unknown = sorted(set(spec or {}) - set(SCHEMA))
        if unknown:
            raise Refused(f"secrets_schema.{name} knows no {', '.join(unknown)}; it has {', '.join(SCHEMA)}")
        whole[name] = SCHEMA | (spec or {})
    return whole


def problem_of(name: str, value: str, spec: dict[str, Any]) -> str:
    """What is wrong with a value; nothing where it is fit to be used. Without a form it may have several lines."""
    if "\0" in value:
        return "has a NUL character, which no environment variable can hold"
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
            return "ends with a line break, which is not of its form"
        return f"does not have its form, {spec['form']}"
    return ""


def refuse_multiline(name: str, value: str, template: str) -> None:
    """Refuse a value that does not fit where the template of a file has it."""
    for slot, kind in SLOT.findall(template):
        if slot != name or kind == "url" or (template == f"{{{name}}}"):
            continue
        if not re.fullmatch(LISTED if kind == "all" else ONE_LINE, value):
            raise Refused(
                f"the secret {name} has a line break{' or a comma' if kind == 'all' else ''} in it, and a file holds it among other text "
                f"(secrets_services): give it a file of its own, {{{name}}}, or write {{{name}:url}} in a URL"
            )


def refuse_invalid(schema: dict[str, Any], given: dict[str, str], origin: dict[str, str]) -> None:
    """Refuse every given value that is unfit, all in one message. `origin` says in words where each is set."""
    problems = []
    for name, value in given.items():
        wrong = problem_of(name, value, schema[name])
        if wrong:
            instead = " or take it away there, and one is generated" if schema[name]["generate"] else ""
            problems.append(f"the secret {name} {wrong}: it is set by {origin.get(name, 'its source')}; give a real one there{instead}")
    if problems:
        raise Refused("\n".join(problems))


def resolve(
    schema: dict[str, Any],
    given: dict[str, str],
    origin: dict[str, str],
    known: dict[str, Any],
    rotate: Iterable[str] = (),
    generation: int = 1,
) -> dict[str, Any]:
    """The record's `values` and `history`: each secret given from outside, else the one of the generation before, else generated."""
    refuse_invalid(schema, given, origin)
    values, history, missing = {}, {}, []
    for name, spec in schema.items():
        before = known["values"].get(name)
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
        history[name] = _history(name, value, source, int(spec["versions"]), known, generation)
    if missing:
        raise Refused("\n".join(f"the secret {name} is needed, given by nothing and not to be generated" for name in missing))
    return {"values": values, "history": history}


def _history(name: str, value: str, source: str, versions: int, known: dict[str, Any], generation: int) -> dict[str, Any]:
    """Where a value comes from, since when it holds, its number, and the values that it follows, newest first."""
    before = known["values"].get(name)
    told = known.get("history", {}).get(name) or {"source": "generated", "version": 1, "previous": []}
    if value == before:
        return told | ({"source": source} if source else {})
    previous = [] if before is None else [before, *told["previous"]][: versions - 1]
    return {
        "source": source,
        "generation": generation,
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "version": told["version"] + 1 if before is not None else 1,
        "previous": previous,
    }


def render(services: dict[str, Any], schema: dict[str, Any], record: dict[str, Any], generation: int) -> dict[str, dict[str, str]]:
    """{service: {file: content}}, from templates.

    {name} stands for a secret, {name:url} for it as a part of a URL, {name:all} for it and those it follows, newest first, as
    2:value,1:value; {generation} for the number of the generation. A secret of a service that
    none of its files holds gets a file of its name.
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
                    raise Refused(f"the file {name} of {service} needs the secret {slot}, which secrets_schema does not have")
                used[slot].add(service)
                refuse_multiline(slot, record["values"][slot], template)
            rendered[service][name] = SLOT.sub(lambda match: _slot(match, record, generation), template)
    for name, found in used.items():
        wrong = found ^ set(schema[name]["services"])
        if wrong:
            raise Refused(
                f"secrets_schema.{name}.services says {', '.join(schema[name]['services']) or 'no service'}, and the files of "
                f"{', '.join(sorted(found)) or 'none'} hold it (secrets_services): let both say the same"
            )
    return rendered


def _holds(name: str, template: str) -> bool:
    return any(slot == name for slot, _form in SLOT.findall(template))


def _slot(match: re.Match[str], record: dict[str, Any], generation: int) -> str:
    name, form = match.groups()
    if name == "generation":
        return str(generation)
    value, told = record["values"][name], record["history"][name]
    if form == "url":
        return quote(value, safe="")
    if form == "all":
        return ",".join(f"{told['version'] - i}:{each}" for i, each in enumerate([value, *told["previous"]]))
    return value


class Store:
    """The generations below one directory."""

    def __init__(self, root: Path, check: bool = False) -> None:
        self.root, self.check, self.actions = root, check, list[str]()

    def generations(self) -> list[int]:
        """Those that are whole, oldest first."""
        return sorted(int(p.name) for p in self.root.glob("*") if p.name.isdigit() and (p / RECORD).is_file())

    def newest(self) -> int:
        return max(self.generations(), default=0)

    def record(self, generation: int) -> dict[str, Any]:
        """What a generation was made from: {values: {name: value}, history: {name: {...}}, files: {service: {file: content}}}."""
        if not generation:
            return {"values": {}, "history": {}, "files": {}}
        path = self.root / str(generation) / RECORD
        record = json.loads(path.read_text())
        # Generations of before there was a history.
        made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(path.stat().st_mtime))
        record.setdefault(
            "history",
            {n: {"source": "generated", "generation": generation, "made": made, "version": 1, "previous": []} for n in record["values"]},
        )
        return record

    def prune(self, keep: Iterable[str]) -> list[str]:
        """Remove the generations that are not among `keep`, never the newest; the numbers removed."""
        wanted = {str(number) for number in keep} | {str(self.newest())}
        removed = [str(number) for number in self.generations() if str(number) not in wanted]
        for number in removed:
            self.record_change(f"remove generation {number}", lambda n=number: shutil.rmtree(self.root / n))
        return removed

    def write(self, generation: int, services: dict[str, Any], record: dict[str, Any]) -> None:
        """Write a generation beside its place and move it there, so that it is never there by halves."""
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
        """Put back what was changed by hand in a generation: content, owner, mode, a file too few or too many."""
        for service, spec in services.items():
            contents, uid = files[service], int(spec["uid"])
            folder = self.root / (SHARED if spec.get("shared") else str(generation)) / service
            if not folder.is_dir():
                if spec.get("shared") and not self.check:
                    folder.parent.mkdir(mode=0o711, exist_ok=True)
                    os.chmod(folder.parent, 0o711)
                self.record_change(
                    f"write the directory of {service} again", lambda f=folder, u=uid, c=contents: self.write_service(f, u, c)
                )
                continue
            if self.differs(folder, uid, 0o500):
                self.record_change(
                    f"correct owner and mode of the directory of {service}", lambda f=folder, u=uid: (os.chmod(f, 0o500), self.chown(f, u))
                )
            for path in folder.iterdir():
                if path.name not in contents:
                    self.record_change(f"remove {path.name} of {service}", path.unlink)
            for name, content in contents.items():
                path = folder / name
                if not path.is_file() or path.read_bytes() != content.encode() or self.differs(path, uid, 0o400):
                    self.record_change(f"write {name} of {service} again", lambda p=path, c=content, u=uid: self.write_file(p, c, u, 0o400))

    @staticmethod
    def differs(path: Path, uid: int, mode: int) -> bool:
        status = path.stat()
        return (status.st_mode & 0o7777) != mode or (os.geteuid() == 0 and status.st_uid != uid)

    def record_change(self, action: str, act: Callable[[], Any]) -> None:
        self.actions.append(action)
        if not self.check:
            act()
