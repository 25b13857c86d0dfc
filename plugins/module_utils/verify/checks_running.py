"""Checks of what runs on the host. What a check is: verify/facts.py."""

from __future__ import annotations

from typing import Any

from .container_commands import unlisted
from .facts import (
    APPLICATION,
    MB,
    Evidence,
    Facts,
    NotApplicable,
    NotVerified,
    OverBudget,
    below,
    check,
    measured,
    require,
    role_of,
    unchecked,
)

INFRASTRUCTURE = ("database", "edge", "model")


@check("stack")
def runs(f: Facts, service: str) -> Evidence:
    """The {}'s container. Passes when it runs, healthy, the version that is recorded as current, and was not restarted by the engine or
    killed for memory.
    """
    current = f.part("releases")["current"]
    for container in f.containers(service):
        require(container["running"], f"{container['name']} does not run")
        require(container["health"] == "healthy", f"{container['name']} is {container['health']}")
        require(not container["oom_killed"], f"{container['name']} ran out of memory")
        require(container["restarts"] == 0, f"the engine restarted {container['name']} {container['restarts']} times")
    container = f.container(service)
    require(container["version"] == current, f"{container['version']} runs, {current or 'nothing'} is recorded")
    return f"{container['name']}, healthy, no restarts"


@check("stack")
def all_run(f: Facts) -> Evidence:
    """All containers of the stack. Passes when each runs, is healthy where it has a health check, and was neither restarted nor killed for
    memory by the engine.
    """
    for container in f.containers():
        require(
            container["running"] and (container["health"] == "healthy" or unchecked(container)),
            f"{container['name']}: running {container['running']}, {container['health']}",
        )
        require(
            not container["oom_killed"] and not container["restarts"],
            f"{container['name']}: {container['restarts']} restarts, out of memory {container['oom_killed']}",
        )
    return ", ".join(c["service"] for c in f.containers())


@check("stack")
def start_seconds(f: Facts, *services: str) -> Evidence:
    """Seconds from a container's start until its log reports that it is ready. Passes when the slowest is within the budget."""
    seconds: dict[str, float] = {}
    for container in f.containers(*services):
        ready = container["logs"].get("ready_seconds")
        if ready is None:
            raise NotVerified(f"the log of {container['name']} does not report when it was ready (rotated, or in another form)")
        seconds[container["service"]] = max(ready, seconds.get(container["service"], 0))
    line = ", ".join(f"{service} {value:.2f} s" for service, value in seconds.items())
    return below(line, max(seconds.values()), f.budgets["start_seconds"], "s", "start")


@check("stack")
def logs_formatted(f: Facts) -> Evidence:
    """The lines of all containers since their start. Passes when each has a level and a form for programs; what an application writes is
    held to that only where it promises so.
    """
    lines = []
    for container in f.containers():
        log = container["logs"]
        if "error" in log:
            raise NotVerified(f"the log of {container['name']} cannot be read: {log['error']}")
        free = log["unformatted"] if _promises_logs(f, container) else []
        require(not free, f"{container['name']} wrote: {free[0] if free else ''}")
        own = f" ({len(log['unformatted'])} or more in a form of its own)" if log["unformatted"] else ""
        lines.append(f"{container['service']} {log['lines']}{own}")
    return f"lines: {', '.join(lines)}"


@check("stack")
def logs_clean(f: Facts, *services: str) -> Evidence:
    """What containers logged during this verification. Passes when nothing reports an error but what the checks provoke."""
    for container in f.containers(*services):
        bad = [
            line for line in container["logs"].get("bad", []) if not any(text in line for text in f.settings.get("expected_errors") or [])
        ]
        if bad and not _promises_logs(f, container):
            raise NotVerified(
                f"{container['name']} wrote during the verification: {bad[-1]} (whether that is a fault, the application's authors know: "
                "verify_expected_errors names what is none)"
            )
        require(not bad, f"{container['name']} wrote: {bad[-1] if bad else ''}")
    return f"no error in {sum(c['logs'].get('lines', 0) for c in f.containers(*services))} lines"


@check("stack")
def logs_rotated(f: Facts) -> Evidence:
    """The log driver of every container. Passes when each log has a largest size."""
    bad = [c["name"] for c in f.containers() if c["log"].get("driver") == "json-file" and not c["log"].get("max-size")]
    require(not bad, f"logs that grow without end: {', '.join(bad)}")
    return ", ".join(sorted({f"{c['log'].get('driver')} {c['log'].get('max-size', '')}" for c in f.containers()}))


@check("stack")
def limits(f: Facts) -> Evidence:
    """Limits of every container. Passes when memory (without swap), processors and processes are limited."""
    for c in f.containers():
        require(
            c["memory_limit"] and c["cpus"] and c["pids_limit"] > 0,
            f"{c['name']}: memory {c['memory_limit']}, cpus {c['cpus']}, pids {c['pids_limit']}",
        )
        require(c["swap_limit"] == c["memory_limit"], f"{c['name']} may swap")
    return ", ".join(f"{c['service']} {c['memory_limit'] >> 20} MiB/{c['cpus']:g}" for c in f.containers())


@check("stack")
def within_limits(f: Facts) -> Evidence:
    """Memory and processes of every container. Passes when no container uses more than its share of its limits."""
    share = 0.0
    for c in f.containers():
        used = max(
            c.get("memory", 0) / c["memory_limit"] if c["memory_limit"] else 1,
            c.get("pids", 0) / c["pids_limit"] if c["pids_limit"] > 0 else 1,
        )
        share = max(share, used)
    line = ", ".join(f"{c['service']} {c.get('memory', 0) / MB:.0f} MB" for c in f.containers())
    return below(line, 100 * share, f.budgets["limit_percent"], "% of a limit", "use")


@check("stack")
def memory(f: Facts, *services: str) -> Evidence:
    """Memory of backend and frontend. Passes when each is within its budget."""
    lines, worst = [], 0.0
    for service in services or APPLICATION:
        used = sum(c.get("memory", 0) for c in f.containers(service)) / MB
        budget = f.budgets["memory_mb"][service]
        if used > budget:
            raise OverBudget(f"{service} uses {used:.0f} MB; the budget is {budget} MB")
        lines.append(f"{service} {used:.0f} of {budget} MB")
        worst = max(worst, 100 * used / budget)
    return ", ".join(lines), measured(worst, 100, "% of budget", "memory")


@check("stack")
def stateless(f: Facts) -> Evidence:
    """File systems of backend and frontend. Passes when they are read-only, no mount but scratch space can be written, and nothing was."""
    for service in APPLICATION:
        for c in f.containers(service):
            require(c["read_only"], f"{c['name']} can write its own file system")
            writable = [m["target"] for m in c["mounts"] if m["writable"]]
            require(not writable, f"{c['name']} keeps state in {', '.join(writable)}")
            points = {
                "/" + "/".join(m["target"].strip("/").split("/")[: n + 1]) for m in c["mounts"] for n in range(m["target"].count("/"))
            }
            changed = [path for path in c.get("changes", []) if path not in points]
            require(not changed, f"{c['name']} changed {', '.join(changed[:3])}")
    return "read-only, scratch space in memory only, nothing changed"


@check("stack")
def volumes(f: Facts) -> Evidence:
    """Volumes of the stack. Passes when the database's data is in a named volume that carries the stack's labels."""
    if "database" in f.absent:
        raise NotApplicable(f.absent["database"])
    own = {v["name"] for v in f.part("volumes")}
    used = [m["source"] for c in f.containers("database") for m in c["mounts"] if m["type"] == "volume" and m["writable"]]
    require(
        used and set(used) <= own, f"the database writes to {used or 'no volume'}; volumes of the stack: {', '.join(sorted(own)) or 'none'}"
    )
    return f"{', '.join(sorted(own))}"


@check("stack")
def networks(f: Facts) -> Evidence:
    """Networks of the stack and the names that services have in them. Passes when they are labelled and backend, frontend and database
    have their names.
    """
    names = {n["name"] for n in f.part("networks")}
    require(len(names) >= 2, f"networks: {', '.join(names) or 'none'}")
    for service in ("backend", "frontend", *(() if "database" in f.absent else ("database",))):
        aliases = {alias for c in f.containers(service) for found in c["networks"].values() for alias in found}
        require(service in aliases, f"no network knows the name {service}")
        require(all(set(c["networks"]) <= names for c in f.containers(service)), f"{service} is in a network that is not the stack's")
    return ", ".join(sorted(names))


@check("stack")
def published(f: Facts) -> Evidence:
    """Ports that containers publish on the host. Passes when only the edge's are."""
    bad = [f"{c['name']}: {p['address'] or '0.0.0.0'}:{p['port']}" for c in f.containers() if c["service"] != "edge" for p in c["ports"]]
    require(not bad, f"published on the host: {', '.join(bad)}")
    ports = [f"{p['address'] or '0.0.0.0'}:{p['port']}" for c in f.containers("edge") for p in c["ports"]]
    require(ports, "the edge publishes nothing")
    return f"the edge's only: {', '.join(ports)}"


@check("stack")
def isolation(f: Facts) -> Evidence:
    """Which networks containers share, and whether packets find a way out of them. Passes when the edge cannot reach the database, and
    backend, frontend and database have no way out but the one that is declared.
    """
    internal = {n["name"]: n["internal"] for n in f.part("networks")}
    edge = {name for c in f.containers("edge") for name in c["networks"]}
    if "database" not in f.absent:
        database = {name for c in f.containers("database") for name in c["networks"]}
        require(not edge & database, f"edge and database share {', '.join(edge & database)}")
        require(len(database) == 1, f"the database is in {', '.join(sorted(database))}")
    allowed = {"edge", *(f.settings.get("egress") or [])}
    for c in f.containers():
        require(
            set(c["networks"]) <= set(internal),
            f"{c['name']} is in {', '.join(set(c['networks']) - set(internal))}, no network of the stack",
        )
        # A further process of the backend has its networks.
        if (c["service"] if c["service"] in f.settings["reach"] else "backend") not in allowed:
            leaky = [name for name in c["networks"] if not internal[name]]
            require(not leaky, f"{c['name']} has a way out by {', '.join(leaky)}")
            require(not c.get("default_route"), f"{c['name']} has a default route")
    return f"a way out: {', '.join(sorted(allowed))} only"


@check("stack")
def network_policy(f: Facts) -> Evidence:
    """Who reaches whom and the internet: connections tried from inside every container's network. Passes when it is what network_policy
    (`network_policy`) allows, no more and no less.
    """
    table = f.settings["reach"]

    def row(service: str) -> str:
        """A service of a release before this deployment counts as the backend, whose image it runs."""
        return service if service in table else "backend"

    present = {row(c["service"]) for c in f.containers() if c["running"]}
    lines = []
    for c in f.containers():
        if not c["running"]:
            continue
        if c.get("reaches") is None:
            raise NotVerified(f"the network of {c['name']} cannot be entered: verify as root, on the engine's host")
        own = row(c["service"])
        documented = {*table[own]["needs"], *table[own]["neighbours"]} & present
        found = {row(service) for service in c["reaches"]} - {own}
        more, less = found - documented, documented - found
        require(not more, f"{c['name']} reaches {', '.join(sorted(more))}, which network_policy does not name")
        require(not less, f"{c['name']} does not reach {', '.join(sorted(less))}")
        require(
            bool(c["internet"]) == bool(table[own]["internet"]), f"{c['name']} has {'a' if c['internet'] else 'no'} way to the internet"
        )
        lines.append(f"{c['service']}: {', '.join([*sorted(found), *(['internet'] if c['internet'] else [])]) or 'nobody'}")
    return "; ".join(lines)


@check("stack")
def egress(f: Facts) -> Evidence:
    """Hosts outside the stack that a service may connect to by a list (backend_image_egress, frontend_image_egress), tried from inside.
    Passes when its relay accepts connections to every host of the list, another name leads nowhere, and the relay refuses a request for it.
    """
    listed = f.settings.get("egress_hosts") or {}
    for service, targets in listed.items():
        found = f.asked(service)["reach"]
        closed = {target: found.get(target, "not tried") for target in targets if found.get(target) != "ok"}
        require(not closed, f"{service} does not reach {closed}")
        open_to = [target for target, result in found.items() if target == unlisted(targets) and result == "ok"]
        require(not open_to, f"{service} reaches {', '.join(open_to)}, which {service}_image_egress does not list")
        for c in f.containers(service):
            refused = c.get("refused") or {}
            if None in refused.values():
                raise NotVerified(f"the network of {c['name']} cannot be entered: verify as root, on the engine's host")
            let = [port for port, closed_at_once in refused.items() if not closed_at_once]
            require(not let, f"the relay of {c['name']} relays a request for {unlisted(targets)} at port {', '.join(let)}")
    return "; ".join(f"{service}: {', '.join(targets)}, no other name" for service, targets in listed.items()) or "no service has a list"


@check("stack")
def benchmark(f: Facts) -> Evidence:
    """Section 5 of the CIS Docker Benchmark 1.6 for every container. Passes when no recommendation is left out but those that are accepted,
    with their reasons, in docs/security.md, and AppArmor where the kernel has none.
    """
    kernel = {} if f.part("engine").get("apparmor") else {"5.2": "no AppArmor"}
    for c in f.containers():
        none = {"5.27": "no health check is declared"} if unchecked(c) else {}
        accepted = {
            **kernel,
            **none,
            **f.settings["benchmark_accepted"].get("all", {}),
            **f.settings["benchmark_accepted"].get(c["service"], {}),
        }
        found = {number: expected for number, expected in c["benchmark"]["warnings"].items() if number not in accepted}
        require(not found, f"{c['name']} does not follow {', '.join(f'{number} ({expected})' for number, expected in found.items())}")
    left_out = sorted({number for c in f.containers() for number in c["benchmark"]["warnings"]})
    scores = ", ".join(f"{c['service']} {c['benchmark']['score']}" for c in f.containers())
    return f"accepted: {', '.join(left_out) or 'none'}; scores: {scores}"


@check("stack")
def reach(f: Facts, argument: str) -> Evidence:
    """Connections opened inside a container to its neighbours ({}). Passes when each is accepted."""
    service, _, names = argument.partition(":")
    if names == "database" and (reason := f.no_database()):
        raise NotApplicable(reason)
    found = f.asked(service)["reach"]
    expected = [next((target for target in found if target.startswith(f"{name}:")), name) for name in names.split(",")]
    bad = {target: found.get(target, "not tried") for target in expected if found.get(target) != "ok"}
    require(not bad, f"{service} does not reach {bad}")
    return f"{service} reaches {', '.join(expected)}"


@check("stack")
def database_role(f: Facts) -> Evidence:
    """The database's own view. Passes when the backend is connected as a role of its own that is no superuser."""
    found = _used_database(f)
    roles = {role["name"]: role for role in found["roles"]}
    connected = {c["user"] for c in f.connections() if c["application"].startswith("backend") or role_of(c["user"]) == "backend"}
    if not connected and "database" not in f.required:
        raise NotVerified("the backend connected to the database in none of the requests of this check, which only read")
    require(connected, "the backend has no connection")
    bad = [name for name in connected if roles.get(name, {}).get("super")]
    require(not bad, f"the backend is connected as superuser {', '.join(bad)}")
    return f"connected as {', '.join(connected)}; PostgreSQL {found['version']}, {found['tables']} tables"


@check("stack")
def database_pool(f: Facts) -> Evidence:
    """Connections, limits and long transactions in the database. Passes when roles' limits fit into the server's, few are used and none
    hangs.
    """
    found = _used_database(f)
    used = {c["user"] for c in f.connections()}
    logins = [role for role in found["roles"] if not role["super"]]
    # Where nobody keeps a connection, all that may come count.
    limits = [role["limit"] for role in logins if role["name"] in used] or [role["limit"] for role in logins]
    require(limits and all(limit > 0 for limit in limits), "a role may take all connections")
    require(sum(limits) <= found["max_connections"], f"roles may take {sum(limits)} of {found['max_connections']} connections")
    hanging = [c for c in found["connections"] if c["state"] == "idle in transaction" or (c["seconds"] or 0) > 30]
    require(not hanging, f"{len(hanging)} connections hang in a transaction")
    require(not found["deadlocks"], f"{found['deadlocks']} deadlocks")
    return below(
        f"{len(found['connections'])} of {found['max_connections']} connections, roles' limits {sum(limits)}",
        100 * len(found["connections"]) / found["max_connections"],
        80,
        "% of connections",
        "pool",
    )


@check("stack")
def database_separation(f: Facts) -> Evidence:
    """What each role may use in the database. Passes when no two share a schema but by database_access, and no superuser has a password or
    comes by network.
    """
    found = f.database()
    access = f.settings.get("database_access") or {}
    reads: dict[str, set[str]] = {}
    for role in found["roles"]:
        if not role["super"]:
            reads.setdefault(role_of(role["name"]), set()).update(role["schemas"])
    require(reads, "nobody but superusers may log in")
    for schema in set.union(*reads.values()):
        readers = sorted(name for name, schemas in reads.items() if schema in schemas)
        declared = any(all(owner == reader or owner in access.get(reader, {}) for reader in readers) for owner in readers)
        require(len(readers) < 2 or declared, f"{' and '.join(readers)} may both use the schema {schema}")
    supers = [role["name"] for role in found["roles"] if role["super"]]
    require(not any(role["password"] for role in found["roles"] if role["super"]), f"{', '.join(supers)} has a password")
    remote = [c["user"] for c in found["connections"] if c["remote"] and c["user"] in supers]
    require(not remote, f"{', '.join(remote)} is connected over the network")
    return "; ".join(f"{name} uses {', '.join(sorted(schemas)) or 'nothing'}" for name, schemas in sorted(reads.items()))


@check("stack")
def database_traffic(f: Facts) -> Evidence:
    """Connections to the database and its rules of access. Passes when all that come over the network are encrypted, and others refused."""
    found = f.database()
    remote = [c for c in f.connections() if c["remote"]]
    require(remote or "database" not in f.required, "nobody is connected over the network")
    plain = sorted({c["user"] for c in remote if not c["tls"]})
    require(not plain, f"{', '.join(plain)} is connected without TLS")
    open_to = sorted({user for rule in found["rules"] if rule["type"] in ("host", "hostnossl") for user in rule["users"]})
    require(not open_to, f"connections without TLS are let in for {', '.join(open_to)}")
    if not remote:
        return "nobody is connected; none without TLS would be let in"
    return f"{len(remote)} connections to the database by {', '.join(sorted({c['tls'] for c in remote}))}; none without is let in"


@check("stack")
def database_passwords(f: Facts) -> Evidence:
    """How the database keeps passwords. Passes when as SCRAM-SHA-256."""
    found = f.database()
    require(found["password_encryption"] == "scram-sha-256", f"as {found['password_encryption']}")
    return "scram-sha-256"


def _used_database(f: Facts) -> dict[str, Any]:
    """What the database said of itself; NotApplicable where the application does not use it."""
    if reason := f.no_database():
        raise NotApplicable(reason)
    return f.database()


def _promises_logs(f: Facts, container: dict[str, Any]) -> bool:
    """Whether a container's log is to have a form and no errors: those of Berth's own services, and the application's where it says so."""
    return "logs" in f.required or container["service"] in INFRASTRUCTURE
