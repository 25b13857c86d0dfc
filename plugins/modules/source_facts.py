#!/usr/bin/python
"""Gather, on the controller, facts of the application's sources, of how they are built, and of earlier runs."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_facts
short_description: Gather facts of the application's sources, of how they are built, and of earlier runs
description: Reads sources, images' Dockerfiles and the records of earlier runs on the controller, and changes nothing.
options:
  root: {description: Directory of the collection; the roles' Dockerfiles are read., type: path, required: true}
  backend: {description: Directory of the backend's source., type: path, required: true}
  frontend: {description: Directory of the frontend's source., type: path, required: true}
  reports: {description: "Directory of reports; C(latest/advice.json) and C(images.json) are read.", type: path, required: true}
  layout:
    description:
      - C(backend), with C(app_root), C(dependencies), C(python), and C(frontend), with C(subpath), as the variables of their roles.
    type: dict
    default: {}
  records: {description: Directory of what earlier runs of this stack left., type: path, required: true}
  builds: {description: Directory of build logs., type: path, required: true}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Gather facts of the sources
  berth.stack.source_facts:
    root: /srv/berth
    backend: /srv/berth/apps/backend
    frontend: /srv/berth/apps/frontend
    reports: /srv/berth/reports
    records: /srv/berth/.local/records/berth
    builds: /srv/berth/.local/builds
"""

RETURN = r"""
source:
  description: "C(dockerfiles), C(ignored), C(applications), C(builds), C(records), C(advice), C(image_checks)."
  type: dict
  returned: always
"""

import json
import re
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.image_scan import setting_hits
from ..module_utils.source import javascript_modules, python_dependencies
from ..module_utils.source.checks import Tree
from ..module_utils.source.tree import left_out_patterns

WARNING = re.compile(r"(?i)^(?:#\d+ [\d.]+ )?\s*(?:\d+ warnings? found|- \w+:.*\(line \d+\)|warning[: ]|npm warn|deprecat|⚠)")
NPM_CODE = re.compile(r"(?i)npm warn E[A-Z]+")
FAILED = re.compile(r"(?i)^(?:#\d+ [\d.]+ )?(?:error[: ]|npm err|failed to compile|ERROR: )")


def dockerfile(path: Path) -> dict[str, Any]:
    """Stages and instructions of a Dockerfile; heredocs are part of their instruction."""
    if not path.is_file():
        return {"exists": False, "stages": [], "instructions": [], "secrets": []}
    instructions: list[list[str]] = []
    heredoc, joined = "", ""
    for line in path.read_text().splitlines():
        if heredoc:
            instructions[-1][1] += "\n" + line
            heredoc = "" if line.strip() == heredoc else heredoc
            continue
        if not line.strip() or (line.lstrip().startswith("#")):
            continue
        joined += line.rstrip("\\") if line.endswith("\\") else line
        if line.endswith("\\"):
            continue
        name, _, rest = joined.strip().partition(" ")
        instructions.append([name.upper(), rest.strip()])
        joined = ""
        if match := re.search(r"<<-?['\"]?([A-Z]+)['\"]?", rest):
            heredoc = match[1]
    stages = []
    for name, rest in instructions:
        if name == "FROM":
            words = [word for word in rest.split() if not word.startswith("--")]
            stages.append({"from": words[0], "as": words[2] if len(words) > 2 else ""})
    secrets = [hit for name, rest in instructions if name in ("ENV", "ARG", "RUN", "COPY") for hit in setting_hits(rest)]
    return {"exists": True, "stages": stages, "instructions": [[name, rest[:4000]] for name, rest in instructions], "secrets": secrets}


def backend(source: Path, layout: dict[str, Any]) -> dict[str, Any]:
    """What the backend's source declares, as its Dockerfile reads it."""
    if not source.is_dir():
        return {"exists": False, "declared": "", "requirements": 0, "unpinned": [], "python_files": 0, "fastapi": False}
    found = python_dependencies.declared(Tree(source), python_dependencies.Options(**layout))[0]
    locked = found.complete or "lock" in Path(found.file).name
    return {
        "exists": True,
        "declared": found.file,
        "requirements": len(found.names),
        "unpinned": [] if locked else sorted(name for name, (_, _, spec) in found.names.items() if not spec.startswith("==")),
        "python_files": sum(1 for path in source.rglob("*.py") if not {".venv", "node_modules"} & set(path.parts)),
        "fastapi": found.opaque or "fastapi" in found.names,
    }


def frontend(source: Path, layout: dict[str, Any]) -> dict[str, Any]:
    """What the frontend's source declares, in a monorepo its part of it."""
    if not source.is_dir():
        return {"exists": False, "declared": "", "locks": [], "lock_differs": [], "dependencies": [], "development": [], "scripts": []}
    found = javascript_modules.Frontend(Tree(source, role="frontend_image"), javascript_modules.Options(**layout))
    package = found.manifest
    declared = {**package.get("dependencies", {}), **package.get("devDependencies", {})}
    differ = []
    if found.locks and found.locks[0].endswith("package-lock.json"):
        own = json.loads(found.lock_text).get("packages", {}).get("" if Path(found.locks[0]).parent == Path(found.base) else found.base, {})
        locked = {**own.get("dependencies", {}), **own.get("devDependencies", {})}
        differ = sorted(name for name in set(declared) | set(locked) if declared.get(name) != locked.get(name))
    return {
        "exists": True,
        "declared": found.at("package.json") if package else "",
        "locks": found.locks,
        "lock_differs": differ,
        "dependencies": sorted(package.get("dependencies", {})),
        "development": sorted(package.get("devDependencies", {})),
        "scripts": sorted(package.get("scripts", {})),
    }


def warned(output: list[str]) -> list[str]:
    """The warnings of a build. Lines of the same step and code that follow each other are one: npm reports an engine in five."""
    found: list[str] = []
    before = ""
    for line in output:
        if not WARNING.search(line):
            before = ""
            continue
        code = NPM_CODE.search(line)
        if code and before == code[0]:
            found[-1] += f" {line[code.end() :].strip()}"
        else:
            found.append(line)
        before = code[0] if code else ""
    return [text[:300] for text in found]


def build_logs(directory: Path) -> dict[str, Any]:
    """By the content that was built: warnings and errors of the build."""
    found = {}
    for path in directory.glob("*.json") if directory.is_dir() else []:
        record = report(path)
        if "error" in record:
            found[path.stem] = {"error": record["error"]}
            continue
        output = record.get("output", "").splitlines()
        found[record["content"]] = {
            "service": record["service"],
            "lines": len(output),
            "cached": sum(line.endswith(" CACHED") for line in output),
            "seconds": record.get("seconds", 0),
            "warnings": warned(output),
            "errors": [line[:300] for line in output if FAILED.search(line)],
        }
    return found


def report(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text()) if path.is_file() else {}
    except (OSError, ValueError) as error:
        return {"error": f"{path} cannot be read: {error}"}


def main() -> None:
    names = ("root", "backend", "frontend", "reports", "records", "builds")
    options: dict[str, Any] = {name: {"type": "path", "required": True} for name in names}
    module = AnsibleModule(argument_spec=options | {"layout": {"type": "dict", "default": {}}}, supports_check_mode=True)
    layout = module.params["layout"]
    places = {name: Path(module.params[name]) for name in names}
    roles = {name: places["root"] / "roles" / f"{name}_image" / "files" for name in ("backend", "frontend")}
    source = {
        "dockerfiles": {name: dockerfile(path / "Dockerfile") for name, path in roles.items()},
        "ignored": {"backend": left_out_patterns("fastapi"), "frontend": left_out_patterns("nextjs")},
        "applications": {
            "backend": backend(places["backend"], layout.get("backend") or {}),
            "frontend": frontend(places["frontend"], layout.get("frontend") or {}),
        },
        "builds": build_logs(places["builds"]),
        "records": {path.stem: report(path) for path in sorted(places["records"].glob("*.json"))} if places["records"].is_dir() else {},
        "advice": report(places["reports"] / "latest" / "advice.json"),
        "image_checks": report(places["reports"] / "images.json"),
    }
    module.exit_json(changed=False, source=source)


if __name__ == "__main__":
    main()
