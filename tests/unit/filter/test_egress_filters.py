"""Internet access by service: networks, relays and network policy."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.berth.stack.plugins.filter.egress import (
    egress_endpoints,
    egress_networks,
    egress_policy,
    egress_relays,
    egress_services,
)
from ansible_collections.berth.stack.plugins.module_utils.docker.spec import container_body, network_changes

LISTED = {"backend": ["api.stripe.com", "smtp.example.com:587"], "frontend": []}
BACKEND = {
    "name": "s-backend-v1",
    "service": "backend",
    "repository": "s-backend",
    "tag": "v1",
    "release": "v1",
    "user": "1:1",
    "secrets": "/s",
}


def test_without_internet_access_there_is_no_network_for_it():
    nothing = {"backend": [], "frontend": []}
    assert (
        egress_networks(nothing, "s", {})
        == []
        == egress_endpoints(nothing, "backend", "s", "v1")
        == egress_relays(nothing, BACKEND, "s", "v1")
    )


def test_all_is_a_network_whose_containers_do_not_connect_to_each_other():
    egress = {"backend": [], "frontend": "all"}
    (network,) = egress_networks(egress, "s", {})
    assert (network["name"], network["internal"]) == ("s-internet", False)
    assert network["options"] == {"com.docker.network.bridge.enable_icc": "false"}
    assert egress_endpoints(egress, "frontend", "s", "v1") == [{"name": "s-internet"}]
    assert egress_endpoints(egress, "backend", "s", "v1") == []
    assert egress_services(egress) == ["frontend"]
    assert egress_networks(egress, "s", {"driver": "overlay"})[0]["driver"] == "overlay"


def test_a_list_is_an_internal_network_in_which_the_names_are_the_relay():
    assert [(n["name"], n["internal"]) for n in egress_networks(LISTED, "s", {})] == [("s-egress-backend", True), ("s-internet", False)]
    (endpoint,) = egress_endpoints(LISTED, "backend", "s", "v1")
    assert endpoint == {
        "name": "s-egress-backend",
        "links": {"api.stripe.com": "s-egress-backend-v1", "smtp.example.com": "s-egress-backend-v1"},
    }
    (relay,) = egress_relays(LISTED, BACKEND, "s", "v1")
    assert relay["name"] == "s-egress-backend-v1" and relay["service"] == "egress-backend"
    assert relay["entrypoint"][-2:] == ["api.stripe.com:443", "smtp.example.com:587"]
    assert [n["name"] for n in relay["networks"]] == ["s-internet", "s-egress-backend"]
    assert relay["expose"] == [443, 587] and "secrets" not in relay
    assert egress_services(LISTED) == ["egress-backend"]


def test_a_relay_knows_the_addresses_of_its_names_that_are_not_in_dns():
    hosts = {"smtp.example.com": "10.0.0.5", "other.example.com": "10.0.0.6"}
    (relay,) = egress_relays(LISTED, BACKEND, "s", "v1", hosts)
    assert relay["extra_hosts"] == ["smtp.example.com:10.0.0.5"]
    assert "extra_hosts" not in egress_relays(LISTED, BACKEND, "s", "v1")[0]


def test_the_relay_is_in_the_network_policy():
    table = {"backend": {"needs": ["database"], "neighbours": [], "internet": False}}
    policy = egress_policy(table, LISTED)
    assert policy["backend"]["needs"] == ["database", "egress-backend"] and not policy["backend"]["internet"]
    assert policy["egress-backend"] == {"needs": [], "neighbours": ["backend"], "internet": True}
    assert table["backend"]["needs"] == ["database"]


def test_an_invalid_list_is_refused_by_its_variable():
    with pytest.raises(AnsibleFilterError, match=r"backend_image_egress has '\*.example.com', a pattern"):
        egress_networks({"backend": ["*.example.com"]}, "s", {})


def test_names_of_one_container_are_links_of_its_endpoint():
    spec = {"name": "s-backend-v1", "image": "i", "networks": [{"name": "n", "links": {"api.stripe.com": "relay"}}], "expose": [443]}
    body = container_body(spec, {"Config": {"ExposedPorts": {"8000/tcp": {}}}})
    assert body["NetworkingConfig"]["EndpointsConfig"]["n"] == {"Aliases": [], "Links": ["relay:api.stripe.com"]}
    assert body["ExposedPorts"] == {"8000/tcp": {}, "443/tcp": {}}
    end = {"EndpointID": "e", "Aliases": ["s-backend-v1"], "Links": ["relay:api.stripe.com"]}
    actual = {"Id": "1" * 64, "Name": "/s-backend-v1", "NetworkSettings": {"Networks": {"n": end}}}
    assert network_changes(body, actual) == ({}, [])
    end["Links"] = ["relay:other.example"]
    assert network_changes(body, actual)[1] == ["n"]
