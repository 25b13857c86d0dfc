"""Public variables of several environments: the same source, an inventory for each, an image for each."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from conftest import ROOT

PLAY = """\
- hosts: docker_hosts
  gather_facts: false
  tasks:
    - name: Know the role
      tags: never
      ansible.builtin.import_role: {name: berth.stack.frontend_image, tasks_from: service}
    - ansible.builtin.import_role: {name: berth.stack.base_image}
      tags: never
    - ansible.builtin.copy: {content: "{{ frontend_image_recipe.args | to_json }}", dest: "{{ out }}", mode: "0644"}
      delegate_to: localhost
"""
HOSTS = """\
all:
  children:
    docker_hosts: {hosts: {here: {ansible_connection: local}}}
    builders: {hosts: {here: }}
"""
# As docs/environment.md advises: one value that follows the address of each environment.
VARIABLES = """\
stack_host: %s
stack_https_port: 443
frontend_image_build_environment: {NEXT_PUBLIC_API_URL: "{{ stack_url }}/api"}
"""


def build_arguments(directory: Path, host: str) -> dict[str, str]:
    (directory / "group_vars").mkdir(parents=True)
    (directory / "hosts.yml").write_text(HOSTS)
    (directory / "group_vars/all.yml").write_text(VARIABLES % host)
    (directory / "play.yml").write_text(PLAY)
    done = subprocess.run(
        [ROOT / ".venv/bin/ansible-playbook", "-i", directory / "hosts.yml", directory / "play.yml", "-e", f"out={directory}/out.json"],
        cwd=ROOT, env=os.environ | {"ANSIBLE_FORCE_COLOR": "0", "STACK_NAME": "public"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, str] = json.loads((directory / "out.json").read_text())
    return found


def test_each_environment_has_its_own_values_in_the_build(tmp_path: Path) -> None:
    staging = build_arguments(tmp_path / "staging", "staging.example.com")
    production = build_arguments(tmp_path / "production", "shop.example.com")
    assert json.loads(staging["BUILD_ENV"])["NEXT_PUBLIC_API_URL"] == "https://staging.example.com/api"
    assert json.loads(production["BUILD_ENV"])["NEXT_PUBLIC_API_URL"] == "https://shop.example.com/api"
    # All else is the same; arguments are in the hash that names the content, so that the images have different names.
    assert {name for name in staging if staging[name] != production[name]} == {"BUILD_ENV"}
