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
weasyprint xmlsec aiokafka botocore annotated_types
"""
IMPORTS = {name: distributions or (normal(name),) for name, distributions in _table(_IMPORTS).items()}

# What distributions bring along; with an extra in brackets, what that adds.
_WEB = (
    "starlette,pydantic,pydantic-core,typing-extensions,anyio,idna,annotated-types,annotated-doc,sniffio,typing-inspection,exceptiongroup"
)
_HTTPX = "httpx,httpcore,h11,certifi,idna,anyio,sniffio,httpx2,httpcore2"
_STANDARD = "httptools,uvloop,websockets,watchfiles,python-dotenv,pyyaml"
_BRINGS = f"""
fastapi={_WEB}
fastapi[standard]={_HTTPX},{_STANDARD},jinja2,markupsafe,python-multipart,email-validator,dnspython,uvicorn,click,typer,rich,fastapi-cli,pydantic-settings,pydantic-extra-types,shellingham
fastapi[all]={_HTTPX},{_STANDARD},jinja2,markupsafe,python-multipart,email-validator,dnspython,uvicorn,click,itsdangerous,orjson,ujson,pydantic-settings,pydantic-extra-types,typer,rich
starlette=anyio,idna,sniffio,typing-extensions uvicorn=click,h11,typing-extensions uvicorn[standard]={_STANDARD} gunicorn=packaging
hypercorn=h11,h2,wsproto,priority pydantic=pydantic-core,annotated-types,typing-extensions,typing-inspection
pydantic[email]=email-validator,dnspython pydantic-settings=pydantic,pydantic-core,python-dotenv,typing-extensions
sqlmodel=sqlalchemy,pydantic,greenlet,typing-extensions sqlalchemy=greenlet,typing-extensions sqlalchemy[asyncio]=greenlet
alembic=mako,sqlalchemy,markupsafe,typing-extensions,greenlet asyncpg=async-timeout psycopg=typing-extensions
psycopg[binary]=psycopg-binary psycopg[pool]=psycopg-pool pg8000=scramp httpx={_HTTPX} requests=urllib3,certifi,idna,charset-normalizer
aiohttp=yarl,multidict,aiosignal,frozenlist,attrs,propcache openai={_HTTPX},pydantic,pydantic-core,jiter,distro,tqdm,typing-extensions
openai-agents=openai,mcp,griffe,griffelib,requests,{_HTTPX},pydantic,pydantic-core,typing-extensions,jiter,distro,tqdm,websockets
anthropic={_HTTPX},pydantic,jiter,distro,docstring-parser,typing-extensions
mcp={_WEB},{_HTTPX},uvicorn,click,sse-starlette,httpx-sse,python-multipart,jsonschema,pydantic-settings,python-dotenv,pyjwt,cryptography,opentelemetry-api
fastmcp=mcp,{_WEB},{_HTTPX},uvicorn,click,rich,python-dotenv,authlib,cyclopts,pydantic-settings,jsonschema,pyyaml,websockets,platformdirs
python-jose=ecdsa,rsa,pyasn1,six python-jose[cryptography]=cryptography,cffi pyjwt[crypto]=cryptography,cffi cryptography=cffi
authlib=cryptography,joserfc passlib[bcrypt]=bcrypt passlib[argon2]=argon2-cffi argon2-cffi=argon2-cffi-bindings
pwdlib[argon2]=argon2-cffi email-validator=dnspython,idna jinja2=markupsafe watchfiles=anyio slowapi=limits
celery=kombu,billiard,vine,click boto3=botocore,s3transfer,jmespath,python-dateutil,urllib3,six pytest=pluggy,iniconfig,packaging
pytest-asyncio=pytest pytest-cov=pytest,coverage black=click mypy=typing-extensions pandas=numpy,python-dateutil,pytz,six,tzdata
anyio=idna,sniffio sse-starlette=starlette,anyio apscheduler=tzlocal python-dateutil=six beautifulsoup4=soupsieve,typing-extensions
sentry-sdk=urllib3,certifi tiktoken=regex,requests
"""
# Those that bring nothing worth naming: a declared distribution that is not known may bring anything.
_ALONE = """
psycopg-binary psycopg2 psycopg2-binary psycopg-pool aiosqlite pyjwt passlib bcrypt pwdlib python-multipart python-dotenv orjson ujson
uvloop httptools websockets greenlet tenacity structlog loguru python-json-logger prometheus-client redis ruff numpy pyyaml certifi
click typing-extensions pillow tzdata pytz itsdangerous aiofiles lxml setuptools wheel pip
"""
BRINGS = _table(_BRINGS) | dict.fromkeys(_ALONE.split(), ())

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
