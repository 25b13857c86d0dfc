"""Name all that a run is made from (sources, settings, the project itself), and let the module of this name compare it with the last run's.

Hashing what a run starts from takes 50 ms; evaluating it, which is what a run does, takes seconds.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.settings.env_file import known
from ..module_utils.source.context import content_hash, context_files, describe, image_files
from ..module_utils.source.tree import Ignore

# What of the project decides what a run does.
PROJECT = ("roles", "plugins", "playbooks")  # group_vars are among the settings, value by value
# What Ansible itself and this role put among a host's variables, which says nothing about what is wanted; the connection does.
MAGIC = re.compile(
    r"ansible_(?!host$|port$|user$|connection$|become).*|role_.*|unchanged_.*|hostvars|groups|group_names|vars|omit|environment|play_hosts|__.*"
    # What the audit calls the command.
    r"|release_verb|release_what"
)
# Which release is wanted; everything else in the environment says how it is to be.
VERSION = "BERTH_VERSION"
# What says nothing of it: words for others, how long to wait for them, and what may be done to a database that does not fit.
ASIDE = ("BERTH_REASON", "BERTH_SCHEMA", "LOCK_WAIT")


def asked_of_environment(project: Path, more: Iterable[str] = ()) -> list[str]:
    """Names of the environment's variables that roles and group_vars look at, and secrets that it gives."""
    return sorted({"DOCKER_HOST", *more, *(name for name in os.environ if name.startswith("SECRET_")), *known(project)})


def settings(variables: dict[str, Any]) -> dict[str, Any]:
    """The variables of a host as they are written, unevaluated, without what Ansible adds or was told by the host (setup)."""
    facts = variables.get("ansible_facts") or {}
    told = {name for name in facts if name in variables and variables[name] == facts[name]}
    return {name: value for name, value in variables.items() if name not in told and not MAGIC.fullmatch(name)}


def parts(
    project: Path,
    sources: list[dict[str, Any]],
    variables: dict[str, Any],
    copies: list[Path],
    environment: Iterable[str] = (),
    key: str = "",
) -> Iterator[tuple[str, str]]:
    """(what, hash of it): the project, each source (as build_context.image_files takes it) with its commit, each setting, the environment,
    the controller's own copies."""
    for folder in PROJECT:
        yield folder, content_hash(project / folder, context_files(project / folder, Ignore("**/__pycache__")))
    for image in sources:
        source, own = Path(image["source"]), image.get("dockerfile") or ""
        dockerfile = source / (own or "Dockerfile")
        recipe = [dockerfile.read_bytes()] if own and dockerfile.is_file() else []
        yield f"source {source}", content_hash(source, image_files(image | {"dockerfile": dockerfile}), *recipe)
        yield f"commit of {source}", repr(describe([source], 200))
    for name, value in settings(variables).items():
        yield f"setting {name}", _hash(value, key)
    for name in asked_of_environment(project, environment):
        if name not in (VERSION, *ASIDE):
            yield f"environment {name}", _hash(os.environ.get(name), key)
    yield "version asked for", os.environ.get(VERSION, "")
    yield from copied(copies)


def _hash(value: Any, key: str) -> str:
    """A hash that only who has the key can try values against: secrets are among settings and in the environment."""
    try:
        text = json.dumps(value, sort_keys=True, default=str)
    except TypeError:  # a mapping with keys of several types, which nothing sorts: YAML's bare NO is false; what is wrong is said later
        text = repr(value)
    return hmac.digest(key.encode(), text.encode(), "sha256").hex()


def copied(copies: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """(what, hash of it) of the controller's own copies of what hosts have."""
    for copy in copies:
        yield f"copy {copy}", hashlib.sha256(copy.read_bytes()).hexdigest() if copy.is_file() else "missing"


class ActionModule(ActionBase):
    """The action; arguments are the module's, and, to look: C(project) and C(copies), paths on the controller, C(sources), each as
    build_context.image_files takes it, C(environment), names of variables, and C(key), which settings and the environment are hashed
    with."""

    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        project, sources, copies = (arguments.pop(name, None) for name in ("project", "sources", "copies"))
        environment, key = arguments.pop("environment", None) or [], arguments.pop("key", "")
        own = [Path(copy) for copy in copies or []]
        if "wanted" in arguments:
            arguments["wanted"] |= dict(copied(own))  # the run has made them since it looked
        else:
            unread = {"changed": False, "same": False, "known": False, "differs": [], "wanted": {}, "kept": {}}
            if any(not Path(image["source"]).is_dir() for image in sources or []):
                return unread  # preflight says so, in more words
            try:
                arguments["wanted"] = dict(parts(Path(project), sources or [], task_vars or {}, own, environment, key))
            except OSError:
                return unread  # as above: a file that cannot be read, or that went away meanwhile
        result = self._execute_module(module_name="berth.stack.stack_fingerprint", module_args=arguments, task_vars=task_vars)
        return result | {"wanted": arguments["wanted"]}
