"""Connection options of the database."""

from __future__ import annotations

AUTHORITY = "/run/secrets/database_ca"


def database_options(given: str, scheme: str, tls: str) -> str:
    """The query string of a database URL: `given`, or, where that is `auto`, verification of the server's certificate.

    psycopg, node-postgres and most other drivers support libpq's parameters; SQLAlchemy passes parameters to asyncpg unchanged, and
    asyncpg finds the authority by PGSSLROOTCERT.
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
