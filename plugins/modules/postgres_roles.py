#!/usr/bin/python
"""Give each service of a stack a role, a schema and, for each generation of secrets, a login in PostgreSQL."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.secrets.store import Store

DOCUMENTATION = r"""
module: postgres_roles
short_description: Give each service a role, a schema and, for each generation of secrets, a login in PostgreSQL
description:
  - A role owns its schema and cannot log in. A login, C(ROLE_gN), has the password of generation N, is a member of the role and works as
    it, so that releases with different passwords run side by side, and what either makes belongs to both.
  - The logins are those that the generations on the host name in their database URLs. A login whose generation is gone is dropped.
    A role that a generation of before logins names itself may log in as long as that generation is there.
  - The superuser has no password, and nobody but the roles may connect. What a role or a login may do beyond that, or which other roles
    it was made a member of, is taken away.
  - Passwords go to the server as SCRAM-SHA-256 verifiers by psql's standard input. They are in no argument list and in no log.
options:
  container: {description: Container of the server., type: str, required: true}
  database: {description: Name of the database., type: str, required: true}
  roles:
    description: "Each C(name), C(schema), C(connections) (a login's limit), C(service) and C(file): whose file holds the database URL."
    type: list
    elements: dict
    required: true
  secrets: {description: Directory of the generations of secrets., type: path, required: true}
  configuration:
    description: Directory of what the server reads when it starts or is told to; it is told to where a file is newer than what it has read.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Have the roles
  berth.stack.postgres_roles:
    container: berth-database
    database: app
    roles: [{name: backend, schema: backend, connections: 40, service: backend, file: database_url}]
    secrets: /var/lib/berth/secrets
    configuration: /var/lib/berth/database
"""

RETURN = r"""
actions: {description: "What was done, or in check mode would be.", type: list, elements: str, returned: always}
"""

ITERATIONS = 4096
CLUSTER = """
SELECT json_build_object(
  'database', EXISTS (SELECT FROM pg_database WHERE datname = {database}),
  'loaded', extract(epoch FROM pg_conf_load_time()),
  'roles', (SELECT json_object_agg(rolname, json_build_object(
     'login', rolcanlogin, 'limit', rolconnlimit, 'password', rolpassword, 'comment', shobj_description(a.oid, 'pg_authid'),
     'powers', ARRAY(SELECT word FROM (VALUES ('SUPERUSER', rolsuper), ('CREATEDB', rolcreatedb), ('CREATEROLE', rolcreaterole),
       ('REPLICATION', rolreplication), ('BYPASSRLS', rolbypassrls)) AS power (word, has) WHERE has),
     'settings', coalesce((SELECT setconfig FROM pg_db_role_setting WHERE setrole = a.oid AND setdatabase = 0), '{{}}'),
     'member', ARRAY(SELECT g.rolname FROM pg_auth_members m JOIN pg_authid g ON g.oid = m.roleid WHERE m.member = a.oid)))
   FROM pg_authid a WHERE rolname !~ '^pg_'))
"""
INSIDE = """
SELECT json_build_object(
  'schemas', (SELECT json_object_agg(nspname, pg_get_userbyid(nspowner)) FROM pg_namespace),
  'open', ARRAY(SELECT 'SCHEMA public' FROM pg_namespace WHERE nspname = 'public' AND EXISTS
       (SELECT FROM aclexplode(coalesce(nspacl, acldefault('n', nspowner))) WHERE grantee = 0)
     UNION ALL SELECT 'DATABASE' FROM pg_database WHERE datname = current_database() AND EXISTS
       (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE grantee = 0)),
  'granted', ARRAY(SELECT pg_get_userbyid(grantee) FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
     WHERE datname = current_database() AND privilege_type = 'CONNECT' AND grantee <> 0))
"""

WRONG_RULES = "SELECT format('line %s: %s', line_number, error) FROM pg_hba_file_rules WHERE error <> ''"


def verifier(password: str, salt: bytes) -> str:
    """What PostgreSQL keeps of a password (RFC 5803): enough to check it, not to know it."""
    plain = unicodedata.normalize("NFKC", password).encode()
    salted = hashlib.pbkdf2_hmac("sha256", plain, salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${ITERATIONS}:{salt64}${stored64}:{server64}"


def matches(password: str, kept: str | None) -> bool:
    """Whether what the server keeps is of this password."""
    found = re.fullmatch(rf"SCRAM-SHA-256\${ITERATIONS}:([^$]+)\$.+", kept or "")
    return bool(found) and hmac.compare_digest(verifier(password, base64.b64decode(found[1])), kept or "")


def name(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def text(word: str) -> str:
    return "'" + word.replace("'", "''") + "'"


def logins(roles: list[dict[str, Any]], records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """{login: {role, password}} of generations' records, oldest first."""
    found = {}
    for record in records:
        for role in roles:
            url = urlsplit(record["files"].get(role["service"], {}).get(role["file"], ""))
            if url.username:
                found[unquote(url.username)] = {"role": role, "password": unquote(url.password or "")}
    return found


class Plan:
    """Statements, and for each what it does in words that hold no secret."""

    def __init__(self) -> None:
        self.actions: list[str] = []
        self.statements: list[str] = []

    def add(self, action: str, *statements: str) -> None:
        self.actions.append(action)
        self.statements += statements


def plan_roles(state: dict[str, Any], roles: list[dict[str, Any]], wanted: dict[str, dict[str, Any]]) -> Plan:
    """From the cluster's roles as they are (CLUSTER) to those wanted."""
    plan, there = Plan(), state["roles"]
    if there["postgres"]["password"]:
        plan.add("take the superuser's password away", "ALTER ROLE postgres PASSWORD NULL")
    for role in roles:
        word = role["name"]
        if word not in there:
            plan.add(f"create role {word}", f"CREATE ROLE {name(word)} NOLOGIN")
        elif there[word]["login"] and word not in wanted:
            plan.add(f"close role {word} for logins", f"ALTER ROLE {name(word)} NOLOGIN PASSWORD NULL")
        if word in there and there[word]["comment"]:
            # Earlier versions kept a hash of the password there, for all to read.
            plan.add(f"take the comment of role {word} away", f"COMMENT ON ROLE {name(word)} IS NULL")
        if word in there:
            _plan_least(plan, word, there[word], None)
    for login, spec in wanted.items():
        _plan_login(plan, login, spec, there.get(login))
    stale = [r for r in there if r not in wanted and any(re.fullmatch(rf"{re.escape(role['name'])}_g[0-9]+", r) for role in roles)]
    for login in sorted(stale):
        owner = name(login.rsplit("_g", 1)[0])
        # Its objects belong to the role already, unless the application left the role on purpose.
        plan.add(
            f"drop login {login}", f"REASSIGN OWNED BY {name(login)} TO {owner}", f"DROP OWNED BY {name(login)}", f"DROP ROLE {name(login)}"
        )
    return plan


def _plan_least(plan: Plan, login: str, there: dict[str, Any], group: str | None) -> None:
    """Take away what a role or a login has that nobody gave it here: attributes, and memberships but that of its `group`."""
    if there["powers"]:
        taken = " ".join(f"NO{power}" for power in there["powers"])
        plan.add(f"take {', '.join(there['powers']).lower()} from {login}", f"ALTER ROLE {name(login)} {taken}")
    for other in there["member"]:
        if other != group:
            plan.add(f"take {login} out of {other}", f"REVOKE {name(other)} FROM {name(login)}")


def _plan_login(plan: Plan, login: str, spec: dict[str, Any], there: dict[str, Any] | None) -> None:
    role, password = spec["role"], spec["password"]
    group, limit = name(role["name"]), int(role["connections"])
    settings = [f"search_path={role['schema']}"] if login == role["name"] else [f"role={role['name']}", f"search_path={role['schema']}"]
    if there is None:
        attributes = f"LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT CONNECTION LIMIT {limit} IN ROLE {group}"
        plan.add(f"create login {login}", f"CREATE ROLE {name(login)} {attributes} PASSWORD {text(verifier(password, os.urandom(16)))}")
    else:
        if not there["login"] or not matches(password, there["password"]):
            plan.add(f"set password of {login}", f"ALTER ROLE {name(login)} LOGIN PASSWORD {text(verifier(password, os.urandom(16)))}")
        if there["limit"] != limit:
            plan.add(f"let {login} hold {limit} connections", f"ALTER ROLE {name(login)} CONNECTION LIMIT {limit}")
        if login != role["name"]:
            _plan_least(plan, login, there, role["name"])
            if role["name"] not in there["member"]:
                plan.add(f"make {login} a member of {role['name']}", f"GRANT {group} TO {name(login)}")
    for setting in settings:
        if there is None or setting not in there["settings"]:
            key, value = setting.split("=", 1)
            statement = f"ALTER ROLE {name(login)} SET {key} = {name(value)}"
            if there is None:
                plan.statements.append(statement)
            else:
                plan.add(f"set {key} of {login}", statement)


def plan_database(state: dict[str, Any], database: str, roles: list[dict[str, Any]]) -> Plan:
    """From the database's schemas and privileges as they are (INSIDE) to those wanted."""
    plan = Plan()
    for role in roles:
        word, schema = role["name"], role["schema"]
        if word not in state["granted"]:
            plan.add(f"let {word} connect", f"GRANT CONNECT, TEMPORARY ON DATABASE {name(database)} TO {name(word)}")
        if schema not in state["schemas"]:
            plan.add(f"create schema {schema}", f"CREATE SCHEMA {name(schema)} AUTHORIZATION {name(word)}")
        elif state["schemas"][schema] != word:
            plan.add(f"hand schema {schema} over to {word}", f"ALTER SCHEMA {name(schema)} OWNER TO {name(word)}")
    for what in state["open"]:
        target = f"DATABASE {name(database)}" if what == "DATABASE" else what
        plan.add(f"close {what.lower()} for everybody else", f"REVOKE ALL ON {target} FROM PUBLIC")
    return plan


class Server:
    """psql inside the server's container, as its superuser, by the socket."""

    def __init__(self, module: AnsibleModule, container: str) -> None:
        self.module, self.container = module, container

    def run(self, script: str, database: str = "postgres") -> str:
        command = [
            "docker",
            "exec",
            "-i",
            self.container,
            "psql",
            "-qtAX",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
            "-f",
            "-",
        ]
        done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            # psql quotes the statement that went wrong; of a line about a password only the error is told.
            said = [line for line in done.stderr.splitlines() if "ERROR" in line or "FATAL" in line or "error:" in line]
            self.module.fail_json(msg=f"the database in {self.container} refused: {' '.join(said)[:500] or done.stderr[-200:]}")
        return done.stdout

    def ask(self, query: str, database: str = "postgres") -> dict[str, Any]:
        return json.loads(self.run(query, database))

    def apply(self, plan: Plan, database: str = "postgres") -> None:
        if plan.statements and not self.module.check_mode:
            self.run("BEGIN;\n" + ";\n".join(plan.statements) + ";\nCOMMIT;\n", database)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "database": {"type": "str", "required": True},
            "roles": {"type": "list", "elements": "dict", "required": True},
            # A directory, not a secret.
            "secrets": {"type": "path", "required": True, "no_log": False},
            "configuration": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    wanted: dict[str, Any] = module.params
    database, roles = wanted["database"], wanted["roles"]
    if module.check_mode and subprocess.run(["docker", "inspect", wanted["container"]], capture_output=True, check=False).returncode:
        module.exit_json(changed=True, actions=[f"create database {database}", *(f"create role {role['name']}" for role in roles)])
    server, store = Server(module, wanted["container"]), Store(Path(wanted["secrets"]))
    actions: list[str] = []
    state = server.ask(CLUSTER.format(database=text(database)))
    newest = max((path.stat().st_mtime for path in Path(wanted["configuration"]).iterdir() if path.is_file()), default=0)
    if newest > state["loaded"]:
        actions.append("let the server read its configuration again")
        if not module.check_mode:
            server.run("SELECT pg_reload_conf()")
            wrong = server.run(WRONG_RULES)
            if wrong.strip():
                module.fail_json(msg=f"the server refuses pg_hba.conf in {wanted['configuration']}: {wrong.strip()}")
    if not state["database"]:
        actions.append(f"create database {database}")
        if not module.check_mode:
            server.run(f"CREATE DATABASE {name(database)}")
    plan = plan_roles(state, roles, logins(roles, [store.record(number) for number in store.generations()]))
    # In the database that the roles' objects are in: what is dropped or reassigned is so in one database.
    server.apply(plan, database if state["database"] or not module.check_mode else "postgres")
    actions += plan.actions
    if state["database"] or not module.check_mode:
        inside = plan_database(server.ask(INSIDE, database), database, roles)
        server.apply(inside, database)
        actions += inside.actions
    module.exit_json(changed=bool(actions), actions=actions, diff={"before": "", "after": "".join(f"{action}\n" for action in actions)})


if __name__ == "__main__":
    main()
