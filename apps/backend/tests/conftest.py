"""Everything is started once for the whole run; tests keep apart by having users of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.support import API_KEY, MOCK_LLM, Issuer, Postgres, Process, ScriptedModel, alembic, running_backend

BINARIES = Path(os.environ.get("POSTGRES_BINARIES", "/usr/lib/postgresql/15/bin"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server that tests may kill (and must start again)."""
    if not (BINARIES / "initdb").exists():
        pytest.fail(f"no PostgreSQL in {BINARIES}: apt-get install postgresql-15, or set POSTGRES_BINARIES")
    server = Postgres(BINARIES)
    server.start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def database_url(request: pytest.FixtureRequest) -> str:
    """TEST_DATABASE_URL, or the tests' own server; migrated."""
    url: str = os.environ.get("TEST_DATABASE_URL") or request.getfixturevalue("postgres").url
    migrated = alembic(url, "upgrade", "head")
    assert migrated.returncode == 0, migrated.stderr
    return url


@pytest.fixture(scope="session")
def issuer() -> Iterator[Issuer]:
    server = Issuer()
    yield server
    server.close()


@pytest.fixture(scope="session")
def mock_llm() -> Iterator[Process]:
    """The mock LLM."""
    server = Process(MOCK_LLM, {"MOCK_LLM_API_KEY": API_KEY}, covered=False)
    yield server.wait()
    server.close()


@pytest.fixture(scope="session")
def scripted() -> Iterator[ScriptedModel]:
    """A model's endpoint that does what a test tells it to."""
    server = ScriptedModel()
    yield server
    server.close()


@pytest.fixture(scope="session")
def backend(database_url: str, issuer: Issuer, mock_llm: Process) -> Iterator[Process]:
    """The service."""
    with running_backend(database_url, issuer, mock_llm.url) as process:
        yield process.wait("/health/ready")


@pytest.fixture(scope="session")
def impatient(database_url: str, issuer: Issuer, scripted: ScriptedModel) -> Iterator[Process]:
    """Another replica on the same database, with short time-outs and low limits, and the scripted model."""
    changes = {
        "OPENAI_TIMEOUT": "1",
        "OPENAI_MAX_RETRIES": "1",
        "CHAT_TIMEOUT": "3",
        "CHAT_MAX_TURNS": "3",
        "CHAT_CONCURRENCY": "2",
        "CHAT_QUEUE_TIMEOUT": "0.5",
        "CHAT_MESSAGE_MAX_LENGTH": "100",
        "CHAT_RATE_LIMIT_PER_MINUTE": "20",
        "STREAM_KEEPALIVE": "0.3",
        "MAX_BODY_BYTES": "4096",
        "LOG_LEVEL": "DEBUG",
    }
    with running_backend(database_url, issuer, scripted.url, **changes) as process:
        yield process.wait("/health/ready")


@pytest.fixture
def user() -> str:
    """A user that no other test has."""
    return f"user-{uuid4().hex[:12]}"


@pytest.fixture
def client(backend: Process, issuer: Issuer, user: str) -> Iterator[httpx.Client]:
    """A client of the service, signed in as `user`."""
    with httpx.Client(base_url=backend.url, headers=issuer.headers(user), timeout=30, trust_env=False) as http:
        yield http


@pytest.fixture
def impatient_client(impatient: Process, issuer: Issuer, user: str) -> Iterator[httpx.Client]:
    """A client of the impatient replica, signed in as the same user."""
    with httpx.Client(base_url=impatient.url, headers=issuer.headers(user), timeout=30, trust_env=False) as http:
        yield http


@pytest.fixture
def signed_in(backend: Process, issuer: Issuer) -> Iterator[Callable[[str], httpx.Client]]:
    """Clients for further users."""
    clients: list[httpx.Client] = []

    def sign_in(subject: str) -> httpx.Client:
        headers = issuer.headers(subject)
        clients.append(httpx.Client(base_url=backend.url, headers=headers, timeout=30, trust_env=False))
        return clients[-1]

    yield sign_in
    for http in clients:
        http.close()
