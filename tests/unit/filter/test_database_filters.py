"""How an application is told to verify the database's certificate."""

from __future__ import annotations

import pytest
from ansible_collections.berth.stack.plugins.filter.database import database_options


@pytest.mark.parametrize(
    ("given", "scheme", "tls", "options"),
    [
        ("auto", "postgresql", "required", "?sslmode=verify-full&sslrootcert=/run/secrets/database_ca"),
        ("auto", "postgresql+psycopg", "offered", "?sslmode=verify-full&sslrootcert=/run/secrets/database_ca"),
        ("auto", "postgresql+asyncpg", "required", "?ssl=verify-full"),
        ("auto", "postgresql+psycopg2", "required", "?sslmode=verify-full&sslrootcert=/run/secrets/database_ca"),
        ("auto", "postgresql+pg8000", "required", ""),
        ("asyncpg", "postgresql", "required", "?ssl=verify-full"),
        ("postgres.js", "postgres", "required", "?sslmode=verify-full"),
        ("prisma", "postgresql", "required", "?sslmode=require&sslaccept=strict&sslcert=/run/secrets/database_ca"),
        ("auto", "postgresql", "off", ""),
        ("prisma", "postgresql", "off", ""),
        ("", "postgresql", "required", ""),
        ("?sslmode=disable", "postgresql", "required", "?sslmode=disable"),
    ],
)
def test_options(given, scheme, tls, options):
    assert database_options(given, scheme, tls) == options
