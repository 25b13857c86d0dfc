"""How a backend reaches its database: the scheme and the options of its URL, by the driver that the source uses."""

from __future__ import annotations

import re

from . import variables
from .checks import TESTS, line_of
from .found import Part
from .python_dependencies import Declared
from .python_modules import Application

DRIVERS = {
    "asyncpg": "postgresql+asyncpg",
    "psycopg": "postgresql+psycopg",
    "psycopg-binary": "postgresql+psycopg",
    "psycopg2": "postgresql+psycopg2",
    "psycopg2-binary": "postgresql+psycopg2",
    "pg8000": "postgresql+pg8000",
}
REWRITES = re.compile(
    r"""replace\(\s*["'](?P<from>postgres(?:ql)?)(?:\+\w+)?(?:://)?["']\s*,\s*(?:[fF])?["'](?P<to>postgresql\+(?P<driver>\w+))(?:://)?["']"""
    r"""|drivername\s*=\s*["'](?P<name>postgresql\+(?P<driver2>\w+))["']"""
)


def database(part: Part, application: Application, installed: Declared, reads: dict[str, variables.Read]) -> None:
    texts = {path: application.tree.text(path) or "" for path in application.tree.files if path.endswith(".py") and not TESTS.search(path)}
    # A URL of the source's own beats what drivers are installed.
    mentioned = {name for name in DRIVERS if name in installed.names}
    imported = {
        driver
        for driver, pattern in (
            ("asyncpg", r"^\s*import asyncpg|^\s*from asyncpg"),
            ("psycopg2", r"^\s*(import|from) psycopg2"),
            ("psycopg", r"^\s*(import|from) psycopg\b"),
        )
        if any(re.search(pattern, text, re.M) for text in texts.values())
    }
    if not mentioned and not imported and not any(variables.kind(name) in ("database", "part") for name in reads):
        part.add("database_scheme", "postgresql", "likely", "", "the source uses no PostgreSQL driver")
        part.notes.append("the backend has no PostgreSQL driver and reads no database URL: it gets an address and does not use it")
        return
    uses_alchemy = bool({"sqlalchemy", "sqlmodel"} & set(installed.names)) or any(
        "sqlalchemy" in text or "sqlmodel" in text for text in texts.values()
    )
    asynchronous = _first(texts, r"create_async_engine|async_engine_from_config|AsyncEngine\b")
    rewritten = _rewritten(texts)
    if rewritten and _first(texts, r"sslmode"):
        part.add("database_scheme", "postgresql", "likely", rewritten[1], "the source makes its driver's address of it, options included")
        return
    if rewritten:
        driver, at = rewritten
        both = _first(texts, r"""["']\+asyncpg["']\s*,\s*["']["']|replace\(\s*["']postgresql\+asyncpg""") if driver == "asyncpg" else ""
        if both:
            # One URL for an asynchronous and a synchronous driver, whose options differ: the environment tells both.
            part.add("database_scheme", "postgresql+asyncpg", "likely", at, "the source makes asyncpg's address and another driver's of it")
            part.add("database_options", "", "likely", both, "options of the address would reach both drivers; PGSSLMODE does")
            _tls_by_environment(part, both)
        else:
            part.add("database_scheme", f"postgresql+{driver}", "certain", at, f"the source asks for {driver} by replacing the scheme")
        return
    if uses_alchemy:
        if asynchronous and ("asyncpg" in mentioned or "asyncpg" in imported):
            part.add("database_scheme", "postgresql+asyncpg", "certain", asynchronous, "SQLAlchemy with asyncpg")
            if apart := _first(texts, r"urlparse\([\s\S]{0,400}\.hostname"):
                _tls_by_environment(part, apart)  # options of the address do not survive that
            stripped = _first(texts, r"""replace\(\s*["']\+asyncpg|replace\(\s*["']postgresql\+asyncpg""")
            if stripped:
                part.add("database_options", "", "likely", stripped, "another driver gets the address, too: PGSSLMODE instead of options")
                _tls_by_environment(part, stripped)
            return
        for name in ("psycopg2-binary", "psycopg2", "psycopg", "psycopg-binary", "pg8000", "asyncpg"):
            if name in mentioned:
                part.add(
                    "database_scheme", DRIVERS[name], "certain", installed.where(name), f"SQLAlchemy with {name.removesuffix('-binary')}"
                )
                return
    why = f"{sorted(imported | mentioned)[0]} is used without SQLAlchemy" if imported or mentioned else "the usual form"
    part.add("database_scheme", "postgresql", "certain" if imported and not uses_alchemy else "likely", "", why)


def other_scheme(part: Part, installed: Declared, name: str) -> str:
    """The scheme of a further address, which a variable's name says to be for a driver of the other kind (ALEMBIC_DATABASE_URL)."""
    main = part.found[f"{part.role}_database_scheme"].value
    if main == DRIVERS["asyncpg"] and re.search(r"(^|_)(SYNC|ALEMBIC|MIGRATIONS?)(_|$)", name):
        return next((DRIVERS[one] for one in DRIVERS if one != "asyncpg" and one in installed.names), "")
    if main != DRIVERS["asyncpg"] and "asyncpg" in installed.names and re.search(r"(^|_)ASYNC(_|$)", name):
        return DRIVERS["asyncpg"]
    return ""


def _tls_by_environment(part: Part, where: str) -> None:
    found = part.found.get("backend_image_environment")
    values = dict(found.value) if found else {}
    part.add("environment", values | {"PGSSLMODE": "verify-full"}, "likely", where, found.why if found else "TLS for every driver")


def _first(texts: dict[str, str], pattern: str) -> str:
    for path, text in texts.items():
        if match := re.search(pattern, text):
            return f"{path}:{line_of(text, match.start())}"
    return ""


def _rewritten(texts: dict[str, str]) -> tuple[str, str] | None:
    for path, text in texts.items():
        for match in REWRITES.finditer(text):
            return match["driver"] or match["driver2"], f"{path}:{line_of(text, match.start())}"
    return None
