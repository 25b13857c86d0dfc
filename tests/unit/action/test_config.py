"""What make config says: the value of each setting, where it comes from, and no secret."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.berth.stack.plugins.module_utils.settings import effective
from ansible_collections.berth.stack.plugins.module_utils.settings.effective import MASK, Setting
from conftest import ROOT

DEFAULTS = {
    "stack_host": "{{ lookup('ansible.builtin.env', 'STACK_HOST') | default('localhost', true) }}",
    "edge_host": "{{ stack_host }}",
    "edge_uid": 65531,
    "stack_version": "{{ lookup('ansible.builtin.env', 'BERTH_VERSION') }}",
    "loop": "{{ loop }}",
    "two": "{{ lookup('ansible.builtin.env', 'ONE') | default(lookup('ansible.builtin.env', 'TWO'), true) }}",
}


@pytest.mark.parametrize(
    ("name", "environment", "read", "origin"),
    [
        ("stack_host", {}, {}, "default"),
        ("stack_host", {"STACK_HOST": ""}, {}, "default"),
        ("stack_host", {"STACK_HOST": "a"}, {}, "environment STACK_HOST"),
        ("stack_host", {"STACK_HOST": "a"}, {"STACK_HOST": ".env line 3"}, ".env line 3 STACK_HOST"),
        ("stack_host", {"STACK_HOST": "a"}, {"STACK_HOST": "command line"}, "command line STACK_HOST"),
        # What hands on another setting has that one's origin.
        ("edge_host", {"STACK_HOST": "a"}, {}, "environment STACK_HOST"),
        ("edge_host", {}, {}, "default"),
        ("edge_uid", {"STACK_HOST": "a"}, {}, "default"),
        # An option of one call has its public name.
        ("stack_version", {"BERTH_VERSION": "v1"}, {"BERTH_VERSION": "command line"}, "command line VERSION"),
        ("two", {"TWO": "x"}, {}, "environment TWO"),
        ("two", {"ONE": "y", "TWO": "x"}, {}, "environment ONE"),
        ("loop", {}, {}, "default"),
        ("unknown", {}, {}, "default"),
    ],
)
def test_a_default_comes_from_the_variable_that_it_is_read_from(name, environment, read, origin):
    assert effective.default_origin(name, DEFAULTS, environment, read) == origin


@pytest.mark.parametrize(
    ("makeflags", "names"),
    [
        ("", set()),
        ("w", set()),
        ("w -- STACK_NAME=a HTTPS_PORT=9443", {"STACK_NAME", "HTTPS_PORT"}),
        (" -- REASON=a\\ STACK_NAME=b", {"REASON"}),
        ("--no-print-directory", set()),
        ("STACK_NAME=a", set()),
    ],
)
def test_what_the_command_line_of_make_set(makeflags, names):
    assert effective.on_command_line(makeflags) == names


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("registry_password", "hunter2", MASK),
        ("registry_password", "", ""),
        ("vault_openai_api_key", "sk-1", MASK),
        ("backend_password", "x", MASK),
        ("better_auth", "x", MASK),  # the schema's
        ("verify_mcp_token", ["a"], MASK),
        ("backup_passphrase_file", "/x/backup-passphrase", "/x/backup-passphrase"),
        ("secrets_sops_file", "/x", "/x"),
        ("stack_host", "app.example.org", "app.example.org"),
        ("edge_uid", 1, 1),
        ("stack_strict", True, True),
        ("backend_image_extra_environment", {"API_TOKEN": "t", "DEBUG": "1"}, {"API_TOKEN": MASK, "DEBUG": "1"}),
        ("stack_services", {"worker": {"environment": {"DB_PASSWORD": "p"}}}, {"worker": {"environment": {"DB_PASSWORD": MASK}}}),
        ("backend_image_command", ["serve", "--auth=canary-secret"], ["serve", f"--auth={MASK}"]),
        ("backend_image_extra_commands", "curl -H canary-secret x", f"curl -H {MASK} x"),
    ],
)
def test_no_secret_is_shown(name, value, told):
    assert effective.masked(name, value, schema=["backend_password", "better_auth"], secrets=["canary-secret", "p"]) == told


def test_what_stack_hands_over_is_no_setting_unless_the_environment_has_it():
    wired = {"edge_bind": "{{ stack_bind }}", "registry_port": "{{ lookup('ansible.builtin.env', 'REGISTRY_PORT') }}"}
    assert effective.hand_over(["edge_bind", "registry_port", "edge_uid"], wired) == {"edge_bind"}


def test_settings_are_sorted_by_role_and_those_that_differ_can_be_had_alone():
    settings = [
        Setting("edge", "edge_uid", 1, "default"),
        Setting("backup", "backup_keep", 3, "command line, -e"),
        Setting("stack", "stack_name", "a", "environment STACK_NAME"),
        Setting("stack", "stack_bind", "127.0.0.1", "default"),
    ]
    assert [one.name for one in effective.ordered(settings, False)] == ["stack_bind", "stack_name", "backup_keep", "edge_uid"]
    changed = effective.ordered(settings, True)
    assert effective.rows(changed) == [
        {"role": "stack", "setting": "stack_name", "value": "a", "from": "environment STACK_NAME"},
        {"role": "backup", "setting": "backup_keep", "value": "3", "from": "command line, -e"},
    ]
    assert effective.as_data(changed)[1] == {"role": "backup", "name": "backup_keep", "value": 3, "origin": "command line, -e"}


def test_a_long_value_is_cut_in_a_table():
    assert effective.shown({"a": "b\n" * 100}).endswith("…")
    assert len(effective.shown("x" * 200)) == effective.WIDTH
    assert effective.shown(["a", 1, True]) == '["a", 1, true]'


INVENTORY = """\
docker_hosts:
  hosts:
    here:
      stack_tls: internal
  vars:
    ansible_connection: local
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
    stack_log_level: debug
    backend_image_extra_environment: {API_TOKEN: canary-of-a-mapping}
    backend_image_strict: true
builders: {hosts: {here: {}}}
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The collection as ansible-galaxy installs it, below ansible_collections, and an empty directory beside with an inventory."""
    collections = tmp_path / "collections" / "ansible_collections"
    for part in ("plugins", "roles", "playbooks", "meta"):
        shutil.copytree(ROOT / part, collections / "berth" / "stack" / part, ignore=shutil.ignore_patterns("__pycache__"))
    for other in (ROOT / ".ansible/collections/ansible_collections").iterdir():
        if other.name != "berth":
            (collections / other.name).symlink_to(other.resolve())
    work = tmp_path / "work"
    (work / "group_vars" / "all").mkdir(parents=True)
    (work / "hosts.yml").write_text(INVENTORY)
    (work / "group_vars/all/more.yml").write_text("edge_memory: 300m\nvault_openai_api_key: canary-of-a-vault\n")
    return work


def called(work: Path, *arguments: str, **environment: str) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "BERTH_"))}
    own |= {
        "ANSIBLE_COLLECTIONS_PATH": str(work.parent / "collections"),
        "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
        "NO_COLOR": "1",
    } | environment
    command = [ROOT / ".venv/bin/ansible-playbook", "berth.stack.config", "-i", "hosts.yml", *arguments]
    done = subprocess.run(command, cwd=work, env=own, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_inventory_anywhere_gets_the_settings_and_outranks_them_without_our_ansible_cfg(installed):
    out = called(installed, "-e", "backup_keep=3", BERTH_FORMAT="json", STACK_NAME="elsewhere", SECRET_BACKEND_PASSWORD="canary-of-env")
    shown = json.loads(json.loads("{" + out[out.index('"msg":') : out.rindex("}", 0, out.index("PLAY RECAP"))] + "}")["msg"])
    found = {one["name"]: (one["value"], one["origin"]) for one in shown["here"]}
    assert found["stack_log_level"] == ("debug", "inventory, group docker_hosts, hosts.yml line 8")
    assert found["stack_tls"] == ("internal", "inventory, host here, hosts.yml line 4")
    assert found["stack_name"] == ("elsewhere", "environment STACK_NAME")
    assert found["edge_memory"] == ("300m", "group_vars or host_vars, group_vars/all/more.yml line 1")
    assert found["backup_keep"][1].startswith("command line, -e")
    assert found["backend_image_strict"] == (True, "inventory, group docker_hosts")
    assert found["vault_openai_api_key"][0] == found["backend_image_extra_environment"][0]["API_TOKEN"] == MASK
    assert found["stack_local_dir"] == (f"{installed}/.local", "default")
    assert found["stack_reports_dir"][0] == f"{installed}/reports/elsewhere"
    assert found["stack_model_external"][0] is True
    assert "canary" not in out
    # What one role is given by another is no setting.
    assert "release_recipes" not in found and "edge_bind" not in found


def test_only_what_differs_from_the_defaults(installed):
    out = called(installed, BERTH_CHANGED="true")
    assert "stack_log_level" in out and "edge_memory" in out
    assert "stack_bind" not in out and "backup_keep" not in out and "stack_config_changed" not in out
