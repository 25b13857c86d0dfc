"""The modules of a JavaScript source, as a build would find them: the manifest, aliases, what a specifier means, what a file imports."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .checks import Tree, line_of

CODE = (".tsx", ".ts", ".jsx", ".js", ".mjs", ".cjs", ".mts", ".cts")
LOCKS = {
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "bun.lockb": "bun",
    "bun.lock": "bun",
}
SPECIFIER = re.compile(
    r"""(?:^|[;}\s])(?:import|export)\s+(?P<type>type\s+)?(?:[\w*${},\s]+?\sfrom\s*|(?=["']))(?P<q1>["'])(?P<s1>[^"'\n]+)(?P=q1)"""
    r"""|\b(?:require|import)\s*\(\s*(?P<q2>["'])(?P<s2>[^"'\n]+)(?P=q2)\s*\)""",
    re.M,
)


@dataclass
class Options:
    """How the image will be built and run; paths are relative to the source, as the role's variables are."""

    subpath: str = "."
    node: str = "18.20.4"
    health_path: str = "/api/health"
    port: int = 3000
    environment: set[str] = field(default_factory=set)
    # Variables of the build, which alone reach the browser.
    build_environment: set[str] = field(default_factory=set)
    extra_commands: str = ""
    fonts: str = "fetch"
    role: str = "frontend_image"


def without_comments(text: str) -> str:
    """JavaScript or JSON with comments blanked: positions and lines stay what they were."""

    def blank(match: re.Match[str]) -> str:
        return match[0] if match[0][0] in "\"'`" else re.sub(r"[^\n]", " ", match[0])

    return re.sub(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`|/\*[\s\S]*?\*/|(?<![:\\])//[^\n]*", blank, text)


def loose_json(text: str) -> Any:
    """JSON as TypeScript's configuration has it: with comments and trailing commas."""
    return json.loads(re.sub(r",(\s*[}\]])", r"\1", without_comments(text)))


class Frontend:
    """The application's directory in its source, its manifest, aliases and what is installed for it."""

    def __init__(self, tree: Tree, options: Options) -> None:
        self.tree, self.options = tree, options
        self.base = "" if options.subpath in (".", "") else posixpath.normpath(options.subpath)

    def at(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.base, path)) if self.base else posixpath.normpath(path)

    def read_json(self, path: str) -> dict[str, Any]:
        try:
            found = loose_json(self.tree.text(path) or "{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def manifest(self) -> dict[str, Any]:
        return self.read_json(self.at("package.json"))

    @cached_property
    def root_manifest(self) -> dict[str, Any]:
        return self.read_json("package.json")

    @cached_property
    def locks(self) -> list[str]:
        return [p for folder in dict.fromkeys([self.base, ""]) for name in LOCKS if (p := posixpath.join(folder, name)) in self.tree.paths]

    @cached_property
    def declared(self) -> set[str]:
        kinds = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
        return {name for manifest in (self.manifest, self.root_manifest) for kind in kinds for name in manifest.get(kind) or {}}

    @cached_property
    def lock_text(self) -> str:
        """The lock file's text; it is larger than what Tree reads."""
        if not self.locks:
            return ""
        path = self.tree.root / self.locks[0]
        return path.read_text(errors="replace") if path.stat().st_size < 20_000_000 else ""

    def locked(self, package: str) -> bool:
        """Whether a package that is not declared is installed all the same, where the build finds it (npm and yarn hoist)."""
        if self.locks and self.locks[0].endswith(("package-lock.json", "npm-shrinkwrap.json")):
            return f'"node_modules/{package}"' in self.lock_text
        return (
            bool(self.locks)
            and LOCKS[posixpath.basename(self.locks[0])] == "yarn"
            and bool(re.search(rf'^"?{re.escape(package)}@', self.lock_text, re.M))
        )

    @cached_property
    def workspaces(self) -> dict[str, str]:
        """By name: the directory of each package of a monorepo."""
        return {
            name: posixpath.dirname(path)
            for path in self.tree.files
            if posixpath.basename(path) == "package.json" and path != self.at("package.json") and (name := self.read_json(path).get("name"))
        }

    @cached_property
    def aliases(self) -> tuple[list[tuple[str, list[str]]], list[str]]:
        """(pattern, targets) of compilerOptions.paths, and the directories that bare names are searched in."""
        paths: list[tuple[str, list[str]]] = []
        bases: list[str] = []
        for name in ("tsconfig.json", "jsconfig.json"):
            path, seen = self.at(name), set()
            while path in self.tree.paths and path not in seen:
                seen.add(path)
                config = self.read_json(path)
                options = config.get("compilerOptions") or {}
                folder = posixpath.dirname(path)
                if "baseUrl" in options:
                    bases.append(posixpath.normpath(posixpath.join(folder, options["baseUrl"])))
                origin = posixpath.normpath(posixpath.join(folder, options.get("baseUrl", ".")))
                if not paths:
                    paths = [
                        (p, [posixpath.normpath(posixpath.join(origin, t)) for t in ts]) for p, ts in (options.get("paths") or {}).items()
                    ]
                parent = config.get("extends")
                path = posixpath.normpath(posixpath.join(folder, parent)) if isinstance(parent, str) and parent.startswith(".") else ""
                path = path if path in self.tree.paths or not path else path + ".json"
            if paths or bases:
                break
        return paths, ["" if b == "." else b for b in bases]

    def file(self, spot: str) -> str | None:
        """The file that a path without its extension, or of a directory, means; '' for one that is no code."""
        spot = "" if spot == "." else spot
        if spot in self.tree.paths:
            return spot if spot.endswith(CODE) else ""
        for extension in CODE:
            if spot + extension in self.tree.paths:
                return spot + extension
        if spot.endswith((".js", ".mjs", ".cjs", ".jsx")):
            stem = spot.rpartition(".")[0]
            for extension in (".ts", ".tsx", ".mts", ".cts"):
                if stem + extension in self.tree.paths:
                    return stem + extension
        for extension in (".json", ".d.ts", ".css", ".scss", ".mdx", ".md"):
            if spot + extension in self.tree.paths:
                return ""
        for extension in CODE:
            if posixpath.join(spot, "index" + extension) in self.tree.paths:
                return posixpath.join(spot, "index" + extension)
        if posixpath.join(spot, "package.json") in self.tree.paths or posixpath.join(spot, "index.d.ts") in self.tree.paths:
            return ""
        return None

    def resolve(self, specifier: str, importer: str) -> tuple[str, str]:
        """("file", path) | ("missing", where it was searched) | ("package", its name)."""
        specifier = specifier.partition("?")[0]
        if specifier.startswith("."):
            spot = posixpath.normpath(posixpath.join(posixpath.dirname(importer), specifier))
            found = self.file(spot)
            return ("file", found) if found is not None else ("missing", spot)
        paths, bases = self.aliases
        tried: list[str] = []
        for pattern, targets in sorted(paths, key=lambda p: -len(p[0].partition("*")[0])):
            head, star, tail = pattern.partition("*")
            fits = specifier == pattern if not star else specifier.startswith(head) and specifier.endswith(tail)
            if not fits or pattern == "*":
                continue
            rest = specifier[len(head) : len(specifier) - len(tail) or None] if star else ""
            for target in targets:
                spot = posixpath.normpath(target.replace("*", rest))
                if (found := self.file(spot)) is not None:
                    return "file", found
                tried.append(spot)
            break
        for base in bases:
            if (found := self.file(posixpath.join(base, specifier))) is not None:
                return "file", found
        parts = specifier.split("/")
        package = "/".join(parts[:2]) if specifier.startswith("@") else parts[0]
        if tried and package not in self.declared:
            return "missing", tried[0]
        if package in self.workspaces:
            inside = posixpath.join(self.workspaces[package], specifier.removeprefix(package).lstrip("/"))
            for spot in (inside, posixpath.join(self.workspaces[package], "src", specifier.removeprefix(package).lstrip("/"))):
                if found := self.file(spot):
                    return "file", found
            return "file", ""
        return "package", package


def specifiers(text: str) -> Iterator[tuple[str, int, bool, bool]]:
    """(specifier, line, whether only types, whether loaded later) of every import in a file."""
    code = without_comments(text)
    for match in SPECIFIER.finditer(code):
        position = match.start("s1") if match["s1"] else match.start("s2")
        yield match["s1"] or match["s2"], line_of(code, position), bool(match["type"]), not match["s1"]
