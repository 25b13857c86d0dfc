"""compose.yaml: that it is what the roles describe, and how a description is written in Compose's words."""

from __future__ import annotations

import os
import subprocess

import yaml
from ansible_collections.berth.stack.plugins.filter.compose import as_compose, as_compose_service, compose_yaml
from conftest import ROOT

CONTAINER = {
    "name": "s-backend-v1",
    "image": "s-backend:v1",
    "labels": {"berth.service": "backend", "berth.stack": "s"},
    "networks": [{"name": "s-app", "aliases": ["backend", "api"]}, {"name": "s-data"}],
    "read_only": True,
    "cap_drop": ["ALL"],
    "mem_limit": "512m",
    "stop_grace_period": 40,
    "restart": "unless-stopped",
    "command": [],
    "mounts": [{"type": "bind", "source": "/secrets", "target": "/run/secrets", "read_only": True}],
    "healthcheck": {"interval": 10, "start_interval": 0.5, "retries": 3},
}


def other(service: str, **more: object) -> dict:
    return CONTAINER | {"name": f"s-{service}-v1", "image": f"s-{service}:v1", "labels": {"berth.service": service}} | more


def document(**more: object) -> dict:
    given = {
        "stack": "s",
        "tag": "local",
        "networks": [{"name": "s-app", "internal": True}, {"name": "s-edge", "internal": False}],
        "infrastructure": [other("database", mounts=[{"type": "volume", "source": "s-database", "target": "/data"}])],
        "migrations": [
            CONTAINER | {"name": "s-backend-v1-migrate", "entrypoint": ["migrate"], "restart": "no", "healthcheck": {"test": ["NONE"]}}
        ],
        "app": [CONTAINER],
        "edge": [other("edge")],
    }
    return as_compose(given | more)


def test_the_committed_file_is_what_the_roles_describe(tmp_path):
    """Whoever changes a role makes it anew: make compose. No value of this machine gets into it."""
    run = subprocess.run(
        [
            ROOT / ".venv/bin/ansible-playbook",
            "-i",
            "inventory/local.yml",
            "tests/unit/compose.yml",
            "-e",
            f"compose_file={tmp_path}/c.yaml",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {"STACK_NAME": "another", "HTTPS_PORT": "9443", "LOG_LEVEL": "debug", "OPENAI_API_KEY": "sk-none", "STACK_HOST": "a.test"},
    )
    assert run.returncode == 0, run.stdout
    assert (ROOT / "compose.yaml").read_text() == (tmp_path / "c.yaml").read_text(), "make compose, and commit compose.yaml"


def test_a_service_says_what_its_container_says():
    service = as_compose_service("backend", CONTAINER, "s", {})
    assert service["read_only"] is True and service["cap_drop"] == ["ALL"] and service["restart"] == "unless-stopped"
    assert service["mem_limit"] == service["memswap_limit"] == "512m" and service["stop_grace_period"] == "40s"
    assert service["healthcheck"] == {"interval": "10s", "start_interval": "500ms", "retries": 3}
    # Its own name is an alias anyway.
    assert service["networks"] == {"app": {"aliases": ["api"]}, "data": {}}
    assert service["volumes"][0]["bind"] == {"create_host_path": False}
    assert "command" not in service


def test_what_the_roles_learn_to_say_is_handed_on():
    assert as_compose_service("backend", CONTAINER | {"cpu_shares": 512}, "s", {})["cpu_shares"] == 512


def test_containers_are_called_by_their_service_and_dollars_are_kept():
    spec = CONTAINER | {
        "environment": {"A": "http://s-frontend-v1:3000/", "B": "s-frontend-v1-old", "C": "pa$$word ${X}", "D": "${HTTPS_PORT:-8443}"}
    }
    environment = as_compose_service("backend", spec, "s", {"s-frontend-v1": "frontend"})["environment"]
    assert environment == {"A": "http://frontend:3000/", "B": "s-frontend-v1-old", "C": "pa$$$$word $${X}", "D": "${HTTPS_PORT:-8443}"}


def test_services_wait_for_what_they_need():
    services = document()["services"]
    assert services["backend-migration"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert services["backend"]["depends_on"]["backend-migration"] == {"condition": "service_completed_successfully"}
    assert services["edge"]["depends_on"] == {"backend": {"condition": "service_healthy"}}
    assert services["backend-migration"]["healthcheck"] == {"disable": True} and services["backend-migration"]["restart"] == "no"
    # It must not answer in the backend's place.
    assert services["backend-migration"]["networks"] == {"app": {}, "data": {}}


def test_the_stack_is_another_one_with_volumes_of_its_own():
    made = document()
    assert made["name"] == "s-compose" and made["services"]["backend"]["labels"]["berth.stack"] == "s-compose"
    assert made["services"]["backend"]["image"] == "s-backend:local"
    assert made["volumes"] == {"database": {}} and made["networks"] == {"app": {"internal": True}, "edge": {"internal": False}}


def test_what_all_have_alike_stands_once_and_reads_the_same():
    made = document()
    text = compose_yaml(made)
    read = yaml.safe_load(text)
    assert read["services"] == made["services"] and read["networks"] == made["networks"]
    assert text.count("cap_drop") == 1
