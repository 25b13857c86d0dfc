"""What the checks of images found, for a person."""

from __future__ import annotations

from typing import Any

ORDER = ("fail", "not verified", "warning", "pass")


def image_report_lines(reports: list[dict[str, Any]]) -> list[str]:
    """A line an image, and below it what did not pass; sizes in MB (decimal)."""
    lines = []
    for report in reports:
        count = {status: sum(1 for c in report["criteria"] if c["status"] == status) for status in ORDER}
        counts = ", ".join(f"{number} {status}" for status, number in count.items() if number)
        lines.append(f"{report['image']}  {report['size'] / 1e6:.1f} MB, {len(report['layers'])} layers: {counts}")
        for status in ORDER[:-1]:
            lines += [f"  {status:<12} {c['id']:<11} {c['evidence']}" for c in report["criteria"] if c["status"] == status]
    return lines


def image_report_failures(reports: list[dict[str, Any]], strict: bool = False) -> list[str]:
    """What lets the run fail: checks with an open error, and where `strict` is set, warnings and what is not verified."""
    bad = ("fail", "warning", "not verified") if strict else ("fail",)
    out = []
    for report in reports:
        for criterion in report["criteria"]:
            if criterion["status"] in bad:
                advice = next(
                    (f["advice"] for f in report["findings"] if f["check"] == criterion["id"] and not f.get("accepted") and f["advice"]), ""
                )
                out.append(f"  {report['service']}: {criterion['id']}: {criterion['evidence']}{f' -> {advice}' if advice else ''}")
    return out


class FilterModule:
    """Filters of the role image_checks."""

    def filters(self) -> dict[str, object]:
        return {"image_report_lines": image_report_lines, "image_report_failures": image_report_failures}
