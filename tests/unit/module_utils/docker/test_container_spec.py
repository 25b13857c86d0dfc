"""Services in the words of the Compose specification, and what differs between them and what the engine has."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.berth.stack.plugins.module_utils.docker.spec import SpecError, container_body, differences, network_changes, size

IMAGE = {
    "Id": "sha256:aa",
    "Config": {
        "Env": ["PATH=/usr/bin", "PORT=8000"],
        "Entrypoint": ["python3"],
        "Cmd": ["-m", "app"],
        "User": "65532",
        "Labels": {"org.opencontainers.image.title": "x"},
        "Healthcheck": {"Test": ["CMD", "healthcheck"], "Interval": 10_000_000_000, "Retries": 3},
        "ExposedPorts": {"8000/tcp": {}},
    },
}
SPEC = {
    "name": "s-web",
    "image": "s-web:1",
    "environment": {"PORT": 9000, "EMPTY": None, "FLAG": "on"},
    "labels": {"berth.stack": "s"},
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "tmpfs": ["/tmp:rw,size=64m"],
    "mem_limit": "256m",
    "cpus": 0.5,
    "pids_limit": 100,
    "restart": "unless-stopped",
    "networks": [{"name": "s-app", "aliases": ["web"]}, {"name": "s-data"}],
    "mounts": [{"type": "bind", "source": "/a", "target": "/b", "read_only": True}],
    "ports": [{"host_ip": "127.0.0.1", "published": 8443, "target": 8443}],
    "healthcheck": {"interval": 5, "start_interval": 0.5},
    "logging": {"driver": "json-file", "options": {"max-size": "10m"}},
    "ulimits": {"nofile": {"soft": 1, "hard": 2}},
    "stop_grace_period": 30,
}


def inspected(body: dict) -> dict:
    """What the engine would say of a container that was made from `body`."""
    made = copy.deepcopy(body)
    host = made.pop("HostConfig")
    # The engine's own habits: a prefix, an empty list for none, another order, fields that nobody asked for.
    host["CapDrop"] = ["CAP_" + name if name != "ALL" else name for name in host["CapDrop"]]
    host["CapAdd"] = None
    host["ShmSize"] = 67108864
    host["ExtraHosts"] = None
    host["PortBindings"] = host["PortBindings"] or {}
    return {
        "Id": "0123456789abcdef",
        "Name": "/s-web",
        "Image": made["Image"],
        "Config": {key: made[key] for key in ("Env", "Entrypoint", "Cmd", "User", "Labels", "Healthcheck", "StopTimeout")},
        "HostConfig": host,
        "NetworkSettings": {
            "Networks": {
                name: {"EndpointID": "e", "Aliases": [*settings["Aliases"], "0123456789ab"]}
                for name, settings in made["NetworkingConfig"]["EndpointsConfig"].items()
            }
        },
    }


@pytest.mark.parametrize(
    ("text", "expected"), [("256m", 256 * 1024**2), ("1g", 1024**3), ("1.5k", 1536), (1048576, 1048576), ("64mb", 64 * 1024**2), ("", 0)]
)
def test_sizes(text, expected):
    assert size(text) == expected


def test_a_wrong_size_says_what_to_write():
    with pytest.raises(SpecError, match="256m"):
        size("lots")


def test_the_body_has_what_the_image_and_the_service_say():
    body = container_body(SPEC, IMAGE)
    assert body["Image"] == "sha256:aa"
    assert body["Env"] == ["FLAG=on", "PATH=/usr/bin", "PORT=9000"]
    assert body["Cmd"] == ["-m", "app"]
    assert body["User"] == "65532"
    assert body["Healthcheck"] == {
        "Test": ["CMD", "healthcheck"],
        "Interval": 5_000_000_000,
        "StartInterval": 500_000_000,
        "Retries": 3,
    }
    host = body["HostConfig"]
    assert host["Memory"] == host["MemorySwap"] == 256 * 1024**2
    assert host["NanoCpus"] == 500_000_000
    assert host["PortBindings"] == {"8443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8443"}]}
    assert host["RestartPolicy"] == {"Name": "unless-stopped", "MaximumRetryCount": 0}
    assert body["NetworkingConfig"]["EndpointsConfig"] == {"s-app": {"Aliases": ["web"]}, "s-data": {"Aliases": []}}


def test_an_entrypoint_of_its_own_leaves_the_images_command_out():
    assert container_body(SPEC | {"entrypoint": ["node", "migrate.mjs"]}, IMAGE)["Cmd"] is None


def test_an_unknown_key_is_refused_by_name():
    with pytest.raises(SpecError, match="memory"):
        container_body(SPEC | {"memory": "1g"}, IMAGE)


def test_what_was_made_from_a_spec_does_not_differ_from_it():
    body = container_body(SPEC, IMAGE)
    assert differences(body, inspected(body)) == {}
    assert network_changes(body, inspected(body)) == ({}, [])


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"mem_limit": "512m"}, "Memory"),
        ({"cpus": 1}, "NanoCpus"),
        ({"pids_limit": 10}, "PidsLimit"),
        ({"restart": "always"}, "RestartPolicy"),
        ({"read_only": False}, "ReadonlyRootfs"),
        ({"cap_drop": []}, "CapDrop"),
        ({"cap_add": ["NET_ADMIN"]}, "CapAdd"),
        ({"security_opt": []}, "SecurityOpt"),
        ({"environment": {"PORT": 1}}, "Env"),
        ({"user": "0"}, "User"),
        ({"mounts": []}, "Mounts"),
        ({"ports": []}, "PortBindings"),
        ({"labels": {"berth.stack": "other"}}, "Labels"),
        ({"healthcheck": {"interval": 6}}, "Healthcheck"),
        ({"logging": {"driver": "none"}}, "LogConfig"),
        ({"tmpfs": []}, "Tmpfs"),
        ({"ulimits": {}}, "Ulimits"),
        ({"stop_grace_period": 1}, "StopTimeout"),
        ({"command": ["x"]}, "Cmd"),
        ({"entrypoint": ["x"]}, "Entrypoint"),
    ],
)
def test_every_kind_of_change_is_seen(change, key):
    made = inspected(container_body(SPEC, IMAGE))
    assert key in differences(container_body(SPEC | change, IMAGE), made)


def test_another_image_under_the_same_tag_is_seen():
    made = inspected(container_body(SPEC, IMAGE))
    assert differences(container_body(SPEC, IMAGE | {"Id": "sha256:bb"}), made) == {"Image": ("sha256:aa", "sha256:bb")}


def test_networks_are_joined_and_left():
    body = container_body(SPEC, IMAGE)
    made = inspected(body)
    del made["NetworkSettings"]["Networks"]["s-data"]
    made["NetworkSettings"]["Networks"]["foreign"] = {"EndpointID": "x", "Aliases": []}
    assert network_changes(body, made) == ({"s-data": {"Aliases": []}}, ["foreign"])


def test_an_endpoint_of_a_network_that_was_made_anew_is_joined_again():
    body = container_body(SPEC, IMAGE)
    made = inspected(body)
    made["NetworkSettings"]["Networks"]["s-app"]["EndpointID"] = ""
    assert network_changes(body, made) == ({"s-app": {"Aliases": ["web"]}}, ["s-app"])
