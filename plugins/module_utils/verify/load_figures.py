"""Figures of a load run: from single requests and probes to rates, percentiles and recovery times. Pure functions."""

from __future__ import annotations

import math
import statistics
from typing import Any

# A service is back when this many probes in a row are answered.
STEADY = 5


def percentile(values: list[float], share: float) -> float:
    """By nearest rank; 0 of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def recovery(probes: list[tuple[float, bool]], at: float, until: float) -> float | None:
    """Seconds from a fault until the service is back: STEADY probes in a row are answered after the first one that was not.

    probes: (seconds since 1970 at the probe's start, whether it was answered), in order. 0 when no probe between `at` and `until`,
    the next fault, missed an answer; None when the service did not come back while it was asked.
    """
    missed = next((index for index, (when, good) in enumerate(probes) if at <= when < until and not good), None)
    if missed is None:
        return 0.0
    for index in range(missed, len(probes) - STEADY + 1):
        if all(good for _, good in probes[index : index + STEADY]):
            return round(probes[index][0] - at, 2)
    return None


def slope(samples: list[tuple[float, float]]) -> float:
    """Least-squares slope of (seconds, value), per minute."""
    if len(samples) < 3:
        return 0.0
    mean_x, mean_y = statistics.mean(s[0] for s in samples), statistics.mean(s[1] for s in samples)
    spread = sum((x - mean_x) ** 2 for x, _ in samples)
    return 60 * sum((x - mean_x) * (y - mean_y) for x, y in samples) / spread if spread else 0.0


def memory_slope(samples: list[dict[str, Any]], service: str) -> float:
    """MB a minute that a service grows while the same process runs: in its longest life, without the first quarter of that.

    samples: {time, memory: {container: bytes}, service: {container: name}, pid: {container: pid}}.
    """
    lives: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for sample in samples:
        for name, used in sample["memory"].items():
            if sample["service"][name] == service:
                lives.setdefault((name, sample["pid"][name]), []).append((sample["time"], used / 1e6))
    long = sorted(lives.values(), key=len)[-1:] if lives else []
    return max((slope(life[len(life) // 4 :]) for life in long), default=0.0)


def series(requests: list[dict[str, Any]], samples: list[dict[str, Any]], started: float, step: float) -> dict[str, list[list[float]]]:
    """Lines for plots: 95th percentile and median of answers (ms) and memory (MB) of each service, over seconds."""
    lines: dict[str, list[list[float]]] = {"p95 ms": [], "median ms": []}
    buckets: dict[int, list[float]] = {}
    for request in requests:
        buckets.setdefault(int((request["time"] - started) // step), []).append(request["ms"])
    for bucket in sorted(buckets):
        lines["p95 ms"].append([round(bucket * step, 1), round(percentile(buckets[bucket], 0.95), 1)])
        lines["median ms"].append([round(bucket * step, 1), round(percentile(buckets[bucket], 0.5), 1)])
    for sample in samples:
        per_service: dict[str, float] = {}
        for name, used in sample["memory"].items():
            per_service[sample["service"][name]] = per_service.get(sample["service"][name], 0) + used / 1e6
        for service, used in per_service.items():
            lines.setdefault(f"{service} MB", []).append([round(sample["time"] - started, 1), round(used, 1)])
    return lines


def figures(run: dict[str, Any], watch: dict[str, Any], budgets: dict[str, float]) -> dict[str, Any]:
    """The record of a stress run from what the load saw and what the host saw.

    run: {started, seconds, requests: [{time, ms, status, kind}], probes: [(time, good)], acknowledged, lost: [title],
      commands: [{name, time, ok, seconds}]}
    watch: {samples, faults: [{name, time}]}
    """
    faults = sorted([*watch["faults"], *run["commands"]], key=lambda fault: fault["time"])
    end = run["started"] + run["seconds"] + 60
    recovered = []
    for index, fault in enumerate(faults):
        until = faults[index + 1]["time"] if index + 1 < len(faults) else end
        back = recovery(run["probes"], fault["time"], until)
        recovered.append({**fault, "second": round(fault["time"] - run["started"], 1), "recovery": back})
    requests = run["requests"]
    bad = [r for r in requests if not 200 <= r["status"] < 400]
    share = 100 * len(bad) / len(requests) if requests else 100.0
    worst = max((float("inf") if fault["recovery"] is None else fault["recovery"] for fault in recovered), default=0.0)
    growth = {service: round(memory_slope(watch["samples"], service), 2) for service in ("backend", "frontend")}
    p95 = percentile([r["ms"] for r in requests], 0.95)
    kinds = {kind: percentile([r["ms"] for r in requests if r["kind"] == kind], 0.95) for kind in sorted({r["kind"] for r in requests})}
    failed = [command["name"] for command in run["commands"] if not command["ok"]]

    def figure(name: str, value: float, unit: str, text: str) -> dict[str, Any]:
        return {"value": round(value, 3), "budget": budgets[name], "unit": unit, "text": text}

    recoveries = ", ".join(
        f"{fault['name']} " + ("never" if fault["recovery"] is None else f"{fault['recovery']} s") for fault in recovered
    )
    kept = f"{run['acknowledged']} acknowledged writes, {len(run['lost'])} of them lost"
    lost = len(run["lost"]) + (1 if not run["acknowledged"] else 0)
    return {
        "seconds": run["seconds"],
        "requests": len(requests),
        "statuses": {str(s): sum(r["status"] == s for r in requests) for s in sorted({r["status"] for r in requests})},
        "faults": recovered,
        "failed_commands": failed,
        "figures": {
            "error_percent": figure("error_percent", share, "%", f"{len(bad)} of {len(requests)} requests failed ({share:.2f} %)"),
            "p95_ms": figure("p95_ms", p95, "ms", f"p95 of all {p95:.0f} ms; by kind: "
                             + ", ".join(f"{kind} {ms:.0f}" for kind, ms in kinds.items())),
            "recovery_seconds": figure("recovery_seconds", min(worst, 1e6) + (1e6 if failed else 0), "s", f"recovered after: {recoveries}"
                                       + (f"; failed: {', '.join(failed)}" if failed else "")),
            "lost_writes": figure("lost_writes", lost, "writes", kept),
            "memory_mb_per_minute": figure("memory_mb_per_minute", max(growth.values()), "MB/min",
                                           ", ".join(f"{service} {value:+} MB a minute" for service, value in growth.items())),
        },
        "series": series(requests, watch["samples"], run["started"], max(1.0, run["seconds"] / 120)),
    }  # fmt: skip
