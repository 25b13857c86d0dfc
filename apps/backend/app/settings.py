"""Settings from the environment. Every NAME may be given as NAME_FILE, the path of a file that holds the value."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

# What people leave in example files: a deployment that starts with one of these is a deployment without a secret.
PLACEHOLDER = re.compile(
    r"^(change[-_ ]?me.*|placeholder.*|replace[-_ ]?(me|this).*|your[-_ ].*|<.*>|\$\{.*\}|x{3,}"
    r"|todo|example|secret|password|dummy|none|null)$",
    re.IGNORECASE,
)

# Parameters of libpq that asyncpg does not know; of those about TLS, database_tls makes its own.
LIBPQ = ("channel_binding", "ssl", "sslmode", "sslrootcert")


class SettingsError(Exception):
    """The environment cannot be used; each problem names the variable and never shows its value."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


def _http_url(value: str) -> str:
    url = urlsplit(value)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("must be an http:// or https:// URL")
    return value.rstrip("/")


def _database_url(value: SecretStr) -> SecretStr:
    try:
        url = make_url(value.get_secret_value())
    except ArgumentError:
        raise ValueError("is not a database URL") from None
    if url.drivername.split("+")[0] not in ("postgres", "postgresql"):
        raise ValueError("must be a postgresql:// URL")
    if not url.host or not url.database:
        raise ValueError("must name a host and a database")
    if url.password and PLACEHOLDER.match(str(url.password)):
        raise ValueError("has a placeholder as its password: set a real one")
    authority = url.query.get("sslrootcert")
    if authority and not Path(str(authority)).is_file():
        raise ValueError(f"names the certificate {authority} (sslrootcert), which is not there")
    return value


def _not_placeholder(value: SecretStr) -> SecretStr:
    if PLACEHOLDER.match(value.get_secret_value()):
        raise ValueError("is a placeholder: set a real value")
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]
Secret = Annotated[SecretStr, Field(min_length=8), AfterValidator(_not_placeholder)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class DatabaseSettings(BaseModel):
    """What is needed to reach PostgreSQL; all that migrations need."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    database_url: Annotated[SecretStr, AfterValidator(_database_url)]
    app_version: str = "development"
    # A release overlaps with the one before it: 2 x (size + overflow) x replicas must fit into max_connections.
    database_pool_size: int = Field(10, ge=1, le=200)
    database_max_overflow: int = Field(5, ge=0, le=200)
    database_pool_timeout: Seconds = 10
    database_pool_recycle: Seconds = 1800
    database_connect_timeout: Seconds = 3
    database_command_timeout: Seconds = 10

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> DatabaseSettings:
        """Read the settings of this class; raise SettingsError with every problem at once."""
        values, problems = _collect(cls, environ)
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            problems += [_describe(detail) for detail in error.errors(include_input=False, include_context=False)]
        if problems:
            raise SettingsError(problems)
        return settings

    @property
    def sqlalchemy_url(self) -> URL:
        """The URL for asyncpg, whichever dialect it was written for and without libpq's own parameters."""
        url = make_url(self.database_url.get_secret_value()).set(drivername="postgresql+asyncpg")
        return url.set(query={name: value for name, value in url.query.items() if name not in LIBPQ})

    @property
    def database_tls(self) -> ssl.SSLContext | str | None:
        """How the URL's sslmode and sslrootcert want the connection, as asyncpg takes it; None leaves it to asyncpg."""
        query = make_url(self.database_url.get_secret_value()).query
        mode, authority = query.get("sslmode") or query.get("ssl"), query.get("sslrootcert")
        if not authority or mode not in ("verify-ca", "verify-full"):
            return str(mode) if mode else None
        context = ssl.create_default_context(cafile=str(authority))
        context.check_hostname = mode == "verify-full"
        return context


class Settings(DatabaseSettings):
    """All settings of the service."""

    app_revision: str = "unknown"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    public_url: HttpUrl
    auth_jwks_url: HttpUrl
    auth_issuer: str
    auth_audience: str
    auth_jwks_ttl: Seconds = 600
    auth_jwks_refetch_interval: Seconds = 5

    openai_base_url: HttpUrl = "https://api.openai.com/v1"
    openai_api_key: Secret
    openai_model: str = "gpt-4.1-mini"
    openai_timeout: Seconds = 30
    openai_max_retries: int = Field(2, ge=0, le=5)
    openai_agents_disable_tracing: bool = True

    mcp_url: HttpUrl = "http://127.0.0.1:8000/mcp"
    mcp_timeout: Seconds = 15
    mcp_max_retries: int = Field(2, ge=0, le=5)
    # Comma-separated additions to the Host and Origin policy of /mcp.
    mcp_allowed_hosts: str = ""
    mcp_allowed_origins: str = ""

    chat_timeout: Seconds = 90
    chat_queue_timeout: Seconds = 30
    chat_concurrency: int = Field(64, ge=1, le=1000)
    chat_max_turns: int = Field(12, ge=1, le=50)
    chat_history_turns: int = Field(20, ge=0, le=200)
    chat_message_max_length: int = Field(4000, ge=1, le=100_000)
    stream_keepalive: Seconds = 15
    shutdown_grace: Seconds = 25

    max_body_bytes: int = Field(65_536, ge=1024)
    # Per user and replica; 0 switches a limit off.
    rate_limit_per_minute: int = Field(6000, ge=0)
    chat_rate_limit_per_minute: int = Field(600, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _public_url_is_the_default(cls, values: dict[str, Any]) -> dict[str, Any]:
        public_url = str(values.get("public_url", "")).rstrip("/")
        return {"auth_issuer": public_url, "auth_audience": public_url, **values}

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> Settings:
        """Read all settings; raise SettingsError with every problem at once."""
        return cast(Settings, super().load(environ))


def _collect(model: type[BaseModel], environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The values of a model's fields from NAME or NAME_FILE, and what was wrong. An empty value counts as not set."""
    values: dict[str, str] = {}
    problems: list[str] = []
    for field in model.model_fields:
        name = field.upper()
        value, path = environ.get(name), environ.get(f"{name}_FILE")
        if value and path:
            problems.append(f"{name} and {name}_FILE are both set: keep one")
        elif path:
            try:
                value = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                problems.append(f"{name}_FILE cannot be read: {type(error).__name__}")
                value = ""
        if value:
            values[field] = value
    return values, problems


def _describe(detail: Any) -> str:
    name = str(detail["loc"][0]).upper()
    if detail["type"] == "missing":
        return f"{name} is missing: set {name} or {name}_FILE"
    return f"{name} {detail['msg'].removeprefix('Value error, ')}"
