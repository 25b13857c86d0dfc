"""What Berth takes for its work, beside what peers take for the same, in one run on one engine: `make bench`, or `make bench B=converge`.

Each part measures all in turn, several times, so that what else the machine does falls on all of them. The results of each part are kept in
reports/bench/PART.json; docs/performance.md and its pictures are made from them.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import figures
import kamal
import load
import peers
from stopwatch import ROOT, Failed, Row, run, seconds

STACK = os.environ.get("BENCH_STACK", "berth-bench")
PORT = int(os.environ.get("BENCH_PORT", "18743"))
RUNS = int(os.environ.get("BENCH_RUNS", "5"))
ENV = {
    "STACK_NAME": STACK,
    "HTTPS_PORT": str(PORT),
    "HTTP_PORT": str(PORT + 10),
    "LOCAL_DIR": str(ROOT / ".local" / "bench"),
    "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible" / "collections"),
}
PLAYBOOK = ROOT / ".venv" / "bin" / "ansible-playbook"
PAIR = ("backend", "frontend")
# Hosts of the rig.
FLEET = (1, 4, 8)
# Without the ten seconds in which a release is watched after the switch: no peer watches.
QUICK = ("-e", "release_monitor_seconds=0")
WARM = (*QUICK, "-e", "release_standby_seconds=120")


def play(verb: str, *more: str, inventory: str | Path = "inventory/local.yml", **env: str) -> float:
    """Seconds of one of our verbs."""
    return seconds([PLAYBOOK, "-i", inventory, f"playbooks/{verb}.yml", *more], ENV | env)


def compose(variant: str, *words: str) -> float:
    return seconds(["docker", "compose", "-f", peers.WORK / f"compose-{variant}.json", *(words or ("up", "-d", "--wait"))])


def naive(variant: str) -> float:
    return seconds([PLAYBOOK, "-i", "localhost,", "-e", f"@{peers.WORK / f'naive-{variant}.json'}", "tests/bench/peers/naive.yml"], ENV)


def prepare() -> None:
    """Two versions that are built, the first one running, and the same for the peers."""
    for version in ("bench-b", "bench-a"):
        play("build", BERTH_VERSION=version)
    play("deploy", *QUICK, BERTH_VERSION="bench-a")
    following = {}
    for name in PAIR:
        # The same files under another id, as a next version has.
        run(["docker", "build", "--tag", f"{STACK}-peer-{name}:next", "-"], stdin=f"FROM {STACK}-{name}:bench-a\nLABEL bench=next\n")
        following[name] = f"{STACK}-peer-{name}:next"
    for peer in peers.SHIFT:
        for variant, reported in peers.variants(peers.project(STACK, peer), following).items():
            peers.write(peer, variant, reported)
    compose("base")
    naive("base")
    kamal.prepare(STACK, PORT, {"bench-a": f"{STACK}-backend:bench-a", "bench-b": following["backend"]})


def converge() -> list[Row]:
    """Nothing to be done, and one changed value."""
    same, changed = Row("Converge without change", "s"), Row("Converge with one changed value", "s")
    play("deploy", BERTH_VERSION="bench-a")
    for _ in range(RUNS):
        same.add("berth", play("deploy", BERTH_VERSION="bench-a"))
        same.add("compose up --wait", compose("base"))
        same.add("naive tasks", naive("base"))
    for _ in range(max(RUNS // 2, 1)):
        changed.add("berth", play("deploy", *QUICK, BERTH_VERSION="bench-a", LOG_LEVEL="debug"))
        changed.add("compose up --wait", compose("changed"))
        changed.add("naive tasks", naive("changed"))
        play("deploy", *QUICK, BERTH_VERSION="bench-a")
        compose("base")
        naive("base")
    return [same, changed]


def deploy() -> list[Row]:
    """Another version that is built, and back, with the old containers removed (cold) or in standby."""
    existing, cold, standby = Row("Deploy of a built version", "s"), Row("Rollback, cold", "s"), Row("Rollback to standby", "s")
    alone = {name: Row(f"Containers' part: {name}, read-only, no capability", "s") for name in PAIR}
    with kamal.host(STACK, PORT, "bench-a") as other:
        for _ in range(max(RUNS // 2, 1)):
            existing.add("berth", play("deploy", *QUICK, BERTH_VERSION="bench-b"))
            existing.add("compose up --wait", compose("next"))
            existing.add("naive tasks", naive("next"))
            if other:
                existing.add(kamal.NAME, other.deploy("bench-b"))
            time.sleep(3)  # what drains has gone
            cold.add("berth", play("rollback"))
            cold.add("compose up --wait", compose("base"))
            cold.add("naive tasks", naive("base"))
            if other:
                cold.add(kamal.NAME, other.rollback("bench-a"))
            for name, row in alone.items():
                row.add("docker run", _alone(name))
    # By itself: another setting has the next run look at everything.
    play("deploy", *WARM, BERTH_VERSION="bench-a")
    for _ in range(max(RUNS // 2, 1)):
        play("deploy", *WARM, BERTH_VERSION="bench-b")
        standby.add("berth", play("rollback"))
    return [existing, cold, standby, *alone.values()]


def _alone(service: str) -> float:
    """Seconds until a manually started application container with the running one's options is healthy."""
    reported = json.loads((peers.WORK / "compose-base.json").read_text())["services"][service]
    name = f"{STACK}-alone"
    options = [
        ("--label", f"berth.stack={name}"),
        ("--network", next(iter(reported["networks"]))),
        ("--user", reported["user"]),
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges"),
        ("--memory", reported["mem_limit"]),
        ("--cpus", reported["cpus"]),
        ("--health-start-interval", "500ms"),
        ("--health-start-period", "60s"),
        *(("--tmpfs", entry) for entry in reported["tmpfs"]),
        *(("--env", f"{key}={value}") for key, value in reported["environment"].items()),
        *(("--mount", f"type=bind,src={mount['source']},dst={mount['target']},readonly") for mount in reported["volumes"]),
    ]
    began = time.monotonic()
    try:
        run(["docker", "run", "--detach", "--read-only", "--name", name, *(word for pair in options for word in pair), reported["image"]])
        while run(["docker", "inspect", "--format", "{{.State.Health.Status}}", name]).strip() != "healthy":
            if time.monotonic() - began > 60:
                raise Failed(f"{name} is not healthy after 60 s:\n{run(['docker', 'logs', name])}")
            time.sleep(0.05)
        return time.monotonic() - began
    finally:
        run(["docker", "rm", "--force", name])


def start() -> list[Row]:
    """From images, with nothing running, to a stack that is healthy."""
    row = Row("Start to healthy, whole stack from images", "s")
    for _ in range(max(RUNS // 2, 1)):
        play("down")
        row.add("berth", play("deploy", *QUICK, BERTH_VERSION="bench-a"))
        compose("base", "down")
        row.add("compose up --wait", compose("base"))
    return [row]


def build() -> list[Row]:
    """Builds: nothing changed, one line of the backend changed, and everything anew."""
    same, cold = Row("Build without change", "s"), Row("Backend image without any cache", "s")
    play("build")
    for _ in range(RUNS):
        same.add("berth", play("build"))
        same.add("docker build, pair", sum(seconds(figures.plain_build(STACK, name)) for name in PAIR))
    cold.add("berth", seconds(figures.plain_build(STACK, "backend", "--no-cache")))
    cold.add("slim Dockerfile", seconds(figures.slim_build(STACK, "backend", "--no-cache")))
    return [same, cold]


def serve() -> list[Row]:
    """Requests through the edge against direct ones, and what the stack holds in memory when nobody asks."""
    return load.rows(STACK, PORT, ENV["LOCAL_DIR"], max(RUNS // 2, 1))


def size() -> list[Row]:
    figures.slim_build_all(STACK)
    return figures.sizes(STACK)


def hosts() -> list[Row]:
    """What a host more costs: nothing to be done on 1, 4 and 8 hosts of a rig on this machine, over SSH."""
    took, busy = Row("Converge without change, hosts over SSH", "s"), Row("CPU of the controller for it", "s")
    more = Row("Growth for each host more", "s")
    rig = peers.WORK / "rig"
    existing = {"RIG_DIR": str(rig), "RIG_HOSTS": str(max(FLEET))}

    def made(what: str) -> None:
        run([PLAYBOOK, "-i", "inventory/local.yml", f"molecule/shared/rig/{what}.yml"], ENV | existing)

    def on(count: int) -> float:
        limit = ":".join(["builders", *(f"rig-{number}" for number in range(1, count + 1))])
        return play("deploy", *QUICK, "--limit", limit, inventory=rig / "hosts.yml", BERTH_VERSION="bench-a", SERIAL="100%")

    made("create")
    try:
        on(max(FLEET))
        for count in FLEET:
            on(count)  # connected, and with nothing left to do
        for _ in range(max(RUNS // 2, 1)):
            alone = 0.0
            for count in FLEET:
                before = os.times()
                spent = on(count)
                after = os.times()
                took.add(f"{count} hosts", spent)
                busy.add(f"{count} hosts", after.children_user + after.children_system - before.children_user - before.children_system)
                alone = alone or spent
            more.add("berth", (spent - alone) / (max(FLEET) - min(FLEET)))
    finally:
        made("destroy")
    return [took, busy, more]


PARTS: dict[str, Callable[[], list[Row]]] = {
    "converge": converge, "deploy": deploy, "start": start, "serve": serve, "build": build, "size": size, "hosts": hosts,
}  # fmt: skip


def clean() -> None:
    """Nothing of the peers or of the stack stays."""
    kamal.clean(STACK)
    compose("base", "down", "--volumes")
    peer = f"{STACK}-naive"
    for kind, remove in (("container", ["rm", "--force"]), ("volume", ["rm"]), ("network", ["rm"])):
        words = ["docker", kind, "ls", "--quiet", "--filter", f"name={peer}"] + (["--all"] if kind == "container" else [])
        if found := run(words).split():
            run(["docker", kind, *remove, *found])
    if found := run(["docker", "image", "ls", "--quiet", "--filter", f"reference={STACK}-peer-*"]).split():
        run(["docker", "image", "rm", "--force", *sorted(set(found))])
    play("destroy", BERTH_CONFIRM=STACK)
    # What tells that all is prepared.
    (peers.WORK / "compose-base.json").unlink(missing_ok=True)


def main(words: list[str]) -> None:
    if words == ["clean"]:
        return clean()
    if words != ["report"]:
        if not (peers.WORK / "compose-base.json").is_file() or words in ([], ["prepare"]):
            prepare()
        for part in [word for word in words if word != "prepare"] or ([] if words else list(PARTS)):
            began = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            rows = [row.as_json() for row in PARTS[part]()]
            path = Path(peers.WORK / f"{part}.json")
            path.write_text(json.dumps({"part": part, "began": began, "load": os.getloadavg()[0], "rows": rows}, indent=1) + "\n")
            print(figures.table(rows))
    figures.report(peers.WORK, list(PARTS))
    return None


if __name__ == "__main__":
    main(sys.argv[1:])
