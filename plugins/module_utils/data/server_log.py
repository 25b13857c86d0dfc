"""What a PostgreSQL server's log says of statements that it refused. A pure function over the log's text."""

from __future__ import annotations

import re

# `log_line_prefix` may be any; by default it ends with the process's number in brackets.
LINE = re.compile(r"^(?P<prefix>.*?)\b(?P<severity>ERROR|FATAL|PANIC|LOG|WARNING|NOTICE|HINT|DETAIL|CONTEXT|STATEMENT):  (?P<text>.*)$")
PROCESS = re.compile(r"\[(\d+)\]")
DEFINES = re.compile(r"(?i)\s*(CREATE|ALTER|DROP|GRANT|REVOKE|COMMENT|TRUNCATE|REINDEX|SECURITY|REASSIGN|IMPORT)\b")
LITERAL = re.compile(r"'(?:[^']|'')*'")


def refused_statements(log: str, definitions_only: bool) -> list[str]:
    """The errors in a server's log, each once, with its hint and the beginning of its statement; literals in it, which may be secrets, are
    left out. `definitions_only`: only errors of statements that define objects, where others use the database too.
    """
    entries: list[dict[str, str]] = []
    current: dict[str, dict[str, str]] = {}
    last: tuple[dict[str, str], str] | None = None
    for line in log.splitlines():
        match = LINE.match(line)
        if match is None:
            if last and line.startswith("\t"):  # a statement of several lines
                last[0][last[1]] += " " + line.strip()
            continue
        process, severity = PROCESS.search(match["prefix"]), match["severity"]
        key = process[1] if process else ""
        if severity == "ERROR":
            current[key] = {"ERROR": match["text"]}
            entries.append(current[key])
        elif severity in ("HINT", "STATEMENT") and key in current:
            current[key][severity] = match["text"]
        else:
            if severity in ("LOG", "FATAL", "PANIC", "WARNING", "NOTICE"):
                current.pop(key, None)
            last = None
            continue
        last = current[key], severity
    found = []
    for entry in entries:
        statement = " ".join(LITERAL.sub("'...'", entry.get("STATEMENT", "")).split())
        if definitions_only and not DEFINES.match(statement):
            continue
        words = LITERAL.sub("'...'", entry["ERROR"]) + (f" ({statement[:120]})" if statement else "")
        found.append(words + (f". {entry['HINT']}" if entry.get("HINT") else ""))
    return list(dict.fromkeys(found))
