"""Settings: by variable or by file, refused by name, and never shown."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from app.settings import DatabaseSettings, Settings, SettingsError
from tests.support import BACKEND

GOOD = {
    "DATABASE_URL": "postgresql://backend:s3cure-enough@database:5432/app",
    "PUBLIC_URL": "https://tasks.example.org/",
    "AUTH_JWKS_URL": "http://frontend:3000/api/auth/jwks",
    "OPENAI_API_KEY": "sk-not-a-placeholder",
}


def problems_of(**changes: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        Settings.load({**GOOD, **changes})
    return caught.value.problems


def test_defaults_follow_the_public_url() -> None:
    settings = Settings.load(GOOD)
    assert settings.auth_issuer == settings.auth_audience == settings.public_url == "https://tasks.example.org"
    assert settings.openai_agents_disable_tracing is True


def test_issuer_and_audience_may_differ() -> None:
    settings = Settings.load({**GOOD, "AUTH_ISSUER": "https://id.example.org", "AUTH_AUDIENCE": "tasks"})
    assert (settings.auth_issuer, settings.auth_audience) == ("https://id.example.org", "tasks")


def test_a_setting_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("  sk-from-a-file\n")
    environ = {name: value for name, value in GOOD.items() if name != "OPENAI_API_KEY"}
    assert (
        Settings.load({**environ, "OPENAI_API_KEY_FILE": str(file)}).openai_api_key.get_secret_value()
        == "sk-from-a-file"
    )


def test_both_a_value_and_a_file_are_refused(tmp_path: Path) -> None:
    assert problems_of(OPENAI_API_KEY_FILE=str(tmp_path)) == [
        "OPENAI_API_KEY and OPENAI_API_KEY_FILE are both set: keep one"
    ]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    problems = problems_of(OPENAI_API_KEY="", OPENAI_API_KEY_FILE=str(tmp_path / "none"))
    assert problems[0] == "OPENAI_API_KEY_FILE cannot be read: FileNotFoundError"


@pytest.mark.parametrize("name", sorted(GOOD))
def test_what_is_missing_is_named(name: str) -> None:
    assert any(
        problem.startswith(f"{name} is missing: set {name} or {name}_FILE") for problem in problems_of(**{name: ""})
    )


@pytest.mark.parametrize(
    "value", ["changeme-please", "your-api-key", "<api-key>", "${OPENAI_API_KEY}", "xxxxxxxxxx", "PLACEHOLDER"]
)
def test_placeholders_are_refused_without_being_shown(value: str) -> None:
    problems = problems_of(OPENAI_API_KEY=value)
    assert problems == ["OPENAI_API_KEY is a placeholder: set a real value"]


def test_a_placeholder_as_password_is_refused() -> None:
    problems = problems_of(DATABASE_URL="postgresql://backend:changeme@database/app")
    assert problems == ["DATABASE_URL has a placeholder as its password: set a real one"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("mysql://u:p@h/d", "must be a postgresql:// URL"),
        ("postgresql:///app", "must name a host and a database"),
        ("not a url", "is not a database URL"),
    ],
)
def test_database_urls_that_cannot_work(value: str, reason: str) -> None:
    assert problems_of(DATABASE_URL=value) == [f"DATABASE_URL {reason}"]


def test_all_problems_are_told_at_once() -> None:
    problems = problems_of(PUBLIC_URL="ftp://x", LOG_LEVEL="LOUD", DATABASE_POOL_SIZE="0", OPENAI_API_KEY="")
    assert sorted(problem.split()[0] for problem in problems) == [
        "DATABASE_POOL_SIZE",
        "LOG_LEVEL",
        "OPENAI_API_KEY",
        "PUBLIC_URL",
    ]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg2"])
def test_any_dialect_becomes_asyncpg(scheme: str) -> None:
    settings = DatabaseSettings.load(
        {"DATABASE_URL": f"{scheme}://u:long-enough@h:5433/d?sslmode=require&channel_binding=prefer"}
    )
    url = settings.sqlalchemy_url
    assert (url.drivername, url.port, dict(url.query)) == ("postgresql+asyncpg", 5433, {})


def _tls(query: str) -> ssl.SSLContext | str | None:
    return DatabaseSettings.load({"DATABASE_URL": f"postgresql://u:long-enough@h/d{query}"}).database_tls


def test_how_a_connection_is_encrypted(tmp_path: Path) -> None:
    assert _tls("") is None
    assert _tls("?sslmode=require") == _tls("?ssl=require") == "require"
    authority = tmp_path / "ca.crt"
    authority.write_text(_authority())
    full, some = (_tls(f"?sslmode={mode}&sslrootcert={authority}") for mode in ("verify-full", "verify-ca"))
    assert isinstance(full, ssl.SSLContext)
    assert isinstance(some, ssl.SSLContext)
    assert (full.check_hostname, full.verify_mode, len(full.get_ca_certs())) == (True, ssl.CERT_REQUIRED, 1)
    assert (some.check_hostname, some.verify_mode) == (False, ssl.CERT_REQUIRED)


def test_an_authority_that_is_not_there_is_named() -> None:
    assert problems_of(DATABASE_URL="postgresql://u:long-enough@h/d?sslmode=verify-full&sslrootcert=/no/ca.crt") == [
        "DATABASE_URL names the certificate /no/ca.crt (sslrootcert), which is not there"
    ]


def _authority() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
    today = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(
            name, name, key.public_key(), x509.random_serial_number(), today, today + timedelta(days=1)
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def test_secrets_do_not_show_in_repr() -> None:
    shown = repr(Settings.load(GOOD))
    assert "s3cure-enough" not in shown
    assert "sk-not-a-placeholder" not in shown


def test_the_process_ends_with_one_line_that_names_the_variable() -> None:
    environ = (
        {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
        | GOOD
        | {"OPENAI_API_KEY": "changeme!"}
    )
    run = subprocess.run(
        [sys.executable, "-m", "uvicorn", "app.main:app", "--port", "1"],
        cwd=BACKEND,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert json.loads(line) == {
        "level": "ERROR",
        "message": "configuration refused",
        "problems": ["OPENAI_API_KEY is a placeholder: set a real value"],
    }
