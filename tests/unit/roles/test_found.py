"""What roles make of the analysis: secrets and addresses that are found are added to what an operator sets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from trees import FRONTEND, write

PLAY = """\
- hosts: builders
  gather_facts: false
  roles: [berth.stack.stack]
  tasks:
    - ansible.builtin.import_role: {name: berth.stack.backend_image}
    - ansible.builtin.import_role: {name: berth.stack.frontend_image}
    - ansible.builtin.copy:
        dest: "{{ output }}"
        content: "{{ shown | to_json }}"
      vars:
        shown:
          backend: "{{ __backend_image_secrets_environment }}"
          frontend: "{{ __frontend_image_secrets_environment }}"
          schema: "{{ secrets_schema }}"
          environment: "{{ __backend_image_found_environment }}"
          build: "{{ __frontend_image_build_environment }}"
          migration: "{{ backend_image_migrate_command }}"
          notes: "{{ preflight_notes }}"
          questions: "{{ preflight_questions }}"
          services: "{{ stack_services_all }}"
          model: "{{ model_used }}"
"""
MAIN = (
    "import os\nfrom fastapi import FastAPI\n\napp = FastAPI()\nurl = os.environ['DATABASE_URL']\nkey = os.environ['JWT_SECRET_KEY']\n"
    "stripe = os.getenv('STRIPE_SECRET_KEY')\nmail = os.getenv('RESEND_API_KEY')\nsite = os.environ['FRONTEND_URL']\n"
    "@app.get('/health')\ndef health(): ...\n"
)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    directory = tmp_path_factory.mktemp("found")
    queue = {
        "queue.py": "import os\nurl = os.getenv('REDIS_URL', 'redis://localhost')\n",
        "Procfile": "worker: rq worker\nmail: rq worker mail\n",
    }
    backend = write(directory / "b", {"requirements.txt": "fastapi\nredis\nrq\n", "main.py": MAIN}, queue)
    public = "export const api = process.env.NEXT_PUBLIC_API_URL;\n"
    frontend = write(directory / "f", FRONTEND, {"lib/api.ts": public, "lib/key.ts": "const x = process.env.JWT_SECRET_KEY;\n"})
    (directory / "play.yml").write_text(PLAY)
    own = {
        "backend_image_secrets_environment": {"SENTRY_TOKEN": "sentry"},
        "frontend_image_build_environment": {"NEXT_PUBLIC_TITLE": "Shop"},
        "stack_services": {"worker": None, "redis": {"package": "redis", "mem_limit": "64m"}},
        "output": str(directory / "out.json"),
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), directory / "play.yml", "-e", json.dumps(own)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env=os.environ | {"BACKEND_SOURCE": str(backend), "FRONTEND_SOURCE": str(frontend), "SECRET_STRIPE_SECRET_KEY": "x" * 20,
                          "HTTPS_PORT": "9443", "BERTH_CALLED_FROM": str(directory)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads((directory / "out.json").read_text()))


def test_secrets_that_are_found_are_added_to_those_that_are_set(shown):
    assert shown["backend"] == {
        "DATABASE_URL": "database_url",
        "REDIS_URL": "redis_url",
        "JWT_SECRET_KEY": "jwt_secret_key",
        "STRIPE_SECRET_KEY": "stripe_secret_key",
        "SENTRY_TOKEN": "sentry",
    }
    assert shown["frontend"] == {"JWT_SECRET_KEY": "jwt_secret_key"}


def test_an_application_without_a_model_is_told_of_none(shown):
    assert shown["model"] is False


def test_services_that_are_found_are_replaced_by_what_is_set_and_null_is_none(shown):
    assert shown["services"] == {
        "redis": {"package": "redis", "mem_limit": "64m"},
        "mail": {"command": ["python3", "-m", "rq.cli", "worker", "mail"]},
    }


def test_a_key_of_ones_own_is_drawn_and_one_of_anothers_only_where_it_is_given(shown):
    schema = shown["schema"]
    assert schema["jwt_secret_key"] == {"services": ["backend", "frontend"], "generate": 48}
    assert schema["stripe_secret_key"] == {"services": ["backend"], "minimum": 1}
    assert "resend_api_key" not in schema
    assert (
        "the backend reads the secret RESEND_API_KEY (main.py:8), which nothing gives: set SECRET_RESEND_API_KEY in .env" in shown["notes"]
    )


def test_addresses_have_the_name_and_the_port_of_the_stack(shown):
    assert shown["environment"] == {"FRONTEND_URL": "https://localhost:9443"}
    assert shown["build"] == {"NEXT_PUBLIC_API_URL": "https://localhost:9443", "NEXT_PUBLIC_TITLE": "Shop"}


def test_defaults_are_those_of_the_sources(shown):
    assert shown["migration"] == []
    assert shown["questions"] == []
