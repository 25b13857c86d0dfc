"""What a source's Alembic migrations say, without running them: the chain, and which steps an older release cannot live with.

A release may go back while the database stays: that works when every step since is one that the older code does not notice (a new
table, a new column that may be empty). A step that takes something away, renames it or demands more breaks it, and is found by
its calls in `upgrade()`. A comment decides where the calls cannot tell: `# berth: compatible` or `# berth: breaking`.

`compare` holds a release's chain against the revision that the database itself is at (module_utils/data/revision.py reads it).
"""

from __future__ import annotations

import ast
import configparser
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TAKES_AWAY = frozenset({"drop_column", "drop_table", "rename_table"})
TABLE = "alembic_version"
# By schema: the revisions in each table of this name. A migration that runs may hold the table: that is not waited for for ever.
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


def _breaking_change(call: ast.Call) -> str:
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
    breaking = [f"{word}, line {call.lineno}" for call in calls if (word := _breaking_change(call))]
    said = re.search(r"#\s*berth:\s*(compatible|breaking)\b", text)
    if said:
        breaking = [] if said[1] == "compatible" else breaking or ["declared by a comment"]
    return {"revision": name, "down": [down] if isinstance(down, str) else list(down or []), "breaking": breaking}


def _walk(source: Path) -> Iterator[tuple[Path, list[str]]]:
    for folder, folders, files in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in SKIPPED)
        yield Path(folder), files


def _locations(ini: Path) -> list[Path]:
    """Where an alembic.ini has its migrations: script_location, and version_locations where there are several."""
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(ini.read_text(errors="replace"))
        asked = parser["alembic"]
    except (configparser.Error, KeyError):
        return []
    script = asked.get("script_location", "").strip()
    several = asked.get("version_locations", "").replace("%(here)s", str(ini.parent)).replace("%(script_location)s", script)
    listed = [f"{script}/versions", *re.split(r"[\s,;:]+", several)] if script else []
    # A colon parts a package from a directory in it.
    return [ini.parent / word.replace("%(here)s", str(ini.parent)).replace(":", "/") for word in listed if word]


def _reaches(path: Path, taken: set[Path] | None) -> bool:
    """Whether a file is among those taken, or lies below a link that is."""
    path = Path(os.path.normpath(path))
    return taken is None or not taken.isdisjoint({path, *path.parents})


def _environment_of(source: Path, taken: set[Path] | None) -> tuple[list[Path], list[Path]]:
    """(files of migrations, environments that run them), of the one alembic.ini that a source has; without it, all that look like it."""
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
    """The table that an env.py names for revisions, `schema.table` where it names a schema; empty for Alembic's default."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return ""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute) and n.func.attr == "configure"]
    table, place = ((next((v for c in calls if isinstance(v := _option(c, f"version_table{end}"), str)), "")) for end in ("", "_schema"))
    return f"{place}.{table or TABLE}" if place else table


def literal(text: str) -> str:
    """`text` as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def query(table: str = "") -> str:
    """The statement that tells, as JSON, the revisions in each table of this name (`table` or `schema.table`), by schema."""
    return REVISIONS.replace("%s", literal((table or TABLE).rpartition(".")[2]))


def schema(source: Path, files: Iterable[str] | None = None) -> dict[str, Any]:
    """{heads: [revisions], revisions: {revision: {down, breaking}}} of a source, and `table`, where its env.py names another than
    alembic_version; empty where it has no Alembic migrations. `files`: those that reach the image, all by default."""
    found: dict[str, dict[str, Any]] = {}
    versions, environments = _environment_of(source, None if files is None else {Path(os.path.normpath(source / path)) for path in files})
    for path in versions:
        step = revision(path.read_text(errors="replace"))
        if step:
            found[step["revision"]] = {"down": step["down"], "breaking": step["breaking"]}
    if not found:
        return {}
    below = {name for step in found.values() for name in step["down"]}
    table = next((name for path in environments if (name := version_table(path.read_text(errors="replace")))), "")
    return {"heads": sorted(set(found) - below), "revisions": found} | ({"table": table} if table else {})


# --- a release and the database ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """How a release stands to the database.

    `state`: "unversioned" (the release has no Alembic migrations), "unread" (nobody could ask the database), "new" (no migration ran
    yet), "same", "behind" (its migrations bring it to the release), "ahead" (in ways that the release does not notice), "breaking" (in
    ways that break it), "unknown" (at a revision that nothing here has), "diverged" (on another branch), "edited" (what ran is not what
    the release has now), "heads" (the release has several, and its command upgrades to one).
    """

    state: str
    at: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    breaking: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


REFUSED = ("breaking", "unknown", "diverged", "edited", "heads")


def ancestors(revisions: dict[str, dict[str, Any]], names: Iterable[str]) -> set[str]:
    """The revisions themselves and all that they come after."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and name in revisions:
            found.add(name)
            waiting += revisions[name].get("down") or []
    return found


def edited_revisions(recorded: dict[str, Any], chain: dict[str, dict[str, Any]], at: Iterable[str]) -> list[str]:
    """What of the migrations that ran here is another in `chain`, in words."""
    before, found, describe = recorded.get("revisions") or {}, set(at), []
    for name in sorted(ancestors(before, found)):
        was = sorted(before[name].get("down") or [])
        now = sorted(chain[name].get("down") or []) if name in chain else None
        if now is not None and now != was:
            describe.append(
                f"{name} comes after {listed(now, 'nothing')} in the release, and came after {listed(was, 'nothing')} when it ran"
            )
        elif now is None and found <= set(chain):
            describe.append(f"{name} ran here, and the release does not have it")
    return describe


def compare(
    at: list[str] | None, recorded: dict[str, Any], others: Iterable[dict[str, Any]], target: dict[str, Any], every_head: bool
) -> Comparison:
    """Hold a release (`target`, its schema) against the database: `at`, its revisions, None where nobody could ask it.

    `recorded`: the schema that it was brought to, as far as it is known; `others`: schemas of the releases that are remembered;
    `every_head`: whether the release's command upgrades to all heads.
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
        return Comparison("new", [], heads)
    if describe := edited_revisions(recorded, chain, found):
        return Comparison("edited", found, heads, notes=describe)
    if set(found) <= set(chain):
        return Comparison("same" if found == heads else "behind", found, heads)
    known: dict[str, dict[str, Any]] = {}
    for one in (*others, target, recorded):
        known |= one.get("revisions") or {}
    if lost := sorted(set(found) - set(known)):
        return Comparison("unknown", found, heads, notes=lost)
    later = ancestors(known, found)
    if not set(heads) <= later:
        return Comparison("diverged", found, heads, notes=_common_revisions(known, found, heads))
    breaking = {name: known[name]["breaking"] for name in sorted(later - set(chain)) if known[name].get("breaking")}
    return Comparison("breaking" if breaking else "ahead", found, heads, breaking)


def _common_revisions(known: dict[str, dict[str, Any]], at: list[str], heads: list[str]) -> list[str]:
    """The last revisions that two branches share."""
    shared = ancestors(known, at) & ancestors(known, heads)
    return sorted(shared - {name for one in shared for name in ancestors(known, [one]) - {one}})


def listed(names: Iterable[str], none: str = "none") -> str:
    return ", ".join(names) or none


def upgrades_all_heads(command: list[str]) -> bool:
    return "heads" in command


def is_alembic(command: list[str]) -> bool:
    """Whether a command is Alembic's own, so that it ends at the head and does nothing else."""
    return any(word.rpartition("/")[2] == "alembic" for word in command)


def heads_refusal(heads: list[str]) -> str:
    """Why migrations with several heads are refused, and what to do; empty for one head."""
    if len(heads) < 2:
        return ""
    merge = f'alembic merge -m "merge branches" {" ".join(heads)}'
    return (
        f"the migrations of the backend end in {len(heads)} heads ({listed(heads)}), and its command upgrades to one. "
        f"Merge them in the source ({merge}), or, where each head is intended, name them all in the command: "
        "backend_image_migrate_command: [python3, -m, alembic, upgrade, heads]"
    )


def refusal(found: Comparison, release: str, verb: str) -> str:
    """Why a release is refused, with both revisions, and what to do; empty where it is not."""
    if found.state not in REFUSED:
        return ""
    at, heads, back = listed(found.at), listed(found.heads), verb == "rollback"
    again = f"make {'rollback' if back else 'deploy'} VERSION={release}"
    accept = f"  {again} SCHEMA=accept     take the database as it is: only where you know that {release} can work with it"
    both = f"The database is at revision {at}; the head of {release} is {heads}."
    if found.state == "heads":
        text = heads_refusal(found.heads)
        return f"{release} is refused: {text}\nThe database is at revision {at}. Nothing was changed."
    if found.state == "breaking":
        describe = "\n".join(f"  {name}: {'; '.join(steps)}" for name, steps in found.breaking.items())
        return (
            f"{release} cannot live with the database as it is: migrations since then take away what it needs.\n{describe}\n"
            f"{both} Nothing was changed. Choose what to do with the database:\n"
            f"  {again} SCHEMA=downgrade   run these migrations backwards; what was written since stays where they keep it\n"
            f"  {again} SCHEMA=restore     put the backup back that was made before them; what was written since is lost"
        )
    if found.state == "edited":
        describe = "\n".join(f"  {note}" for note in found.notes)
        return (
            f"The migrations of {release} were edited after they ran on this database.\n{describe}\n"
            f"{both} Nothing was changed.\n"
            f"Put the files back as they were when they ran, and make the change in a new migration. Or:\n{accept}"
        )
    if found.state == "diverged":
        merge = f'alembic merge -m "merge branches" {" ".join(found.at + found.heads)}'
        rest = (
            f"The database was brought to {at} by another branch: the two part after {listed(found.notes, 'nothing in common')}. "
            f"Have both branches in one source and merge them there ({merge}), or release a version of the branch that has {at} "
            "(make releases lists those of this host)."
        )
    else:
        rest = (
            f"Neither {release} nor a release that this host remembers has {listed(found.notes)}: another branch or somebody's own command "
            f"brought the database there. Release the source that has it, with its migrations, or take the database back by it."
        )
    return f"{both} Nothing was changed.\n{rest}" + (f" Or:\n{accept}" if back else "")
