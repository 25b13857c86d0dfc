"""Test the database access of the backend's login and of others; run inside the backend's container. Prints one JSON object."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg

URL = Path("/run/secrets/database_url").read_text()
PARTS = urlsplit(URL)
PLACE = {"host": PARTS.hostname, "port": PARTS.port, "database": PARTS.path[1:]}


async def outcome(attempt: Awaitable[Any]) -> str:
    """The kind of error that an attempt ends with; "works" where it does not."""
    try:
        result = await attempt
    except (asyncpg.PostgresError, OSError) as error:
        return type(error).__name__
    if isinstance(result, asyncpg.Connection):
        await result.close()
    return "works"


async def tried(login: asyncpg.Connection, statement: str) -> None:
    """A statement of which nothing stays where it works: neither what it makes nor the role that it sets."""
    trial = login.transaction()
    await trial.start()
    try:
        await login.execute(statement)
    finally:
        await trial.rollback()


async def main() -> dict[str, Any]:
    trust = ssl.create_default_context(cafile="/run/secrets/database_ca")
    address = urlunsplit(PARTS._replace(netloc=PARTS.netloc.replace("@database:", f"@{socket.gethostbyname('database')}:")))
    login = await asyncpg.connect(URL)
    results: dict[str, Any] = {
        "works as": await login.fetchval("SELECT current_user"),
        "superuser": await login.fetchval("SELECT current_setting('is_superuser')"),
        "reads its tasks": await outcome(tried(login, "SELECT count(*) FROM task")),
        "reads the users": await outcome(tried(login, 'SELECT count(*) FROM auth."user"')),
        "becomes the other role": await outcome(tried(login, "SET ROLE frontend")),
        "reads the passwords": await outcome(tried(login, "SELECT rolpassword FROM pg_authid")),
        "makes a table for all": await outcome(tried(login, "CREATE TABLE public.found (x int)")),
        "makes a role": await outcome(tried(login, "CREATE ROLE more")),
        "connects without TLS": await outcome(asyncpg.connect(URL.split("?")[0], ssl=False)),
        "trusts another authority": await outcome(asyncpg.connect(URL.split("?")[0], ssl=ssl.create_default_context())),
        "trusts another name": await outcome(asyncpg.connect(address)),
        "connects as the superuser": await outcome(asyncpg.connect(user="postgres", password="postgres", ssl=trust, **PLACE)),
        "connects with another password": await outcome(asyncpg.connect(user=PARTS.username, password="another", ssl=trust, **PLACE)),
    }
    # What is true of a connection is shown to the login itself, and to the role only what is of the role.
    await login.execute("SET ROLE NONE")
    results["encrypted"] = await login.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    await login.close()
    return results


print(json.dumps(asyncio.run(main())))
