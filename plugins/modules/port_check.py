#!/usr/bin/python
"""Refuse ports that are in use by anything but the edge, and name the user."""

from __future__ import annotations

DOCUMENTATION = r"""
module: port_check
short_description: Refuse ports that are in use by anything but the edge, and name the user
description: Tries to bind each port. A port that the container C(owner) publishes passes.
options:
  address: {description: Address to publish the ports on., type: str, required: true}
  ports: {description: TCP ports., type: list, elements: int, required: true}
  owner: {description: Name of the container that may publish them already., type: str, required: true}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Check the ports
  berth.stack.port_check: {address: 127.0.0.1, ports: [8443], owner: berth-edge}
"""

RETURN = r"""
"""

import errno
import os
import re
import socket
from glob import glob

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError


def holder(port: int) -> str:
    """The process (by /proc) or container (by the engine) that listens on a TCP port."""
    try:
        for container in Engine(timeout=5).listing("containers"):
            if any(entry.get("PublicPort") == port for entry in container.get("Ports") or []):
                return f"container {container['Names'][0].lstrip('/')}"
    except EngineError:
        pass  # without an engine it is not a container
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(table):
            with open(table) as lines:
                for fields in (line.split() for line in list(lines)[1:]):
                    if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                        inodes.add(fields[9])
    for link in glob("/proc/[0-9]*/fd/*"):
        try:
            found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(link))
        except OSError:
            continue
        if found and found[1] in inodes:
            pid = link.split("/")[2]
            with open(f"/proc/{pid}/comm") as name:
                return f"process {pid} ({name.read().strip()})"
    return "another process"


def taken(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise
            return True
    return False


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "ports": {"type": "list", "elements": "int", "required": True},
            "owner": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    address, ports, owner = (module.params[key] for key in ("address", "ports", "owner"))
    try:
        busy = [port for port in ports if taken(address, port)]
    except OSError:
        module.fail_json(
            msg=f"{address} is not an address of this host ({socket.gethostname()}), so the edge cannot be published on it: set STACK_BIND "
            "(environment or .env) or stack_bind (inventory) to an address that `ip address` lists there, or to 0.0.0.0 for all"
        )
    who = {port: holder(port) for port in busy}
    foreign = {port: name for port, name in who.items() if name != f"container {owner}"}
    if foreign:
        port, name = next(iter(foreign.items()))
        variable, setting = ("HTTPS_PORT", "stack_https_port") if port == ports[0] else ("HTTP_PORT", "stack_http_port")
        module.fail_json(
            msg=f"Port {port} on {address} is in use by {name}, and the edge needs it. Stop that, or use another port: "
            f"make up {variable}={port + 1000}   ({variable} in .env, or {setting} in an inventory)"
        )
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
