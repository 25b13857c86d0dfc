"""Collect given secrets on the controller and pass them to the module of the same name on the host.

The values are never variables, so no fact, loop item or printed argument can contain them.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterable
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase

from ..module_utils.secrets.store import Refused, with_defaults

SOURCES = ("vault", "sops", "environment", "command")
TIMEOUT = 60


def _kind(value: Any) -> str:
    """The type of a YAML or JSON value as text; Ansible's own types are subclasses."""
    return (
        "a list or a mapping" if isinstance(value, (list, dict)) else "true or false" if isinstance(value, bool) else "a number or a date"
    )


class Sources:
    """The sources of secrets; each method returns (value, where it is set), or None.

    `variable` reads an Ansible variable by name; `config` is {sops: {program, file}, command: [argv, {name} for the secret]}.
    """

    def __init__(self, variable: Callable[[str], Any], config: dict[str, Any], environ: dict[str, str]) -> None:
        self.variable, self.config, self.environ = variable, config, environ
        self._sops: dict[str, Any] | None = None

    def find(self, name: str, spec: dict[str, Any], order: list[str]) -> tuple[str, str] | None:
        """The value of a secret and where it is set, as text, by the first source that has it."""
        for source in spec["sources"] if spec["sources"] is not None else order:
            if source not in SOURCES:
                raise Refused(f"secrets_schema.{name}.sources has {source!r}; valid sources: {', '.join(SOURCES)}")
            found = getattr(self, source)(name, spec)
            if found is None or found[0] in ("", None):
                continue
            if not isinstance(found[0], str):
                # Converted to text it may be another value: 0123 is 83 in YAML.
                raise Refused(f"the secret {name} is {_kind(found[0])}, not a text: it is set by {found[1]}; quote it there")
            return str(found[0]), found[1]
        return None

    def vault(self, name: str, spec: dict[str, Any]) -> tuple[str, str] | None:
        """The variable vault_NAME of group_vars/all/vault.yml or an inventory, encrypted by ansible-vault."""
        value = self.variable(f"vault_{name}")
        return None if value is None else (value, f"the variable vault_{name} (group_vars/all/vault.yml)")

    def sops(self, name: str, spec: dict[str, Any]) -> tuple[str, str] | None:
        """The key NAME of a file that sops decrypts."""
        file = self.config["sops"]["file"]
        if not file:
            return None
        program = self.config["sops"]["program"]
        if self._sops is None:
            text = self._run(
                [program, "--decrypt", "--output-type", "json", file],
                f"secrets_sops_file is {file}, and {program}",
                "Install sops, or set secrets_sops_program to its path; age's key is found by SOPS_AGE_KEY_FILE",
            )
            try:
                self._sops = json.loads(text)
            except ValueError:
                raise Refused(f"the output of sops for {file} is not JSON: it must be one mapping of names to values") from None
        value = self._sops.get(name)
        return None if value is None else (value, f"the key {name} of {file} (sops {file})")

    def environment(self, name: str, spec: dict[str, Any]) -> tuple[str, str] | None:
        """An environment variable: SECRET_NAME, or the one that the schema names."""
        variable = spec["environment"] or f"SECRET_{name.upper()}"
        return (self.environ[variable], f"{variable} in the environment or .env") if self.environ.get(variable) else None

    def command(self, name: str, spec: dict[str, Any]) -> tuple[str, str] | None:
        """The output of secrets_command, with {name} replaced by the secret's name; None where it is empty."""
        argv = [str(word).replace("{name}", name) for word in self.config["command"]]
        if not argv:
            return None
        text = self._run(
            argv, f"secrets_command for the secret {name}, {argv[0]},", "Correct secrets_command, or run it by hand to see why"
        )
        # Remove the final line break of a single line; values of several lines (a key) stay as they are.
        one = re.fullmatch(r"([^\r\n]*)(\r?\n)?", text)
        return one[1] if one else text, f"the output of {argv[0]} (secrets_command)"

    def _run(self, argv: list[str], what: str, hint: str) -> str:
        try:
            done = subprocess.run(argv, capture_output=True, env=self.environ, timeout=TIMEOUT, check=False)
        except FileNotFoundError:
            raise Refused(f"{what} cannot be run: program {argv[0]} not found. {hint}") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Refused(f"{what} cannot be run: {type(error).__name__}. {hint}") from None
        if done.returncode:
            last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no output"])[-1]
            raise Refused(f"{what} ended with status {done.returncode}: {last}. {hint}")
        try:
            return done.stdout.decode()
        except UnicodeDecodeError:
            raise Refused(f"the output of {what} is not UTF-8. {hint}") from None


def gather(schema: dict[str, Any], sources: Sources, order: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """({name: value}, {name: where it is set}) of the secrets that a source has."""
    found = {name: sources.find(name, spec, order) for name, spec in with_defaults(schema).items()}
    return {n: f[0] for n, f in found.items() if f}, {n: f[1] for n, f in found.items() if f}


def refuse_slips(schema: dict[str, Any], environ: Iterable[str]) -> None:
    """Refuse a misspelled SECRET_<NAME>, which would be ignored."""
    expected = {spec["environment"] or f"SECRET_{name.upper()}" for name, spec in with_defaults(schema).items()}
    every = expected | {f"SECRET_{name.upper()}" for name in schema}
    for variable in sorted(each for each in environ if each.startswith("SECRET_") and each not in every):
        near = difflib.get_close_matches(variable, sorted(expected), 1, 0.9)
        if near:
            raise Refused(f"{variable} in the environment or .env is not the variable of a secret: did you mean {near[0]}?")


def refuse_rotation(schema: dict[str, Any], rotate: list[str], origin: dict[str, str]) -> None:
    """Refuse to rotate a secret that does not exist or is not generated."""
    for name in rotate:
        if name not in schema:
            raise Refused(f"there is no secret {name}; secrets: {', '.join(sorted(schema))}. Example: make rotate SECRET={min(schema)}")
        if name in origin:
            raise Refused(f"the secret {name} is set by {origin[name]}: set a new value there, then: make deploy")
        if not with_defaults(schema)[name]["generate"]:
            raise Refused(f"the secret {name} is not generated: set a new value in one of its sources (docs/secrets.md), then: make deploy")


class ActionModule(ActionBase):
    """The action. Arguments in addition to the module's: sources (their order), sops {program, file}, command."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        args = dict(self._task.args)
        order = args.pop("sources", list(SOURCES))
        config = {"sops": args.pop("sops", {"program": "sops", "file": ""}), "command": args.pop("command", [])}
        try:
            given, origin = gather(args["schema"], Sources(self._variable(task_vars or {}), config, dict(os.environ)), order)
            refuse_slips(args["schema"], os.environ)
            refuse_rotation(args["schema"], args.get("rotate") or [], origin)
        except Refused as error:
            return result | {"failed": True, "msg": str(error)}
        module_args = args | {"given": given, "origin": origin}
        result |= self._execute_module(module_name="berth.stack.secret_files", module_args=module_args, task_vars=task_vars)
        return result

    def _variable(self, task_vars: dict[str, Any]) -> Callable[[str], Any]:
        def read(name: str) -> Any:
            if name not in task_vars:
                return None
            try:
                return self._templar.template(task_vars[name])
            except AnsibleError as error:
                # The error's text may contain the value.
                raise Refused(
                    f"the variable {name} cannot be read: {type(error).__name__}; is its vault open (--ask-vault-pass)?"
                ) from None

        return read
