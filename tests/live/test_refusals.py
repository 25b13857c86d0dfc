"""Invalid calls are rejected: exit status not 0, one message with the problem and where it is set, and no changes.

A row is a command, its options as the environment has them, further words of the command line, and words of the message; the first of them
stands in the output once. Calls are made two at a time, those of the tests that were selected.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import STACK, existing, verb

PORT = os.environ.get("HTTPS_PORT", "8443")
REMOTE = "inventory/example-remote.yml"


@dataclass(frozen=True)
class Call:
    """An invalid call, and expected parts of its message."""

    command: str
    words: list[str]
    options: dict[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    builds: bool = False  # it builds, or names again what was built, before it can tell

    def run(self) -> subprocess.CompletedProcess[str]:
        return verb(self.command, *self.arguments, **self.options)


def option(command: str, name: str, value: str, *words: str) -> Call:
    """An option with an invalid value."""
    return Call(command, [f"{name.removeprefix('BERTH_')} is {value!r}; it must be", *words], {name: value})


WRONG = {
    # sources, engine, releases
    "a source that is not there": Call("up", ["/nowhere", "BACKEND_SOURCE"], {"BACKEND_SOURCE": "/nowhere"}),
    "a port in use": Call("up", [f"Port {PORT} on", "HTTPS_PORT"], {"STACK_NAME": "berth-refused"}),
    "an address without an engine": Call(
        "up",
        ["DOCKER_HOST in the environment names", "no Docker Engine responds at unix:///nowhere.sock"],
        {"DOCKER_HOST": "unix:///nowhere.sock"},
    ),
    "a version that was never built": Call("deploy", ["no version nope", "Built here"], {"BERTH_VERSION": "nope"}),
    "a release that never was": Call("rollback", ["no release nope", "active"], {"BERTH_VERSION": "nope"}),
    "a backup that never was": Call("restore", ["There is no backup nope"], {"BERTH_BACKUP": "nope", "BERTH_CONFIRM": STACK}),
    "everything removed without its name": Call("destroy", ["CONFIRM"]),
    # where
    "an inventory that is not there": Call(
        "deploy", ["INVENTORY is nope.yml: there is no such file"], arguments=("-i", "nope.yml", "--limit", "nope")
    ),
    "an inventory that is none": Call("status", ["INVENTORY is README.md: it names no host"], arguments=("-i", "README.md")),
    "an inventory without a builder": Call("deploy", ["its group builders has no host"], arguments=("-i", "{tmp}/no-builder.yml")),
    "a group without hosts": Call("status", ["its group docker_hosts has no host"], arguments=("-i", "{tmp}/no-hosts.yml")),
    "one of two inventories that is not there": Call(
        "status", ["INVENTORY is nope.yml: there is no such file"], arguments=("-i", "inventory/local.yml", "-i", "nope.yml")
    ),
    "a limit that matches nothing": Call("deploy", ["LIMIT names nope:", "Hosts: localhost"], arguments=("--limit", "nope:builders")),
    "a limit that matches in part": Call("down", ["LIMIT names nope:"], arguments=("--limit", "localhost,nope")),
    "a limit that leaves the builder alone": Call(
        "deploy",
        ["it leaves no host of the group docker_hosts", "web-1.example.org"],
        arguments=("-i", REMOTE, "--limit", "localhost:builders"),
    ),
    "a limit that leaves the builder out": Call(
        "build",
        ["it leaves out the group builders", "web-1.example.org:builders"],
        arguments=("-i", REMOTE, "--limit", "web-1.example.org"),
    ),
    # values
    "a name with a slash": option("up", "STACK_NAME", "a/b", "lower-case letters"),
    "an unknown engine": option("up", "STACK_ENGINE", "nope", "hosts or swarm"),
    "a port that is none": option("deploy", "HTTPS_PORT", "abc", "1 to 65535"),
    "two ports that are one": Call("up", ["HTTPS_PORT and HTTP_PORT are both 9443"], {"HTTPS_PORT": "9443", "HTTP_PORT": "9443"}),
    "a batch that is no number": option("deploy", "SERIAL", "x"),
    "a batch without hosts": option("deploy", "SERIAL", "0"),
    "a host name with a scheme": option("up", "STACK_HOST", "https://app.example.org", "without scheme"),
    "an address that is none": option("up", "STACK_BIND", "localhost", "IP address"),
    "an address of another host": Call("up", ["192.0.2.7 is not an address of this host", "STACK_BIND"], {"STACK_BIND": "192.0.2.7"}),
    "an unknown certificate authority": option("up", "STACK_TLS", "foo", "auto, internal, acme"),
    "a bundle of certificates that is not there": option("build", "SSL_CERT_FILE", "/nowhere.pem"),
    "a wait that is no number": option("deploy", "LOCK_WAIT", "abc", "seconds"),
    "lines that are no number": option("logs", "BERTH_TAIL", "abc"),
    "an unknown format": option("status", "BERTH_FORMAT", "xml", "table, json"),
    "maintenance that is neither on nor off": option("maintenance", "BERTH_ON", "maybe"),
    "a way back that is none": option("rollback", "BERTH_SCHEMA", "foo", "downgrade, restore"),
    "a criterion that is none": Call("verify", ["ID is 'XX-01'", "docs/acceptance.md"], {"BERTH_ID": "XX-01"}),
    "a section that is none": Call("verify", ["SECTION is 'nope'", "Backend container"], {"BERTH_SECTION": "nope"}),
    "a load without a duration": option("stress", "BERTH_STRESS_SECONDS", "abc"),
    "several wrong values": Call(
        "rollback", ["HTTPS_PORT is 'abc'", "LOCK_WAIT is 'x'", "TAIL is 'y'"], {"HTTPS_PORT": "abc", "LOCK_WAIT": "x", "BERTH_TAIL": "y"}
    ),
    "a wrong value of the inventory": Call(
        "down",
        ["stack_tls is 'foo'", "backend_image_args must be of type dict"],
        arguments=("-e", '{"stack_tls": "foo", "backend_image_args": 3}'),
    ),
    # services, secrets, registries, archives
    "an unknown service": Call("logs", ["'nope'", "services are: backend, database, edge"], {"BERTH_SERVICE": "nope"}),
    "an unknown service of the status": Call("status", ["'nope'", "services are: backend, database, edge"], {"BERTH_SERVICE": "nope"}),
    "an unknown service of the image checks": Call("check-images", ["SERVICE is nope", "backend, frontend"], {"BERTH_SERVICE": "nope"}),
    "tasks where there is no Swarm": Call("scale", ["Scaling needs a Swarm"], {"BERTH_REPLICAS": "2"}),
    "no secret to rotate": Call("rotate", ["make rotate", "backend_password"]),
    "an unknown secret to rotate": Call("rotate", ["there is no secret nope", "backend_password"], {"BERTH_SECRET": "nope"}),
    "no registry to push to": Call("push", ["No registry is set", "REGISTRY"]),
    "a registry that does not answer": Call(
        "push", ["127.0.0.1:9 (REGISTRY", "connection refused"], {"REGISTRY": "127.0.0.1:9/team"}, builds=True
    ),
    "a registry of one's own without a name": Call("deploy", ["REGISTRY_OWN is set", "REGISTRY_HOST"], {"REGISTRY_OWN": "true"}),
    "an archive in no directory": Call("save", ["FILE is {tmp}/nowhere/x.tar", "create it"], {"BERTH_FILE": "{tmp}/nowhere/x.tar"}),
    "an archive that is a directory": Call("save", ["FILE is {tmp}:", "is a directory"], {"BERTH_FILE": "{tmp}"}),
    "an archive that is not there": Call("load", ["FILE is {tmp}/x.tar: no such file"], {"BERTH_FILE": "{tmp}/x.tar"}),
    "an archive that is none": Call("load", ["FILE is {tmp}/no-hosts.yml", "cannot load it"], {"BERTH_FILE": "{tmp}/no-hosts.yml"}),
}


@dataclass
class Made:
    """The calls, and all objects before and after them."""

    done: dict[str, subprocess.CompletedProcess[str]]
    before: list[str]
    after: list[str]
    tmp: Path


@pytest.fixture(scope="module")
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """All calls of the selected tests."""
    tmp = tmp_path_factory.mktemp("wrong")
    local = "{localhost: {ansible_connection: local}}"
    (tmp / "no-builder.yml").write_text(f"all: {{children: {{docker_hosts: {{hosts: {local}}}}}}}\n")
    (tmp / "no-hosts.yml").write_text(f"all: {{hosts: {local}, children: {{builders: {{hosts: {local}}}, docker_hosts: {{}}}}}}\n")
    calls = [item.callspec for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    selected = [one.params["wrong"] for one in calls if "wrong" in one.params]

    def run(name: str) -> subprocess.CompletedProcess[str]:
        call = WRONG[name]
        filled = {key: value.replace("{tmp}", str(tmp)) for key, value in call.options.items()}
        return Call(call.command, [], filled, tuple(word.replace("{tmp}", str(tmp)) for word in call.arguments)).run()

    before = existing()
    with ThreadPoolExecutor(max_workers=2) as pool:
        done = dict(zip(selected, pool.map(run, selected), strict=True))
    yield Made(done, before, existing(), tmp)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_call_is_refused_with_one_message(made: Made, wrong: str) -> None:
    done = made.done[wrong]
    output = done.stdout + done.stderr
    words = [word.replace("{tmp}", str(made.tmp)) for word in WRONG[wrong].words]
    assert done.returncode == 2, output
    assert [word for word in words if word not in output] == [], output
    assert output.count(words[0]) == 1, output
    never = ["Traceback", "non-zero return code", "Internal error", *([] if WRONG[wrong].builds else ["  changed "])]
    assert [word for word in never if word in output] == [], output


def test_nothing_was_touched(made: Made) -> None:
    assert made.after == made.before
