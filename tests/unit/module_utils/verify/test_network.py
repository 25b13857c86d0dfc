"""What a container reaches, the benchmark's reading of a container, and the tables that say so."""

from __future__ import annotations

import copy
import os
import re
import socket
import threading

import pytest
import yaml
from ansible_collections.berth.stack.plugins.module_utils.docker.client import EngineError
from ansible_collections.berth.stack.plugins.module_utils.docker.reconcile import Stack
from ansible_collections.berth.stack.plugins.module_utils.verify.checks import CHECKS, Facts, Fail, NotVerified
from ansible_collections.berth.stack.plugins.module_utils.verify.cis_docker import MANUAL, RECOMMENDATIONS, score, warnings
from ansible_collections.berth.stack.plugins.module_utils.verify.netns import accepted, answered, reached
from conftest import ROOT

REACH = yaml.safe_load((ROOT / "roles/stack/defaults/main/network_policy.yml").read_text())["network_policy"]
HARDENED = {
    "AppArmorProfile": "docker-default",
    "Path": "healthcheck",
    "Config": {"Cmd": ["serve"]},
    "State": {"Health": {"Status": "healthy"}},
    "Mounts": [{"Source": "/var/lib/berth/secrets/1/x", "RW": False, "Propagation": "rprivate"}],
    "NetworkSettings": {"Networks": {"berth-app": {}}},
    "HostConfig": {
        "SecurityOpt": ["no-new-privileges"],
        "Memory": 1,
        "CpuShares": 1024,
        "PidsLimit": 10,
        "ReadonlyRootfs": True,
        "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
        "NetworkMode": "berth-app",
        "Ulimits": [{"Name": "core"}, {"Name": "nofile"}],
    },
}


def changed(path: str, value: object) -> dict:
    """HARDENED with one value set, by a path of keys."""
    container = copy.deepcopy(HARDENED)
    *parts, last = path.split("/")
    at = container
    for part in parts:
        at = at[part]
    at[last] = value
    return container


def test_a_hardened_container_follows_every_recommendation():
    assert warnings(HARDENED) == {}
    assert score({}) == len(RECOMMENDATIONS) - len(MANUAL)


BROKEN = [
    ("5.2", "AppArmorProfile", "unconfined"),
    ("5.3", "HostConfig/SecurityOpt", None),
    ("5.4", "HostConfig/CapAdd", ["NET_ADMIN"]),
    ("5.5", "HostConfig/Privileged", True),
    ("5.6", "Mounts", [{"Source": "/etc", "RW": True}]),
    ("5.7", "Config/Cmd", ["/usr/sbin/sshd"]),
    ("5.8", "HostConfig/PortBindings", {"443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "443"}]}),
    ("5.9", "HostConfig/PortBindings", {"443/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8443"}]}),
    ("5.10", "HostConfig/NetworkMode", "host"),
    ("5.11", "HostConfig/Memory", 0),
    ("5.12", "HostConfig/CpuShares", 0),
    ("5.13", "HostConfig/ReadonlyRootfs", False),
    ("5.14", "HostConfig/PortBindings", {"443/tcp": [{"HostIp": "", "HostPort": "8443"}]}),
    ("5.15", "HostConfig/RestartPolicy", {"Name": "on-failure", "MaximumRetryCount": 50}),
    ("5.16", "HostConfig/PidMode", "host"),
    ("5.17", "HostConfig/IpcMode", "host"),
    ("5.18", "HostConfig/Devices", [{"PathOnHost": "/dev/sda"}]),
    ("5.19", "HostConfig/Ulimits", [{"Name": "nofile"}]),
    ("5.20", "Mounts", [{"Source": "/srv", "Propagation": "rshared"}]),
    ("5.21", "HostConfig/UTSMode", "host"),
    ("5.22", "HostConfig/SecurityOpt", ["no-new-privileges", "seccomp=unconfined"]),
    ("5.25", "HostConfig/CgroupParent", "/other"),
    ("5.26", "HostConfig/SecurityOpt", ["seccomp=builtin"]),
    ("5.27", "State/Health", {"Status": "unhealthy"}),
    ("5.29", "HostConfig/PidsLimit", 0),
    ("5.30", "NetworkSettings/Networks", {"bridge": {}}),
    ("5.31", "HostConfig/UsernsMode", "host"),
    ("5.32", "Mounts", [{"Source": "/var/run/docker.sock", "RW": False}]),
]


def test_every_recommendation_has_a_container_that_does_not_follow_it():
    assert [number for number, _, _ in BROKEN] == list(RECOMMENDATIONS)


@pytest.mark.parametrize(("number", "path", "value"), BROKEN, ids=[number for number, _, _ in BROKEN])
def test_a_recommendation_is_missed(number, path, value):
    found = warnings(changed(path, value))
    assert number in found
    together = [{"5.8", "5.9"}, {"5.9", "5.14"}, {"5.3", "5.26"}]  # a published port, and no security option, are seen by two
    assert set(found) == {number} or set(found) in together
    lost = 0 if number in MANUAL else 2
    assert score({number: ""}) == score({}) - lost


def test_connections_and_refusals_are_distinguished():
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        open_port, closed_port = server.getsockname()[1], other.getsockname()[1]
        assert accepted([("127.0.0.1", open_port), ("127.0.0.1", closed_port)], 1) == {("127.0.0.1", open_port)}


def test_a_network_that_cannot_be_entered_is_not_an_empty_one():
    assert reached(2**22 + 1, [("127.0.0.1", 1)]) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="entering a network namespace needs root")
def test_a_connection_is_tried_inside_the_namespace_of_a_process():
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = ("127.0.0.1", server.getsockname()[1])
        assert reached(os.getpid(), [target]) == {target}


def evaluated(name: str, containers: list[dict], **settings: object) -> str:
    return CHECKS[name](Facts({"stack": {"containers": containers, "engine": {}}, "settings": settings}))


def edge(**more: object) -> dict:
    return {"name": "s-edge", "service": "edge", "running": True, "reaches": [], "internet": False, **more}


TABLE = {service: {"needs": [], "neighbours": [], "internet": False} for service in ("edge", "backend")}


def test_the_table_is_compared_both_ways():
    backend = edge(name="s-backend", service="backend")
    assert "edge: nobody" in evaluated("network_policy", [edge(), backend], reach=TABLE)
    with pytest.raises(Fail, match="s-edge reaches backend, which network_policy does not name"):
        evaluated("network_policy", [edge(reaches=["backend"]), backend], reach=TABLE)
    with pytest.raises(Fail, match="s-edge does not reach backend"):
        evaluated("network_policy", [edge(), backend], reach=TABLE | {"edge": TABLE["edge"] | {"needs": ["backend"]}})
    with pytest.raises(Fail, match="a way to the internet"):
        evaluated("network_policy", [edge(internet=True)], reach=TABLE)
    with pytest.raises(NotVerified, match="cannot be entered"):
        evaluated("network_policy", [edge(reaches=None)], reach=TABLE)


def test_a_further_process_of_the_backend_counts_as_the_backend():
    worker = edge(name="s-worker", service="worker")
    assert "worker: nobody" in evaluated("network_policy", [edge(name="b", service="backend", reaches=["worker"]), worker], reach=TABLE)
    with pytest.raises(Fail, match="s-worker reaches edge"):
        evaluated("network_policy", [edge(), edge(name="s-worker", service="worker", reaches=["edge"])], reach=TABLE)


TARGETS = ["api.stripe.com:443", "example.com:443"]


@pytest.mark.parametrize(
    ("reach", "refused", "message"),
    [
        ({TARGETS[0]: "ok", TARGETS[1]: "ok", "example.org:443": "gaierror"}, {"443": True}, ""),
        ({TARGETS[0]: "ok", TARGETS[1]: "TimeoutError", "example.org:443": "gaierror"}, {"443": True}, "does not reach .*example.com"),
        (
            {TARGETS[0]: "ok", TARGETS[1]: "ok", "example.org:443": "ok"},
            {"443": True},
            "reaches example.org:443, which backend_image_egress",
        ),
        ({TARGETS[0]: "ok", TARGETS[1]: "ok", "example.org:443": "gaierror"}, {"443": False}, "relays a request for example.org"),
    ],
    ids=["as listed", "a listed one is closed", "another one is open", "the relay relays another one"],
)
def test_a_list_of_hosts_is_compared_both_ways(reach, refused, message):
    backend = edge(name="s-backend", service="backend", asked={"reach": reach}, refused=refused)
    if not message:
        assert evaluated("egress", [backend], egress_hosts={"backend": TARGETS}) == f"backend: {', '.join(TARGETS)}, no other name"
        assert evaluated("egress", [backend], egress_hosts={}) == "no service has a list"
        return
    with pytest.raises(Fail, match=message):
        evaluated("egress", [backend], egress_hosts={"backend": TARGETS})


def test_a_request_for_another_host_is_answered_with_nothing_by_a_relay():
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = server.getsockname()

        def answer(words):
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(words)

        for words in (b"", b"HTTP/1.1 200 OK"):
            thread = threading.Thread(target=answer, args=[words])
            thread.start()
            assert answered(os.getpid(), target, b"GET / HTTP/1.1\r\n\r\n") == (words if os.geteuid() == 0 else None)
            if os.geteuid():
                socket.create_connection(target).close()
            thread.join()


def test_the_kernel_excuses_apparmor_and_nothing_else():
    found = {"warnings": {"5.2": "an AppArmor profile"}, "score": 22}
    assert evaluated("benchmark", [edge(benchmark=found)], benchmark_accepted={})
    facts = Facts({"stack": {"containers": [edge(benchmark=found)], "engine": {"apparmor": True}}, "settings": {"benchmark_accepted": {}}})
    with pytest.raises(Fail, match=r"does not follow 5\.2 \(an AppArmor profile\)"):
        CHECKS["benchmark"](facts)
    with pytest.raises(Fail, match=r"does not follow 5\.9 \(no port published\)"):
        evaluated("benchmark", [edge(benchmark={"warnings": {"5.9": "no port published"}, "score": 24})], benchmark_accepted={})


def test_the_documented_table_is_the_one_that_is_checked():
    text = (ROOT / "docs/security.md").read_text()
    rows = {cells[0]: cells[1:] for line in text.splitlines() if (cells := re.findall(r"\| ([^|]*?) (?=\|)", line)) and cells[0] in REACH}
    assert set(rows) == set(REACH)
    for service, row in REACH.items():
        needs, neighbours, internet = rows[service]
        assert [name for name in needs.split(", ") if name != "-"] == row["needs"]
        assert [name for name in neighbours.split(", ") if name != "-"] == row["neighbours"]
        assert (internet == "no") == (row["internet"] is False)


class NoNetworks:
    """An engine that has none, and keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[dict] = []

    def find(self, path: str) -> None:
        return None

    def call(self, method: str, path: str, body: dict) -> None:
        self.told.append(body)


def test_a_network_without_a_way_out_does_not_masquerade():
    engine = NoNetworks()
    stack = Stack(engine, {}, False)
    stack.network({"name": "in", "way_out": False})
    stack.network({"name": "out"})
    assert [body["Options"] for body in engine.told] == [{"com.docker.network.bridge.enable_ip_masquerade": "false"}, {}]


class Forgetful:
    """An engine that was restarted under its containers: it cannot join one of them to a network."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def call(self, method: str, path: str, query: dict | None = None, body: dict | None = None, timeout: float = 0) -> None:
        self.calls.append(f"{method} {path}")
        if path.endswith("/connect"):
            raise EngineError(500, "error renaming interface")


def test_a_container_whose_networks_cannot_be_changed_is_made_anew():
    engine = Forgetful()
    stack = Stack(engine, {}, False)
    body = {"NetworkingConfig": {"EndpointsConfig": {"new": {"Aliases": []}}}}
    actual = {"Id": "1" * 64, "Name": "/s-model", "NetworkSettings": {"Networks": {"old": {"EndpointID": "e"}}}, "State": {"Running": True}}
    stack._networks("s-model", body, actual)
    assert engine.calls[-4:] == [
        "POST /containers/s-model/stop",
        "DELETE /containers/s-model",
        "POST /containers/create",
        "POST /containers/s-model/start",
    ]
    assert "replace container s-model" in stack.actions[-1]


class Swapped:
    """An engine with one network that has one container on it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict | None]] = []

    def find(self, path: str) -> dict:
        return {"Name": "n", "Driver": "bridge", "Internal": True, "Options": {}, "Labels": {}, "Containers": {"c" * 64: {}}}

    def call(self, method: str, path: str, query: dict | None = None, body: dict | None = None, timeout: float = 0) -> dict:
        self.calls.append((method, path, body))
        return {"NetworkSettings": {"Networks": {"n": {"Aliases": ["edge", "c" * 12]}}}}


def test_a_network_of_another_kind_has_its_containers_on_it_again():
    engine = Swapped()
    Stack(engine, {}, False).network({"name": "n", "way_out": False})
    method, path, body = engine.calls[-1]
    assert (method, path) == ("POST", "/networks/n/connect")
    assert body == {"Container": "c" * 64, "EndpointConfig": {"Aliases": ["edge"]}}
    engine.calls.clear()
    Stack(engine, {}, True).network({"name": "n", "way_out": False})
    assert engine.calls == [], "a check changes nothing"
