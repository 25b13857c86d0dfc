"""A report of advice for people: for a terminal, and as a document."""

from __future__ import annotations

from typing import Any

from .items import MB, TASKS


def saving(piece: dict[str, Any]) -> str:
    """3.2 MB, 5 s, risk high; or nothing."""
    saves = piece["saves"]
    parts = [f"{saves['bytes'] / MB:.1f} MB"] if saves["bytes"] >= MB / 10 else []
    parts += [f"{saves['seconds']:.0f} s"] if saves["seconds"] >= 1 else []
    parts += [f"risk {saves['risk']}"] if saves["risk"] != "none" else []
    return ", ".join(parts)


def remedy(piece: dict[str, Any]) -> str:
    """The variable or the line to change."""
    if piece["change"]:
        parts = "; ".join(f"{name}: {_plain(value)}" for name, value in piece["change"].items())
        return parts + (f" ({piece['line']})" if piece["line"] else "")
    return str(piece["line"])


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_plain(part)}" for key, part in value.items()) + "}"
    return str(value) if value != "" else '""'


def text(report: dict[str, Any]) -> list[str]:
    """The report for a terminal."""
    lines = [
        f"{size['image']}  {size['size'] / MB:.1f} MB" + (f", before {size['before'] / MB:.1f} MB" if size.get("before") else "")
        for size in report["sizes"]
    ]
    mark = {"safe": "  [APPLY=true]", "asked": "  [APPLY={id}]"}
    for piece in report["advice"]:
        parts = f" ({saving(piece)})" if saving(piece) else ""
        where = f"{piece['where']}: " if piece["where"] else ""
        lines.append(f"{piece['id']:<4}{where}{piece['title']}{parts}: {piece['why']}")
        applied = "  [applied]" if piece.get("applied") else mark.get(piece["apply"], "").format(**piece)
        lines.append(f"    -> {remedy(piece)}{applied}")
    lines += [] if report["advice"] else ["The analysers found nothing."]
    asked = {entry["source"]: entry for entry in report["tasks"]}
    if "docker-ai" in asked:
        lines.append(
            f"Docker's agent answered {sum(e['source'] == 'docker-ai' for e in report['tasks'])} of {len(report['tasks'])} questions."
        )
    lines += list(dict.fromkeys(f"Docker's agent: not verified: {e['reason']}" for e in report["tasks"] if e["source"] != "docker-ai"))
    return lines


def markdown(report: dict[str, Any]) -> str:
    """The same as a document, with what Docker's agent answered."""
    out = [f"# Advice on {report['version']}", "", report["when"], "", "| image | size | before |", "| --- | --- | --- |"]
    for size in report["sizes"]:
        before = f"{size['before'] / MB:.1f} MB" if size.get("before") else ""
        out.append(f"| {size['image']} | {size['size'] / MB:.1f} MB | {before} |")
    out += ["", "| | what | saves or fixes | change |", "| --- | --- | --- | --- |"]
    for piece in report["advice"]:
        what = f"{piece['title']}: {piece['why']}" + (f" (`{piece['where']}`)" if piece["where"] else "")
        done = " **applied**" if piece.get("applied") else ""
        out.append(
            " | ".join(["", piece["id"], what.replace("|", "\\|"), saving(piece), remedy(piece).replace("|", "\\|") + done, ""]).strip()
        )
    for entry in report["tasks"]:
        out += ["", f"## {TASKS[entry['task']]}", ""]
        out.append(entry["answer"] if entry["source"] == "docker-ai" else f"Docker's agent: not verified. {entry['reason']}")
        out += ["", f"What became of it: {entry['outcome']}"]
    return "\n".join(out) + "\n"
