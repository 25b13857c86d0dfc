"""The environment variables that a source reads, and what each is for, by its name and its use."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from .checks import TESTS, line_of
from .javascript_modules import CODE, Frontend, without_comments
from .python_modules import Application
from .python_routes import called, keyword

READERS = {"getenv", "get", "config", "env", "str", "get_env", "getenv_or_raise"}
ENVIRONMENTS = re.compile(r"^(os\.)?environ$|^(config|env|environ|starlette_config)$")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A source that reads NAME_FILE for any NAME.
FILES = re.compile(r"""(\}|["'`]|\+\s*["'`])_FILE["'`]""")

# --- what a name says -----------------------------------------------------------------------------------------------------------
DATABASE = re.compile(r"^(\w+_)?(DATABASE|DB|POSTGRES(QL)?|PG|SQLALCHEMY_DATABASE|SQL)_?(URL|URI|DSN|CONNECTION_STRING)(_\w+)?$|^DSN$")
OTHER_DATABASE = re.compile(r"REDIS|MONGO|MYSQL|SQLITE|TEST|NEO4J|ELASTIC|VECTOR|QDRANT|CLICKHOUSE")
PARTS = re.compile(
    r"^(POSTGRES|PG|DB|DATABASE)_?(SERVER|HOST|HOSTNAME|PORT|USER|USERNAME|PASSWORD|PASS|PWD|DB|NAME|DATABASE|DB_NAME|DATABASE_NAME)$"
)
PART = {
    **dict.fromkeys(("SERVER", "HOST", "HOSTNAME"), "host"),
    "PORT": "port",
    **dict.fromkeys(("USER", "USERNAME"), "user"),
    **dict.fromkeys(("PASSWORD", "PASS", "PWD"), "password"),
    **dict.fromkeys(("DB", "NAME", "DATABASE", "DB_NAME", "DATABASE_NAME"), "name"),
}
# Keys with which an application signs or encrypts for itself: nobody else needs to know them, so they can be drawn.
OWN_KEY = re.compile(
    r"^((JWT|AUTH|SESSION|APP|APPLICATION|COOKIE|CSRF|TOKEN|ACCESS|REFRESH|ACCESS_TOKEN|REFRESH_TOKEN|BETTER_AUTH|NEXTAUTH|NEXT_AUTH|SIGNING|API|"
    r"BACKEND|SERVER|FASTAPI|FLASK|DJANGO|SECURITY|PASSWORD_RESET|RESET_PASSWORD|RESET|VERIFICATION|RESET_TOKEN|VERIFICATION_TOKEN|INTERNAL|HASH|HASHING|"
    r"STATE|USERS|USER_MANAGER|IRON_SESSION|CRON)_)*(SECRET|SECRET_KEY|SIGNING_KEY|SIGNING_SECRET|JWT_KEY|SESSION_KEY|COOKIE_PASSWORD)$|^JWT_SECRET\w*$"
)
SECRET = re.compile(
    r"(SECRET|PASSWORD|PASSWD|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIALS?|SERVICE_?ROLE(_KEY)?|SECRET_?(ACCESS_)?KEY|_DSN|ENCRYPTION_KEY)$"
)
NOT_SECRET = re.compile(
    r"(PUBLISHABLE|PUBLIC|SITE)_|_(EXPIRE|EXPIRES|TTL|MINUTES|URL|NAME|LENGTH|ALGORITHM)\w*$|^(MAX|MIN|NUM|USE)_|ALLOW_CREDENTIALS$|(MAX|OUTPUT|INPUT)_TOKEN"
)
BACKEND_ADDRESS = re.compile(
    r"^(INTERNAL_|SERVER_|PRIVATE_)*(BACKEND|API|FASTAPI|BACKEND_API|API_SERVER|API_BACKEND|PYTHON_API|API_BASE|BACKEND_BASE|API_PROXY|API_PROXY_TARGET|"
    r"BACKEND_INTERNAL|API_INTERNAL|INTERNAL_API|CORE_API)_?(URL|URI|ORIGIN|HOST_URL|BASE_URL|ENDPOINT|BASE|TARGET)$|^INTERNAL_API$"
)
PUBLIC_BACKEND = re.compile(
    r"^NEXT_PUBLIC_(BACKEND|API|FASTAPI|BACKEND_API|API_SERVER|API_BASE|BACKEND_BASE|SERVER|CHAT_API|CHATBOT_API|REST_API)_?(URL|URI|ORIGIN|BASE_URL|"
    r"ENDPOINT|BASE|HOST|BASE_PATH)?$"
)
PUBLIC_SITE = re.compile(
    r"^(NEXT_PUBLIC_)?(APP|SITE|BASE|WEB|FRONTEND|PUBLIC|BETTER_AUTH|AUTH|NEXTAUTH|VERCEL|CLIENT|HOST|WEBSITE|ROOT|APP_BASE|AUTH_BASE)_?(URL|ORIGIN|URI|"
    r"BASE_URL|HOST_URL)$"
)
PUBLIC_SOCKET = re.compile(r"^NEXT_PUBLIC_(\w+_)?(WS|WSS|WEBSOCKET|SOCKET)(_\w+)?$")
FRONTEND_ADDRESS = re.compile(
    r"^(FRONTEND|CLIENT|WEB|APP|SITE|PUBLIC|BASE|BETTER_AUTH|DOMAIN|SERVER|BACKEND)_?(URL|ORIGIN|HOST|BASE_URL|PUBLIC_URL)$"
)
# Redis or Valkey: its whole address, or a part of it.
REDIS = re.compile(
    r"^(\w+_)?(REDIS|VALKEY)(_\w+)?_?(URL|URI|DSN)$|^(CELERY|DRAMATIQ|ARQ|RQ|TASKIQ)?_?(BROKER(_URL)?|RESULT_BACKEND(_URL)?)$"
)
REDIS_PART = re.compile(r"^(?:\w+_)?(?:REDIS|VALKEY)_(HOST|HOSTNAME|SERVER|PORT|PASSWORD|PASS)$")
ORIGINS = re.compile(r"^(\w+_)?(CORS|ALLOWED|ALLOW|TRUSTED|FRONTEND|CLIENT)\w*_ORIGINS?(_\w+)?$|^(CORS_)?ORIGINS?$")
# Where the keys that sign tokens are.
KEYS = re.compile(r"(^|_)JWKS?_(URL|URI|ENDPOINT)$")
# Given by the platform, or meant for tools.
STANDARD = re.compile(
    r"^(NODE_ENV|PORT|HOST|HOSTNAME|CI|PATH|HOME|TZ|LANG|DEBUG|VERCEL\w*|NEXT_RUNTIME|NEXT_PHASE|ANALYZE|npm_\w+|LOG_LEVEL|PWD|USER)$"
)


@dataclass(frozen=True)
class Read:
    """One variable: where the source reads it, what it falls back to (None: nothing)."""

    name: str
    where: str
    default: str | None = None
    required: bool = False
    type: str = ""  # as it is annotated


def merged(reads: Iterator[Read]) -> dict[str, Read]:
    """One reading of each variable: the one that demands it, otherwise the first."""
    found: dict[str, Read] = {}
    for read in reads:
        if read.name not in found or (read.required and not found[read.name].required):
            found[read.name] = read
    return found


def kind(name: str) -> str:
    """What a variable is for: database, part, own key, secret, and so on; empty where the name does not say."""
    if STANDARD.match(name):
        return "standard"
    if not name.startswith("NEXT_PUBLIC_"):
        if DATABASE.match(name) and not OTHER_DATABASE.search(name):
            return "database"
        if PARTS.match(name):
            return "part"
        if name == "OPENAI_API_KEY":
            return "model"
        if OWN_KEY.match(name):
            return "own key"
        if SECRET.search(name) and not NOT_SECRET.search(name):
            return "secret"
        if BACKEND_ADDRESS.match(name):
            return "backend address"
    for what, pattern in (("public backend", PUBLIC_BACKEND), ("site", PUBLIC_SITE), ("socket", PUBLIC_SOCKET)):
        if pattern.match(name):
            return what
    return "public" if name.startswith("NEXT_PUBLIC_") else ""


def beside_a_secret(name: str, reads: Collection[str]) -> bool:
    """Whether a variable is what somebody registers together with a secret (GOOGLE_CLIENT_ID with GOOGLE_CLIENT_SECRET): given as it is."""
    return name.endswith("_ID") and not name.startswith("NEXT_PUBLIC_") and f"{name.removesuffix('ID')}SECRET" in reads


# --- Python -----------------------------------------------------------------------------------------------------------------------


def of_python(application: Application) -> dict[str, Read]:
    """By name: the variables that a Python source reads."""
    return merged(read for path in _python(application) for read in _python_file(application, path))


def _python(application: Application) -> list[str]:
    return [path for path in application.tree.files if path.endswith(".py") and not TESTS.search(path)]


def reads_files(texts: Iterator[str | None]) -> bool:
    """Whether a source takes each variable from the file that NAME_FILE names, too."""
    return any(text and FILES.search(text) for text in texts)


def python_texts(application: Application) -> Iterator[str | None]:
    return (application.tree.text(path) for path in _python(application))


def _python_file(application: Application, path: str) -> Iterator[Read]:
    text = application.tree.text(path) or ""
    if not re.search(r"environ|getenv|Settings|config\(|env\(", text) or not (body := application.parsed(path)):
        return
    for node in ast.walk(body):
        if isinstance(node, ast.Subscript) and ENVIRONMENTS.match(ast.unparse(node.value)):
            if isinstance(node.ctx, ast.Load) and (name := name_of(node.slice)):
                yield Read(name, f"{path}:{node.lineno}", None, True)
        elif isinstance(node, ast.Call) and called(node) in READERS and node.args and (name := name_of(node.args[0])):
            owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
            if ENVIRONMENTS.match(owner) or (not owner and called(node) != "get") or called(node) == "getenv":
                default = node.args[1] if len(node.args) > 1 else keyword(node, "default")
                if owner or called(node) == "getenv" or name.isupper():
                    yield Read(name, f"{path}:{node.lineno}", _text(default), called(node) in ("config", "env") and default is None)
        elif isinstance(node, ast.ClassDef) and any(re.search(r"Settings$", ast.unparse(base)) for base in node.bases):
            yield from fields(path, node)


def name_of(node: ast.expr) -> str:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) and NAME.fullmatch(value) else ""


def _text(node: ast.expr | None) -> str | None:
    if isinstance(node, ast.Constant) and node.value is not None:
        return str(node.value)
    return ast.unparse(node) if node is not None and not isinstance(node, ast.Constant) else None


def fields(path: str, node: ast.ClassDef) -> Iterator[Read]:
    """The fields of a class of pydantic-settings."""
    prefix = next(
        (str(_text(value)) for one in ast.walk(node) for value in [_prefix(one)] if value is not None),
        "",
    )
    for field in node.body:
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name) or "ClassVar" in ast.unparse(field.annotation):
            continue
        name, default, value = (prefix + field.target.id).upper(), field.value, field.value
        if field.target.id == "model_config":
            continue
        if isinstance(value, ast.Call) and called(value) == "Field":
            default = value.args[0] if value.args else keyword(value, "default") or keyword(value, "default_factory")
            if isinstance(default, ast.Constant) and default.value is Ellipsis:
                default = None
            for word in ("validation_alias", "alias", "env"):
                given = keyword(value, word)
                aliases = [name_of(one) for one in (given.args if isinstance(given, ast.Call) else [given]) if one is not None]
                if alias := next(filter(None, aliases), ""):
                    name = alias.upper()
                    break
        if name.startswith("_"):
            continue
        optional = "None" in ast.unparse(field.annotation) or "Optional" in ast.unparse(field.annotation)
        required = default is None and not (optional and value is not None)
        yield Read(name, f"{path}:{field.lineno}", _text(default), required, ast.unparse(field.annotation))


def _prefix(node: ast.AST) -> ast.expr | None:
    if isinstance(node, ast.Call) and called(node) == "SettingsConfigDict":
        return keyword(node, "env_prefix")
    if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == "env_prefix" for one in node.targets):
        return node.value
    if isinstance(node, ast.Dict):
        return next(
            (
                value
                for key, value in zip(node.keys, node.values, strict=True)
                if isinstance(key, ast.Constant) and key.value == "env_prefix"
            ),
            None,
        )
    return None


# --- JavaScript -----------------------------------------------------------------------------------------------------------------

PROCESS = re.compile(
    r"\b(?:process|import\.meta)\.env(?:\.(?P<name>[A-Z][A-Z0-9_]*)|\[\s*[\"'](?P<quoted>[A-Z][A-Z0-9_]*)[\"']\s*\])(?P<not_null>!)?"
    r"(?:\s*(?:\?\?|\|\|)\s*(?P<quote>[\"'`])(?P<default>[^\"'`\n]*)(?P=quote))?"
)
TAKEN_APART = re.compile(r"\{([^{}]*)\}\s*=\s*process\.env\b")


def javascript_files(frontend: Frontend) -> list[str]:
    """Code of the application and of the packages beside it, without tests."""
    return [
        path for path in frontend.tree.files if path.endswith(CODE) and not TESTS.search(path) and not re.search(r"(^|/)scripts/", path)
    ]


def of_javascript(frontend: Frontend) -> dict[str, Read]:
    """By name: the variables that a JavaScript source reads."""
    return merged(read for path in javascript_files(frontend) for read in _javascript_file(frontend, path))


def _javascript_file(frontend: Frontend, path: str) -> Iterator[Read]:
    text = frontend.tree.text(path) or ""
    if ".env" not in text:
        return
    code = without_comments(text)
    for match in PROCESS.finditer(code):
        name = match["name"] or match["quoted"]
        yield Read(name, f"{path}:{line_of(code, match.start())}", match["default"], bool(match["not_null"]))
    for match in TAKEN_APART.finditer(code):
        for name in re.findall(r"(?:^|,)\s*([A-Z][A-Z0-9_]*)", match[1]):
            yield Read(name, f"{path}:{line_of(code, match.start())}")
