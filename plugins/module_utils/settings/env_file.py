"""The file `.env` and the names of settings. Runs on the controller only.

`.env` has dotenv's rules, and python-dotenv reads it. Nothing in a value is replaced: C(${NAME}) stays as it is written. A line that
python-dotenv would skip, or that would be of no use, is an error with file and line.

This module needs the standard library alone until there is a `.env` to read: make calls it before anything is installed.
"""

from __future__ import annotations

import difflib
import io
import os
import re
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, replace
from pathlib import Path

# Names another file instead; empty: none is read.
VARIABLE = "BERTH_ENV_FILE"
# Options of one call, which playbooks read as BERTH_<option>.
PREFIX = "BERTH_"
# Options of make that belong to one call too: what they say is on the command line of ansible-playbook, too.
MAKE_ONLY = ("LIMIT", "ARGS", "PYTHON")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PLAIN = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
# Settings that are paths: what is relative in .env is so to the directory of .env.
PATHS = re.compile(
    r"(BACKEND|FRONTEND)_SOURCE|LOCAL_DIR|DIGESTS|INVENTORY|SECRETS_SOPS_FILE|SOPS_AGE_KEY_FILE|SSL_CERT_FILE|DOCKER_CERT_PATH|"
    r"BERTH_ENV_FILE|BERTH_APP"
)
SECRETS = re.compile(r"SECRET_.*|.*(PASSWORD|KEY|TOKEN)")
# What roles, group_vars and playbooks look up in the environment, and the variables that secrets_schema names for a secret.
# Both begin with a word, which makes them ten times as fast.
LOOKUP = re.compile(r"""env['"]{1,2}\s*,\s*['"]{1,2}(\w+)['"]""")
SCHEMA = re.compile(r"""environment: *["']?([A-Z][A-Z0-9_]+)\b""")
FOLDERS = ("roles", "group_vars", "playbooks", "inventory", "molecule/shared")
# Read by the programs that Berth starts, or by its own Python.
STANDARD = re.compile(
    r"(SECRET|DOCKER|SOPS|COMPOSE|LC|SSH)_\w+|INVENTORY|SHELL_IMAGE|SSL_CERT_FILE|REQUESTS_CA_BUNDLE|NODE_EXTRA_CA_CERTS|PIP_\w+|"
    r"(https?|all|no|HTTPS?|ALL|NO)_(proxy|PROXY)|LANG|TZ|NO_COLOR|BERTH_(OUTPUT|ENV_FILE|CALLED_FROM)"
)
OPTION = re.compile(r"\b([A-Z_]+)=")
# Close enough to be a slip: one or two letters of a name.
SLIP = 0.83
# Lines that a message names: a quote that does not end makes one of each after it.
MOST = 3


class Refused(ValueError):
    """What must not be used; the message says where it is and what to write instead, never a secret's value."""


# Projects whose file this process has read. An ansible.cfg that is not the project's may not load the plugin that reads it, and Ansible
# does not complain: other plugins ask unread().
loaded: set[Path] = set()
# {variable that this process took from the file: where it stands there}.
places: dict[str, str] = {}


def unread(project: Path, environ: MutableMapping[str, str], configuration: str) -> str:
    """Why a run must not go on: there is a file of settings, and nothing has read it. Empty: there is none, or it was read.

    `configuration`: the path of Ansible's configuration file, for the message.
    """
    try:
        path = path_of(project, environ)
    except Refused as error:
        return str(error)
    if path is None or project in loaded:
        return ""
    where = ".env" if path == project / ".env" else str(path)
    return (
        f"{where} was not read: Ansible did not load berth.stack.env_file (its configuration is {configuration or 'none'}). Set "
        f"ANSIBLE_CONFIG={project}/ansible.cfg, or write there: vars_plugins_enabled = host_group_vars,berth.stack.env_file; "
        f"ANSIBLE_VARS_ENABLED outranks it. "
        f"To run without the file: {VARIABLE}="
    )


@dataclass(frozen=True)
class Line:
    """One setting of the file: `value` as python-dotenv reads it, and the number of its first line."""

    name: str
    value: str
    number: int


def parse(content: bytes, where: str) -> tuple[list[Line], list[str]]:
    """(the settings of a file, in order; what is wrong with each line that cannot be read). `where` names the file in messages."""
    from dotenv.parser import parse_stream

    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        return [], [f"{where}, line {number}: not UTF-8; save the file as UTF-8"]
    lines, problems = [], []
    for binding in parse_stream(io.StringIO(text, newline="")):
        written = binding.original.string
        # python-dotenv counts the empty lines before a statement as its own.
        number = binding.original.line + len(re.findall(r"\r\n|\n|\r", written[: len(written) - len(written.lstrip())]))
        here = f"{where}, line {number}: "
        if binding.error:
            problems.append(here + _unreadable(written.strip()))
        elif binding.key is None:
            continue
        elif binding.value is None:
            # Only what is a name is quoted: a line of a key that lost its quotes is none.
            name = binding.key if PLAIN.fullmatch(binding.key) else "NAME"
            problems.append(f"{here}there is no =; write {name}=value, put # before a comment and quotes around a value of several lines")
        elif not NAME.fullmatch(binding.key):
            problems.append(f"{here}what is before = is no name of a variable: letters, digits and _, no digit first")
        elif "\0" in binding.value:
            problems.append(f"{here}the value of {binding.key} has a NUL character, which no environment variable can hold")
        else:
            lines.append(Line(binding.key, binding.value, number))
    return lines, problems[:MOST] + ([f"{where}: {len(problems) - MOST} more lines"] if len(problems) > MOST else [])


def _unreadable(written: str) -> str:
    """What is wrong with a statement that python-dotenv gives up. The value may be a secret: only the name is quoted."""
    name, equals, value = written.partition("=")
    name = name.strip()
    if not equals or not NAME.fullmatch(name.removeprefix("export ").strip()):
        return "not NAME=value"
    quote = value.lstrip()[:1]
    if quote in ("'", '"'):
        return f"the value of {name} begins with {quote}, and does not end with it (inside, write \\{quote} for {quote}, \\\\ for \\)"
    return f"the value of {name} cannot be read"


def names_in(texts: Iterable[str]) -> set[str]:
    """Names that roles, variables and playbooks ask the environment for."""
    found: set[str] = set()
    for text in texts:
        found.update(LOOKUP.findall(text))
        found.update(SCHEMA.findall(text))
    return found


def _texts(project: Path, inventories: Iterable[str] = ()) -> Iterator[str]:
    paths = [path for folder in FOLDERS for path in (project / folder).rglob("*.yml")]
    for inventory in inventories:
        given = Path(inventory)
        folder = given if given.is_dir() else given.parent
        if given.exists() and not folder.resolve().is_relative_to(project.resolve() / "inventory"):
            paths += [given] if given.is_file() else []
            paths += [path for part in ("group_vars", "host_vars") for path in (folder / part).rglob("*") if path.is_file()]
    for path in paths:
        try:
            yield path.read_text(errors="replace")
        except OSError:
            continue


def known_names(project: Path, inventories: Iterable[str] = ()) -> set[str]:
    """Every name of the environment that roles, group_vars, playbooks and `inventories` ask for."""
    return names_in(_texts(project, inventories))


def options(names: Iterable[str]) -> set[str]:
    """Of `names`, the options of one call, without BERTH_."""
    return {name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX) and not STANDARD.fullmatch(name)}


def close(name: str, names: Iterable[str], cutoff: float = SLIP) -> str:
    """The name that `name` is a slip for; empty: it is none."""
    found = difflib.get_close_matches(name.upper(), sorted(names), 1, cutoff)
    if found:
        return found[0]
    head, _, tail = name.upper().partition("_")
    slip = head != "SECRET" and tail and difflib.get_close_matches(head, ["SECRET"], 1, SLIP)
    return f"SECRET_{tail}" if slip else ""


def check(lines: list[Line], names: set[str], where: str) -> tuple[list[str], list[str]]:
    """(what is wrong with each setting of a file that would do nothing, or not what it says; warnings about others)."""
    problems, unknown, warnings = [], [], []
    once = options(names)
    settings = {name for name in names if not name.startswith(PREFIX)}
    seen: dict[str, int] = {}
    for line in lines:
        here = f"{where}, line {line.number}"
        if line.name in seen:
            warnings.append(f"{here}: {line.name} is set in line {seen[line.name]} too; the last one counts")
        seen[line.name] = line.number
        option = line.name.removeprefix(PREFIX)
        if line.name == VARIABLE or line.name.startswith("ANSIBLE_"):
            instead = "ansible.cfg or the shell's environment" if line.name != VARIABLE else "the shell's environment"
            problems.append(f"{line.name} in {here}: it is read before this file; set it in {instead}")
        elif line.name in MAKE_ONLY or (option in once and line.name not in settings):
            direct = f"{PREFIX}{option}=... ansible-playbook playbooks/COMMAND.yml" if option in once else ""
            problems.append(
                f"{line.name} in {here}: it counts for one call and is not read from a file; write: make COMMAND {option}=..."
                + (f"   (or {direct})" if direct else "")
            )
        elif line.name in settings or STANDARD.fullmatch(line.name):
            if "${" in line.value and not SECRETS.fullmatch(line.name):
                problems.append(f"{line.name} in {here}: ${{...}} is not replaced in this file; write the value itself")
        elif near := close(line.name, settings | once | {"INVENTORY", "DOCKER_HOST"}):
            problems.append(f"{line.name} in {here}: did you mean {near}?")
        else:
            unknown.append(f"{line.name} (line {line.number})")
        swallowed = [name for name in re.findall(r"^(\w+)=", line.value, re.MULTILINE) if name in settings or name.startswith("SECRET_")]
        if "\n" in line.value and swallowed:
            problems.append(f"{line.name} in {here}: its value holds the line {swallowed[0]}=...; end the quote before it")
    if unknown:
        warnings.append(f"{where} has variables that Berth does not read: {', '.join(unknown)}")
    return problems, warnings


def path_of(project: Path, environ: MutableMapping[str, str]) -> Path | None:
    """The file to read; none where there is none, or BERTH_ENV_FILE is empty. Raises Refused where BERTH_ENV_FILE names none."""
    given = environ.get(VARIABLE)
    if given is None:
        return project / ".env" if os.path.lexists(project / ".env") else None
    if not given:
        return None
    path = Path(given).expanduser().absolute()
    if not os.path.exists(path):  # Path.exists raises where a directory cannot be searched
        raise Refused(f"{VARIABLE} is {given}: there is no such file")
    return None if path.samefile(os.devnull) else path


def values(project: Path, environ: MutableMapping[str, str], inventories: Iterable[str] = ()) -> tuple[dict[str, str], list[str]]:
    """({name: value} of the file, warnings). Relative paths are made absolute. Raises Refused."""
    lines, warnings = _lines(project, environ, inventories)
    return {line.name: line.value for line in lines}, warnings


def _lines(project: Path, environ: MutableMapping[str, str], inventories: Iterable[str]) -> tuple[list[Line], list[str]]:
    path = path_of(project, environ)
    if path is None:
        return [], []
    where = ".env" if path == project / ".env" else str(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        # A pipe: <(sops -d ...) has its content once, and make and Ansible each read it.
        raise Refused(f"{where} is a pipe or a device, which cannot be read twice: name a regular file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Refused(f"{where} cannot be read: {error.strerror}") from None
    try:
        lines, unreadable = parse(content, where)
    except ImportError:
        raise Refused(f"{where} cannot be read: the Python package python-dotenv is missing; pip install -r requirements.txt") from None
    problems, warnings = check(lines, known_names(project, inventories), where)
    if unreadable or problems:
        raise Refused("\n".join(unreadable + problems))
    return [replace(line, value=absolute(line.name, line.value, path.parent)) for line in lines], warnings


def absolute(name: str, value: str, folder: Path) -> str:
    """`value`, made absolute where `name` is a path's; a list of hosts (INVENTORY=host,) is none."""
    if not value or not PATHS.fullmatch(name) or (name == "INVENTORY" and "," in value):
        return value
    return os.path.normpath(folder / Path(value).expanduser())


def load(project: Path, environ: MutableMapping[str, str], inventories: Iterable[str] = ()) -> tuple[dict[str, str], list[str]]:
    """Put the file's settings into `environ` where it has none of that name; (what the file has, warnings). Raises Refused.

    The environment itself is not checked, other programs share it, but for options of one call, which begin with BERTH_.
    """
    unknown = [name for name in environ if name.startswith(PREFIX) and not STANDARD.fullmatch(name)]
    if unknown:
        names = known_names(project, inventories)
        slips = [
            f"{name} in the environment: did you mean {near}?" for name in unknown if name not in names and (near := close(name, names))
        ]
        if slips:
            raise Refused("\n".join(slips))
    lines, warnings = _lines(project, environ, inventories)
    loaded.add(project)
    where = environ.get(VARIABLE) or ".env"
    last = {line.name: line for line in lines}
    for name, line in last.items():
        # SSL_CERT_FILE= means none; set and empty it would be a bundle without certificates.
        if name not in environ and (line.value or not STANDARD.fullmatch(name)):
            environ[name] = line.value
            places[name] = f"{where} line {line.number}"
    return {name: line.value for name, line in last.items()}, warnings


def commands(project: Path) -> dict[str, set[str]]:
    """{command of make: the options that it takes}: those that its line in the Makefile names, which `make help` prints."""
    lines = re.findall(r"^([a-z-]+):.*?## (.*)", (project / "Makefile").read_text(), re.MULTILINE)
    return {name: set(OPTION.findall(text)) for name, text in lines}


def of_every_command(project: Path) -> set[str]:
    return set(OPTION.findall("".join(re.findall(r"^# Every command: (.*)", (project / "Makefile").read_text(), re.MULTILINE))))


def refuse_unknown(given: Iterable[str], called: Iterable[str], project: Path, inventories: Iterable[str] = ()) -> set[str]:
    """Of the names on make's command line, the options of one call. Raises Refused where none of the commands takes one of that name."""
    called, takes, every = list(called), commands(project), of_every_command(project)
    names = known_names(project, inventories)
    once = options(names)
    settings = {name for name in names if not name.startswith(PREFIX)}
    variables = set(re.findall(r"^([A-Z_]+) *[:?]?=", (project / "Makefile").read_text(), re.MULTILINE)) - once
    problems = []
    for name in given:
        free = name in names | variables | every or STANDARD.fullmatch(name) or name.startswith(("ANSIBLE_", "MAKE"))
        if free or any(name in takes.get(command, set()) for command in called):
            continue
        those = sorted(command for command, own in takes.items() if name in own)
        if those:
            problems.append(f"make {' '.join(called)} takes no {name}; these do: {', '.join(those)}")
        else:
            near = close(name, names if name.startswith(PREFIX) else settings | once | every | {"INVENTORY", "DOCKER_HOST"}, 0.7)
            own = f"a variable of your own goes before it: {name}=... make {' '.join(called)}"
            problems.append(f"unknown option {name}: " + (f"did you mean {near}?" if near else f"make help lists them; {own}"))
    if problems:
        raise Refused("; ".join(problems))
    return once & set(given)


def refuse_empty(empty: Iterable[str], once: set[str]) -> None:
    """Refuse options of one call that are given without a value, as VERSION=$TAG is where TAG is not set: the default is not meant."""
    if names := [name for name in empty if name in once | {"LIMIT", "INVENTORY", "STACK_NAME"}]:
        raise Refused(f"{', '.join(names)} has no value: give it one, or leave it out for the default")
