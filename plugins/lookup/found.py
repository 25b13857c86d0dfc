"""What the analysis of the sources found, for the defaults of roles."""

from __future__ import annotations

DOCUMENTATION = r"""
name: found
short_description: A setting as the sources of backend and frontend say it
description:
  - Analyses both sources (nothing of them is run) and returns the value of one setting of the roles backend_image, frontend_image and edge.
  - Variables that somebody has set outrank what is found, and what follows from them is found by them.
  - The sources are analysed once in a run.
options:
  _terms:
    description:
      - Names of settings; or C(secrets_schema), the schema of the secrets that the sources read; C(lines), what was found, a line for each
        service; C(places), where each setting was found; C(questions), what stops a run; C(notes), what an operator should know.
    required: true
"""

EXAMPLES = r"""
- name: Show the entry point
  ansible.builtin.debug:
    msg: "{{ lookup('berth.stack.found', 'backend_image_app') }}"
"""

RETURN = r"""
_raw: {description: The values., type: list, elements: raw}
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase
from ansible.template import trust_as_template

from ..module_utils.source.analysis import ADDED, NEUTRAL, Analysis, analyse, dumps, loads, replaced, stated, tokens

LOOKUP = "berth.stack.found"
# What, where somebody has set it, decides what else is found.
DECIDING = (
    *(
        "backend_image_app",
        "backend_image_app_root",
        "backend_image_pythonpath",
        "backend_image_dependencies",
        "backend_image_debian_release",
    ),
    *("backend_image_args", "backend_image_dockerfile"),
    *("frontend_image_source_subpath", "frontend_image_debian_release", "frontend_image_args", "frontend_image_dockerfile"),
)
# What stands in a value for what only a run knows; the variables are those of the roles stack and wiring.
KNOWN = {
    "url": "{{ stack_url }}",
    "socket": "{{ stack_url | regex_replace('^http', 'ws') }}",
    # A build's result is used by every release: the name that all of them have.
    "backend": "http://backend:{{ backend_image_port }}",
    "release_backend": "http://{{ stack_backend_host }}:{{ backend_image_port }}",
    "frontend": "http://{{ stack_frontend_host }}:{{ frontend_image_port }}",
    "database_host": "{{ database_address.partition(':')[0] }}",
    "database_port": "{{ database_address.partition(':')[2] or '5432' }}",
    "database_name": "{{ stack_database_name }}",
}
REFERENCE = Path(__file__).resolve().parents[2] / "apps"
_read: dict[str, Analysis] = {}


def is_given(value: Any) -> bool:
    """Whether a variable has a value of its own, and not the default of a role, which is this lookup."""
    return not (isinstance(value, str) and LOOKUP in value)


class LookupModule(LookupBase):
    """The lookup."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[Any]:
        self.variables = variables or {}
        unknown = [term for term in terms if term not in {**NEUTRAL, **ADDED} and not hasattr(self, f"_{term}")]
        if unknown:
            raise AnsibleError(f"{LOOKUP}: nothing is called {', '.join(map(str, unknown))}")
        analysis = self._analysis()
        return [getattr(self, f"_{term}")(analysis) if hasattr(self, f"_{term}") else self._value(analysis, term) for term in terms]

    def _set(self, name: str) -> Any:
        """The value of a variable; None where it is not there."""
        return self._templar.template(self.variables[name]) if name in self.variables else None

    def _analysis(self) -> Analysis:
        folders = {service: self._set(f"stack_{service}_source") for service in ("backend", "frontend")}
        if all(folder and Path(folder).resolve() == REFERENCE / service for service, folder in folders.items()):
            return self._reference()
        if not self._set("stack_analysis"):
            return Analysis()
        given = {
            name: value for name in DECIDING if name in self.variables and is_given(self.variables[name]) and (value := self._set(name))
        }
        sources = {service: None if given.get(f"{service}_image_dockerfile") else _directory(folder) for service, folder in folders.items()}
        key = hashlib.sha256(
            json.dumps([{name: str(path) for name, path in sources.items()}, given], sort_keys=True, default=str).encode()
        ).hexdigest()
        if key not in _read:
            # Tasks run in processes of their own: the first one leaves what it found for the others.
            kept = Path(C.DEFAULT_LOCAL_TMP) / f"berth-found-{key[:32]}.json"
            if kept.is_file():
                _read[key] = loads(kept.read_text())
            else:
                _read[key] = analyse(sources["backend"], sources["frontend"], given)
                if kept.parent.is_dir():
                    written = kept.with_suffix(f".{os.getpid()}")
                    written.write_text(dumps(_read[key]))
                    written.replace(kept)
        return _read[key]

    def _reference(self) -> Analysis:
        """The reference application, whose file says what it needs."""
        if "reference" not in _read:
            path = REFERENCE / "app.yml"
            _read["reference"] = stated(self._loader.load_from_file(str(path)) if path.is_file() else {})
        return _read["reference"]

    def _value(self, analysis: Analysis, term: str) -> Any:
        value = analysis.value(term)
        if term.endswith("_secrets_environment"):
            schema, service = self._secrets_schema(analysis), term.partition("_")[0]
            value = value | {one.name: one.key for one in analysis.secrets if one.service == service and one.key in schema}
        used = tokens(value)
        return replaced(value, {name: str(self._templar.template(trust_as_template(KNOWN[name]))) for name in used}) if used else value

    def _secrets_schema(self, analysis: Analysis) -> dict[str, Any]:
        names = {one.key for one in analysis.secrets}
        own = self._set("secrets_extra_schema") or {}
        present = {name for name in names if os.environ.get(f"SECRET_{name.upper()}") or f"vault_{name}" in self.variables or name in own}
        return analysis.schema(present)

    def _places(self, analysis: Analysis) -> dict[str, str]:
        return {name: one.where for name, one in analysis.found.items()} if analysis is not _read.get("reference") else {}

    def _lines(self, analysis: Analysis) -> list[str]:
        return analysis.lines() if analysis is not _read.get("reference") else []

    def _questions(self, analysis: Analysis) -> list[str]:
        return analysis.questions({name for name in NEUTRAL if name in self.variables and is_given(self.variables[name])})

    def _notes(self, analysis: Analysis) -> list[str]:
        schema = self._secrets_schema(analysis)
        absent = [
            f"the {one.service} reads the secret {one.name} ({one.where}), which nothing gives: set SECRET_{one.name} in .env"
            for one in analysis.secrets
            if one.key not in schema
        ]
        return [*analysis.notes, *absent, *(f"not set: {text}" for text in analysis.todo if not self._is_set(text.partition(":")[0]))]

    def _is_set(self, name: str) -> bool:
        """Whether a variable of a mapping, as in frontend_image_build_environment.TITLE, has a value."""
        setting, _, variable = name.partition(".")
        return variable in (self._set(setting) or {})


def _directory(path: Any) -> Path | None:
    """The directory of a source; None where it is not there, which the preflight says in more words."""
    return Path(path) if path and Path(path).is_dir() else None
