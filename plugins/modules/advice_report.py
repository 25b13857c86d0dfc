#!/usr/bin/python
"""Analyse images and their builds, put what Docker's AI agent answered beside it, and keep both as a report."""

from __future__ import annotations

DOCUMENTATION = r"""
module: advice_report
short_description: Analyse images and their builds, and keep the advice as a report
description:
  - "Writes C(advice.json), C(advice.md) and, for each question that Docker's agent answered, C(advice/TASK.md) (the transcript) into
    O(directory). The analysis needs no agent."
options:
  version: {description: The version that the images are of., type: str, required: true}
  directory: {description: Directory of the reports., type: path, required: true}
  images: {description: Reports of the module image_checks., type: list, elements: dict, required: true}
  settings: {description: Variables that advice may change., type: dict, default: {}}
  contents: {description: "By service, the content that its build's log is kept under.", type: dict, default: {}}
  builds: {description: Directory of the builds' logs., type: path, required: true}
  failed: {description: Whether the build failed; the logs of earlier failures do not count for sources that were built since., type: bool,
    default: false}
  runs: {description: "What runs: C(service), C(memory_bytes).", type: list, elements: dict, default: []}
  compose: {description: The Compose file; empty for none., type: path, default: ""}
  answers: {description: Answers of the module docker_ai., type: list, elements: dict, default: []}
  prompts: {description: "What was asked, by task.", type: dict, default: {}}
  apply: {description: "What is to be applied: C(true) for what is safe, ids separated by commas, or nothing.", type: str, default: ""}
  before: {description: The report of before what was applied., type: dict, default: {}}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Report what could be better
  berth.stack.advice_report: {version: v1, directory: reports/latest, images: "{{ image_checks_reports }}", builds: .local/builds}
"""

RETURN = r"""
report: {description: "C(version), C(when), C(sizes), C(advice), C(tasks).", type: dict, returned: always}
lines: {description: The report for a terminal., type: list, elements: str, returned: always}
changes: {description: "Variables that O(apply) sets.", type: dict, returned: always}
applied: {description: The pieces of advice that set them., type: list, elements: dict, returned: always}
"""

import json
import os
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.basic import AnsibleModule

from ..module_utils.advice.builds import build_steps
from ..module_utils.advice.items import TASKS
from ..module_utils.advice.report import analyse, changes, chosen
from ..module_utils.advice.text import markdown, text

BUILDERS_WORDS = re.compile(r"^Likely cause|failed to solve|ERROR: process ")


def builds(directory: Path, contents: dict[str, str]) -> dict[str, Any]:
    """{service: {output, steps}} of the builds that the images come from."""
    found = {}
    for service, content in contents.items():
        path = directory / f"{content}.json"
        if content and path.is_file():
            output = json.loads(path.read_text()).get("output", "")
            found[service] = {"output": output, "steps": build_steps(output)}
    return found


def failed(directory: Path) -> dict[str, Any]:
    """{service: {log, last, cause}} of builds that failed and were not made good since."""
    found = {}
    for path in sorted(directory.glob("failed-*.log")):
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
        cause = next((line.removeprefix("Likely cause: ") for line in reversed(lines) if line.startswith("Likely cause: ")), "")
        # The builder's own lines come last, and report only that the step failed.
        output = [line for line in lines if re.search(r"error|failed", line, re.IGNORECASE) and not BUILDERS_WORDS.search(line)]
        found[path.stem.removeprefix("failed-")] = {
            "log": str(path),
            "last": re.sub(r"^(#\d+ )?[\d.]+ ", "", (output or lines or [""])[-1])[:300],
            "cause": cause,
        }
    return found


def compose(path: Path) -> dict[str, Any]:
    """{errors, services} of a Compose file: Compose's own errors, and its services."""
    if not path.is_file():
        return {"errors": [f"there is no {path}"], "services": {}}
    errors = []
    try:
        command = ["docker", "compose", "--file", str(path), "config", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        # A client without the plugin knows no `--file`: that is no error of the file.
        if done.returncode and not re.search(r"unknown (shorthand )?(flag|command)|not a docker command", done.stderr):
            errors.append(done.stderr.strip().splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired):
        pass
    try:
        return {"errors": errors, "services": yaml.safe_load(path.read_text()).get("services") or {}}
    except yaml.YAMLError as error:
        return {"errors": [*errors, str(error)], "services": {}}


def outcome(task: str, pieces: list[dict[str, Any]], sizes: list[dict[str, Any]]) -> str:
    """The outcome of the advice on `task`: the analysers' items on the same question, and what was applied."""
    own = [piece for piece in pieces if piece["task"] == task]
    done = [piece["id"] for piece in own if piece.get("applied")]
    summary = f"items of the analysers: {', '.join(piece['id'] for piece in own) or 'none'}"
    summary += f"; applied: {', '.join(done)}" if done else "; nothing was applied"
    changed = [f"{s['image']} {s['before'] / 1e6:.1f} -> {s['size'] / 1e6:.1f} MB" for s in sizes if s.get("before")]
    return summary + (f"; {', '.join(changed)}" if changed and task == "size" else "")


def make(options: dict[str, Any]) -> dict[str, Any]:
    """The report."""
    facts = {
        "images": options["images"],
        "settings": options["settings"],
        "runs": options["runs"],
        "builds": builds(Path(options["builds"]), options["contents"]),
        "failed": failed(Path(options["builds"])) if options["failed"] else {},
        "compose": compose(Path(options["compose"])) if options["compose"] else {},
    }
    earlier = options["before"]
    was = {size["service"]: size["size"] for size in earlier.get("sizes", [])}
    sizes = [
        {"service": r["service"], "image": r["image"], "size": r["size"]} | ({"before": was[r["service"]]} if r["service"] in was else {})
        for r in options["images"]
    ]
    pieces = analyse(facts)
    # What was applied is no longer advice; it stands in the report all the same.
    applied = [piece | {"applied": True} for piece in earlier.get("advice", []) if piece["id"] in earlier.get("chosen", [])]
    if applied:
        pieces = applied + [piece | {"id": f"B{number}"} for number, piece in enumerate(pieces, 1)]
    by_task = {answer["task"]: answer for answer in options["answers"]}
    tasks = []
    for task in TASKS:
        answer = by_task.get(task) or {"answer": "", "reason": "it was not asked", "seconds": 0}
        tasks.append(
            {
                "task": task,
                "source": "docker-ai" if answer["answer"] else "analysers",
                "reason": answer["reason"],
                "answer": answer["answer"],
                "seconds": answer["seconds"],
                "outcome": outcome(task, pieces, sizes),
                "transcript": f"advice/{task}.md" if answer["answer"] else "",
            }
        )
    return {
        "version": options["version"],
        "when": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "sizes": sizes,
        "advice": pieces,
        "tasks": tasks,
    }


def keep(directory: Path, report: dict[str, Any], prompts: dict[str, str]) -> None:
    """Write the report and the transcripts; of an earlier run nothing stays."""
    transcripts = directory / "advice"
    transcripts.mkdir(parents=True, exist_ok=True)
    for stale in transcripts.glob("*.md"):
        stale.unlink()
    for entry in report["tasks"]:
        if entry["answer"]:
            asked = prompts.get(entry["task"], "")
            (transcripts / f"{entry['task']}.md").write_text(
                f"## Asked\n\n{asked}\n\n## Answered in {entry['seconds']} s\n\n{entry['answer']}\n"
            )
    for name, content in (("advice.json", json.dumps(report, indent=1) + "\n"), ("advice.md", markdown(report))):
        scratch = directory / f".{name}.new"
        scratch.write_text(content)
        os.replace(scratch, directory / name)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "images": {"type": "list", "elements": "dict", "required": True},
            "settings": {"type": "dict", "default": {}},
            "contents": {"type": "dict", "default": {}},
            "builds": {"type": "path", "required": True},
            "failed": {"type": "bool", "default": False},
            "runs": {"type": "list", "elements": "dict", "default": []},
            "compose": {"type": "path", "default": ""},
            "answers": {"type": "list", "elements": "dict", "default": []},
            "prompts": {"type": "dict", "default": {}},
            "apply": {"type": "str", "default": ""},
            "before": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    report = make(module.params)
    try:
        applied = chosen(report["advice"], module.params["apply"])
    except ValueError as error:
        module.fail_json(msg=f"APPLY={module.params['apply']}: {error}")
    report["chosen"] = [piece["id"] for piece in applied]
    if not module.check_mode:
        keep(Path(module.params["directory"]), report, module.params["prompts"])
    module.exit_json(changed=False, report=report, lines=text(report), changes=changes(applied), applied=applied)


if __name__ == "__main__":
    main()
