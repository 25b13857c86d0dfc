"""What a container logged: its form, errors and secrets in it, and when it reported that it was ready."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from ..docker.client import Engine, EngineError, demultiplex
from ..docker.image_scan import hits

# How services report that they are ready.
READY = re.compile(r"startup complete|ready in|ready to accept connections|serving initial config|uvicorn running|listening on", re.I)
BAD = re.compile(r"\b(ERROR|CRITICAL|FATAL|PANIC):? |Traceback \(most recent|[Uu]nhandled ?(Promise|Rejection)")
BAD_LEVELS = ("error", "critical", "fatal", "panic")
DATED = re.compile(
    r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\S* .*\b(LOG|DEBUG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|HINT|DETAIL|STATEMENT|CONTEXT)\b"
)
# Redis and Valkey: process and role, time, and a mark for the level.
SERVER = re.compile(r"^\d+:[XCSM] \d\d [A-Z][a-z]{2} \d{4} [\d:.]+ [.\-*#] ")
LEVEL = re.compile(r"^(DEBUG|INFO|WARNING|ERROR|CRITICAL)[: ]")


def moment(text: str) -> float:
    """Seconds since 1970 of the engine's RFC 3339 with nanoseconds."""
    return datetime.fromisoformat(re.sub(r"\.(\d{6})\d*", r".\1", text).replace("Z", "+00:00")).timestamp()


def logs(engine: Engine, identity: str, started_at: str, canaries: list[bytes], count: int, errors_since: float) -> dict[str, Any]:
    """Form and content of the last lines, and when the first lines reported that the service is ready."""
    try:
        path, since = f"/containers/{identity}/logs", moment(started_at)
        tail = {"stdout": 1, "stderr": 1, "tail": count, "since": since}
        lines = demultiplex(engine.call("GET", path, tail)).splitlines()
        # Errors count from when the verification began: one that a user caused last week does not make a deployment wrong.
        recent = demultiplex(engine.call("GET", path, {**tail, "since": max(since, errors_since)})).splitlines()
        first = engine.call("GET", path, {"stdout": 1, "stderr": 1, "timestamps": 1, "since": since - 0.01, "until": since + 90})
    except EngineError as error:
        return {"error": str(error)}
    ready = None
    for line in demultiplex(first).splitlines():
        when, _, text = line.partition(" ")
        if READY.search(text):
            ready = round(moment(when) - since, 2)
            break
    lines = [line for line in lines if line.strip()]
    kinds = [_kind(line) for line in lines]
    banner = next((index for index, kind in enumerate(kinds) if kind), len(kinds))
    return {
        "lines": len(lines),
        "unformatted": [line[:200] for line, kind in zip(lines[banner:], kinds[banner:], strict=True) if not kind][:10],
        "json": kinds.count("json"),
        "bad": [line[:300] for line in recent if _bad(line)][-10:],
        "secrets": hits("\n".join(lines).encode(), canaries),
        "ready_seconds": ready,
    }


def _kind(line: str) -> str:
    """The form of a log line: `json`, `dated`, `level`, or nothing."""
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            return ""
        return "json" if {"time", "ts", "timestamp", "@timestamp"} & set(entry) and {"level", "severity"} & set(entry) else ""
    return "dated" if DATED.match(line) or SERVER.match(line) else "level" if LEVEL.match(line) else ""


def _bad(line: str) -> bool:
    """Whether a line reports an error."""
    if _kind(line) == "json":
        entry = json.loads(line)
        return str(entry.get("level", entry.get("severity", ""))).lower() in BAD_LEVELS
    return bool(BAD.search(line))
