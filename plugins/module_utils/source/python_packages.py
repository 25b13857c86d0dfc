"""What is known of Python packages without asking an index: which import belongs to which distribution, and what brings what along."""

from __future__ import annotations

import re


def normal(name: str) -> str:
    """A distribution's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _table(text: str) -> dict[str, tuple[str, ...]]:
    """By the word before the =: the words behind it, separated by commas."""
    return {name: tuple(filter(None, words.split(","))) for name, _, words in (entry.partition("=") for entry in text.split())}


# Imports and their distributions (any of them, where there are several); where both have one name, the name alone.
_IMPORTS = """
agents=openai-agents attr=attrs bs4=beautifulsoup4 cv2=opencv-python,opencv-python-headless,opencv-contrib-python Crypto=pycryptodome
dateutil=python-dateutil decouple=python-decouple discord=discord-py docx=python-docx dotenv=python-dotenv
environ=django-environ,environ-config faiss=faiss-cpu,faiss-gpu fitz=pymupdf git=gitpython github=pygithub grpc=grpcio jose=python-jose
jwt=pyjwt kafka=kafka-python,kafka-python-ng ldap=python-ldap magic=python-magic multipart=python-multipart,multipart
MySQLdb=mysqlclient nacl=pynacl OpenSSL=pyopenssl PIL=pillow pkg_resources=setuptools pptx=python-pptx psycopg=psycopg,psycopg-binary
psycopg2=psycopg2-binary,psycopg2 rest_framework=djangorestframework ruamel=ruamel-yaml serial=pyserial skimage=scikit-image
sklearn=scikit-learn slugify=python-slugify socketio=python-socketio engineio=python-engineio telegram=python-telegram-bot
ulid=python-ulid,ulid-py usb=pyusb pythoncom=pywin32 pywintypes=pywin32 win32api=pywin32 win32con=pywin32 win32file=pywin32 yaml=pyyaml
zmq=pyzmq google=google-genai dns=dnspython gi=pygobject mysql=mysql-connector-python odf=odfpy pythonjsonlogger=python-json-logger
_pytest=pytest
attrs chainlit docker fastapi_users fastapi_mail pymupdf josepy langchain_community langchain_core langchain_openai lxml markdown
mistralai psycopg_pool pydantic_settings python_multipart qdrant_client sentence_transformers sentry_sdk slack_sdk sse_starlette
starlette uuid6 prometheus_fastapi_instrumentator email_validator jwcrypto magic_filter openpyxl pwdlib rapidfuzz svix typing_extensions
weasyprint xmlsec aiokafka botocore annotated_types argon2=argon2-cffi
aiofiles aiohttp aiosmtplib aiosqlite alembic anthropic apscheduler arq asyncpg authlib bcrypt beanie boto3 celery cryptography dramatiq
fastapi httpx itsdangerous jinja2 loguru motor numpy openai orjson pandas passlib peewee pymongo redis requests resend rq slowapi sqlalchemy
sqlmodel stripe structlog supabase tenacity
"""
IMPORTS = {name: distributions or (normal(name),) for name, distributions in _table(_IMPORTS).items()}

# Names that people give to their own packages: no index is where these are missing from.
_OWN_WORDS = """
lib libs src app apps api core config configs common util utils helper helpers model models schema schemas service services
database db router routers routes auth crud deps dependencies middleware middlewares settings constants backend server main tools
repositories repository handlers domain controllers entities exceptions security tasks prompts agent mcp_server
"""
OWN_WORDS = frozenset(_OWN_WORDS.split())

# Modules of the standard library that a version does not have any more.
_REMOVED_IN_3_13 = """
aifc audioop cgi cgitb chunk crypt imghdr lib2to3 mailcap msilib nis nntplib ossaudiodev pipes sndhdr spwd sunau telnetlib uu xdrlib
"""
REMOVED = {(3, 12): "asynchat asyncore distutils imp smtpd", (3, 13): _REMOVED_IN_3_13}
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
_WHEELS_FOR_3_13 = """
asyncpg=0.30 psycopg2-binary=2.9.10 psycopg-binary=3.2.2 pydantic-core=2.20 pydantic=2.8 greenlet=3.1 uvloop=0.21 httptools=0.6.2
numpy=2.1 pandas=2.2.3 cffi=1.17 orjson=3.10.7 lxml=5.3 pillow=10.4
"""
WHEELS_FROM = [(name, first, "3.13") for name, (first,) in _table(_WHEELS_FOR_3_13).items()]
PYTHON_FROM = [("django", "5.0", "3.10"), ("django", "6.0", "3.12"), ("numpy", "2.3", "3.11"), ("pandas", "3.0", "3.11")]
