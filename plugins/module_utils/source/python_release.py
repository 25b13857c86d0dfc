"""Which Python a backend's source needs, and the Debian release that has it."""

from __future__ import annotations

import posixpath
import re
from typing import Any

from .checks import TESTS, Tree, first_named, line_of
from .found import Part
from .python_dependencies import required_python, toml
from .python_entry import Entry
from .python_modules import NEWER_SYNTAX, Application
from .versions import python_allows, release

PYTHONS = {"bookworm": "3.11", "trixie": "3.13"}
# Names of the standard library that a Python has first: where a source imports one, it needs that Python.
FIRST_IN = {
    ("warnings", "deprecated"): "3.13",
    ("typing", "override"): "3.12",
    ("typing", "TypeAliasType"): "3.12",
    ("typing", "TypeIs"): "3.13",
    ("typing", "ReadOnly"): "3.13",
    ("typing", "NoDefault"): "3.13",
    ("itertools", "batched"): "3.12",
    ("copy", "replace"): "3.13",
    ("pathlib", "UnsupportedOperation"): "3.13",
    ("uuid", "uuid7"): "3.14",
    ("queue", "ShutDown"): "3.13",
    ("asyncio", "QueueShutDown"): "3.13",
}
# What names one Python.
WANTED = (
    (".python-version", r"^\s*(?:cpython-|python-)?(3\.\d+)"),
    ("runtime.txt", r"python-(3\.\d+)"),
    (".tool-versions", r"^python\s+(3\.\d+)"),
    ("Dockerfile", r"^FROM\s+\S*python:(3\.\d+)"),
)


def python(part: Part, application: Application, tree: Tree, entry: Entry, given: dict[str, Any]) -> str:
    """The Python of the image; notes the Debian release that has it."""
    image = re.search(r"(?<=:)\d+\.[\d.]+", str((given.get("backend_image_args") or {}).get("PYTHON_IMAGE", "")))
    if image:
        return image[0].rstrip(".")
    if "backend_image_debian_release" in given:
        return PYTHONS.get(str(given["backend_image_debian_release"]), "3.11")
    folders = list(dict.fromkeys([entry.project, entry.folder, ""]))
    required, where = _required(tree, folders)
    wanted, wanted_where = first_named(tree, folders, WANTED)
    used, used_where = _used(application, tree)
    fitting = [name for name, python in PYTHONS.items() if not required or python_allows(required, python) is not False]
    fitting = [name for name in fitting if not used or release(PYTHONS[name]) >= release(used)] or fitting
    if required and not fitting:
        part.problems.append(
            f"the backend asks for Python {required} ({where}), and Debian has 3.11 (bookworm) and 3.13 (trixie): set backend_image_args: "
            f'{{PYTHON_IMAGE: "python:{_lowest(required)}-slim"}}, where a registry answers, '
            "or widen requires-python if 3.13 will do"
        )
        part.add("debian_release", "trixie", "likely", where, f"Python {required} is not in Debian")
        return "3.13"
    choice, certainty, why, at = "bookworm", "likely", "nothing in the source asks for another Python", ""
    if wanted:
        newest = "trixie" if release(wanted)[:2] > (3, 11) else "bookworm"
        exact = wanted in PYTHONS.values()
        choice = newest if newest in fitting else fitting[0]
        why, at = f"the source names Python {wanted}", wanted_where
        if not exact or PYTHONS[choice] != wanted:
            why += f"; {PYTHONS[choice]} is the nearest that Debian has"
            part.notes.append(f"the backend names Python {wanted} ({wanted_where}); its image has {PYTHONS[choice]}")
        certainty = "certain" if exact and PYTHONS[choice] == wanted else "likely"
    elif required or used:
        choice, certainty = fitting[0], "certain" if len(fitting) == 1 else "likely"
        why, at = (
            (f"requires-python {required}", where)
            if required and not (used and len(fitting) == 1)
            else (f"the source uses what Python {used} has first", used_where)
        )
    if choice not in fitting:
        choice = fitting[0]
    part.add("debian_release", choice, certainty, at, f"Python {PYTHONS[choice]}: {why}")
    return PYTHONS[choice]


def _lowest(required: str) -> str:
    match = re.search(r"(?:>=|==|~=|\^|~)?\s*(3\.\d+)", required)
    return match[1] if match else "3.14"


def _required(tree: Tree, folders: list[str]) -> tuple[str, str]:
    for folder in folders:
        for name in ("pyproject.toml", "uv.lock"):
            path = posixpath.join(folder, name)
            if path not in tree.paths:
                continue
            found = required_python(toml(tree, path))
            if found.strip() not in ("", "*"):
                at = re.search(r"requires-python|^python\s*=", tree.text(path) or "", re.M)
                return found, f"{path}:{line_of(tree.text(path) or '', at.start()) if at else 1}"
    for folder in folders:
        path = posixpath.join(folder, "setup.py" if posixpath.join(folder, "setup.py") in tree.paths else "setup.cfg")
        if match := re.search(r"python_requires\s*=\s*[\"']?([^\"'\n,)]+(?:,[^\"'\n)]+)?)", tree.text(path) or ""):
            return match[1].strip(), f"{path}:{line_of(tree.text(path) or '', match.start())}"
    return "", ""


def _used(application: Application, tree: Tree) -> tuple[str, str]:
    """The lowest Python that has what the source uses of the language and of the standard library; empty: any."""
    best, where = "", ""
    for path in tree.files:
        if not path.endswith(".py") or TESTS.search(path):
            continue
        text = tree.text(path) or ""
        newer = NEWER_SYNTAX.search(text) if not best else None
        if newer and application.parsed(path) is None and path in application.problems:
            best, where = "3.12", f"{path}:{line_of(text, newer.start())}"
        elif match := re.search(r"^(?:type\s+\w+(?:\[[^\]]*\])?\s*=\s*|(?:async )?def \w+\[|class \w+\[)", text, re.M):
            best, where = max((best, where), ("3.12", f"{path}:{line_of(text, match.start())}"), key=lambda one: release(one[0]))
        for match in re.finditer(r"^from (\w+) import ([^(\n]+)$", text, re.M):
            for name in re.findall(r"\w+", match[2].partition("#")[0]):
                first = FIRST_IN.get((match[1], name), "")
                if first and release(first) > release(best or "3.11"):
                    best, where = first, f"{path}:{line_of(text, match.start())}"
    return best, where
