"""How a frontend's database is migrated: by a script of its own, or by the SQL files of Prisma or Drizzle.

For those the build adds a program to the image (berth-migrate.mjs in roles/frontend_image/files/Dockerfile).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from .found import Part
from .javascript_modules import Frontend, without_comments

STANDALONE = re.compile(r"node\s+(?:\./)?\.next/standalone/(\S+)")
# The program that the build writes (roles/frontend_image/files/Dockerfile), in the application's directory.
PROGRAM = ["node", "berth-migrate.mjs"]
# Packages by which it reaches the database.
DRIVERS = {"prisma": ("pg", "@prisma/adapter-pg"), "drizzle": ("pg", "postgres")}
DRIZZLE_TABLE = "drizzle.__drizzle_migrations"


def migrations(part: Part, application: Frontend) -> None:
    part.add("downgrade_command", [])
    for name, text in (application.manifest.get("scripts") or {}).items():
        if re.search(r"migrat", name) and (match := STANDALONE.search(str(text))):
            part.add("migrate_command", ["node", match[1]], "certain", application.at("package.json"), f"its script {name}")
            return
    part.add("migrate_command", [], "certain", "", "no script that migrates from the built application")
    if not _prisma(part, application):
        _drizzle(part, application)


def _inside(application: Frontend, path: str) -> str:
    return posixpath.relpath(path, application.base or ".")


def _config(application: Frontend, name: str) -> tuple[str, str]:
    """(path, text) of a tool's configuration in the application's directory; empty texts where there is none."""
    for ending in ("ts", "mts", "js", "mjs", "cjs"):
        path = application.at(f"{name}.{ending}")
        if path in application.tree.paths:
            return path, without_comments(application.tree.text(path) or "")
    return "", ""


def _value(text: str, pattern: str, default: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else default


def _use(part: Part, application: Frontend, tool: str, directory: str, files: list[str], table: str) -> None:
    """Take the SQL files of a tool as the frontend's migrations; a note where nothing in the image could run them."""
    names = application.manifest.get("dependencies") or {}
    if not any(name in names for name in DRIVERS[tool]):
        part.notes.append(
            f"the frontend's migrations in {directory} do not run by themselves: its dependencies have none of "
            f"{', '.join(DRIVERS[tool])}, by which Berth would run them (or set frontend_image_migrate_command)"
        )
        return
    found = {"tool": tool, "directory": _inside(application, directory), "table": table}
    part.add("migrations", found, "certain", directory, f"{len(files)} of {tool}")
    part.add("migrate_command", PROGRAM, "certain", directory, f"runs the SQL of {tool} as its own command does")


def _prisma(part: Part, application: Frontend) -> bool:
    text = _config(application, "prisma.config")[1]
    declared = _value(text, r"\bschema\s*:\s*[\"'`]([^\"'`]+\.prisma)", str((application.manifest.get("prisma") or {}).get("schema") or ""))
    places = [*filter(None, [declared]), "prisma/schema.prisma", "schema.prisma"]
    paths = [posixpath.normpath(application.at(one)) for one in places]
    schema = next((one for one in paths if one in application.tree.paths), "")
    if not schema:
        return False
    if not _in_schema(application, r"PrismaPg\([^;]*\bschema\s*:"):
        part.add("database_schema", "public", "certain", schema, "Prisma names this schema in each query")
    default = posixpath.join(posixpath.dirname(_inside(application, schema)), "migrations")
    inside = _value(text, r"\bmigrations\s*:\s*\{[^}]*?\bpath\s*:\s*[\"'`]([^\"'`]+)", default)
    directory = posixpath.normpath(application.at(inside))
    files = [one for one in application.tree.files if re.fullmatch(re.escape(directory) + r"/[^/]+/migration\.sql", one)]
    if not files:
        part.notes.append(
            f"the frontend has Prisma's {schema} and no migrations in {directory}: its tables are made by nobody "
            "(prisma migrate dev writes migrations; prisma db push leaves none)"
        )
        return True
    _use(part, application, "prisma", directory, files, "")
    return True


def _drizzle(part: Part, application: Frontend) -> None:
    config, text = _config(application, "drizzle.config")
    if not config or "postgres" not in text:
        return
    directory = posixpath.normpath(application.at(_value(text, r"\bout\s*:\s*[\"'`]([^\"'`]+)", "drizzle")))
    files = [one for one in application.tree.files if re.fullmatch(re.escape(directory) + r"/[^/]+\.sql", one)]
    if not files or f"{directory}/meta/_journal.json" not in application.tree.paths:
        part.notes.append(
            f"the frontend has Drizzle's {config} and no migrations with a journal in {directory}: its tables are made by nobody "
            "(drizzle-kit generate writes migrations; drizzle-kit push leaves none)"
        )
        return
    own = re.search(r"\bmigrations\s*:\s*\{([^}]*)\}", text)
    schema, name = DRIZZLE_TABLE.split(".")
    schema = _value(own[1] if own else "", r"\bschema\s*:\s*[\"'`]([^\"'`]+)", schema)
    name = _value(own[1] if own else "", r"\btable\s*:\s*[\"'`]([^\"'`]+)", name)
    if named := _first(application, files, '"public".'):
        part.add("database_schema", "public", "certain", named, "Drizzle's migrations name this schema")
    _use(part, application, "drizzle", directory, files, f"{schema}.{name}")


def _first(application: Frontend, files: Iterable[str], text: str) -> str:
    return next((path for path in files if text in (application.tree.text(path) or "")), "")


def _in_schema(application: Frontend, pattern: str) -> bool:
    """Whether some file of the source hands a schema of its own to the driver."""
    return any("PrismaPg" in (text := application.tree.text(path) or "") and re.search(pattern, text) for path in application.tree.files)
