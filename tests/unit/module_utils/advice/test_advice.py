"""Advice on images: what the analysers say of which facts, what is applied, and how it is told."""

from __future__ import annotations

import json

import pytest
from ansible_collections.berth.stack.plugins.module_utils.advice.builds import build_steps
from ansible_collections.berth.stack.plugins.module_utils.advice.items import TASKS
from ansible_collections.berth.stack.plugins.module_utils.advice.report import analyse, changes, chosen
from ansible_collections.berth.stack.plugins.module_utils.advice.text import text
from ansible_collections.berth.stack.plugins.module_utils.docker.image_archive import Entry
from ansible_collections.berth.stack.plugins.module_utils.docker.image_weight import weigh
from ansible_collections.berth.stack.plugins.modules.advice_report import builds, compose, failed, keep, make

SETTINGS = {
    "backend_image_variant": "scratch",
    "frontend_image_variant": "scratch",
    "frontend_image_languages": ["en"],
    "backend_image_args": {},
    "backend_image_dockerfile": "",
    "frontend_image_dockerfile": "",
    "backend_image_extra_build_packages": [],
    "backend_image_memory": "512m",
    "frontend_image_memory": "384m",
}


def image(service: str, **weight: object) -> dict:
    parts = dict.fromkeys(("languages", "shell", "source_maps", "image_library", "declarations"), 0)
    found = {"parts": parts | weight.pop("parts", {}), "packages": [], "prunable": {}} | weight
    return {
        "service": service,
        "image": f"s-{service}:v1",
        "size": 90_000_000,
        "wasted": 0,
        "weight": found,
        "findings": [],
        "layers": [{"name": "l", "size": 90_000_000}],
    }


def facts(**more: object) -> dict:
    return {
        "images": [image("backend"), image("frontend")],
        "settings": SETTINGS,
        "builds": {},
        "failed": {},
        "runs": [],
        "compose": {},
    } | more


def test_a_sound_image_gets_no_advice():
    assert analyse(facts()) == []


@pytest.mark.parametrize(
    ("given", "task", "words", "change", "apply"),
    [
        ({"settings": SETTINGS | {"backend_image_variant": "slim"}}, "size", "has a shell", {"backend_image_variant": "scratch"}, "safe"),
        (
            {"settings": SETTINGS | {"frontend_image_languages": ["all"]}, "images": [image("frontend", parts={"languages": 31_000_000})]},
            "size",
            "all languages",
            {"frontend_image_languages": ["en"]},
            "asked",
        ),
        (
            {
                "settings": SETTINGS | {"backend_image_args": {"PRUNE": "a"}},
                "images": [image("backend", prunable={"pandas/tests": 30_000_000})],
            },
            "size",
            "pandas/tests weighs 30.0 MB",
            {"backend_image_args": {"PRUNE": "a pandas/tests"}},
            "asked",
        ),
        ({"images": [image("frontend", parts={"source_maps": 2_000_000})]}, "size", "Source maps", {}, ""),
        ({"images": [image("frontend", parts={"image_library": 20_000_000})]}, "size", "sharp", {}, ""),
        ({"images": [image("backend", packages=[{"name": "torch", "bytes": 800_000_000}])]}, "size", "heaviest", {}, ""),
        ({"images": [image("backend") | {"wasted": 4_000_000}]}, "size", "later ones replace", {}, ""),
        (
            {"runs": [{"service": "backend", "memory_bytes": 500 * 1024**2}]},
            "performance",
            "near its memory limit",
            {"backend_image_memory": "1024m"},
            "safe",
        ),
        (
            {"runs": [{"service": "frontend", "memory_bytes": 70 * 1024**2}]},
            "performance",
            "limit is wide",
            {"frontend_image_memory": "160m"},
            "asked",
        ),
        (
            {
                "settings": SETTINGS | {"backend_image_extra_build_packages": ["gcc", "git"]},
                "builds": {"backend": {"output": "#9 RUN install-packages gcc git", "steps": []}},
            },
            "builds",
            "installs gcc",
            {"backend_image_extra_build_packages": ["git"]},
            "asked",
        ),
        ({"builds": {"frontend": {"output": "", "steps": [{"name": "RUN npm run build", "seconds": 40}]}}}, "builds", "40 s", {}, ""),
        ({"failed": {"backend": {"log": "x.log", "last": "boom", "cause": "no network"}}}, "builds", "failed", {}, ""),
        (
            {"settings": SETTINGS | {"backend_image_dockerfile": "Dockerfile"}},
            "dockerfiles",
            "of its own",
            {"backend_image_dockerfile": ""},
            "asked",
        ),
        ({"compose": {"errors": ["services.x is wrong"], "services": {}}}, "validation", "refuses", {}, ""),
        ({"compose": {"services": {"web": {"image": "web:latest"}}}}, "validation", "lacks read_only", {}, ""),
    ],
)
def test_what_the_analysers_say(given, task, words, change, apply):
    found = analyse(facts(**given))
    assert [piece["task"] for piece in found] == [task]
    assert words in f"{found[0]['title']} {found[0]['why']}"
    assert found[0]["change"] == change and found[0]["apply"] == apply
    assert change or found[0]["line"], "neither a variable nor a line to change"


def test_a_compiler_that_compiles_stays():
    settings = SETTINGS | {"backend_image_extra_build_packages": ["gcc"]}
    log = {"backend": {"output": "#9 Building wheel for x", "steps": []}}
    assert analyse(facts(settings=settings, builds=log)) == []


def test_findings_of_the_checks_are_ranked_among_the_rest_and_accepted_ones_are_left_out():
    found = {"check": "secrets", "severity": "error", "where": "/app/x:1", "message": "a key", "advice": "give it as a build secret"}
    accepted = found | {"accepted": "an example (until 2030-01-01)"}
    report = image("backend", packages=[{"name": "openai", "bytes": 9_000_000}]) | {"findings": [found, accepted]}
    pieces = analyse(facts(images=[report]))
    assert [(p["id"], p["task"], p["saves"]["risk"]) for p in pieces] == [("A1", "security", "high"), ("A2", "size", "none")]


def test_what_is_applied():
    settings = SETTINGS | {"backend_image_variant": "slim", "frontend_image_languages": ["all"]}
    pieces = analyse(facts(settings=settings, images=[image("backend"), image("frontend", parts={"languages": 31_000_000})]))
    by = {next(iter(p["change"])): p["id"] for p in pieces}
    assert chosen(pieces, "") == chosen(pieces, "false") == []
    assert changes(chosen(pieces, "true")) == {"backend_image_variant": "scratch"}
    assert changes(chosen(pieces, by["frontend_image_languages"])) == {"frontend_image_languages": ["en"]}
    with pytest.raises(ValueError, match="no variable changes A9; what can be applied: A1, A2"):
        chosen(pieces, "A9")


def test_two_pieces_of_advice_on_one_mapping_are_put_together():
    report = image("backend", prunable={"pandas/tests": 30_000_000, "nltk/test": 5_000_000})
    pieces = analyse(facts(images=[report]))
    assert changes(chosen(pieces, "A1,A2")) == {"backend_image_args": {"PRUNE": "pandas/tests nltk/test"}}


def test_the_weight_of_an_image():
    sizes = {
        "opt/venv/lib/python3.11/site-packages/openai/client.pyc": 5,
        "opt/venv/lib/python3.11/site-packages/pandas/tests/a.pyc": 7,
        "app/node_modules/next/dist/a.js": 11,
        "app/node_modules/next/node_modules/@img/sharp/b.node": 13,
        "app/.next/static/a.js.map": 17,
        "usr/lib/x86_64-linux-gnu/libicudata.so.72.1": 19,
        "usr/bin/busybox": 23,
        "app/node_modules/zod/index.d.ts": 29,
    }
    found = weigh({path: Entry(path, size, 0o644, 0, "file") for path, size in sizes.items()})
    assert found["parts"] == {"languages": 19, "shell": 23, "source_maps": 17, "image_library": 13, "declarations": 29}
    assert found["prunable"] == {"pandas/tests": 7}
    assert {p["name"]: p["bytes"] for p in found["packages"]} == {"zod": 29, "@img/sharp": 13, "next": 11, "pandas": 7, "openai": 5}


def test_the_steps_of_a_build():
    log = "#4 [internal] load\n#4 DONE 0.1s\n#9 [build 3/5] RUN npm ci\n#9 DONE 12.5s\n#10 [build 4/5] COPY . .\n#10 CACHED\n"
    assert build_steps(log) == [{"name": "[build 3/5] RUN npm ci", "seconds": 12.5}]


# --- the report -------------------------------------------------------------------------------------------------------------


def expected(tmp_path, **more: object) -> dict:
    return {
        "version": "v1",
        "directory": str(tmp_path),
        "images": [image("backend"), image("frontend")],
        "settings": SETTINGS,
        "contents": {},
        "builds": str(tmp_path),
        "failed": False,
        "runs": [],
        "compose": "",
        "answers": [],
        "prompts": {},
        "before": {},
    } | more


def test_without_the_agent_its_part_is_not_verified_with_a_reason(tmp_path):
    reason = "Docker's AI agent is not here"
    answers = [{"task": task, "answer": "", "reason": reason, "seconds": 0} for task in TASKS]
    report = make(expected(tmp_path, answers=answers))
    assert {entry["task"] for entry in report["tasks"]} == set(TASKS)
    assert all(entry["source"] == "analysers" and entry["reason"] == reason for entry in report["tasks"])
    assert text(report)[-1] == f"Docker's agent: not verified: {reason}"


def test_what_the_agent_answered_is_kept_with_what_became_of_it(tmp_path):
    answers = [{"task": "size", "answer": "Use fewer locales.", "reason": "", "seconds": 4.2}]
    given = expected(tmp_path, answers=answers, images=[image("backend") | {"wasted": 4_000_000}])
    report = make(given)
    keep(tmp_path, report, {"size": "How could it be smaller?"})
    entry = next(e for e in report["tasks"] if e["task"] == "size")
    assert entry["source"] == "docker-ai" and entry["outcome"] == "items of the analysers: A1; nothing was applied"
    assert "Use fewer locales." in (tmp_path / "advice/size.md").read_text() and "How could it" in (tmp_path / "advice/size.md").read_text()
    assert json.loads((tmp_path / "advice.json").read_text())["version"] == "v1"
    assert "Use fewer locales." in (tmp_path / "advice.md").read_text()
    keep(tmp_path, make(expected(tmp_path)), {})
    assert not list((tmp_path / "advice").iterdir()), "an answer of an earlier run is taken for today's"


def test_before_and_after(tmp_path):
    settings = SETTINGS | {"backend_image_variant": "slim"}
    before = make(expected(tmp_path, settings=settings)) | {"chosen": ["A1"]}
    after = make(expected(tmp_path, before=before, images=[image("backend") | {"size": 80_000_000}, image("frontend")]))
    assert after["sizes"][0] == {"service": "backend", "image": "s-backend:v1", "size": 80_000_000, "before": 90_000_000}
    assert text(after)[0] == "s-backend:v1  80.0 MB, before 90.0 MB"
    assert [(p["id"], p["applied"]) for p in after["advice"]] == [("A1", True)]
    outcome = next(e["outcome"] for e in after["tasks"] if e["task"] == "size")
    assert "applied: A1" in outcome and "s-backend:v1 90.0 -> 80.0 MB" in outcome


def test_logs_of_builds_and_of_the_last_failed_one(tmp_path):
    (tmp_path / "abc.json").write_text(json.dumps({"output": "#9 [b 1/1] RUN x\n#9 DONE 7.0s"}))
    (tmp_path / "failed-backend.log").write_text(
        "11.88 ERROR: no x==9\nERROR: failed to solve: process\n\nLikely cause: no network: check DNS.\n"
    )
    assert builds(tmp_path, {"backend": "abc", "frontend": "gone"})["backend"]["steps"] == [{"name": "[b 1/1] RUN x", "seconds": 7.0}]
    found = failed(tmp_path)["backend"]
    assert [p["why"] for p in make(expected(tmp_path, failed=True))["advice"]] == ["ERROR: no x==9"]
    assert make(expected(tmp_path))["advice"] == [], "a failure of sources that were built since"
    assert found["last"] == "ERROR: no x==9" and found["cause"] == "no network: check DNS."


def test_a_compose_file_that_is_none(tmp_path):
    (tmp_path / "c.yaml").write_text("services: [")
    assert compose(tmp_path / "c.yaml")["errors"]
    assert "there is no" in compose(tmp_path / "d.yaml")["errors"][0]
