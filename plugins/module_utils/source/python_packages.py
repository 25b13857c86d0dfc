"""What is known of Python packages without asking an index: which import belongs to which distribution, and what brings what along."""

from __future__ import annotations

import re


def normal(name: str) -> str:
    """A distribution's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


# Imports whose name is not that of their distribution (any of them, where there are several).
IMPORTS: dict[str, tuple[str, ...]] = {
    "agents": ("openai-agents",),
    "attr": ("attrs",),
    "attrs": ("attrs",),
    "bs4": ("beautifulsoup4",),
    "chainlit": ("chainlit",),
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python"),
    "Crypto": ("pycryptodome",),
    "dateutil": ("python-dateutil",),
    "decouple": ("python-decouple",),
    "discord": ("discord-py",),
    "docx": ("python-docx",),
    "docker": ("docker",),
    "dotenv": ("python-dotenv",),
    "environ": ("django-environ", "environ-config"),
    "faiss": ("faiss-cpu", "faiss-gpu"),
    "fastapi_users": ("fastapi-users",),
    "fastapi_mail": ("fastapi-mail",),
    "fitz": ("pymupdf",),
    "pymupdf": ("pymupdf",),
    "git": ("gitpython",),
    "github": ("pygithub",),
    "grpc": ("grpcio",),
    "jose": ("python-jose",),
    "josepy": ("josepy",),
    "jwt": ("pyjwt",),
    "kafka": ("kafka-python", "kafka-python-ng"),
    "langchain_community": ("langchain-community",),
    "langchain_core": ("langchain-core",),
    "langchain_openai": ("langchain-openai",),
    "ldap": ("python-ldap",),
    "lxml": ("lxml",),
    "magic": ("python-magic",),
    "markdown": ("markdown",),
    "mistralai": ("mistralai",),
    "multipart": ("python-multipart", "multipart"),
    "MySQLdb": ("mysqlclient",),
    "nacl": ("pynacl",),
    "OpenSSL": ("pyopenssl",),
    "PIL": ("pillow",),
    "pkg_resources": ("setuptools",),
    "pptx": ("python-pptx",),
    "psycopg": ("psycopg", "psycopg-binary"),
    "psycopg2": ("psycopg2-binary", "psycopg2"),
    "psycopg_pool": ("psycopg-pool",),
    "pydantic_settings": ("pydantic-settings",),
    "python_multipart": ("python-multipart",),
    "qdrant_client": ("qdrant-client",),
    "rest_framework": ("djangorestframework",),
    "ruamel": ("ruamel-yaml",),
    "serial": ("pyserial",),
    "skimage": ("scikit-image",),
    "sklearn": ("scikit-learn",),
    "sentence_transformers": ("sentence-transformers",),
    "sentry_sdk": ("sentry-sdk",),
    "slack_sdk": ("slack-sdk",),
    "slugify": ("python-slugify",),
    "socketio": ("python-socketio",),
    "engineio": ("python-engineio",),
    "sse_starlette": ("sse-starlette",),
    "starlette": ("starlette",),
    "telegram": ("python-telegram-bot",),
    "ulid": ("python-ulid", "ulid-py"),
    "usb": ("pyusb",),
    "uuid6": ("uuid6",),
    **dict.fromkeys(("pythoncom", "pywintypes", "win32api", "win32con", "win32file"), ("pywin32",)),
    "yaml": ("pyyaml",),
    "zmq": ("pyzmq",),
    "google": ("google-genai",),
    "prometheus_fastapi_instrumentator": ("prometheus-fastapi-instrumentator",),
    "dns": ("dnspython",),
    "email_validator": ("email-validator",),
    "gi": ("pygobject",),
    "jwcrypto": ("jwcrypto",),
    "magic_filter": ("magic-filter",),
    "mysql": ("mysql-connector-python",),
    "odf": ("odfpy",),
    "openpyxl": ("openpyxl",),
    "pwdlib": ("pwdlib",),
    "pythonjsonlogger": ("python-json-logger",),
    "rapidfuzz": ("rapidfuzz",),
    "svix": ("svix",),
    "typing_extensions": ("typing-extensions",),
    "weasyprint": ("weasyprint",),
    "xmlsec": ("xmlsec",),
    "aiokafka": ("aiokafka",),
    "botocore": ("botocore",),
    "annotated_types": ("annotated-types",),
    "_pytest": ("pytest",),
}

_WEB = (
    "starlette pydantic pydantic-core typing-extensions anyio idna annotated-types annotated-doc sniffio typing-inspection exceptiongroup"
)
_HTTPX = "httpx httpcore h11 certifi idna anyio sniffio httpx2 httpcore2"
_STANDARD = "httptools uvloop websockets watchfiles python-dotenv pyyaml"
# What a distribution brings along; with an extra in brackets, what that adds. Those with nothing worth naming are here too: a
# declared distribution that is not known may bring anything.
BRINGS: dict[str, str] = {
    "fastapi": _WEB,
    "fastapi[standard]": f"{_HTTPX} {_STANDARD} jinja2 markupsafe python-multipart email-validator dnspython "
    "uvicorn click typer rich fastapi-cli "
    "pydantic-settings pydantic-extra-types shellingham",
    "fastapi[all]": f"{_HTTPX} {_STANDARD} jinja2 markupsafe python-multipart email-validator dnspython "
    "uvicorn click itsdangerous orjson ujson "
    "pydantic-settings pydantic-extra-types typer rich",
    "starlette": "anyio idna sniffio typing-extensions",
    "uvicorn": "click h11 typing-extensions",
    "uvicorn[standard]": _STANDARD,
    "gunicorn": "packaging",
    "hypercorn": "h11 h2 wsproto priority",
    "pydantic": "pydantic-core annotated-types typing-extensions typing-inspection",
    "pydantic[email]": "email-validator dnspython",
    "pydantic-settings": "pydantic pydantic-core python-dotenv typing-extensions",
    "sqlmodel": "sqlalchemy pydantic greenlet typing-extensions",
    "sqlalchemy": "greenlet typing-extensions",
    "sqlalchemy[asyncio]": "greenlet",
    "alembic": "mako sqlalchemy markupsafe typing-extensions greenlet",
    "asyncpg": "async-timeout",
    "psycopg": "typing-extensions",
    "psycopg[binary]": "psycopg-binary",
    "psycopg[pool]": "psycopg-pool",
    "psycopg-binary": "",
    "psycopg2": "",
    "psycopg2-binary": "",
    "psycopg-pool": "",
    "aiosqlite": "",
    "pg8000": "scramp",
    "httpx": _HTTPX,
    "requests": "urllib3 certifi idna charset-normalizer",
    "aiohttp": "yarl multidict aiosignal frozenlist attrs propcache",
    "openai": f"{_HTTPX} pydantic pydantic-core jiter distro tqdm typing-extensions",
    "openai-agents": f"openai mcp griffe griffelib requests {_HTTPX} pydantic pydantic-core typing-extensions jiter distro tqdm websockets",
    "anthropic": f"{_HTTPX} pydantic jiter distro docstring-parser typing-extensions",
    "mcp": f"{_WEB} {_HTTPX} uvicorn click sse-starlette httpx-sse python-multipart jsonschema "
    "pydantic-settings python-dotenv pyjwt cryptography "
    "opentelemetry-api",
    "fastmcp": f"mcp {_WEB} {_HTTPX} uvicorn click rich python-dotenv authlib cyclopts pydantic-settings "
    "jsonschema pyyaml websockets platformdirs",
    "python-jose": "ecdsa rsa pyasn1 six",
    "python-jose[cryptography]": "cryptography cffi",
    "pyjwt": "",
    "pyjwt[crypto]": "cryptography cffi",
    "cryptography": "cffi",
    "authlib": "cryptography joserfc",
    "passlib": "",
    "passlib[bcrypt]": "bcrypt",
    "passlib[argon2]": "argon2-cffi",
    "bcrypt": "",
    "argon2-cffi": "argon2-cffi-bindings",
    "pwdlib": "",
    "pwdlib[argon2]": "argon2-cffi",
    "python-multipart": "",
    "python-dotenv": "",
    "email-validator": "dnspython idna",
    "jinja2": "markupsafe",
    "orjson": "",
    "ujson": "",
    "uvloop": "",
    "httptools": "",
    "websockets": "",
    "watchfiles": "anyio",
    "greenlet": "",
    "tenacity": "",
    "structlog": "",
    "loguru": "",
    "python-json-logger": "",
    "prometheus-client": "",
    "slowapi": "limits",
    "redis": "",
    "celery": "kombu billiard vine click",
    "boto3": "botocore s3transfer jmespath python-dateutil urllib3 six",
    "pytest": "pluggy iniconfig packaging",
    "pytest-asyncio": "pytest",
    "pytest-cov": "pytest coverage",
    "ruff": "",
    "black": "click",
    "mypy": "typing-extensions",
    "numpy": "",
    "pandas": "numpy python-dateutil pytz six tzdata",
    "pyyaml": "",
    "certifi": "",
    "click": "",
    "typing-extensions": "",
    "anyio": "idna sniffio",
    "pillow": "",
    "sse-starlette": "starlette anyio",
    "apscheduler": "tzlocal",
    "tzdata": "",
    "python-dateutil": "six",
    "pytz": "",
    "itsdangerous": "",
    "aiofiles": "",
    "beautifulsoup4": "soupsieve typing-extensions",
    "lxml": "",
    "sentry-sdk": "urllib3 certifi",
    "setuptools": "",
    "wheel": "",
    "pip": "",
    "tiktoken": "regex requests",
}
# Distributions that so many others bring along that an unknown one may.
_WIDE = """
requests httpx urllib3 certifi pydantic pydantic-core typing-extensions numpy anyio jinja2 click rich pyyaml python-dateutil six
attrs packaging tenacity starlette python-dotenv aiohttp cryptography idna sniffio tqdm jsonschema websockets greenlet sqlalchemy
protobuf grpcio cffi regex pytz setuptools
"""
WIDE = frozenset(_WIDE.split())
# Names that people give to their own packages: no index is where these are missing from.
_OWN_WORDS = """
lib libs src app apps api core config configs common util utils helper helpers model models schema schemas service services
database db router routers routes auth crud deps dependencies middleware middlewares settings constants backend server main tools
repositories repository handlers domain controllers entities exceptions security tasks prompts agent mcp_server
"""
OWN_WORDS = frozenset(_OWN_WORDS.split())

# Modules of the standard library that a version does not have any more.
REMOVED = {
    (3, 12): "asynchat asyncore distutils imp smtpd",
    (
        3,
        13,
    ): "aifc audioop cgi cgitb chunk crypt imghdr lib2to3 mailcap msilib nis nntplib ossaudiodev pipes sndhdr "
    "spwd sunau telnetlib uu xdrlib",
}
# What the image leaves out of the standard library, and Debian's own packages do too.
LEFT_OUT = {"distutils", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtle", "turtledemo"}
PROVIDED_AGAIN = {
    "distutils": "setuptools",
    "audioop": "audioop-lts",
    "telnetlib": "telnetlib3",
    "crypt": "legacycrypt",
    "cgi": "legacy-cgi",
}

# The first releases with binary wheels for a Python, and the first that need one: (distribution, release, Python).
WHEELS_FROM = [
    ("asyncpg", "0.30", "3.13"),
    ("psycopg2-binary", "2.9.10", "3.13"),
    ("psycopg-binary", "3.2.2", "3.13"),
    ("pydantic-core", "2.20", "3.13"),
    ("pydantic", "2.8", "3.13"),
    ("greenlet", "3.1", "3.13"),
    ("uvloop", "0.21", "3.13"),
    ("httptools", "0.6.2", "3.13"),
    ("numpy", "2.1", "3.13"),
    ("pandas", "2.2.3", "3.13"),
    ("cffi", "1.17", "3.13"),
    ("orjson", "3.10.7", "3.13"),
    ("lxml", "5.3", "3.13"),
    ("pillow", "10.4", "3.13"),
]
PYTHON_FROM = [("django", "5.0", "3.10"), ("django", "6.0", "3.12"), ("numpy", "2.3", "3.11"), ("pandas", "3.0", "3.11")]
