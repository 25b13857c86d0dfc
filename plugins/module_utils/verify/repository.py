"""Facts of Berth's own repository, for its self-audit: documents, examples, compose.yaml, playbooks, and what git keeps.

Nothing of a stack that runs is in here: an installation without the repository has none of this, and is verified all the same.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from ..docker.image_scan import SECRET_FORMS, setting_hits

ENVIRONMENT = re.compile(r"lookup\('ansible\.builtin\.env', '([A-Z0-9_]+)'\)")
SETTING = re.compile(r"#?\s*([A-Z][A-Z0-9_]+)=")


def lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")] if path.is_file() else []


def document(path: Path) -> dict[str, Any]:
    """Headings, words, and links to files that are not there."""
    if not path.is_file():
        return {"exists": False, "text": "", "headings": [], "broken": []}
    text = path.read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    targets = [t.split("#")[0] for t in re.findall(r"\]\(([^)\s]+)\)", prose) if not re.match(r"[a-z]+:|#", t)]
    return {
        "exists": True,
        "text": text,
        "headings": re.findall(r"^#+ (.+)$", prose, flags=re.M),
        "broken": sorted({t for t in targets if t and not (path.parent / t).exists()}),
    }


def committed(root: Path) -> dict[str, Any]:
    """Files that git keeps and should not, and secrets by their form in what it keeps."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z"], capture_output=True, check=False)
    if listed.returncode:
        return {"checked": False, "bad_names": [], "secrets": []}
    names = [name for name in listed.stdout.decode().split("\0") if name]
    bad = [name for name in names if re.search(r"(^|/)(\.env|id_rsa|id_ed25519|\.netrc|vault\.yml)$", name)]
    secrets = []
    for name in names:
        path = root / name
        # Tests carry false credentials on purpose, to see that they are not printed.
        if not path.is_file() or path.stat().st_size > 500_000 or re.search(r"(^|/)(tests?|e2e)/|lock", name):
            continue
        data = path.read_bytes()
        secrets += [f"{name}: {key.decode()}" for key, form in SECRET_FORMS.items() if key in data and form.search(data)]
    return {"checked": True, "bad_names": bad, "secrets": secrets}


def environment(root: Path) -> dict[str, list[str]]:
    """The settings that .env.example names, secrets with values in it, and the variables that playbooks and roles read."""
    path = root / ".env.example"
    example = [line.strip() for line in path.read_text().splitlines()] if path.is_file() else []
    texts = [p.read_text() for directory in ("group_vars", "roles", "inventory") for p in sorted((root / directory).rglob("*.yml"))]
    return {
        "example": sorted({match[1] for line in example if (match := SETTING.match(line))}),
        "example_secrets": [hit for line in example for hit in setting_hits(line.split(" #")[0])],
        "read": sorted({name.removeprefix("BERTH_") for text in texts for name in ENVIRONMENT.findall(text)}),
    }


def repository(root: Path) -> dict[str, Any]:
    """All facts of the repository at `root`; `found` is false where that is an installed collection, or nothing."""
    if not (root / "docs").is_dir():
        return {"found": False}
    compose = root / "compose.yaml"
    return {
        "found": True,
        "environment": environment(root),
        "documents": {str(path.relative_to(root)): document(path) for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]},
        "compose": yaml.safe_load(compose.read_text()) if compose.is_file() else None,
        "committed": committed(root),
        "playbooks": sorted(path.stem for path in (root / "playbooks").glob("*.yml")),
        "gitignore": lines(root / ".gitignore"),
    }
