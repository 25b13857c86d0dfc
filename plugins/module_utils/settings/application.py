"""The settings that belong to an application: app.yml, which `make init` writes. Runs on the controller only.

YAML of role variables, which everything but defaults of roles outranks: the inventory, group_vars, -e, and the environment variable or line
of `.env` of a setting that has one. The reference application's is apps/app.yml, which the lookup `found` reads.
"""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .commands import options
from .env_file import Refused

VARIABLE = "BERTH_APP"
NAME = "app.yml"
SOURCES = ("stack_backend_source", "stack_frontend_source")
# A name that is none of a role's variables: a slip.
SLIP = 0.85
# {variable: the file that this process has it from}.
loaded: dict[str, Path] = {}
__all__ = ["Refused", "is_default", "loaded", "path_of", "target", "values"]


def target(environ: Mapping[str, str]) -> Path:
    """The file that make init writes: of APP=, else of the directory of the call."""
    here = Path(environ.get("BERTH_CALLED_FROM") or os.getcwd())
    return Path(os.path.normpath(here / Path(environ.get(VARIABLE) or NAME).expanduser()))


def is_default(path: Path, project: Path, environ: Mapping[str, str]) -> bool:
    """Whether calls from the same directory read `path` without APP=."""
    return path == target({**environ, VARIABLE: ""}) or path == project / NAME


def path_of(project: Path, environ: Mapping[str, str]) -> Path | None:
    """The file to read: of APP=, of the directory of the call, of the project. Raises Refused where APP= names none."""
    here = Path(environ.get("BERTH_CALLED_FROM") or os.getcwd())
    if given := environ.get(VARIABLE):
        path = target(environ)
        if not path.is_file():
            raise Refused(f"APP is {given}: there is no such file; make init BACKEND_SOURCE=... FRONTEND_SOURCE=... APP={given} writes it")
        return path
    return next((path for path in (here / NAME, project / NAME) if path.is_file()), None)


@functools.cache
def _settings(project: Path) -> tuple[dict[str, list[str]], frozenset[str]]:
    """({environment variable: the settings that it decides}, the names of all variables of roles)."""
    decided: dict[str, list[str]] = {}
    names: set[str] = set()
    for path in [*project.glob("roles/*/defaults/main.yml"), *project.glob("roles/stack/defaults/main/*.yml")]:
        text = path.read_text()
        names.update(re.findall(r"^([a-z]\w*):", text, re.M))
        for name, settings in options(text).items():
            decided.setdefault(name, []).extend(settings)
    for path in project.glob("roles/*/meta/argument_specs.yml"):
        names.update(re.findall(r"^      ([a-z]\w*):", path.read_text(), re.M))
    return decided, frozenset(names)


def values(
    project: Path, environ: Mapping[str, str], load: Callable[[Path], Any], written: bool = False
) -> tuple[dict[str, Any], list[str]]:
    """(the variables of the application's file, warnings). `load` reads a YAML file; `written`: the call writes it, so that it need not be
    there. Raises Refused.
    """
    path = None if written and not target(environ).is_file() else path_of(project, environ)
    own = _read(project, path, load) if path else {}
    warnings = _check(project, path, own) if path else []
    decided = {setting for name, settings in _settings(project)[0].items() if environ.get(name) for setting in settings}
    found = {name: value for name, value in own.items() if name not in decided}
    loaded.clear()
    loaded.update(dict.fromkeys(found, path or Path(NAME)))
    return found, warnings


def _read(project: Path, path: Path, load: Callable[[Path], Any]) -> dict[str, Any]:
    read = load(path)
    if not isinstance(read, (dict, type(None))):
        raise Refused(f"{path}: not a mapping of variables to values (see docs/your-application.md)")
    data = dict(read or {})
    for name in SOURCES:
        value = data.get(name)
        if isinstance(value, str) and value and "{{" not in value:
            data[name] = os.path.normpath(path.parent / Path(value).expanduser())
    return data


def _check(project: Path, path: Path, own: Mapping[str, Any]) -> list[str]:
    """Warnings about names that no role has; Refused for one that is a slip for a role's."""
    names = _settings(project)[1]
    unknown = [str(name) for name in own if name not in names and not str(name).startswith(("vault_", "ansible_"))]
    slips = [(name, near[0]) for name in unknown if (near := difflib.get_close_matches(name, names, 1, SLIP))]
    if slips:
        raise Refused("\n".join(f"{path}: {name}: did you mean {near}?" for name, near in slips))
    return [f"{path} has variables that no role of Berth reads: {', '.join(unknown)}"] if unknown else []
