"""The nodes of a Swarm by the hosts of an inventory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def swarm_nodes(hosts: Iterable[dict[str, Any]], first: str) -> dict[str, dict[str, Any]]:
    """The desired settings of each host's node, by node id: from the host's variables and its result of joining the Swarm."""
    nodes = {}
    for host in hosts:
        joined = host["__swarm_first" if host["inventory_hostname"] == first else "__swarm_joined"]
        nodes[joined["node"]] = {
            "availability": host.get("swarm_availability", "active"),
            "role": "manager" if host["inventory_hostname"] == first else host.get("swarm_role", "manager"),
            "labels": host.get("swarm_labels", {}),
        }
    return nodes


class FilterModule:
    """Filters of the role swarm."""

    def filters(self) -> dict[str, object]:
        return {"swarm_nodes": swarm_nodes}
