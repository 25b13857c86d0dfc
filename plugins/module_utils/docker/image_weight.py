"""The size of an image by part: seldom needed data that can be pruned, and the largest packages."""

from __future__ import annotations

import re
from typing import Any

from .image_archive import Entry
from .image_scan import by_distribution

# Patterns below site-packages for the setting PRUNE, each with the consequence of removing it.
PRUNABLE = {
    "googleapiclient/discovery_cache/documents": "the descriptions of Google's services are fetched when they are used",
    "botocore/data": "every service of AWS: name the ones to keep with a pattern of your own",
    "babel/locale-data": "formatting in all languages except those kept by a pattern of your own",
    "plotly/package_data": "plots as pages of their own",
    "matplotlib/mpl-data/sample_data": "matplotlib's examples",
    "sklearn/datasets/data": "scikit-learn's examples",
    "nltk/test": "NLTK's own tests",
    "pandas/tests": "pandas' own tests",
}
PARTS = {
    "languages": re.compile(r"(^|/)(libicudata\.so[.\d]*|icudt\d+l\.dat)$"),
    "shell": re.compile(r"(^|/)busybox$"),
    "source_maps": re.compile(r"\.(js|css|mjs|cjs)\.map$"),
    "image_library": re.compile(r"/node_modules/(?:\.pnpm/[^/]*/node_modules/)?(@img/|sharp/)"),
    "declarations": re.compile(r"/node_modules/.*\.d\.[mc]?ts$"),
}
PYTHON = re.compile(r"^opt/venv/lib/python3[.\d]*/site-packages/([^/]+)")
NODE = re.compile(r"(?:^|/)node_modules/((?:@[^/]+/)?[^/]+)(?!.*/node_modules/)")


def weigh(seen: dict[str, Entry], modules: dict[str, set[str]] | None = None) -> dict[str, Any]:
    """Of the visible files: {parts: {name: bytes}, packages: [{name, bytes}] (largest first), all_packages: {name: bytes},
    prunable: {pattern: bytes}}.

    `modules`: what each distribution has below site-packages (image_scan.by_distribution).
    """
    parts, packages, prunable = dict.fromkeys(PARTS, 0), dict[str, int](), dict[str, int]()
    for path, entry in seen.items():
        if not entry.size:
            continue
        for name, pattern in PARTS.items():
            if pattern.search(f"/{path}"):
                parts[name] += entry.size
        package = PYTHON.match(path) or NODE.search(path)
        if package:
            packages[package[1]] = packages.get(package[1], 0) + entry.size
        for directory in PRUNABLE:
            if f"/site-packages/{directory}/" in path:
                prunable[directory] = prunable.get(directory, 0) + entry.size
    packages = by_distribution(packages, modules or {})
    heaviest = sorted(packages.items(), key=lambda item: (-item[1], item[0]))[:10]
    return {
        "all_packages": packages,
        "parts": parts,
        "packages": [{"name": name, "bytes": size} for name, size in heaviest],
        "prunable": prunable,
    }


def budget_of(budget: Any, framework: str) -> float:
    """The budget of an image in MB (decimal): one number, or one for each major release of Next.js (`framework`) and a `default`."""
    if not isinstance(budget, dict):
        return float(budget)
    return float(budget.get(framework.partition(".")[0]) or budget["default"])
