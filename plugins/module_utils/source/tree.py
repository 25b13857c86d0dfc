"""Which files of a source reach an image: one list, for the build context, for the hash that names the content and for the preflight.

A checkout gives what git tracks and what is new in it, without what git ignores; a source outside git gives what its .gitignore files
leave. The source's own .dockerignore holds for both, and so does the list below of what is never part of an image. Only the standard
library: it runs on the host that builds. Paths are relative to the source, with `/`; bytes that are not UTF-8 are surrogates (os.fsdecode).
Patterns are those of a .dockerignore, https://docs.docker.com/build/concepts/context/#dockerignore-files
"""

from __future__ import annotations

import os
import posixpath
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .findings import finding

# --- the lists: by kind of source; own is one with a Dockerfile of its own, whose author decides what runs ------------------------------

# Never, tracked or not: the history, what the build makes itself, and (SECRETS) what holds credentials by its name.
NEVER = [
    "**/.git", "**/.hg", "**/.svn", "**/.DS_Store", "**/node_modules", "**/.next", "**/.venv", "**/__pycache__", "**/*.py[co]",
    ".dockerignore",
]  # fmt: skip
SECRETS = {
    "all": ["**/.env", "**/.env.local", "**/.env.*.local", "**/.netrc", "**/.pgpass", "**/.git-credentials", "**/*.key", "**/id_rsa*",
            "**/id_ecdsa*", "**/id_ed25519*"],
    "fastapi": ["**/.npmrc", "**/.pypirc"],  # the .npmrc of a frontend is part of its source
}  # fmt: skip
# Not part of what runs, though somebody committed it; *_image_include brings it back.
NOT_RUN = {
    "fastapi": ["tests", "test", "**/conftest.py", "**/.pre-commit-config.yaml"],
    "fastapi nextjs": ["**/.github", "**/.gitlab", "**/.idea", "**/.vscode", "**/.devcontainer", "Dockerfile", "Dockerfile.*",
                       "docker-compose*.y*ml", "compose.y*ml", "compose.*.y*ml", "**/.gitignore", "**/.gitattributes", "**/.gitmodules"],
}  # fmt: skip
# What builds, tests and tools leave behind, unless it is tracked.
LEFT_BEHIND = {
    "all": ["**/.env.*", "!**/.env.example", "!**/.env.sample", "!**/.env.template", "!**/.env.dist", "**/.cache", "**/coverage",
            "**/*.log"],
    "fastapi": ["**/venv", "**/.pytest_cache", "**/.mypy_cache", "**/.ruff_cache", "**/.hypothesis", "**/.tox", "**/.nox", "**/.coverage*",
                "**/coverage.xml", "**/htmlcov", "**/*.egg-info", "**/*.sqlite3", "**/*.db", "build", "dist"],
    "nextjs": ["**/.turbo", "**/.pnpm-store", "**/.yarn/cache", "**/.yarn/install-state.gz", "**/.eslintcache", "**/*.tsbuildinfo",
               "**/playwright-report", "**/test-results", "**/.test"],
}  # fmt: skip
# Of what is left behind, what an application may well need: data, settings, code.
OF_TOOLS = re.compile(r"(^|/)(venv|\.tox|\.nox|\.cache|\.hypothesis|\.\w+_cache|\.pnpm-store|\.yarn|[^/]+\.egg-info)/")
NEEDED_PERHAPS = re.compile(r"\.(db|sqlite3)$|(^|/)\.env\.[^/]+$|^(?!build/lib/).*\.(py|tsx?|jsx)$")
LFS = b"version https://git-lfs.github.com/spec/v1\n"
# Links to these mean the container's own.
OF_THE_CONTAINER = ("/dev/", "/proc/", "/tmp/", "/run/", "/var/run/")

# What no application reads: documents, licences, and the files of editors, tools and assistants.
FOR_PEOPLE = re.compile(r"\.(mdx?|rst)$|(^|/)(LICEN[CS]E|NOTICE|\.[^/]+)", re.I)


def patterns(kind: str, *lists: dict[str, list[str]]) -> list[str]:
    """The patterns of the given lists that hold for a kind of source."""
    return [one for table in lists for kinds, own in table.items() for one in own if kinds == "all" or kind in kinds.split()]


def left_out_patterns(kind: str) -> list[str]:
    """All patterns of what is left out of images of a kind, the last of them unless it is tracked."""
    return [*NEVER, *patterns(kind, SECRETS, NOT_RUN, LEFT_BEHIND)]


NOT_OF_AN_IMAGE = "never part of an image"


# --- patterns ------------------------------------------------------------------------------------------------------------------


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
            # As a set of characters only the first ! is special; a [ in it is one of the characters.
            inside = "^" + rest[2:end] if rest[1] == "!" else rest[1:end]
            parts.append("[" + inside.replace("[", "\\[") + "]")
            position += end + 1
        elif rest[0] == "\\" and len(rest) > 1:
            parts.append(re.escape(rest[1]))
            position += 2
        else:
            parts.append(re.escape(rest[0]))
            position += 1
    try:
        return re.compile("".join(parts) + "(?:/.*)?$", re.S)
    except re.error:  # a set that is none, which Docker refuses: the text as it stands
        return re.compile(re.escape(pattern) + "(?:/.*)?$", re.S)


class Ignore:
    """The rules of one .dockerignore: the last pattern that matches decides."""

    def __init__(self, text: str) -> None:
        self.rules: list[tuple[bool, re.Pattern[str], int]] = []
        for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
            pattern = line.strip()
            if not pattern or pattern.startswith("#"):
                continue
            again = pattern.startswith("!")
            cleaned = os.path.normpath(pattern.removeprefix("!").strip().lstrip("/") or ".")
            if cleaned == ".":
                continue  # names the source itself, which Docker sends all the same
            self.rules.append((again, _expression(cleaned), number))
        self.excepts = any(again for again, _, _ in self.rules)

    def line(self, path: str) -> int:
        """The number of the line that leaves a path out, 0 where none does."""
        found = 0
        for again, expression, number in self.rules:
            if expression.match(path):
                found = 0 if again else number
        return found

    def ignores(self, path: str) -> bool:
        return self.line(path) > 0


class _Rules(Ignore):
    """One of the lists above; it is asked for a directory once, and then no more for what lies below."""

    def __init__(self, rules: list[str]) -> None:
        super().__init__("\n".join(rules))
        self._folders: dict[str, bool] = {"": False}

    def _folder(self, path: str) -> bool:
        if path not in self._folders:
            self._folders[path] = self._folder(posixpath.dirname(path)) or super().ignores(path)
        return self._folders[path]

    def ignores(self, path: str) -> bool:
        return self._folder(posixpath.dirname(path)) or super().ignores(path)


# --- what git knows --------------------------------------------------------------------------------------------------------------


def _git(path: Path, *arguments: str) -> subprocess.CompletedProcess[bytes] | None:
    """A finished git command, None where git is not installed or does not answer."""
    # Of a git hook that runs this, GIT_DIR and the like mean another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        # The playbook may run as root over a user's checkout: that is no reason for git to refuse to read it.
        command = ["git", "-c", "safe.directory=*", "-C", str(path), *arguments]
        return subprocess.run(command, capture_output=True, check=False, timeout=60, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _names(output: bytes) -> list[str]:
    return [os.fsdecode(name) for name in output.split(b"\0") if name]


@dataclass
class _Listing:
    """What a source has, before the lists: tracked and new paths, and submodules that are not checked out."""

    tracked: set[str] = field(default_factory=set)
    others: set[str] = field(default_factory=set)
    absent: list[str] = field(default_factory=list)
    checkout: bool = True
    problem: str = ""

    def add(self, prefix: str, below: _Listing, new: bool) -> None:
        """Take in what a repository inside the source has."""
        (self.others if new else self.tracked).update(f"{prefix}/{name}" for name in below.tracked)
        self.others.update(f"{prefix}/{name}" for name in below.others)
        self.absent += [f"{prefix}/{name}" for name in below.absent]


def _checkout(root: Path) -> _Listing | None:
    """What git lists in a checkout; None where the source is none, or lies ignored in somebody else's."""
    cached = _git(root, "ls-files", "-z", "--stage")
    others = _git(root, "ls-files", "-z", "--others", "--exclude-standard")
    if cached is None or others is None or cached.returncode or others.returncode:
        return None
    found = _Listing()
    for entry in _names(cached.stdout):
        mode, name = entry.split(" ", 1)[0], entry.split("\t", 1)[1]
        if mode != "160000":
            found.tracked.add(name)
        elif os.path.exists(root / name / ".git"):
            found.add(name, _listing(root / name), new=False)
        else:
            found.absent.append(name)
    if not found.tracked and not found.absent and (ignored := _git(root, "check-ignore", "-q", ".")) and ignored.returncode == 0:
        return None
    for name in _names(others.stdout):
        if name.endswith("/"):  # a repository of its own
            found.add(name.rstrip("/"), _listing(root / name), new=True)
        else:
            found.others.add(name)
    return found


def _listing(root: Path) -> _Listing:
    if (found := _checkout(root)) is not None:
        return found
    problem = ""
    # Also where the source is a directory of a checkout.
    if any(os.path.exists(folder / ".git") for folder in (root, *root.parents)):
        asked = _git(root, "ls-files", "-z")
        if asked is None:
            problem = "git is not installed here"
        elif asked.returncode:
            problem = asked.stderr.decode(errors="replace").strip().replace("\n", "; ")
    with tempfile.TemporaryDirectory(prefix="berth-git-") as folder:
        # A repository that knows nothing, over the source: git reads the .gitignore files by its own rules.
        made = _git(Path(folder), "init", "--quiet", ".")
        names = made and _git(root, f"--git-dir={folder}/.git", f"--work-tree={root}", "ls-files", "-z", "--others", "--exclude-standard")
    found = _Listing(checkout=False, problem=problem)
    if not names or names.returncode:
        found.others = set(_walked(root))
        return found
    for name in _names(names.stdout):
        if name.endswith("/"):
            found.add(name.rstrip("/"), _listing(root / name), new=True)
        else:
            found.others.add(name)
    return found


def from_gitignore(text: str, prefix: str) -> str:
    """The rules of a .gitignore in `prefix` (a directory with its /, or empty) as those of a .dockerignore of the source, line by line."""
    lines = []
    for line in text.splitlines():
        again, name = ("!", line[1:]) if line.startswith("!") else ("", line)
        name = name.strip().rstrip("/")
        rule = f"{again}{prefix}{name.lstrip('/') if '/' in name else '**/' + name}"
        lines.append(rule if name and not name.startswith("#") else "#")
    return "\n".join(lines) + "\n"


def _walked(root: Path) -> Iterator[str]:
    """Without git: every file that the .gitignore files leave, as well as they can be read without it."""
    never, rules = _Rules(NEVER), ""
    for folder, names, files in os.walk(root):
        prefix = "" if Path(folder) == root else Path(folder).relative_to(root).as_posix() + "/"
        if ".gitignore" in files:
            rules += from_gitignore((Path(folder) / ".gitignore").read_text(errors="replace"), prefix)
        ignore = Ignore(rules)
        links = [name for name in names if os.path.islink(os.path.join(folder, name))]
        names[:] = sorted(
            n for n in names if n not in links and not never.ignores(prefix + n) and (ignore.excepts or not ignore.ignores(prefix + n))
        )
        yield from (prefix + name for name in sorted(files + links) if not ignore.ignores(prefix + name))


# --- the selection -----------------------------------------------------------------------------------------------------------------


@dataclass
class Selection:
    """What of a source reaches an image. `tracked` is None outside a checkout; `left_out` has, by path, the reason of each that does not,
    as far as git lists it; `committed_secrets` are tracked and left out for their name; `notes` are lines to show."""

    kind: str = "own"
    files: list[str] = field(default_factory=list)
    tracked: set[str] | None = None
    left_out: dict[str, str] = field(default_factory=dict)
    committed_secrets: list[str] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def shown(path: str) -> str:
    """A path as it can be printed."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in os.fsencode(path).decode(errors="backslashreplace")
    )


def some(paths: Iterable[str], limit: int = 4) -> str:
    """The first of some paths, and how many more there are."""
    names = sorted(paths)
    return ", ".join(map(shown, names[:limit])) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def ignore_file(source: Path, dockerfile: Path | None, kind: str) -> Path:
    """The .dockerignore that holds: the one beside a Dockerfile of the user's own, otherwise the source's."""
    beside = dockerfile.with_name(dockerfile.name + ".dockerignore") if dockerfile and kind == "own" else None
    return beside if beside and beside.is_file() else source / ".dockerignore"


def select(
    source: str | os.PathLike[str], kind: str, include: Iterable[str] = (), dockerfile: str | os.PathLike[str] = "", role: str = ""
) -> Selection:
    """The files of a source that reach an image.

    `kind` is fastapi, nextjs or own (a Dockerfile of the user's own); `include` are patterns of what is taken although git or a
    .dockerignore ignores it; `role` names the variable of these in messages (backend_image).
    """
    root, variable = Path(source).resolve(), f"{role or 'backend_image'}_include"
    listing, out = _listing(root), Selection(kind)
    out.tracked = listing.tracked or None if listing.checkout else None
    rules = ignore_file(root, Path(dockerfile) if dockerfile else None, kind)
    own = Ignore(_text(rules, root, out) if rules.is_file() else "")
    never, secrets = _Rules(NEVER), _Rules(patterns(kind, SECRETS))
    not_run, left_behind = _Rules(patterns(kind, NOT_RUN)), Ignore("\n".join(patterns(kind, LEFT_BEHIND)))
    include_rules = {pattern: Ignore(pattern) for pattern in include}
    included = _included(root, include_rules, never, secrets, variable, out) if include_rules else set()
    # Virtual environments of any name: what is not tracked in them is not the application's.
    made = {posixpath.dirname(path) for path in listing.others if kind != "own" and posixpath.basename(path) == "pyvenv.cfg"}
    environments = _Rules([re.sub(r"([\\*?\[])", r"\\\1", folder) for folder in made if folder])
    links: dict[str, bool] = {"": False}
    aside: list[str] = []
    perhaps: list[str] = []
    new: list[str] = []
    for path in sorted(listing.tracked | listing.others | included):
        try:
            mode = os.lstat(root / path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue  # deleted, and not yet committed as such
        except OSError:
            mode = stat.S_IFREG  # in a directory that cannot be read: file_findings reports it
        if path not in included and _below_link(root, posixpath.dirname(path), links):
            continue  # its directory has become a link, which is listed itself
        tracked = path in listing.tracked
        if never.ignores(path):
            out.left_out[path] = NOT_OF_AN_IMAGE
        elif secrets.ignores(path):
            out.left_out[path] = "its name is that of a file with credentials"
            out.committed_secrets += [path] if tracked else []
        elif path in included:
            out.files.append(path)
        elif line := own.line(path):
            out.left_out[path] = f"{rules.name}:{line}"
        elif not_run.ignores(path):
            out.left_out[path] = "not part of what runs"
            aside.append(path)
        elif not tracked and left_behind.ignores(path):
            out.left_out[path] = "what builds and tools leave behind"
            perhaps += [path] if NEEDED_PERHAPS.search(path) and not OF_TOOLS.search(path) else []
        elif not tracked and environments.ignores(path):
            out.left_out[path] = "a virtual environment"
        elif stat.S_ISREG(mode) or stat.S_ISLNK(mode):
            out.files.append(path)
            new += [path] if not tracked else []
        elif not stat.S_ISDIR(mode):
            out.notes.append(f"{shown(path)} is a socket, a pipe or a device, and is left out.")
    _report(out, listing, new, aside, perhaps, own, variable)
    return out


def _text(rules: Path, root: Path, out: Selection) -> str:
    try:
        return rules.read_text(errors="replace")
    except OSError as error:
        name = str(rules.relative_to(root)) if rules.is_relative_to(root) else str(rules)
        out.findings.append(finding("context", "error", f"this file cannot be read: {error.strerror}", shown(name), "make it readable"))
        return ""


def _below_link(root: Path, folder: str, links: dict[str, bool]) -> bool:
    if folder not in links:
        links[folder] = _below_link(root, posixpath.dirname(folder), links) or os.path.islink(root / folder)
    return links[folder]


def _included(root: Path, rules: dict[str, Ignore], never: Ignore, secrets: Ignore, variable: str, out: Selection) -> set[str]:
    """What the patterns of *_image_include name; one that names nothing is a mistake."""
    found: dict[str, set[str]] = {pattern: set() for pattern in rules}
    refused: set[str] = set()
    for folder, names, files in os.walk(root):
        prefix = "" if Path(folder) == root else Path(folder).relative_to(root).as_posix() + "/"
        links = [name for name in names if os.path.islink(os.path.join(folder, name))]
        names[:] = sorted(n for n in names if n not in links and not never.ignores(prefix + n))
        for path in (prefix + name for name in files + links):
            for pattern, rule in rules.items():
                if rule.ignores(path):
                    if never.ignores(path) or secrets.ignores(path):
                        refused.add(pattern)
                    else:
                        found[pattern].add(path)
    for pattern, paths in found.items():
        if not paths:
            why = "names only files that never go into an image" if pattern in refused else "names no file of the source"
            advice = "give its values as secrets (docs/secrets.md)" if pattern in refused else f"correct {variable}"
            out.findings.append(finding("include", "error", f"{variable}: {pattern} {why}", "", advice))
    return set().union(*found.values())


def _report(out: Selection, listing: _Listing, new: list[str], aside: list[str], perhaps: list[str], own: Ignore, variable: str) -> None:
    if listing.problem:
        out.findings.append(
            finding("left_out", "warning", f"what git tracks is not known ({listing.problem}): the .gitignore files alone are read", ".git",
                    "install git on the host that builds, or repair the checkout")
        )  # fmt: skip
    for name in listing.absent:
        if not own.ignores(name):
            out.findings.append(
                finding("context", "error", "this submodule is not checked out: its directory is empty", shown(name),
                        f"git submodule update --init {shown(name)}")
            )  # fmt: skip
    if perhaps:
        how = "git add them" if out.tracked is not None else f"the source is not in git: set {variable}"
        out.findings.append(
            finding("left_out", "warning", f"left out of the image, as what tools leave behind and git does not track: {some(perhaps)}", "",
                    f"if the application needs them: {how}" + (f", or set {variable}" if out.tracked is not None else ""))
        )  # fmt: skip
    if out.committed_secrets:
        out.findings.append(
            finding("left_out", "warning", f"committed, and left out of the image for the name: {some(out.committed_secrets)}", "",
                    "give the values as settings or secrets, and remove these from git")
        )  # fmt: skip
    built = {path for path in out.left_out if path in listing.tracked and out.left_out[path] == NOT_OF_AN_IMAGE}
    built = {path for path in built if path != ".dockerignore" and not path.endswith(".DS_Store")}
    if built:
        tops = {re.sub(r"((?:^|/)(?:node_modules|\.next|\.venv|__pycache__))/.*", r"\1/", path) for path in built}
        message = f"committed, and left out of the image, which makes its own: {some(tops)}"
        out.findings.append(finding("left_out", "warning", message, "", "remove these from git"))
    if new and out.tracked is not None:
        out.notes.append(f"New in the source, and not yet in git: {some(new)}. {'It goes' if len(new) == 1 else 'They go'} into the image.")
    if aside:
        # Nobody expects a Dockerfile or an editor's settings in an image; an application may read from its tests.
        shown_aside = [path for path in aside if not re.match(r"\.|(.*/)?\.git|Dockerfile|(docker-)?compose", path)]
        tops = {path.split("/")[0] + ("/" if "/" in path else "") for path in shown_aside}
        if tops:
            out.notes.append(
                f"Left out of the image, as no part of what runs: {some(tops)}. {variable} brings back what the application reads."
            )


# --- what cannot be copied, or would be no use there -----------------------------------------------------------------------------------


def file_findings(source: str | os.PathLike[str], selection: Selection) -> Iterator[dict[str, Any]]:
    """Findings about single files of a selection: odd names, links, files that cannot be read or stand for others."""
    root = Path(source).resolve()
    present = set(selection.files)
    present |= {folder for path in selection.files for folder in map(str, Path(path).parents)}
    for path in selection.files:
        try:
            os.fsencode(path).decode()
        except UnicodeDecodeError:
            yield finding("context", "error", "the name of this file is not UTF-8: BuildKit cannot copy it", shown(path), "rename it")
            continue
        try:
            status = os.lstat(root / path)
            if stat.S_ISLNK(status.st_mode):
                yield from _link(root, path, os.readlink(root / path), present)
            else:
                with open(root / path, "rb") as file:
                    if file.read(len(LFS)) == LFS and status.st_size < 1024:
                        yield finding("context", "error", "this is a Git LFS pointer: the file itself is not checked out", shown(path),
                                      f"git lfs pull --include={shown(path)!r}")  # fmt: skip
        except OSError as error:
            yield finding("context", "error", f"this file cannot be read: {error.strerror}", shown(path), "make it readable")


def _link(root: Path, path: str, target: str, present: set[str]) -> Iterator[dict[str, Any]]:
    named = f"this link leads to {shown(target)}"
    severity = "warning" if FOR_PEOPLE.search(path) else "error"
    if target.startswith("/"):
        if not (target + "/").startswith(OF_THE_CONTAINER):
            message = f"{named}: an absolute path, which is not in the image"
            yield finding("context", severity, message, shown(path), "make it a relative link, or copy the file")
        return
    inside = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if inside == ".." or inside.startswith("../"):
        yield finding("context", severity, f"{named}, out of the source, which is all that an image is built from", shown(path),
                      "copy what it leads to, or set the source to a directory that has both")  # fmt: skip
    elif inside != "." and inside not in present:
        below = root / inside
        if not any(posixpath.join(*parts) in present and (root / posixpath.join(*parts)).is_symlink() for parts in _starts(inside)):
            why = "which is not there" if not os.path.lexists(below) else "which does not go into the image"
            yield finding("context", "warning", f"{named}, {why}", shown(path), "remove it, or have what it leads to in the source")


def _starts(path: str) -> Iterator[list[str]]:
    parts = path.split("/")
    yield from (parts[:n] for n in range(1, len(parts)))
