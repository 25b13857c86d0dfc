"""One-line JSON logs. What users write and what libraries put into their exceptions' texts never gets into them."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

request_id_var: ContextVar[str | None] = ContextVar("request_id", default=None)

# Libraries log arguments and bodies below WARNING; the MCP SDK logs tool failures (with their text) at INFO.
QUIET = ("mcp", "openai", "openai.agents", "httpx", "httpcore", "httpx2", "httpcore2", "sqlalchemy", "asyncio")


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object, with its `fields` (passed as `extra`) merged in."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := request_id_var.get():
            entry["request_id"] = request_id
        entry.update(getattr(record, "fields", {}))
        if record.exc_info and record.exc_info[0]:
            entry["error"] = describe_exception(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def describe_exception(
    exc_info: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None],
) -> dict[str, Any]:
    """Type and place of an exception and of its causes, without their texts: those may quote a message or a secret."""
    error = exc_info[1]
    causes: list[str] = []
    cause = error
    while cause is not None and len(causes) < 10:
        causes.append(f"{type(cause).__module__}.{type(cause).__qualname__}")
        cause = cause.__cause__ or cause.__context__
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(exc_info[2])]
    return {"type": causes[0] if causes else None, "causes": causes[1:], "trace": frames[-12:]}


def configure_logging(level: str) -> None:
    """Send everything through one JSON handler and switch uvicorn's own access log off (ours replaces it)."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.asgi"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    access = logging.getLogger("uvicorn.access")
    access.handlers, access.propagate, access.disabled = [], False, True
    for name in QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
