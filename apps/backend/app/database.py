"""The connection pool, and which errors mean that the database is away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel.ext.asyncio.session import AsyncSession

from app.problems import ProblemError, unavailable
from app.settings import DatabaseSettings

logger = logging.getLogger(__name__)

# SQLSTATE classes: connection exception, read-only (a failover), wrong password and no such database (a deployment or a
# rotation on its way), insufficient resources, operator intervention (shutting down or starting up).
AWAY_SQLSTATES = ("08", "25006", "28", "3D", "53", "57P")
AWAY_ERRORS = (OSError, PoolTimeoutError, InterfaceError, OperationalError)  # TimeoutError is an OSError


def is_away(error: BaseException) -> bool:
    """Whether an error says that PostgreSQL cannot be reached now (and not that a statement was wrong)."""
    if isinstance(error, AWAY_ERRORS):
        return True
    sqlstate = getattr(getattr(error, "orig", error), "sqlstate", None) or ""
    if isinstance(error, DBAPIError) and (error.connection_invalidated or isinstance(error.orig, OSError)):
        return True
    return sqlstate.startswith(AWAY_SQLSTATES)


def create_engine(settings: DatabaseSettings) -> AsyncEngine:
    """A pool that notices dead connections; `hide_parameters` keeps what users wrote out of errors."""
    tls = settings.database_tls
    return create_async_engine(
        settings.sqlalchemy_url,
        pool_size=settings.database_pool_size,
        max_overflow=settings.database_max_overflow,
        pool_timeout=settings.database_pool_timeout,
        pool_recycle=int(settings.database_pool_recycle),
        pool_pre_ping=True,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "timeout": settings.database_connect_timeout,
            "command_timeout": settings.database_command_timeout,
            "server_settings": {"application_name": f"backend-{settings.app_version}"[:63]},
            **({"ssl": tls} if tls else {}),
        },
    )


class Database:
    """Sessions for the services. It connects when first used, so a database that is away does not stop the start."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self.engine = create_engine(settings)
        self.most_connections = settings.database_pool_size + settings.database_max_overflow

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A transaction: committed at the end, rolled back on an error; 503 when the database is away."""
        try:
            async with AsyncSession(self.engine, expire_on_commit=False) as session, session.begin():
                yield session
        except Exception as error:
            if not is_away(error):
                raise
            logger.warning("database unavailable", exc_info=True)
            raise unavailable("database", "The database cannot be reached. Try again in a moment.") from error

    async def ping(self, seconds: float = 2) -> None:
        """Ask the database for an answer within `seconds`; also an error when the tables are missing."""
        async with asyncio.timeout(seconds), self.session() as session:
            await session.execute(text("SELECT 1 FROM task LIMIT 1"))

    async def check_capacity(self) -> None:
        """Warn when two releases that overlap could ask for more connections than the server gives."""
        query = "SELECT sum(setting::int * CASE name WHEN 'max_connections' THEN 1 ELSE -1 END) FROM pg_settings "
        names = "WHERE name IN ('max_connections', 'superuser_reserved_connections')"
        try:
            async with self.session() as session:
                given = int((await session.execute(text(query + names))).scalar_one())
        except ProblemError:
            return  # said already; this check is not worth waiting for
        if 2 * self.most_connections > given:
            fields = {"pool": self.most_connections, "server": given}
            logger.warning("the pool is too large for two overlapping releases", extra={"fields": fields})

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()
