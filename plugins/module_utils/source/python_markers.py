"""Environment markers of Python dependencies (PEP 508): whether a dependency is installed into the image at all.

Only the standard library, because it runs on the host that builds; tests/unit/test_python_markers.py holds it against `packaging`.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from typing import Any

VERSIONS = {"python_version", "python_full_version", "implementation_version"}
# As old requirement files, and setuptools, spell them.
ALIASES = {
    "os.name": "os_name",
    "sys.platform": "sys_platform",
    "platform.version": "platform_version",
    "platform.machine": "platform_machine",
    "platform.python_implementation": "platform_python_implementation",
    "python_implementation": "platform_python_implementation",
}
VARIABLES = (
    VERSIONS
    | set(ALIASES.values())
    | {"platform_release", "platform_system", "implementation_name", "extra", "extras", "dependency_groups"}
)
TOKEN = re.compile(
    r"""\s*(?:(?P<text>'[^']*'|"[^"]*")|(?P<mark>[()])|(?P<sign>===|==|~=|!=|<=|>=|<|>)|(?P<word>[A-Za-z_][\w.]*))"""
)  # fmt: skip
VERSION = re.compile(
    r"v?(\d+(?:\.\d+)*)(?:[._-]?(a|b|rc|alpha|beta|c|pre|preview)[._-]?(\d*))?(?:[._-]?(?:post|dev)\d*)*(?:\+.*)?$", re.IGNORECASE
)
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


class Unreadable(ValueError):
    """It is no marker, or one of a form that is not known here."""


def builders_machine() -> str:
    """The processor that images are built for, as Linux names it."""
    return MACHINES.get(platform.machine().lower(), platform.machine())


def environments(python: str, machine: str = "") -> list[dict[str, str]]:
    """What markers are evaluated in: the image's. Of a Python of two numbers the patch release is not known: its first and its last."""
    numbers = re.match(r"\d+(?:\.\d+)*", python)[0].split(".")
    full = [".".join(numbers)] if len(numbers) > 2 else [".".join([*numbers, patch]) for patch in ("0", "99")]
    return [
        {
            "os_name": "posix",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": machine or builders_machine(),
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
            "implementation_version": version,
            "python_version": ".".join(numbers[:2]),
            "python_full_version": version,
            "platform_release": "",
            "platform_version": "",
            "extra": "",
            "extras": "",
            "dependency_groups": "",
        }
        for version in full
    ]


def _version(text: str) -> tuple[tuple[int, ...], int] | None:
    """(numbers, rank); a release comes after its previews."""
    match = VERSION.match(text.strip())
    if not match:
        return None
    numbers = tuple(int(part) for part in match[1].split("."))
    rank = 0 if not match[2] else {"a": -300, "b": -200}.get(match[2][0].lower(), -100) * 1000 + int(match[3] or 0)
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers = numbers[:-1]
    return numbers, rank


def _begins(have: str, want: str) -> bool:
    """Whether a version is one of those that a prefix (3.11.*) names."""
    prefix = [int(part) for part in want.split(".")]
    numbers = [int(part) for part in re.match(r"\d+(?:\.\d+)*", have)[0].split(".")]
    return (numbers + [0] * len(prefix))[: len(prefix)] == prefix


def _compare_versions(left: str, sign: str, right: str) -> bool | None:
    """As PEP 440 does; None where one of them is no version."""
    if sign in ("==", "!=") and right.endswith(".*"):
        if not re.fullmatch(r"\d+(\.\d+)*", right[:-2]) or _version(left) is None:
            return None
        return _begins(left, right[:-2]) == (sign == "==")
    have, want = _version(left), _version(right)
    if have is None or want is None:
        return None
    if sign == "~=":
        numbers = right.strip().lstrip("v").split(".")
        if len(numbers) < 2:
            return None
        return have >= want and _begins(left, ".".join(re.match(r"\d+", part)[0] for part in numbers[:-1]))
    table: dict[str, Callable[[Any, Any], bool]] = {
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
    }
    return left.strip() == right.strip() if sign == "===" else table[sign](have, want)


class _Parser:
    """Recursive descent over the grammar of PEP 508: or, and, parentheses, comparisons."""

    def __init__(self, text: str, environment: dict[str, str]) -> None:
        self.environment = environment
        self.tokens: list[tuple[str, str]] = []
        position = 0
        while text[position:].strip():
            match = TOKEN.match(text, position)
            if not match:
                raise Unreadable(text)
            self.tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
            position = match.end()
        self.text, self.at = text, 0

    def _next(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("", "")

    def _take(self) -> tuple[str, str]:
        token = self._next()
        self.at += 1
        return token

    def whole(self) -> bool:
        value = self._any()
        if self.at != len(self.tokens):
            raise Unreadable(self.text)
        return value

    def _any(self) -> bool:
        value = self._all()
        while self._next() == ("word", "or"):
            self._take()
            value = self._all() or value
        return value

    def _all(self) -> bool:
        value = self._one()
        while self._next() == ("word", "and"):
            self._take()
            value = self._one() and value
        return value

    def _one(self) -> bool:
        if self._next() == ("mark", "("):
            self._take()
            value = self._any()
            if self._take() != ("mark", ")"):
                raise Unreadable(self.text)
            return value
        left = self._take()
        kind, sign = self._take()
        if (kind, sign) == ("word", "not"):
            if self._take() != ("word", "in"):
                raise Unreadable(self.text)
            sign = "not in"
        elif kind != "sign" and (kind, sign) != ("word", "in"):
            raise Unreadable(self.text)
        return self._compared(left, sign, self._take())

    def _compared(self, left: tuple[str, str], sign: str, right: tuple[str, str]) -> bool:
        name = next((ALIASES.get(word, word) for kind, word in (left, right) if kind == "word"), "")
        if name not in VARIABLES or {left[0], right[0]} != {"word", "text"}:
            raise Unreadable(self.text)
        one, other = (self.environment[name] if kind == "word" else word[1:-1] for kind, word in (left, right))
        if name == "extra":
            # Of uv's conflicting extras and groups (extra-3-app-cpu) it is not known here which one the image gets.
            if re.match(r"(extra|group|project)-\d+-", other if left[0] == "word" else one):
                return True
            one, other = (re.sub(r"[-_.]+", "-", text).lower() for text in (one, other))
        if sign == "in":
            return one in other
        if sign == "not in":
            return one not in other
        if name in VERSIONS and (answer := _compare_versions(one, sign, other)) is not None:
            return answer
        if sign in ("~=", "==="):
            if sign == "===":
                return one == other
            raise Unreadable(self.text)
        return {"==": one == other, "!=": one != other, "<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[sign]


def evaluate(marker: str, environment: dict[str, str]) -> bool:
    """Whether a marker holds. Raises Unreadable."""
    return _Parser(marker, environment).whole()


def holds(marker: str | None, where: list[dict[str, str]]) -> bool:
    """Whether what has this marker may be installed; without one, or with one that cannot be read, it is."""
    if not marker or not marker.strip():
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
