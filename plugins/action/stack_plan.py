"""Hash all that a run is made from (sources, settings, the environment, Berth itself) and have the module of this name plan by it.

Hashing what a run starts from takes 50 ms; evaluating it, which is what a run does, takes seconds. A setting is hashed as it is written;
one that looks something up where nothing written shows it (a file, a command) is evaluated first. What refers to such a setting differs
with it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils.plan.differences import (
    EDGE,
    HOST,
    IMAGE_BACKEND,
    IMAGE_FRONTEND,
    IMAGE_INFRASTRUCTURE,
    INFRASTRUCTURE,
    PROJECT,
    RELEASE,
    SECRETS,
    SOURCES,
    Difference,
    Item,
    rows,
    summary,
)
from ..module_utils.plan.phases import PHASES
from ..module_utils.settings.env_file import known_names
from ..module_utils.source.context import content_hash, context_files, describe, image_files
from ..module_utils.source.tree import Ignore

OWN = Path(__file__).resolve().parents[2]
# What of Berth itself decides what a run does.
FOLDERS = ("roles", "plugins", "playbooks")
# What Ansible and Berth put among a host's variables, which says nothing about what is wanted; the connection does. Which version is to be
# released is asked of the environment. What the audit calls the command changes nothing.
MAGIC = re.compile(
    r"ansible_(?!host$|port$|user$|connection$|become).*|role_.*|plan_.*|hostvars|groups|group_names|vars|omit|environment|play_hosts|__.*"
    r"|release_(verb|what|rebuild)"
)
# What roles remember during a run (set_fact, register); a second stack in the same run finds those of the first.
FACTS = {
    *("advisor_build_failed", "base_image_built", "container_builds", "container_image", "container_run"),
    *("container_source_defects", "docker_host_ready"),
    *("edge_adapted", "image_checks_reports", "registry_pushed", "release_applied", "release_build_needed", "release_contents"),
    *("release_created", "release_image_contents", "release_missing", "release_origins", "release_revision", "release_routes"),
    *("release_schema", "release_version", "secrets_authority", "secrets_generation", "secrets_generations", "secrets_rotate"),
    *("swarm_kernel", "verify_page", "verify_report", "verify_source", "verify_stack", "verify_story"),
}
# Which component a setting concerns, by its name; the first that fits. Others may concern anything.
SETTINGS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (RELEASE, re.compile(r"release_.*|status_(format|lines|service)|teardown_(confirm|images)|stack_log_level")),
    (RELEASE, re.compile(r"(backend|frontend)_image_(command|cpus|memory|pids|stop_grace|extra_environment)")),
    (IMAGE_BACKEND, re.compile(r"backend_image_.*")),
    (IMAGE_FRONTEND, re.compile(r"frontend_image_.*")),
    (IMAGE_INFRASTRUCTURE, re.compile(r"base_image_.*")),
    (INFRASTRUCTURE, re.compile(r"(database|model|network|services)_.*|stack_services|stack_jobs(_timezone)?")),
    (EDGE, re.compile(r"edge_.*")),
    (SECRETS, re.compile(r"secrets_.*")),
    (HOST, re.compile(r"docker_host_.*")),
)  # fmt: skip
ENVIRONMENT: tuple[tuple[str, re.Pattern[str]], ...] = ((RELEASE, re.compile("LOG_LEVEL")), (SECRETS, re.compile(r"SECRET_.*")))
# Which version is wanted, and what says nothing of it: words for others, how long to wait for them, and what may be done to a database
# that does not fit.
VERSION = "stack_version"
ASIDE = ("BERTH_VERSION", "BERTH_REASON", "BERTH_SCHEMA", "LOCK_WAIT")
LOOKUP = re.compile(r"\b(?:lookup|query|q)\s*\(")
# One whose answer is hashed with the environment.
# One that follows from the sources, which are hashed themselves, and from other settings.
OF_SOURCES = re.compile(r"""\b(?:lookup|query|q)\s*\(\s*['"]berth\.stack\.found['"]""")
OF_ENVIRONMENT = re.compile(r"""\b(?:lookup|query|q)\s*\(\s*['"](?:ansible\.builtin\.)?env['"]\s*,\s*['"](\w+)['"]\s*\)""")


def component(name: str, known_names: Iterable[tuple[str, re.Pattern[str]]]) -> str:
    return next((kind for kind, pattern in known_names if pattern.fullmatch(name)), PROJECT)


def settings(variables: dict[str, Any]) -> dict[str, Any]:
    """The variables of a host as they are written, without what Ansible adds, facts of the host, and what roles remembered."""
    facts = variables.get("ansible_facts") or {}
    from_facts = {name for name in facts if name in variables and variables[name] == facts[name]}
    left_out = from_facts | FACTS
    return {name: value for name, value in variables.items() if name not in left_out and not MAGIC.fullmatch(name)}


def texts(value: Any) -> Iterator[str]:
    """All strings in a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from texts(each)


def looked_up(value: Any) -> tuple[bool, set[str]]:
    """Whether a value as it is written looks up anything that is not hashed by itself; and the environment's variables that it looks up."""
    names: set[str] = set()
    beyond = False
    for text in texts(value):
        if "(" in text:
            names.update(OF_ENVIRONMENT.findall(text))
            beyond = beyond or bool(LOOKUP.search(OF_SOURCES.sub("", OF_ENVIRONMENT.sub("", text))))
    return beyond, names


class Desired:
    """What a run is made from, as hashes. `evaluate` gives the value of a setting; `key` is what settings and the environment are hashed
    with: secrets are among them, and only who has the key can try values against a hash."""

    def __init__(self, variables: dict[str, Any], evaluate: Callable[[Any], Any], key: str = "", project: Path = OWN) -> None:
        self.variables, self.evaluate, self.key, self.project = variables, evaluate, key, project

    def all(self, sources: dict[str, dict[str, Any]], environment: Iterable[str], copies: dict[str, str]) -> dict[Item, str]:
        """`sources` is what images are built from, as source.context.image_files takes it, by the image's service; `environment`, further
        names of the environment's variables; `copies`, {path: component} of files that a run leaves on the controller."""
        return {
            **{Item(PROJECT, "directory", each): self._folder(self.project / each) for each in FOLDERS},
            **dict(self._sources(sources)),
            **dict(self._settings(environment)),
            Item(RELEASE, "version", ""): str(self._value(self.variables.get(VERSION, ""))),
            **copied(copies),
        }

    def _folder(self, folder: Path) -> str:
        return content_hash(folder, context_files(folder, Ignore("**/__pycache__")))

    def _sources(self, sources: dict[str, dict[str, Any]]) -> Iterator[tuple[Item, str]]:
        for service, image in sources.items():
            source, own = Path(image["source"]), image.get("dockerfile") or ""
            dockerfile = source / (own or "Dockerfile")
            recipe = [dockerfile.read_bytes()] if own and dockerfile.is_file() else []
            files = image_files(image | {"dockerfile": dockerfile})
            yield Item(SOURCES, "source", service), content_hash(source, files, str(source).encode(), *recipe)
            yield Item(SOURCES, "commit", service), repr(describe([source], 200))

    def _settings(self, environment: Iterable[str]) -> Iterator[tuple[Item, str]]:
        asked = {"DOCKER_HOST", *environment, *(name for name in os.environ if name.startswith("SECRET_")), *known_names(self.project)}
        values = settings(self.variables)
        values.pop(VERSION, None)  # an item of its own: it names what is built and what is released
        for name, value in values.items():
            beyond, names = looked_up(value)
            asked |= names
            yield Item(component(name, SETTINGS), "setting", name), self.hash(self._value(value) if beyond else value)
        for name in sorted(asked - {*ASIDE}):
            yield Item(component(name, ENVIRONMENT), "environment", name), self.hash(os.environ.get(name))

    def _value(self, value: Any) -> Any:
        try:
            return self.evaluate(value)
        except AnsibleError:  # what is wrong with it is said where it is used
            return value

    def hash(self, value: Any) -> str:
        try:
            text = json.dumps(value, sort_keys=True, default=str)
        except TypeError:  # a mapping with keys of several types, which nothing sorts: YAML's bare NO is false; what is wrong is said later
            text = repr(value)
        return hmac.digest(self.key.encode(), text.encode(), "sha256").hex()


def copied(copies: dict[str, str]) -> dict[Item, str]:
    """Hashes of the controller's own copies of what hosts have."""
    found = {Item(kind, "copy", path): Path(path) for path, kind in copies.items()}
    return {item: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing" for item, path in found.items()}


def message(plan: dict[str, Any], stack: str, url: str, whole: bool) -> list[str]:
    """The plan in sentences; `whole`: all reasons, line by line."""
    if not plan["phases"] and not plan["deploys"]:
        version = plan["built"]["release_version"]
        return [*plan["built"]["lines"], f"{version} is built, and nothing has changed since ({plan['compared']} images compared)"]
    if not plan["phases"]:
        serves = f"{stack} {plan['release']} serves at {url}: " if plan["release"] else f"{stack}: "
        return [f"{serves}nothing has changed since the last run ({plan['compared']} objects compared)"]
    phases = [f"build ({', '.join(plan['images'])})" if phase == "build" and plan["images"] else phase for phase in plan["phases"]]
    chosen = [f"Plan: {' -> '.join(phases)}"]
    reasons = [Difference(**reason) for reason in plan["reasons"]]
    if whole:
        return chosen + [f"  {reason.component}: {reason.sentence()}" for reason in reasons]
    return [f"Changed since the last run: {summary(reasons)}", *chosen] if plan["known"] else []


class ActionModule(ActionBase):
    """The action; arguments are the module's, and, to plan: C(sources), C(copies), C(environment) and C(key) of Desired, C(trust), false
    to have everything done, and C(url), for the message."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        sources, copies, environment, key, url = (
            arguments.pop(name, default)
            for name, default in (("sources", {}), ("copies", {}), ("environment", []), ("key", ""), ("url", ""))
        )
        trust, deploys = arguments.pop("trust", True), {"deploys": arguments.get("deploys", False)}
        if arguments.get("record"):
            new = copied(copies)  # the run has made them since it planned
            arguments["desired"] = [row for row in arguments["desired"] if Item(*row[:3]) not in new] + rows(new)
            return self._module(arguments, task_vars)
        if not trust or any(not Path(image["source"]).is_dir() for image in sources.values()):
            return _everything(arguments) | deploys  # where a source is missing, the preflight says so, in more words
        evaluate = self._templar.template
        try:
            arguments["desired"] = rows(Desired(task_vars or {}, evaluate, key).all(sources, environment, copies))
        except OSError:  # a file that cannot be read, or that went away meanwhile: as above
            return _everything(arguments) | deploys
        plan = self._module(arguments, task_vars)
        if not plan.get("failed") and "phases" in plan:
            plan |= deploys | {"desired": arguments["desired"]}
            plan["message"] = message(plan, arguments["stack"], url, bool(self._task.diff))
        return plan

    def _module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(module_name="berth.stack.stack_plan", module_args=arguments, task_vars=task_vars)
        return result


def _everything(arguments: dict[str, Any]) -> dict[str, Any]:
    """The plan where nothing is compared: nothing is recorded after it, either."""
    phases = [
        phase
        for phase in PHASES
        if (phase != "build" or arguments.get("builds")) and (arguments.get("deploys") or phase in ("engine", "build"))
    ]
    checks = ["settings", "secrets", "engine", "ports"] if arguments.get("deploys") else ["settings", "engine"]
    plan = {"phases": phases, "images": [], "checks": checks, "reasons": [], "known": False, "compared": 0, "release": ""}
    return plan | {"changed": False, "built": {}, "deployed": {}, "desired": [], "message": []}
