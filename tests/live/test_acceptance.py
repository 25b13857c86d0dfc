"""Evidence of `make up` on a new host, and the criteria that may be not verified on a machine, with reasons."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import STACK

ROOT = Path(__file__).resolve().parents[2]
LATEST = ROOT / "reports" / ("" if STACK == "berth" else STACK) / "latest"


class Gap(NamedTuple):
    """Criteria that a machine may leave not verified: their ids, the reason that the report must give, and what must hold for it."""

    criteria: str
    reason: str
    holds: Callable[[dict[str, Any]], bool]


def no_agent(facts: dict[str, Any]) -> bool:
    return shutil.which("docker") is None or subprocess.run(["docker", "ai", "version"], capture_output=True, check=False).returncode != 0


def no_browser(facts: dict[str, Any]) -> bool:
    return not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))


def no_stress_run(facts: dict[str, Any]) -> bool:
    return facts["source"]["records"].get("stress", {}).get("version") != facts["stack"]["releases"]["current"]


def no_scan(facts: dict[str, Any]) -> bool:
    images = {image["labels"].get("berth.version") for image in facts["stack"]["images"].values()}
    return facts["source"]["image_checks"].get("version") not in images


def scan_without_data(facts: dict[str, Any]) -> bool:
    reports = facts["source"]["image_checks"].get("images", [])
    return any(entry["status"] == "not verified" for report in reports for entry in report["criteria"])


def no_build_log(facts: dict[str, Any]) -> bool:
    contents = {facts["stack"]["images"][service]["labels"].get("berth.content") for service in ("backend", "frontend")}
    return not contents <= facts["source"]["builds"].keys()


GAPS = [
    Gap("AI-01 AI-02 AI-03 AI-04 AI-05 AI-06", r"no advice was recorded|Docker's AI agent is not", no_agent),
    Gap("VSTR-03 VSTR-04 VSTR-05", r"no stress run was recorded|the stress run was of", no_stress_run),
    Gap("VPOST-04", r"no scan of the images was recorded|the last scan was of", no_scan),
    Gap("VPOST-04", r"(backend|frontend): \w+: ", scan_without_data),
    Gap("VBLD-04", r"no log of the \w+'s build is kept here", no_build_log),
    Gap("ROLL-01", r"there was only one release so far", lambda facts: len(facts["stack"]["releases"]["kept"]) == 1),
    Gap("VAL-02 SFE-05 VFUN-06", r"the controller has no Chromium or Chrome", no_browser),
    Gap("VSEC-01", r"the project is no git repository", lambda facts: not (ROOT / ".git").exists()),
]


@pytest.fixture(scope="module")
def report() -> dict[str, dict[str, str]]:
    """The newest report, by criterion."""
    found = json.loads((LATEST / "acceptance.json").read_text())
    if found["stack"] != STACK:
        pytest.fail(f"the newest report is of {found['stack']}; make up STACK_NAME={STACK} makes one of {STACK}")
    return {entry["id"]: entry for entry in found["criteria"]}


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    """Facts gathered by the run that wrote the report."""
    return json.loads((LATEST / "facts.json").read_text())


def test_every_criterion_is_evaluated_and_none_fails(report: dict[str, dict[str, str]]) -> None:
    assert len(report) == 144
    assert {entry["status"] for entry in report.values()} <= {"pass", "not verified", "not applicable"}
    assert [entry for entry in report.values() if entry["status"] == "fail"] == []


def test_only_what_this_machine_lacks_is_not_verified(report: dict[str, dict[str, str]], facts: dict[str, Any]) -> None:
    """Each gap is one of the table, for the table's reason, and this machine really lacks what the reason names."""
    gaps = {name: entry["evidence"] for name, entry in report.items() if entry["status"] == "not verified"}
    unexplained = {
        name: evidence
        for name, evidence in gaps.items()
        if not any(name in gap.criteria.split() and re.search(gap.reason, evidence) and gap.holds(facts) for gap in GAPS)
    }
    assert unexplained == {}


def test_only_the_registry_does_not_apply(report: dict[str, dict[str, str]]) -> None:
    """The reference application has every part; without REGISTRY nothing is pushed."""
    assert {name for name, entry in report.items() if entry["status"] == "not applicable"} <= {"VPOST-05"}


@pytest.mark.parametrize("criterion", ["VAL-04", "SINT-07"])
def test_the_first_release_is_restarted_in_the_middle_of_the_check(report: dict[str, dict[str, str]], criterion: str) -> None:
    assert report[criterion]["status"] == "pass", report[criterion]["evidence"]
