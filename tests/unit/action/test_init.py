"""make init: what it writes, that it loads as it is, what it asks, and that it replaces nothing without a word."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.berth.stack.plugins.module_utils.source.analysis import NEUTRAL, analyse
from ansible_collections.berth.stack.plugins.module_utils.source.nextjs import FONTS_HOST, can_reach
from ansible_collections.berth.stack.plugins.module_utils.source.written import FIXED, FONTS, app_yml, scalar, steps
from conftest import ROOT
from trees import FRONTEND, write

PAIRS = ROOT / "tests/sources/pairs"
MAIN = (
    "import os, stripe\nfrom fastapi import FastAPI\n\napp = FastAPI()\nkey = os.environ['STRIPE_SECRET_KEY']\n"
    "jwt = os.environ['JWT_SECRET_KEY']\nregion = os.environ['REGION']\n@app.get('/health')\ndef health(): ...\n"
)
BACKEND = {"requirements.txt": "fastapi\nstripe\n", "main.py": MAIN}


def init(directory: Path, *arguments: str, **environ: str) -> tuple[int, str]:
    """(exit status, output) of a run in `directory`."""
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), *arguments, "playbooks/init.yml"],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"BERTH_CALLED_FROM": str(directory), "BERTH_OUTPUT": "plain", "ANSIBLE_FORCE_COLOR": "0", **environ},
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("pair", ["atlas", "board", "ledger", "relay"])
def test_what_it_writes_is_yaml_with_what_was_found(pair):
    sources = {
        "backend": PAIRS / pair / ("" if pair == "atlas" else "backend"),
        "frontend": PAIRS / pair / ("web" if pair == "atlas" else "frontend"),
    }
    analysis = analyse(sources["backend"], sources["frontend"])
    text = app_yml(analysis, {"backend": "backend", "frontend": "frontend"})
    written = yaml.safe_load(text)
    found = {name: analysis.value(name) for name in FIXED if name in analysis.found and analysis.value(name) != ""}
    assert written == {"stack_backend_source": "backend", "stack_frontend_source": "frontend"} | found
    # What follows the sources is there behind a #, and is YAML without it.
    every = yaml.safe_load(
        "\n".join(line.removeprefix("#") if line.startswith(("#backend_", "#frontend_", "#edge_")) else line for line in text.splitlines())
    )
    assert every["edge_backend_paths"] == analysis.value("edge_backend_paths")
    assert every["backend_image_migrate_command"] == analysis.value("backend_image_migrate_command")
    assert set(every) - set(written) <= {name for name in analysis.found if name not in FIXED}


def test_texts_are_quoted_where_yaml_would_read_something_else():
    values = [
        "",
        ".",
        "a: b",
        "yes",
        "-m",
        "1",
        "/api/*",
        "{revision}",
        "@x",
        "app.main:app",
        "{{ stack_url }}",
        True,
        8000,
        ["a", {"b": "no"}],
        ".5",
        "-",
        "null",
    ]
    assert yaml.safe_load(scalar(values)) == values


def test_secrets_hosts_and_questions_are_written_and_no_value_of_a_secret(tmp_path):
    analysis = analyse(write(tmp_path / "b", BACKEND), write(tmp_path / "f", FRONTEND))
    text = app_yml(analysis, {"backend": "b", "frontend": "f"})
    assert "# JWT_SECRET_KEY (backend): drawn and kept on the host" in text
    assert "# TODO SECRET_STRIPE_SECRET_KEY=... in .env: the backend demands it (main.py:5)" in text
    assert "#backend_image_egress: [api.stripe.com]" in text
    assert '#backend_image_extra_environment:\n#  REGION: ""  # main.py:7 demands it' in text
    lines = steps(analysis, tmp_path / "app.yml", default=False)
    assert "not known, in app.yml as TODO, demanded by the source: backend_image_extra_environment: {REGION: ...}" in lines
    assert "secrets to give in .env, demanded by the source: SECRET_STRIPE_SECRET_KEY=..." in lines
    assert lines[-1] == f"next: fill in what is demanded, then make up APP={tmp_path}/app.yml"
    analysis.todo = ["frontend_image_build_environment.NEXT_PUBLIC_TITLE: app/page.tsx:1 reads it; the browser gets its value"]
    analysis.secrets = [one for one in analysis.secrets if one.own]
    assert steps(analysis, tmp_path / "app.yml", default=True)[-1] == "next: make up"


def test_a_guess_is_a_line_to_decide(tmp_path):
    alike = {"requirements.txt": "fastapi\n", "one/main.py": MAIN, "two/main.py": MAIN}
    text = app_yml(analyse(write(tmp_path / "b", alike), write(tmp_path / "f", FRONTEND)), {"backend": "b", "frontend": "f"})
    assert "# TODO backend_image_app: one.main:app (one/main.py:4) or two.main:app (two/main.py:4)" in text
    assert "backend_image_app" not in yaml.safe_load(text)


def test_a_run_writes_it_and_the_next_one_says_what_it_would_change(tmp_path):
    write(tmp_path / "api", BACKEND)
    write(tmp_path / "web", FRONTEND)
    sources = {"BACKEND_SOURCE": str(tmp_path / "api"), "FRONTEND_SOURCE": str(tmp_path / "web")}
    status, told = init(tmp_path, **sources)
    assert status == 0, told
    assert "backend: main:app (main.py:4)" in told
    assert f"{tmp_path}/app.yml written" in told
    assert told.strip().splitlines()[-1] == "next: fill in what is demanded, then make up"
    text = (tmp_path / "app.yml").read_text()
    assert yaml.safe_load(text)["stack_backend_source"] == "api"

    # The sources are in the file by now, and nothing has changed.
    status, told = init(tmp_path)
    assert status == 0, told
    assert "app.yml is as the sources say" in told

    write(tmp_path / "api", {"main.py": MAIN.replace("/health", "/livez")})
    status, told = init(tmp_path)
    assert status == 2
    assert "Replace it by: make init CONFIRM=app.yml" in told
    assert "-backend_image_health_path: /health" in told
    assert "+backend_image_health_path: /livez" in told
    assert (tmp_path / "app.yml").read_text() == text
    status, told = init(tmp_path, "--check", BERTH_CONFIRM="app.yml")
    assert (status, (tmp_path / "app.yml").read_text()) == (0, text)
    assert "would be written" in told
    status, told = init(tmp_path, BERTH_CONFIRM="app.yml")
    assert status == 0, told
    assert "backend_image_health_path: /livez" in (tmp_path / "app.yml").read_text()


def test_without_sources_it_asks_which_application(tmp_path):
    status, told = init(tmp_path)
    assert status == 2
    assert "make init BACKEND_SOURCE=path FRONTEND_SOURCE=path" in told
    status, told = init(tmp_path, BACKEND_SOURCE="/nowhere", FRONTEND_SOURCE=str(tmp_path))
    assert status == 2
    assert "BACKEND_SOURCE is /nowhere: there is no such directory" in told


def test_what_a_run_will_refuse_is_said_at_once(tmp_path):
    broken = {"main.py": MAIN + "import shop.cart\n", "shop/__init__.py": ""}
    write(tmp_path / "api", BACKEND, broken)
    write(tmp_path / "web", FRONTEND, {"app/page.tsx": 'import { x } from "./gone";\n'})
    status, told = init(tmp_path, BACKEND_SOURCE=str(tmp_path / "api"), FRONTEND_SOURCE=str(tmp_path / "web"))
    assert status == 0, told
    refused = [text for text in told.splitlines() if text.startswith("to correct in the source, which make up refuses as it is: ")]
    assert len(refused) == 2, told
    assert "main.py:10: imports shop.cart, which is not in the source" in refused[0]
    assert "app/page.tsx:1: imports ./gone, which is not in the source" in refused[1]
    assert told.strip().splitlines()[-1] == "next: correct the source and fill in what is demanded, then make up"


def test_fonts_that_cannot_be_fetched_from_here_are_replaced(tmp_path):
    write(tmp_path / "api", BACKEND)
    write(tmp_path / "web", FRONTEND, {"app/layout.tsx": 'import { Inter } from "next/font/google";\n'})
    sources = {"BACKEND_SOURCE": str(tmp_path / "api"), "FRONTEND_SOURCE": str(tmp_path / "web")}
    proxies = {name: "" for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")}
    status, told = init(tmp_path, **sources, **proxies)
    assert status == 0, told
    reached = can_reach(FONTS_HOST)
    assert yaml.safe_load((tmp_path / "app.yml").read_text()).get("frontend_image_fonts") == (None if reached else "fallback")
    assert ("frontend_image_fonts (app/layout.tsx:1)" in told) != reached
    # A proxy that nobody knows may reach them.
    status, told = init(tmp_path, **sources, **proxies | {"HTTPS_PROXY": "http://proxy.invalid:3128", "BERTH_CONFIRM": "app.yml"})
    assert status == 0, told
    assert "frontend_image_fonts" not in (tmp_path / "app.yml").read_text()


def test_every_setting_that_is_fixed_is_one_that_is_found():
    assert {*NEUTRAL, FONTS} >= FIXED
