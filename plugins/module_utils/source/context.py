"""What an image is built from: its files, one hash over them, which names the content, and where they are from."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .tree import Ignore, ignore_file, select


def context_files(root: Path, ignore: Ignore) -> Iterator[str]:
    """Relative paths, sorted, of the files and links that BuildKit would be sent of a directory that is no application's source."""
    for folder, names, files in os.walk(root):
        relative = os.path.relpath(folder, root)
        prefix = "" if relative == "." else relative + "/"
        links = [n for n in names if os.path.islink(os.path.join(folder, n))]
        # A pattern that takes something back may lie below an ignored directory: then every directory is read.
        names[:] = sorted(n for n in names if n not in links and (ignore.excepts or not ignore.ignores(prefix + n)))
        for name in sorted(files + links):
            if not ignore.ignores(prefix + name):
                yield prefix + name


def image_files(image: dict[str, Any]) -> list[str]:
    """The files that an image is built from.

    `image` has source (a directory) and, where that is an application's, context: {kind, include, role} of source_files.select, and
    dockerfile (a path); otherwise the .dockerignore beside the Dockerfile holds, or the source's.
    """
    source, dockerfile = Path(image["source"]), Path(image.get("dockerfile") or "Dockerfile")
    if context := image.get("context"):
        return select(source, context["kind"], context.get("include") or [], dockerfile, context.get("role", "")).files
    rules = ignore_file(source, dockerfile, "own")
    return list(context_files(source, Ignore(rules.read_text() if rules.is_file() else "")))


def image_content(image: dict[str, Any], files: Iterable[str] | None = None, root: Path | None = None) -> str:
    """The hash that names the content of an image: its files, its Dockerfile, its build arguments (args) and what it is built on (base).

    `files` and `root`, where the files have been listed or copied already.
    """
    recipe = json.dumps([image.get("args") or {}, image.get("base") or ""], sort_keys=True).encode()
    files = image_files(image) if files is None else files
    return content_hash(root or Path(image["source"]), files, Path(image["dockerfile"]).read_bytes(), recipe)


def content_hash(root: Path, files: Iterable[str], *recipe: bytes) -> str:
    """SHA-256, in hex, over the given files (path, executable bit, bytes) and over the recipe's parts."""
    digest = hashlib.sha256()
    for path in files:
        full = root / path
        mode = full.lstat().st_mode
        if stat.S_ISLNK(mode):
            digest.update(_entry(b"link", path, payload := os.fsencode(os.readlink(full)), len(payload)))
        elif stat.S_ISREG(mode):
            with open(full, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                digest.update(_entry(b"x" if mode & stat.S_IXUSR else b"f", path, b"", size))
                while block := file.read(1024 * 1024):
                    digest.update(block)
    for part in recipe:
        digest.update(b"recipe %d\0" % len(part))
        digest.update(part)
    return digest.hexdigest()


def _entry(kind: bytes, path: str, payload: bytes, size: int) -> bytes:
    return b"%s %s %d\0" % (kind, os.fsencode(path), size) + payload


def git(path: Path, *arguments: str) -> str | None:
    """git's output, or None outside a checkout or without git."""
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
    pyproject.toml declares as its licence. Only what can be read is among them."""
    address = re.sub(r"(?<=://)[^/@]+@", "", git(source, "remote", "get-url", "origin") or "")
    found = {"source": address if re.match(r"(https?|ssh|git)://|[\w.-]+@[\w.-]+:", address) else "", "licenses": _licence(source)}
    return {f"org.opencontainers.image.{name}": value for name, value in found.items() if value}


def _licence(source: Path) -> str:
    try:
        if (source / "package.json").is_file():
            declared = json.loads((source / "package.json").read_text()).get("license")
        elif (source / "pyproject.toml").is_file():
            declared = tomllib.loads((source / "pyproject.toml").read_text()).get("project", {}).get("license")
        else:
            return ""
    except (OSError, ValueError):
        return ""
    declared = declared.get("text") if isinstance(declared, dict) else declared
    # An SPDX expression; a whole text is none.
    return declared if isinstance(declared, str) and re.fullmatch(r"[A-Za-z0-9.+() -]{1,80}", declared) else ""
