"""Every acceptance check can fail: a mutation of recorded facts makes it, and no unrelated one, fail."""

from __future__ import annotations

import json
import re
import sys

import pytest
import yaml
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests" / "acceptance"))
from ansible_collections.berth.stack.plugins.module_utils.verify.acceptance import criteria, evaluate, evaluate_all, problems, summary
from ansible_collections.berth.stack.plugins.module_utils.verify.checks import CHECKS, Facts, Fail, NotVerified, below, describe
from ansible_collections.berth.stack.plugins.module_utils.verify.checks_images import whole_source
from ansible_collections.berth.stack.plugins.module_utils.verify.report_page import page, verdict
from ansible_collections.berth.stack.plugins.modules.acceptance_report import write as write_report
from ansible_collections.berth.stack.plugins.modules.source_facts import build_logs, warned
from ansible_collections.berth.stack.plugins.modules.source_facts import report as read_record
from mutations import MUTATIONS, completed

CATALOGUE = yaml.safe_load((ROOT / "roles/verify/files/criteria.yml").read_text())
TEMPLATE = ROOT / "roles/verify/templates/acceptance.html.j2"
FACTS = completed(json.loads((ROOT / "tests/acceptance/facts.json").read_text()))


def outcomes(facts: dict) -> dict[str, str]:
    """The status of every check of the catalogue."""
    return {part["check"]: part["status"] for result in evaluate_all(CATALOGUE, facts) for part in result["checks"]}


BEFORE = outcomes(FACTS)


def test_catalogue_is_whole():
    assert problems(CATALOGUE) == []
    entries = criteria(CATALOGUE)
    assert len(entries) == 144
    assert len({entry["title"] for entry in entries}) > 120
    used = {text.split(" ")[0] for entry in entries for text in entry["checks"]}
    assert used == set(CHECKS), "a check that no criterion uses proves nothing"


def test_the_documents_that_criteria_refer_to_exist():
    missing = {entry["read"] for entry in criteria(CATALOGUE) if not (ROOT / entry["read"]).is_file()}
    assert missing == set()


def test_every_check_passes_on_the_recorded_facts():
    assert {check: status for check, status in BEFORE.items() if status != "pass"} == {}


def test_every_check_has_a_mutation():
    assert {mutation.check for mutation in MUTATIONS} == set(BEFORE)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.check)
def test_mutation_is_caught_and_nothing_else_complains(mutation):
    after = outcomes(mutation.mutated(FACTS))
    assert after[mutation.check] == "fail", mutation.change
    assert {check for check, status in after.items() if status != "pass"} == {mutation.check, *mutation.also}


def test_without_facts_nothing_passes():
    results = evaluate_all(CATALOGUE, {})
    assert summary(results)["pass"] == 0


def test_missing_facts_are_not_verified_and_say_why():
    bare = {**FACTS, "source": {**FACTS["source"], "records": {}, "advice": {}, "image_checks": {}, "builds": {}}}
    found = {result["id"]: result for result in evaluate_all(CATALOGUE, bare)}
    for name in ("AI-01", "VPOST-04", "VSTR-05", "VBLD-04", "VAL-04"):
        assert found[name]["status"] == "not verified"
        assert found[name]["evidence"]


def release_named(name: str, image_version: str) -> dict:
    """The facts of a current release with this name, of images with that version."""
    facts = json.loads(json.dumps(FACTS).replace(f'"{FACTS["stack"]["releases"]["current"]}"', f'"{name}"'))
    for release in facts["stack"]["releases"]["kept"]:
        release["image_version"] = image_version
    facts["source"]["image_checks"]["version"] = image_version
    return facts


def test_a_release_of_the_same_images_with_another_configuration_is_as_good():
    images = FACTS["stack"]["releases"]["current"]
    facts = release_named(f"{images}-r2", images)
    assert {check: status for check, status in outcomes(facts).items() if status != "pass"} == {}


def test_a_release_is_held_against_the_images_that_its_manifest_names():
    images = FACTS["stack"]["releases"]["current"]
    facts = release_named(f"{images}-r2", "v9")
    assert outcomes(facts)["tags backend"] == "fail", "no image has the tag v9"
    facts = release_named(f"{images}-r2", images)
    facts["stack"]["releases"]["kept"][0]["images"]["backend"] = "sha256:other"
    assert outcomes(facts)["tags backend"] == "fail", "another image runs than is named"
    assert outcomes(facts)["tags frontend"] == "pass"


def test_a_check_that_throws_is_a_failure_and_says_where(monkeypatch):
    def broken(facts):
        """Passes when it does not throw."""
        return None + facts

    monkeypatch.setitem(CHECKS, "all_run", broken)
    found = evaluate({"id": "X-01", "title": "x", "section": "x", "read": "", "checks": ["all_run"]}, Facts(FACTS))
    assert found["status"] == "fail"
    assert re.fullmatch(
        r"internal error in check all_run: TypeError: unsupported operand .* \(test_acceptance\.py:\d+\)", found["evidence"]
    ), found["evidence"]


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), KeyError("cpus"), RuntimeError("y"), OSError("z")])
def test_no_exception_of_a_check_is_taken_for_an_answer(monkeypatch, error):
    def broken(facts):
        """Passes when it does not throw."""
        raise error

    monkeypatch.setitem(CHECKS, "all_run", broken)
    assert outcomes(FACTS)["all_run"] == "fail"


def test_a_check_without_evidence_is_a_failure(monkeypatch):
    monkeypatch.setitem(CHECKS, "all_run", lambda facts: "")
    assert outcomes(FACTS)["all_run"] == "fail"


def test_facts_of_another_form_are_a_failure():
    facts = json.loads(json.dumps(FACTS))
    del facts["stack"]["containers"][0]["cpus"]
    assert outcomes(facts)["limits"] == "fail"


def test_a_record_that_cannot_be_read_is_a_failure_and_named(tmp_path):
    (tmp_path / "stress.json").write_text('{"version": ')
    (tmp_path / "abc.json").write_text("")
    record = read_record(tmp_path / "stress.json")
    facts = {**FACTS, "source": {**FACTS["source"], "records": {"stress": record}, "advice": record, "image_checks": record}}
    found = {result["id"]: result for result in evaluate_all(CATALOGUE, facts)}
    for name in ("VSTR-03", "VPOST-04", "AI-01"):
        assert found[name]["status"] == "fail"
        assert "cannot be read" in found[name]["evidence"]
    assert "cannot be read" in build_logs(tmp_path)["abc"]["error"]


def test_a_record_of_another_version_is_no_evidence():
    stale = {**FACTS, "source": {**FACTS["source"], "records": {"stress": {**FACTS["source"]["records"]["stress"], "version": "older"}}}}
    found = {result["id"]: result["status"] for result in evaluate_all(CATALOGUE, stale)}
    assert found["VSTR-03"] == found["VSTR-05"] == "not verified"


def test_parts_that_an_application_has_not_are_declared():
    found = {result["id"]: result for result in evaluate_all(CATALOGUE, {**FACTS, "absent": {"mcp": "it has no MCP server"}})}
    assert found["VAL-07"]["status"] == "not applicable"
    assert found["VAL-07"]["evidence"] == "it has no MCP server"
    assert found["VAL-01"]["status"] == "pass"


@pytest.mark.parametrize(("whole", "directory"), [(True, "latest"), (False, "selection")])
def test_the_report_is_at_the_returned_path(tmp_path, whole, directory):
    results = evaluate_all(CATALOGUE, FACTS)[: None if whole else 3]
    report = {"stack": "s", "host": "h", "url": "u", "version": "v", "started": "2026-11-27T20:00:00Z", "seconds": 1.0}
    report |= {"summary": summary(results), "criteria": results}
    (tmp_path / directory).mkdir()
    (tmp_path / directory / "acceptance.json").write_text('{"cut off')
    place = write_report(report, FACTS, {"directory": str(tmp_path), "name": "acceptance", "keep": 2, "template": TEMPLATE}, whole)
    assert place == tmp_path / directory / "acceptance.html"
    assert place.is_file()
    message = yaml.safe_load((ROOT / "roles/verify/tasks/report.yml").read_text())[-1]["ansible.builtin.assert"]["fail_msg"]
    assert "{{ verify_report.report }}" in message
    assert "latest" not in message


def test_the_page_shows_what_is_open_and_runs_nothing_that_facts_say(tmp_path):
    facts = json.loads(json.dumps(FACTS))
    faults = [{"name": "<script>", "second": 3.0, "recovery": 1.5}, {"name": "edge reloaded", "second": 5.0, "recovery": None}]
    series = {"p95 ms": [[0.0, 10.0], [5.0, 40.0]], "backend MB": [[0.0, 100.0], [5.0, 120.0]]}
    facts["source"]["records"]["stress"] |= {"series": series, "faults": faults}
    before, after = evaluate_all(CATALOGUE, facts), evaluate_all(CATALOGUE, facts | {"e2e": []})
    report = {"stack": "s", "host": "h", "url": "u", "version": "v", "started": "2026-11-27T20:00:00Z", "seconds": 1.0}
    report |= {"summary": summary(after), "criteria": after}
    text = page(TEMPLATE, report, facts, report | {"criteria": before})
    assert verdict(report["summary"]) in text
    assert "<script" not in text and "&lt;script&gt;: recovered after 1.5 s" in text and "edge reloaded: not recovered" in text
    assert text.count("<polyline") == 2
    assert "the end-to-end check did not run" in text


def test_the_verdict_counts_what_could_not_be_verified():
    count = {"pass": 136, "fail": 0, "not_verified": 8, "not_applicable": 0}
    assert verdict(count) == "No failures. 8 criteria could not be verified on this host."
    assert verdict(count | {"not_verified": 0}) == "No failures."
    assert verdict(count | {"fail": 1}) == "1 criterion failed."


def test_selection_by_section_and_id():
    assert {entry["section"] for entry in criteria(CATALOGUE, section="rollback")} == {"Rollback"}
    assert [entry["id"] for entry in criteria(CATALOGUE, ids="BE-07,ssec-01")] == ["BE-07", "SSEC-01"]
    assert len(criteria(CATALOGUE, ids="SSEC")) == 6


def test_every_check_describes_when_it_passes():
    for name in CHECKS:
        assert "Passes when" in describe(name, "x"), name


NPM = """\
#21 0.6 npm WARN EBADENGINE Unsupported engine {
#21 0.6 npm WARN EBADENGINE   package: 'left-pad@2.0.0',
#21 0.6 npm WARN EBADENGINE   required: { node: '>= 20' },
#21 0.7 added 30 packages in 4s
#22 0.1 WARNING: something else"""


def test_a_warning_of_several_lines_is_one():
    first, second = warned(NPM.splitlines())
    assert "left-pad@2.0.0" in first
    assert ">= 20" in first
    assert second == "#22 0.1 WARNING: something else"


def test_a_build_warning_is_accepted_for_a_reason_and_no_other_with_it():
    facts = json.loads(json.dumps(FACTS))
    log = next(iter(facts["source"]["builds"].values()))
    log["warnings"] = [warned(NPM.splitlines())[0]]
    facts["settings"]["build_warnings_accepted"] = {"'left-pad@": "it works all the same"}
    assert outcomes(facts)["build_warnings"] == "pass"
    log["warnings"].append("WARNING: something else")
    assert outcomes(facts)["build_warnings"] == "fail"


def test_a_budget_is_a_limit():
    assert below("x", 5, 5, "s")[0] == "x"
    with pytest.raises(Fail, match="the budget is 5 s"):
        below("x", 5.01, 5, "s")
    assert not issubclass(NotVerified, Fail)


def test_the_whole_source_comes_in_by_a_copy_or_by_a_mount():
    instructions = [
        ["FROM", "builder AS dependency-files"],
        ["RUN", "--mount=type=bind,target=/source pick"],
        ["FROM", "builder AS build"],
        ["COPY", "--from=dependency-files /dependencies /source"],
        ["RUN", "--mount=type=bind,from=dependencies,source=/source,target=/source install"],
        ["RUN", "--mount=type=bind,target=/context build"],
        ["COPY", ". /app"],
    ]
    assert whole_source(instructions) == [5, 6]
