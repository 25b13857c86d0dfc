"""Criteria of applications that are not the reference application: what they lack is not applicable, what they have is held."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml
from ansible_collections.berth.stack.plugins.module_utils.verify.acceptance import evaluate_all, summary
from conftest import ROOT
from test_acceptance import FACTS

CATALOGUE = yaml.safe_load((ROOT / "roles/verify/files/criteria.yml").read_text())
LACKING = {"auth": "no Better Auth", "chat": "no chat", "mcp": "no MCP", "ready": "no readiness report", "tasks": "no tasks"}
# Steps of what such an application has.
THERE = {"health", "frontend_health", "page", "operations", "tls", "headers", "latency", "burst", "memory", "connections"}


def other() -> dict[str, Any]:
    """Facts of an application as tests/sources/pairs/relay: a page, two operations, no database, no sign-in, no chat."""
    facts = copy.deepcopy(FACTS)
    facts |= {"required": [], "absent": dict(LACKING)}
    for step in facts["e2e"]:
        if step["key"] not in THERE:
            step.update(outcome="absent", evidence=f"no {step['key']}", figures={})
    steps = {step["key"]: step for step in facts["e2e"]}
    steps["latency"]["figures"].pop("tasks")
    steps["health"]["figures"]["version"] = None
    del facts["stack"]["images"]["backend"]["scan"]["marks"]["postgres_driver"]
    facts["stack"]["database"]["connections"] = []
    facts["browser"]["elements"] = 0
    return facts


def container(facts: dict[str, Any], service: str) -> dict[str, Any]:
    return next(one for one in facts["stack"]["containers"] if one["service"] == service)


def results(facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in evaluate_all(CATALOGUE, facts)}


def failing(facts: dict[str, Any]) -> set[str]:
    return {name for name, one in results(facts).items() if one["status"] == "fail"}


def test_nothing_fails_and_what_is_absent_is_not_applicable_with_its_reason():
    found = results(other())
    assert {name: one["evidence"] for name, one in found.items() if one["status"] in ("fail", "not verified")} == {}
    absent = {name for name, one in found.items() if one["status"] == "not applicable"}
    assert {"TEST-06", "TEST-07", "TEST-08", "TEST-09", "VAL-07", "SBE-06", "VAL-05", "VFUN-02", "VSEC-04"} <= absent
    assert all(found[name]["evidence"] for name in absent)
    assert found["SBE-06"]["evidence"].startswith("the backend uses no database")
    assert {"VAL-01", "VAL-02", "SBE-04", "SFE-07", "SFE-09", "VRUN-02", "SPERF-03", "VFUN-01"}.isdisjoint(absent)


def test_the_reference_application_is_held_to_all_of_it():
    required = FACTS["required"]
    assert summary(list(results(FACTS).values()))["not_applicable"] == 0
    facts = other() | {"required": required, "absent": {}}
    for step in facts["e2e"]:
        if step["outcome"] == "absent":
            step.update(outcome="broken")
    assert {"TEST-07", "TEST-08", "TEST-09", "SBE-06", "VAL-01", "VAL-02", "VAL-07", "VSEC-02", "VSEC-04"} <= failing(facts)


def test_a_secret_in_the_log_of_any_application_fails_and_is_about_what_runs():
    facts = other()
    container(facts, "backend")["logs"]["secrets"] = ["a secret of this stack"]
    assert failing(facts) == {"VSEC-01"}
    assert results(facts)["VSEC-01"]["serious"]


def test_versions_and_ports_that_were_set_are_the_ones_to_be():
    facts = other()
    for service, version, port in (("backend", "3.13.5", 7860), ("frontend", "20.19.2", 4000)):
        container(facts, service)["asked"]["runtime"] = version
        container(facts, service)["environment"]["PORT"] = str(port)
        facts["stack"]["images"][service]["exposed"] = [f"{port}/tcp"]
        for asked in container(facts, "frontend" if service == "backend" else "backend")["asked"]["reach"].copy():
            if asked.startswith(f"{service}:"):
                reach = container(facts, "frontend" if service == "backend" else "backend")["asked"]["reach"]
                reach[f"{service}:{port}"] = reach.pop(asked)
    assert failing(facts) == {"BE-02", "FE-02", "BE-05", "FE-05"}
    facts["settings"] |= {"runtimes": {"backend": "3.13", "frontend": "20.19.2"}, "ports": {"backend": 7860, "frontend": 4000}}
    assert failing(facts) == set()


def test_a_backend_that_connects_for_a_request_only_is_seen_by_what_ran_meanwhile():
    facts = other()
    facts["stack"]["images"]["backend"]["scan"]["marks"]["postgres_driver"] = "site-packages/asyncpg/__init__.py"
    assert results(facts)["SBE-06"]["status"] == "not verified"
    assert results(facts)["VAL-05"]["status"] == "pass", "limits of logins count without a connection too"
    seen = {"user": "backend_g1", "application": "", "remote": True, "tls": "TLSv1.3"}
    step = next(one for one in facts["e2e"] if one["key"] == "connections")
    step["figures"]["connections"] = [seen]
    assert {results(facts)[name]["status"] for name in ("SBE-06", "VAL-05", "VSEC-02")} == {"pass"}
    step["figures"]["connections"] = [seen | {"tls": ""}]
    assert failing(facts) == {"VSEC-02"}


@pytest.mark.parametrize(("framework", "megabytes", "status"), [("15.5.4", 99, "pass"), ("15.5.4", 125, "fail"), ("16.0.3", 125, "pass"),
                                                               ("16.0.3", 136, "fail"), ("", 101, "fail")])  # fmt: skip
def test_the_budget_of_a_frontend_is_that_of_its_release_of_the_framework(framework, megabytes, status):
    facts = other()
    container(facts, "frontend")["asked"]["framework"] = framework
    facts["stack"]["images"]["frontend"] |= {"size": megabytes * 1_000_000}
    assert results(facts)["SFE-02"]["status"] == status


def test_a_figure_over_its_budget_fails_and_names_the_packages_but_does_not_end_make_up():
    facts = other()
    facts["stack"]["images"]["backend"]["size"] = 300_000_000
    facts["stack"]["images"]["backend"]["scan"]["packages_bytes"] = {"scipy": 90_000_000, "fastapi": 1_000_000}
    found = results(facts)
    assert failing(facts) == {"SBE-02", "VPOST-02", "RISK-04"}
    assert "largest packages: scipy 90 MB, fastapi 1.0 MB" in found["SBE-02"]["evidence"]
    assert not any(found[name]["serious"] for name in failing(facts))
    facts["required"] = ["budgets"]
    assert all(results(facts)[name]["serious"] for name in failing(facts))


def test_a_finding_in_a_source_is_not_about_what_runs():
    facts = other()
    facts["source"]["applications"]["backend"]["declared"] = ""
    facts["source"]["applications"]["frontend"]["locks"] = []
    found = results(facts)
    assert failing(facts) == {"BE-03", "VPRE-02"}
    assert not any(found[name]["serious"] for name in failing(facts))


def test_what_an_application_writes_into_its_log_is_its_own_but_infrastructure_is_held():
    facts = other()
    container(facts, "backend")["logs"] |= {"unformatted": ["hello"], "bad": ["Traceback (most recent call last):"]}
    found = results(facts)
    assert failing(facts) == set()
    assert found["VRUN-04"]["status"] == "pass"
    assert found["VRUN-01"]["status"] == found["MIT-05"]["status"] == "not verified"
    container(facts, "edge")["logs"] |= {"unformatted": ["hello"], "bad": ["ERROR: boom"]}
    assert failing(facts) == {"VRUN-04", "MIT-05"}


def test_a_further_process_without_a_health_check_is_no_failure():
    facts = other()
    sidecar = copy.deepcopy(container(facts, "backend")) | {"name": "s-worker-v1", "service": "worker", "health": "none", "health_log": []}
    sidecar["health_test"] = ["NONE"]
    facts["stack"]["containers"].append(sidecar)
    facts["stack"]["images"]["worker"] = facts["stack"]["images"]["backend"]
    assert failing(facts) & {"VRUN-01", "VRUN-03"} == set()
    sidecar["running"] = False
    assert "VRUN-01" in failing(facts)


def test_what_berths_dockerfiles_promise_is_not_applicable_to_an_applications_own():
    facts = other()
    scan = facts["stack"]["images"]["backend"]["scan"]
    scan |= {"shells": ["bin/sh"], "owners": {"srv": {"0": 3}}, "marks": {}}
    container(facts, "backend")["asked"] = {"error": "no python3"}
    facts["stack"]["images"]["backend"]["user"] = ""
    assert {"SSEC-04", "BE-04", "BE-07", "BE-08", "BE-10"} <= failing(facts)
    facts["settings"]["dockerfiles"] = {"backend": "docker/Dockerfile.prod", "frontend": ""}
    assert failing(facts) == set()
    assert "docker/Dockerfile.prod" in results(facts)["BE-01"]["evidence"]


def test_a_command_that_was_set_is_the_one_to_run():
    facts = other()
    container(facts, "backend")["processes"] = [{"uid": "65532", "command": "python3 -m hypercorn app.main:app"}]
    facts["stack"]["images"]["backend"]["scan"]["marks"].pop("uvicorn")
    container(facts, "backend")["asked"]["libraries"]["uvicorn"] = ""
    assert {"BE-03", "BE-04", "SBE-03"} <= failing(facts)
    facts["settings"]["commands"] = {"backend": ["python3", "-m", "hypercorn", "app.main:app"], "frontend": []}
    assert failing(facts) == set()
    container(facts, "backend")["processes"] = [{"uid": "65532", "command": "sleep"}]
    assert {"BE-04", "SBE-03"} <= failing(facts)


def test_the_facts_that_a_run_found_of_an_external_application_fail_nothing_falsely():
    """tests/acceptance/relay.json: gathered by make up of tests/sources/pairs/relay."""
    facts = json.loads((ROOT / "tests/acceptance/relay.json").read_text())
    found = results(facts)
    # What is true of it: it has no lock file, and its build warns of that.
    assert {name: one["evidence"][:30] for name, one in found.items() if one["status"] == "fail"} == {
        "VPRE-02": "requirements.txt leaves open: ",
        "VBLD-04": "frontend: #16 1.550 warning: n",
    }
    assert not any(one["serious"] for one in found.values())
    container(facts, "backend")["logs"]["secrets"] = ["a secret of this stack"]
    assert [name for name, one in results(facts).items() if one["serious"]] == ["VSEC-01"]
    assert results(facts | {"required": ["chat"], "absent": {}, "e2e": []})["TEST-09"]["status"] == "not verified"


def test_facts_are_as_the_role_hands_them_over():
    gathered = yaml.safe_load((ROOT / "roles/verify/vars/main.yml").read_text())["__verify_gathered"]
    assert set(gathered) == set(json.loads((ROOT / "tests/acceptance/facts.json").read_text()))
    assert set(FACTS["settings"]) <= set(gathered["settings"])
