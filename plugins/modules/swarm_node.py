#!/usr/bin/python
"""Make a host a node of a Swarm, and settle what the Swarm gives its nodes to do."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError, wait_until

DOCUMENTATION = r"""
module: swarm_node
short_description: Make a host a node of a Swarm, and settle what the Swarm gives its nodes to do
description:
  - Without O(managers) the host makes a Swarm, unless it is in one; with them it joins theirs. A host that is in another Swarm is refused.
  - With O(nodes) the host, a manager, settles availability, labels and roles.
options:
  address: {description: "Address or interface that other nodes reach this one at.", type: str, default: ""}
  data_address: {description: "The same for the traffic of containers, where that is another one.", type: str, default: ""}
  managers: {description: "Addresses of managers to join, host:2377.", type: list, elements: str, default: []}
  token: {description: Join token of the Swarm., type: str, default: ""}
  cluster: {description: Id of the Swarm to join., type: str, default: ""}
  nodes:
    description: "By node id: C(availability) (active, pause, drain), C(role) (manager, worker) and C(labels)."
    type: dict
    default: {}
  wait: {description: Seconds until the node must be ready., type: int, default: 30}
"""

EXAMPLES = r"""
- name: Make the Swarm
  berth.stack.swarm_node: {address: eth0}
  register: __swarm
"""

RETURN = r"""
node: {description: Id of this node., type: str, returned: always}
cluster: {description: Id of the Swarm; on managers., type: str, returned: success}
manager: {description: Address of this node for those that join., type: str, returned: on managers}
tokens: {description: "Join tokens, C(manager) and C(worker); secret.", type: dict, returned: on managers}
actions: {description: What was done., type: list, elements: str, returned: always}
"""


def join(engine: Engine, wanted: dict[str, Any]) -> None:
    """Make the Swarm, or join it."""
    body = {"ListenAddr": "0.0.0.0:2377", "AdvertiseAddr": wanted["address"], "DataPathAddr": wanted["data_address"]}
    if wanted["managers"]:
        engine.call("POST", "/swarm/join", body=body | {"RemoteAddrs": wanted["managers"], "JoinToken": wanted["token"]}, timeout=120)
    else:
        engine.call("POST", "/swarm/init", body=body)


def settle(engine: Engine, nodes: dict[str, dict[str, Any]], check: bool) -> list[str]:
    """Give nodes their availability, role and labels; what was done."""
    actions = []
    for identity, wanted in nodes.items():
        node = engine.call("GET", f"/nodes/{identity}")
        spec, host = node["Spec"], node["Description"]["Hostname"]
        labels = (spec.get("Labels") or {}) | {key: str(value) for key, value in wanted["labels"].items()}
        made = spec | {"Availability": wanted["availability"], "Role": wanted["role"], "Labels": labels}
        told = [f"{key.lower()} {made[key]}" for key in ("Availability", "Role", "Labels") if (spec.get(key) or {}) != (made[key] or {})]
        if told:
            actions.append(f"node {host}: {', '.join(told)}")
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
    wanted, engine, actions = module.params, Engine(), []
    try:
        info = engine.call("GET", "/info")
        swarm = info["Swarm"]
        if info.get("LiveRestoreEnabled"):
            module.fail_json(
                msg=f"The engine of {info['Name']} is set to live-restore, which no node of a Swarm can have. Take live-restore out of "
                "/etc/docker/daemon.json there and restart the engine; where Berth installed it, stack_engine=swarm does so."
            )
        if swarm["LocalNodeState"] == "inactive":
            actions.append(f"{info['Name']} {'joins the Swarm' if wanted['managers'] else 'makes a Swarm'}")
            if not module.check_mode:
                join(engine, wanted)
                wait_until(lambda: engine.call("GET", "/info")["Swarm"]["LocalNodeState"] == "active", wanted["wait"])
        elif wanted["cluster"] and (swarm.get("Cluster") or {}).get("ID", wanted["cluster"]) != wanted["cluster"]:
            module.fail_json(
                msg=f"{info['Name']} is in another Swarm already ({swarm['Cluster']['ID']}, not {wanted['cluster']}). "
                "To take it out of there, with all that runs on it: docker swarm leave --force"
            )
        actions += settle(engine, wanted["nodes"], module.check_mode)
        swarm = engine.call("GET", "/info")["Swarm"]
        manager = swarm["ControlAvailable"]
        told = engine.call("GET", "/swarm") if manager else {}
    except EngineError as error:
        module.fail_json(msg=str(error), actions=actions)
    module.exit_json(
        changed=bool(actions),
        actions=actions,
        node=swarm["NodeID"],
        cluster=told.get("ID", ""),
        manager=f"{swarm['NodeAddr']}:2377" if manager else "",
        tokens={key.lower(): value for key, value in (told.get("JoinTokens") or {}).items()},
    )


if __name__ == "__main__":
    main()
