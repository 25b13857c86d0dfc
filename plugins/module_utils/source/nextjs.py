"""Check the source of a Next.js application as its build will read it, without installing or running anything.

Imports are followed from the files that Next.js starts from (pages, routes, middleware, configuration). What the build would
refuse is an error; what may be generated, or is not reached, is a warning.
"""

from __future__ import annotations

import os
import posixpath
import re
import socket
from collections.abc import Iterator
from typing import Any

from .checks import EXAMPLE_FILE, LOCALHOST, TESTS, Tree, credentials, line_of
from .environment import Reads, documented
from .findings import finding
from .javascript_dependencies import manifest, versions
from .javascript_imports import follow
from .javascript_modules import CODE, Frontend, Options, without_comments
from .tree import select

ENTRIES = re.compile(
    r"^(src/)?((app/(.*/)?(page|layout|route|template|loading|error|not-found|global-error|global-not-found|default|sitemap|robots|manifest|icon|apple-icon"
    r"|opengraph-image|twitter-image|forbidden|unauthorized)|pages/.+|middleware|proxy|instrumentation(-client)?)\.([cm]?[jt]sx?))$|^next\.config\.[cm]?[jt]s$"
)
# Prefix of the variables that Next.js writes into the pages.
PUBLIC = "NEXT_PUBLIC_"
# How a variable is read.
READ = r"\benv\.{name}\b|\benv\[[\"']{name}[\"']\]"


def check(root: str, options: Options, tree: Tree | None = None) -> list[dict[str, Any]]:
    """All findings about the source at `root`; `tree`, where its files have been listed already."""
    tree = tree or Tree(root, select(root, "nextjs", role=options.role), options.role)
    frontend = Frontend(tree, options)
    out = list(manifest(frontend))
    if frontend.manifest:
        starts = _entries(frontend)
        reached, found = follow(frontend, starts)
        out += found if starts else [_no_page(frontend)]
        out += versions(frontend)
        out += _health(frontend)
        out += _localhost(frontend, reached)
        out += _secret_names(frontend, reached)
        out += _fonts(frontend, reached)
    out += credentials(tree)
    code = [path for path in tree.files if path.endswith(CODE) and not TESTS.search(path)]
    reads, public = Reads(tree, code, READ), _public_names(frontend)
    out += _public_at_run_time(frontend, reads, public)
    given = {name for name in options.environment | options.build_environment if not name.startswith(PUBLIC)} | public
    out += documented(tree, given, reads, f"{options.role}_extra_environment", PUBLIC, f"{options.role}_build_environment")
    return out


FONTS_HOST = "fonts.googleapis.com"


def can_reach(host: str) -> bool:
    """Whether this machine can connect to a host; through a proxy that is not known, and assumed."""
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return True
    try:
        socket.create_connection((host, 443), timeout=3).close()
    except OSError:
        return False
    return True


def _fonts(frontend: Frontend, reached: set[str]) -> Iterator[dict[str, Any]]:
    """A build that fetches fonts fails after the whole installation where it cannot reach their host."""
    for path in sorted(reached) if frontend.options.fonts == "fetch" else ():
        text = frontend.tree.text(path) or ""
        if (position := text.find("next/font/google")) >= 0:
            if not can_reach(FONTS_HOST):
                message = f"the build fetches fonts from {FONTS_HOST}, which this machine cannot reach: Next.js then fails"
                advice = f"set {frontend.options.role}_fonts: fallback, or keep the fonts in the source (next/font/local)"
                yield finding("fonts", "warning", message, f"{path}:{line_of(text, position)}", advice)
            return


def _public_names(frontend: Frontend) -> set[str]:
    """Variables with a public prefix that the build has: given to it, or in a file of the source that Next.js reads."""
    options, tree = frontend.options, frontend.tree
    files = [f"{frontend.base}/{name}".lstrip("/") for name in (".env", ".env.production")]
    texts = [tree.text(path) or "" for path in files if path in tree.paths]
    own = {name for text in texts for name in re.findall(rf"^(?:export\s+)?({PUBLIC}\w+)=.", text, re.M)}
    return own | {name for name in options.build_environment if name.startswith(PUBLIC)}


def _public_at_run_time(frontend: Frontend, reads: Reads, public: set[str]) -> Iterator[dict[str, Any]]:
    """Next.js writes NEXT_PUBLIC_* into the pages when it builds: in the environment of the container they have no effect there."""
    options = frontend.options
    for name in sorted(options.environment):
        if name.startswith(PUBLIC) and name not in public and name in reads:
            message = f"{name} is set for the container only; the build writes it into the pages, and there it is undefined"
            yield finding("public", "warning", message, reads[name], f"set {options.role}_build_environment.{name} instead")


def _entries(frontend: Frontend) -> list[str]:
    """The files that Next.js starts from; those of any extension where no page has a usual one."""
    base = frontend.base
    inside = [p for p in frontend.tree.files if not base or p.startswith(base + "/")]
    found = [p for p in inside if ENTRIES.match(p[len(base) + 1 :] if base else p) and not TESTS.search(p)]
    if not any(not posixpath.basename(p).startswith("next.config") for p in found):
        extensions = r"\.(page|route)\.[jt]sx?$|^(src/)?(app|pages)/.*\.[jt]sx?$"  # pageExtensions may allow anything
        found += [p for p in inside if re.search(extensions, p[len(base) + 1 :] if base else p)]
    return found


def _no_page(frontend: Frontend) -> dict[str, Any]:
    advice = f"set {frontend.options.role}_source_subpath to the directory of the application"
    return finding("entry", "error", "there is no page: neither app/ nor pages/ (nor below src/) has one", frontend.base or ".", advice)


def _health(frontend: Frontend) -> Iterator[dict[str, Any]]:
    options, base = frontend.options, frontend.base
    expected = [part for part in options.health_path.split("?")[0].split("/") if part]
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
        if len(parts) <= len(expected) + 1:
            for have, want in zip(parts, expected, strict=False):
                if have.startswith(("[[...", "[...")):
                    return
                if have != want and not have.startswith("["):
                    break
            else:
                if len(parts) == len(expected) or (parts and parts[-1].startswith("[[...")):
                    return
    config = " ".join(
        frontend.tree.text(p) or "" for p in frontend.tree.files if re.search(r"(^|/)(next\.config|middleware|proxy)\.[cm]?[jt]s$", p)
    )
    last = expected[-1] if expected else ""
    if (last and last in config) or (re.search(r"rewrites|basePath|pageExtensions", config) and not routes):
        return
    if "basePath" in config or re.search(r"source:\s*[\"'`]/(api/)?:path", config):
        return
    # next-intl and the like answer / by their middleware
    if not expected and any("[" in r for r in routes) and re.search(r"locale|lang", " ".join(routes)):
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
    reported: set[str] = set()
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
                public = name.startswith(PUBLIC)
                given = _public_names(frontend) if public else options.environment | options.build_environment
                if name in given or f"{name}_FILE" in given or name in reported:
                    continue
                reported.add(name)
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
                message = f"{match[0]} is hard-coded: in a container that is the container itself, in a browser the user's machine"
                advice = f"read it from the environment, and set it in {options.role}_extra_environment"
                if match[0].startswith("http"):
                    advice = 'in a browser ask a path alone ("/..."), since both services have one origin; on the server read BACKEND_URL'
                yield finding("localhost", "warning", message, f"{path}:{number}", advice)


def _secret_names(frontend: Frontend, reached: set[str]) -> Iterator[dict[str, Any]]:
    """What is called NEXT_PUBLIC_ is written into the pages that everybody gets."""
    reported: set[str] = set()
    for path in sorted(reached):
        for match in re.finditer(r"env\.(NEXT_PUBLIC_\w*(?:SECRET|PASSWORD|PRIVATE_KEY|SERVICE_ROLE)\w*)", frontend.tree.text(path) or ""):
            if match[1] not in reported:
                reported.add(match[1])
                message = f"{match[1]} looks like a secret, and is written into the pages that everybody gets"
                where = f"{path}:{line_of(frontend.tree.text(path) or '', match.start())}"
                yield finding("credential", "warning", message, where, "read it on the server, without NEXT_PUBLIC_")
