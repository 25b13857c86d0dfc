"""Which files of a source reach an image, and one hash over them: what BuildKit is sent, and nothing else, names a content.

Patterns are those of a .dockerignore, https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path


def _expression(pattern: str) -> re.Pattern[str]:
    """A .dockerignore pattern as a regular expression over a relative path; it also matches what lies below."""
    parts = []
    position = 0
    while position < len(pattern):
        rest = pattern[position:]
        if rest.startswith("**/"):
            parts.append("(?:.*/)?")
            position += 3
        elif rest.startswith("**"):
            parts.append(".*")
            position += 2
        elif rest[0] == "*":
            parts.append("[^/]*")
            position += 1
        elif rest[0] == "?":
            parts.append("[^/]")
            position += 1
        elif rest[0] == "[" and "]" in rest:
            end = rest.index("]")
            parts.append("[" + rest[1:end].replace("!", "^", 1) + "]")
            position += end + 1
        else:
            parts.append(re.escape(rest[0]))
            position += 1
    return re.compile("".join(parts) + "(?:/.*)?$")


class Ignore:
    """The rules of one .dockerignore: the last pattern that matches decides."""

    def __init__(self, text: str) -> None:
        self.rules: list[tuple[bool, re.Pattern[str]]] = []
        for line in text.splitlines():
            pattern = line.strip()
            if not pattern or pattern.startswith("#"):
                continue
            again = pattern.startswith("!")
            cleaned = os.path.normpath(pattern.removeprefix("!").strip().lstrip("/"))
            self.rules.append((again, _expression(cleaned)))
        self.excepts = any(again for again, _ in self.rules)

    def ignores(self, path: str) -> bool:
        ignored = False
        for again, expression in self.rules:
            if expression.match(path):
                ignored = not again
        return ignored


def context_files(root: Path, ignore: Ignore) -> Iterator[str]:
    """Relative paths, sorted, of the files and links that BuildKit would be sent."""
    for folder, names, files in os.walk(root):
        relative = os.path.relpath(folder, root)
        prefix = "" if relative == "." else relative + "/"
        links = [n for n in names if os.path.islink(os.path.join(folder, n))]
        # A pattern that takes something back may lie below an ignored directory: then every directory is read.
        names[:] = sorted(n for n in names if n not in links and (ignore.excepts or not ignore.ignores(prefix + n)))
        for name in sorted(files + links):
            if not ignore.ignores(prefix + name):
                yield prefix + name


def content_hash(root: Path, ignore: Ignore, *recipe: bytes) -> str:
    """SHA-256, in hex, over every file of the context (path, executable bit, bytes) and over the recipe's parts."""
    digest = hashlib.sha256()
    for path in context_files(root, ignore):
        full = root / path
        mode = full.lstat().st_mode
        if stat.S_ISLNK(mode):
            kind, payload = b"link", os.readlink(full).encode()
        elif stat.S_ISREG(mode):
            kind, payload = (b"x" if mode & stat.S_IXUSR else b"f"), full.read_bytes()
        else:
            continue
        digest.update(b"%s %s %d\0" % (kind, path.encode(errors="surrogateescape"), len(payload)))
        digest.update(payload)
    for part in recipe:
        digest.update(b"recipe %d\0" % len(part))
        digest.update(part)
    return digest.hexdigest()


def git(path: Path, *arguments: str) -> str | None:
    """What git says, or None outside a checkout or without git."""
    try:
        # The playbook may run as root over a user's checkout: that is no reason for git to refuse to read it.
        done = subprocess.run(["git", "-c", "safe.directory=*", "-C", str(path), *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def describe(paths: list[Path], length: int) -> tuple[str, str, bool]:
    """(description, revision, dirty) of the checkout that holds the first of `paths`."""
    revision = git(paths[0], "rev-parse", "HEAD")
    if revision is None:
        return "source", "", False
    dirty = any(git(path, "status", "--porcelain", "--", ".") for path in paths)
    description = git(paths[0], "describe", "--tags", "--always", "--abbrev=7") or revision[:7]
    mark = "-dirty" if dirty else ""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", description)[-(length - len(mark)) :].lstrip(".-") + mark, revision, dirty


def origin(source: Path) -> dict[str, str]:
    """OCI annotations of what is built from `source`: where its repository is, without a user's credentials, and what package.json or
    pyproject.toml says of its licence. What is not known is not among them."""
    address = re.sub(r"(?<=://)[^/@]+@", "", git(source, "remote", "get-url", "origin") or "")
    found = {"source": address if re.match(r"(https?|ssh|git)://|[\w.-]+@[\w.-]+:", address) else "", "licenses": _licence(source)}
    return {f"org.opencontainers.image.{name}": value for name, value in found.items() if value}


def _licence(source: Path) -> str:
    try:
        if (source / "package.json").is_file():
            said = json.loads((source / "package.json").read_text()).get("license")
        elif (source / "pyproject.toml").is_file():
            said = tomllib.loads((source / "pyproject.toml").read_text()).get("project", {}).get("license")
        else:
            return ""
    except (OSError, ValueError):
        return ""
    said = said.get("text") if isinstance(said, dict) else said
    # An SPDX expression; a whole text is none.
    return said if isinstance(said, str) and re.fullmatch(r"[A-Za-z0-9.+() -]{1,80}", said) else ""
