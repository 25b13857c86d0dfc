"""Advice on images: what all analysers make of the facts, ranked, and what of it is applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import builds, containers, images
from .items import RISKS, Facts, Items

ANALYSERS: tuple[Callable[[Facts], Items], ...] = (
    builds.failed_builds,
    images.findings,
    containers.compose,
    containers.memory,
    images.shell,
    images.wasted,
    images.languages,
    images.prunable,
    images.frontend_leftovers,
    builds.build_packages,
    builds.own_dockerfiles,
    builds.slow_steps,
    images.heavy_packages,
)


def rank(advice: dict[str, Any]) -> tuple[int, int, int, float]:
    """What is dangerous first, then what is wrong, then what saves most."""
    return (
        -RISKS.index(advice["saves"]["risk"]),
        -("info", "warning", "error").index(advice["severity"]),
        -advice["saves"]["bytes"],
        -advice["saves"]["seconds"],
    )


def analyse(facts: Facts) -> Items:
    """All advice, ranked and numbered (id: A1, A2, ...)."""
    found = sorted((piece for analyser in ANALYSERS for piece in analyser(facts)), key=rank)
    return [{"id": f"A{number}"} | piece for number, piece in enumerate(found, 1)]


def chosen(advice: Items, choice: str) -> Items:
    """What `choice` applies: nothing (empty, false), what is safe (true), or the pieces named by id, separated by commas.

    Raises ValueError with the ids that there are, or that no variable changes.
    """
    words = [word.strip() for word in str(choice or "").split(",") if word.strip()]
    if not words or words[0].lower() in ("false", "no", "0"):
        return []
    if words[0].lower() in ("true", "yes", "1", "safe"):
        return [piece for piece in advice if piece["apply"] == "safe"]
    can = {piece["id"]: piece for piece in advice if piece["change"]}
    wrong = [word for word in words if word not in can]
    if wrong:
        raise ValueError(f"no variable changes {', '.join(wrong)}; what can be applied: {', '.join(can) or 'nothing'}")
    return [can[word] for word in words]


def changes(pieces: Items) -> dict[str, Any]:
    """The variables that the pieces set; two that set the same mapping are put together."""
    out: dict[str, Any] = {}
    for piece in pieces:
        for name, value in piece["change"].items():
            out[name] = _together(out[name], value) if isinstance(value, dict) and isinstance(out.get(name), dict) else value
    return out


def _together(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    joined = one | other
    if "PRUNE" in one and "PRUNE" in other:
        joined["PRUNE"] = " ".join(dict.fromkeys(f"{one['PRUNE']} {other['PRUNE']}".split()))
    return joined
