#!/usr/bin/python
"""Gather, in one run, all that the acceptance checks want to know of a stack on its host."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.backups import Backups
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.cis_docker import score, warnings
from ansible.module_utils.engine import Engine, EngineError, memory_used, written
from ansible.module_utils.image_scan import SCANNER, history_hits, hits, scan, setting_hits
from ansible.module_utils.netns import reached
from ansible.module_utils.releases import Store

DOCUMENTATION = r"""
module: stack_facts
short_description: Gather what the acceptance checks want to know of a stack on its host
description:
  - Reads containers, images, networks, volumes, secrets and releases of a stack, and asks inside its containers. Nothing is
    changed; what was found inside an image, which never changes, is remembered by the image's id in C(directory)/image-scans.json.
  - Secrets are compared on the host and are never part of the answer.
options:
  stack: {description: Name of the stack., type: str, required: true}
  directory: {description: State directory of the stack., type: path, required: true}
  database: {description: "C(container) and C(name) of the database; empty: it is not asked.", type: dict, default: {}}
  errors_since: {description: Seconds since 1970 from when errors in logs count., type: float, default: 0}
  lines: {description: Log lines of each container to look at., type: int, default: 400}
"""

EXAMPLES = r"""
- name: Gather facts
  stack_facts: {stack: berth, directory: /var/lib/berth}
  register: __facts
"""

RETURN = r"""
stack:
  description: "C(engine), C(containers), C(networks), C(volumes), C(images), C(secrets), C(releases), C(database)."
  type: dict
  returned: always
"""

# How services say that they are ready for work.
READY = re.compile(r"startup complete|ready in|ready to accept connections|serving initial config|uvicorn running|listening on", re.I)
BAD = re.compile(r"\b(ERROR|CRITICAL|FATAL|PANIC):? |Traceback \(most recent|[Uu]nhandled ?(Promise|Rejection)")
BAD_LEVELS = ("error", "critical", "fatal", "panic")
DATED = re.compile(
    r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\S* .*\b(LOG|DEBUG|INFO|NOTICE|WARNING|ERROR|FATAL|PANIC|HINT|DETAIL|STATEMENT|CONTEXT)\b"
)
LEVEL = re.compile(r"^(DEBUG|INFO|WARNING|ERROR|CRITICAL)[: ]")
# Asked in the backend and the frontend: versions, and whether the neighbours answer. Each prints one JSON object.
ASK_PYTHON = """
import importlib.metadata as m, json, socket, sys
def v(n):
    try: return m.version(n)
    except Exception: return ""
def c(h, p):
    try:
        socket.create_connection((h, p), 2).close(); return "ok"
    except OSError as e: return type(e).__name__
names = "fastapi uvicorn openai-agents openai mcp sqlalchemy pydantic".split()
reach = {t: c(*t.rsplit(":", 1)) for t in sys.argv[1:]}
print(json.dumps({"runtime": sys.version.split()[0], "libraries": {n: v(n) for n in names}, "reach": reach}))
"""
ASK_NODE = """
const net = require("net");
const one = (t) => new Promise((done) => { const [h, p] = t.split(":"); const s = net.connect({host: h, port: +p, timeout: 2000});
  s.on("connect", () => { s.destroy(); done([t, "ok"]); }); s.on("timeout", () => { s.destroy(); done([t, "timeout"]); });
  s.on("error", (e) => done([t, e.code])); });
Promise.all(process.argv.slice(1).map(one)).then((r) =>
  console.log(JSON.stringify({runtime: process.versions.node, reach: Object.fromEntries(r)})));
"""
ASK_DATABASE = """
SELECT json_build_object(
  'version', current_setting('server_version'), 'max_connections', current_setting('max_connections')::int,
  'password_encryption', current_setting('password_encryption'),
  'roles', (SELECT json_agg(json_build_object('name', rolname, 'super', rolsuper, 'limit', rolconnlimit,
     'password', rolpassword IS NOT NULL, 'schemas', ARRAY(SELECT nspname FROM pg_namespace n
        WHERE has_schema_privilege(a.oid, n.oid, 'USAGE') AND nspname !~ '^pg_' AND nspname <> 'information_schema')))
     FROM pg_authid a WHERE rolcanlogin),
  'connections', (SELECT json_agg(json_build_object('user', usename, 'application', application_name, 'state', state,
     'remote', client_addr IS NOT NULL, 'tls', coalesce(s.version, ''), 'seconds', extract(epoch FROM now() - xact_start)))
     FROM pg_stat_activity LEFT JOIN pg_stat_ssl s USING (pid) WHERE usename IS NOT NULL AND pid <> pg_backend_pid()),
  'rules', (SELECT json_agg(json_build_object('type', type, 'users', user_name, 'method', auth_method)) FROM pg_hba_file_rules),
  'tables', (SELECT count(*) FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')),
  'deadlocks', (SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()))
"""


def moment(text: str) -> float:
    """Seconds since 1970 of the engine's RFC 3339 with nanoseconds."""
    return datetime.fromisoformat(re.sub(r"\.(\d{6})\d*", r".\1", text).replace("Z", "+00:00")).timestamp()


class Gatherer:
    """Reads one stack."""

    def __init__(self, engine: Engine, wanted: dict[str, Any]) -> None:
        self.engine, self.wanted = engine, wanted
        self.directory = Path(wanted["directory"])
        self.canaries = self._canaries()

    def _canaries(self) -> list[bytes]:
        """All values of all generations' secrets; shorter ones than 12 bytes would be found everywhere."""
        values: set[bytes] = set()
        for path in (self.directory / "secrets").glob("*/*/*"):
            values.add(path.read_bytes().strip())
        for path in (self.directory / "secrets").glob("*/record.json"):
            record = json.loads(path.read_text())
            earlier = [value for told in record.get("history", {}).values() for value in told["previous"]]
            values |= {str(value).encode() for value in [*record.get("values", {}).values(), *earlier]}
        return sorted(value for value in values if len(value) >= 12)

    def gather(self) -> dict[str, Any]:
        labels = {"berth.stack": self.wanted["stack"]}
        listed = self.engine.listing("containers", labels)
        with ThreadPoolExecutor(max_workers=8) as pool:
            containers = sorted(pool.map(self.container, listed), key=lambda c: c["name"])
        version, info = self.engine.call("GET", "/version"), self.engine.call("GET", "/info")
        networks = [self.network(entry) for entry in self.engine.listing("networks", labels)]
        self.reach(containers, {network["name"] for network in networks if network["way_out"]})
        facts = {
            "gathered": time.time(),
            "host": {"cores": os.cpu_count(), "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")},
            "engine": {
                "version": version["Version"],
                "api": version["ApiVersion"],
                "kernel": version.get("KernelVersion", ""),
                "apparmor": any("apparmor" in option for option in info.get("SecurityOptions") or []),
            },
            "containers": containers,
            "networks": networks,
            "volumes": [{"name": v["Name"], "labels": v.get("Labels") or {}} for v in self.engine.listing("volumes", labels)],
            "secrets": self.secrets(),
            "releases": self.releases(labels),
            "database": self.database(),
        }
        facts["images"] = self.images({c["service"]: c["image_id"] for c in containers})
        return facts

    # --- containers ---------------------------------------------------------------------------------------------------

    def container(self, listed: dict[str, Any]) -> dict[str, Any]:
        actual = self.engine.call("GET", f"/containers/{listed['Id']}/json")
        config, host, state = actual["Config"], actual["HostConfig"], actual["State"]
        running = state["Running"]
        environment = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
        health = state.get("Health") or {}
        service = listed["Labels"].get("berth.service", "")
        return {
            "name": actual["Name"].lstrip("/"),
            "service": service,
            "version": listed["Labels"].get("berth.version", ""),
            "image": config["Image"],
            "image_id": actual["Image"],
            "running": running,
            "restarts": actual["RestartCount"],
            "oom_killed": state["OOMKilled"],
            "user": config.get("User") or "",
            "read_only": host["ReadonlyRootfs"],
            "cap_drop": host.get("CapDrop") or [],
            "cap_add": host.get("CapAdd") or [],
            "security_opt": host.get("SecurityOpt") or [],
            "privileged": host["Privileged"],
            "namespaces": [name for name in ("PidMode", "NetworkMode", "IpcMode", "UTSMode") if host.get(name) == "host"],
            "memory_limit": host["Memory"],
            "swap_limit": host["MemorySwap"],
            "cpus": host["NanoCpus"] / 1e9,
            "pids_limit": host.get("PidsLimit") or 0,
            "restart_policy": host["RestartPolicy"]["Name"],
            "log": {"driver": host["LogConfig"]["Type"], **host["LogConfig"]["Config"]},
            "mounts": [
                {"type": m["Type"], "source": m.get("Name") or m.get("Source", ""), "target": m["Destination"], "writable": m["RW"]}
                for m in actual["Mounts"]
            ],
            "tmpfs": sorted(host.get("Tmpfs") or {}),
            "ports": [
                {"address": binding["HostIp"], "port": binding["HostPort"], "target": target}
                for target, bindings in (host.get("PortBindings") or {}).items()
                for binding in bindings or []
            ],
            "exposed": sorted(config.get("ExposedPorts") or {}),
            "networks": {
                name: sorted(n.get("DNSNames") or n.get("Aliases") or []) for name, n in actual["NetworkSettings"]["Networks"].items()
            },
            "environment": {name: ("" if setting_hits(f"{name}={value}") else value) for name, value in environment.items()},
            "environment_secrets": sorted(
                {name for name, value in environment.items() if setting_hits(f"{name}={value}") or hits(value.encode(), self.canaries)}
            ),
            "entrypoint": config.get("Entrypoint") or [],
            "command": config.get("Cmd") or [],
            "labels": config.get("Labels") or {},
            "pid": state["Pid"],
            "addresses": [n["IPAddress"] for n in actual["NetworkSettings"]["Networks"].values() if n.get("IPAddress")],
            "benchmark": {"warnings": warnings(actual), "score": score(warnings(actual))},
            "stop_seconds": config.get("StopTimeout") or 10,
            "health": health.get("Status", "none"),
            "health_test": (config.get("Healthcheck") or {}).get("Test") or [],
            "health_interval": (config.get("Healthcheck") or {}).get("Interval", 0) / 1e9,
            "health_log": [e["ExitCode"] for e in health.get("Log") or [] if moment(e["Start"]) >= moment(state["StartedAt"])],
            "started": moment(state["StartedAt"]),
            "logs": self.logs(listed["Id"], state["StartedAt"]),
            **(self.live(listed["Id"], state["Pid"], service, config) if running else {}),
        }

    def live(self, identity: str, pid: int, service: str, config: dict[str, Any]) -> dict[str, Any]:
        """What only a running container can tell."""
        stats = self.engine.statistics(identity)
        top = self.engine.call("GET", f"/containers/{identity}/top", {"ps_args": "-eo pid,uid,args"})
        columns = [title.upper() for title in top["Titles"]]
        processes = [dict(zip(columns, row, strict=False)) for row in top["Processes"]]
        told: dict[str, Any] = {
            "memory": memory_used(stats),
            "pids": stats.get("pids_stats", {}).get("current", len(processes)),
            "processes": [{"uid": p.get("UID", ""), "command": p.get("COMMAND", p.get("CMD", ""))[:120]} for p in processes],
            "changes": [change["Path"] for change in self.engine.call("GET", f"/containers/{identity}/changes") or []][:50],
            "default_route": self.default_route(pid),
        }
        test = (config.get("Healthcheck") or {}).get("Test") or []
        if service in ("backend", "frontend") and test[:1] in (["CMD"], ["CMD-SHELL"]):
            command = test[1:] if test[0] == "CMD" else ["/bin/sh", "-c", *test[1:]]
            # Nothing listens on port 1: a check that does not look says "healthy" all the same.
            told["health_when_down"] = self.exit_status(identity, command, ["PORT=1", "HEALTH_PATH=/nothing-is-here"])
        if service == "backend":
            told["asked"] = self.ask(identity, ["python3", "-c", ASK_PYTHON, "database:5432", "frontend:3000", "model:8000"])
        if service == "frontend":
            told["asked"] = self.ask(identity, ["node", "-e", ASK_NODE, "database:5432", "backend:8000"])
        return told

    def reach(self, containers: list[dict[str, Any]], ways_out: set[str]) -> None:
        """Tell of each running container which services it reaches, tried from inside it, and whether it has a way to the internet."""
        running = [c for c in containers if c["running"]]
        listening = {
            (address, int(port.partition("/")[0])): c["service"] for c in running for address in c["addresses"] for port in c["exposed"]
        }

        def tell(c: dict[str, Any]) -> None:
            found = reached(c["pid"], [target for target, service in listening.items() if service != c["service"]])
            c["reaches"] = None if found is None else sorted({listening[target] for target in found})
            c["internet"] = bool(ways_out & set(c["networks"])) if c["default_route"] else c["default_route"]

        with ThreadPoolExecutor(max_workers=8) as pool:
            list(pool.map(tell, running))

    def default_route(self, pid: int) -> bool | None:
        """Whether a packet finds a way out of the container; None where the host does not let us see."""
        try:
            lines = Path(f"/proc/{pid}/net/route").read_text().splitlines()[1:]
        except OSError:
            return None
        return any(line.split()[1] == "00000000" for line in lines)

    def exit_status(self, identity: str, command: list[str], environment: list[str]) -> int | None:
        """Run a command inside with more environment; None when it cannot be run."""
        try:
            return self.engine.execute(identity, command, timeout=20, environment=environment)[0]
        except EngineError:
            return None

    def ask(self, identity: str, command: list[str]) -> dict[str, Any]:
        try:
            status, output = self.engine.execute(identity, command)
            return json.loads(output) if status == 0 else {"error": output[-300:]}
        except (EngineError, ValueError) as error:
            return {"error": str(error)[:300]}

    def logs(self, identity: str, started_at: str) -> dict[str, Any]:
        """Form and content of the last lines, and when the first lines said that the service is ready."""
        try:
            path, since = f"/containers/{identity}/logs", moment(started_at)
            tail = {"stdout": 1, "stderr": 1, "tail": self.wanted["lines"], "since": since}
            lines = written(self.engine.call("GET", path, tail)).splitlines()
            # Errors count from when the verification began: one that a user caused last week does not make a deployment wrong.
            recent = written(self.engine.call("GET", path, {**tail, "since": max(since, self.wanted["errors_since"])})).splitlines()
            first = self.engine.call("GET", path, {"stdout": 1, "stderr": 1, "timestamps": 1, "since": since - 0.01, "until": since + 90})
        except EngineError as error:
            return {"error": str(error)}
        ready = None
        for line in written(first).splitlines():
            when, _, text = line.partition(" ")
            if READY.search(text):
                ready = round(moment(when) - since, 2)
                break
        lines = [line for line in lines if line.strip()]
        kinds = [_kind(line) for line in lines]
        banner = next((index for index, kind in enumerate(kinds) if kind), len(kinds))
        return {
            "lines": len(lines),
            "unformatted": [line[:200] for line, kind in zip(lines[banner:], kinds[banner:], strict=True) if not kind][:10],
            "json": kinds.count("json"),
            "bad": [line[:300] for line in recent if _bad(line)][-10:],
            "secrets": hits("\n".join(lines).encode(), self.canaries),
            "ready_seconds": ready,
        }

    def network(self, listed: dict[str, Any]) -> dict[str, Any]:
        # What leaves a bridge without masquerading has an address that nobody outside can answer.
        masquerades = (listed.get("Options") or {}).get("com.docker.network.bridge.enable_ip_masquerade") != "false"
        return {
            "name": listed["Name"],
            "internal": listed["Internal"],
            "way_out": not listed["Internal"] and masquerades,
            "driver": listed["Driver"],
            "labels": listed.get("Labels") or {},
        }

    # --- the database -------------------------------------------------------------------------------------------------

    def database(self) -> dict[str, Any]:
        database = self.wanted["database"]
        if not database:
            return {}
        command = ["psql", "-tAX", "-U", "postgres", "-d", database["name"], "-c", ASK_DATABASE]
        return self.ask(database["container"], command)

    # --- files of the host --------------------------------------------------------------------------------------------

    def secrets(self) -> dict[str, Any]:
        """Modes and owners of the secrets' files; never their content."""
        root = self.directory / "secrets"
        if not root.is_dir():
            return {"generations": [], "files": []}
        files = []
        for path in sorted(root.rglob("*")):
            about = path.lstat()
            files.append(
                {
                    "path": str(path.relative_to(root)),
                    "directory": path.is_dir(),
                    "mode": oct(stat.S_IMODE(about.st_mode)),
                    "uid": about.st_uid,
                }
            )
        return {"generations": sorted(path.name for path in root.iterdir() if path.is_dir()), "files": files}

    def releases(self, labels: dict[str, str]) -> dict[str, Any]:
        store = Store(self.directory)
        there = {image["Id"] for image in self.engine.listing("images", labels)}
        known = [
            {
                "version": manifest["version"],
                "released": manifest.get("released", ""),
                "images": manifest.get("images") or {},
                "images_there": bool(manifest.get("images")) and set(manifest["images"].values()) <= there,
                "configuration": bool(manifest.get("containers")),
                # An older Berth's manifests do not say how to run them again.
                "replayable": "around" in manifest and bool(manifest.get("edge")),
                "secrets": str(manifest.get("secrets_generation", "")),
                "secret_hits": hits(json.dumps(manifest).encode(), self.canaries),
            }
            for manifest in store.releases()
        ]
        configuration = [str(p.relative_to(self.directory)) for p in (self.directory / "edge").rglob("*") if p.is_file()]
        return {
            "current": store.current,
            "previous": store.previous,
            "known": known,
            "pending": store.pending,
            "audit": store.audited(50),
            "backups": [{key: note.get(key) for key in ("name", "when", "release", "bytes")} for note in Backups(store).all()],
            "configuration": configuration,
        }

    # --- images -------------------------------------------------------------------------------------------------------

    def images(self, wanted: dict[str, str]) -> dict[str, Any]:
        """By service: configuration, history and what a scan of all layers found."""
        path = self.directory / "image-scans.json"
        secrets = hashlib.sha256(b"\0".join([SCANNER.encode(), *self.canaries])).hexdigest()[:16]
        remembered = json.loads(path.read_text()) if path.is_file() else {}
        known = remembered.get("scans", {}) if remembered.get("secrets") == secrets else {}
        told = {}
        for service, identity in wanted.items():
            inspected = self.engine.find(f"/images/{identity}/json")
            if inspected is None:
                told[service] = {"error": f"the engine has no image {identity}"}
                continue
            history = self.engine.call("GET", f"/images/{identity}/history")
            if identity not in known:
                with self.engine.stream(f"/images/{identity}/get") as stream:
                    known[identity] = scan(stream, self.canaries)
            config = inspected["Config"]
            told[service] = {
                "id": identity,
                "tags": inspected.get("RepoTags") or [],
                "digests": inspected.get("RepoDigests") or [],
                "size": inspected["Size"],
                "created": inspected["Created"],
                "layers": [{"size": entry["Size"], "by": entry["CreatedBy"][:160]} for entry in history if entry["Size"]],
                "instructions": [entry["CreatedBy"].split()[0] for entry in history if entry["CreatedBy"]],
                "user": config.get("User") or "",
                "exposed": sorted(config.get("ExposedPorts") or {}),
                "entrypoint": config.get("Entrypoint") or [],
                "command": config.get("Cmd") or [],
                "health_test": (config.get("Healthcheck") or {}).get("Test") or [],
                "labels": config.get("Labels") or {},
                "environment": [entry.partition("=")[0] for entry in config.get("Env") or []],
                "scan": {**known[identity], "secrets": known[identity]["secrets"] + history_hits(history, config.get("Env") or [])},
            }
        kept = {identity: known[identity] for identity in wanted.values() if identity in known}
        if remembered != {"secrets": secrets, "scans": kept} and self.directory.is_dir():
            scratch = path.with_suffix(".new")
            scratch.write_text(json.dumps({"secrets": secrets, "scans": kept}))
            scratch.chmod(0o600)
            scratch.rename(path)
        return told


def _kind(line: str) -> str:
    """The form of a log line: `json`, `dated`, `level`, or nothing."""
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            return ""
        return "json" if {"time", "ts", "timestamp", "@timestamp"} & set(entry) and {"level", "severity"} & set(entry) else ""
    return "dated" if DATED.match(line) else "level" if LEVEL.match(line) else ""


def _bad(line: str) -> bool:
    """Whether a line reports an error."""
    if _kind(line) == "json":
        entry = json.loads(line)
        return str(entry.get("level", entry.get("severity", ""))).lower() in BAD_LEVELS
    return bool(BAD.search(line))


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "stack": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
            "database": {"type": "dict", "default": {}},
            "errors_since": {"type": "float", "default": 0},
            "lines": {"type": "int", "default": 400},
        },
        supports_check_mode=True,
    )
    try:
        facts = Gatherer(Engine(), module.params).gather()
    except EngineError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, stack=facts)


if __name__ == "__main__":
    main()
