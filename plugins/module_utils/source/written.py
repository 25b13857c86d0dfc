"""app.yml as `make init` writes it: what the analysis of the sources found, where, and how sure it is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .analysis import ADDED, NEUTRAL, SERVICES, Analysis, replaced
from .found import Found

# What only the machine that builds decides.
FONTS = "frontend_image_fonts"
# Settings that are written down: where the sources change, the preflight notices what does not fit any more. Others follow the sources in
# each run, so that a new route or the first migration is not missed: they are comments.
FIXED = {
    *(
        "backend_image_app",
        "backend_image_app_root",
        "backend_image_pythonpath",
        "backend_image_dependencies",
        "backend_image_debian_release",
    ),
    *("backend_image_port", "backend_image_health_path", "backend_image_database_scheme"),
    FONTS,
    *("frontend_image_source_subpath", "frontend_image_debian_release", "frontend_image_health_path", "frontend_image_page_path"),
}
TOKENS = {
    "url": "{{ stack_url }}",
    "socket": "{{ stack_url | regex_replace('^http', 'ws') }}",
    "backend": "http://backend:{{ backend_image_port }}",
    "release_backend": "http://{{ stack_backend_host }}:{{ backend_image_port }}",
    "frontend": "http://{{ stack_frontend_host }}:{{ frontend_image_port }}",
    "database_host": "database",
    "database_port": "5432",
    "database_name": "{{ database_name }}",
}
HEAD = """\
---
# What belongs to this application, written by make init from its sources; it is yours now. Berth reads it from the directory of the call,
# or by APP=path. It outranks the defaults of roles (roles/*/README.md); the inventory, -e and a setting's environment variable outrank it.
# Above each value: how sure it is, where the source says it, and why. A value behind a # follows the sources in each run, so that a new
# route or the first migration is not missed; without the # it is fixed. No secrets here: .env or a vault (docs/secrets.md).
"""
# How a line of `todo` ends where the source has no other value.
DEMANDED = "demands it"
TITLES = {"backend": "the backend", "frontend": "the frontend", "edge": "paths on the one origin", "stack": "services"}


def scalar(value: Any) -> str:
    """A value in YAML, on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {scalar(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(scalar, value)) + "]"
    if (
        isinstance(value, str)
        and re.fullmatch(r"[A-Za-z_/][\w./+:-]*", value)
        and not re.search(r":$|^(true|false|yes|no|on|off|null|y|n)$", value, re.I)
    ):
        return value
    return json.dumps(value, ensure_ascii=False)


def _lines(one: Found) -> list[str]:
    comment = f"# {', '.join(filter(None, [one.certainty, one.where]))}" + (f": {one.why}" if one.why else "")
    text = f"{one.setting}: {scalar(replaced(one.value, TOKENS))}"
    if one.certainty == "guess" and one.candidates:
        return [f"# TODO {one.setting}: {' or '.join(map(str, one.candidates))}", f"#{text}"]
    return [comment, text if one.setting in FIXED else f"#{text}"]


def app_yml(analysis: Analysis, sources: dict[str, str]) -> str:
    """The text of the file. `sources`: the directory of each service, as it is written."""
    lines = [*HEAD.splitlines(), ""]
    lines += [f"stack_{service}_source: {scalar(sources[service])}" for service in SERVICES]
    known = [*NEUTRAL, *ADDED, FONTS]
    for prefix, title in TITLES.items():
        own = [analysis.found[name] for name in known if name in analysis.found and name.startswith(f"{prefix}_")]
        own = [one for one in own if one.certainty == "guess" or (one.setting in FIXED and one.value != "") or one.why]
        if own:
            lines += ["", f"# --- {title} ---"]
            lines += [text for one in own for text in _lines(one)]
        if prefix in SERVICES:
            for setting, texts in _by_setting(analysis.todo).items():
                if setting.startswith(f"{prefix}_"):
                    lines += ["# TODO fill in what the application needs, and remove the # before each:", f"#{setting}:"]
                    lines += [f'#  {name}: ""  # {text.partition(": ")[2]}' for name, text in texts.items()]
    lines += _secrets(analysis)
    for service, hosts in analysis.outgoing.items():
        where = ", ".join(sorted(set(hosts.values()))[:4])
        lines += ["", f"# Hosts that the {service} names ({where}); it reaches those that are allowed:"]
        lines += [f"#{service}_image_egress: {scalar(sorted(hosts))}"]
    if analysis.problems:
        lines += ["", *(f"# TODO {text}" for text in analysis.problems)]
    if analysis.notes:
        lines += ["", "# Worth knowing:", *(f"# - {text}" for text in analysis.notes)]
    return "\n".join(lines) + "\n"


def _by_need(names: Iterable[tuple[str, bool]]) -> Iterator[tuple[str, list[str]]]:
    """(how much the application needs them, names) of (name, whether the source demands it)."""
    all_names = list(names)
    for demanded, text in ((True, "demanded by the source"), (False, "where the application needs them")):
        if of_these := [name for name, required in all_names if required == demanded]:
            yield text, of_these


def _by_setting(todo: list[str]) -> dict[str, dict[str, str]]:
    """{setting: {variable: the line about it}} of lines as SETTING.VARIABLE: where verb."""
    found: dict[str, dict[str, str]] = {}
    for text in todo:
        setting, _, rest = text.partition(".")
        name = rest.partition(":")[0]
        found.setdefault(setting, {})[name] = rest
    return found


def _secrets(analysis: Analysis) -> list[str]:
    services = analysis.secret_services()
    own = sorted({one.name for one in analysis.secrets if one.own})
    lines = []
    if own or services:
        lines += ["", "# --- secrets that the sources read ---"]
    lines += [f"# {name} ({' and '.join(services[name])}): drawn and kept on the host; SECRET_{name} in .env gives another" for name in own]
    seen = set(own)
    for one in analysis.secrets:
        if one.name not in seen:
            seen.add(one.name)
            need = "demands it" if one.required else "reads it"
            lines.append(
                f"# TODO SECRET_{one.name}=... in .env: the {' and the '.join(services[one.name])} {need} ({one.where}); not set without it"
            )
    return lines


def steps(analysis: Analysis, path: Path, default: bool, refused: list[str] | None = None) -> list[str]:
    """What to do next, a line each: questions, secrets, what a run will refuse, the command that goes on."""
    questions = analysis.questions(set())
    lines = [f"to decide in {path.name}: {text}" for text in questions]
    for setting, texts in _by_setting(analysis.todo).items():
        for need, names in _by_need((name, text.endswith(DEMANDED)) for name, text in texts.items()):
            lines.append(f"not known, in {path.name} as TODO, {need}: {setting}: {{{', '.join(f'{name}: ...' for name in names)}}}")
    others = dict(sorted((one.name, one.required) for one in analysis.secrets if not one.own))
    for need, names in _by_need(others.items()):
        lines.append(f"secrets to give in .env, {need}: {', '.join(f'SECRET_{name}=...' for name in names)}")
    lines += [f"to correct in the source, which make up refuses as it is: {text}" for text in refused or []]
    demanded = any(text.endswith(DEMANDED) for text in analysis.todo) or any(one.required and not one.own for one in analysis.secrets)
    first = ["correct the source"] * bool(refused) + ["fill in what is demanded"] * demanded
    before = f"{' and '.join(first)}, then " if first else ""
    return [*lines, f"next: {before}make up{'' if default else f' APP={path}'}"]
