"""What verification asks of declared services: all that it asks of the stack's own, but a health check only where one is declared."""

from __future__ import annotations

import copy
import json
import sys
from typing import Any

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "acceptance"))
from ansible_collections.berth.stack.plugins.module_utils.verify.checks import CHECKS, Facts, Fail
from ansible_collections.berth.stack.plugins.module_utils.verify.container_logs import _kind
from mutations import completed

FACTS = completed(json.loads((ROOT / "tests/acceptance/facts.json").read_text()))
CHECKED = ("all_run", "health_steady", "benchmark")


def facts(service: str, **changed: Any) -> Facts:
    """The recorded facts with a further container, as the model but without a health check."""
    made = copy.deepcopy(FACTS)
    like = next(c for c in made["stack"]["containers"] if c["service"] == "model")
    none = {"health": "none", "health_test": ["NONE"], "health_log": []}
    warnings = {"benchmark": {"warnings": like["benchmark"]["warnings"] | {"5.27": "a health check that passes"}, "score": 0}}
    made["stack"]["containers"].append(
        copy.deepcopy(like) | {"name": f"berth-{service}-v1", "service": service} | none | warnings | changed
    )
    return Facts(made)


@pytest.mark.parametrize("check", CHECKED)
def test_a_declared_service_needs_no_health_check(check: str) -> None:
    assert CHECKS[check](facts("worker"))


@pytest.mark.parametrize("check", CHECKED)
def test_one_of_the_stacks_own_needs_one(check: str) -> None:
    with pytest.raises(Fail):
        CHECKS[check](facts("model"))


@pytest.mark.parametrize("check", CHECKED)
def test_a_health_check_that_is_declared_must_pass(check: str) -> None:
    with pytest.raises(Fail):
        CHECKS[check](facts("worker", health="unhealthy", health_test=["CMD", "ok"], health_log=[1]))


@pytest.mark.parametrize("changed", [{"running": False}, {"restarts": 3}, {"oom_killed": True}])
def test_a_declared_service_must_run(changed: dict[str, Any]) -> None:
    with pytest.raises(Fail, match="berth-worker-v1"):
        CHECKS["all_run"](facts("worker", **changed))


def test_lines_of_redis_have_a_time_and_a_level() -> None:
    assert _kind("1:M 28 Nov 2026 03:20:16.123 * Ready to accept connections tcp") == "dated"
    assert _kind("1:M hello") == ""
