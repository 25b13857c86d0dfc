"""Read a source's Alembic migrations without running them: the chain of revisions, and which of them break older releases.

A rollback keeps the database. That works if every later migration is compatible with the older code (a new table, a new nullable
column). A migration that removes, renames or requires something is breaking; it is found by its calls in `upgrade()`. A comment overrides
that: `# berth: compatible` or `# berth: breaking`.

`compare` compares a release's chain with the revision of the database (read by module_utils/data/revision.py).
"""

from __future__ import annotations

import ast
import configparser
import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TAKES_AWAY = frozenset({"drop_column", "drop_table", "rename_table"})
TABLE = "alembic_version"
# By schema: the revisions in each table of this name. The timeout is for a table that a running migration has locked.
REVISIONS = """SET statement_timeout = '10s';
SELECT coalesce(json_object_agg(place, revisions), '{}') FROM (
  SELECT n.nspname AS place, xpath('//v/text()', query_to_xml(format(
    'SELECT version_num AS v FROM %I.%I ORDER BY 1', n.nspname, c.relname), false, false, ''))::text[] AS revisions
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'version_num' AND NOT a.attisdropped
  WHERE c.relname = %s AND c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' ORDER BY 1) AS tables"""
SKIPPED = frozenset({"node_modules", "venv", "__pycache__", "site-packages"})
STATEMENT = re.compile(r"\b(DROP\s+(TABLE|COLUMN|SCHEMA|VIEW|TYPE)|RENAME|SET\s+NOT\s+NULL|TRUNCATE)\b", re.IGNORECASE)


def _constant(tree: ast.Module, name: str) -> Any:
    """The literal that the module assigns to `name`."""
    for node in tree.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
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


def _breaking_change(call: ast.Call) -> str:
    """The breaking change of an operation's call, as text; empty for none."""
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


# What a migration's content does not depend on: its place in the chain, which is compared by itself, and its way back.
PLACE = frozenset({"revision", "down_revision", "branch_labels", "depends_on"})


def _canonical(node: Any) -> Any:
    """A syntax tree without places, formatting, annotations and what Python versions add to it."""
    if isinstance(node, ast.AST):
        fields = [(name, _canonical(value)) for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *(one for one in fields if one[0] not in ("ctx", "kind", "type_comment", "annotation", "returns"))]
    return [_canonical(one) for one in node] if isinstance(node, list) else repr(node)


def _content(tree: ast.Module) -> str:
    """A hash of what a migration does: of its module without imports, texts, its place in the chain and downgrade()."""
    parts = []
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        place = any(isinstance(target, ast.Name) and target.id in PLACE for target in targets)
        back = isinstance(node, ast.FunctionDef) and node.name == "downgrade"
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
        if not (place or back or text or isinstance(node, (ast.Import, ast.ImportFrom))):
            parts.append(_canonical(node))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def revision(text: str) -> dict[str, Any] | None:
    """{revision, down: [revisions], breaking: [text with line], content: hash} of one migration; None for another file."""
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
    breaking = [f"{word}, line {call.lineno}" for call in calls if (word := _breaking_change(call))]
    comment = re.search(r"#\s*berth:\s*(compatible|breaking)\b", text)
    if comment:
        breaking = [] if comment[1] == "compatible" else breaking or ["declared by a comment"]
    down = [down] if isinstance(down, str) else list(down or [])
    return {"revision": name, "down": down, "breaking": breaking, "content": _content(tree)}


def _walk(source: Path) -> Iterator[tuple[Path, list[str]]]:
    for folder, folders, files in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in SKIPPED)
        yield Path(folder), files


def _locations(ini: Path) -> list[Path]:
    """The directories of migrations by an alembic.ini: script_location and version_locations."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(ini.read_text(errors="replace"))
        asked = parser["alembic"]
    except (configparser.Error, KeyError):
        return []
    script = asked.get("script_location", "").strip()
    several = asked.get("version_locations", "").replace("%(here)s", str(ini.parent)).replace("%(script_location)s", script)
    listed = [f"{script}/versions", *re.split(r"[\s,;:]+", several)] if script else []
    # A colon separates a package from a directory in it.
    return [ini.parent / word.replace("%(here)s", str(ini.parent)).replace(":", "/") for word in listed if word]


def _reaches(path: Path, taken: set[Path] | None) -> bool:
    """Whether a file, or a link above it, is among those taken."""
    path = Path(os.path.normpath(path))
    return taken is None or not taken.isdisjoint({path, *path.parents})


def _environment_of(source: Path, taken: set[Path] | None) -> tuple[list[Path], list[Path]]:
    """(migrations, env.py files) by a source's only alembic.ini; without one, by the names of files and directories."""
    inis, versions, environments = [], [], []
    for folder, files in _walk(source):
        files = [name for name in files if _reaches(folder / name, taken)]
        inis += [folder / name for name in files if name == "alembic.ini"]
        versions += [folder] if folder.name == "versions" else []
        environments += [folder / name for name in files if name == "env.py"]
    if len(inis) == 1 and (named := [place for place in _locations(inis[0]) if place.is_dir()]):
        versions = named
        environments = [place.parent / "env.py" for place in named if (place.parent / "env.py").is_file()]
    else:
        environments = [path for path in environments if path.parent / "versions" in versions]
    found = sorted({path for folder in versions for path in folder.glob("*.py")})
    return [path for path in found if _reaches(path, taken)], environments


def version_table(text: str) -> str:
    """The version table that an env.py names, `schema.table` where it names a schema; empty for Alembic's default."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return ""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "configure"]
    table, place = ((next((v for c in calls if isinstance(v := _option(c, f"version_table{end}"), str)), "")) for end in ("", "_schema"))
    return f"{place}.{table or TABLE}" if place else table


def literal(text: str) -> str:
    """`text` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def query(table: str = "") -> str:
    """The statement that returns, as JSON by schema, the revisions in each table of this name (`table` or `schema.table`)."""
    return REVISIONS.replace("%s", literal((table or TABLE).rpartition(".")[2]))


def schema(source: Path, files: Iterable[str] | None = None) -> dict[str, Any]:
    """{heads: [revisions], revisions: {revision: {down, breaking, content}}} of a source, and `table`, where its env.py names one; empty
    without Alembic migrations. `files`: those in the image, all by default."""
    found: dict[str, dict[str, Any]] = {}
    versions, environments = _environment_of(source, None if files is None else {Path(os.path.normpath(source / path)) for path in files})
    for path in versions:
        step = revision(path.read_text(errors="replace"))
        if step:
            found[step["revision"]] = {key: step[key] for key in ("down", "breaking", "content")}
    if not found:
        return {}
    below = {name for step in found.values() for name in step["down"]}
    table = next((name for path in environments if (name := version_table(path.read_text(errors="replace")))), "")
    return {"heads": sorted(set(found) - below), "revisions": found} | ({"table": table} if table else {})


# --- a release and the database ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """The database's revision in relation to a release.

    `state`: "unversioned" (the release has no Alembic migrations), "unread" (the database could not be read), "new" (no migration ran
    yet), "same", "behind" (the release's migrations are pending), "ahead" (compatible), "breaking" (ahead and not compatible), "unknown"
    (a revision that no recorded release has), "diverged" (another branch), "edited" (the migrations that ran differ from the release's),
    "heads" (the release has several heads, and its command upgrades to one), "rows" (the version table has a revision and its ancestor),
    "unstamped" (migrations ran, their tables exist, and the version table does not, or is empty).
    """

    state: str
    at: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    breaking: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


REFUSED = ("breaking", "unknown", "diverged", "edited", "heads", "rows", "unstamped")


def ancestors(revisions: dict[str, dict[str, Any]], names: Iterable[str]) -> set[str]:
    """The revisions and all their ancestors."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and name in revisions:
            found.add(name)
            waiting += revisions[name].get("down") or []
    return found


def _contents_differ(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Whether two records of a migration have different contents; an older Berth did not record them."""
    return bool(before.get("content") and now.get("content") and before["content"] != now["content"])


def edited_revisions(recorded: dict[str, Any], chain: dict[str, dict[str, Any]], at: Iterable[str]) -> list[str]:
    """How the migrations that ran on the database differ from those in `chain`, a line each."""
    before, found, changes = recorded.get("revisions") or {}, set(at), list[str]()
    for name in sorted(ancestors(before, found)):
        was = sorted(before[name].get("down") or [])
        now = sorted(chain[name].get("down") or []) if name in chain else None
        if now is not None and now != was:
            changes.append(
                f"{name} comes after {listed(now, 'nothing')} in the release, and came after {listed(was, 'nothing')} when it ran"
            )
        elif now is None and found <= set(chain):
            changes.append(f"{name} ran on this database, and the release does not have it")
        elif now is not None and _contents_differ(before[name], chain[name]):
            changes.append(f"{name} does something else in the release than it did when it ran")
    return changes


def compare(
    at: list[str] | None,
    recorded: dict[str, Any],
    others: Iterable[dict[str, Any]],
    target: dict[str, Any],
    every_head: bool,
    tables: Iterable[str] = (),
) -> Comparison:
    """Compare a release (`target`, its schema) with the database's revisions `at`, None where it could not be read.

    `recorded`: the recorded schema of the database; `others`: schemas of all recorded releases; `every_head`: whether the release's
    command upgrades to all heads; `tables`: those of the backend where `at` is empty.
    """
    chain, heads = target.get("revisions") or {}, sorted(target.get("heads") or [])
    if not chain:
        return Comparison("unversioned", at or [])
    if len(heads) != 1 and not every_head:
        return Comparison("heads", at or [], heads)
    if at is None:
        return Comparison("unread", [], heads)
    found = sorted(at)
    if not found:
        ran = sorted(recorded.get("heads") or [])
        return Comparison("unstamped", ran, heads, notes=sorted(tables)) if ran and tables else Comparison("new", [], heads)
    revisions: dict[str, dict[str, Any]] = {}
    for one in (*others, target, recorded):
        revisions |= one.get("revisions") or {}
    if lower := [name for name in found if any(name in ancestors(revisions, [other]) for other in found if other != name)]:
        return Comparison("rows", found, heads, notes=lower)
    if changes := edited_revisions(recorded, chain, found):
        return Comparison("edited", found, heads, notes=changes)
    if set(found) <= set(chain):
        return Comparison("same" if found == heads else "behind", found, heads)
    if lost := sorted(set(found) - set(revisions)):
        return Comparison("unknown", found, heads, notes=lost)
    later = ancestors(revisions, found)
    if not set(heads) <= later:
        return Comparison("diverged", found, heads, notes=_common_revisions(revisions, found, heads))
    breaking = {name: revisions[name]["breaking"] for name in sorted(later - set(chain)) if revisions[name].get("breaking")}
    return Comparison("breaking" if breaking else "ahead", found, heads, breaking)


def _common_revisions(revisions: dict[str, dict[str, Any]], at: list[str], heads: list[str]) -> list[str]:
    """The last revisions that two branches share."""
    shared = ancestors(revisions, at) & ancestors(revisions, heads)
    return sorted(shared - {name for one in shared for name in ancestors(revisions, [one]) - {one}})


def listed(names: Iterable[str], none: str = "none") -> str:
    return ", ".join(names) or none


def breaking_lines(found: Comparison) -> str:
    """What the database's migrations remove or change that the release needs, a line for each migration; empty for nothing."""
    return "".join(f"  {name}: {'; '.join(steps)}\n" for name, steps in found.breaking.items())


def upgrades_all_heads(command: list[str]) -> bool:
    return "heads" in command


def is_alembic(command: list[str]) -> bool:
    """Whether a command is Alembic's own, which upgrades to the head and does nothing else."""
    return any(word.rpartition("/")[2] == "alembic" for word in command)


def heads_refusal(heads: list[str]) -> str:
    """The message about migrations with several heads; empty for one head."""
    if len(heads) < 2:
        return ""
    merge = f'alembic merge -m "merge branches" {" ".join(heads)}'
    return (
        f"the migrations of the backend end in {len(heads)} heads ({listed(heads)}), and its command upgrades to one. "
        f"Merge them in the source ({merge}), or, where several heads are intended, upgrade to all of them: "
        "backend_image_migrate_command: [python3, -m, alembic, upgrade, heads]"
    )


def refusal(found: Comparison, release: str, verb: str) -> str:
    """The message about a release that does not fit the database; empty where it fits."""
    if found.state not in REFUSED:
        return ""
    at, heads, back = listed(found.at), listed(found.heads), verb == "rollback"
    again = f"make {'rollback' if back else 'deploy'} VERSION={release}"
    accept = f"  {again} SCHEMA=accept     use the database as it is; only where you know that {release} works with it"
    both = f"The database is at revision {at}; the head of {release} is {heads}."
    if found.state == "heads":
        text = heads_refusal(found.heads)
        return f"{release} is refused: {text}\nThe database is at revision {at}. Nothing was changed."
    if found.state == "breaking":
        return (
            f"{release} is not compatible with the database: later migrations remove or change what it needs.\n{breaking_lines(found)}"
            f"{both} Nothing was changed. Choose what to do with the database:\n"
            f"  {again} SCHEMA=downgrade   downgrade these migrations; data written since then stays where they keep it\n"
            f"  {again} SCHEMA=restore     restore the backup from before these migrations; data written since then is lost"
        )
    if found.state == "unstamped":
        some = listed(found.notes[:5]) + (f" and {len(found.notes) - 5} more" if len(found.notes) > 5 else "")
        return (
            f"The database has no revision, although its migrations ran to {at} and tables exist ({some}): the version table was removed "
            f"or emptied. The head of {release} is {heads}. Nothing was changed.\n"
            f"Write the revision that the tables have (alembic stamp {at}, in a container of the backend), or restore a backup "
            f"(make backups). Or:\n"
            f"  {again} SCHEMA=accept     run all migrations; only where you know that they do not need these tables to be missing"
        )
    if found.state == "rows":
        return (
            f"{both} Nothing was changed.\n"
            f"The version table has several rows, and {listed(found.notes)} comes before another of them: it was written by hand, or two "
            "migrations ran at the same time. Find out to which revision the tables fit, and remove the other rows."
        )
    if found.state == "edited":
        details = "\n".join(f"  {note}" for note in found.notes)
        return (
            f"The migrations of {release} were edited after they ran on this database.\n{details}\n"
            f"{both} Nothing was changed.\n"
            f"Restore the files as they were when they ran, and make the change in a new migration. Or:\n{accept}"
        )
    if found.state == "diverged":
        merge = f'alembic merge -m "merge branches" {" ".join(found.at + found.heads)}'
        rest = (
            f"The database was migrated to {at} by another branch; the common ancestor is {listed(found.notes)}. "
            f"Have both branches in one source and merge them there ({merge}), or release a version of the branch that has {at} "
            "(make releases lists those of this host)."
        )
    else:
        rest = (
            f"Neither {release} nor a recorded release has {listed(found.notes)}: the database was migrated by another branch or by hand. "
            f"Deploy the source that has this revision, or downgrade the database with it."
        )
    return f"{both} Nothing was changed.\n{rest}" + (f" Or:\n{accept}" if back else "")
