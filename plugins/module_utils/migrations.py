"""What a source's Alembic migrations say, without running them: the chain, and which steps an older release cannot live with.

A release may go back while the database stays: that works when every step since is one that the older code does not notice (a new
table, a new column that may be empty). A step that takes something away, renames it or demands more breaks it, and is found by
its calls in `upgrade()`. A comment decides where the calls cannot tell: `# berth: compatible` or `# berth: breaking`.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

TAKES_AWAY = frozenset({"drop_column", "drop_table", "rename_table"})
STATEMENT = re.compile(r"\b(DROP\s+(TABLE|COLUMN|SCHEMA|VIEW|TYPE)|RENAME|SET\s+NOT\s+NULL|TRUNCATE)\b", re.IGNORECASE)


def _constant(tree: ast.Module, name: str) -> Any:
    """The literal that the module gives to `name`."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets) and node.value is not None:
            try:
                return ast.literal_eval(node.value)
            except ValueError:
                return None
    return None


def _option(call: ast.Call, name: str) -> Any:
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value.value if isinstance(keyword.value, ast.Constant) else keyword.value
    return None


def _breaks(call: ast.Call) -> str:
    """What a call of an operation takes from an older release, in words; empty for nothing."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    if name in TAKES_AWAY:
        return name
    if name == "alter_column":
        asked = [key for key in ("new_column_name", "type_") if _option(call, key) is not None]
        asked += ["nullable=False"] if _option(call, "nullable") is False else []
        return f"alter_column ({', '.join(asked)})" if asked else ""
    if name == "add_column":
        column = next((arg for arg in call.args if isinstance(arg, ast.Call)), None)
        demands = column is not None and _option(column, "nullable") is False and _option(column, "server_default") is None
        return "add_column (not null, without a server default)" if demands else ""
    if name == "execute":
        text = " ".join(n.value for n in ast.walk(call) if isinstance(n, ast.Constant) and isinstance(n.value, str))
        found = STATEMENT.search(text)
        return f"execute ({found[0]})" if found else ""
    return ""


def revision(text: str) -> dict[str, Any] | None:
    """{revision, down: [revisions], breaking: [words, line]} of one migration; None for a file that is none."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return None
    name = _constant(tree, "revision")
    if not isinstance(name, str):
        return None
    down = _constant(tree, "down_revision")
    upgrade = next((node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "upgrade"), None)
    calls = [node for node in ast.walk(upgrade) if isinstance(node, ast.Call)] if upgrade else []
    breaking = [f"{word}, line {call.lineno}" for call in calls if (word := _breaks(call))]
    said = re.search(r"#\s*berth:\s*(compatible|breaking)\b", text)
    if said:
        breaking = [] if said[1] == "compatible" else breaking or ["declared by a comment"]
    return {"revision": name, "down": [down] if isinstance(down, str) else list(down or []), "breaking": breaking}


def schema(source: Path) -> dict[str, Any]:
    """{heads: [revisions], revisions: {revision: {down, breaking}}} of a source; empty where it has no Alembic migrations."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(source.glob("**/versions/*.py")):
        if any(part.startswith(".") or part == "node_modules" for part in path.relative_to(source).parts):
            continue
        step = revision(path.read_text(errors="replace"))
        if step:
            found[step["revision"]] = {"down": step["down"], "breaking": step["breaking"]}
    if not found:
        return {}
    below = {name for step in found.values() for name in step["down"]}
    return {"heads": sorted(set(found) - below), "revisions": found}


def judge(today: dict[str, Any], target: dict[str, Any]) -> tuple[str, dict[str, list[str]]]:
    """How a release (`target`, its schema) stands to the database as it is (`today`, the schema that it was brought to).

    ("same" | "behind" | "lives" | "breaks", {revision: what it takes away}): the database is at its revision; is older, and its
    migrations bring it there; is newer in ways that it does not notice; is newer in ways that break it.
    """
    heads, wanted = set(today.get("heads") or []), set(target.get("heads") or [])
    if not heads or not wanted or heads == wanted:
        return "same", {}
    known = set(target.get("revisions") or {})
    if heads <= known:
        return "behind", {}
    since = {name: step for name, step in (today.get("revisions") or {}).items() if name not in known}
    breaking = {name: step["breaking"] for name, step in since.items() if step.get("breaking")}
    return ("breaks", breaking) if breaking else ("lives", {})
