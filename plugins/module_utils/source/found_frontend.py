"""What a frontend's source says about how it is built and run: directory, Node.js, health, build variables, secrets, routes of its own.

Nothing of it is installed or run. A value that somebody has set (`given`) is taken as it is.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from . import variables
from .checks import TESTS, Tree, first_named, line_of
from .fastapi import HEALTHY
from .found import Part, Secret
from .found_migrations import migrations
from .javascript_dependencies import NEXT_NEEDS, _next_version, engines, only_warns
from .javascript_modules import Frontend, Options, specifiers, without_comments
from .outgoing import hosts
from .tree import select
from .uploads import of_frontend
from .versions import node_allows, release

NODES = {"bookworm": "18.20.4", "trixie": "20.19.2"}
AWAY = re.compile(r"(^|/)(\.[^/]+|examples?|docs?|documentation|storybook|templates?|playground|e2e|node_modules)(/|$)")
ROUTE = re.compile(r"^(?:src/)?(?:app/(?P<app>(?:.*/)?)(?P<kind>page|route)|pages/(?P<pages>.*))\.[cm]?[jt]sx?$")
# Variables that every frontend gets when it runs (roles/wiring).
GIVEN = {"BETTER_AUTH_URL", "BACKEND_URL"}
# What names one Node.js.
WANTED = (
    (".nvmrc", r"^\s*v?(\d+)"),
    (".node-version", r"^\s*v?(\d+)"),
    (".tool-versions", r"^nodejs\s+(\d+)"),
    ("Dockerfile", r"^FROM\s+\S*node:(\d+)"),
)
PRISMA_CONFIG = re.compile(r"(^|/)prisma\.config\.[cm]?[jt]s$")
PRISMA_READS = re.compile(r"\benv\(\s*[\"'](\w+)[\"']\s*\)")
DEMANDS = re.compile(r"\bthrow\b|createEnv\s*\(|z\s*\.\s*object\s*\(|envsafe|assert\(|invariant\(")


@dataclass(frozen=True)
class Page:
    """A path that the frontend answers; `*` at its end: whatever is below it."""

    path: str
    where: str
    handler: bool = False


def frontend(root: str | os.PathLike[str], given: dict[str, Any]) -> tuple[Part, list[Page]]:
    """(what was found, the paths that it answers)."""
    part = Part("frontend")
    tree = Tree(root, select(root, "nextjs", role="frontend_image"), "frontend_image")
    subpath = _directory(part, tree, given)
    if subpath is None:
        return part, []
    application = Frontend(tree, Options(subpath=subpath))
    _node(part, application, given)
    config = _config(application)
    base = _match(config, r"basePath\s*:\s*[\"'`](/[^\"'`]+)")
    pages = list(_pages(application, base))
    _health(part, pages, base)
    migrations(part, application)
    of_frontend(part, config, "next.config")
    _environment(part, application, config)
    _languages(part, application)
    part.fonts = _first(application, "next/font/google")
    manifest = application.at("package.json")
    names = dict.fromkeys(application.manifest.get("dependencies") or {}, manifest)
    part.outgoing = hosts(tree, [path for path in variables.javascript_files(application) if _on_server(application, path)], names)
    return part, pages


def _first(application: Frontend, words: str) -> str:
    """file:line of the first place in the code that has these words."""
    for path in variables.javascript_files(application):
        text = application.tree.text(path) or ""
        if (position := text.find(words)) >= 0:
            return f"{path}:{line_of(text, position)}"
    return ""


def _match(text: str, pattern: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else ""


def _directory(part: Part, tree: Tree, given: dict[str, Any]) -> str | None:
    """The application's directory; None where there is none."""
    if "frontend_image_source_subpath" in given:
        return str(given["frontend_image_source_subpath"])
    blank = Frontend(tree, Options())
    found = []
    for path in tree.files:
        own_manifest = posixpath.basename(path) == "package.json" and not AWAY.search(posixpath.dirname(path)) and not TESTS.search(path)
        if own_manifest and "next" in (blank.read_json(path).get("dependencies") or {}):
            found.append(posixpath.dirname(path))
    pages = [
        folder
        for folder in found
        if any(ROUTE.match(each.removeprefix(f"{folder}/" if folder else "")) for each in tree.files if each.startswith(folder))
    ]
    found = sorted(
        pages or found, key=lambda one: (one.count("/") + bool(one), not re.search(r"(^|/)(web|frontend|app|client|ui)$", one), one)
    )
    if not found:
        own = [path for path in tree.written if re.search(r"(^|/)Dockerfile(\.\w+)?$", path)]
        how = f"; to build with a Dockerfile of your own, set frontend_image_dockerfile: {own[0]}" if own else ""
        part.problems.append(
            f"no Next.js application was found in the frontend's source (no package.json depends on next): point FRONTEND_SOURCE at it{how}"
        )
        part.add("migrate_command", [], "likely", "", "no Next.js application")
        return None
    named = [one for one in found if re.search(r"(^|/)(web|frontend)$", one)]
    clear = len(found) == 1 or found[0] == "" or len(named) == 1
    best = found[0] if len(found) == 1 or found[0] == "" or len(named) != 1 else named[0]
    why = "its package.json depends on next" if len(found) == 1 else f"one of {len(found)} Next.js applications"
    part.add("source_subpath", best or ".", "certain" if len(found) == 1 else "likely" if clear else "guess",
             posixpath.join(best, "package.json"), why, [one or "." for one in found] if len(found) > 1 else [])  # fmt: skip
    return best or "."


def _config(application: Frontend) -> str:
    for name in ("ts", "mjs", "js", "mts", "cjs"):
        if text := application.tree.text(application.at(f"next.config.{name}")):
            return without_comments(text)
    return ""


def _node(part: Part, application: Frontend, given: dict[str, Any]) -> None:
    if "frontend_image_debian_release" in given or (given.get("frontend_image_args") or {}).get("NODE_IMAGE"):
        return
    version, version_where = _next_version(application)
    major = release(version)[0] if release(version) else 0
    needs = NEXT_NEEDS.get(major, NEXT_NEEDS[max(NEXT_NEEDS)] if major > max(NEXT_NEEDS) else "")
    asked, asked_where = _asked(application)
    wanted, wanted_where = _wanted(application)
    fitting = [
        name
        for name, node in NODES.items()
        if not (asked and node_allows(asked, node) is False) and not (needs and node_allows(needs, node) is False)
    ]
    if not fitting:
        by_next = [name for name, node in NODES.items() if not (needs and node_allows(needs, node) is False)]
        if by_next and only_warns(application):
            have = release(NODES[by_next[-1]])[0]
            part.add("debian_release", by_next[-1], "likely", asked_where, f"Node.js {have}: of engines.node {asked} npm only warns")
            part.notes.append(
                f"the frontend asks for Node.js {asked} ({asked_where}), and its image has {have}, of which npm only warns: another by "
                f'frontend_image_args: {{NODE_IMAGE: "node:{_match(asked, r"([0-9]+)") or "22"}-slim"}}'
            )
            return
        lowest = _match(asked, r"(\d+)") or "22"
        part.add("debian_release", (by_next or ["trixie"])[-1], "likely", asked_where, f"Node.js {asked} is not in Debian")
        part.problems.append(
            f"the frontend asks for Node.js {asked} ({asked_where}), and Debian has 18 (bookworm) and 20 (trixie): set "
            f'frontend_image_args: {{NODE_IMAGE: "node:{lowest}-slim"}}, where a registry answers, or widen engines.node if 20 will do'
        )
        return
    choice, certainty, why, where = fitting[0], "likely", "nothing in the source asks for another Node.js", ""
    for demand, name, place in engines(application):
        # What no release satisfies, npm only warns of.
        allowed = [one for one in fitting if node_allows(demand, NODES[one]) is not False]
        if allowed and len(allowed) < len(fitting):
            fitting, choice, certainty, why, where = allowed, allowed[0], "certain", f"{name} needs {demand}", place
    if wanted:
        choice = next((name for name in fitting if release(NODES[name])[0] >= int(wanted)), fitting[-1])
        have = release(NODES[choice])[0]
        why, where, certainty = f"the source names Node.js {wanted}", wanted_where, "certain" if have == int(wanted) else "likely"
        if have != int(wanted):
            why += f"; {have} is the nearest that Debian has"
            part.notes.append(f"the frontend names Node.js {wanted} ({wanted_where}); its image has {have}")
    elif len(fitting) == 1 and not where:
        certainty = "certain"
        next_decides = bool(needs) and node_allows(needs, NODES["bookworm"]) is False
        why, where = (f"Next.js {version} needs {needs}", version_where) if next_decides else (f"engines.node {asked}", asked_where)
    elif not application.locks:
        choice, why = fitting[-1], "without a lock file the newest versions of packages are installed, and many need it"
    part.add("debian_release", choice, certainty, where, f"Node.js {release(NODES[choice])[0]}: {why}")


def _asked(application: Frontend) -> tuple[str, str]:
    for manifest, path in ((application.manifest, application.at("package.json")), (application.root_manifest, "package.json")):
        asked = (manifest.get("engines") or {}).get("node")
        if isinstance(asked, str) and asked.strip() not in ("", "*"):
            text = application.tree.text(path) or ""
            at = re.search(r'"node"\s*:', text)
            return asked, f"{path}:{line_of(text, at.start()) if at else 1}"
    return "", ""


def _wanted(application: Frontend) -> tuple[str, str]:
    """(22, where) of what names one Node.js."""
    named = first_named(application.tree, list(dict.fromkeys([application.base, ""])), WANTED)
    volta = str((application.manifest.get("volta") or {}).get("node") or "")
    return named if named[0] or not volta[:1].isdigit() else (volta.partition(".")[0], application.at("package.json"))


# --- routes -----------------------------------------------------------------------------------------------------------------------


def _pages(application: Frontend, base: str) -> Iterator[Page]:
    prefix = f"{application.base}/" if application.base else ""
    for path in application.tree.files:
        if not path.startswith(prefix) or TESTS.search(path.removeprefix(prefix)):
            continue
        inside = path.removeprefix(prefix)
        if inside.startswith("public/"):
            yield Page(base + inside.removeprefix("public"), path)
            continue
        match = ROUTE.match(inside)
        if not match:
            continue
        if match["pages"] is not None:
            parts, handler = match["pages"].split("/"), match["pages"].startswith("api/")
            parts = parts[:-1] if parts[-1] == "index" else parts
        else:
            parts, handler = match["app"].rstrip("/").split("/"), match["kind"] == "route"
        parts = [one for one in parts if one and not re.fullmatch(r"\(.*\)|@.*", one)]
        if parts and (parts[0] in ("_app", "_document", "_error", "404", "500") or any(re.match(r"_|\(\.+\)", one) for one in parts)):
            continue
        if any("[" in one for one in parts):
            first = next(number for number, one in enumerate(parts) if "[" in one)
            parts = [*parts[:first], "*"]
        yield Page(base + "/" + "/".join(parts), path, handler)


def _health(part: Part, pages: list[Page], base: str) -> None:
    healthy = sorted(
        (page for page in pages if page.handler and HEALTHY.match(page.path) and not re.search(r"ready|readiness", page.path)),
        key=lambda page: ("health" not in page.path, page.path.count("/"), page.path),
    )
    if healthy:
        part.add("health_path", healthy[0].path, "certain", healthy[0].where, "a route for it")
    else:
        part.add("health_path", base or "/", "likely", "", "no route for health: its first page shows that it serves")
    part.add("page_path", base or "/", "certain", "", "basePath" if base else "")


# --- environment ------------------------------------------------------------------------------------------------------------------


def _environment(part: Part, application: Frontend, config: str) -> None:
    tree = application.tree
    reads = variables.of_javascript(application)
    for path in tree.files:
        if path.endswith(".prisma") or PRISMA_CONFIG.search(path):
            for match in PRISMA_READS.finditer(tree.text(path) or ""):
                reads.setdefault(match[1], variables.Read(match[1], f"{path}:{line_of(tree.text(path) or '', match.start())}", None, True))
    by_file = variables.reads_files(tree.text(path) for path in variables.javascript_files(application))
    committed = _committed(application)
    in_config = {name for name in reads if re.search(rf"\benv(\.|\[[\"']){name}\b", config)}
    elsewhere = _outside_config(application, set(reads))
    browsers = _in_browsers(application, set(reads))
    build: dict[str, str] = {}
    runtime: dict[str, str] = {}
    secrets: dict[str, str] = {}
    where: dict[str, str] = {}
    for name, read in sorted(reads.items()):
        what, default = variables.kind(name), read.default or committed.get(f"example {name}", "")
        if name in committed or f"{name}_FILE" in reads or what == "standard" or (name in GIVEN and name not in in_config):
            continue
        if what == "database" and not by_file:
            secrets[name], where[name] = "database_url", read.where
        elif what == "model":
            part.secrets.append(Secret(name, "frontend", read.where, False, read.required))
        elif name == "BETTER_AUTH_SECRET" and not by_file:
            secrets[name], where[name] = "better_auth_secret", read.where
        elif (what in ("own key", "secret") or variables.beside_a_secret(name, reads)) and not by_file:
            part.secrets.append(Secret(name, "frontend", read.where, what == "own key", read.required))
        elif what in ("backend address", "public backend") and name in in_config and name not in elsewhere:
            build[name], where[name] = "@backend@" + _path(default), read.where
        elif what == "backend address":
            if name not in GIVEN:
                runtime[name], where[name] = "@release_backend@" + _path(default), read.where
            if name in in_config:
                build[name] = "@backend@" + _path(default)
        elif what == "public backend" and name not in browsers:
            build[name], where[name] = "@backend@" + _path(default), read.where
        elif what in ("public backend", "site") and name.startswith("NEXT_PUBLIC_"):
            build[name], where[name] = "@url@" + _path(default), read.where
        elif what == "site" and not by_file:
            runtime[name], where[name] = "@url@" + _path(default), read.where
        elif what == "socket":
            build[name], where[name] = "@socket@" + _path(default), read.where
        elif what == "public" and read.default is None:
            part.todo.append(f"frontend_image_build_environment.{name}: {read.where} reads it; the browser gets its value")
    _of_packages(part, application, reads, by_file, secrets, runtime, where)
    if secrets:
        part.add("secrets_environment", secrets, "certain", _places(where, secrets), "variables that the source reads")
    if runtime:
        part.add("environment", runtime, "likely", _places(where, runtime), "addresses, by the names that the source reads them by")
    if build:
        part.add("build_environment", build, "likely", _places(where, build), "written into the pages at build")
    reads_database = "database_url" in secrets.values()
    part.add("database_scheme", "postgresql", "certain" if reads_database else "likely", "", "the usual form" if reads_database else "")
    _driver(part, application)
    _placeholders(part, application, reads, secrets)


def _in_browsers(application: Frontend, names: set[str]) -> set[str]:
    """Those of the variables that code for browsers reads: a file with "use client", a page of the pages router, and what they import; what
    has "use server" is asked over the network."""
    files = variables.javascript_files(application)
    texts = {path: application.tree.text(path) or "" for path in files}
    directive = {
        path: match[1]
        for path, text in texts.items()
        if (match := re.match(r"\s*(?:/[/*][^\n]*\n\s*)*[\"']use (client|server)[\"']", text))
    }
    pages = [path for path in files if re.search(r"(^|/)pages/(?!api/)", path)]
    queue = [path for path, what in directive.items() if what == "client"] + pages
    seen: set[str] = set()
    while queue:
        path = queue.pop()
        if path in seen or directive.get(path) == "server":
            continue
        seen.add(path)
        for specifier, _, types, _ in specifiers(texts.get(path, "")):
            kind, value = application.resolve(specifier, path)
            if kind == "file" and value in texts and not types:
                queue.append(value)
    return {name for name in names if any(re.search(rf"\b{name}\b", texts[path]) for path in seen if path in texts)}


def _on_server(application: Frontend, path: str) -> bool:
    """Whether the code of a file runs on the server, as far as it says so: what has "use client" runs in browsers."""
    return not re.match(r"\s*[\"']use client[\"']", application.tree.text(path) or "")


def _driver(part: Part, application: Frontend) -> None:
    """The form of the database's address, where the driver has one of its own for TLS (plugins/filter/database.py)."""
    names, manifest = set(application.manifest.get("dependencies") or {}), application.at("package.json")
    if "@prisma/client" in names and not {"@prisma/adapter-pg", "@prisma/adapter-neon"} & names:
        part.add("database_options", "prisma", "likely", manifest, "Prisma's own engine connects")
    elif "postgres" in names and "pg" not in names:
        part.add("database_options", "postgres.js", "certain", manifest, "postgres.js connects")


def _places(where: dict[str, str], names: dict[str, str]) -> str:
    return ", ".join(dict.fromkeys(where[name] for name in names if name in where))


def _path(default: str) -> str:
    return urlsplit(default).path.rstrip("/") if re.match(r"\w+://|/", default) else ""


def _committed(application: Frontend) -> dict[str, str]:
    """Variables that files of the source give to the build (.env.production), and, as `example NAME`, what its examples say."""
    found: dict[str, str] = {}
    for path in application.tree.written:
        name, folder = posixpath.basename(path), posixpath.dirname(path)
        if folder not in (application.base, "") or not re.match(r"\.?env", name):
            continue
        example = re.search(r"example|sample|template", name)
        if not example and (name not in (".env", ".env.production") or path not in application.tree.paths):
            continue
        for match in re.finditer(
            r"^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=[ \t]*[\"']?([^\"'\n#]*)", application.tree.text(path) or "", re.M
        ):
            found.setdefault(f"example {match[1]}" if example else match[1], match[2].strip())
    return found


def _outside_config(application: Frontend, names: set[str]) -> set[str]:
    found: set[str] = set()
    for path in variables.javascript_files(application):
        if not posixpath.basename(path).startswith("next.config"):
            text = application.tree.text(path) or ""
            found |= names & set(re.findall(r"\b[A-Z][A-Z0-9_]+\b", text))
    return found


def _of_packages(
    part: Part,
    application: Frontend,
    reads: dict[str, variables.Read],
    by_file: bool,
    secrets: dict[str, str],
    runtime: dict[str, str],
    where: dict[str, str],
) -> None:
    """What packages read by themselves."""
    manifest = application.at("package.json")
    required = {**(application.manifest.get("dependencies") or {})}
    named = {"BETTER_AUTH_SECRET", "BETTER_AUTH_SECRETS", "AUTH_SECRET"} & set(reads)
    if "better-auth" in required and not by_file and not named and _server_of(application, "better-auth"):
        secrets["BETTER_AUTH_SECRET"], where["BETTER_AUTH_SECRET"] = "better_auth_secret", manifest
    if "next-auth" in required and not by_file:
        five = release(re.sub(r"^\D*", "", str(required["next-auth"])))[:1] >= (5,) or "beta" in str(required["next-auth"])
        name = "AUTH_SECRET" if five else "NEXTAUTH_SECRET"
        if not {"AUTH_SECRET", "NEXTAUTH_SECRET"} & set(reads):
            part.secrets.append(Secret(name, "frontend", manifest, True, True))
        runtime.setdefault("AUTH_URL" if five else "NEXTAUTH_URL", "@url@")
        if five:
            runtime.setdefault("AUTH_TRUST_HOST", "true")
        where.setdefault("AUTH_URL" if five else "NEXTAUTH_URL", manifest)


def _server_of(application: Frontend, package: str) -> bool:
    """Whether the source imports the package itself, not only the part for browsers."""
    return any(
        re.search(rf"from\s+[\"']{re.escape(package)}[\"']", application.tree.text(path) or "")
        for path in variables.javascript_files(application)
    )


def _languages(part: Part, application: Frontend) -> None:
    """Languages that the source formats numbers and dates in, or that its pages are in: their data is part of Node.js."""
    found: dict[str, str] = {}
    pattern = r"\bIntl\.\w+\(\s*\[?[\"']([a-z]{2})\b|toLocale\w*String\(\s*\[?[\"']([a-z]{2})\b|\blocales\s*[:=]\s*\[([^\]]*)\]"
    for path in [*variables.javascript_files(application)]:
        text = application.tree.text(path) or ""
        for match in re.finditer(pattern, text):
            for language in [match[1] or match[2]] if match[1] or match[2] else re.findall(r"[\"']([a-z]{2})\b", match[3] or ""):
                found.setdefault(language, f"{path}:{line_of(text, match.start())}")
    found.pop("en", None)
    if found:
        part.add(
            "languages", ["en", *sorted(found)], "likely", ", ".join(dict.fromkeys(found.values())), "languages that the source formats in"
        )


def _placeholders(part: Part, application: Frontend, reads: dict[str, variables.Read], secrets: dict[str, str]) -> None:
    """Secrets that a module demands when it is loaded, as the build does with each page: a value of the right form, without a use."""
    names = {*secrets, *(one.name for one in part.secrets)}
    demanded: dict[str, str] = {}
    for path in variables.javascript_files(application):
        text = application.tree.text(path) or ""
        if PRISMA_CONFIG.search(path):
            # Read when Prisma makes its client.
            demanded |= {match[1]: path for match in PRISMA_READS.finditer(text) if match[1] in names - demanded.keys()}
        if ".env" not in text:
            continue
        for name in sorted(names - demanded.keys()):
            if not re.search(rf"\b{name}\b", text):
                continue
            alone = re.search(rf"env(\.|\[[\"']){name}([\"']\])?\s*!|new\s+\w+\([^;]*?env(\.|\[[\"']){name}\b", text)
            if alone or DEMANDS.search(text):
                demanded[name] = path
    part.add(
        "build_placeholders",
        sorted(demanded),
        "likely",
        ", ".join(sorted(set(demanded.values()))),
        "demanded while the build loads pages" if demanded else "",
    )
