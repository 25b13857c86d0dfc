"""Connection options of the database, its extensions, and what follows from a database outside the stack."""

from __future__ import annotations

from ..module_utils.settings import database_external as external
from ..module_utils.settings.database_extensions import extension_packages

AUTHORITY = "/run/secrets/database_ca"
# Verification of the server's certificate, in the syntax of each driver.
FORMS = {
    # psycopg, psycopg2, node-postgres, asyncpg by itself and most others.
    "libpq": f"?sslmode=verify-full&sslrootcert={AUTHORITY}",
    # SQLAlchemy passes parameters to asyncpg.connect() unchanged, which has no sslmode; the authority is found by PGSSLROOTCERT.
    "asyncpg": "?ssl=verify-full",
    # It sends unknown parameters to the server, which refuses them; the authority is found by NODE_EXTRA_CA_CERTS.
    "postgres.js": "?sslmode=verify-full",
    # Prisma's own engine; with its driver adapter for node-postgres it is libpq.
    "prisma": f"?sslmode=require&sslaccept=strict&sslcert={AUTHORITY}",
}


def database_options(given: str, scheme: str, tls: str) -> str:
    """The query string of a database URL: `given`, or, where that is `auto` or a driver (FORMS), verification of the server's certificate.

    `auto` is by the scheme. With pg8000 it is empty: that driver takes TLS from the program alone.
    """
    form = given
    if given == "auto":
        driver = scheme.partition("+")[2] or scheme
        form = "asyncpg" if driver == "asyncpg" else "" if driver == "pg8000" else "libpq"
    if form in FORMS and tls == "off":
        return ""
    return FORMS.get(form, form)


class FilterModule:
    """Filters about the database."""

    def filters(self) -> dict[str, object]:
        return {
            "database_options": database_options,
            "extension_packages": extension_packages,
            "external_database": external.complete,
            "external_egress": external.egress_with_database,
            "external_secrets": external.secrets_with_database,
            "external_files": external.files_with_database,
            "external_policy": external.policy_with_database,
        }
