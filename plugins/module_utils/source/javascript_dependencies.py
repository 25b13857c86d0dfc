"""The dependencies in package.json and its lock file, and whether the image's Node.js can satisfy it."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator
from typing import Any

from .checks import line_of, merge_marks
from .findings import finding
from .javascript_modules import LOCKS, Frontend
from .versions import builders_machine, node_allows, release

# The first Node.js that a major release of Next.js runs on.
NEXT_NEEDS = {13: ">=16.14.0", 14: ">=18.17.0", 15: ">=18.18.0", 16: ">=20.9.0"}


def manifest(frontend: Frontend) -> Iterator[dict[str, Any]]:
    tree, options, path = frontend.tree, frontend.options, frontend.at("package.json")
    if path not in tree.paths:
        others = [
            posixpath.dirname(p)
            for p in tree.files
            if posixpath.basename(p) == "package.json" and "next" in {**(frontend.read_json(p).get("dependencies") or {})}
        ]
        advice = f"set {options.role}_source_subpath: {others[0]}" if others else "point FRONTEND_SOURCE at the Next.js application"
        yield finding("entry", "error", f"there is no package.json in {options.subpath}", options.subpath, advice)
        return
    try:
        json.loads(tree.text(path) or "")
    except json.JSONDecodeError as error:
        yield merge_marks(tree, path) or finding("parse", "error", f"not JSON: {error.msg}", f"{path}:{error.lineno}", "correct it")
        return
    if "next" not in frontend.declared:
        advice = f"set {options.role}_source_subpath to the directory of the application"
        yield finding("entry", "error", "names no dependency on next: this is not a Next.js application", path, advice)
    if not frontend.locks:
        message = "no lock file: the newest versions that package.json allows are installed, others tomorrow"
        yield finding("lock", "warning", message, path, "npm install --package-lock-only, and commit package-lock.json")
    elif frontend.locks[0].endswith("package-lock.json"):
        yield from _stale_lock(frontend)
        yield from _other_platform(frontend)
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
        for name, required in (frontend.manifest.get(kind) or {}).items():
            if (
                name not in (own.get("dependencies") or {})
                and name not in (own.get("devDependencies") or {})
                and name not in (own.get("optionalDependencies") or {})
            ):
                line = line_of(frontend.tree.text(manifest_path) or "", max(0, (frontend.tree.text(manifest_path) or "").find(f'"{name}"')))
                message = f"{name} {required} is not in {path}: npm ci refuses that"
                advice = "npm install --package-lock-only, and commit package-lock.json"
                yield finding("lock", "error", message, f"{manifest_path}:{line}", advice)


# Packages that no build can do without their program, and have no other way to it.
NEED_THEIR_PROGRAM = {"lightningcss", "@tailwindcss/oxide"}
PLATFORM = re.compile(r"(?:^|[-/])(linux|darwin|win32|android|freebsd)-(x64|arm64|ia32|arm)\b")


def _other_platform(frontend: Frontend) -> Iterator[dict[str, Any]]:
    """npm writes a lock file with the programs of one platform only, where node_modules of that platform was there: npm issue 4828."""
    try:
        locked = json.loads(frontend.lock_text).get("packages") or {}
    except ValueError:
        return  # reported already
    cpu = {"x86_64": "x64", "aarch64": "arm64"}.get(builders_machine(), "")
    present = {path.rpartition("node_modules/")[2] for path in locked}
    for path, package in sorted(locked.items()):
        programs = [name for name in package.get("optionalDependencies") or {} if PLATFORM.search(name)]
        own = [name for name in programs if (match := PLATFORM.search(name)) and match.groups() == ("linux", cpu) and "musl" not in name]
        if not own or set(own) & present or not set(programs) & present:
            continue
        name = path.rpartition("node_modules/")[2]
        needed = name in NEED_THEIR_PROGRAM and not package.get("optional")
        file, position = frontend.locks[0], max(0, frontend.lock_text.find(f'"{path}"'))
        message = f"the lock file has {name} without its program for this platform, {own[0]}: it was made on another one"
        advice = (
            f"remove node_modules and {posixpath.basename(file)}, run npm install --package-lock-only --os=linux --cpu={cpu}, and commit it"
        )
        yield finding("lock", "error" if needed else "warning", message, f"{file}:{line_of(frontend.lock_text, position)}", advice)


def _next_version(frontend: Frontend) -> tuple[str, str]:
    """(version, file:line): that of the lock file, else the lowest that package.json allows."""
    if frontend.locks and frontend.locks[0].endswith("package-lock.json"):
        match = re.search(r'"node_modules/next":\s*\{\s*"version":\s*"([^"]+)"', frontend.lock_text)
        if match:
            return match[1], f"{frontend.locks[0]}:{line_of(frontend.lock_text, match.start())}"
    path = frontend.at("package.json")
    kinds = ("dependencies", "devDependencies")
    required = next((m[k]["next"] for m in (frontend.manifest, frontend.root_manifest) for k in kinds if "next" in (m.get(k) or {})), "")
    match = re.search(r"\d+(\.\d+)*", required)
    text = frontend.tree.text(path) or ""
    return (match[0] if match else ""), f"{path}:{line_of(text, max(0, text.find(chr(34) + 'next' + chr(34))))}"


def engines(frontend: Frontend) -> Iterator[tuple[str, str, str]]:
    """(range of Node.js, package with its version, file:line) of what the application runs, and of the Prisma that makes its client.

    npm's lock file has it; those of others do not.
    """
    if not frontend.locks or not frontend.locks[0].endswith("package-lock.json"):
        return
    try:
        locked = json.loads(frontend.lock_text).get("packages") or {}
    except ValueError:
        return  # reported by the preflight
    names = [*(frontend.manifest.get("dependencies") or {}), *({"prisma"} & (frontend.manifest.get("devDependencies") or {}).keys())]
    for name in names:
        package = locked.get(f"node_modules/{name}") or {}
        asked = package.get("engines")
        demand = asked.get("node") if isinstance(asked, dict) else None
        if isinstance(demand, str):
            line = line_of(frontend.lock_text, max(0, frontend.lock_text.find(f'"node_modules/{name}": {{')))
            yield demand, f"{name} {package.get('version', '')}", f"{frontend.locks[0]}:{line}"


def _node_advice(frontend: Frontend, required: str) -> str:
    role = frontend.options.role
    if node_allows(required, "20.19.2") and not frontend.options.node.startswith("20."):
        return f"set {role}_debian_release: trixie for Node.js 20"
    if node_allows(required, "18.20.4") and not frontend.options.node.startswith("18."):
        return f"set {role}_debian_release: bookworm for Node.js 18"
    return f"set {role}_args.NODE_IMAGE to an image of that Node.js"


def only_warns(frontend: Frontend) -> bool:
    """Whether an installation goes on where engines.node does not fit: npm's does, unless .npmrc says otherwise."""
    managers = {LOCKS[posixpath.basename(path)] for path in frontend.locks} or {"npm"}
    named = str(frontend.manifest.get("packageManager") or frontend.root_manifest.get("packageManager") or "npm").partition("@")[0]
    strict = any("engine-strict" in (frontend.tree.text(path) or "") for path in {frontend.at(".npmrc"), ".npmrc"})
    return managers == {"npm"} and named == "npm" and not strict


def versions(frontend: Frontend) -> Iterator[dict[str, Any]]:
    options, path = frontend.options, frontend.at("package.json")
    required = (frontend.manifest.get("engines") or {}).get("node")
    if isinstance(required, str) and node_allows(required, options.node) is False:
        text = frontend.tree.text(path) or ""
        at = re.search(r'"engines"\s*:\s*\{[^}]*?"node"', text)
        message = f"the source asks for Node.js {required}, the image has {options.node}"
        severity = "warning" if only_warns(frontend) else "error"
        yield finding("version", severity, message, f"{path}:{line_of(text, at.end()) if at else 1}", _node_advice(frontend, required))
    version, where = _next_version(frontend)
    needs = NEXT_NEEDS.get(release(version)[0], "") if version else ""
    if needs and node_allows(needs, options.node) is False:
        message = f"Next.js {version} needs Node.js {needs}, the image has {options.node}"
        yield finding("version", "error", message, where, _node_advice(frontend, needs))
