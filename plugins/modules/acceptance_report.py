#!/usr/bin/python
"""Evaluate the acceptance criteria over what was gathered, and write the report."""

from __future__ import annotations

DOCUMENTATION = r"""
module: acceptance_report
short_description: Evaluate the acceptance criteria over what was gathered, and write the report
description:
  - Writes C(acceptance.json), C(acceptance.xml) (JUnit), C(acceptance.html) and C(facts.json) into C(directory)/latest, and keeps earlier
    reports in C(directory)/history. A report of a selection goes to C(directory)/selection and replaces nothing.
options:
  catalogue: {description: File with the criteria., type: path, required: true}
  template: {description: Template of the page; its style sheet is beside it., type: path, required: true}
  gathered:
    description: "C(stack), C(e2e), C(source), C(repository), C(browser), C(budgets), C(required), C(absent), C(settings)."
    type: dict
    required: true
  about: {description: "C(stack), C(host), C(url), C(started) (seconds since 1970) of this run.", type: dict, required: true}
  directory: {description: Directory of reports., type: path, required: true}
  records: {description: Directory of what runs of this stack leave for later ones., type: path, required: true}
  name: {description: Name of the files., type: str, default: acceptance}
  section: {description: Only sections with this in their name., type: str, default: ""}
  ids: {description: "Only these criteria, or those whose id begins so.", type: str, default: ""}
  keep: {description: Earlier reports to keep., type: int, default: 20}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Report
  berth.stack.acceptance_report:
    catalogue: criteria.yml
    template: acceptance.html.j2
    gathered: "{{ facts }}"
    about: {stack: berth, host: localhost, url: "https://localhost:8443", started: 1795507967.5}
    directory: reports
    records: .local/records
"""

RETURN = r"""
summary: {description: How many have which status., type: dict, returned: always}
report: {description: The page that was written., type: str, returned: always}
lines: {description: What a terminal shows., type: list, elements: str, returned: always}
failed_ids: {description: Criteria that fail., type: list, elements: str, returned: always}
running_failed:
  description: Those of them that a check of what runs makes fail, and not only a figure over a budget that nobody promised.
  type: list
  elements: str
  returned: always
"""

import contextlib
import json
import shutil
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml
from ansible.module_utils.basic import AnsibleModule

from ..module_utils.verify.acceptance import criteria, evaluate_all, problems, summary
from ..module_utils.verify.report_page import by_reason, page, verdict


def junit(report: dict[str, Any]) -> bytes:
    """The report as JUnit XML: a suite per section; what is not verified or not applicable is skipped with its reason."""
    root = ElementTree.Element("testsuites", name="acceptance", time=str(report["seconds"]))
    for section in dict.fromkeys(result["section"] for result in report["criteria"]):
        own = [result for result in report["criteria"] if result["section"] == section]
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=section,
            tests=str(len(own)),
            failures=str(sum(r["status"] == "fail" for r in own)),
            skipped=str(sum(r["status"] not in ("pass", "fail") for r in own)),
        )
        for result in own:
            case = ElementTree.SubElement(
                suite, "testcase", classname=section, name=f"{result['id']} {result['title']}", time=str(result["seconds"])
            )
            if result["status"] == "fail":
                ElementTree.SubElement(case, "failure", message=result["evidence"][:500])
            elif result["status"] != "pass":
                ElementTree.SubElement(case, "skipped", message=f"{result['status']}: {result['evidence'][:500]}")
            else:
                ElementTree.SubElement(case, "system-out").text = result["evidence"]
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def terminal(report: dict[str, Any], place: Path) -> list[str]:
    """The score of each section, then what fails and what is not verified, and the verdict; it fits a screen."""
    results = report["criteria"]
    sections = dict.fromkeys(result["section"] for result in results)
    lines = [f"{name} {_score([r for r in results if r['section'] == name])}" for name in sections]
    if len(lines) > 3:
        width = max(map(len, lines)) + 3
        lines = ["  ".join(column.ljust(width) for column in lines[i : i + 3]).rstrip() for i in range(0, len(lines), 3)]
    for status in ("fail", "not verified"):
        reasons = by_reason(results, status)
        for reason, failing in list(reasons.items())[:12]:
            lines.append(f"{status.upper():<13}{', '.join(result['id'] for result in failing)}: {reason[:230]}")
        if len(reasons) > 12:
            lines.append(f"{status.upper():<13}... and {len(reasons) - 12} more")
    count = report["summary"]
    lines.append(
        f"Acceptance of {report['stack']} {report['version']}: {count['pass']} of {len(results)} pass"
        + (f", {count['not_applicable']} not applicable" if count["not_applicable"] else "")
        + f" ({report['seconds']:.0f} s): {place}"
    )
    return [*lines, verdict(count)]


def _score(results: list[dict[str, Any]]) -> str:
    good = sum(r["status"] in ("pass", "not applicable") for r in results)
    bad = [f"{number} {status}" for status in ("fail", "not verified") if (number := sum(r["status"] == status for r in results))]
    return f"{good}/{len(results)}" + (f" ({', '.join(bad)})" if bad else "")


def remember(report: dict[str, Any], gathered: dict[str, Any], directory: Path) -> None:
    """Keep a restart that was part of the end-to-end check: later runs of this version need not do it again."""
    steps = {step["key"]: step for step in gathered.get("e2e") or []}
    if "restart" not in steps:
        return
    keys = ("restart", "session_kept", "task_kept", "data_kept")
    restarted = [steps[key] for key in keys if key in steps and steps[key]["outcome"] != "absent"]
    record = {
        "version": report["version"],
        "when": report["started"],
        "ok": all(step["outcome"] == "ok" for step in restarted),
        "evidence": "; ".join(f"{step['step']}: {step['evidence']}" for step in restarted),
    }
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "restart.json").write_text(json.dumps(record, indent=2))


def write(report: dict[str, Any], gathered: dict[str, Any], options: dict[str, Any], whole: bool) -> Path:
    """Write the files of a report; return the page's path."""
    root = Path(options["directory"])
    latest = root / ("latest" if whole else "selection")
    latest.mkdir(parents=True, exist_ok=True)
    kept = latest / f"{options['name']}.json"
    previous: dict[str, Any] = {}
    if whole and kept.is_file():
        with contextlib.suppress(ValueError):  # one that was cut off is replaced
            previous = json.loads(kept.read_text())
        history = root / "history"
        history.mkdir(exist_ok=True)
        shutil.copyfile(kept, history / f"{previous.get('started', 'undated').replace(':', '')}-{options['name']}.json")
        for old in sorted(history.glob(f"*-{options['name']}.json"))[: -options["keep"]]:
            old.unlink()
    if previous.get("stack") != report["stack"]:
        previous = {}
    kept.write_text(json.dumps(report, indent=1))
    (latest / f"{options['name']}.xml").write_bytes(junit(report))
    (latest / f"{options['name']}.html").write_text(page(Path(options["template"]), report, gathered, previous))
    (latest / ("facts.json" if options["name"] == "acceptance" else f"facts-{options['name']}.json")).write_text(
        json.dumps(gathered, indent=1)
    )
    return latest / f"{options['name']}.html"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "catalogue": {"type": "path", "required": True},
            "template": {"type": "path", "required": True},
            "gathered": {"type": "dict", "required": True},
            "about": {"type": "dict", "required": True},
            "directory": {"type": "path", "required": True},
            "records": {"type": "path", "required": True},
            "name": {"type": "str", "default": "acceptance"},
            "section": {"type": "str", "default": ""},
            "ids": {"type": "str", "default": ""},
            "keep": {"type": "int", "default": 20},
        },
        supports_check_mode=True,
    )
    options, gathered, about = module.params, module.params["gathered"], module.params["about"]
    catalogue = yaml.safe_load(Path(options["catalogue"]).read_text())
    if wrong := problems(catalogue):
        module.fail_json(msg=f"{options['catalogue']}: {'; '.join(wrong)}")
    results = evaluate_all(catalogue, gathered, options["section"], options["ids"])
    if not results:
        sections = ", ".join(group["section"] for group in catalogue)
        module.fail_json(msg=f"no criterion is chosen by SECTION={options['section']} ID={options['ids']}; sections: {sections}")
    started = float(about["started"])
    report = {
        "stack": about["stack"],
        "host": about["host"],
        "url": about["url"],
        "version": (gathered.get("stack") or {}).get("releases", {}).get("current", ""),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 1),
        "summary": summary(results),
        "criteria": results,
    }
    place = Path(options["directory"]) / "latest" / f"{options['name']}.html"
    if not module.check_mode:
        try:
            place = write(report, gathered, options, whole=len(results) == len(criteria(catalogue)))
            remember(report, gathered, Path(options["records"]))
        except OSError as error:
            lines = "\n".join(terminal(report, place))
            module.fail_json(
                msg=f"The report cannot be written ({error}): set verify_reports_dir to a directory that can be written.\n{lines}"
            )
    failed = [result for result in results if result["status"] == "fail"]
    module.exit_json(
        changed=False,  # a report is no change of what it reports on
        summary=report["summary"],
        report=str(place),
        lines=terminal(report, place),
        failed_ids=[result["id"] for result in failed],
        running_failed=[result["id"] for result in failed if result["serious"]],
    )


if __name__ == "__main__":
    main()
