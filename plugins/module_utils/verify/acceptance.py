"""Evaluate the acceptance criteria of a catalogue over gathered facts. Pure functions; checks.py imports all checks."""

from __future__ import annotations

import time
import traceback
from pathlib import Path
from typing import Any

from .checks import CHECKS, NEEDS, Facts, Fail, NotApplicable, NotVerified, OverBudget, describe

STATUSES = ("pass", "fail", "not verified", "not applicable")
# Of a criterion's checks the first of these decides.
ORDER = ("fail", "not verified", "pass", "not applicable")


def criteria(catalogue: list[dict[str, Any]], section: str = "", ids: str = "") -> list[dict[str, Any]]:
    """The catalogue's criteria as one list, each with its section.

    `section` is a part of a section's name, `ids` are ids or their beginnings with commas between.
    """
    prefixes = [word.strip().upper() for word in ids.split(",") if word.strip()]
    found = []
    for group in catalogue:
        for entry in group["criteria"]:
            if section and section.lower() not in group["section"].lower():
                continue
            if prefixes and not any(entry["id"] == word or entry["id"].startswith(f"{word.rstrip('-')}-") for word in prefixes):
                continue
            found.append({**entry, "section": group["section"], "read": entry.get("read", group.get("read", ""))})
    return found


def parts(entry: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """(check, arguments) of a criterion."""
    split = [text.split(" ", 1) for text in entry["checks"]]
    return [(words[0], words[1:]) for words in split]


def internal_error(name: str, error: Exception) -> str:
    """The evidence of a check that threw: it, the exception, and where."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"internal error in check {name}: {type(error).__name__}: {error} ({Path(last.filename).name}:{last.lineno})"


def evaluate(entry: dict[str, Any], facts: Facts) -> dict[str, Any]:
    """One criterion: {id, title, section, status, evidence, seconds, checks: [{check, status, evidence, probe}], measured, needs, read,
    serious}.

    `serious`: a check of what runs makes it fail, and not only a figure over a budget that nobody promised.

    It passes when all its checks pass; one that fails decides, then one that could not be verified. A check that throws, or gives no
    evidence, fails: it is broken, and proves nothing of the stack.
    """
    started = time.perf_counter()
    outcomes: list[dict[str, Any]] = []
    figures: list[dict[str, Any]] = []
    needed = entry.get("part") or []
    absent = facts.lacking([needed] if isinstance(needed, str) else needed)
    serious = False
    for name, arguments in parts(entry):
        status, evidence, runs = "pass", "", NEEDS[name] in ("stack", "e2e")
        try:
            if absent:
                raise NotApplicable(absent)
            outcome = CHECKS[name](facts, *arguments)
            evidence, figure = outcome if isinstance(outcome, tuple) else (outcome, None)
            if figure:
                figures.append(figure)
        except Fail as error:
            status, evidence = "fail", str(error)
            serious |= runs and (not isinstance(error, OverBudget) or "budgets" in facts.required)
        except NotVerified as error:
            status, evidence = "not verified", str(error)
        except NotApplicable as error:
            status, evidence = "not applicable", str(error)
        except Exception as error:  # whatever it is, it is a defect, and no check's answer
            status, evidence, serious = "fail", internal_error(name, error), serious or runs
        if not evidence:
            status, evidence = "fail", f"internal error in check {name}: it gave no evidence"
            serious |= runs
        outcomes.append(
            {"check": " ".join([name, *arguments]), "status": status, "evidence": evidence, "probe": describe(name, *(arguments or [""]))}
        )
    status = next(state for state in ORDER if any(part["status"] == state for part in outcomes))
    shown = [part["evidence"] for part in outcomes if part["status"] == status]
    return {
        "id": entry["id"],
        "title": entry["title"],
        "section": entry["section"],
        "status": status,
        "evidence": "; ".join(dict.fromkeys(shown)),
        "seconds": round(time.perf_counter() - started, 4),
        "checks": outcomes,
        "measured": figures,
        "needs": sorted({NEEDS[name] for name, _ in parts(entry)}),
        "read": entry["read"],
        "serious": serious,
    }


def evaluate_all(catalogue: list[dict[str, Any]], gathered: dict[str, Any], section: str = "", ids: str = "") -> list[dict[str, Any]]:
    """All chosen criteria, in the catalogue's order."""
    facts = Facts(gathered)
    return [evaluate(entry, facts) for entry in criteria(catalogue, section, ids)]


def summary(results: list[dict[str, Any]]) -> dict[str, int]:
    """How many have which status."""
    return {state.replace(" ", "_"): sum(result["status"] == state for result in results) for state in STATUSES}


def problems(catalogue: list[dict[str, Any]]) -> list[str]:
    """What is wrong with a catalogue itself: unknown checks, ids twice, nothing to check."""
    found, seen = [], set()
    for entry in criteria(catalogue):
        if entry["id"] in seen:
            found.append(f"{entry['id']} is there twice")
        seen.add(entry["id"])
        if not entry["checks"]:
            found.append(f"{entry['id']} has no check")
        found += [f"{entry['id']}: there is no check {name}" for name, _ in parts(entry) if name not in CHECKS]
    return found
