"""The next deployment detects and reverts manual changes, and leaves everything else unchanged."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import EDGE_CA, STACK, docker

STATE = Path("/var/lib") / STACK
ROOT = Path(__file__).resolve().parents[2]
CADDYFILE = STATE / "edge/config/Caddyfile"


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def name(service: str) -> str:
    """The container of a service."""
    found = docker("ps", "--all", "--format={{.Names}}", f"--filter=label=berth.stack={STACK}", f"--filter=label=berth.service={service}")
    return found.splitlines()[0]


def inspect(service: str, form: str) -> str:
    return docker("inspect", "--format", form, name(service))


def deploy() -> str:
    return run("ansible-playbook", "playbooks/deploy.yml")


def containers() -> dict[str, str]:
    """{service: id of its container}"""
    listed = docker("ps", "--all", "--no-trunc", '--format={{.Label "berth.service"}} {{.ID}}', f"--filter=label=berth.stack={STACK}")
    return dict(line.split() for line in listed.splitlines())


def secret(service: str) -> Path:
    """The file of a service's secret."""
    mounts = json.loads(inspect(service, "{{json .HostConfig.Mounts}}"))
    folder = next(mount["Source"] for mount in mounts if mount["Target"] == "/run/secrets")
    return sorted(path for path in Path(folder).iterdir() if path.is_file())[0]


def rewrite(path: Path, text: str) -> None:
    """Change a file that may be read-only, and keep its mode."""
    mode = path.stat().st_mode
    path.chmod(0o600)
    path.write_text(text)
    path.chmod(mode)


def psql(statement: str) -> str:
    return docker("exec", name("database"), "psql", "-qtAX", "-U", "postgres", "-d", "app", "-c", statement)


def login() -> str:
    """The frontend's newest login; each secret version has one."""
    return psql("SELECT max(rolname) FROM pg_roles WHERE rolcanlogin AND rolname LIKE 'frontend%'")


def image(service: str) -> str:
    """The name of a service's image in its release."""
    release = (STATE / "current").read_text().strip()
    return json.loads((STATE / "releases" / f"{release}.json").read_text())["references"][service]


def replace_model() -> None:
    """A container of the same name without hardening."""
    old = name("model")
    picture = inspect("model", "{{.Image}}")
    docker("rm", "--force", old)
    docker("run", "--detach", "--name", old, f"--label=berth.stack={STACK}", "--label=berth.service=model", picture)


def remove_network() -> None:
    """Delete the egress network with its containers."""
    network = f"{STACK}-egress"
    for held in json.loads(docker("network", "inspect", "--format={{json .Containers}}", network)):
        docker("network", "disconnect", "--force", network, held)
    docker("network", "rm", network)


@dataclass
class Change:
    """A manual change, the deployment's message about it, the check that it was reverted, and what is recreated."""

    what: str
    do: Callable[[], object]
    output: str
    state: Callable[[], object]
    anew: tuple[str, ...] = ()


CHANGES = [
    Change(
        "container removed", lambda: docker("rm", "--force", name("model")), "-model is gone", lambda: "model" in containers(), ("model",)
    ),
    Change("container replaced", replace_model, "-model differs", lambda: inspect("model", "{{.HostConfig.ReadonlyRootfs}}"), ("model",)),
    Change("container stopped", lambda: docker("stop", name("frontend")), "is unhealthy", lambda: inspect("frontend", "{{.State.Status}}")),
    Change("container paused", lambda: docker("pause", name("edge")), "-edge is unhealthy", lambda: inspect("edge", "{{.State.Status}}")),
    Change(
        "memory limit",
        lambda: docker("update", "--memory=300m", "--memory-swap=300m", name("backend")),
        "container",
        lambda: inspect("backend", "{{.HostConfig.Memory}}"),
    ),
    Change(
        "restart policy",
        lambda: docker("update", "--restart=no", name("database")),
        "-database differs",
        lambda: inspect("database", "{{.HostConfig.RestartPolicy.Name}}"),
    ),
    Change(
        "taken off a network",
        lambda: docker("network", "disconnect", f"{STACK}-data", name("frontend")),
        "container",
        lambda: sorted(json.loads(inspect("frontend", "{{json .NetworkSettings.Networks}}"))),
    ),
    Change(
        "network deleted",
        remove_network,
        f"network {STACK}-egress is gone",
        lambda: docker("network", "ls", "--quiet", f"--filter=name=^{STACK}-egress$") != "",
    ),
    Change("secret's content", lambda: rewrite(secret("frontend"), "other"), "file", lambda: secret("frontend").read_text()),
    Change("secret's mode", lambda: secret("backend").chmod(0o444), "file", lambda: secret("backend").stat().st_mode),
    Change("secret removed", lambda: secret("model").unlink(), "is gone", lambda: secret("model").read_text()),
    Change(
        "image's tag moved",
        lambda: docker("tag", image("frontend"), image("backend")),
        "image",
        lambda: docker("image", "inspect", "--format={{.Id}}", image("backend")),
    ),
    Change("routes edited", lambda: rewrite(CADDYFILE, CADDYFILE.read_text() + "# by hand\n"), "Caddyfile differs", CADDYFILE.read_text),
    Change(
        "role of the database",
        lambda: psql(f"ALTER ROLE {login()} RESET ALL"),
        "answer of psql",
        lambda: psql("SELECT rolname, rolconfig FROM pg_roles WHERE rolname LIKE 'frontend%' ORDER BY 1"),
    ),
    Change(
        "power in the database",
        lambda: psql(f"ALTER ROLE {login()} SUPERUSER; GRANT backend TO {login()}"),
        "answer of psql",
        lambda: psql(f"SELECT rolsuper, pg_has_role(oid, 'backend', 'MEMBER') FROM pg_roles WHERE rolname = '{login()}'"),
    ),
    Change("certificate's copy removed", Path(EDGE_CA).unlink, "copy", Path(EDGE_CA).read_text),
]


@pytest.fixture(scope="module", autouse=True)
def settled() -> None:
    """Start from a deployment without changes."""
    if "nothing has changed" not in deploy():
        assert "nothing has changed" in deploy()


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_a_change_by_hand_is_seen_and_mended(change: Change) -> None:
    before, right = containers(), change.state()
    change.do()
    output = deploy()
    assert change.output in next(line for line in output.splitlines() if line.startswith("Changed since the last run"))
    assert change.state() == right
    after = containers()
    assert {service for service in before if after.get(service) != before[service]} == set(change.anew)
    assert "nothing has changed" in deploy()
