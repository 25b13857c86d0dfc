"""Internet access by service: networks, the relays of allow-lists, and the network policy that follows.

`egress`: {service: all, or a list of hosts} (stack_egress).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.settings.egress import ALL, targets

RELAY = Path(__file__).parents[1] / "module_utils" / "release" / "egress_proxy.py"
HEALTH_PORT = "8099"
# Its containers connect to the outside and not to each other.
ISOLATED = {"com.docker.network.bridge.enable_icc": "false"}


@cache
def _program() -> str:
    return RELAY.read_text()


def _targets(egress: dict[str, Any], service: str) -> list[str]:
    try:
        return targets(egress.get(service, []))
    except ValueError as error:
        raise AnsibleFilterError(f"{service}_image_egress {error}") from error


def _listed(egress: dict[str, Any]) -> dict[str, list[str]]:
    """{service: HOST:PORT of its list}, of services that have one."""
    return {service: found for service in egress if (found := _targets(egress, service))}


def _relay(service: str) -> str:
    return f"egress-{service}"


def egress_networks(egress: dict[str, Any], stack: str, kind: dict[str, Any]) -> list[dict[str, Any]]:
    """The networks to create: an internal one for each service with a list, and one with internet access if anything needs it.

    `kind`: driver and options of networks that span hosts.
    """
    labels = {"labels": {"berth.service": "network", "berth.version": "any"}}
    internal = [{"name": f"{stack}-{_relay(service)}", "internal": True} | labels for service in _listed(egress)]
    if not internal and ALL not in egress.values():
        return []
    return [*internal, {"name": f"{stack}-internet", "internal": False} | labels | (kind or {"options": ISOLATED})]


def egress_endpoints(egress: dict[str, Any], service: str, stack: str, release: str) -> list[dict[str, Any]]:
    """The networks that `service` joins: the one with internet access, or the one of its relay, in which the listed names are the relay."""
    if egress.get(service) == ALL:
        return [{"name": f"{stack}-internet"}]
    relay = f"{stack}-{_relay(service)}-{release}"
    names = {target.rpartition(":")[0]: relay for target in _targets(egress, service)}
    return [{"name": f"{stack}-{_relay(service)}", "links": names}] if names else []


def egress_relays(
    egress: dict[str, Any], image: dict[str, Any], stack: str, release: str, hosts: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    """The services of the relays, one for each service with a list; they run in the image of the service `image`.

    `hosts`: {name: IP address} of names that are not in DNS.
    """
    kept = ("repository", "tag", "release", "user")
    return [
        {key: image[key] for key in kept}
        | {
            "name": f"{stack}-{_relay(service)}-{release}",
            "service": _relay(service),
            # Without the image's own packages: neither the environment nor site-packages is read.
            "entrypoint": ["python3", "-I", "-S", "-u", "-c", _program(), *found],
            "command": [],
            "environment": {"PORT": HEALTH_PORT, "HEALTH_PATH": "/"},
            "networks": [{"name": f"{stack}-internet"}, {"name": f"{stack}-{_relay(service)}"}],
            "expose": sorted({int(target.rpartition(":")[2]) for target in found}),
            "mem_limit": "64m",
            "cpus": 0.5,
            "pids_limit": 32,
            "stop_grace_period": 10,
        }
        | ({"extra_hosts": own} if (own := _extra_hosts(found, hosts or {})) else {})
        for service, found in _listed(egress).items()
    ]


def _extra_hosts(targets: list[str], hosts: dict[str, str]) -> list[str]:
    return [f"{host}:{hosts[host]}" for host in sorted({target.rpartition(":")[0] for target in targets}) if host in hosts]


def egress_services(egress: dict[str, Any]) -> list[str]:
    """The services with internet access: those without a list, and the relays."""
    return [service for service, value in egress.items() if value == ALL] + [_relay(service) for service in _listed(egress)]


def egress_policy(policy: dict[str, Any], egress: dict[str, Any]) -> dict[str, Any]:
    """The network policy with the relays."""
    made = {service: dict(row) for service, row in policy.items()}
    for service in _listed(egress):
        made[service]["needs"] = [*made[service]["needs"], _relay(service)]
        made[_relay(service)] = {"needs": [], "neighbours": [service], "internet": True}
    return made


def egress_targets(egress: dict[str, Any]) -> dict[str, list[str]]:
    """{service: HOST:PORT of its list}."""
    return _listed(egress)


class FilterModule:
    """Filters about internet access."""

    def filters(self) -> dict[str, object]:
        return {
            "egress_networks": egress_networks,
            "egress_endpoints": egress_endpoints,
            "egress_relays": egress_relays,
            "egress_services": egress_services,
            "egress_policy": egress_policy,
            "egress_targets": egress_targets,
        }
