"""Figures of load runs."""

from __future__ import annotations

from ansible_collections.berth.stack.plugins.module_utils.verify.load_figures import figures, memory_slope, percentile, recovery, slope


def probes(*answers: int) -> list[tuple[float, bool]]:
    """One probe a second from second 0; 1 was answered."""
    return [(float(second), bool(answer)) for second, answer in enumerate(answers)]


def test_recovery_is_the_time_until_answers_are_steady():
    reported = probes(1, 1, 0, 0, 1, 0, 1, 1, 1, 1, 1, 1)
    assert recovery(reported, 1.0, 99.0) == 5.0
    assert recovery(reported, 6.0, 99.0) == 0.0
    assert recovery(probes(1, 0, 0, 1, 1), 0.0, 99.0) is None


def test_percentile_and_slope():
    assert percentile([5.0, 1.0, 9.0], 0.95) == 9.0
    assert percentile([], 0.95) == 0.0
    assert slope([(0, 1), (60, 3), (120, 5)]) == 2.0


def test_a_leak_is_seen_in_the_longest_life_of_a_process():
    samples = [
        {"time": float(t), "memory": {"b": t * 1e6}, "service": {"b": "backend"}, "pid": {"b": 1 if t > 5 else 9}} for t in range(60)
    ]
    assert round(memory_slope(samples, "backend")) == 60
    assert memory_slope(samples, "frontend") == 0.0


def test_a_lost_write_and_a_failed_verb_are_over_budget():
    budgets = {"error_percent": 1, "p95_ms": 100, "recovery_seconds": 30, "lost_writes": 0, "memory_mb_per_minute": 1}
    run = {
        "started": 0.0, "seconds": 10.0, "probes": probes(*[1] * 10), "acknowledged": 3, "lost": ["load a 1-1"],
        "requests": [{"time": 1.0, "ms": 5.0, "status": 200, "kind": "read"}, {"time": 2.0, "ms": 7.0, "status": 502, "kind": "read"}],
        "commands": [{"name": "deploy", "time": 3.0, "ok": False, "seconds": 1}],
    }  # fmt: skip
    reported = figures(run, {"samples": [], "faults": []}, budgets)["figures"]
    assert reported["lost_writes"]["value"] == 1
    assert reported["error_percent"]["value"] == 50
    assert reported["recovery_seconds"]["value"] > 30
    assert reported["p95_ms"]["value"] == 7.0


def test_no_acknowledged_write_proves_nothing():
    budgets = dict.fromkeys(("error_percent", "p95_ms", "recovery_seconds", "lost_writes", "memory_mb_per_minute"), 1)
    run = {"started": 0.0, "seconds": 1.0, "probes": [], "acknowledged": 0, "lost": [], "requests": [], "commands": []}
    reported = figures(run, {"samples": [], "faults": []}, budgets)["figures"]
    assert reported["lost_writes"]["value"] == 1
    assert reported["error_percent"]["value"] == 100
