"""Extensions of the stack's PostgreSQL (database_extensions): those in Debian's packages, less those that read the server's files."""

from __future__ import annotations

from typing import Any

# The schema that they are created in; it belongs to the superuser, and each service may use what is in it.
SCHEMA = "extensions"
# Extensions in packages of their own: the package, and the oldest PostgreSQL of which Debian has one.
PACKAGES = {"vector": ("pgvector", 17)}
# Those that come with the server.
CONTRIB = (
    "bloom", "btree_gin", "btree_gist", "citext", "cube", "dict_int", "dict_xsyn", "earthdistance", "fuzzystrmatch", "hstore", "intarray",
    "isn", "lo", "ltree", "moddatetime", "pg_stat_statements", "pg_trgm", "pgcrypto", "pgrowlocks", "pgstattuple", "seg", "tablefunc",
    "tcn", "tsm_system_rows", "tsm_system_time", "unaccent", "uuid-ossp",
)  # fmt: skip


def wrong_extensions(extensions: Any, version: Any) -> str:
    """What is wrong with the extensions for this major version of PostgreSQL; empty if nothing."""
    if not isinstance(extensions, list):
        return f"database_extensions is {extensions!r}; it must be a list of names, for example [citext, pgcrypto]"
    unknown = [str(one) for one in extensions if one not in CONTRIB and one not in PACKAGES]
    if unknown:
        return f"database_extensions has {', '.join(unknown)}; available: {', '.join((*CONTRIB, *PACKAGES))}"
    for one in extensions:
        if one in PACKAGES and int(version) < PACKAGES[one][1]:
            oldest = PACKAGES[one][1]
            return (
                f"database_extensions has {one}, whose package Debian has for PostgreSQL {oldest} only; the stack's is {version}. "
                f"Set database_version: {oldest} (existing data: make backup, and restore it into a new volume), or remove {one}"
            )
    return ""


def extension_packages(extensions: list[str], version: Any) -> list[str]:
    """The packages of the extensions that do not come with the server."""
    return [f"postgresql-{version}-{PACKAGES[one][0]}" for one in extensions if one in PACKAGES]
