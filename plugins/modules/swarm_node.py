#!/usr/bin/python
"""Create or join a Swarm, and update the settings of its nodes."""

from __future__ import annotations

DOCUMENTATION = r"""
module: swarm_node
short_description: Create or join a Swarm, and update the settings of its nodes
description:
  - Without O(managers) the host creates a Swarm, unless it is in one; with them it joins theirs. A host in another Swarm is refused.
  - With O(nodes) the host, a manager, updates availability, labels and roles of nodes.
options:
  address: {description: "Address or interface of this host for other nodes.", type: str, default: ""}
  data_address: {description: "The same for the traffic of containers, where it differs.", type: str, default: ""}
  managers: {description: "Addresses of managers to join, host:2377.", type: list, elements: str, default: []}
  token: {description: Join token of the Swarm., type: str, default: ""}
  cluster: {description: Id of the Swarm to join., type: str, default: ""}
  nodes:
    description: "By node id: C(availability) (active, pause, drain), C(role) (manager, worker) and C(labels)."
    type: dict
    default: {}
  wait: {description: Seconds until the node must be ready., type: int, default: 30}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Create the Swarm
  berth.stack.swarm_node: {address: eth0}
  register: __swarm
"""

RETURN = r"""
node: {description: Id of this node., type: str, returned: always}
cluster: {description: Id of the Swarm; on managers., type: str, returned: success}
manager: {description: Address of this node for those that join., type: str, returned: on managers}
tokens: {description: "Join tokens, C(manager) and C(worker); secret.", type: dict, returned: on managers}
actions: {description: "Changes made, or in check mode planned, one line each.", type: list, elements: str, returned: always}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError, wait_until


def join(engine: Engine, params: dict[str, Any]) -> None:
    """Create or join a Swarm."""
    body = {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": params["address"], "DataPathAddr": params["data_address"]}
    if params["managers"]:
        engine.call("POST", "/swarm/join", body=body | {"RemoteAddrs": params["managers"], "JoinToken": params["token"]}, timeout=120)
    else:
        engine.call("POST", "/swarm/init", body=body)


def update_nodes(engine: Engine, nodes: dict[str, dict[str, Any]], check: bool) -> list[str]:
    """Give nodes their availability, role and labels; what was done."""
    actions = []
    for identity, params in nodes.items():
        node = engine.call("GET", f"/nodes/{identity}")
        spec, host = node["Spec"], node["Description"]["Hostname"]
        labels = (spec.get("Labels") or {}) | {key: str(value) for key, value in params["labels"].items()}
        made = spec | {"Availability": params["availability"], "Role": params["role"], "Labels": labels}
        details = [f"{key.lower()} {made[key]}" for key in ("Availability", "Role", "Labels") if (spec.get(key) or {}) != (made[key] or {})]
        if details:
            actions.append(f"node {host}: {', '.join(details)}")
            if not check:
                engine.call("POST", f"/nodes/{identity}/update", {"version": node["Version"]["Index"]}, made)
    return actions


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "default": ""},
            "data_address": {"type": "str", "default": ""},
            "managers": {"type": "list", "elements": "str", "default": []},
            "token": {"type": "str", "default": "", "no_log": True},
            "cluster": {"type": "str", "default": ""},
            "nodes": {"type": "dict", "default": {}},
            "wait": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    params, engine, actions = module.params, Engine(), []
    try:
        info = engine.call("GET", "/info")
        swarm = info["Swarm"]
        if info.get("LiveRestoreEnabled"):
            module.fail_json(
                msg=f"The engine of {info['Name']} has live-restore enabled, which a Swarm does not support. Remove live-restore from "
                "/etc/docker/daemon.json there and restart the engine; where Berth installed the engine, stack_engine=swarm does so."
            )
        if swarm["LocalNodeState"] == "inactive":
            actions.append(f"{'join' if params['managers'] else 'create'} the Swarm on {info['Name']}")
            if not module.check_mode:
                join(engine, params)
                wait_until(lambda: engine.call("GET", "/info")["Swarm"]["LocalNodeState"] == "active", params["wait"])
        elif params["cluster"] and (swarm.get("Cluster") or {}).get("ID", params["cluster"]) != params["cluster"]:
            module.fail_json(
                msg=f"{info['Name']} is in another Swarm already ({swarm['Cluster']['ID']}, not {params['cluster']}). "
                "To remove it from that Swarm, with everything that runs there: docker swarm leave --force"
            )
        actions += update_nodes(engine, params["nodes"], module.check_mode)
        swarm = engine.call("GET", "/info")["Swarm"]
        manager = swarm["ControlAvailable"]
        details = engine.call("GET", "/swarm") if manager else {}
    except EngineError as error:
        module.fail_json(msg=str(error), actions=actions)
    module.exit_json(
        changed=bool(actions),
        actions=actions,
        node=swarm["NodeID"],
        cluster=details.get("ID", ""),
        manager=f"{swarm['NodeAddr']}:2377" if manager else "",
        tokens={key.lower(): value for key, value in (details.get("JoinTokens") or {}).items()},
    )


if __name__ == "__main__":
    main()
