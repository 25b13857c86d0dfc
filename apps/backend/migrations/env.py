"""Alembic's environment: the service's own settings and engine; one migration at a time."""

from __future__ import annotations

import asyncio
import json
import os
import sys

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlmodel import SQLModel

from app import models  # noqa: F401  # fills the metadata
from app.database import create_engine, is_away
from app.settings import DatabaseSettings, SettingsError

LOCK = 4_702_111  # any number, the same for every replica
WAIT_SECONDS = 30


def migrate(connection: Connection) -> None:
    """Run the migrations in one transaction, after any other that is running."""
    context.configure(connection=connection, target_metadata=SQLModel.metadata, compare_type=True)
    with context.begin_transaction():
        # A migration waits a little for a lock, and not for ever with every other request queued behind it.
        connection.execute(text("SET LOCAL lock_timeout = '10s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()


async def connect(engine: AsyncEngine) -> AsyncConnection:
    """A connection; waits for a database that is just starting."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + WAIT_SECONDS
    while True:
        try:
            return await engine.connect()
        except Exception as error:
            if not is_away(error) or loop.time() > deadline:
                raise
            await asyncio.sleep(1)


async def online() -> None:
    """Migrate the database that the settings name."""
    engine = create_engine(DatabaseSettings.load(os.environ))
    try:
        connection = await connect(engine)
        try:
            await connection.run_sync(migrate)
            await connection.commit()
        finally:
            await connection.close()
    finally:
        await engine.dispose()


if context.is_offline_mode():
    context.configure(dialect_name="postgresql", target_metadata=SQLModel.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()
else:
    try:
        asyncio.run(online())
    except SettingsError as error:
        print(
            json.dumps({"level": "ERROR", "message": "configuration refused", "problems": error.problems}),
            file=sys.stderr,
        )
        raise SystemExit(1) from None
