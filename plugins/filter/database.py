"""How an application is told to reach the database."""

from __future__ import annotations

AUTHORITY = "/run/secrets/database_ca"


def database_options(given: str, scheme: str, tls: str) -> str:
    """What follows the database's name in a URL: `given`, or, where that is `auto`, that the server's certificate is to be verified.

    Drivers differ: libpq's parameters are understood by psycopg, node-postgres and most others; SQLAlchemy hands parameters on to asyncpg
    as they are, and asyncpg finds the authority by PGSSLROOTCERT.
    """
    if given != "auto":
        return given
    if tls == "off":
        return ""
    return "?ssl=verify-full" if scheme.endswith("+asyncpg") else f"?sslmode=verify-full&sslrootcert={AUTHORITY}"


class FilterModule:
    """Filters about the database."""

    def filters(self) -> dict[str, object]:
        return {"database_options": database_options}
