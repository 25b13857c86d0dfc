"""Version ranges and environment markers, as PyPI and npm define them: what the image's Python and Node.js satisfy.

`packaging` and `semantic-version` evaluate them. The controller has both (requirements.txt); a builder elsewhere may lack them: then
nothing is compared, MISSING names them, and the build itself reports what does not fit.
"""

from __future__ import annotations

import importlib.util
import platform
import re

MISSING = [name for name in ("packaging", "semantic_version") if importlib.util.find_spec(name) is None]
if not MISSING:
    from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from semantic_version import NpmSpec, Version

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
# uv's conflicting extras and groups (extra-3-app-cpu): which one the image gets is not known here.
CONFLICTING = r"(?:'(?:extra|group|project)-\d+-[^']*'|\"(?:extra|group|project)-\d+-[^\"]*\")"
CONFLICT = re.compile(rf"\bextra\s*[!=]=\s*{CONFLICTING}|{CONFLICTING}\s*[!=]=\s*extra\b")
PATCHES = range(100)


class Unreadable(ValueError):
    """Not a marker."""


def release(text: str) -> tuple[int, ...]:
    """The numbers of a version, without what follows them."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text.strip())
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def _pep440(specifier: str) -> str:
    """A specifier with Poetry's operators as one of PEP 440; `>3.11` excludes every 3.11, which is what its author means."""
    parts = []
    for part in filter(None, (p.strip() for p in specifier.split(","))):
        match = re.fullmatch(r"(\^|~|>)?\s*(\d+(?:\.\d+)*)", part)
        numbers = match[2].split(".") if match else []
        if not match or (match[1] == ">" and len(numbers) > 2):
            parts.append(part)
        elif match[1] == ">":
            parts.append(f">{match[2]}.{PATCHES[-1]}")
        else:
            kept = numbers[: 1 if match[1] == "^" else 2 if match[1] == "~" else None]
            parts += [f"=={'.'.join(kept)}.*", f">={match[2]}"]
    return ",".join(parts)


def python_allows(specifier: str, version: str) -> bool | None:
    """Whether a Python `version` satisfies a PEP 440 specifier; None where it cannot be read. Of 3.11 any patch release may satisfy it."""
    if MISSING:
        return None
    try:
        allowed = SpecifierSet(_pep440(specifier), prereleases=True)
    except InvalidSpecifier:
        return None
    return any(map(allowed.contains, [version] if version.count(".") > 1 else [f"{version}.{patch}" for patch in PATCHES]))


def node_allows(expression: str, version: str) -> bool | None:
    """Whether a Node.js `version` (18.20.4) is in an npm range; None where it cannot be read."""
    if MISSING:
        return None
    try:
        return Version.coerce(version) in NpmSpec(re.sub(r"([<>=^~])\s+", r"\1", expression.strip()))
    except ValueError:
        return None


def builders_machine() -> str:
    """The processor that images are built for, as Linux names it."""
    return MACHINES.get(platform.machine().lower(), platform.machine())


def environments(python: str, machine: str = "") -> list[dict[str, str]]:
    """What markers are evaluated in: the image's. Of a Python of two numbers the patch release is not known: its first and its last."""
    numbers = release(python)
    full = [numbers] if len(numbers) > 2 else [(*numbers, PATCHES[0]), (*numbers, PATCHES[-1])]
    return [
        {
            "os_name": "posix",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": machine or builders_machine(),
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "implementation_version": version,
            "python_version": ".".join(version.split(".")[:2]),
            "python_full_version": version,
            "platform_release": "",
            "platform_version": "",
            "extra": "",
        }
        for version in (".".join(map(str, each)) for each in full)
    ]


def evaluate(marker: str, environment: dict[str, str]) -> bool:
    """Whether a marker holds. Raises Unreadable."""
    try:
        return bool(Marker(CONFLICT.sub("os_name == 'posix'", marker)).evaluate(environment))
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName) as error:
        raise Unreadable(marker) from error


def holds(marker: str | None, where: list[dict[str, str]]) -> bool:
    """Whether what has this marker may be installed; without one, or with one that cannot be read, it is."""
    if MISSING or not marker or not marker.strip():
        return True
    try:
        return any(evaluate(marker, environment) for environment in where)
    except Unreadable:
        return True


def split(requirement: str) -> tuple[str, str]:
    """(requirement, marker) of a line of a requirements file, without comment and pip's options."""
    text = re.split(r"(?:^|\s)#|\s--(?:hash|config-settings|global-option)\b", requirement.strip())[0].strip()
    # In an address a semicolon is a part of it, unless a space is before it.
    address = bool(
        re.match(r"(?:-e\s+|--editable[\s=]+)?(?:git\+|https?:|file:)", text) or re.match(r"[\w.-]+\s*(?:\[[^\]]*\])?\s*@", text)
    )
    parts = re.split(r"\s;\s*" if address else r"\s*;\s*", text, maxsplit=1)
    return parts[0].strip(), parts[1].strip() if len(parts) > 1 else ""
