#!/usr/bin/python
"""Check a source before an image is built from it, and refuse what cannot work."""

from __future__ import annotations

DOCUMENTATION = r"""
module: source_check
short_description: Check a source before an image is built from it, and refuse what cannot work
requirements: [packaging, semantic-version]
description:
  - Reads the source and runs nothing of it. Finds imports that lead nowhere, files that do not parse, a missing or stale lock file,
    versions that the image's Python or Node.js cannot satisfy, credentials that would be copied, files that cannot be,
    addresses of this machine, a health path that is nowhere, and documented variables that nothing gives.
  - Without the required libraries, on a builder that is not the controller, versions are not compared; RV(notes) has a line about it.
  - What certainly fails is an error and stops the run; what may fail is a warning, and stops it where O(strict) is set.
options:
  source: {description: Directory of the source., type: path, required: true}
  kind: {description: What it is the source of., type: str, required: true, choices: [fastapi, nextjs]}
  dockerfile:
    description: "A Dockerfile of the user's own, which defines what it needs: then only the files of its context are checked."
    type: path
    default: ""
  include: {description: Patterns of files that go into the image although they are ignored., type: list, elements: str, default: []}
  role: {description: The role whose variables the advice names., type: str, required: true}
  app: {description: "FastAPI: the ASGI application, C(module:attribute).", type: str, default: "app.main:app"}
  directory: {description: Directory in the source that the application is in., type: str, default: "."}
  pythonpath: {description: "FastAPI: directories to import from besides it, separated by colons.", type: str, default: ""}
  dependencies: {description: "FastAPI: C(auto), C(uv), C(requirements), C(pyproject) or a path.", type: str, default: auto}
  runtime: {description: "Version of the image's Python (3.11) or Node.js (18.20.4).", type: str, required: true}
  health_path: {description: The path that answers when it is well., type: str, required: true}
  port: {description: The port that it listens on., type: int, required: true}
  environment: {description: Names of the variables that the container is given., type: list, elements: str, default: []}
  build_environment: {description: "Next.js: names of the variables that the build is given.", type: list, elements: str, default: []}
  extra_commands: {description: Commands of the build; they may make what is missing., type: str, default: ""}
  fonts:
    description: "Next.js: whether the build fetches the fonts of next/font/google (C(fetch)), or takes others (C(fallback))."
    type: str
    choices: [fetch, fallback]
    default: fetch
  accepted:
    description: "Findings that are accepted: C(check), C(reason), C(until) (a day), and optionally C(where) and C(contains)."
    type: list
    elements: dict
    default: []
  strict: {description: Let warnings stop the run too., type: bool, default: false}
  refuse:
    description: "Fail where the source cannot be built; without it the reason is in RV(refused), and the caller fails."
    type: bool
    default: true
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Check the source
  berth.stack.source_check:
    source: /srv/app/backend
    kind: fastapi
    role: backend_image
    runtime: "3.11"
    health_path: /health
    port: 8000
"""

RETURN = r"""
findings: {description: "Each with check, severity, where, message, advice; accepted, where it is.", type: list, elements: dict,
  returned: always}
refused: {description: "Why the source cannot be built; empty where it can.", type: str, returned: always}
notes: {description: Lines to show., type: list, elements: str, returned: always}
seconds: {description: How long it took., type: float, returned: always}
"""

import sys
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.source import checks as source_common
from ..module_utils.source import fastapi as source_fastapi
from ..module_utils.source import nextjs as source_nextjs
from ..module_utils.source.findings import accept, line, open_findings, unusable
from ..module_utils.source.javascript_modules import Options as nextjs_options
from ..module_utils.source.python_dependencies import Options as fastapi_options
from ..module_utils.source.tree import file_findings, select
from ..module_utils.source.versions import MISSING


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "path", "required": True},
            "kind": {"type": "str", "required": True, "choices": ["fastapi", "nextjs"]},
            "dockerfile": {"type": "path", "default": ""},
            "include": {"type": "list", "elements": "str", "default": []},
            "role": {"type": "str", "required": True},
            "app": {"type": "str", "default": "app.main:app"},
            "directory": {"type": "str", "default": "."},
            "pythonpath": {"type": "str", "default": ""},
            "dependencies": {"type": "str", "default": "auto"},
            "runtime": {"type": "str", "required": True},
            "health_path": {"type": "str", "required": True},
            "port": {"type": "int", "required": True},
            "environment": {"type": "list", "elements": "str", "default": []},
            "build_environment": {"type": "list", "elements": "str", "default": []},
            "extra_commands": {"type": "str", "default": ""},
            "fonts": {"type": "str", "choices": ["fetch", "fallback"], "default": "fetch"},
            "accepted": {"type": "list", "elements": "dict", "default": []},
            "strict": {"type": "bool", "default": False},
            "refuse": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    given = module.params

    def refuse(message: str, **result: Any) -> None:
        if given["refuse"]:
            module.fail_json(msg=message, **result)
        module.exit_json(changed=False, refused=message, **result)

    if not Path(given["source"]).is_dir():
        refuse(f"the source {given['source']} is not a directory")
    if problems := unusable(given["accepted"]):
        refuse(f"{given['role']}_accepted: {'; '.join(problems)}")
    started = time.monotonic()
    kind = "own" if given["dockerfile"] else given["kind"]
    selection = select(given["source"], kind, given["include"], given["dockerfile"], given["role"])
    tree = source_common.Tree(given["source"], selection, given["role"])
    common = {
        "health_path": given["health_path"],
        "port": given["port"],
        "environment": set(given["environment"]),
        "extra_commands": given["extra_commands"],
        "role": given["role"],
    }
    if kind == "own":
        found = list(source_common.credentials(tree))
    elif kind == "fastapi":
        backend = fastapi_options(
            app=given["app"],
            app_root=given["directory"],
            pythonpath=given["pythonpath"],
            dependencies=given["dependencies"],
            python=given["runtime"],
            **common,
        )
        found = source_fastapi.check(given["source"], backend, tree)
    else:
        frontend = nextjs_options(
            subpath=given["directory"],
            node=given["runtime"],
            build_environment=set(given["build_environment"]),
            fonts=given["fonts"],
            **common,
        )
        found = source_nextjs.check(given["source"], frontend, tree)
    findings = accept([*selection.findings, *file_findings(given["source"], selection), *found], given["accepted"])
    notes = selection.notes
    if MISSING and kind != "own":
        notes = [*notes, f"Versions are not compared: {sys.executable} has no {' and no '.join(MISSING)} (see requirements.txt)"]
    result = {"findings": findings, "notes": notes, "seconds": round(time.monotonic() - started, 2)}
    errors, warnings = open_findings(findings, "error"), open_findings(findings, "warning")
    refusing = errors + (warnings if given["strict"] else [])
    if refusing:
        head = (
            f"The source {given['source']} cannot be built as it is:"
            if errors
            else f"The source {given['source']} has warnings, and strict is set:"
        )
        names = ", ".join(sorted({item["check"] for item in refusing}))
        tail = f"A finding that is right as it is: name its check ({names}), a reason and a day in {given['role']}_accepted."
        refuse("\n".join([head, *(f"  {line(item)}" for item in refusing), tail]), **result)
    for item in warnings:
        module.warn(line(item))
    module.exit_json(changed=False, refused="", **result)


if __name__ == "__main__":
    main()
