# ruff: noqa: E501 # tables
"""What the preflight says of a source: what certainly fails is refused for its true reason, and nothing else is."""

from __future__ import annotations

import base64
import json
import random
import string
import subprocess
import time
from datetime import date

import pytest
from ansible_collections.berth.stack.plugins.module_utils.source import fastapi as source_fastapi
from ansible_collections.berth.stack.plugins.module_utils.source import javascript_dependencies
from ansible_collections.berth.stack.plugins.module_utils.source import nextjs as source_nextjs
from ansible_collections.berth.stack.plugins.module_utils.source.findings import accept, line, open_findings, unusable
from ansible_collections.berth.stack.plugins.module_utils.source.tree import file_findings, select
from ansible_collections.berth.stack.plugins.module_utils.source.versions import node_allows, python_allows
from conftest import ROOT
from trees import BACKEND, FRONTEND, checkout, write

DRAWN = random.Random(1)


def drawn(length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """What looks like a key and is none: made here, so that no scanner finds it in this file."""
    return "".join(DRAWN.choice(alphabet) for _ in range(length))


def backend(tmp_path, *layers, **options):
    return source_fastapi.check(write(tmp_path, BACKEND, *layers), source_fastapi.Options(**options))


def frontend(tmp_path, *layers, **options):
    return source_nextjs.check(write(tmp_path, FRONTEND, *layers), source_nextjs.Options(**options))


def messages(findings, severity):
    return [line(item) for item in findings if item["severity"] == severity]


def test_the_reference_application_has_no_finding():
    assert source_fastapi.check(ROOT / "apps/backend", source_fastapi.Options(environment={"DATABASE_URL_FILE"})) == []
    assert source_fastapi.check(ROOT / "apps/mock_llm", source_fastapi.Options()) == []
    given = {"DATABASE_URL_FILE", "BETTER_AUTH_URL", "BETTER_AUTH_SECRET_FILE", "BACKEND_URL"}
    assert source_nextjs.check(ROOT / "apps/frontend", source_nextjs.Options(environment=given)) == []


def test_a_sound_source_has_no_error(tmp_path):
    assert messages(backend(tmp_path / "b"), "error") == []
    assert frontend(tmp_path / "f") == []


DEMANDING = """\
from functools import lru_cache
from pydantic_settings import BaseSettings, SettingsConfigDict
class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SHOP_", env_file=".env")
    region: str
    zone: str
    smtp_password: str
    title: str = "Shop"
    dsn: str | None = None
@lru_cache
def get_settings() -> Settings:
    return Settings()
"""
BROKEN_BACKENDS = {
    "a module that git ignores": (
        {"app/main.py": "from lib.store import x\napp = 1\n'/health'", ".gitignore": "__pycache__\nlib/\n"},
        {},
        "app/main.py:1: imports lib, which is not in the source -> commit lib (.gitignore:2 hides it)",
    ),
    "a variable that a module demands when it is loaded": (
        {"app/database.py": "import os\nengine = os.environ['REGION']\nzone = os.getenv('ZONE')\n"},
        {},
        "app/database.py:2: the application does not start without REGION, and nothing gives it -> set backend_image_extra_environment: "
        "{REGION: ...} (app.yml)",
    ),
    "settings that are made when they are imported": (
        {
            "app/database.py": "from functools import lru_cache\nfrom app.settings import get_settings\nengine = get_settings().region\n",
            "app/settings.py": DEMANDING,
        },
        {"environment": {"shop_zone"}},
        "app/settings.py:5: the application does not start without SHOP_REGION and SHOP_SMTP_PASSWORD, and nothing gives them -> set "
        "backend_image_extra_environment: {SHOP_REGION: ...} (app.yml) and SECRET_SHOP_SMTP_PASSWORD=... in .env",
    ),
    "a database on the container itself": (
        {
            "app/database.py": "from sqlalchemy import create_engine\nURL = 'postgresql://app:app@localhost:5432/app'\nengine = create_engine(URL)\n"
        },
        {},
        "app/database.py:2: postgresql://app:app@localhost:5432 is hard-coded; in a container that is the container itself -> read DATABASE_URL",
    ),
    "a database in a file of the image": (
        {"app/database.py": "from sqlalchemy import create_engine\nengine = create_engine('sqlite:///./shop.db')\n"},
        {},
        "app/database.py:2: the database is an SQLite file in the image, whose file system is read-only: no table can be made",
    ),
    "a package of its own name that a lock does not name": (
        {
            "requirements.txt": "fastapi==0.115.0\nstarlette==0.41.0\nuvicorn==0.32.0\nh11==0.14.0\nsqlalchemy==2.0.1\npyjwt==2.9.0\n"
            "typing-extensions==4.12\n",
            "app/extra.py": "",
            "app/database.py": "import bcrypt\nengine = bcrypt\n",
        },
        {},
        "app/database.py:1: imports bcrypt, and requirements.txt does not name bcrypt -> add bcrypt to the dependencies",
    ),
    "a module of a package": ({"app/routers/tasks.py": None}, {}, "app/main.py:2: imports app.routers.tasks, which is not in the source"),
    "a relative import": ({"app/database.py": None}, {}, "app/routers/tasks.py:3: imports app.database, which is not in the source"),
    "a name that the module has not": (
        {"app/database.py": "engin = 1\n"},
        {},
        "app/routers/tasks.py:3: app/database.py has no engine, which is imported from it here",
    ),
    "a package that a lock does not name": (
        {
            "requirements.txt": "fastapi==0.115.0\nstarlette==0.41.0\nuvicorn==0.32.0\nh11==0.14.0\n"
            "sqlalchemy==2.0.1\ntyping-extensions==4.12\n"
        },
        {},
        "app/routers/tasks.py:1: imports jwt, and requirements.txt does not name pyjwt -> add pyjwt to the dependencies",
    ),
    "a module that no Python can parse": (
        {"app/database.py": "engine = (\n"},
        {},
        "app/database.py:1: Python cannot parse this: '(' was never closed",
    ),
    "a merge conflict": (
        {"app/database.py": "<<<<<<< HEAD\nengine = 1\n=======\nengine = 2\n>>>>>>> other\n"},
        {},
        "app/database.py:1: an unresolved merge conflict",
    ),
    "another Python": (
        {"pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.13"\n'},
        {},
        "pyproject.toml:3: the source asks for Python >=3.13, the image has 3.11 -> set backend_image_debian_release: trixie "
        "for Python 3.13",
    ),
    "an older Python": (
        {"pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.10,<3.13"\n'},
        {"python": "3.13"},
        "asks for Python >=3.10,<3.13, the image has 3.13 -> set backend_image_debian_release: bookworm",
    ),
    "a pin for another Python": (
        {"requirements.txt": BACKEND["requirements.txt"] + "django==6.0.1\n"},
        {},
        "requirements.txt:5: django 6.0.1 needs Python 3.12 or newer",
    ),
    "a module that Python has no more": (
        {"app/database.py": "import imghdr\nengine = 1\n"},
        {"python": "3.13"},
        "app/database.py:1: imports imghdr of the standard library: Python 3.13 does not have it any more",
    ),
    "no entry point": (
        {"src/api/main.py": BACKEND["app/main.py"], "app/main.py": None},
        {},
        "app.main:app is the entry point, and there is no module app.main in . -> set backend_image_app: src.api.main:app",
    ),
    "another name of the application": (
        {"app/main.py": BACKEND["app/main.py"].replace("app = FastAPI", "api = FastAPI")},
        {},
        "app.main:app is the entry point, and app/main.py has no app -> set backend_image_app: app.main:api",
    ),
    "imports from a directory that is not searched": (
        {"app/main.py": "import store\napp = 1\n'/health'", "src/store/__init__.py": ""},
        {},
        "imports store, which is in src, where imports are not searched -> set backend_image_pythonpath: src",
    ),
    "no dependency file": ({"requirements.txt": None}, {}, "set backend_image_dependencies to the path of a requirements file"),
    "another health path": (
        {"app/main.py": BACKEND["app/main.py"].replace("/health", "/livez")},
        {},
        "the health path /health is nowhere in the source; there is /livez (app/main.py:6) -> set backend_image_health_path: /livez",
    ),
    "another health path, beside a script that nothing starts and no Python parses": (
        {"app/main.py": BACKEND["app/main.py"].replace("/health", "/livez"), "old/script.py": "print 'two'\n"},
        {},
        "the health path /health is nowhere in the source; there is /livez (app/main.py:6) -> set backend_image_health_path: /livez",
    ),
    "a development dependency": (
        {
            "requirements.txt": None,
            "uv.lock": 'version = 1\n[[package]]\nname = "x"\nsource = { virtual = "." }\ndependencies = [{ name = "fastapi" '
            '}, { name = "sqlalchemy" }]\n'
            '[[package]]\nname = "fastapi"\nversion = "0.115.0"\nsource = { registry = "r" }\n[[package]]\nname = '
            '"pyjwt"\nversion = "2.9.0"\n'
            'source = { registry = "r" }\n[[package]]\nname = "sqlalchemy"\nversion = "2"\nsource = { registry = "r" }\n',
        },
        {},
        "imports jwt, and pyjwt is only a development dependency",
    ),
    "no wheel for this Python": (
        {
            "requirements.txt": None,
            "uv.lock": 'version = 1\n[[package]]\nname = "x"\nsource = { virtual = "." }\n'
            'dependencies = [{ name = "fastapi" }, { name = "sqlalchemy" }, { name = "pyjwt" }]\n'
            '[[package]]\nname = "fastapi"\nversion = "0.115.0"\n[[package]]\nname = "pyjwt"\nversion = "2.9.0"\n'
            'wheels = [{ url = "https://x/pyjwt-2.9.0-cp313-cp313-manylinux_2_17_x86_64.whl" }]\n[[package]]\nname = '
            '"sqlalchemy"\nversion = "2"\n',
        },
        {"machine": "x86_64"},
        "pyjwt 2.9.0 has no wheel for Python 3.11 (Linux x86_64) and no source",
    ),
}


@pytest.mark.parametrize("case", BROKEN_BACKENDS)
def test_a_broken_backend_is_refused_for_its_true_reason(tmp_path, case):
    changes, options, reason = BROKEN_BACKENDS[case]
    source = {path: text for path, text in BACKEND.items() if changes.get(path, "") is not None}
    findings = source_fastapi.check(
        write(tmp_path, source, {p: t for p, t in changes.items() if t is not None}), source_fastapi.Options(**options)
    )
    errors = messages(findings, "error")
    assert len(errors) == 1, errors
    assert reason in errors[0]


BROKEN_FRONTENDS = {
    "a missing file beside a script that installs git hooks": (
        {
            "lib/api.ts": None,
            "package.json": FRONTEND["package.json"].replace('"build": "next build"', '"build": "next build", "prepare": "husky || true"'),
        },
        {},
        "app/page.tsx:3: imports @/lib/api, which is not in the source (lib/api) -> commit it, or correct the import",
    ),
    "a directory that git ignores": (
        {"lib/api.ts": None, ".gitignore": "lib/\n"},
        {},
        "app/page.tsx:3: imports @/lib/api, which is not in the source (lib/api) -> commit lib/api (.gitignore:1 hides it)",
    ),
    "another case": (
        {"lib/api.ts": None, "lib/Api.ts": "export const api = 1;"},
        {},
        "imports @/lib/api, which is not in the source (lib/api) -> there is lib/Api.ts: file names in the image are case-sensitive",
    ),
    "a package that nothing names": (
        {"lib/api.ts": 'import axios from "axios";\nexport const api = axios;\n'},
        {},
        "lib/api.ts:1: imports axios, and package.json does not name axios -> npm install axios",
    ),
    "a stale lock file": (
        {"package.json": FRONTEND["package.json"].replace('"react-dom"', '"zod": "4",\n "react-dom"')},
        {},
        "package.json:2: zod 4 is not in package-lock.json: npm ci refuses that",
    ),
    "another Node.js": (
        {"package.json": FRONTEND["package.json"].replace(">=18", ">=20.9"), ".npmrc": "engine-strict=true\n"},
        {},
        "package.json:1: the source asks for Node.js >=20.9, the image has 18.20.4 -> set frontend_image_debian_release: "
        "trixie for Node.js 20",
    ),
    "a Next.js for another Node.js": (
        {"package-lock.json": FRONTEND["package-lock.json"].replace('"version": "15.1.0"', '"version": "16.0.3"')},
        {},
        "package-lock.json:2: Next.js 16.0.3 needs Node.js >=20.9.0",
    ),
    "a manifest that is no JSON": ({"package.json": '{"name": "web",\n}'}, {}, "package.json:2: not JSON"),
    "no health route": (
        {"app/api/health/route.ts": None},
        {},
        "the health path /api/health is nowhere in the source (no app/api/health/route.ts) -> set frontend_image_health_path: /",
    ),
    "a merge conflict": ({"lib/api.ts": "<<<<<<< HEAD\n1\n=======\n2\n>>>>>>> b\n"}, {}, "lib/api.ts:1: an unresolved merge conflict"),
    "no Next.js": (
        {"package.json": '{"scripts": {"build": "vite build"}, "dependencies": {"react": "1"}}', "package-lock.json": "{}"},
        {},
        "package.json: names no dependency on next",
    ),
    "another directory": ({}, {"subpath": "web"}, "there is no package.json in web"),
}


@pytest.mark.parametrize("case", BROKEN_FRONTENDS)
def test_a_broken_frontend_is_refused_for_its_true_reason(tmp_path, case):
    changes, options, reason = BROKEN_FRONTENDS[case]
    source = {path: text for path, text in FRONTEND.items() if changes.get(path, "") is not None}
    findings = source_nextjs.check(
        write(tmp_path, source, {p: t for p, t in changes.items() if t is not None}), source_nextjs.Options(**options)
    )
    errors = messages(findings, "error")
    assert len(errors) == 1, errors
    assert reason in errors[0]


POETRY_LOCK = """
[[package]]
name = "fastapi"
version = "0.115.0"
files = [{file = "fastapi-0.115.0-py3-none-any.whl", hash = "sha256:0"}]
[package.dependencies]
starlette = ">=0.40"
[[package]]
name = "starlette"
version = "0.41.0"
[[package]]
name = "uvicorn"
version = "0.32.0"
[package.dependencies]
httptools = {version = ">=0.6", optional = true, markers = "extra == 'standard'"}
[package.extras]
standard = ["httptools (>=0.6)"]
[[package]]
name = "httptools"
version = "0.6.4"
[[package]]
name = "sqlmodel"
version = "0.0.22"
[package.dependencies]
sqlalchemy = "*"
pywin32 = {version = "*", markers = "sys_platform == 'win32'"}
[[package]]
name = "sqlalchemy"
version = "2.0.1"
[[package]]
name = "pywin32"
version = "306"
files = [{file = "pywin32-306-cp311-cp311-win_amd64.whl", hash = "sha256:0"}]
[[package]]
name = "pyjwt"
version = "2.9.0"
[metadata]
lock-version = "2.0"
"""
POETRY_PROJECT = (
    '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\npython = "^3.11"\nfastapi = "*"\nuvicorn = {version = "*", extras = ["standard"]}\n'
    'sqlmodel = "*"\n'
)
PDM_LOCK = "".join(
    f'[[package]]\nname = "{name}"\nversion = "1"\ngroups = ["{group}"]\nfiles = [{{file = "{name}-1-py3-none-any.whl", hash = "sha256:0"}}]\n'
    for name, group in (
        ("fastapi", "default"),
        ("uvicorn", "default"),
        ("sqlalchemy", "default"),
        ("sqlmodel", "default"),
        ("pyjwt", "dev"),
    )
)
DEVELOPMENT = "imports jwt, and pyjwt is only a development dependency"
LOCKS = {
    "Poetry 1": ({"poetry.lock": POETRY_LOCK, "pyproject.toml": POETRY_PROJECT}, [DEVELOPMENT]),
    "Poetry 1, with it": ({"poetry.lock": POETRY_LOCK, "pyproject.toml": POETRY_PROJECT + 'pyjwt = "*"\n'}, []),
    "Poetry 2": (
        {
            "poetry.lock": POETRY_LOCK,
            "pyproject.toml": '[project]\nname = "x"\ndependencies = ["fastapi (>=0.1)", "uvicorn[standard]", "sqlmodel", "pyjwt (>=2,<3)"]\n',
        },
        [],
    ),
    "PDM": ({"pdm.lock": PDM_LOCK, "pyproject.toml": '[project]\nname = "x"\ndependencies = ["fastapi"]\n'}, [DEVELOPMENT]),
}


@pytest.mark.parametrize("case", LOCKS)
def test_the_locks_of_poetry_and_pdm_are_read(tmp_path, case):
    files, expected = LOCKS[case]
    source = {path: text for path, text in BACKEND.items() if path != "requirements.txt"}
    findings = source_fastapi.check(write(tmp_path, source, files), source_fastapi.Options(machine="x86_64"))
    assert [expected[0] in one for one in messages(findings, "error")] == [True] * len(expected), findings
    assert not [item for item in findings if "pywin32" in item["message"]]


def test_a_requirements_file_in_utf_16_is_read(tmp_path):
    source = write(tmp_path, BACKEND)
    (source / "requirements.txt").write_bytes(BACKEND["requirements.txt"].replace("\n", "\r\n").encode("utf-16"))
    assert messages(source_fastapi.check(source, source_fastapi.Options()), "error") == []


@pytest.mark.parametrize(("more", "found"), [("", 1), ("import os\nTOKEN = open(os.environ['TOKEN_FILE']).read()\n", 0)])
def test_a_variable_that_is_given_only_as_a_file_which_nothing_reads_is_named(tmp_path, more, found):
    layers = {".env.example": "DATABASE_URL=\n", "app/extra.py": more}
    warnings = messages(backend(tmp_path, layers, environment={"DATABASE_URL_FILE"}), "warning")
    assert len([one for one in warnings if "DATABASE_URL_FILE" in one]) == found
    assert not found or any(
        ".env.example:1: DATABASE_URL is documented here, read in app/database.py:4, and only given as DATABASE_URL_FILE" in one
        and "backend_image_secrets_environment: {DATABASE_URL: database_url}" in one
        for one in warnings
    )


def test_what_is_out_of_the_source_is_named_before_the_build(tmp_path):
    layers = {"requirements.txt": "-e ../libs/shared\n" + BACKEND["requirements.txt"]}
    errors = messages(backend(tmp_path / "a", layers), "error")
    assert len(errors) == 1
    assert errors[0].startswith("requirements.txt:1: ../libs/shared is out of the source")
    assert "backend_image_app_root" in errors[0]


def test_a_package_of_the_source_is_found_where_it_is_installed_from(tmp_path):
    monorepo = {f"api/{path}": text for path, text in BACKEND.items()} | {
        "api/requirements.txt": "-e ../libs/shared\n" + BACKEND["requirements.txt"],
        "api/app/database.py": "import shared.models\nengine = 1\n",
        "libs/shared/pyproject.toml": '[project]\nname = "shared"\ndependencies = []\n',
        "libs/shared/src/shared/__init__.py": "",
        "libs/shared/src/shared/models.py": "",
    }
    assert messages(source_fastapi.check(write(tmp_path, monorepo), source_fastapi.Options(app_root="api")), "error") == []
    del monorepo["libs/shared/src/shared/models.py"]
    errors = messages(source_fastapi.check(write(tmp_path / "b", monorepo), source_fastapi.Options(app_root="api")), "error")
    assert [error.partition(" -> ")[0] for error in errors] == ["api/app/database.py:1: imports shared.models, which is not in the source"]


def test_links_inside_the_source_are_followed_and_others_named(tmp_path):
    source = write(tmp_path, BACKEND, {"libs/shared/__init__.py": "x = 1\n", "app/database.py": "from shared import x as engine\n"})
    (source / "shared").symlink_to("libs/shared")
    (source / "CLAUDE.md").symlink_to("AGENTS.md")
    selection = select(source, "fastapi", role="backend_image")
    assert messages(source_fastapi.check(source, source_fastapi.Options()), "error") == []
    notes = list(file_findings(source, selection))
    assert [(item["severity"], item["where"]) for item in notes] == [("warning", "CLAUDE.md")]
    (source / "data").symlink_to("../data")
    found = [item for item in file_findings(source, select(source, "fastapi", role="backend_image")) if item["severity"] == "error"]
    assert [item["where"] for item in found] == ["data"]
    assert "this link leads to ../data, out of the source" in found[0]["message"]


SOUND_BACKENDS = {
    "a package that an extra brings": {
        "requirements.txt": BACKEND["requirements.txt"] + "celery[redis]==5.6.0\n",
        "app/clients/__init__.py": "", "app/clients/redis.py": "from redis import asyncio\n", "app/extra.py": "import app.clients.redis\n",
    },
    "a module of the name of the package that it imports": {
        "app/clients/__init__.py": "", "app/clients/stripe.py": "import stripe\n", "app/extra.py": "import app.clients.stripe\n",
    },
    "settings that may come from elsewhere": {
        "app/extra.py": "from pydantic_settings import BaseSettings\n"
        "class A(BaseSettings):\n    model_config = {'secrets_dir': '/run/secrets'}\n    region: str\n"
        "class B(BaseSettings):\n    region: str\n"
        "class C(BaseSettings):\n    zone: str\n"
        "a = A()\nb = B(region='x')\ntry:\n    c = C()\nexcept ValueError:\n    c = None\ndef late(): return C()\n",
    },
    "variables that are read late, or that the source sets": {
        "app/extra.py": "import os\nos.environ.setdefault('REGION', 'x')\nx = os.environ['REGION']\nhome = os.environ['HOME']\n"
        "def late(): return os.environ['ZONE']\ny = x or os.environ['OTHER']\nif x:\n    z = os.environ['MORE']\n",
    },
    "a file of the source that sets them": {"app/extra.py": "import os\nx = os.environ['REGION']\n", "config/app.env": "REGION=eu\n"},
    "an address of the database's that is a default": {
        "app/database.py": "import os\nfrom sqlalchemy import create_engine\n"
        "engine = create_engine(os.environ.get('DATABASE_URL') or 'postgresql://a:b@localhost/app')\n",
    },
    "SQLite for who starts it without a database": {
        "app/database.py": "import os\nfrom sqlalchemy import create_engine\n"
        "engine = create_engine(os.getenv('DATABASE_URL', 'sqlite:///./shop.db'))\n",
    },
    "SQLite in memory": {"app/database.py": "from sqlalchemy import create_engine\nengine = create_engine('sqlite:////tmp/x.db')\n"},
    "Alembic's own search path": {
        "alembic/env.py": "import os, sys\nsys.path.append(os.path.join(os.getcwd(), 'src'))\nfrom models import Base\n", "src/models.py": "Base = 1\n",
    },
    "a search path that main extends": {
        "app/extra.py": "import sys\nsys.path.insert(0, 'lib')\nimport tools.store\n", "lib/tools/store.py": "", "lib/tools/__init__.py": "",
    },
    "what a package that is not known may bring": {
        "requirements.txt": BACKEND["requirements.txt"] + "company-base==1\n", "app/extra.py": "import httpx, requests, company_things\n",
    },
    "an import that may fail": {"app/extra.py": "try:\n    import ujson\nexcept ImportError:\n    ujson = None\n"},
    "an import for the type checker": {"app/extra.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nowhere import X\n"},
    "a module that nothing imports": {"scripts/old.py": "import nowhere\nprint 'x'\n"},
    "tests": {"tests/test_x.py": "import pytest, nowhere\n"},
    "what fastapi[standard] brings": {"requirements.txt": "fastapi[standard]\nsqlmodel\npyjwt\n", "app/extra.py": "import "
"httpx, jinja2, multipart\n"},
    "a package whose name says what it provides": {
        "requirements.txt": BACKEND["requirements.txt"] + "google-genai==1\nsendgrid-python==1\n",
        "app/extra.py": "from google import genai\nimport sendgrid\n",
    },
    "a name that a package binds": {"app/extra.py": "from app.things import made\n", "app/things/__init__.py": "made = 1\n"},
    "a name that only running tells": {"app/extra.py": "from app.things import made\n", "app/things/__init__.py": "from .x "
"import *\n", "app/things/x.py": ""},
    "a directory named as a package is": {"requirements.txt": BACKEND["requirements.txt"] + "alembic==1.14.0\n",
                                          "alembic/env.py": "from alembic import context\n", "alembic/versions/a.py": ""},
    "a package without __init__": {"app/extra.py": "from app.plain import thing\n", "app/plain/thing.py": ""},
    "a documented default": {"app/extra.py": 'import os\nURL = os.getenv("PUBLIC_URL", "http://localhost:3000")\n'},
    "a key of an example": {".env.example": "OPENAI_API_KEY=sk-your-key-here\nSECRET_KEY=change-me-to-something-long-and-random\n",
                            "app/extra.py": 'SECRET_KEY = "your-secret-key-change-this-in-production"\n'
                            'DATABASE_URL = "postgresql://postgres:postgres@localhost:5432/app"\n'},
}  # fmt: skip


@pytest.mark.parametrize("case", SOUND_BACKENDS)
def test_a_sound_backend_is_not_refused(tmp_path, case):
    extra = {"app/main.py": BACKEND["app/main.py"] + "from app import extra\n"} if "app/extra.py" in SOUND_BACKENDS[case] else {}
    assert messages(backend(tmp_path, SOUND_BACKENDS[case], extra), "error") == []


MAC_LOCK = json.dumps(
    {
        "packages": {
            "": {"dependencies": {"next": "15.1.0", "react": "19.0.0", "react-dom": "19.0.0"}},
            "node_modules/next": {
                "version": "15.1.0",
                "optionalDependencies": {"@next/swc-darwin-arm64": "1", "@next/swc-linux-x64-gnu": "1"},
            },
            "node_modules/react": {"version": "19.0.0"},
            "node_modules/lightningcss": {
                "version": "1.30.1",
                "optionalDependencies": {
                    "lightningcss-darwin-arm64": "1",
                    "lightningcss-linux-x64-gnu": "1",
                    "lightningcss-linux-x64-musl": "1",
                },
            },
            "node_modules/lightningcss-darwin-arm64": {"version": "1.30.1", "optional": True},
            "node_modules/@next/swc-darwin-arm64": {"version": "1", "optional": True},
        }
    },
    indent=1,
)


def test_a_lock_file_of_another_platform_is_named_with_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(javascript_dependencies, "builders_machine", lambda: "x86_64")
    findings = frontend(tmp_path, {"package-lock.json": MAC_LOCK})
    errors, warnings = messages(findings, "error"), messages(findings, "warning")
    assert len(errors) == 1
    assert "the lock file has lightningcss without its program for this platform, lightningcss-linux-x64-gnu" in errors[0]
    assert "npm install --package-lock-only --os=linux --cpu=x64" in errors[0]
    assert len(warnings) == 1  # Next.js fetches its own where it can
    assert "@next/swc-linux-x64-gnu" in warnings[0]


def test_a_lock_file_of_all_platforms_is_not_spoken_of(tmp_path, monkeypatch):
    monkeypatch.setattr(javascript_dependencies, "builders_machine", lambda: "x86_64")
    lock = json.loads(MAC_LOCK)
    for name in ("lightningcss-linux-x64-gnu", "@next/swc-linux-x64-gnu"):
        lock["packages"][f"node_modules/{name}"] = {"version": "1", "optional": True}
    assert frontend(tmp_path, {"package-lock.json": json.dumps(lock)}) == []


@pytest.mark.parametrize(("reached", "fonts", "found"), [(False, "fetch", 1), (True, "fetch", 0), (False, "fallback", 0)])
def test_fonts_that_the_build_cannot_fetch_are_named_before_it(tmp_path, monkeypatch, reached, fonts, found):
    asked = []
    monkeypatch.setattr(source_nextjs, "can_reach", lambda host: asked.append(host) or reached)
    layout = 'import { Inter } from "next/font/google";\n' + FRONTEND["app/layout.tsx"]
    warnings = messages(frontend(tmp_path, {"app/layout.tsx": layout}, fonts=fonts), "warning")
    assert len(warnings) == found
    assert not warnings or warnings[0].startswith("app/layout.tsx:1: the build fetches fonts from fonts.googleapis.com")
    assert not warnings or "frontend_image_fonts: fallback" in warnings[0]
    assert asked == (["fonts.googleapis.com"] if fonts == "fetch" else [])


SOUND_FRONTENDS = {
    "what a script of its own makes": {
        "package.json": FRONTEND["package.json"].replace(
            '"build": "next build"', '"build": "next build", "postinstall": "node scripts/gen.js"'
        ),
        "lib/api.ts": 'export { x as api } from "./made";\n',
        ".gitignore": "lib/made.ts\n",
    },
    "a package that the lock file has": {"lib/api.ts": 'import x from "react/jsx-runtime";\nexport const api = x;\n'},
    "modules of Node.js": {"lib/api.ts": 'import path from "path";\nimport "server-only";\nexport const api = path;\n'},
    "imports in comments and strings": {"lib/api.ts": '// import x from "nowhere";\n/* require("nowhere") */\nexport const api = "x";\n'},
    "a stylesheet, a picture, a directory": {
        "lib/api.ts": 'import s from "./a.module.css";\nimport p from "@/public/p.png";\nimport d from "./dir";\nexport '
        "const api = [s, p, d];\n",
        "lib/a.module.css": "",
        "public/p.png": "",
        "lib/dir/index.tsx": "export default 1;\n",
    },
    "an extension that TypeScript rewrites": {
        "lib/api.ts": 'export * from "./b.js";\nexport const api = 1;\n',
        "lib/b.ts": "export const b = 1;\n",
    },
    "what a generator makes": {"lib/api.ts": 'export { x as api } from "./generated/client";\n'},
    "a catch-all route": {"app/api/health/route.ts": None, "app/api/[...all]/route.ts": "export const GET = 1;\n"},
    "a test that imports anything": {"lib/api.test.ts": 'import "vitest-nowhere";\n'},
    "an alias from a base": {
        "tsconfig.json": '{"extends": "./base"}',
        "base.json": '{"compilerOptions": {"baseUrl": ".", "paths": {"@/*": ["*"]}}}',
    },
}


@pytest.mark.parametrize("case", SOUND_FRONTENDS)
def test_a_sound_frontend_is_not_refused(tmp_path, case):
    changes = SOUND_FRONTENDS[case]
    source = {path: text for path, text in FRONTEND.items() if changes.get(path, "") is not None}
    findings = source_nextjs.check(write(tmp_path, source, {p: t for p, t in changes.items() if t is not None}), source_nextjs.Options())
    assert messages(findings, "error") == []


CREDENTIALS = {
    "an OpenAI key": ("app/settings.py", 'KEY = "sk-' + "proj-" + drawn(60) + '"\n', "an OpenAI API key"),
    "an AWS key": ("app/settings.py", 'KEY = "AK' + "IA" + drawn(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") + '"\n', "an AWS access key"),
    "a database of a provider": (
        ".env",
        f"DATABASE_URL=postgresql://owner:{drawn(16)}@ep-cool-1.eu.aws.neon.tech/db\n",
        "a password in a database URL",
    ),
    "a drawn secret": (".env.local", f"BETTER_AUTH_SECRET={drawn(40)}1\n", "a password (BETTER_AUTH_SECRET)"),
    "a private key": ("keys/key.pem", "-----BEGIN PRIVATE " + f"KEY-----\n{drawn(64)}\n{drawn(64)}\n", "a private key"),
}


def test_another_node_that_npm_only_warns_of_is_a_warning(tmp_path):
    changes = {"package.json": FRONTEND["package.json"].replace(">=18", ">=20.9")}
    findings = frontend(tmp_path, changes)
    assert messages(findings, "error") == []
    assert any("the source asks for Node.js >=20.9, the image has 18.20.4" in text for text in messages(findings, "warning"))


def test_an_own_key_in_the_code_is_a_warning_that_says_what_to_do(tmp_path):
    key = drawn(64, "0123456789abcdef")
    findings = backend(tmp_path, {"app/database.py": f'SECRET_KEY = "{key}"\nengine = 1\n'})
    assert messages(findings, "error") == []
    (warning,) = [text for text in messages(findings, "warning") if "SECRET_KEY" in text]
    assert warning.startswith(
        "app/database.py:1: a password (SECRET_KEY) is written in the code -> read SECRET_KEY from the environment, and give"
    )
    assert key not in warning


def test_a_source_without_a_driver_is_a_warning(tmp_path):
    findings = backend(tmp_path, {"requirements.txt": "fastapi\nsqlalchemy\naiosqlite\npyjwt\n"})
    (warning,) = [text for text in messages(findings, "warning") if "driver" in text]
    assert "backend_image_extra_environment.DATABASE_URL: sqlite+aiosqlite:////tmp/app.db" in warning
    for driver in ("psycopg2-binary", "sqlalchemy[asyncpg]"):
        findings = backend(tmp_path, {"requirements.txt": f"fastapi\nsqlalchemy\npyjwt\n{driver}\n"})
        assert not [text for text in messages(findings, "warning") if "driver" in text]


def test_an_address_in_the_code_for_browsers_gets_advice_that_helps(tmp_path):
    (warning,) = messages(frontend(tmp_path, {"lib/api.ts": "export const api = 'http://localhost:8000/todos';\n"}), "warning")
    assert 'in a browser ask a path alone ("/..."), since both services have one origin; on the server read BACKEND_URL' in warning


@pytest.mark.parametrize("case", CREDENTIALS)
def test_a_committed_credential_is_refused_and_its_value_is_not_printed(tmp_path, case):
    path, text, what = CREDENTIALS[case]
    errors = messages(source_fastapi.check(checkout(write(tmp_path, BACKEND, {path: text})), source_fastapi.Options()), "error")
    assert len(errors) == 1
    assert errors[0].startswith(f"{path}:1: {what}")
    assert "is committed here" in errors[0]
    value = text.split("=", 1)[-1].strip().strip('"')
    assert value not in errors[0]


@pytest.mark.parametrize("case", ["an OpenAI key", "an AWS key", "a private key"])
def test_a_credential_that_would_be_copied_is_refused_tracked_or_not(tmp_path, case):
    path, text, what = CREDENTIALS[case]
    for source in (write(tmp_path / "no-git", BACKEND), checkout(write(tmp_path / "new", BACKEND))):
        write(source, {path: text})
        errors = messages(source_fastapi.check(source, source_fastapi.Options()), "error")
        assert [e.split(" -> ")[0] for e in errors] == [f"{path}:1: {what} is here, and would be copied into the image"]
        write(source, {".gitignore": path.split("/")[0] if "/" in path and not path.startswith("app") else path.split("/")[-1]})
        assert messages(source_fastapi.check(source, source_fastapi.Options()), "error") == []


KEY = "-----BEGIN PRIVATE " + "KEY-----{end}" + drawn(64) + "{end}" + drawn(64) + "{end}-----END PRIVATE " + "KEY-----{end}"


@pytest.mark.parametrize(
    ("path", "text", "what"),
    [
        (
            "service-account.json",
            '{\n "type": "service_account",\n "private_key": "' + KEY.format(end="\\n") + '"\n}\n',
            "a service account's key",
        ),
        ("app/settings.json", '{"private_key": "' + KEY.format(end="\\n") + '"}', "a private key"),
        ("certs/dev.pem", KEY.replace("PRIVATE", "RSA PRIVATE").format(end="\n"), "a private key"),
        ("certs/dos.pem", KEY.format(end="\r\n"), "a private key"),
        ("app/tests/fixtures/key.pem", KEY.format(end="\n"), "a private key"),
        ("tests/fixtures/key.pem", KEY.format(end="\n"), None),  # not copied
        ("keys/example.pem", "-----BEGIN PRIVATE " + "KEY-----\n...\n-----END PRIVATE " + "KEY-----\n", None),
        ("docs/tls.md", KEY.format(end="\n"), None),
        (".npmrc.ci", "//npm.acme.dev/:_authToken=" + drawn(36) + "\n", "a registry's token"),
        (".npmrc.ci", "//npm.acme.dev/:_authToken=${NPM_TOKEN}\n", None),
    ],
)
def test_keys_are_found_by_their_form(tmp_path, path, text, what):
    source = checkout(write(tmp_path, BACKEND, {path: text}))
    findings = [f for f in source_fastapi.check(source, source_fastapi.Options()) if f["check"] == "credential"]
    assert [f["message"] for f in findings] == ([f"{what} is committed here"] if what else [])


GOOGLE = "AI" + "za" + drawn(35)
DIGITS = string.digits + "abcdef"


def token_of_supabase(role: str, issuer: str = "supabase") -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"iss": issuer, "ref": "xyz", "role": role, "iat": 1, "exp": 2}).encode())
    return f"eyJ{drawn(30)}.{claims.decode().rstrip('=')}.{drawn(43)}"


# Public by design, made up, or no value at all: kind of source, path, text.
PUBLIC = {
    "Firebase's configuration": ("nextjs", "lib/fire.ts", f'const c = {{\n  apiKey: "{GOOGLE}",\n  authDomain: "a.web.app",\n}};\n'),
    "Firebase's worker": ("nextjs", "public/firebase-messaging-sw.js", f'firebase.initializeApp({{ apiKey: "{GOOGLE}" }});\n'),
    "a public variable": ("nextjs", ".env.production", f"NEXT_PUBLIC_GOOGLE_KEY={GOOGLE}\n"),
    "maps": ("nextjs", "app/map.tsx", f'export const src = "https://maps.googleapis.com/maps/api/js?key={GOOGLE}";\n'),
    "Firebase in Python": ("fastapi", "app/fire.py", f'CONFIG = {{"apiKey": "{GOOGLE}",\n "projectId": "shop"}}\n'),
    "Supabase, anonymous": ("nextjs", ".env.production", f"NEXT_PUBLIC_SUPABASE_ANON_KEY={token_of_supabase('anon')}\n"),
    "Supabase, local": ("fastapi", "app/local.py", f'KEY = "{token_of_supabase("service_role", "supabase-demo")}"\n'),
    "Stripe, publishable": ("nextjs", "lib/pay.ts", f'export const k = "pk_li" + "ve_{drawn(60)}";\n'.replace('" + "', "")),
    "an expression": ("fastapi", "app/k.py", "openai_api_key = ctx.obj2.stripe1.live_api_keys\n"),
    "a certificate": ("nextjs", "public/ca.pem", f"-----BEGIN CERTIFICATE-----\n{drawn(64)}\n-----END CERTIFICATE-----\n"),
    "a test's key that stays out": ("fastapi", "tests/certs/server.key", KEY.format(end="\n")),
    "an example's token": ("fastapi", "examples/client.py", f'T = "gh" "p_{drawn(36)}"\n'.replace('" "', "")),
}  # fmt: skip


@pytest.mark.parametrize("case", PUBLIC)
def test_what_is_public_or_made_up_is_no_credential(tmp_path, case):
    kind, path, text = PUBLIC[case]
    source = checkout(write(tmp_path, {"fastapi": BACKEND, "nextjs": FRONTEND}[kind], {path: text}))
    check = {"fastapi": source_fastapi, "nextjs": source_nextjs}[kind]
    assert [f for f in check.check(source, check.Options()) if f["check"] == "credential"] == []


LINES = KEY.format(end="\n").splitlines()
HIDDEN = {
    "in a directory of templates": ("app/templates/deploy.pem", KEY.format(end="\n"), "a private key"),
    "among the documents": ("docs/deploy.pem", KEY.format(end="\n"), "a private key"),
    "in a module about samples": ("app/resampler.py", 'T = "gh' + "p_" + drawn(36) + '"\n', "a GitHub token"),
    "put together from lines": ("app/keys.py", "K = (\n" + "".join(f'    "{one}\\n"\n' for one in LINES) + ")\n", "a private key"),
    "in base64": ("app/b64.py", f'K = "{base64.b64encode(KEY.format(end=chr(10)).encode()).decode()}"\n', "a private key"),
    "of PuTTY": ("key.ppk", f"PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nPrivate-Lines: 1\n{drawn(60)}\n", "a private key"),
    "in a large file": ("a.ipynb", '{"a": "' + "x" * 1_100_000 + '", "k": "sk-' + "proj-" + drawn(60) + '"}', "an OpenAI API key"),
    "of Supabase": (".env.production", f"SUPABASE_KEY={token_of_supabase('service_role')}\n", "a Supabase service key"),
    "of Gemini": ("app/g.py", f'genai.configure(api_key="{GOOGLE}")\n', "a Google API key"),
}  # fmt: skip


@pytest.mark.parametrize("case", HIDDEN)
def test_a_credential_is_found_wherever_it_would_be_copied_from(tmp_path, case):
    path, text, what = HIDDEN[case]
    source = checkout(write(tmp_path, BACKEND, {path: text}))
    errors = messages([f for f in source_fastapi.check(source, source_fastapi.Options()) if f["check"] == "credential"], "error")
    assert [e.split(": ")[1].split(" -> ")[0] for e in errors] == [f"{what} is committed here"]


def test_a_key_in_utf_16_is_found(tmp_path):
    source = write(tmp_path, BACKEND)
    (source / "key.pem").write_text(KEY.format(end="\r\n"), encoding="utf-16")
    assert "key.pem:1: a private key is here" in messages(source_fastapi.check(source, source_fastapi.Options()), "error")[0]


def test_a_token_in_a_test_and_a_key_store_are_warnings(tmp_path):
    findings = backend(tmp_path, {"app/tests/test_a.py": 'T = "gh' + "p_" + drawn(36) + '"\n', "store.p12": "\0"})
    assert messages(findings, "error") == []
    warnings = [w for w in messages(findings, "warning") if "lock file" not in w and "no driver" not in w]
    assert "name app/tests/test_a.py in .dockerignore" in warnings[0] and "store.p12: a key store" in warnings[1]


@pytest.mark.parametrize("text", ["API_KEY\n" + "\n" * 300_000, "API_KEY" + " " * 300_000])
def test_the_search_for_credentials_takes_no_longer_for_blanks(tmp_path, text):
    started = time.monotonic()
    backend(tmp_path, {"app/blank.txt": text})
    assert time.monotonic() - started < 5


def test_a_credential_that_git_does_not_have_is_nobodys_business(tmp_path):
    path, text, _ = CREDENTIALS["a drawn secret"]
    assert messages(backend(tmp_path / "a", {path: text, ".gitignore": ".env*\n"}), "error") == []
    source = write(tmp_path / "b", BACKEND, {path: text})
    subprocess.run("git init -q && git add app requirements.txt", shell=True, check=True, cwd=source)
    assert messages(source_fastapi.check(source, source_fastapi.Options()), "error") == []
    subprocess.run("git add .", shell=True, check=True, cwd=source)
    assert len(messages(source_fastapi.check(source, source_fastapi.Options()), "error")) == 1


def test_addresses_of_this_machine_are_warned_of_with_the_variable_to_set(tmp_path):
    main = BACKEND["app/main.py"] + "from app import settings\n"
    settings = (
        'import os\nJWKS = "http://localhost:3000/api/auth/jwks"\nurl = os.getenv("BACKEND_CALLBACK", "http://127.0.0.1:9000")\n'
        'ORIGINS = ["http://localhost:3000"]\nSELF = "http://127.0.0.1:8000/mcp"\n"""http://localhost:1"""\n'
    )
    warnings = [w for w in messages(backend(tmp_path, {"app/main.py": main, "app/settings.py": settings}), "warning") if "settings" in w]
    assert [w.split(": ")[0] for w in warnings] == ["app/settings.py:2", "app/settings.py:3"]
    assert "hard-coded" in warnings[0]
    assert "set backend_image_extra_environment.BACKEND_CALLBACK" in warnings[1]
    given = backend(tmp_path, {"app/main.py": main, "app/settings.py": settings}, environment={"BACKEND_CALLBACK"})
    assert len([w for w in messages(given, "warning") if "settings" in w]) == 1
    page = {"lib/api.ts": 'export const api = process.env.NEXT_PUBLIC_API_URL || "http://localhost:8000";\n'}
    assert "set frontend_image_build_environment.NEXT_PUBLIC_API_URL" in messages(frontend(tmp_path / "f", page), "warning")[0]


def test_a_documented_variable_that_nothing_gives_is_warned_of(tmp_path):
    layers = {
        ".env.example": "# keys\nTOKEN_SECRET=\nLOG_LEVEL=info\nUNUSED=\n",
        "app/database.py": 'import os\nengine = os.environ["TOKEN_SECRET"]\n',
    }
    warnings = [w for w in messages(backend(tmp_path, layers), "warning") if "documented" in w]
    assert len(warnings) == 1
    assert warnings[0].startswith(
        ".env.example:2: TOKEN_SECRET is documented here, read in app/database.py:2, and given nowhere -> set SECRET_TOKEN_SECRET=..."
    )
    assert not [w for w in messages(backend(tmp_path, layers, environment={"TOKEN_SECRET"}), "warning") if "documented" in w]


DOCUMENTED = {
    ".env.example": "NEXT_PUBLIC_API_URL=\n",
    "lib/api.ts": "export const api = process.env.NEXT_PUBLIC_API_URL;\n",
}


def test_a_public_variable_is_one_of_the_build(tmp_path):
    def warned(number, layer=None, **options):
        return messages(frontend(tmp_path / str(number), DOCUMENTED, layer or {}, **options), "warning")

    (documented,) = warned(1)
    assert documented.startswith(".env.example:1: NEXT_PUBLIC_API_URL is documented here, read in lib/api.ts:1, and given nowhere -> set")
    assert "frontend_image_build_environment.NEXT_PUBLIC_API_URL" in documented and "extra_environment" not in documented
    # In the container's environment the browser does not see it.
    found = warned(2, environment={"NEXT_PUBLIC_API_URL"})
    assert any("set for the container only" in line and "frontend_image_build_environment.NEXT_PUBLIC_API_URL" in line for line in found)
    assert warned(3, build_environment={"NEXT_PUBLIC_API_URL"}) == []
    assert warned(4, build_environment={"NEXT_PUBLIC_API_URL"}, environment={"NEXT_PUBLIC_API_URL"}) == []
    # A file of the source that the build reads, where git has it.
    write(tmp_path / "5", FRONTEND, DOCUMENTED, {".env.production": "NEXT_PUBLIC_API_URL=/api\n"})
    for command in (["init", "-q"], ["add", "-A"]):
        subprocess.run(["git", *command], cwd=tmp_path / "5", check=True)
    assert not [
        line for line in messages(source_nextjs.check(str(tmp_path / "5"), source_nextjs.Options()), "warning") if "NEXT_PUBLIC" in line
    ]


def test_missing_locks_are_warnings(tmp_path):
    assert "no lock file: 2 of 2" in messages(backend(tmp_path / "b", {"requirements.txt": "fastapi\nsqlmodel\n"}), "warning")[0]
    write(tmp_path / "f", FRONTEND)
    (tmp_path / "f" / "package-lock.json").unlink()
    assert "no lock file" in messages(source_nextjs.check(tmp_path / "f", source_nextjs.Options()), "warning")[0]


@pytest.mark.parametrize(
    ("specifier", "version", "allowed"),
    [
        (">=3.11", "3.11", True), (">=3.11.4", "3.11", True), (">=3.12", "3.11", False), (">=3.10,<3.13", "3.13", False),
        ("==3.11.*", "3.11", True),
        ("~=3.11", "3.13", True), ("~=3.11.0", "3.13", False), ("^3.11", "3.13", True), ("!=3.11.1", "3.11", True),
        (">3.11", "3.11", False),
        ("<4.0,>=3.9", "3.13", True), ("whatever", "3.11", None), ("<=3.11", "3.11", True),
    ],
)  # fmt: skip
def test_python_versions(specifier, version, allowed):
    assert python_allows(specifier, version) is allowed


@pytest.mark.parametrize(
    ("expression", "version", "allowed"),
    [
        (">=18", "18.20.4", True), ("18", "18.20.4", True), ("18.x", "18.20.4", True), ("^18.17 || "
">=20", "18.20.4", True), (">=20.9.0", "18.20.4", False),
        ("^20", "18.20.4", False), (">=18 <20", "18.20.4", True), (">=18 <=18.19", "18.20.4", False), ("18 - "
"22", "20.19.2", True), ("*", "18.20.4", True),
        ("~18.20.0", "18.20.4", True), (">= 18.0.0", "18.20.4", True), ("lts/*", "18.20.4", None), ("22.x || 24.x", "20.19.2", False),
    ],
)  # fmt: skip
def test_node_versions(expression, version, allowed):
    assert node_allows(expression, version) is allowed


def test_accepted_findings_are_kept_and_marked_and_an_acceptance_ends():
    findings = [{"check": "health", "severity": "error", "where": "a.py:1", "message": "m", "advice": ""}]
    entry = {"check": "health", "reason": "behind a proxy", "until": "2026-06-01"}
    assert open_findings(accept(findings, [entry], date(2026, 6, 1)), "error") == []
    over = accept(findings, [entry], date(2026, 6, 2))
    assert open_findings(over, "error") == findings
    assert "ended on 2026-06-01" in open_findings(over, "warning")[0]["message"]
    assert open_findings(accept(findings, [entry | {"where": "b*"}], date(2026, 1, 1)), "error")
    assert unusable([entry]) == []
    assert unusable([{"check": "x", "until": "soon"}]) == ["x: no reason is given", "x: until must be a day, YYYY-MM-DD"]
