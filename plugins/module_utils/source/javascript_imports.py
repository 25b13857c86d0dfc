"""The import graph of a Next.js source, as its build follows it, and what is missing in it.

What may be generated, or is loaded later, is a warning where it is missing; what else the build would refuse is an error.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any

from .checks import merge_marks
from .findings import finding
from .javascript_modules import LOCKS, Frontend, specifiers

_NODE_MODULES = """
async_hooks assert assert/strict buffer child_process cluster console constants crypto dgram diagnostics_channel dns dns/promises
domain events fs fs/promises http http2 https inspector module net os path path/posix path/win32 perf_hooks process punycode
querystring readline readline/promises repl stream stream/promises stream/web string_decoder sys timers timers/promises tls
trace_events tty url util util/types v8 vm wasi worker_threads zlib
"""
NODE_MODULES = frozenset(_NODE_MODULES.split())
# Next.js brings these, or answers for them itself.
FROM_NEXT = {"server-only", "client-only", "styled-jsx", "@next/env", "@swc/helpers", "postcss", "caniuse-lite", "@vercel/og"}

# Scripts of which no import is waiting: git hooks, patches of packages, browsers for tests.
MAKES_NOTHING = re.compile(
    r"\s*(npx |pnpm (exec |dlx )?|yarn |bunx )?(husky|lefthook|simple-git-hooks|patch-package|is-ci|exit \d|true|echo|playwright install"
    r"|lint-staged|prisma generate|next telemetry|only-allow)\b"
)


def follow(frontend: Frontend, starts: list[str]) -> tuple[set[str], list[dict[str, Any]]]:
    """Follow the imports from the files `starts`: the files that are reached, and what was found on the way."""
    tree, queue, found = frontend.tree, [*starts], []
    seen: set[str] = set()
    reported: set[str] = set()
    own = frontend.root_manifest.get("scripts", {}) | frontend.manifest.get("scripts", {})
    scripts = " ".join(map(str, own.values())) + frontend.options.extra_commands
    # What runs before Next.js, in the source as it is, may make what it imports.
    before = " && ".join(str(own[name]) for name in ("install", "postinstall", "prepare", "prebuild") if own.get(name))
    steps = [one for one in re.split(r"&&|\|\||;", before) if one.strip()]
    made = bool(frontend.options.extra_commands) or not all(map(MAKES_NOTHING.match, steps))
    made |= not re.fullmatch(r"\s*(NODE_ENV=\S+ |npx )*next build[\w\s-]*", own.get("build", "next build"))
    while queue:
        path = queue.pop()
        if not path or path in seen:
            continue
        seen.add(path)
        text = tree.text(path)
        if text is None:
            continue
        if merge := merge_marks(tree, path):
            found.append(merge)
            continue
        for specifier, line, types, later in specifiers(text):
            if "!" in specifier or re.match(r"(https?:|data:|node:|virtual:|bun:|#)", specifier) or "${" in specifier:
                continue
            kind, value = frontend.resolve(specifier, path)
            if kind == "file":
                queue.append(value)
            elif kind == "missing" and specifier not in reported and not _of_prisma(frontend, value):
                reported.add(specifier)
                found.append(_missing(frontend, path, line, specifier, value, scripts, made))
            elif kind == "package" and value not in reported and not types and not _provided(frontend, value, specifier):
                reported.add(value)
                severity = (
                    "warning" if later or (frontend.locks and LOCKS[posixpath.basename(frontend.locks[0])] in ("pnpm", "bun")) else "error"
                )
                message = f"imports {specifier}, and package.json does not name {value}"
                found.append(finding("import", severity, message, f"{path}:{line}", f"npm install {value}"))
    return seen, found


def _of_prisma(frontend: Frontend, spot: str) -> bool:
    """Whether Prisma writes this file: the build makes its client, by a script of the source or itself."""
    if "prisma" not in frontend.declared:
        return False
    for path in frontend.tree.files:
        if path.endswith(".prisma"):
            for output in re.findall(r"^\s*output\s*=\s*\"([^\"]+)\"", frontend.tree.text(path) or "", re.M):
                if spot.startswith(posixpath.normpath(posixpath.join(posixpath.dirname(path), output)) + "/"):
                    return True
    return False


def _provided(frontend: Frontend, package: str, specifier: str) -> bool:
    if specifier in NODE_MODULES or package in NODE_MODULES or package in FROM_NEXT or package in frontend.declared:
        return True
    if package in ("react", "react-dom") and "next" in frontend.declared:
        return package in frontend.declared or frontend.locked(package)
    pnp = f"@types/{package.lstrip('@').replace('/', '__')}" in frontend.declared
    return frontend.locked(package) or pnp or package in ("@", "~") or "*" in {p for p, _ in frontend.aliases[0]}


def _missing(frontend: Frontend, path: str, line: int, specifier: str, spot: str, scripts: str, made: bool) -> dict[str, Any]:
    tree = frontend.tree
    generated = (
        made
        or re.search(r"generated|\.velite|contentlayer|\.source|(^|/)\.|__generated__|paraglide|\.d$", spot)
        or (
            re.search(r"codegen|generate|velite|contentlayer|prisma", scripts)
            and re.search(r"prisma|graphql|gql|generated|content", specifier)
        )
    )
    stem = posixpath.basename(spot).lower()
    near = [
        p
        for p in tree.files
        if posixpath.dirname(p).lower() == posixpath.dirname(spot).lower() and posixpath.basename(p).lower().partition(".")[0] == stem
    ]
    advice = "commit it, or correct the import"
    if near:
        advice = f"there is {near[0]}: file names in the image are case-sensitive"
    elif hidden := tree.hidden(spot):
        advice = hidden
    return finding(
        "import", "warning" if generated else "error", f"imports {specifier}, which is not in the source ({spot})", f"{path}:{line}", advice
    )
