"""Sizes of images, and the results as a table and as pictures."""

from __future__ import annotations

import json
import os
from html import escape
from pathlib import Path
from typing import Any

from stopwatch import ROOT, Row, run

PAIR = ("backend", "frontend")
START, END = "<!-- made by make bench: begin -->", "<!-- made by make bench: end -->"


def base_images() -> dict[str, str]:
    """The newest base image and root image of the engine."""
    found = run(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", "reference=berth-base*"]).split()
    return {kind: next(name for name in found if name.startswith(f"berth-{kind}:")) for kind in ("base", "base-root")}


def plain_build(stack: str, name: str, *more: str) -> list[str]:
    """docker build of an application image with the role's Dockerfile, without Ansible."""
    source, dockerfile = f"apps/{name}", f"roles/{name}_image/files/Dockerfile"
    secret = _certificates()
    arguments = ["--build-arg", f"BASE_IMAGE={base_images()['base']}"]
    return ["docker", "build", "--quiet", "--tag", f"{stack}-peer-{name}:plain", *more, *secret, *arguments, "--file", dockerfile, source]


def slim_build(stack: str, name: str, *more: str) -> list[str]:
    """docker build of an application image as an official-style slim image: the distribution's packages, a package manager, the source."""
    arguments = ["--build-arg", f"ROOT_IMAGE={base_images()['base-root']}"]
    dockerfile = f"tests/bench/peers/{name}.Dockerfile"
    tag = f"{stack}-peer-{name}:slim"
    return ["docker", "build", "--quiet", "--tag", tag, *more, *_certificates(), *arguments, "--file", dockerfile, f"apps/{name}"]


def slim_build_all(stack: str) -> None:
    for name in PAIR:
        run(slim_build(stack, name))


def _certificates() -> list[str]:
    bundle = os.environ.get("SSL_CERT_FILE", "")
    return ["--secret", f"id=ca_bundle,src={bundle}"] if bundle else []


def sizes(stack: str) -> list[Row]:
    """MB (decimal) of each image, as the engine counts."""

    def size_of(image: str) -> float:
        return int(run(["docker", "image", "inspect", "--format", "{{.Size}}", image])) / 1e6

    rows = []
    for name in PAIR:
        row = Row(f"Image of the {name}", "MB")
        row.add("berth", size_of(f"{stack}-{name}:bench-a"))
        row.add("slim Dockerfile", size_of(f"{stack}-peer-{name}:slim"))
        rows.append(row)
    return rows


# --- what people read -------------------------------------------------------------------------------------------------------


def _figure(reported: dict[str, Any]) -> str:
    low, high, middle = *reported["range"], reported["median"]
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2
    spread = f" ({low:.{digits}f}-{high:.{digits}f}, n={reported['runs']})" if reported["runs"] > 1 else ""
    return f"{middle:.{digits}f}{spread}"


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: what, ours, each peer's, and our figure divided by the peer's."""
    lines = ["| what | unit | Berth: median (range) | peer: median (range) | ratio |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        others = {who: reported for who, reported in row["by"].items() if who != "berth"} or {"": None}
        mine = _figure(row["by"]["berth"]) if "berth" in row["by"] else ""
        for number, (who, reported) in enumerate(others.items()):
            first = [row["title"], row["unit"], mine] if number == 0 else ["", "", ""]
            peer = [f"{who}: {_figure(reported)}", str(reported.get("ratio", ""))] if reported else ["", ""]
            lines.append("| " + " | ".join([*first, *peer]) + " |")
    return "\n".join(lines) + "\n"


def picture(title: str, rows: list[dict[str, Any]]) -> str:
    """An SVG of horizontal bars, medians with their ranges; one scale for all rows, which share a unit."""
    bars = [(row["title"], who, reported) for row in rows for who, reported in row["by"].items()]
    widest = max(reported["range"][1] for _, _, reported in bars)
    left, right, step, top = 330, 420, 22, 34
    height = top + step * len(bars) + 12 * len(rows) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right + 140}" height="{height}" font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="10" y="20" font-size="14" font-weight="bold">{escape(title)}</text>',
    ]
    y, last = top, ""
    for what, who, reported in bars:
        if what != last:
            y, last = y + 12, what
            parts.append(f'<text x="10" y="{y + 12}">{escape(what)}</text>')
        low, high = (end / widest * right for end in reported["range"])
        length = reported["median"] / widest * right
        color = "#1f6feb" if who == "berth" else "#9aa4b2"
        middle = y + 8
        parts += [
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end" fill="#444">{escape(who)}</text>' if what != who else "",
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="15" fill="{color}"/>',
            f'<line x1="{left + low:.1f}" x2="{left + high:.1f}" y1="{middle}" y2="{middle}" stroke="black"/>',
            f'<text x="{left + max(length, high) + 6:.1f}" y="{y + 12}">{reported["median"]:.4g} {escape(rows[0]["unit"])}</text>',
        ]
        y += step
    return "\n".join([*filter(None, parts), "</svg>", ""])


def report(work: Path, parts: list[str]) -> None:
    """Write the tables into docs/performance.md, between its marks, and the pictures beside it."""
    found = {part: json.loads((work / f"{part}.json").read_text()) for part in parts if (work / f"{part}.json").is_file()}
    reported = "\n".join(f"Measured {data['began']}:\n\n{table(data['rows'])}" for data in found.values())
    page = ROOT / "docs" / "performance.md"
    text = page.read_text()
    page.write_text(text[: text.index(START) + len(START)] + "\n" + reported + text[text.index(END) :])
    timed = [row for part in ("converge", "deploy", "start") if part in found for row in found[part]["rows"] if row["unit"] == "s"]
    if timed:
        (ROOT / "docs" / "images" / "performance-times.svg").write_text(picture("Seconds, less is better", timed))
    served = [row for row in found.get("serve", {}).get("rows", []) if row["unit"] == "requests/s"]
    if served:
        (ROOT / "docs" / "images" / "performance-requests.svg").write_text(picture("Requests a second, more is better", served))
    weighed = found.get("size", {}).get("rows", [])
    if weighed:
        (ROOT / "docs" / "images" / "performance-sizes.svg").write_text(picture("MB of an image, less is better", weighed))
