"""Settings that are refused before anything is touched, by the playbook's own tasks."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml
from ansible_collections.berth.stack.plugins.action.validate_roles import RENAMED, false_texts
from ansible_collections.berth.stack.plugins.module_utils.settings.commands import renamed_lines
from conftest import ROOT

OUTSIDE = {
    "address": "db.example.com",
    "name": "shop",
    "ca_file": str(ROOT / "README.md"),
    "users": {"backend": "shop", "frontend": "shop"},
}
REFUSED = {
    "an external database without an address": ({"database_external": True}, ["database_external is True; it must be a mapping", "users:"]),
    "one in a Swarm": ({"database_external": OUTSIDE, "stack_engine": "swarm"}, ["remove STACK_ENGINE=swarm"]),
    "one without its authority": ({"database_external": OUTSIDE | {"ca_file": "/none.pem"}}, ["ca_file is /none.pem, which is no file"]),
    "an unknown extension": ({"database_extensions": ["citext", "tricorder"]}, ["database_extensions has tricorder; available: bloom,"]),
    "an extension of a later server": ({"database_extensions": ["vector"]}, ["Set database_version: 17"]),
    # A text is true in every template: the mock LLM was left out where somebody had output -e stack_model_external=false.
    "false as a text": (
        {"stack_model_external": "false"},
        ["""stack_model_external is the text 'false'""", """-e '{"stack_model_external": false}'"""],
    ),
    "values without a text": (
        {
            "backend_image_extra_environment": {"DEBUG": False, "EMPTY": None},
            "frontend_image_args": {"LIST": ["a"]},
        },
        [
            "backend_image_extra_environment: EMPTY has no value: write '' for an empty one, or remove it",
            "frontend_image_args: LIST is a list",
        ],
    ),
    "services and jobs": (
        {
            "stack_services": {"cache": {"image": "redis"}, "worker": {"command": ["x"], "environment": {"NONE": None}}},
            "stack_jobs": {"nightly": {"schedule": "61 2 * * *", "command": ["x"]}},
        },
        [
            "stack_services.cache.image: redis names no version",
            "stack_services.cache.user: the user and group that it runs as",
            "stack_services.worker.environment: NONE has no value",
            "stack_jobs.nightly.schedule: '61' is no minute",
        ],
    ),
    "a service under its former setting": ({"backend_image_sidecars": []}, ["backend_image_sidecars", "stack_services"]),
}


SERVICES = {
    "redis": {"package": "redis"},
    "worker": {"command": ["python3", "worker.py"], "secrets": ["redis_url", "database_url"]},
    "search": {"image": "registry.example.org/search:1.2", "user": "1000:1000", "expose": [7700], "volumes": ["search:/data"]},
}
JOBS = {"nightly": {"schedule": "0 2 * * *", "command": ["python3", "nightly.py"], "timeout": "1h"}}


def run(settings: dict) -> subprocess.CompletedProcess[str]:
    command = [ROOT / ".venv/bin/ansible-playbook", "-i", "inventory/local.yml", "tests/unit/settings.yml", "-e", json.dumps(settings)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("case", REFUSED)
def test_a_setting_that_cannot_be_is_refused(case: str) -> None:
    settings, messages = REFUSED[case]
    done = run(settings)
    assert done.returncode != 0
    output = done.stdout + done.stderr  # the callback of the project writes failures to stderr
    for message in messages:
        assert message in output
    assert output.count("FAILED") == 1 and "Traceback" not in output


def test_settings_that_can_be_are_not_refused() -> None:
    done = run(
        {
            "database_external": OUTSIDE,
            "stack_services": SERVICES,
            "stack_jobs": JOBS,
            "backend_image_extra_environment": {"DEBUG": False, "ORIGINS": ["a"], "EMPTY": ""},
        }
    )
    assert done.returncode == 0, done.stdout


def test_old_names_of_variables_are_refused_with_the_new_ones_all_at_once() -> None:
    table = {"release_old": "release_new", "edge_old": "edge_new", "other_old": "other_new"}
    assert renamed_lines(table, ["stack_name", "release_old", "edge_old", "release_new"]) == [
        "edge_old is called edge_new now: rename it where it is set",
        "release_old is called release_new now: rename it where it is set",
    ]
    assert renamed_lines({}, ["release_old"]) == []


def test_the_preflight_refuses_old_names_of_the_table() -> None:
    table = yaml.safe_load(RENAMED.read_text())
    done = run(dict.fromkeys(table, "x"))
    output = done.stdout + done.stderr
    assert output.count("FAILED") == (1 if table else 0)
    for old in table:
        assert f"{old} is called {table[old]} now" in output


def test_a_text_that_means_false_is_told_from_what_is_true_or_false() -> None:
    values = {"a": "False", "b": " no ", "c": False, "d": True, "e": "true", "f": 0, "g": "0"}
    assert [line.partition(" ")[0] for line in false_texts(values, [*values, "absent"])] == ["a", "b", "g"]
