#!/usr/bin/python
"""Return whether a Docker Engine responds on the host, and its version."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_info
short_description: Return whether a Docker Engine responds on the host, and its version
description: An engine that does not respond is a result, not a failure.
options:
  docker_host:
    description: Address of the engine; the environment's DOCKER_HOST or the local socket by default.
    type: str
  context:
    description:
      - The user's DOCKER_CONTEXT; where it is empty, the context in the configuration of the docker CLI.
      - A warning is issued where the context is of another engine.
    type: str
    default: ""
  wait:
    description: Seconds to wait for a starting engine.
    type: int
    default: 0
  marker:
    description: File that marks the engine's configuration as Berth's.
    type: path
    default: /etc/docker/managed-by-berth
  configuration:
    description: The engine's configuration file.
    type: path
    default: /etc/docker/daemon.json
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Read the engine's version
  berth.stack.engine_info:
  register: __engine
"""

RETURN = r"""
running: {description: Whether an engine responds., type: bool, returned: always}
version: {description: The engine's version., type: str, returned: when running, sample: 26.1.5}
api_version: {description: Highest API version that it supports., type: str, returned: when running}
containers: {description: Number of running containers., type: int, returned: when running}
error: {description: Why it does not respond., type: str, returned: when not running}
address: {description: Address of the engine., type: str, returned: always, sample: unix:///var/run/docker.sock}
elsewhere: {description: Whether that is not the default address of an engine installed on this host., type: bool, returned: always}
cli: {description: "Path of the docker CLI, empty where it is not installed.", type: str, returned: always}
daemon: {description: "Path of dockerd, empty where it is not installed.", type: str, returned: always}
managed: {description: Whether the file O(marker) exists., type: bool, returned: always}
configuration: {description: Content of the engine's configuration file; empty where it cannot be read., type: dict, returned: always}
buildx: {description: Whether the docker CLI has its buildx plugin., type: bool, returned: always}
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import DEFAULT_HOST, Engine, EngineError, other_context, wait_until

# Where the docker CLI looks for plugins, besides the user's own directory.
PLUGIN_DIRECTORIES = ("/usr/local/lib/docker", "/usr/local/libexec/docker", "/usr/lib/docker", "/usr/libexec/docker", "~/.docker")


def _buildx() -> bool:
    return any(
        os.access(os.path.join(os.path.expanduser(directory), "cli-plugins", "docker-buildx"), os.X_OK) for directory in PLUGIN_DIRECTORIES
    )


def _configuration(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "docker_host": {"type": "str"},
            "context": {"type": "str", "default": ""},
            "wait": {"type": "int", "default": 0},
            "marker": {"type": "path", "default": "/etc/docker/managed-by-berth"},
            "configuration": {"type": "path", "default": "/etc/docker/daemon.json"},
        },
        supports_check_mode=True,
    )
    engine = Engine(module.params["docker_host"], timeout=10)
    last: dict[str, str] = {}
    if not os.environ.get("DOCKER_HOST"):  # which outranks every context for the docker CLI too
        directory = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
        name, endpoint = other_context(directory, module.params["context"], engine.host)
        if name:
            how = (
                f"DOCKER_HOST={endpoint}" if endpoint.startswith(("unix://", "tcp://")) else "add its host to an inventory (docs/hosts.md)"
            )
            module.warn(f"The docker context {name!r} is {endpoint}. Berth uses {engine.host}. To use the other one: {how}")

    def version() -> Any:
        try:
            return engine.call("GET", "/version")
        except EngineError as error:
            last["error"] = str(error)
            return None

    found = wait_until(version, module.params["wait"], interval=0.25)
    address = {"address": engine.host, "elsewhere": engine.host.replace("///run/", "///var/run/") != DEFAULT_HOST}
    tools = {"cli": shutil.which("docker") or "", "daemon": shutil.which("dockerd") or "", "buildx": _buildx(), **address}
    tools |= {"managed": os.path.exists(module.params["marker"]), "configuration": _configuration(Path(module.params["configuration"]))}
    if found:
        containers = len(engine.call("GET", "/containers/json"))
        module.exit_json(running=True, containers=containers, version=found["Version"], api_version=found["ApiVersion"], **tools)
    module.exit_json(running=False, error=last["error"], **tools)


if __name__ == "__main__":
    main()
