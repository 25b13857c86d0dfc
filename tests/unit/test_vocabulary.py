"""Private words of earlier versions do not come back: names, tasks, messages and docs use the words of Docker, Ansible, Compose and Kamal.

Each row is one private term: a pattern and the standard term. Terms that are ordinary English (look, said, known) are matched as names in
Python only. `make lint` runs this.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass

import pytest
from conftest import ROOT

# Not searched: what lists old names on purpose, recorded facts and generated files.
EXCLUDED = re.compile(
    r"^(CHANGELOG\.md|roles/stack/vars/renamed\.yml|tests/unit/test_vocabulary\.py|tests/acceptance/facts\.json|tests/sources/.*)$"
    r"|package-lock\.json$|\.(png|gz|ico|woff2?)$"
)
# Lines that may hold a private term, each with the reason.
ALLOWED = {
    r"^ *around( =|:)": "a key of manifests that hosts store",
    r"around = 326": "an arc of the report's chart",
    r"duration\.observe\(": "the API of prometheus_client",
    r"rehearsal_key": "the name of a secret that hosts store; another name would strand its values",
    r"foundation\.json": "the name of a file on hosts",
    r'ACCEPTED = \{MODEL, "rehearsal"\}|test_releases_from_before|model="rehearsal"': "releases that ask by the earlier name stay usable",
}


@dataclass(frozen=True)
class Row:
    """A private term: a pattern, the standard term, and the files that it is searched in."""

    name: str
    pattern: str
    standard: str
    files: str = r""


PYTHON = r"\.py$"
TASKS = r"^(playbooks|roles|molecule)/.*\.yml$"
ROWS = [
    Row("word", r"[Ll]ists? the words\b|^## Words\b|\bwords? of make\b|\| word \|", "command"),
    Row(
        "pair",
        r"\b(the|a|each|every|whole|new|old|this) pair\b(?! of)|\bpairs of (outside )?sources|^\s+pair:",
        "application, app services",
    ),
    Row("around", r"\bstands? around\b|\bfoundation\b|\b(stack_)?around_unchanged\b|\b_?around\b(?= =|:)", "infrastructure"),
    Row("rehearsal", r"(?i)rehears", "mock LLM"),
    Row("act", r"\bclass Act\b|\bAct\(|\brelease_act\b|\bthe act\b|\bits own act\b", "deployment"),
    Row("switch (class)", r"\bclass Switch\b|\bSwitch\(", "rollout"),
    Row("stand, wake, revive, mend", r"\b(def |\.)(stand|wake|revive|mend)\(|'mend'", "ensure_..., reconcile", PYTHON + "|" + TASKS),
    Row(
        "look, told, said",
        r"\bdef (look|told|said|there|wanted|known)\(|^\s*(look|told|said|there|wanted)(: [^=]+)? = ",
        "inspect, reported, output, existing, desired, expected",
        PYTHON,
    ),
    Row("judge", r"\bjudge(s|d|ment|ments)?\b|\bjudgments?\b|\bjudging\b", "classify, evaluate, rating"),
    Row("story", r"\bapp_story\b|\bthe story\b|\bstory of a user\b|\bstory\.spec\b", "end-to-end check"),
    Row("walk", r"\bclass Walk\b|\bWalk\(", "import graph", PYTHON),
    Row("leads", r"\bstack_leads\b", "stack_is_primary"),
    Row("together", r"\bgo(es)? back together\b|\btogether\.yml\b|tasks_from: together\b", "revert of updated hosts"),
    Row("hand over", r"\bhand(s|ed|ing)?[ -]?over\b|\bhandovers?\b", "transfer"),
    Row("reach", r"\breach table\b|\b(network|verify)_reach\b|\bgroup_vars/all/reach\b", "network policy"),
    Row("warm", r"(?<!-)\bwarm\b(?!-soft|: light-dark|\))", "standby"),
    Row("observe", r"\bobserv(e|es|ed|ing)\b", "monitor"),
    Row("generation", r"\bgenerations? of (the )?secrets?\b", "secret version"),
    Row("unchanged", r"\bstack_fingerprint\b|\broles/unchanged\b|\bberth\.stack\.unchanged\b", "change detection, plan"),
    Row("unknown", r"\b\d+ unknown\b|\bUNKNOWN\b", "not verified"),
    Row(
        "task files", r"\btasks_from: (there|again|adopt|say|tell|begin|tidy|handover|fetch|missing|alone|keep|as_they_were)\b", "see docs"
    ),
    Row("modules", r"\b(page_look|images_held|ports_free)\b", "browser_check, image_inventory, port_check"),
    Row("classes", r"\bclass (Look|Walk|Act|Switch)\b", "HostState, ImportGraph, Deployment, Rollout", PYTHON),
    Row("release variables", r"\brelease_(observe|warm|wait|keep|smoke)\b", "see roles/stack/vars/renamed.yml"),
    Row(
        "task: Have",
        r"^\s*- name: \"?([\w ]+ \| )?(Have|Be|Say|Tell|Hear|Look|Take it|Give|Go|Hold|Put|Bring)\b",
        "Ensure, Report, Inspect, ...",
        TASKS,
    ),
    Row("Have an engine", r"\bHave an engine\b", "Ensure Docker Engine is running"),
    Row("Be nodes of a Swarm", r"\bBe nodes of\b", "Join hosts to the Swarm"),
    Row("Give the lock back", r"\b[Gg]ive(s|n)? the lock back\b|\block is given back\b", "Release the deployment lock"),
    Row("Do what comes before", r"\b[Dd]o what comes (before|after)\b", "Run pre-release / post-release hooks"),
    Row("Start beside what serves", r"\bbeside what serves\b", "Deploy release VERSION"),
    Row("Hold every setting", r"\b[Hh](o|e)ld every setting\b|\bheld against\b", "Validate variables"),
    Row("Tell how to go on", r"\bhow to go on\b", "Print next steps"),
    Row("wanted state", r"\bwanted state\b", "Reconcile, desired state"),
    Row("Say what serves", r"\b[Ss]ay what serves\b", "Report active release"),
    Row("cannot be told", r"\bcan(not)? be told\b", "could not be verified"),
    Row("gone back to", r"\b(be|been|is|are) gone back to\b", "available for rollback"),
    Row("what became of it", r"\bwhat became of it\b", "audit log: outcome"),
    Row("Put load on it", r"\b[Pp]ut load on it\b|\bload with faults in the middle\b", "Run load test with fault injection"),
    Row("what was asked for holds", r"\basked for holds\b", "the requested state was reached"),
]


def files() -> dict[str, list[str]]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    texts = {}
    for name in listed:
        path = ROOT / name
        if not EXCLUDED.search(name) and path.is_file():
            try:
                texts[name] = path.read_text().splitlines()
            except UnicodeDecodeError:
                continue
    return texts


FILES = files()


def hits(row: Row) -> list[str]:
    pattern, allowed = re.compile(row.pattern), re.compile("|".join(ALLOWED))
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, lines in FILES.items()
        if re.search(row.files, name)
        for number, line in enumerate(lines, 1)
        if pattern.search(line) and not allowed.search(line)
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_no_private_word(row: Row) -> None:
    found = hits(row)
    assert not found, f"say {row.standard} instead:\n" + "\n".join(found)
