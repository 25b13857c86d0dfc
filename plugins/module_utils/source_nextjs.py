"""Look at the source of a Next.js application as its build will see it, without installing or running anything.

Imports are followed from the files that Next.js starts from (pages, routes, middleware, configuration). What the build would
refuse is an error; what may be generated, or is not reached, is a warning.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ansible.module_utils.findings import finding
from ansible.module_utils.source_common import (
    EXAMPLE_FILE,
    LOCALHOST,
    TESTS,
    Tree,
    credentials,
    documented,
    line_of,
    merge_marks,
    node_allows,
    release,
)

CODE = (".tsx", ".ts", ".jsx", ".js", ".mjs", ".cjs", ".mts", ".cts")
ENTRIES = re.compile(
    r"^(src/)?((app/(.*/)?(page|layout|route|template|loading|error|not-found|global-error|global-not-found|default|sitemap|robots|manifest|icon|apple-icon"
    r"|opengraph-image|twitter-image|forbidden|unauthorized)|pages/.+|middleware|proxy|instrumentation(-client)?)\.([cm]?[jt]sx?))$|^next\.config\.[cm]?[jt]s$"
)
_NODE_MODULES = """
assert assert/strict async_hooks buffer child_process cluster console constants crypto dgram diagnostics_channel dns dns/promises
domain events fs fs/promises http http2 https inspector module net os path path/posix path/win32 perf_hooks process punycode
querystring readline readline/promises repl stream stream/promises stream/web string_decoder sys timers timers/promises tls
trace_events tty url util util/types v8 vm wasi worker_threads zlib
"""
NODE_MODULES = frozenset(_NODE_MODULES.split())
# Next.js brings these, or answers for them itself.
FROM_NEXT = {"server-only", "client-only", "styled-jsx", "@next/env", "@swc/helpers", "postcss", "caniuse-lite", "@vercel/og"}
# The first Node.js that a major release of Next.js runs on.
NEXT_NEEDS = {13: ">=16.14.0", 14: ">=18.17.0", 15: ">=18.18.0", 16: ">=20.9.0"}
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
    extra_commands: str = ""
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
        return [p for folder in dict.fromkeys([self.base, ""]) for name in LOCKS if (p := posixpath.join(folder, name)) in self.tree.known]

    @cached_property
    def declared(self) -> set[str]:
        kinds = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
        return {name for manifest in (self.manifest, self.root_manifest) for kind in kinds for name in manifest.get(kind) or {}}

    @cached_property
    def lock_text(self) -> str:
        """What the lock file says; larger than what people write, so read here."""
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
        """(pattern, targets) of compilerOptions.paths, and the directories that bare names are looked for in."""
        paths: list[tuple[str, list[str]]] = []
        bases: list[str] = []
        for name in ("tsconfig.json", "jsconfig.json"):
            path, seen = self.at(name), set()
            while path in self.tree.known and path not in seen:
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
                path = path if path in self.tree.known or not path else path + ".json"
            if paths or bases:
                break
        return paths, ["" if b == "." else b for b in bases]

    def file(self, spot: str) -> str | None:
        """The file that a path without its extension, or of a directory, means; '' for one that is no code."""
        spot = "" if spot == "." else spot
        if spot in self.tree.known:
            return spot if spot.endswith(CODE) else ""
        for extension in CODE:
            if spot + extension in self.tree.known:
                return spot + extension
        if spot.endswith((".js", ".mjs", ".cjs", ".jsx")):
            stem = spot.rpartition(".")[0]
            for extension in (".ts", ".tsx", ".mts", ".cts"):
                if stem + extension in self.tree.known:
                    return stem + extension
        for extension in (".json", ".d.ts", ".css", ".scss", ".mdx", ".md"):
            if spot + extension in self.tree.known:
                return ""
        for extension in CODE:
            if posixpath.join(spot, "index" + extension) in self.tree.known:
                return posixpath.join(spot, "index" + extension)
        if posixpath.join(spot, "package.json") in self.tree.known or posixpath.join(spot, "index.d.ts") in self.tree.known:
            return ""
        return None

    def resolve(self, specifier: str, importer: str) -> tuple[str, str]:
        """("file", path) | ("missing", where it was looked for) | ("package", its name)."""
        specifier = specifier.partition("?")[0]
        if specifier.startswith("."):
            spot = posixpath.normpath(posixpath.join(posixpath.dirname(importer), specifier))
            found = self.file(spot)
            return ("file", found) if found is not None else ("missing", spot)
        paths, bases = self.aliases
        looked: list[str] = []
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
                looked.append(spot)
            break
        for base in bases:
            if (found := self.file(posixpath.join(base, specifier))) is not None:
                return "file", found
        parts = specifier.split("/")
        package = "/".join(parts[:2]) if specifier.startswith("@") else parts[0]
        if looked and package not in self.declared:
            return "missing", looked[0]
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


# --- the checks -------------------------------------------------------------------------------------------------------------


def check(root: str, options: Options) -> list[dict[str, Any]]:
    """All findings about the source at `root`."""
    tree = Tree(root)
    frontend = Frontend(tree, options)
    out = list(_manifest(frontend))
    if frontend.manifest:
        reached = _follow(frontend, out)
        out += _versions(frontend)
        out += _health(frontend)
        out += _localhost(frontend, reached)
        out += _secret_names(frontend, reached)
    out += credentials(tree)
    code = [path for path in tree.files if path.endswith(CODE) and not TESTS.search(path)]
    out += documented(tree, options.environment, _Read(tree, code), f"{options.role}_extra_environment")
    return out


class _Read(dict):
    """By variable: the place in the source that reads it. Looked up only for the names that are asked for."""

    def __init__(self, tree: Tree, paths: list[str]) -> None:
        super().__init__()
        self.tree, self.paths = tree, paths

    def __contains__(self, name: object) -> bool:
        if not super().__contains__(name):
            words = re.compile(rf"\benv\.{re.escape(str(name))}\b|\benv\[[\"']{re.escape(str(name))}[\"']\]")
            for path in self.paths:
                if match := words.search(self.tree.text(path) or ""):
                    self[name] = f"{path}:{line_of(self.tree.text(path) or '', match.start())}"
                    break
        return super().__contains__(name)


def _manifest(frontend: Frontend) -> Iterator[dict[str, Any]]:
    tree, options, path = frontend.tree, frontend.options, frontend.at("package.json")
    if path not in tree.known:
        others = [
            posixpath.dirname(p)
            for p in tree.files
            if posixpath.basename(p) == "package.json" and "next" in {**(frontend.read_json(p).get("dependencies") or {})}
        ]
        yield finding(
            "entry",
            "error",
            f"there is no package.json in {options.subpath}",
            options.subpath,
            f"set {options.role}_source_subpath: {others[0]}" if others else "point FRONTEND_SOURCE at the Next.js application",
        )
        return
    try:
        json.loads(tree.text(path) or "")
    except json.JSONDecodeError as error:
        yield merge_marks(tree, path) or finding("parse", "error", f"not JSON: {error.msg}", f"{path}:{error.lineno}", "correct it")
        return
    if "next" not in frontend.declared:
        yield finding(
            "entry",
            "error",
            "names no dependency on next: this is not a Next.js application",
            path,
            f"set {options.role}_source_subpath to the directory of the application",
        )
    if not frontend.locks:
        yield finding(
            "lock",
            "warning",
            "no lock file: the newest versions that package.json allows are installed, others tomorrow",
            path,
            "npm install --package-lock-only, and commit package-lock.json",
        )
    elif frontend.locks[0].endswith("package-lock.json"):
        yield from _stale_lock(frontend)
    build = (frontend.manifest.get("scripts") or {}).get("build")
    if not build and not options.extra_commands:
        yield finding("entry", "error", "has no script named build", path, 'add "build": "next build" to scripts')


def _stale_lock(frontend: Frontend) -> Iterator[dict[str, Any]]:
    """npm ci refuses a lock file that is not that of package.json."""
    path, manifest_path = frontend.locks[0], frontend.at("package.json")
    try:
        lock = json.loads(frontend.lock_text)
    except ValueError:
        merge = re.search(r"^<{7} ", frontend.lock_text, re.M)
        yield finding(
            "lock", "error", "an unresolved merge conflict" if merge else "not JSON", path, "make it anew: npm install --package-lock-only"
        )
        return
    inside = posixpath.relpath(frontend.base or ".", posixpath.dirname(path) or ".")
    own = (lock.get("packages") or {}).get("" if inside == "." else inside)
    if own is None:
        return
    for kind in ("dependencies", "devDependencies"):
        for name, wanted in (frontend.manifest.get(kind) or {}).items():
            if (
                name not in (own.get("dependencies") or {})
                and name not in (own.get("devDependencies") or {})
                and name not in (own.get("optionalDependencies") or {})
            ):
                line = line_of(frontend.tree.text(manifest_path) or "", max(0, (frontend.tree.text(manifest_path) or "").find(f'"{name}"')))
                yield finding(
                    "lock",
                    "error",
                    f"{name} {wanted} is not in {path}: npm ci refuses that",
                    f"{manifest_path}:{line}",
                    "npm install --package-lock-only, and commit package-lock.json",
                )


def _next_version(frontend: Frontend) -> tuple[str, str]:
    """(version, where it stands): what the lock file says, else the lowest that package.json allows."""
    if frontend.locks and frontend.locks[0].endswith("package-lock.json"):
        match = re.search(r'"node_modules/next":\s*\{\s*"version":\s*"([^"]+)"', frontend.lock_text)
        if match:
            return match[1], f"{frontend.locks[0]}:{line_of(frontend.lock_text, match.start())}"
    path = frontend.at("package.json")
    kinds = ("dependencies", "devDependencies")
    wanted = next((m[k]["next"] for m in (frontend.manifest, frontend.root_manifest) for k in kinds if "next" in (m.get(k) or {})), "")
    match = re.search(r"\d+(\.\d+)*", wanted)
    text = frontend.tree.text(path) or ""
    return (match[0] if match else ""), f"{path}:{line_of(text, max(0, text.find(chr(34) + 'next' + chr(34))))}"


def _node_advice(frontend: Frontend, wanted: str) -> str:
    role = frontend.options.role
    if node_allows(wanted, "20.19.2") and not frontend.options.node.startswith("20."):
        return f"set {role}_debian_release: trixie for Node.js 20"
    if node_allows(wanted, "18.20.4") and not frontend.options.node.startswith("18."):
        return f"set {role}_debian_release: bookworm for Node.js 18"
    return f"set {role}_args.NODE_IMAGE to an image of that Node.js"


def _versions(frontend: Frontend) -> Iterator[dict[str, Any]]:
    options, path = frontend.options, frontend.at("package.json")
    wanted = (frontend.manifest.get("engines") or {}).get("node")
    if isinstance(wanted, str) and node_allows(wanted, options.node) is False:
        text = frontend.tree.text(path) or ""
        at = re.search(r'"engines"\s*:\s*\{[^}]*?"node"', text)
        yield finding(
            "version",
            "error",
            f"the source asks for Node.js {wanted}, the image has {options.node}",
            f"{path}:{line_of(text, at.end()) if at else 1}",
            _node_advice(frontend, wanted),
        )
    version, where = _next_version(frontend)
    needs = NEXT_NEEDS.get(release(version)[0], "") if version else ""
    if needs and node_allows(needs, options.node) is False:
        yield finding(
            "version",
            "error",
            f"Next.js {version} needs Node.js {needs}, the image has {options.node}",
            where,
            _node_advice(frontend, needs),
        )


def _follow(frontend: Frontend, out: list[dict[str, Any]]) -> set[str]:
    """Follow the imports from what Next.js starts from; return the files that are reached."""
    tree, base = frontend.tree, frontend.base
    inside = [p for p in tree.files if not base or p.startswith(base + "/")]
    queue = [p for p in inside if ENTRIES.match(p[len(base) + 1 :] if base else p) and not TESTS.search(p)]
    if not any(not posixpath.basename(p).startswith("next.config") for p in queue):
        extensions = r"\.(page|route)\.[jt]sx?$|^(src/)?(app|pages)/.*\.[jt]sx?$"  # pageExtensions may say anything
        queue += [p for p in inside if re.search(extensions, p[len(base) + 1 :] if base else p)]
        if not queue:
            out.append(
                finding(
                    "entry",
                    "error",
                    "there is no page: neither app/ nor pages/ (nor below src/) has one",
                    base or ".",
                    f"set {frontend.options.role}_source_subpath to the directory of the application",
                )
            )
    seen: set[str] = set()
    told: set[str] = set()
    scripts = " ".join(str(s) for s in (frontend.manifest.get("scripts") or {}).values()) + frontend.options.extra_commands
    while queue:
        path = queue.pop()
        if not path or path in seen:
            continue
        seen.add(path)
        text = tree.text(path)
        if text is None:
            continue
        if merge := merge_marks(tree, path):
            out.append(merge)
            continue
        for specifier, line, types, later in specifiers(text):
            if "!" in specifier or re.match(r"(https?:|data:|node:|virtual:|bun:|#)", specifier) or "${" in specifier:
                continue
            kind, value = frontend.resolve(specifier, path)
            if kind == "file":
                queue.append(value)
            elif kind == "missing" and specifier not in told:
                told.add(specifier)
                out.append(_missing(frontend, path, line, specifier, value, scripts, types))
            elif kind == "package" and value not in told and not types and not _provided(frontend, value, specifier):
                told.add(value)
                severity = (
                    "warning" if later or (frontend.locks and LOCKS[posixpath.basename(frontend.locks[0])] in ("pnpm", "bun")) else "error"
                )
                if re.search(r"\b(try|catch)\b", text) and later:
                    severity = "warning"
                out.append(
                    finding(
                        "import",
                        severity,
                        f"imports {specifier}, and package.json does not name {value}",
                        f"{path}:{line}",
                        f"npm install {value}",
                    )
                )
    return seen


def _provided(frontend: Frontend, package: str, specifier: str) -> bool:
    if specifier in NODE_MODULES or package in NODE_MODULES or package in FROM_NEXT or package in frontend.declared:
        return True
    if package in ("react", "react-dom") and "next" in frontend.declared:
        return package in frontend.declared or frontend.locked(package)
    pnp = f"@types/{package.lstrip('@').replace('/', '__')}" in frontend.declared
    return frontend.locked(package) or pnp or package in ("@", "~") or "*" in {p for p, _ in frontend.aliases[0]}


def _missing(frontend: Frontend, path: str, line: int, specifier: str, spot: str, scripts: str, types: bool) -> dict[str, Any]:
    tree = frontend.tree
    generated = re.search(r"generated|\.velite|contentlayer|\.source|(^|/)\.|__generated__|paraglide|\.d$", spot) or (
        re.search(r"codegen|generate|velite|contentlayer|prisma", scripts) and re.search(r"prisma|graphql|gql|generated|content", specifier)
    )
    stem = posixpath.basename(spot).lower()
    near = [
        p
        for p in tree.files
        if posixpath.dirname(p).lower() == posixpath.dirname(spot).lower() and posixpath.basename(p).lower().partition(".")[0] == stem
    ]
    advice = "commit it, or correct the import"
    if near:
        advice = f"there is {near[0]}: the image's file system tells upper from lower case"
    for file in tree.files:
        if posixpath.basename(file) == ".gitignore":
            for number, rule in enumerate((tree.text(file) or "").splitlines(), 1):
                if rule.strip().strip("/") and rule.strip().strip("/").removeprefix("**/") in spot.split("/"):
                    advice = f"commit {spot} ({file}:{number} hides it)"
    return finding(
        "import", "warning" if generated else "error", f"imports {specifier}, which is not in the source ({spot})", f"{path}:{line}", advice
    )


def _health(frontend: Frontend) -> Iterator[dict[str, Any]]:
    options, base = frontend.options, frontend.base
    wanted = [part for part in options.health_path.split("?")[0].split("/") if part]
    routes: dict[str, str] = {}
    prefix = f"{base}/" if base else ""
    for path in frontend.tree.files:
        match = re.match(rf"{re.escape(prefix)}(?:src/)?(?:app/(?:(.*)/)?(?:page|route)|pages/(.*))\.[cm]?[jt]sx?$", path)
        if not match:
            continue
        inside = match[2] if match[2] is not None else match[1] or ""
        parts = [p for p in inside.split("/") if p and not re.fullmatch(r"\(.*\)|@.*|index", p)]
        if parts and parts[0] in ("_app", "_document", "_error"):
            continue
        routes["/" + "/".join(parts)] = path
        if re.search(r"/(page|route)\.", path) and re.search(r"\[\[?(\.\.\.)?locale\]?\]|\[lang\]", inside):
            routes["/" + "/".join(p for p in parts if not re.match(r"\[", p))] = path
        if len(parts) <= len(wanted) + 1:
            for have, want in zip(parts, wanted, strict=False):
                if have.startswith(("[[...", "[...")):
                    return
                if have != want and not have.startswith("["):
                    break
            else:
                if len(parts) == len(wanted) or (parts and parts[-1].startswith("[[...")):
                    return
    config = " ".join(
        frontend.tree.text(p) or "" for p in frontend.tree.files if re.search(r"(^|/)(next\.config|middleware|proxy)\.[cm]?[jt]s$", p)
    )
    last = wanted[-1] if wanted else ""
    if (last and last in config) or (re.search(r"rewrites|basePath|pageExtensions", config) and not routes):
        return
    if "basePath" in config or re.search(r"source:\s*[\"'`]/(api/)?:path", config):
        return
    # next-intl and the like answer / by their middleware
    if not wanted and any("[" in r for r in routes) and re.search(r"locale|lang", " ".join(routes)):
        return
    healthy = [r for r in routes if re.search(r"health|ping|status|livez|ready", r)]
    plain = healthy or [r for r in ("/", *sorted(routes, key=lambda r: (r.count("/"), r))) if r in routes and "[" not in r]
    if not routes:
        return
    yield finding(
        "health",
        "error",
        f"the health path {options.health_path} is nowhere in the source (no {prefix}app{options.health_path}/route.ts)",
        prefix.rstrip("/") or ".",
        f"set {options.role}_health_path: {plain[0]} ({routes[plain[0]]})" if plain else f"add a route, or set {options.role}_health_path",
    )


def _localhost(frontend: Frontend, reached: set[str]) -> Iterator[dict[str, Any]]:
    options = frontend.options
    told: set[str] = set()
    for path in sorted(reached):
        text = frontend.tree.text(path)
        if not text or not LOCALHOST.search(text) or TESTS.search(path) or EXAMPLE_FILE.search(path):
            continue
        code = without_comments(text)
        lines = code.splitlines()
        for match in LOCALHOST.finditer(code):
            if match[1] == str(options.port):
                continue
            number = line_of(code, match.start())
            line, before = lines[number - 1], code[max(0, match.start() - 160) : match.start()]
            if re.search(
                r"placeholder=|console\.|origin|remotePatterns|allowed|NODE_ENV|isDev|development|trusted|connect-src|throw ",
                line + before[-60:],
                re.I,
            ):
                continue
            variable = re.findall(
                r"env(?:\.|\[[\"'])([A-Z][A-Z0-9_]*)[\"'\]]*\s*(?:\?\?|\|\||\?[^:]*:)[^;{}]*$",
                before + code[match.start() : match.start() + 1],
            )
            if variable:
                name = variable[-1]
                if name in options.environment or f"{name}_FILE" in options.environment or name in told:
                    continue
                told.add(name)
                public = name.startswith("NEXT_PUBLIC_")
                setting = f"{options.role}_{'build' if public else 'extra'}_environment.{name}"
                yield finding(
                    "localhost",
                    "warning",
                    f"{name} is not given and defaults to {match[0]}, which is "
                    + ("each user's own machine" if public else "the container itself"),
                    f"{path}:{number}",
                    f"set {setting}",
                )
            else:
                yield finding(
                    "localhost",
                    "warning",
                    f"{match[0]} is hard-coded: in a container that is the container itself, in a browser the user's machine",
                    f"{path}:{number}",
                    f"read it from the environment, and set it in {options.role}_extra_environment",
                )


def _secret_names(frontend: Frontend, reached: set[str]) -> Iterator[dict[str, Any]]:
    """What is called NEXT_PUBLIC_ is written into the pages that everybody gets."""
    told: set[str] = set()
    for path in sorted(reached):
        for match in re.finditer(r"env\.(NEXT_PUBLIC_\w*(?:SECRET|PASSWORD|PRIVATE_KEY|SERVICE_ROLE)\w*)", frontend.tree.text(path) or ""):
            if match[1] not in told:
                told.add(match[1])
                yield finding(
                    "credential",
                    "warning",
                    f"{match[1]} looks like a secret, and is written into the pages that everybody gets",
                    f"{path}:{line_of(frontend.tree.text(path) or '', match.start())}",
                    "read it on the server, without NEXT_PUBLIC_",
                )
