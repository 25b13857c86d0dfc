# ruff: noqa: E501, SIM108 # a table: one mutation, one line
"""Mutations of gathered facts: for every check of the catalogue one that makes it fail, and what else hangs on the same fact.

Each changes what a run found as it would be found had the change that its text names been made. The check runs by the same code as in `make verify`.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Tree = dict[str, Any]


@dataclass
class Mutation:
    """`act` in words, `apply` to a copy of the facts, and the other checks (as in the catalogue) that see it too."""

    check: str
    change: str
    apply: Callable[[Tree], None]
    also: set[str] = field(default_factory=set)

    def mutated(self, facts: Tree) -> Tree:
        changed = copy.deepcopy(facts)
        self.apply(changed)
        return changed


def container(facts: Tree, service: str) -> Tree:
    return next(c for c in facts["stack"]["containers"] if c["service"] == service)


def image(facts: Tree, service: str) -> Tree:
    return facts["stack"]["images"][service]


def release(facts: Tree, which: str = "current") -> Tree:
    state = facts["stack"]["releases"]
    return next(r for r in state["kept"] if r["version"] == state[which])


def step(facts: Tree, key: str) -> Tree:
    return next(s for s in facts["e2e"] if s["key"] == key)


def set_in(path: str, value: Any) -> Callable[[Tree], None]:
    """A mutation that sets one value; the path's parts are keys, `container:NAME` and the like."""

    def apply(facts: Tree) -> None:
        *parts, last = path.split("/")
        at: Any = facts
        for part in parts:
            kind, _, name = part.partition(":")
            if name:
                at = {"container": container, "image": image, "release": release, "step": step}[kind](facts, name)
            else:
                at = at[part]
        at[last] = value

    return apply


def _instructions(service: str, keep: Callable[[str, str], bool]) -> Callable[[Tree], None]:
    def apply(facts: Tree) -> None:
        found = facts["source"]["dockerfiles"][service]
        found["instructions"] = [entry for entry in found["instructions"] if keep(*entry)]

    return apply


def _one_stage(service: str) -> Callable[[Tree], None]:
    def apply(facts: Tree) -> None:
        found = facts["source"]["dockerfiles"][service]
        last = max(index for index, (name, _) in enumerate(found["instructions"]) if name == "FROM")
        found["instructions"].insert(last + 1, ["RUN", "apt-get install --yes gcc"])

    return apply


def _from(service: str) -> Callable[[Tree], None]:
    def apply(facts: Tree) -> None:
        found = facts["source"]["dockerfiles"][service]
        for stage in found["stages"]:
            if stage["from"] == "scratch":
                stage["from"] = "debian:bookworm"

    return apply


def _mark_gone(service: str, *names: str) -> Callable[[Tree], None]:
    def apply(facts: Tree) -> None:
        for name in names:
            del image(facts, service)["scan"]["marks"][name]

    return apply


def _text(name: str, word: str) -> Callable[[Tree], None]:
    def apply(facts: Tree) -> None:
        found = facts["repository"]["documents"][name]
        found["text"] = re.sub(re.escape(word), "", found["text"], flags=re.I)

    return apply


def _broken(key: str) -> Callable[[Tree], None]:
    def apply(facts: Tree) -> None:
        step(facts, key).update(outcome="broken", evidence="mutated: answered 500")

    return apply


def _bigger(service: str, size: int) -> Callable[[Tree], None]:
    return set_in(f"image:{service}/size", size)


def _many_layers(service: str) -> Callable[[Tree], None]:
    def apply(facts: Tree) -> None:
        image(facts, service)["layers"] += [{"size": 1000, "by": "RUN true"}] * 9

    return apply


def _advice(task: str) -> Callable[[Tree], None]:
    def apply(facts: Tree) -> None:
        facts["source"]["advice"]["tasks"] = [t for t in facts["source"]["advice"]["tasks"] if t["task"] != task]

    return apply


def _stress(name: str) -> Callable[[Tree], None]:
    def apply(facts: Tree) -> None:
        figure = facts["source"]["records"]["stress"]["figures"][name]
        figure["value"] = figure["budget"] + 1

    return apply


def _default_shell(facts: Tree) -> None:
    image(facts, "backend")["scan"]["shells"].append("bin/sh")


def _logged_error(facts: Tree) -> None:
    container(facts, "backend")["logs"]["bad"] = ['{"level": "ERROR", "message": "boom"}']


def _swapped_edge(facts: Tree) -> None:
    container(facts, "edge")["networks"]["acceptance-data"] = ["edge"]
    container(facts, "edge")["networks"].update({name: ["edge"] for name in container(facts, "database")["networks"]})


def _nobody_connected(facts: Tree) -> None:
    for role in facts["stack"]["database"]["roles"]:
        role["super"] = role["super"] or role["name"].startswith("backend")


def _shared_schema(facts: Tree) -> None:
    for role in facts["stack"]["database"]["roles"]:
        if role["name"].startswith("backend"):
            role["schemas"].append("auth")


def _plain_connection(facts: Tree) -> None:
    for connection in facts["stack"]["database"]["connections"]:
        connection["tls"] = "" if connection["user"].startswith("backend") else connection["tls"]


def _hang(facts: Tree) -> None:
    facts["stack"]["database"]["connections"].append(
        {"user": "backend_g1", "application": "x", "state": "idle in transaction", "seconds": 90, "remote": True, "tls": "TLSv1.3"}
    )


def _no_alias(facts: Tree) -> None:
    for aliases in container(facts, "backend")["networks"].values():
        aliases[:] = [alias for alias in aliases if alias != "backend"]


def _latency(name: str) -> Callable[[Tree], None]:
    return lambda facts: step(facts, "latency")["figures"][name].update(p95=9999.0)


def _memory(facts: Tree) -> None:
    container(facts, "backend")["memory"] = 300_000_000


def _near_limit(facts: Tree) -> None:
    used = container(facts, "edge")
    used["memory"] = int(0.95 * used["memory_limit"])


def _leak(facts: Tree) -> None:
    step(facts, "memory")["figures"]["bytes_per_request"]["backend"] = 100_000


def _slow_burst(facts: Tree) -> None:
    step(facts, "burst")["figures"]["p95"] = 30_000.0


def _unpinned(facts: Tree) -> None:
    facts["source"]["applications"]["backend"]["unpinned"] = ["fastapi"]


def _tag_latest(service: str) -> Callable[[Tree], None]:
    return set_in(f"image:{service}/tags", [f"x-{service}:latest"])


def _environment_secret(facts: Tree) -> None:
    container(facts, "model")["environment_secrets"] = ["API_KEY"]


BACKEND, FRONTEND = "backend", "frontend"
MUTATIONS: list[Mutation] = [
    *(Mutation(f"advice {task}", f"what make advise left has no part {task}", _advice(task))
      for task in ("builds", "dockerfiles", "performance", "security", "size", "validation")),
    Mutation("all_run", "the engine restarted the edge twice", set_in("container:edge/restarts", 2)),
    Mutation("api_urls", "the backend's URLs are baked into its image", lambda f: image(f, BACKEND)["environment"].append("PUBLIC_URL")),
    *(Mutation(f"base_release {s}", f"the {s}'s image does not say what it is made of", set_in(f"image:{s}/scan/packages", []))
      for s in (BACKEND, FRONTEND)),
    *(Mutation(f"base_image {s}", f"the {s}'s image starts from debian:bookworm", _from(s)) for s in (BACKEND, FRONTEND)),
    Mutation("build_caching", "the backend's whole source is copied first",
             _instructions(BACKEND, lambda name, rest: "--from=dependency-files" not in rest)),
    Mutation("build_warnings", "the backend's build warned",
             lambda f: f["source"]["builds"][image(f, BACKEND)["labels"]["berth.content"]]["warnings"].append("WARNING: deprecated")),
    *(Mutation(f"built {s}", f"the {s}'s build said an error",
               lambda f, s=s: f["source"]["builds"][image(f, s)["labels"]["berth.content"]]["errors"].append("ERROR: no matching distribution"))
      for s in (BACKEND, FRONTEND)),
    Mutation("burst", "answers of a burst take 30 s", _slow_burst),
    Mutation("committed_secrets", "a .env is committed", lambda f: f["repository"]["committed"]["bad_names"].append(".env")),
    Mutation("compose", "compose.yaml is deleted", set_in("repository/compose", None)),
    Mutation("configuration_secrets", "the model's key is in its environment", _environment_secret),
    Mutation("console", "the page throws in the browser", lambda f: f["browser"]["errors"].append("Uncaught TypeError: x is undefined")),
    Mutation("container_env_documented", "docs/environment.md says nothing of containers", _text("docs/environment.md", "of the containers")),
    Mutation("database_passwords", "the database keeps passwords as MD5", set_in("stack/database/password_encryption", "md5")),
    Mutation("database_pool", "a connection hangs in a transaction", _hang),
    Mutation("database_separation", "the backend's role may use the schema of the frontend's", _shared_schema),
    Mutation("database_traffic", "the backend is connected without TLS", _plain_connection),
    Mutation("database_role", "the backend is connected as a superuser", _nobody_connected, {"database_separation"}),
    Mutation("dockerfile_secrets", "ENV API_KEY=... in the backend's Dockerfile",
             lambda f: f["source"]["dockerfiles"][BACKEND]["secrets"].append("API_KEY")),
    *(Mutation(f"document {name}", f"{name} links to a file that is not there", lambda f, n=name: f["repository"]["documents"][n]["broken"].append("gone.md"), also)
      for name, also in (
          ("README.md", {"document_covers README.md:make_up,image,verify", "document_covers README.md:read-only,capabilities,secrets"}),
          ("docs/deployment.md", {"document_covers docs/deployment.md:by_hand,ansible-playbook"}),
          ("docs/rollback.md", {"document_covers docs/rollback.md:make_rollback,make_releases"}),
          ("docs/troubleshooting.md", set()))),
    Mutation("document_covers README.md:make_up,image,verify", "the README says nothing of make up", _text("README.md", "make up")),
    Mutation("document_covers README.md:read-only,capabilities,secrets", "the README says nothing of capabilities", _text("README.md", "capabilities")),
    Mutation("document_covers docs/architecture.md:networks,secrets", "the architecture says nothing of networks", _text("docs/architecture.md", "networks")),
    Mutation("document_covers docs/deployment.md:by_hand,ansible-playbook", "the way without make is not described", _text("docs/deployment.md", "by hand")),
    Mutation("document_covers docs/rollback.md:make_rollback,make_releases", "rolling back is not described", _text("docs/rollback.md", "make rollback")),
    Mutation("declared backend", "the backend declares no dependencies",
             lambda f: f["source"]["applications"][BACKEND].update(declared="", requirements=0), {"requirements"}),
    Mutation("declared frontend", "the frontend's package.json names no dependency",
             lambda f: f["source"]["applications"][FRONTEND].update(dependencies=[]), {"package_lock"}),
    Mutation("entrypoint backend:uvicorn", "the backend starts gunicorn", set_in("image:backend/entrypoint", ["gunicorn"])),
    Mutation("entrypoint frontend:server.js|next-server", "the frontend starts next dev", set_in("image:frontend/command", ["dev"])),
    Mutation("env_documented", "a playbook reads an undocumented variable", lambda f: f["repository"]["environment"]["read"].append("SECRET_SWITCH")),
    Mutation("env_example", ".env.example has a key in it", lambda f: f["repository"]["environment"]["example_secrets"].append("OPENAI_API_KEY")),
    *(Mutation(f"environment {s}", f"the {s}'s database password is in its environment", set_in(f"container:{s}/environment_secrets", ["DATABASE_PASSWORD"]),
               {"configuration_secrets"}) for s in (BACKEND, FRONTEND)),
    *(Mutation(f"exposed {s}:{port}", f"the {s}'s image exposes another port", set_in(f"image:{s}/exposed", ["9999/tcp"]))
      for s, port in ((BACKEND, 8000), (FRONTEND, 3000))),
    Mutation("growth", "a request leaves 100 kB behind", _leak),
    Mutation("health_steady", "one check in between failed", set_in("container:edge/health_log", [0, 1, 0])),
    *(Mutation(f"healthcheck {s}", f"the {s}'s health check is `true`", set_in(f"container:{s}/health_when_down", 0)) for s in (BACKEND, FRONTEND)),
    *(Mutation(f"ignored {s}", f"the {s}'s ignore file does not name .env", lambda f, s=s: f["source"]["ignored"][s].remove("**/.env"))
      for s in (BACKEND, FRONTEND)),
    Mutation("image_secrets", "a layer of the edge holds a key that a later one hides",
             lambda f: image(f, "edge")["scan"]["secrets"].append({"path": "root/.netrc", "what": "a secret of this stack"})),
    Mutation("image_size backend", "the backend's image has 260 MB", _bigger(BACKEND, 260_000_000)),
    Mutation("image_size frontend", "the frontend's image has 130 MB", _bigger(FRONTEND, 130_000_000)),
    Mutation("init", "the frontend starts without dumb-init", set_in("container:frontend/entrypoint", ["node"])),
    Mutation("isolation", "the edge is put into the database's network", _swapped_edge),
    Mutation("network_policy", "the edge is put where it reaches the database", lambda f: container(f, "edge")["reaches"].append("database")),
    Mutation(
        "egress", "the backend does not reach a host of its list", lambda f: f["settings"].update(egress_hosts={BACKEND: ["api.stripe.com:443"]})
    ),
    Mutation("benchmark", "the model has no CPU shares", lambda f: container(f, "model")["benchmark"]["warnings"].update({"5.12": "CPU shares"})),
    *(Mutation(f"latency {name}", f"answers ({name}) take 10 s", _latency(name)) for name in ("page", "health", "tasks")),
    *(Mutation(f"layers {s}", f"the {s}'s image has nine layers more", _many_layers(s)) for s in (BACKEND, FRONTEND)),
    Mutation("libraries fastapi,uvicorn", "fastapi is not installed", set_in("container:backend/asked/libraries/fastapi", "")),
    Mutation("libraries openai-agents,openai", "the Agents SDK is not installed", set_in("container:backend/asked/libraries/openai-agents", "")),
    Mutation("limits", "the edge's memory is not limited", set_in("container:edge/pids_limit", -1), {"within_limits"}),
    Mutation("logs_clean", "the model logs an error", set_in("container:model/logs/bad", ["ERROR: boom"])),
    Mutation("logs_clean backend", "the backend logs an error", _logged_error, {"logs_clean"}),
    Mutation("logs_formatted", "the backend prints text", set_in("container:backend/logs/unformatted", ["hello"])),
    Mutation("logs_rotated", "the edge's log grows without end", lambda f: container(f, "edge")["log"].pop("max-size")),
    Mutation("manifests", "the current release's manifest has no configuration", set_in("release:current/configuration", False)),
    Mutation("marks backend:fastapi,uvicorn", "uvicorn's files are not in the image", _mark_gone(BACKEND, "uvicorn")),
    Mutation("marks backend:python", "the image has no Python library", _mark_gone(BACKEND, "python")),
    Mutation("marks frontend:better_auth", "Better Auth is not in the frontend's image", _mark_gone(FRONTEND, "better_auth")),
    Mutation("marks frontend:next_build,next_server", "server.js is not in the image", _mark_gone(FRONTEND, "next_server")),
    Mutation("marks frontend:next_build,next_static", "the image has no production build", _mark_gone(FRONTEND, "next_build"),
             {"marks frontend:next_build,next_server"}),
    Mutation("marks frontend:next_static", "the static assets are not in the image", _mark_gone(FRONTEND, "next_static"),
             {"marks frontend:next_build,next_static"}),
    Mutation("memory", "the backend uses 300 MB", _memory),
    Mutation("networks", "no network knows the backend's name", _no_alias),
    Mutation("no_tools backend", "a shell is in the backend's image", _default_shell),
    Mutation("no_tools frontend", "npm is in the frontend's image", lambda f: image(f, FRONTEND)["scan"]["tools"].append("usr/bin/npm")),
    *(Mutation(f"ownership {s}", f"anybody may write a file of the {s}", lambda f, s=s: image(f, s)["scan"]["writable"].append("app/x"))
      for s in (BACKEND, FRONTEND)),
    Mutation("package_lock", "package-lock.json is stale", lambda f: f["source"]["applications"][FRONTEND]["lock_differs"].append("next")),
    Mutation("previous_kept", "an image of the release before was removed", set_in("release:previous/images_exist", False)),
    Mutation("audit", "a deploy was killed half-way",
             set_in("stack/releases/pending", {"verb": "deploy", "from": "older", "to": "newer", "since": "2026-11-25T02:00:00Z"})),
    Mutation("production_only frontend", "TypeScript is in the image",
             lambda f: image(f, FRONTEND)["scan"]["marks"].update(dev_tools="node_modules/typescript/package.json")),
    Mutation("published", "the database is published", set_in("container:database/ports", [{"address": "", "port": "5432", "target": "5432/tcp"}])),
    Mutation("pushed", "the backend's image is not in the registry", set_in("image:backend/digests", [])),
    Mutation("reach backend:database", "the backend cannot connect to the database", set_in("container:backend/asked/reach/database:5432", "timeout")),
    Mutation("reach backend:frontend", "the backend cannot connect to the frontend", set_in("container:backend/asked/reach/frontend:3000", "timeout")),
    Mutation("reach frontend:backend", "the frontend cannot connect to the backend", set_in("container:frontend/asked/reach/backend:8000", "timeout")),
    *(Mutation(f"ready {name}", f"/health/ready says that {name} is away",
               lambda f, n=name: step(f, "ready")["figures"]["checks"][n].update(status="unavailable")) for name in ("database", "mcp", "model")),
    Mutation("requirements", "a requirement is not pinned", _unpinned),
    Mutation("restart_keeps", "the task is gone after a restart", lambda f: f["source"]["records"]["restart"].update(ok=False, evidence="the task is gone")),
    *(Mutation(f"runs {s}", f"another version of the {s} runs than is recorded", set_in(f"container:{s}/version", "other"))
      for s in (BACKEND, FRONTEND)),
    *(Mutation(f"runtime {s}", f"another version runs the {s}", set_in(f"container:{s}/asked/runtime", "9.9.9")) for s in (BACKEND, FRONTEND)),
    Mutation("secret_files", "a secret file is world-readable",
             lambda f: next(e for e in f["stack"]["secrets"]["files"] if not e["directory"]).update(mode="0o644")),
    Mutation("site_secrets", "credentials come to the builds as arguments",
             _instructions(BACKEND, lambda name, rest: "--mount=type=secret" not in rest)),
    Mutation("source_ready", "the frontend has no build script", lambda f: f["source"]["applications"][FRONTEND]["scripts"].remove("build")),
    *(Mutation(f"stages {s}", f"the {s}'s last stage installs packages", _one_stage(s)) for s in (BACKEND, FRONTEND)),
    Mutation("start_seconds", "the backend needs 45 s to start", set_in("container:backend/logs/ready_seconds", 45.0)),
    Mutation("stateless", "the backend can write its file system", set_in("container:backend/read_only", False)),
    *(Mutation(f"step {key}", f"the end-to-end check's step fails: {key}", _broken(key), also) for key, also in (
        ("chat", {"tool_used"}), ("chat_memory", set()), ("chat_stream", set()), ("crud", set()), ("headers", set()),
        ("health", {"version_served"}), ("frontend_health", set()), ("ready", {"ready database", "ready mcp", "ready model"}),
        ("guarded", set()), ("listed", set()), ("mcp", {"tool_used"}),
        ("mcp_call", set()), ("mcp_guard", set()), ("operations", set()), ("origin", set()), ("page", set()), ("refused", set()),
        ("row", set()), ("sign_in", set()), ("sign_up", set()), ("tls", set()), ("token", set()), ("tokens", set()), ("users", set()),
        ("validation", set()))),
    *(Mutation(f"stress {name}", f"make stress measured more than the budget: {name}", _stress(name))
      for name in ("error_percent", "lost_writes", "p95_ms", "recovery_seconds")),
    Mutation("system_packages", "packages cannot be added to the backend's build",
             _instructions(BACKEND, lambda name, rest: not rest.startswith("EXTRA_BUILD_PACKAGES"))),
    *(Mutation(f"tags {s}", f"the {s}'s image is tagged latest", _tag_latest(s)) for s in (BACKEND, FRONTEND)),
    Mutation("tool_used", "the chat called a tool that the MCP server does not list", lambda f: step(f, "chat")["figures"].update(tools=["add_note"])),
    *(Mutation(f"user {s}", f"the {s}'s image names no user", set_in(f"image:{s}/user", "")) for s in (BACKEND, FRONTEND)),
    Mutation("users", "the edge has the capability NET_ADMIN", set_in("container:edge/cap_add", ["NET_ADMIN"])),
    *(Mutation(f"playbook {v}", f"playbooks/{v}.yml is deleted", lambda f, v=v: f["repository"]["playbooks"].remove(v)) for v in ("backup", "releases", "restore", "rollback")),
    Mutation("version_served", "/health reports another version", lambda f: step(f, "health")["figures"].update(version="other")),
    Mutation("volumes", "the database's data is in no volume", set_in("container:database/mounts", [])),
    Mutation("vulnerabilities", "a Debian package of the backend has an update outstanding",
             lambda f: f["source"]["image_checks"]["images"][0]["criteria"][0].update(status="fail", evidence="openssl: update outstanding")),
    Mutation("within_limits", "the edge uses 95 % of its memory", _near_limit),
]  # fmt: skip


def completed(facts: Tree) -> Tree:
    """The facts with what this machine cannot have (Docker's AI agent, a registry, a second release, a stress run), so that every check can pass."""
    full = copy.deepcopy(facts)
    stack, source = full["stack"], full["source"]
    version = stack["releases"]["current"]
    older = {**release(full), "version": "older"}
    stack["releases"].update(previous="older", kept=[release(full), older])
    for service in (BACKEND, FRONTEND):
        image(full, service)["digests"] = [f"registry.example/{service}@{image(full, service)['id']}"]
        content = image(full, service)["labels"]["berth.content"]
        source["builds"][content] = {"service": service, "lines": 40, "seconds": 20, "cached": 3, "warnings": [], "errors": []}
    for found in stack["containers"]:
        found["logs"]["bad"] = []
    full["settings"]["registry"] = "registry.example"
    full["browser"].update(loaded=True, name="Chromium", errors=[], elements=9)
    hard = {"user": "1:1", "healthcheck": {"interval": "10s"}, "read_only": True, "mem_limit": "256m"}
    full["repository"]["compose"] = {"services": dict.fromkeys(("backend", "frontend", "database"), hard)}
    for found in full["repository"]["documents"].values():
        found["broken"] = []
    source["advice"] = {"tasks": [{"task": t, "source": "docker-ai", "outcome": "kept"} for t in
                                  ("builds", "dockerfiles", "performance", "security", "size", "validation")]}  # fmt: skip
    scans = [{"id": name, "status": "pass", "evidence": "nothing"} for name in ("debian", "javascript", "secrets")]
    source["image_checks"] = {"version": version, "images": [{"service": BACKEND, "criteria": scans}]}
    figures = {
        name: {"value": 1.0, "budget": 5.0, "unit": "", "text": name}
        for name in ("error_percent", "lost_writes", "p95_ms", "recovery_seconds")
    }
    source["records"] = {
        "restart": {"version": version, "when": "today", "ok": True, "evidence": "5 containers restarted"},
        "stress": {"version": version, "when": "today", "figures": figures},
    }
    return full
