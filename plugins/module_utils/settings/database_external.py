"""A PostgreSQL outside the stack (database_external): what may be set, and what follows from it for secrets and networks.

Pure functions. `outside` is the complete form that `complete` returns: address, hostaddr, port, name, ca_file and users {what for: login}.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from .egress import ALL, HOST

# What logins are for. The password of each is a secret: USE_password.
USES = ("backend", "frontend", "backend_migration", "frontend_migration", "backup")
KEYS = ("address", "hostaddr", "port", "name", "sslmode", "ca_file", "users")
CLIENT = "database-client"
EXAMPLE = (
    "database_external: {address: db.example.com, port: 5432, name: shop, ca_file: db-ca.pem, users: {backend: shop_backend, "
    "frontend: shop_frontend}}"
)
LOGIN = re.compile(r"[A-Za-z0-9_.@-]{1,63}")
NAME = re.compile(r"[A-Za-z0-9_.-]{1,63}")
IP = re.compile(r"[0-9]+([.][0-9]+){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*")


def _from_url(text: str) -> dict[str, Any]:
    """The settings of postgresql://LOGIN@HOST:PORT/NAME?sslmode=verify-full; that login is the one of both services."""
    parts = urlsplit(text)
    given = {"address": parts.hostname or "", "port": parts.port or 5432, "name": unquote(parts.path[1:])}
    options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    if "sslrootcert" in options:
        options["ca_file"] = options.pop("sslrootcert")
    return given | {"users": dict.fromkeys(("backend", "frontend"), unquote(parts.username or ""))} | options


def complete(given: Any) -> dict[str, Any]:
    """The settings with their defaults; empty for none. `given` is valid (`wrong_external`)."""
    if not given or str(given).lower() in ("false", "no"):
        return {}
    given = _from_url(given) if isinstance(given, str) else given
    return {
        "address": str(given["address"]).lower(),
        "hostaddr": str(given.get("hostaddr") or ""),
        "port": int(given.get("port") or 5432),
        "name": given["name"],
        "ca_file": given["ca_file"],
        "users": {use: given["users"][use] for use in USES if given["users"].get(use)},
    }


def wrong_external(given: Any, others: Mapping[str, Any]) -> str:
    """What is wrong with database_external; empty if nothing. `others`: values of settings that do not go with it, by name."""
    if not given or str(given).lower() in ("false", "no"):
        return ""
    if isinstance(given, str) and re.match(r"postgres(ql)?://", given):
        if urlsplit(given).password:
            return "database_external has a password: remove it, and give it as SECRET_BACKEND_PASSWORD and SECRET_FRONTEND_PASSWORD"
        try:
            given = _from_url(given)
        except ValueError as error:
            return f"database_external is no valid URL: {error}; for example {EXAMPLE}"
    if not isinstance(given, Mapping):
        form = "a mapping, or postgresql://LOGIN@HOST:PORT/NAME?sslrootcert=FILE"
        return f"database_external is {given!r}; it must be {form}, for example {EXAMPLE}"
    return next(filter(None, (*_wrong_values(given), *_wrong_together(given, others))), "")


def _wrong_values(given: Mapping[str, Any]) -> list[str]:
    users = given.get("users")
    address, port = str(given.get("address") or ""), str(given.get("port") or 5432)
    unknown = sorted(set(given) - set(KEYS))
    found = [
        f"database_external has no {key}: {what}; for example {EXAMPLE}"
        for key, what in (
            ("address", "the name of the server"),
            ("name", "the name of the database"),
            ("ca_file", "the file with the certificate of the authority that signed the server's, in PEM format, on the controller"),
        )
        if not given.get(key)
    ]
    if unknown:
        found.insert(0, f"database_external has {', '.join(unknown)}; there are {', '.join(KEYS)}")
    if IP.fullmatch(address) or not HOST.fullmatch(address):
        found.append(
            f"database_external.address is {address!r}; it must be the name in the server's certificate. Where the name is not in DNS, "
            "add hostaddr with the IP address"
        )
    if given.get("hostaddr") and not IP.fullmatch(str(given["hostaddr"])):
        found.append(f"database_external.hostaddr is {given['hostaddr']!r}; it must be an IP address")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        found.append(f"database_external.port is {port!r}; it must be a port, for example 5432")
    if not NAME.fullmatch(str(given.get("name") or "x")):
        found.append(f"database_external.name is {given['name']!r}; it must be of letters, digits, '.', '_' and '-'")
    if (given.get("sslmode") or "verify-full") != "verify-full":
        found.append(
            f"database_external.sslmode is {given['sslmode']}, with which anybody on the way could be the server: only verify-full is "
            "supported"
        )
    if not isinstance(users, Mapping) or not users.get("backend") or not users.get("frontend"):
        return [
            *found,
            f"database_external.users must have the logins of backend and frontend (they may be the same); for example {EXAMPLE}",
        ]
    if unknown := sorted(set(users) - set(USES)):
        found.append(f"database_external.users has {', '.join(unknown)}; there are {', '.join(USES)}")
    bad = [f"{use}: {login}" for use, login in users.items() if not LOGIN.fullmatch(str(login))]
    return [*found, *(f"database_external.users has {one}; a login is of letters, digits, '.', '_', '@' and '-'" for one in bad)]


def _wrong_together(given: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    found = [
        f"{name} is set, and the database is outside the stack (database_external): {what}"
        for name, what in (
            ("database_extensions", "let its administrator create the extensions, and remove the setting"),
            ("database_access", "let its administrator grant the access, and remove the setting"),
            ("backup_repositories", "its backups are its administrator's; remove the setting"),
        )
        if others.get(name)
    ]
    if others.get("stack_engine") == "swarm":
        found.append("database_external is set, and nothing restricts who reaches it in a Swarm: remove STACK_ENGINE=swarm")
    for name in ("backend_image_egress", "frontend_image_egress"):
        egress = others.get(name)
        if egress == ALL and given.get("hostaddr"):
            found.append(
                f"{name} is all, with which names are those of DNS: remove database_external.hostaddr, or list the hosts in {name}"
            )
        own, end = str(given.get("address") or "").lower(), f":{given.get('port') or 5432}"
        same = [one for one in (egress if isinstance(egress, list) else []) if str(one).endswith(end) and str(one).lower() != own + end]
        if same:
            found.append(
                f"{name} has {', '.join(map(str, same))}, on the port of database_external, where a connection does not name its host: "
                "set it to all"
            )
    return found


def target(outside: Mapping[str, Any]) -> str:
    """HOST:PORT of the database."""
    return f"{outside['address']}:{outside['port']}"


def egress_with_database(egress: Mapping[str, Any], outside: Mapping[str, Any]) -> dict[str, Any]:
    """Which hosts each service may connect to: also the database."""
    if not outside:
        return dict(egress)
    return {service: value if value == ALL else [*value, *({target(outside)} - set(value))] for service, value in egress.items()}


def _migrates(outside: Mapping[str, Any], service: str) -> bool:
    return f"{service}_migration" in outside["users"]


def secrets_with_database(schema: Mapping[str, Any], outside: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of secrets: passwords of logins are given, not generated; a service's migrations have its secrets, less its password."""
    if not outside:
        return dict(schema)
    made = {name: dict(spec or {}) for name, spec in schema.items()}
    for use in USES:
        if use in outside["users"]:
            service = use.replace("_", "-")
            made[f"{use}_password"] = {
                "services": [*([service] if use != "backup" else []), CLIENT],
                "form": "[^\\r\\n]*[^\\s]",
                "minimum": 1,
            }
    for service in ("backend", "frontend"):
        for name, spec in made.items():
            if _migrates(outside, service) and service in (spec.get("services") or []) and name != f"{service}_password":
                spec["services"] = [*spec["services"], f"{service}-migration"]
    return made


def files_with_database(files: Mapping[str, Any], outside: Mapping[str, Any], uid: int, authority: str) -> dict[str, Any]:
    """The files of secrets of each service: with the logins of the database outside; those of migrations, and of the client with which
    Berth asks and dumps the database (a file of services of libpq, a section for each login)."""
    if not outside:
        return dict(files)
    made, users = dict(files), outside["users"]
    for service in ("backend", "frontend"):
        for use in (service, *([f"{service}_migration"] if _migrates(outside, service) else [])):
            texts = {
                name: text.replace(f"{service}_g{{generation}}", quote(users[use], safe="") if "://" in text else users[use]).replace(
                    f"{{{service}_password", f"{{{use}_password"
                )
                for name, text in files[service]["files"].items()
            }
            made[use.replace("_", "-")] = dict(files[service]) | {"files": texts | {"database_ca": authority}}
    place = {key: outside[key] for key in ("hostaddr", "port") if outside[key]} | {"host": outside["address"], "dbname": outside["name"]}
    tls = {"sslmode": "verify-full", "sslrootcert": "/run/secrets/database_ca", "connect_timeout": 10}
    client = next(use for use in ("backup", "backend_migration", "backend") if use in users)
    sections = {use: use for use in users} | {"client": client}
    lines = [
        line
        for section, use in sections.items()
        for line in (
            f"[{section}]",
            *(f"{key}={value}" for key, value in (place | tls).items()),
            f"user={users[use]}",
            f"password={{{use}_password}}",
        )
    ]
    made[CLIENT] = {"uid": uid, "files": {"service": "\n".join(lines) + "\n", "database_ca": authority}}
    return made


def policy_with_database(policy: Mapping[str, Any], outside: Mapping[str, Any]) -> dict[str, Any]:
    """The network policy; without a database of the stack where it is outside."""
    if not outside:
        return dict(policy)
    return {
        service: row | {key: [other for other in row[key] if other != "database"] for key in ("needs", "neighbours")}
        for service, row in policy.items()
        if service != "database"
    }
