"""What `make up` on a new host leaves as evidence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import STACK

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def report() -> dict[str, dict[str, str]]:
    """The newest report, by criterion."""
    found = json.loads((ROOT / "reports" / ("" if STACK == "berth" else STACK) / "latest/acceptance.json").read_text())
    if found["stack"] != STACK:
        pytest.fail(f"the newest report is of {found['stack']}; make up STACK_NAME={STACK} makes one of {STACK}")
    return {entry["id"]: entry for entry in found["criteria"]}


def test_every_criterion_is_judged_and_none_fails(report: dict[str, dict[str, str]]) -> None:
    assert len(report) == 144
    assert [entry for entry in report.values() if entry["status"] == "fail"] == []


@pytest.mark.parametrize("criterion", ["VAL-04", "SINT-07"])
def test_the_first_release_is_restarted_in_the_middle_of_its_story(report: dict[str, dict[str, str]], criterion: str) -> None:
    assert report[criterion]["status"] == "pass", report[criterion]["evidence"]
