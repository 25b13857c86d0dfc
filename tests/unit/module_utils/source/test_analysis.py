"""What the analysis finds in sources: what the tested pairs need, the reference application's own settings, and each shape by itself."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.berth.stack.plugins.module_utils.source import fastapi, nextjs
from ansible_collections.berth.stack.plugins.module_utils.source.analysis import (
    NEUTRAL,
    Analysis,
    analyse,
    dumps,
    loads,
    patterns,
    replaced,
)
from ansible_collections.berth.stack.plugins.module_utils.source.refusals import refusals
from conftest import ROOT
from trees import BACKEND, FRONTEND, checkout, write

PAIRS = ROOT / "tests/sources/pairs"
ALEMBIC = {"alembic.ini": "[alembic]\nscript_location = migrations\n", "migrations/env.py": "from alembic import context\n"}
UPGRADE = ["python3", "-m", "alembic", "upgrade", "head"]
PROJECT = "[project]\nname = 'a'\ndependencies = ['fastapi']\n"
MAIN = 'from fastapi import FastAPI\n\napp = FastAPI()\n\n\n@app.get("/health")\ndef health(): ...\n'


def found(
    tmp_path: Path, backend: dict[str, str | None] | None = None, frontend: dict[str, str | None] | None = None, **given: Any
) -> Analysis:
    """The analysis of a small backend and frontend."""
    one = write(tmp_path / "backend", {"requirements.txt": "fastapi==0.115.0\n", "main.py": MAIN} if backend is None else backend)
    other = write(tmp_path / "frontend", FRONTEND, frontend or {})
    return analyse(one, other, given)


# --- whole applications -----------------------------------------------------------------------------------------------------------

# What the variables of each application had to say before there was an analysis; paths are the wider patterns that hold the same.
EXPECTED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "atlas": (
        "",
        "web",
        {
            "backend_image_app": "backend.main:api",
            "backend_image_app_root": ".",
            "backend_image_health_path": "/livez",
            "backend_image_database_scheme": "postgresql+psycopg",
            "backend_image_secrets_environment": {"DATABASE_URL": "database_url"},
            "backend_image_migrate_command": ["python3", "-m", "backend.migrate"],
            "frontend_image_migrate_command": [],
            "frontend_image_build_placeholders": ["BETTER_AUTH_SECRET", "DATABASE_URL"],
            "frontend_image_health_path": "/api/health",
            "frontend_image_secrets_environment": {"DATABASE_URL": "database_url", "BETTER_AUTH_SECRET": "better_auth_secret"},
            "edge_backend_paths": ["/docs", "/livez", "/openapi.json", "/places"],
            "edge_frontend_paths": [],
        },
    ),
    "board": (
        "backend",
        "frontend",
        {
            "backend_image_app": "board.api:create_app",
            "backend_image_environment": {"UVICORN_FACTORY": "true"},
            "backend_image_health_path": "/healthz",
            "backend_image_secrets_environment": {"DATABASE_URL": "database_url"},
            "backend_image_database_scheme": "postgresql+psycopg2",
            "backend_image_migrate_command": [],
            "frontend_image_migrate_command": [],
            "frontend_image_languages": ["en", "de"],
            "edge_backend_paths": ["/docs", "/healthz", "/openapi.json", "/v1/notes"],
        },
    ),
    "harbour": (
        "",
        "",
        {
            "backend_image_app": "service.app:app",
            "backend_image_app_root": "apps/api",
            "backend_image_health_path": "/api/health",
            "backend_image_dependencies": "apps/api/requirements/production.txt",
            "backend_image_migrate_command": [],
            "backend_image_extra_run_packages": ["libmagic1"],
            "frontend_image_source_subpath": "apps/web",
            "frontend_image_health_path": "/",
            "frontend_image_migrate_command": [],
            "edge_backend_paths": ["/api/*", "/docs", "/openapi.json"],
            "edge_frontend_paths": [],
        },
    ),
    "ledger": (
        "backend",
        "frontend",
        {
            "backend_image_debian_release": "trixie",
            "backend_image_app": "ledger.main:app",
            "backend_image_pythonpath": "src",
            "backend_image_database_scheme": "postgresql+asyncpg",
            "backend_image_secrets_environment": {"DATABASE_URL": "database_url"},
            "backend_image_migrate_command": UPGRADE,
            "frontend_image_debian_release": "trixie",
            "frontend_image_health_path": "/",
            "frontend_image_build_environment": {"BACKEND_URL": "@backend@"},
            "frontend_image_migrate_command": [],
        },
    ),
    "relay": (
        "backend",
        "frontend",
        {
            "backend_image_app": "main:app",
            "backend_image_health_path": "/health",
            "backend_image_migrate_command": [],
            "backend_image_environment": {"TOOLS_URL": "http://tools:8001/rpc"},
            "edge_backend_paths": ["/ask", "/docs", "/health", "/openapi.json"],
            "stack_services": {
                "tools": {"command": ["python3", "-m", "uvicorn", "tools:app", "--port", "8001"], "expose": [8001], "health_path": "/up"}
            },
            "frontend_image_migrate_command": [],
            "frontend_image_health_path": "/",
        },
    ),
    "orchard": (
        "",
        "web",
        {
            "backend_image_app": "orchard_api.main:app",
            "backend_image_app_root": "api",
            "backend_image_health_path": "/health",
            "backend_image_migrate_command": [],
            "frontend_image_health_path": "/api/health",
            "edge_backend_paths": ["/docs", "/health", "/openapi.json"],
        },
    ),
    "depot": (
        "backend",
        "frontend",
        {
            "backend_image_app": "depot.main:app",
            "backend_image_health_path": "/health",
            "backend_image_migrate_command": [],
            "frontend_image_health_path": "/api/health",
        },
    ),
    "parlour": (
        "backend",
        "frontend",
        {
            "backend_image_app": "main:app",
            "backend_image_health_path": "/health",
            "edge_backend_paths": ["/docs", "/health", "/openapi.json", "/ws/*"],
            "edge_frontend_paths": [],
            "frontend_image_debian_release": "trixie",
            "frontend_image_build_environment": {"NEXT_PUBLIC_WS_URL": "@socket@/ws"},
            "frontend_image_build_placeholders": ["DATABASE_URL"],
            "frontend_image_secrets_environment": {"DATABASE_URL": "database_url"},
            "frontend_image_database_options": "auto",
            "frontend_image_database_schema": "public",
            "frontend_image_migrations": {"tool": "prisma", "directory": "prisma/migrations", "table": ""},
            "frontend_image_migrate_command": ["node", "berth-migrate.mjs"],
        },
    ),
    "gallery": (
        "backend",
        "frontend",
        {
            "backend_image_app": "gallery.main:app",
            "backend_image_database_scheme": "postgresql+psycopg",
            "backend_image_tmp_size": "64m",
            "edge_max_body": "6MB",
            "edge_backend_paths": ["/docs", "/health", "/openapi.json", "/photos", "/photos/*"],
            "frontend_image_debian_release": "trixie",
            "frontend_image_secrets_environment": {"DATABASE_URL": "database_url", "BETTER_AUTH_SECRET": "better_auth_secret"},
            "frontend_image_build_placeholders": ["DATABASE_URL", "GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET"],
            "frontend_image_database_options": "postgres.js",
            "frontend_image_database_schema": "public",
            "frontend_image_migrations": {"tool": "drizzle", "directory": "drizzle", "table": "drizzle.__drizzle_migrations"},
            "frontend_image_migrate_command": ["node", "berth-migrate.mjs"],
        },
    ),
}


@pytest.mark.parametrize("pair", EXPECTED)
def test_a_pair_needs_no_variable_that_is_in_its_sources(pair):
    backend, frontend, expected = EXPECTED[pair]
    analysis = analyse(PAIRS / pair / backend, PAIRS / pair / frontend)
    assert {name: analysis.value(name) for name in expected} == expected
    assert analysis.questions(set()) == []
    assert refusals(analysis, {"backend": PAIRS / pair / backend, "frontend": PAIRS / pair / frontend}) == []
    set_by_hand = set(yaml.safe_load((PAIRS / pair / "vars.yml").read_text())) & set(expected)
    assert set_by_hand <= {"frontend_image_build_environment"}


@pytest.mark.parametrize("pair", EXPECTED)
def test_the_preflight_has_no_error_for_a_pair(pair, monkeypatch):
    backend, frontend, _ = EXPECTED[pair]
    analysis = analyse(PAIRS / pair / backend, PAIRS / pair / frontend)
    monkeypatch.setattr(nextjs, "can_reach", lambda host: False)
    python = {"bookworm": "3.11", "trixie": "3.13"}[analysis.value("backend_image_debian_release")]
    node = {"bookworm": "18.20.4", "trixie": "20.19.2"}[analysis.value("frontend_image_debian_release")]
    one = fastapi.Options(
        python=python,
        **{name: analysis.value(f"backend_image_{name}") for name in ("app", "app_root", "pythonpath", "dependencies", "health_path")},
    )
    other = nextjs.Options(
        subpath=analysis.value("frontend_image_source_subpath"), node=node, health_path=analysis.value("frontend_image_health_path")
    )
    found = [*fastapi.check(PAIRS / pair / backend, one), *nextjs.check(PAIRS / pair / frontend, other)]
    assert [item for item in found if item["severity"] == "error"] == []
    assert bool([item for item in found if item["check"] == "fonts"]) == (pair == "orchard")
    assert not [item for item in found if "generated/prisma" in item["message"]], "the build makes Prisma's client"


def test_a_secret_that_only_its_reader_knows_is_drawn():
    analysis = analyse(PAIRS / "board/backend", PAIRS / "board/frontend")
    assert analysis.schema(set()) == {"session_secret": {"services": ["frontend"], "generate": 48}}


def test_a_source_with_a_dockerfile_of_its_own_is_named_and_stops_the_run():
    backend, frontend = analyse(PAIRS / "forge/backend", PAIRS / "forge/frontend").questions(set())
    assert "no ASGI application was found" in backend
    assert "set backend_image_dockerfile: docker/Dockerfile.prod" in backend
    assert "set frontend_image_dockerfile: Dockerfile" in frontend
    assert analyse(None, None).questions(set()) == []


def test_the_reference_application_is_found_as_its_file_says():
    """So that a copy of it, which is an unknown application, is deployed like it."""
    own = yaml.safe_load((ROOT / "apps/app.yml").read_text())
    analysis = analyse(ROOT / "apps/backend", ROOT / "apps/frontend")
    # What it promises to have is for nobody to find.
    aside = ("edge_backend_paths", "edge_frontend_paths", "verify_required")
    assert {name: analysis.value(name) for name in own if name in NEUTRAL and name not in aside} == {
        name: value for name, value in own.items() if name in NEUTRAL and name not in aside
    }
    assert set(own["edge_backend_paths"]) - set(analysis.value("edge_backend_paths")) == {"/mcp/*"}
    assert set(analysis.value("edge_frontend_paths")) == set(own["edge_frontend_paths"])
    assert analysis.questions(set()) == analysis.secrets == []


def test_an_analysis_is_kept_as_json():
    analysis = analyse(PAIRS / "relay/backend", PAIRS / "relay/frontend")
    assert loads(dumps(analysis)) == analysis


# --- entry point, directories ------------------------------------------------------------------------------------------------------

# (files, app, app_root, pythonpath): the shapes of public repositories.
LAYOUTS: dict[str, tuple[dict[str, str | None], str, str, str]] = {
    "app.main": ({"requirements.txt": "fastapi\n", "app/__init__.py": "", "app/main.py": MAIN}, "app.main:app", ".", ""),
    "src.main, imported from the root": (
        {"requirements.txt": "fastapi\n", "src/main.py": "from src.config import x\n" + MAIN, "src/config.py": "x = 1\n"},
        "src.main:app",
        ".",
        "",
    ),
    "src.main, imported from src": (
        {"pyproject.toml": PROJECT, "src/main.py": "from config import x\n" + MAIN, "src/config.py": "x = 1\n"},
        "main:app",
        ".",
        "src",
    ),
    "src layout": (
        {"pyproject.toml": PROJECT, "src/shop/__init__.py": "", "src/shop/main.py": MAIN},
        "shop.main:app",
        ".",
        "src",
    ),
    "the root": ({"requirements.txt": "fastapi\n", "main.py": MAIN}, "main:app", ".", ""),
    "a directory of a repository": (
        {"backend/requirements.txt": "fastapi\n", "backend/app/main.py": "from app.x import y\n" + MAIN, "backend/app/x.py": "y = 1\n"},
        "app.main:app",
        "backend",
        "",
    ),
    "requirements above, alembic beside the code": (
        {
            "requirements.txt": "fastapi\nalembic\n",
            "backend/app/main.py": "from app.x import y\n" + MAIN,
            "backend/app/x.py": "y = 1\n",
            "backend/alembic.ini": "[alembic]\n",
        },
        "app.main:app",
        "backend",
        "",
    ),
    "imported from above its project": (
        {
            "backend/pyproject.toml": PROJECT,
            "backend/__init__.py": "",
            "backend/main.py": "from backend.x import y\n" + MAIN,
            "backend/x.py": "y = 1\n",
        },
        "backend.main:app",
        "backend",
        "..",
    ),
    "relative imports": (
        {"requirements.txt": "fastapi\n", "app/main.py": "from .x import y\n" + MAIN, "app/x.py": "y = 1\n"},
        "app.main:app",
        ".",
        "",
    ),
    "deep": (
        {
            "requirements.txt": "fastapi\n",
            "src/api/web/__init__.py": "",
            "src/api/__init__.py": "",
            "src/__init__.py": "",
            "src/api/web/server.py": MAIN,
        },
        "src.api.web.server:app",
        ".",
        "",
    ),
    "a wrapper": (
        {"requirements.txt": "fastapi\n", "main.py": MAIN + "sio = AsyncServer()\nsocket_app = socketio.ASGIApp(sio, app)\n"},
        "main:socket_app",
        ".",
        "",
    ),
    "a function elsewhere": (
        {
            "requirements.txt": "fastapi\n",
            "app/__init__.py": "",
            "app/factory.py": "def create_app(settings) -> FastAPI:\n    return FastAPI()\n",
            "app/main.py": "from app.factory import create_app\napp = create_app({})\n",
        },
        "app.main:app",
        ".",
        "",
    ),
    "tests, tools and assistants have one, too": (
        {
            "requirements.txt": "fastapi\n",
            "app/main.py": MAIN,
            "tests/main.py": MAIN,
            ".claude/skills/main.py": MAIN,
            "examples/main.py": MAIN,
            "scripts/app.py": MAIN,
        },
        "app.main:app",
        ".",
        "",
    ),
    "a part of another application": (
        {
            "requirements.txt": "fastapi\n",
            "app/__init__.py": "",
            "app/admin.py": MAIN,
            "app/main.py": "from app.admin import app as admin\n" + MAIN,
        },
        "app.main:app",
        ".",
        "",
    ),
    "what the Dockerfile starts": (
        {
            "requirements.txt": "fastapi\n",
            "main.py": MAIN,
            "service.py": MAIN,
            "Dockerfile": 'FROM python:3.13\nCMD ["uvicorn", "service:app", \\\n "--port", "7860"]\n',
        },
        "service:app",
        ".",
        "",
    ),
    "what a Procfile starts": (
        {
            "requirements.txt": "fastapi\n",
            "main.py": MAIN,
            "web.py": MAIN,
            "Procfile": "web: gunicorn -k uvicorn.workers.UvicornWorker web:app\n",
        },
        "web:app",
        ".",
        "",
    ),
    "what fastapi run starts": (
        {"requirements.txt": "fastapi\n", "main.py": MAIN, "src/api.py": MAIN, "Dockerfile": 'CMD ["fastapi", "run", "src/api.py"]\n'},
        "src.api:app",
        ".",
        "",
    ),
}


@pytest.mark.parametrize(("files", "app", "root", "pythonpath"), LAYOUTS.values(), ids=LAYOUTS)
def test_the_entry_point_is_found_where_python_would_import_it(tmp_path, files, app, root, pythonpath):
    analysis = found(tmp_path, files)
    directory = [analysis.value(f"backend_image_{name}") for name in ("app", "app_root", "pythonpath")]
    assert directory == [app, root, pythonpath]
    assert analysis.questions(set()) == []


def test_two_applications_that_are_alike_are_a_question_with_both_names(tmp_path):
    files = {"requirements.txt": "fastapi\n", "one/main.py": MAIN, "two/main.py": MAIN}
    (question,) = found(tmp_path, files).questions(set())
    assert question.startswith("backend_image_app could be one.main:app (one/main.py:3) or two.main:app (two/main.py:3)")
    assert found(tmp_path, files).questions({"backend_image_app"}) == []


def test_what_somebody_has_set_is_what_the_rest_follows_from(tmp_path):
    files = {"requirements.txt": "fastapi\n", "one/main.py": MAIN, "two/main.py": MAIN.replace("/health", "/livez")}
    analysis = found(tmp_path, files, backend_image_app="main:app", backend_image_app_root="two")
    assert analysis.value("backend_image_health_path") in ("/livez", "/health")
    analysis = found(tmp_path, files, backend_image_app="two.main:app")
    assert analysis.value("backend_image_health_path") == "/livez"
    assert analysis.questions({"backend_image_app"}) == []


def test_the_port_is_that_of_the_command(tmp_path):
    analysis = found(tmp_path, LAYOUTS["what the Dockerfile starts"][0])
    assert analysis.value("backend_image_port") == 7860
    assert found(tmp_path / "none").value("backend_image_port") == 8000


def test_requirements_that_are_not_where_the_build_looks_are_named(tmp_path):
    analysis = found(tmp_path, {"requirements-dev.txt": "pytest\n", "requirements.prod.txt": "fastapi\n", "main.py": MAIN})
    assert analysis.value("backend_image_dependencies") == "requirements.prod.txt"


# --- versions --------------------------------------------------------------------------------------------------------------------

PYTHONS: dict[str, tuple[dict[str, str | None], str, str]] = {
    "nothing": ({}, "bookworm", "likely"),
    "at least 3.12": ({"pyproject.toml": "[project]\nname = 'a'\nrequires-python = '>=3.12'\n"}, "trixie", "certain"),
    "at least 3.11": ({"pyproject.toml": "[project]\nname = 'a'\nrequires-python = '>=3.11'\n"}, "bookworm", "likely"),
    "below 3.13": ({"pyproject.toml": "[project]\nname = 'a'\nrequires-python = '>=3.10,<3.13'\n"}, "bookworm", "certain"),
    "Poetry": ({"pyproject.toml": "[tool.poetry.dependencies]\npython = '^3.12'\n"}, "trixie", "certain"),
    ".python-version": ({".python-version": "3.13\n"}, "trixie", "certain"),
    ".python-version of 3.12": ({".python-version": "3.12.4\n"}, "trixie", "likely"),
    ".python-version and a wider range": (
        {".python-version": "3.13\n", "pyproject.toml": "[project]\nname = 'a'\nrequires-python = '>=3.11'\n"},
        "trixie",
        "certain",
    ),
    "a Dockerfile": ({"Dockerfile": "FROM docker.io/library/python:3.13-slim AS build\n"}, "trixie", "certain"),
    "runtime.txt": ({"runtime.txt": "python-3.11.9\n"}, "bookworm", "certain"),
    "new in the library": ({"x.py": "from itertools import batched\n"}, "trixie", "certain"),
    "new syntax": ({"x.py": "def first[T](items: list[T]) -> T: ...\n"}, "trixie", "certain"),
}


@pytest.mark.parametrize(("files", "release", "certainty"), PYTHONS.values(), ids=PYTHONS)
def test_the_debian_release_of_the_backend_has_the_python_that_it_asks_for(tmp_path, files, release, certainty):
    one = found(tmp_path, {"requirements.txt": "fastapi\n", "main.py": MAIN, **files}).found["backend_image_debian_release"]
    assert (one.value, one.certainty) == (release, certainty)


def test_a_python_that_debian_has_not_is_named_with_the_way_out(tmp_path):
    files = {"requirements.txt": "fastapi\n", "main.py": MAIN, "pyproject.toml": "[project]\nname = 'a'\nrequires-python = '>=3.14'\n"}
    (problem,) = found(tmp_path, files).questions(set())
    assert "asks for Python >=3.14 (pyproject.toml:3)" in problem
    assert 'backend_image_args: {PYTHON_IMAGE: "python:3.14-slim"}' in problem
    given = {"backend_image_args": {"PYTHON_IMAGE": "python:3.14-slim"}}
    assert found(tmp_path, files, **given).questions(set()) == []


NODES: dict[str, tuple[dict[str, str | None], str]] = {
    "Next.js 15": ({}, "bookworm"),
    "Next.js 16": ({"package.json": '{"dependencies": {"next": "^16.0.0"}}', "package-lock.json": None}, "trixie"),
    "engines": ({"package.json": '{"engines": {"node": ">=20"}, "dependencies": {"next": "15.1.0"}}'}, "trixie"),
    ".nvmrc": ({".nvmrc": "v20\n"}, "trixie"),
    ".nvmrc of 22": ({".nvmrc": "22\n"}, "trixie"),
    "volta": ({"package.json": '{"volta": {"node": "20.11.0"}, "dependencies": {"next": "15.1.0"}}'}, "trixie"),
    ".nvmrc of 18": ({".nvmrc": "18\n"}, "bookworm"),
}


@pytest.mark.parametrize(("files", "release"), NODES.values(), ids=NODES)
def test_the_debian_release_of_the_frontend_has_the_node_that_it_asks_for(tmp_path, files, release):
    assert found(tmp_path, frontend=files).value("frontend_image_debian_release") == release


def test_a_version_that_is_not_followed_is_said(tmp_path):
    analysis = found(tmp_path, {"requirements.txt": "fastapi\n", "main.py": MAIN, ".python-version": "3.12\n"}, {".nvmrc": "22\n"})
    assert "the backend names Python 3.12 (.python-version:1); its image has 3.13" in analysis.notes
    assert "the frontend names Node.js 22 (.nvmrc:1); its image has 20" in analysis.notes


# --- health, routes ---------------------------------------------------------------------------------------------------------------

ROUTES: dict[str, tuple[str, str]] = {
    "below the routers' prefixes": (
        "from fastapi import FastAPI\nfrom pkg import api\nP = '/api/v1'\napp = FastAPI()\napp.include_router(api.router, prefix=P)\n",
        "/api/v1/utils/health-check",
    ),
    "no route, a page": ("from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\ndef root(): ...\n", "/"),
    "no route at all": ("from fastapi import FastAPI\napp = FastAPI()\n@app.get('/items/{x}')\ndef root(): ...\n", "/docs"),
    "two": (
        "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/api/status')\ndef a(): ...\n@app.get('/healthz')\ndef b(): ...\n",
        "/healthz",
    ),
}


@pytest.mark.parametrize(("main", "path"), ROUTES.values(), ids=ROUTES)
def test_the_health_path_is_a_route_of_the_source(tmp_path, main, path):
    router = "from fastapi import APIRouter\nrouter = APIRouter(prefix='/utils')\n@router.get('/health-check')\ndef h(): ...\n"
    assert (
        found(tmp_path, {"requirements.txt": "fastapi\n", "main.py": main, "pkg/api.py": router}).value("backend_image_health_path") == path
    )


def test_a_backend_that_answers_nothing_is_asked_for_a_path(tmp_path):
    main = "from fastapi import FastAPI\napp = FastAPI(docs_url=None, openapi_url=None)\n@app.post('/x')\ndef x(): ...\n"
    (question,) = found(tmp_path, {"requirements.txt": "fastapi\n", "main.py": main}).questions(set())
    assert "set backend_image_health_path" in question


def api(*paths: str) -> str:
    return "from fastapi import FastAPI\napp = FastAPI()\n" + "".join(
        f"@app.get('{path}')\ndef f{number}(): ...\n" for number, path in enumerate(paths)
    )


OWNERS: dict[str, tuple[list[str], dict[str, str | None], set[str], set[str]]] = {
    "the frontend's handlers below /api": (
        ["/health", "/api/tasks", "/api/tasks/{id}"],
        {"app/api/auth/[...all]/route.ts": "", "app/api/health/route.ts": ""},
        {"/health", "/api/*"},
        {"/api/auth/*", "/api/health"},
    ),
    "the backend's own /api/auth": (
        ["/health", "/api/auth/login", "/api/me"],
        {"app/api/health/route.ts": None},
        {"/health", "/api/*"},
        set(),
    ),
    "a proxy of the frontend's own": (["/health", "/api/tasks", "/api/users"], {"app/api/[...path]/route.ts": ""}, {"/health"}, set()),
    "pages": (
        ["/health", "/tasks", "/tasks/{id}"],
        {"app/(site)/tasks/page.tsx": "", "app/about/page.tsx": ""},
        {"/health", "/tasks/*"},
        set(),
    ),
    "nothing of the frontend's": (["/health", "/v1/a", "/v1/b"], {"app/api/health/route.ts": None}, {"/health", "/v1/*"}, set()),
    "the documentation is the frontend's": (["/health"], {"app/docs/page.tsx": ""}, {"/health"}, set()),
    "pages router": (
        ["/health", "/api/a", "/api/b"],
        {"pages/api/[...nextauth].ts": "", "app/api/health/route.ts": None},
        {"/health"},
        set(),
    ),
}


@pytest.mark.parametrize(("routes", "files", "backend", "frontend"), OWNERS.values(), ids=OWNERS)
def test_each_path_is_its_owners(tmp_path, routes, files, backend, frontend):
    analysis = found(tmp_path, {"requirements.txt": "fastapi\n", "main.py": api(*routes)}, files)
    assert set(analysis.value("edge_backend_paths")) - {"/docs", "/openapi.json"} == backend
    assert set(analysis.value("edge_frontend_paths")) == frontend


def test_a_path_that_both_answer_is_named(tmp_path):
    analysis = found(tmp_path, {"requirements.txt": "fastapi\n", "main.py": api("/health", "/tasks")}, {"app/tasks/page.tsx": ""})
    assert any("both services answer /tasks: backend main.py:5, frontend app/tasks/page.tsx" in note for note in analysis.notes)


def test_patterns_are_as_narrow_as_one_route_and_as_wide_as_several():
    assert patterns([("/health", False)]) == ["/health"]
    assert patterns([("/v1/notes", False)]) == ["/v1/notes"]
    assert patterns([("/v1/notes", False), ("/v1/users/{id}", False)]) == ["/v1/*"]
    assert patterns([("/items/", False)]) == ["/items", "/items/*"]
    assert patterns([("/items/{id}", False)]) == ["/items/*"]
    assert patterns([("/mcp", True)]) == ["/mcp", "/mcp/*"]
    assert patterns([("/{path:path}", False), ("/", False)]) == []


# --- migrations, database ---------------------------------------------------------------------------------------------------------

MIGRATIONS: dict[str, tuple[dict[str, str | None], list[str]]] = {
    "Alembic": ({"requirements.txt": "fastapi\nalembic\n", "main.py": MAIN, **ALEMBIC}, UPGRADE),
    "Alembic in a directory": (
        {"requirements.txt": "fastapi\nalembic\n", "main.py": MAIN, "db/alembic.ini": "[alembic]\n"},
        ["python3", "-m", "alembic", "-c", "db/alembic.ini", "upgrade", "head"],
    ),
    "alembic.ini alone": ({"requirements.txt": "fastapi\n", "main.py": MAIN, **ALEMBIC}, []),
    "none": ({"requirements.txt": "fastapi\n", "main.py": MAIN}, []),
    "a module": (
        {"requirements.txt": "fastapi\n", "main.py": MAIN, "app/migrate.py": "if __name__ == '__main__':\n    run()\n"},
        ["python3", "-m", "app.migrate"],
    ),
    "a module that runs nothing": ({"requirements.txt": "fastapi\n", "main.py": MAIN, "app/migrate.py": "def migrate(): ...\n"}, []),
}


@pytest.mark.parametrize(("files", "command"), MIGRATIONS.values(), ids=MIGRATIONS)
def test_migrations_run_where_the_source_has_them(tmp_path, files, command):
    analysis = found(tmp_path, files)
    assert analysis.value("backend_image_migrate_command") == command
    assert bool(analysis.value("backend_image_downgrade_command")) == ("alembic" in command)


PRISMA = {
    "package.json": '{"dependencies": {"next": "15.1.0", "@prisma/client": "7", "@prisma/adapter-pg": "7"}}',
    "prisma/schema.prisma": 'datasource db { provider = "postgresql" }\n',
    "prisma/migrations/20260101_a/migration.sql": "CREATE TABLE a ();\n",
}
DRIZZLE = {
    "package.json": '{"dependencies": {"next": "15.1.0", "drizzle-orm": "0.45.4", "pg": "8"}}',
    "drizzle.config.ts": 'export default { dialect: "postgresql", out: "./migrations" };\n',
    "migrations/0000_a.sql": 'CREATE TABLE "a" ();\n',
    "migrations/meta/_journal.json": "{}",
}
ENGINE = {"package.json": '{"dependencies": {"next": "15.1.0", "@prisma/client": "6"}}'}
OWN_SCHEMA = {"lib/db.ts": "export const adapter = new PrismaPg({ connectionString }, { schema: 'shop' });\n"}
OWN_PATH = {
    "prisma.config.ts": 'export default defineConfig({ schema: "db/schema.prisma", migrations: { seed: "x", path: "db/sql" } });\n',
    "db/schema.prisma": "model A { id Int @id }\n",
    "db/sql/1_a/migration.sql": "",
}
OWN_TABLE = {
    "drizzle.config.ts": 'export default { dialect: "postgresql", out: "./migrations", migrations: { schema: "public", table: "done" } };\n'
}
REFERENCES = {"migrations/0000_a.sql": 'ALTER TABLE "b" ADD FOREIGN KEY ("a") REFERENCES "public"."a"("id");\n'}
# Files, what the build adds a program for ({} for none), the schema, and a word of the notes.
SQL: dict[str, tuple[dict[str, str | None], dict[str, str], str, str]] = {
    "Prisma": (PRISMA, {"tool": "prisma", "directory": "prisma/migrations", "table": ""}, "public", ""),
    "Prisma in places of its own": (PRISMA | OWN_PATH, {"tool": "prisma", "directory": "db/sql", "table": ""}, "public", ""),
    "Prisma with a schema": (PRISMA | OWN_SCHEMA, {"tool": "prisma", "directory": "prisma/migrations", "table": ""}, "auth", ""),
    "Prisma's own engine": (PRISMA | ENGINE, {}, "public", "have none of pg, @prisma/adapter-pg"),
    "Prisma without migrations": (
        PRISMA | {"prisma/migrations/20260101_a/migration.sql": None},
        {},
        "public",
        "prisma db push leaves none",
    ),
    "Drizzle": (DRIZZLE, {"tool": "drizzle", "directory": "migrations", "table": "drizzle.__drizzle_migrations"}, "auth", ""),
    "Drizzle's references": (
        DRIZZLE | REFERENCES,
        {"tool": "drizzle", "directory": "migrations", "table": "drizzle.__drizzle_migrations"},
        "public",
        "",
    ),
    "Drizzle's own table": (DRIZZLE | OWN_TABLE, {"tool": "drizzle", "directory": "migrations", "table": "public.done"}, "auth", ""),
    "Drizzle without a journal": (DRIZZLE | {"migrations/meta/_journal.json": None}, {}, "auth", "drizzle-kit push leaves none"),
    "Drizzle on SQLite": (DRIZZLE | {"drizzle.config.ts": 'export default { dialect: "sqlite" };\n'}, {}, "auth", ""),
    "a script of its own": (
        DRIZZLE
        | {"package.json": '{"scripts": {"migrate": "node .next/standalone/m.mjs"}, "dependencies": {"next": "15.1.0", "pg": "8"}}'},
        {},
        "auth",
        "",
    ),
}


@pytest.mark.parametrize(("files", "program", "schema", "note"), SQL.values(), ids=SQL)
def test_the_migrations_of_a_frontends_tool_run_by_a_program_of_the_build(tmp_path, files, program, schema, note):
    analysis = found(tmp_path, frontend=files)
    assert analysis.value("frontend_image_migrations") == program
    own = ["node", "m.mjs"] if "node .next/standalone" in (files["package.json"] or "") else []
    assert analysis.value("frontend_image_migrate_command") == (["node", "berth-migrate.mjs"] if program else own)
    assert analysis.value("frontend_image_database_schema") == schema
    assert any(note in text for text in analysis.notes if "migrations" in text) == bool(note)


LIMITS = {
    "a limit": ("MAX_UPLOAD_BYTES = 10 * 1024 * 1024\n", "11MB", "88m"),
    "in megabytes": ("class Settings(BaseSettings):\n    max_file_size_mb: int = 100\n", "101MB", "256m"),
    "none": ("MAX_FILES = 5\n", "20MB", "160m"),
}


@pytest.mark.parametrize(("text", "body", "room"), LIMITS.values(), ids=LIMITS)
def test_a_backend_that_receives_files_gets_bodies_of_their_size(tmp_path, text, body, room):
    main = MAIN + '\n\n@app.post("/files")\ndef add(file: UploadFile): ...\n'
    analysis = found(tmp_path, {"requirements.txt": "fastapi==0.115.0\n", "main.py": main, "settings.py": text})
    assert (analysis.value("edge_max_body"), analysis.value("backend_image_tmp_size")) == (body, room)
    assert (
        found(tmp_path / "other", {"requirements.txt": "fastapi==0.115.0\n", "main.py": MAIN, "settings.py": text}).value("edge_max_body")
        == "1MB"
    )


def test_the_larger_body_of_both_services_passes_the_edge(tmp_path):
    config = {"next.config.ts": 'export default { experimental: { serverActions: { bodySizeLimit: "30mb" } } };\n'}
    files = {"requirements.txt": "fastapi==0.115.0\n", "main.py": MAIN + "\n\ndef add(file: UploadFile): ...\n"}
    assert found(tmp_path, files, config).value("edge_max_body") == "31MB"
    assert (
        found(tmp_path / "smaller", files, {"next.config.ts": config["next.config.ts"].replace("30mb", "2mb")}).value("edge_max_body")
        == "20MB"
    )


@pytest.mark.parametrize(("requirements", "said"), [("uvicorn", True), ("uvicorn[standard]", False), ("uvicorn\nwebsockets", False)])
def test_websockets_that_uvicorn_would_refuse_are_named(tmp_path, requirements, said):
    main = MAIN + '\n\n@app.websocket("/ws")\nasync def talk(socket): ...\n'
    analysis = found(tmp_path, {"requirements.txt": f"fastapi\n{requirements}\n", "main.py": main})
    assert any("WebSockets (main.py:10) need websockets or uvicorn[standard]" in note for note in analysis.notes) == said
    assert "/ws" in analysis.value("edge_backend_paths")


def test_what_is_registered_beside_a_secret_is_given_by_name_too(tmp_path):
    code = {"lib/auth.ts": "export const google = { id: process.env.GOOGLE_CLIENT_ID, secret: process.env.GOOGLE_CLIENT_SECRET };\n",
            "lib/other.ts": "export const other = process.env.ANALYTICS_CLIENT_ID;\n"}  # fmt: skip
    assert {one.name for one in found(tmp_path, frontend=code).secrets} == {"GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET"}


@pytest.mark.parametrize(("engines", "release"), [("^20.19 || >=22", "trixie"), (">=18", "bookworm"), (">=22", "bookworm")])
def test_the_node_that_a_dependency_needs_is_chosen(tmp_path, engines, release):
    manifest = '{"dependencies": {"next": "15.1.0", "sharper": "7"}}'
    packages = {"node_modules/next": {"version": "15.1.0"}, "node_modules/sharper": {"version": "7", "engines": {"node": engines}}}
    analysis = found(tmp_path, frontend={"package.json": manifest, "package-lock.json": json.dumps({"packages": packages})})
    assert analysis.value("frontend_image_debian_release") == release
    assert ("sharper 7 needs" in analysis.found["frontend_image_debian_release"].why) == (release == "trixie")


def test_tables_that_are_made_at_start_beside_migrations_are_said(tmp_path):
    files = {"requirements.txt": "fastapi\nalembic\nsqlalchemy\n", "main.py": MAIN + "Base.metadata.create_all(engine)\n", **ALEMBIC}
    assert any("creates its tables at start (main.py:" in note for note in found(tmp_path, files).notes)


SYNC, ASYNC = "from sqlalchemy import create_engine\n", "from sqlalchemy.ext.asyncio import create_async_engine\n"
REPLACED = "url = url.replace('postgresql://', 'postgresql+asyncpg://')\n"
DRIVERS: dict[str, tuple[str, str, str, str]] = {
    "asyncpg": ("sqlalchemy\nasyncpg\n", ASYNC, "postgresql+asyncpg", "auto"),
    "psycopg 3": ("sqlalchemy\npsycopg[binary]\n", SYNC, "postgresql+psycopg", "auto"),
    "psycopg2": ("sqlmodel\npsycopg2-binary\n", SYNC, "postgresql+psycopg2", "auto"),
    "asyncpg without SQLAlchemy": ("asyncpg\n", "import asyncpg\n", "postgresql", "auto"),
    "asyncpg by a replaced scheme": ("sqlalchemy\nasyncpg\n", ASYNC + REPLACED, "postgresql+asyncpg", "auto"),
    "two drivers of one address": (
        "sqlalchemy\nasyncpg\npsycopg2-binary\n",
        ASYNC + "sync = url.replace('+asyncpg', '')\n",
        "postgresql+asyncpg",
        "",
    ),
    "options of its own": ("sqlalchemy\nasyncpg\n", ASYNC + REPLACED + "if 'sslmode' in url: ...\n", "postgresql", "auto"),
}


@pytest.mark.parametrize(("requirements", "code", "scheme", "options"), DRIVERS.values(), ids=DRIVERS)
def test_the_address_of_the_database_has_the_form_of_its_driver(tmp_path, requirements, code, scheme, options):
    files = {
        "requirements.txt": "fastapi\n" + requirements,
        "main.py": MAIN,
        "db.py": "import os\nurl = os.environ['DATABASE_URL']\n" + code,
    }
    analysis = found(tmp_path, files)
    assert analysis.value("backend_image_database_scheme") == scheme
    assert analysis.value("backend_image_database_options") == options
    assert analysis.value("backend_image_environment").get("PGSSLMODE") == ("verify-full" if options == "" else None)
    assert analysis.value("backend_image_secrets_environment") == {"DATABASE_URL": "database_url"}


# --- environment ------------------------------------------------------------------------------------------------------------------

SETTINGS = """\
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="SHOP_", env_file=".env")
    jwt_secret_key: str
    stripe_api_key: str | None = None
    token_expire_minutes: int = 30
    dsn: str = Field(alias="DATABASE_URL")
    region: str
    frontend_url: str = Field("http://localhost:3000", validation_alias="FRONTEND_URL")
"""


def test_secrets_are_known_by_their_use(tmp_path):
    analysis = found(tmp_path, {"requirements.txt": "fastapi\n", "main.py": MAIN, "settings.py": SETTINGS})
    assert [(one.name, one.own, one.required) for one in analysis.secrets] == [
        ("SHOP_JWT_SECRET_KEY", False, True),
        ("SHOP_STRIPE_API_KEY", False, False),
    ]
    assert analysis.value("backend_image_secrets_environment") == {"DATABASE_URL": "database_url"}
    assert analysis.value("backend_image_environment") == {"FRONTEND_URL": "@url@"}
    assert analysis.todo == ["backend_image_extra_environment.SHOP_REGION: settings.py:11 demands it"]


def test_a_secret_of_somebody_elses_is_used_where_it_is_given(tmp_path):
    main = MAIN + "import os\nkey = os.getenv('STRIPE_SECRET_KEY')\njwt = os.environ['JWT_SECRET_KEY']\n"
    analysis = found(
        tmp_path, {"requirements.txt": "fastapi\n", "main.py": main}, {"lib/api.ts": "const secret = process.env.JWT_SECRET_KEY;"}
    )
    own = {"jwt_secret_key": {"services": ["backend", "frontend"], "generate": 48}}
    assert analysis.schema(set()) == own
    assert analysis.schema({"stripe_secret_key"}) == own | {"stripe_secret_key": {"services": ["backend"], "minimum": 1}}


def test_the_parts_of_an_address_are_given_one_by_one(tmp_path):
    main = (
        MAIN
        + "import os\n"
        + "".join(
            f"x{number} = os.environ['POSTGRES_{name}']\n" for number, name in enumerate(("SERVER", "PORT", "DB", "USER", "PASSWORD"))
        )
    )
    analysis = found(tmp_path, {"requirements.txt": "fastapi\npsycopg[binary]\nsqlalchemy\n", "main.py": main})
    assert analysis.value("backend_image_secrets_environment") == {
        "POSTGRES_USER": "database_user",
        "POSTGRES_PASSWORD": "database_password",
    }
    assert analysis.value("backend_image_secrets_files") == {
        "database_user": "backend_g{generation}",
        "database_password": "{backend_password}",
    }
    environment = analysis.value("backend_image_environment")
    assert environment.pop("PGSSLMODE") == "verify-full"
    assert replaced(environment, {"database_host": "database", "database_port": "5432", "database_name": "app"}) == {
        "POSTGRES_SERVER": "database",
        "POSTGRES_PORT": "5432",
        "POSTGRES_DB": "app",
    }


PUBLIC: dict[str, tuple[str, dict[str, str]]] = {
    "the backend": ("process.env.NEXT_PUBLIC_API_URL ?? 'http://localhost:8000'", {"NEXT_PUBLIC_API_URL": "@url@"}),
    "the backend with a path": (
        "process.env.NEXT_PUBLIC_API_BASE_URL || 'http://localhost:8000/api/v1'",
        {"NEXT_PUBLIC_API_BASE_URL": "@url@/api/v1"},
    ),
    "this site": ("process.env.NEXT_PUBLIC_APP_URL!", {"NEXT_PUBLIC_APP_URL": "@url@"}),
    "sockets": ("process.env.NEXT_PUBLIC_WS_URL || 'ws://localhost:8000/ws'", {"NEXT_PUBLIC_WS_URL": "@socket@/ws"}),
    "anything else": ("process.env.NEXT_PUBLIC_TITLE", {}),
    "with a default": ("process.env.NEXT_PUBLIC_TITLE ?? 'Shop'", {}),
}


@pytest.mark.parametrize(("code", "build"), PUBLIC.values(), ids=PUBLIC)
def test_public_variables_are_given_to_the_build(tmp_path, code, build):
    analysis = found(tmp_path, frontend={"lib/api.ts": f"export const api = {code};\n"})
    assert analysis.value("frontend_image_build_environment") == build
    assert bool(analysis.todo) == (code == "process.env.NEXT_PUBLIC_TITLE")


def test_a_public_variable_that_a_committed_file_gives_is_left_alone(tmp_path):
    files = {
        "lib/api.ts": "export const x = process.env.NEXT_PUBLIC_API_URL;\n",
        ".env.production": "NEXT_PUBLIC_API_URL=https://api.example.org\n",
    }
    write(tmp_path / "frontend", FRONTEND, files)
    checkout(tmp_path / "frontend")
    assert found(tmp_path, frontend=files).value("frontend_image_build_environment") == {}


def test_a_public_address_that_only_the_server_reads_is_that_of_the_network(tmp_path):
    files = {
        "lib/client.ts": "export const base = process.env.NEXT_PUBLIC_API_URL;\n",
        "app/actions.ts": '"use server";\nimport { base } from "@/lib/client";\nexport async function save() { await fetch(base); }\n',
        "app/form.tsx": '"use client";\nimport { save } from "./actions";\nexport default () => <form action={save} />;\n',
        "lib/api.ts": None,
        "app/page.tsx": 'import Form from "./form";\nexport default function Page() { return <Form />; }\n',
    }
    assert found(tmp_path, frontend=files).value("frontend_image_build_environment") == {"NEXT_PUBLIC_API_URL": "@backend@"}
    files["app/form.tsx"] = (
        '"use client";\nimport { base } from "@/lib/client";\nexport default function Form() { return <p>{base}</p>; }\n'
    )
    assert found(tmp_path, frontend=files).value("frontend_image_build_environment") == {"NEXT_PUBLIC_API_URL": "@url@"}


def test_a_prefix_that_is_put_together_at_run_time_is_told(tmp_path):
    router = "from fastapi import APIRouter\nrouter = APIRouter()\n@router.get('/items')\ndef h(): ...\n"
    main = "from fastapi import FastAPI\nfrom pkg import api\nimport os\napp = FastAPI()\n"
    files = {
        "requirements.txt": "fastapi\n",
        "pkg/api.py": router,
        "main.py": main + "app.include_router(api.router, prefix=os.environ['P'])\n",
    }
    assert any("the routes included at main.py:5" in note for note in found(tmp_path, files).notes)
    files["main.py"] = main + "P = 'auth'\napp.include_router(api.router, prefix=f'/{P}/jwt')\n"
    assert found(tmp_path, files).value("edge_backend_paths") == ["/auth/jwt/items", "/docs", "/openapi.json"]


def test_an_application_below_a_root_path_gets_what_is_below_it(tmp_path):
    main = "from fastapi import FastAPI\nversion = 'v1'\napp = FastAPI(root_path=f'/api/{version}')\n@app.get('/users')\ndef u(): ...\n"
    analysis = found(tmp_path, {"requirements.txt": "fastapi\n", "main.py": main + "@app.get('/health')\ndef h(): ...\n"})
    assert analysis.value("edge_backend_paths") == ["/api/*", "/health"]
    assert analysis.value("backend_image_health_path") == "/health"


def test_settings_of_pydantic_with_fields_are_read(tmp_path):
    settings = (
        "from pydantic_settings import BaseSettings\nfrom pydantic import Field\nclass Settings(BaseSettings):\n"
        '    API_V1_STR: str = Field("/api/v1", description="prefix")\n    BACKEND_CORS_ORIGINS: list[str]\n    frontend_origins: str\n'
        "    postgres_host: str\n    postgres_database_name: str\n    postgres_pass: str\n"
    )
    main = "from fastapi import FastAPI\nfrom api import router\nfrom settings import Settings\nsettings = Settings()\napp = FastAPI()\n"
    router = "from fastapi import APIRouter\nrouter = APIRouter()\n@router.get('/items')\ndef i(): ...\n"
    main += "app.include_router(router, prefix=settings.API_V1_STR)\n"
    analysis = found(tmp_path, {"requirements.txt": "fastapi\n", "main.py": main, "api.py": router, "settings.py": settings})
    assert analysis.value("edge_backend_paths") == ["/api/v1/items", "/docs", "/openapi.json"]
    environment = analysis.value("backend_image_environment")
    assert environment["BACKEND_CORS_ORIGINS"] == '["@url@"]'
    assert environment["FRONTEND_ORIGINS"] == "@url@"
    assert environment["POSTGRES_DATABASE_NAME"] == "@database_name@"
    assert analysis.value("backend_image_secrets_environment") == {"POSTGRES_PASS": "database_password"}


def test_the_command_of_a_compose_file_that_runs_the_application_is_no_further_process(tmp_path):
    services = "  api: {build: backend, command: python main.py}\n  jobs: {build: backend, command: celery -A app beat}\n"
    write(tmp_path, {"compose.yaml": f"services:\n{services}", "docker-compose.prod.yml": f"services:\n{services}"})
    run = "import uvicorn\nuvicorn.run('app.main:app')\n"
    application = {"app/main.py": "from app.x import y\n" + MAIN, "app/x.py": "y = 1\n"}
    analysis = found(tmp_path, {"requirements.txt": "fastapi\n", "main.py": run, **application})
    assert analysis.value("backend_image_app") == "app.main:app"
    notes = [note for note in analysis.notes if "further process" in note]
    # Once, and as it can be typed: what is not below /tmp is read-only.
    (note,) = notes
    assert note.startswith(
        "a further process of the backend does not run by itself: jobs (../compose.yaml:3); to run it, set stack_services: "
    )
    command = yaml.safe_load(note.partition("stack_services: ")[2].removesuffix(" (docs/deployment.md)"))["jobs"]["command"]
    assert command == ["python3", "-m", "celery", "-A", "app", "beat", "--schedule", "/tmp/celerybeat-schedule"]


QUEUE = """\
services:
  api: {build: ./backend, image: "shop:dev", command: "uvicorn main:app"}
  cache: {image: "docker.io/valkey/valkey:9-alpine"}
  mail_worker: {image: "shop:dev", command: "uv run celery -A tasks worker -l info"}
  panel: {image: "someone/panel:1", command: "celery -A tasks worker"}
"""
QUEUE_SETTINGS = """\
from pydantic_settings import BaseSettings
class Settings(BaseSettings):
    REDIS_HOST: str = "localhost"
    REDIS_PORT: int = 6379
    REDIS_PASSWORD: str | None = None
    CELERY_BROKER_URL: str = "redis://localhost:6379/0"
    CELERY_RESULT_BACKEND: str = "db+sqlite:///results.db"
    CORS_ALLOW_CREDENTIALS: bool = True
    RESET_TOKEN: int = 30
"""


def test_redis_and_the_worker_of_a_compose_file_run_beside_the_backend(tmp_path):
    write(tmp_path, {"docker-compose.yml": QUEUE})
    analysis = found(tmp_path, {"requirements.txt": "fastapi\ncelery[redis]\n", "main.py": MAIN, "settings.py": QUEUE_SETTINGS})
    assert analysis.value("stack_services") == {
        "redis": {"package": "redis"},
        "mail-worker": {"command": ["python3", "-m", "celery", "-A", "tasks", "worker", "-l", "info"]},
    }
    assert analysis.value("backend_image_secrets_environment") == {"CELERY_BROKER_URL": "redis_url", "REDIS_PASSWORD": "redis_password"}
    assert analysis.value("backend_image_secrets_files") == {"redis_password": "{redis_password}"}
    assert analysis.value("backend_image_environment") == {"REDIS_HOST": "redis", "REDIS_PORT": "6379"}
    assert analysis.secrets == []  # neither what Redis's password answers, nor a switch or a number
    assert any(text.startswith("services: ") and "mail-worker" in text and "../docker-compose.yml:3" in text for text in analysis.lines())


def test_a_compose_file_of_both_sources_may_build_a_directory_of_theirs(tmp_path):
    files = {
        f"backend/{path}": text
        for path, text in {"requirements.txt": "fastapi\ncelery[redis]\n", "main.py": MAIN, "settings.py": QUEUE_SETTINGS}.items()
    }
    web = {f"web/{path}": text for path, text in FRONTEND.items()}
    services = QUEUE + "  web: {build: ./web, command: npm start}\n"
    root = write(tmp_path, files, web, {"docker-compose.yml": services})
    analysis = analyse(root, root)
    assert set(analysis.value("stack_services")) == {"redis", "mail-worker"}
    assert not [note for note in analysis.notes if "process" in note]


def test_an_engine_that_debian_has_not_is_no_question_where_npm_only_warns(tmp_path):
    manifest = {"package.json": '{"engines": {"node": ">=22"}, "dependencies": {"next": "15.1.0"}}', "package-lock.json": None}
    frontend = {path: text for path, text in (FRONTEND | manifest).items() if text is not None}
    one = write(tmp_path / "npm", frontend)
    analysis = analyse(None, one)
    assert analysis.questions(set()) == []
    assert analysis.value("frontend_image_debian_release") == "trixie"
    assert 'frontend_image_args: {NODE_IMAGE: "node:22-slim"}' in analysis.notes[0]
    for more in ({"pnpm-lock.yaml": "lockfileVersion: '9.0'\n"}, {".npmrc": "engine-strict=true\n"}):
        other = write(tmp_path / next(iter(more)), frontend, more)
        assert len(analyse(None, other).questions(set())) == 1


def test_the_newest_versions_of_packages_get_the_newer_node(tmp_path):
    packages = {"package.json": '{"dependencies": {"next": "15.1.0"}}'}
    sources = {path: text for path, text in FRONTEND.items() if path != "package-lock.json"}
    assert analyse(None, write(tmp_path / "a", sources, packages)).value("frontend_image_debian_release") == "trixie"
    assert analyse(None, write(tmp_path / "b", FRONTEND, packages)).value("frontend_image_debian_release") == "bookworm"


def test_redis_that_nothing_of_the_source_uses_does_not_run(tmp_path):
    write(tmp_path, {"docker-compose.yml": "services:\n  cache: {image: 'redis:7'}\n"})
    assert found(tmp_path).value("stack_services") == {}
    # Berth's has a password, which this one cannot be given.
    settings = "import os\nhost = os.getenv('REDIS_HOST', 'localhost')\n"
    analysis = found(tmp_path, {"requirements.txt": "fastapi\nredis\n", "main.py": MAIN, "settings.py": settings})
    assert analysis.value("stack_services") == {}
    assert [note for note in analysis.notes if "no password for it, which Redis has here" in note]
    # Another broker, and one that is optional.
    settings = "import os\nbroker = os.environ['CELERY_BROKER_URL']\ncache = os.getenv('REDIS_URL')\n"
    write(tmp_path, {"docker-compose.yml": "services:\n  queue: {image: 'rabbitmq:4'}\n"})
    analysis = found(tmp_path, {"requirements.txt": "fastapi\ncelery\n", "main.py": MAIN, "settings.py": settings})
    assert analysis.value("stack_services") == {}


def test_a_further_address_of_the_database_is_for_its_own_driver(tmp_path):
    settings = (
        "from pydantic_settings import BaseSettings\nfrom sqlalchemy.ext.asyncio import create_async_engine\n"
        "class Settings(BaseSettings):\n    DATABASE_URL: str\n    ALEMBIC_DATABASE_URL: str\n"
    )
    declared = {"requirements.txt": "fastapi\nsqlalchemy\nasyncpg\npsycopg2-binary\n", "main.py": MAIN, "settings.py": settings}
    analysis = found(tmp_path, declared)
    assert analysis.value("backend_image_database_scheme") == "postgresql+asyncpg"
    assert analysis.value("backend_image_secrets_environment") == {
        "DATABASE_URL": "database_url",
        "ALEMBIC_DATABASE_URL": "alembic_database_url",
    }
    (url,) = replaced(
        analysis.value("backend_image_secrets_files"), {"database_host": "db", "database_port": "5432", "database_name": "app"}
    ).values()
    assert url == "postgresql+psycopg2://backend_g{generation}:{backend_password:url}@db:5432/app"
    assert analysis.value("backend_image_environment") == {"PGSSLMODE": "verify-full"}
    # Without a driver of its own it is the same.
    analysis = found(tmp_path, declared | {"requirements.txt": "fastapi\nsqlalchemy\nasyncpg\n"})
    assert set(analysis.value("backend_image_secrets_environment").values()) == {"database_url"}


def test_an_address_that_the_source_takes_apart_keeps_tls(tmp_path):
    database = (
        "import os\nfrom urllib.parse import urlparse\nfrom sqlalchemy.ext.asyncio import create_async_engine\n"
        "url = urlparse(os.environ['DATABASE_URL'])\n"
        "engine = create_async_engine(f'postgresql+asyncpg://{url.username}:{url.password}@{url.hostname}{url.path}')\n"
    )
    analysis = found(tmp_path, {"requirements.txt": "fastapi\nsqlalchemy\nasyncpg\n", "main.py": MAIN, "database.py": database})
    assert analysis.value("backend_image_environment") == {"PGSSLMODE": "verify-full"}


def test_a_page_that_leads_elsewhere_is_no_health_path(tmp_path):
    main = (
        "from fastapi import FastAPI\nfrom fastapi.responses import RedirectResponse\napp = FastAPI()\n"
        "@app.get('/')\ndef root():\n    return RedirectResponse('/docs')\n"
    )
    assert found(tmp_path, {"requirements.txt": "fastapi\n", "main.py": main}).value("backend_image_health_path") == "/docs"
    main = main.replace("RedirectResponse('/docs')", "{}") + "@app.get('/old')\ndef old():\n    return RedirectResponse('/docs')\n"
    assert found(tmp_path, {"requirements.txt": "fastapi\n", "main.py": main}).value("backend_image_health_path") == "/"


def test_a_command_of_an_application_that_is_not_there_is_said(tmp_path):
    write(tmp_path, {"compose.yaml": "services:\n  api: {build: backend, command: 'uvicorn old:app'}\n"})
    analysis = found(tmp_path)
    assert analysis.value("backend_image_app") == "main:app"
    assert analysis.notes[-1] == "../compose.yaml:2 starts old:app, which is not in the source"


def test_the_application_that_a_program_of_the_source_runs_is_the_entry_point(tmp_path):
    run = "import uvicorn\nif __name__ == '__main__':\n    uvicorn.run('two.main:app', port=8000)\n"
    files = {"requirements.txt": "fastapi\n", "one/main.py": MAIN, "two/main.py": MAIN, "run.py": run}
    analysis = found(tmp_path, files)
    assert analysis.value("backend_image_app") == "two.main:app"
    assert analysis.questions(set()) == []


def test_addresses_of_the_backend_are_given_by_the_name_that_is_read(tmp_path):
    analysis = found(
        tmp_path,
        frontend={
            "lib/api.ts": "export const x = process.env.INTERNAL_API_URL;\n",
            "next.config.mjs": "const d = process.env.API_URL;\nexport default {};\n",
        },
    )
    assert analysis.value("frontend_image_environment") == {"INTERNAL_API_URL": "@release_backend@"}
    assert analysis.value("frontend_image_build_environment") == {"API_URL": "@backend@"}


AUTH: dict[str, tuple[dict[str, str | None], dict[str, str], list[str]]] = {
    "Better Auth": (
        {
            "package.json": '{"dependencies": {"next": "15.1.0", "better-auth": "1.2.0"}}',
            "lib/auth.ts": 'import { betterAuth } from "better-auth";\n',
        },
        {"BETTER_AUTH_SECRET": "better_auth_secret"},
        [],
    ),
    "Better Auth's client alone": (
        {
            "package.json": '{"dependencies": {"next": "15.1.0", "better-auth": "1.2.0"}}',
            "lib/auth.ts": 'import { x } from "better-auth/react";\n',
        },
        {},
        [],
    ),
    "Auth.js": ({"package.json": '{"dependencies": {"next": "15.1.0", "next-auth": "5.0.0-beta.25"}}'}, {}, ["AUTH_SECRET"]),
    "NextAuth": ({"package.json": '{"dependencies": {"next": "14.1.0", "next-auth": "^4.24.0"}}'}, {}, ["NEXTAUTH_SECRET"]),
}


@pytest.mark.parametrize(("files", "given", "drawn"), AUTH.values(), ids=AUTH)
def test_what_packages_read_by_themselves_is_given(tmp_path, files, given, drawn):
    analysis = found(tmp_path, frontend=files)
    assert analysis.value("frontend_image_secrets_environment") == given
    assert [one.name for one in analysis.secrets if one.own] == drawn


@pytest.mark.parametrize(
    ("dependencies", "options"),
    [
        ('"pg": "8"', "auto"),
        ('"postgres": "3"', "postgres.js"),
        ('"@prisma/client": "6"', "prisma"),
        ('"@prisma/client": "7", "@prisma/adapter-pg": "7"', "auto"),
    ],
    ids=["node-postgres", "postgres.js", "Prisma", "Prisma by node-postgres"],
)
def test_the_frontends_driver_decides_how_its_address_asks_for_tls(tmp_path, dependencies, options):
    manifest = {"package.json": f'{{"dependencies": {{"next": "15.1.0", {dependencies}}}}}'}
    assert found(tmp_path, frontend=manifest).value("frontend_image_database_options") == options


def test_a_build_gets_placeholders_only_for_what_it_demands(tmp_path):
    demanding = {"lib/db.ts": 'if (!process.env.DATABASE_URL) throw new Error("DATABASE_URL");\n'}
    assert found(tmp_path, frontend=demanding).value("frontend_image_build_placeholders") == ["DATABASE_URL"]
    tolerant = {"lib/db.ts": "export const url = process.env.DATABASE_URL;\n"}
    assert found(tmp_path / "other", frontend=tolerant).value("frontend_image_build_placeholders") == []


# --- the frontend -----------------------------------------------------------------------------------------------------------------


def test_the_frontend_of_a_monorepo_is_found(tmp_path):
    manifest = '{"dependencies": {"next": "15.1.0"}}'
    root = write(
        tmp_path / "repo",
        {"package.json": "{}", "apps/web/package.json": manifest, "apps/web/app/page.tsx": "", "docs/package.json": manifest},
    )
    analysis = analyse(None, root)
    assert analysis.value("frontend_image_source_subpath") == "apps/web"
    write(root, {"apps/admin/package.json": manifest, "apps/admin/app/page.tsx": ""})
    assert analyse(None, root).value("frontend_image_source_subpath") == "apps/web"
    write(root, {"apps/web/package.json": None, "apps/shop/package.json": manifest, "apps/shop/app/page.tsx": ""})
    (root / "apps/web/package.json").unlink()
    (question,) = analyse(None, root).questions(set())
    assert question.startswith("frontend_image_source_subpath could be apps/admin or apps/shop")


def test_what_runs_is_said_in_a_line_for_each_service(tmp_path):
    assert found(tmp_path, {**BACKEND}).lines() == [
        "backend: app.main:app (app/main.py:4), Debian bookworm, health /health (app/main.py:6), postgresql",
        "frontend: Debian bookworm, health /api/health (app/api/health/route.ts)",
    ]


def test_every_setting_of_a_role_that_is_looked_up_is_one_that_is_found():
    roles = ("backend_image", "frontend_image", "edge", "verify")
    text = "".join((ROOT / "roles" / role / "defaults/main.yml").read_text() for role in roles)
    looked_up = set(itertools.chain.from_iterable(line.split("'berth.stack.found', '")[1:] for line in text.splitlines()))
    assert {name.partition("'")[0] for name in looked_up} == set(NEUTRAL)


# --- shapes of public templates ---------------------------------------------------------------------------------------------------

TEMPLATE = {
    "pyproject.toml": "[project]\nname = 'app'\nrequires-python = '>=3.10,<4.0'\n"
    "dependencies = ['fastapi[standard]', 'psycopg[binary]', 'sqlmodel', 'alembic']\n",
    "Dockerfile": 'FROM python:3.12\nWORKDIR /app/\nCMD ["fastapi", "run", "--workers", "4", "app/main.py"]\n',
    "alembic.ini": "[alembic]\nscript_location = app/alembic\n",
    "app/__init__.py": "",
    "app/main.py": "from fastapi import FastAPI\nfrom app.api.main import api_router\nfrom app.core.config import settings\n"
    'app = FastAPI(title=settings.PROJECT_NAME, openapi_url=f"{settings.API_V1_STR}/openapi.json")\n'
    "app.include_router(api_router, prefix=settings.API_V1_STR)\n",
    "app/core/__init__.py": "",
    "app/core/config.py": "import secrets\nfrom pydantic_settings import BaseSettings\n\n\nclass Settings(BaseSettings):\n"
    '    API_V1_STR: str = "/api/v1"\n    SECRET_KEY: str = secrets.token_urlsafe(32)\n    FRONTEND_HOST: str = "http://localhost:5173"\n'
    "    PROJECT_NAME: str\n    POSTGRES_SERVER: str\n    POSTGRES_PORT: int = 5432\n    POSTGRES_USER: str\n"
    '    POSTGRES_PASSWORD: str = ""\n    POSTGRES_DB: str = ""\n    FIRST_SUPERUSER_PASSWORD: str\n\n\nsettings = Settings()\n',
    "app/api/__init__.py": "",
    "app/api/main.py": "from fastapi import APIRouter\nfrom app.api.routes import items, utils\n\napi_router = APIRouter()\n"
    "api_router.include_router(items.router)\napi_router.include_router(utils.router)\n",
    "app/api/routes/__init__.py": "",
    "app/api/routes/items.py": 'from fastapi import APIRouter\nrouter = APIRouter(prefix="/items")\n@router.get("/{id}")\ndef one(): ...\n',
    "app/api/routes/utils.py": 'from fastapi import APIRouter\nrouter = APIRouter(prefix="/utils")\n'
    '@router.get("/health-check/")\ndef ok(): ...\n',
    "app/core/db.py": "from sqlmodel import create_engine\n",
}


def test_a_well_known_template_needs_no_variable_but_its_secret(tmp_path):
    analysis = found(tmp_path, TEMPLATE)
    values = {
        name: analysis.value(f"backend_image_{name}") for name in ("app", "app_root", "health_path", "debian_release", "database_scheme")
    }
    assert values == {
        "app": "app.main:app", "app_root": ".", "health_path": "/api/v1/utils/health-check/", "debian_release": "trixie",
        "database_scheme": "postgresql+psycopg",
    }  # fmt: skip
    assert analysis.value("backend_image_migrate_command") == UPGRADE
    assert analysis.value("edge_backend_paths") == ["/api/*", "/docs"]
    assert analysis.value("backend_image_secrets_environment") == {
        "POSTGRES_USER": "database_user",
        "POSTGRES_PASSWORD": "database_password",
    }
    assert analysis.value("backend_image_environment") == {
        "POSTGRES_SERVER": "@database_host@",
        "POSTGRES_PORT": "@database_port@",
        "POSTGRES_DB": "@database_name@",
        "PGSSLMODE": "verify-full",
        "FRONTEND_HOST": "@url@",
    }
    assert [(one.name, one.own, one.required) for one in analysis.secrets] == [
        ("FIRST_SUPERUSER_PASSWORD", False, True), ("SECRET_KEY", True, False),
    ]  # fmt: skip
    assert [text.partition(":")[0] for text in analysis.todo] == ["backend_image_extra_environment.PROJECT_NAME"]
    assert analysis.questions(set()) == []


def test_a_backend_that_checks_the_frontends_tokens_asks_it_inside_the_network(tmp_path):
    main = MAIN + (
        "import os, httpx\nURL = os.getenv('BETTER_AUTH_URL', 'http://localhost:3000')\n"
        "def keys():\n    return httpx.get(f\"{os.environ['BETTER_AUTH_URL']}/api/auth/jwks\")\n"
        "secret = os.environ['BETTER_AUTH_SECRET']\njwks = os.environ['JWKS_URL']\n"
    )
    analysis = found(tmp_path, {"requirements.txt": "fastapi\n", "main.py": main})
    assert analysis.value("backend_image_environment") == {"BETTER_AUTH_URL": "@frontend@", "JWKS_URL": "@frontend@/api/auth/jwks"}
    # It is the secret that the frontend has.
    assert analysis.value("backend_image_secrets_environment") == {"BETTER_AUTH_SECRET": "better_auth_secret"}
    assert analysis.schema(set()) == {"better_auth_secret": {"services": ["frontend", "backend"]}}


def test_an_analysis_that_fails_names_the_way_around_it(tmp_path, monkeypatch):
    def fail(*_: Any) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(f"{analyse.__module__}.frontend", fail)
    analysis = found(tmp_path)
    (problem,) = analysis.questions(set())
    assert "the analysis of the frontend's source failed (RecursionError: too deep)" in problem
    assert "stack_analysis: false" in problem
    assert analysis.value("backend_image_app") == "main:app"
