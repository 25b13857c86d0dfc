#!/usr/bin/python
"""Create a role, a schema and, for each secret version, a login for each service in PostgreSQL."""

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_roles
short_description: Create a role, a schema and, for each secret version, a login for each service in PostgreSQL
description:
  - A role owns its schema and cannot log in. A login, C(ROLE_gN), has the password of generation N, is a member of the role and assumes
    it, so that releases with different passwords run side by side, and the objects of both belong to the role.
  - The logins are those in the database URLs of the generations on the host. A login without a generation is dropped. A role that an
    old generation names in place of a login may log in as long as that generation exists.
  - With C(access) a role may read, or read and write, the tables of another role's schema, those that are created later too, and finds
    them by name after its own (search_path). Any other privilege of a role in another one's schema is revoked.
  - "With C(create: true) among the access of a role it may create schemas, which are its own like its first one."
  - Extensions are created by the superuser in the schema C(extensions), which every role may use and finds after the others.
  - The superuser has no password, and only the roles may connect. All other privileges and memberships of roles and logins are revoked.
  - Passwords are sent to the server as SCRAM-SHA-256 verifiers by psql's standard input. They are in no argument list and in no log.
options:
  container: {description: Container of the server., type: str, required: true}
  database: {description: Name of the database., type: str, required: true}
  roles:
    description: "Each C(name), C(schema), C(connections) (limit of a login), C(service) and C(file) (with the database URL)."
    type: list
    elements: dict
    required: true
  access:
    description: "By role the roles whose tables it may use: C(read), or C(write) (select, insert, update, delete)."
    type: dict
    default: {}
  extensions: {description: Extensions to create., type: list, elements: str, default: []}
  secrets: {description: Directory of the secret versions (generations)., type: path, required: true}
  configuration:
    description: Directory of the server's configuration, which is reloaded where a file is newer than the loaded one.
    type: path
    required: true
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Ensure that the roles exist
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
from ..module_utils.settings.database_access import CREATE, LEVELS, wrong_access
from ..module_utils.settings.database_extensions import SCHEMA

# By role the roles whose tables it may use, and whether it creates schemas (settings/database_access.py).
Access = dict[str, dict[str, Any]]
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
     WHERE datname = current_database() AND privilege_type = 'CONNECT' AND grantee <> 0),
  'creators', ARRAY(SELECT pg_get_userbyid(grantee) FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
     WHERE datname = current_database() AND privilege_type = 'CREATE' AND grantee NOT IN (0, datdba)),
  'extensions', (SELECT coalesce(json_object_agg(e.extname, n.nspname), '{}')
     FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace),
  'access', (SELECT coalesce(json_agg(json_build_object('schema', n.nspname, 'role', r.rolname,
       'usage', EXISTS (SELECT FROM aclexplode(n.nspacl) WHERE grantee = r.oid AND privilege_type = 'USAGE'),
       'granted', ARRAY(SELECT DISTINCT a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
          WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'v', 'm', 'p', 'f', 'S') AND a.grantee = r.oid ORDER BY 1),
       'lacks', ARRAY(SELECT p FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) p WHERE EXISTS (SELECT FROM pg_class c
          WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'v', 'm', 'p', 'f') AND NOT has_table_privilege(r.oid, c.oid, p))),
       'lacks_sequences', EXISTS (SELECT FROM pg_class c
          WHERE c.relnamespace = n.oid AND CASE c.relkind WHEN 'S' THEN NOT has_sequence_privilege(r.oid, c.oid, 'USAGE') ELSE false END),
       'default', ARRAY(SELECT a.privilege_type FROM pg_default_acl d, aclexplode(d.defaclacl) a
          WHERE d.defaclrole = n.nspowner AND d.defaclnamespace = n.oid AND d.defaclobjtype = 'r' AND a.grantee = r.oid ORDER BY 1))),
       '[]') FROM pg_namespace n, pg_roles r WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND r.rolname !~ '^pg_'
       AND NOT r.rolsuper AND r.oid <> n.nspowner))
"""

WRONG_RULES = "SELECT format('line %s: %s', line_number, error) FROM pg_hba_file_rules WHERE error <> ''"


def verifier(password: str, salt: bytes) -> str:
    """The SCRAM verifier of a password (RFC 5803)."""
    plain = unicodedata.normalize("NFKC", password).encode()
    salted = hashlib.pbkdf2_hmac("sha256", plain, salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${ITERATIONS}:{salt64}${stored64}:{server64}"


def matches(password: str, kept: str | None) -> bool:
    """Whether the server's verifier is of this password."""
    found = re.fullmatch(rf"SCRAM-SHA-256\${ITERATIONS}:([^$]+)\$.+", kept or "")
    return found is not None and hmac.compare_digest(verifier(password, base64.b64decode(found[1])), kept or "")


def name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def logins(roles: list[dict[str, Any]], records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """{login: {role, password}} of the records of generations, oldest first."""
    found = {}
    for record in records:
        for role in roles:
            url = urlsplit(record["files"].get(role["service"], {}).get(role["file"], ""))
            if url.username:
                found[unquote(url.username)] = {"role": role, "password": unquote(url.password or "")}
    return found


class Plan:
    """SQL statements, and their descriptions without secrets."""

    def __init__(self) -> None:
        self.actions: list[str] = []
        self.statements: list[str] = []

    def add(self, action: str, *statements: str) -> None:
        self.actions.append(action)
        self.statements += statements


def search_path(role: dict[str, Any], roles: list[dict[str, Any]], access: Access, extensions: list[str]) -> list[str]:
    """The schemas in which a role finds objects by name: its own, those of other roles that it may use, and that of extensions."""
    others = [other["schema"] for other in roles if other["name"] in access.get(role["name"], {})]
    return [role["schema"], *others, *([SCHEMA] if extensions else [])]


def plan_roles(
    state: dict[str, Any],
    roles: list[dict[str, Any]],
    desired: dict[str, dict[str, Any]],
    access: Access | None = None,
    extensions: list[str] | None = None,
) -> Plan:
    """Plan the changes from the existing roles of the cluster (CLUSTER) to the desired ones."""
    plan, existing = Plan(), state["roles"]
    if existing["postgres"]["password"]:
        plan.add("remove the superuser's password", "ALTER ROLE postgres PASSWORD NULL")
    for role in roles:
        role_name = role["name"]
        if role_name not in existing:
            plan.add(f"create role {role_name}", f"CREATE ROLE {name(role_name)} NOLOGIN")
        elif existing[role_name]["login"] and role_name not in desired:
            plan.add(f"disable logins of role {role_name}", f"ALTER ROLE {name(role_name)} NOLOGIN PASSWORD NULL")
        if role_name in existing and existing[role_name]["comment"]:
            # An older Berth stored a hash of the password there, readable by everybody.
            plan.add(f"remove the comment of role {role_name}", f"COMMENT ON ROLE {name(role_name)} IS NULL")
        if role_name in existing:
            _plan_least(plan, role_name, existing[role_name], None)
    for login, spec in desired.items():
        _plan_login(plan, login, spec, existing.get(login), search_path(spec["role"], roles, access or {}, extensions or []))
    stale = [r for r in existing if r not in desired and any(re.fullmatch(rf"{re.escape(role['name'])}_g[0-9]+", r) for role in roles)]
    for login in sorted(stale):
        owner = name(login.rsplit("_g", 1)[0])
        # Its objects belong to the role already, unless the application has reset the role.
        plan.add(
            f"drop login {login}", f"REASSIGN OWNED BY {name(login)} TO {owner}", f"DROP OWNED BY {name(login)}", f"DROP ROLE {name(login)}"
        )
    return plan


def _plan_least(plan: Plan, login: str, existing: dict[str, Any], group: str | None) -> None:
    """Revoke all other attributes and memberships of a role or login, except that in its `group`."""
    if existing["powers"]:
        taken = " ".join(f"NO{power}" for power in existing["powers"])
        plan.add(f"revoke {', '.join(existing['powers']).lower()} from {login}", f"ALTER ROLE {name(login)} {taken}")
    for other in existing["member"]:
        if other != group:
            plan.add(f"revoke the membership of {login} in {other}", f"REVOKE {name(other)} FROM {name(login)}")


def _plan_login(plan: Plan, login: str, spec: dict[str, Any], existing: dict[str, Any] | None, schemas: list[str]) -> None:
    role, password = spec["role"], spec["password"]
    group, limit = name(role["name"]), int(role["connections"])
    settings = [f"search_path={', '.join(schemas)}"]
    if login != role["name"]:
        settings = [f"role={role['name']}", *settings]
    if existing is None:
        attributes = f"LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE INHERIT CONNECTION LIMIT {limit} IN ROLE {group}"
        plan.add(f"create login {login}", f"CREATE ROLE {name(login)} {attributes} PASSWORD {text(verifier(password, os.urandom(16)))}")
    else:
        if not existing["login"] or not matches(password, existing["password"]):
            plan.add(f"set password of {login}", f"ALTER ROLE {name(login)} LOGIN PASSWORD {text(verifier(password, os.urandom(16)))}")
        if existing["limit"] != limit:
            plan.add(f"let {login} hold {limit} connections", f"ALTER ROLE {name(login)} CONNECTION LIMIT {limit}")
        if login != role["name"]:
            _plan_least(plan, login, existing, role["name"])
            if role["name"] not in existing["member"]:
                plan.add(f"make {login} a member of {role['name']}", f"GRANT {group} TO {name(login)}")
    for setting in settings:
        if existing is None or setting not in existing["settings"]:
            key, value = setting.split("=", 1)
            statement = f"ALTER ROLE {name(login)} SET {key} = {', '.join(map(name, value.split(', ')))}"
            if existing is None:
                plan.statements.append(statement)
            else:
                plan.add(f"set {key} of {login}", statement)


def plan_database(
    state: dict[str, Any], database: str, roles: list[dict[str, Any]], access: Access | None = None, extensions: list[str] | None = None
) -> Plan:
    """Plan the changes from the existing schemas and privileges of the database (INSIDE) to the desired ones."""
    plan = Plan()
    for role in roles:
        role_name, schema = role["name"], role["schema"]
        if role_name not in state["granted"]:
            plan.add(f"allow {role_name} to connect", f"GRANT CONNECT, TEMPORARY ON DATABASE {name(database)} TO {name(role_name)}")
        if schema not in state["schemas"]:
            plan.add(f"create schema {schema}", f"CREATE SCHEMA {name(schema)} AUTHORIZATION {name(role_name)}")
        elif state["schemas"][schema] != role_name:
            plan.add(f"change the owner of schema {schema} to {role_name}", f"ALTER SCHEMA {name(schema)} OWNER TO {name(role_name)}")
        creates, may = (access or {}).get(role_name, {}).get(CREATE, False), role_name in (state.get("creators") or [])
        if creates and not may:
            plan.add(f"let {role_name} create schemas", f"GRANT CREATE ON DATABASE {name(database)} TO {name(role_name)}")
        elif may and not creates:
            plan.add(f"let {role_name} create no more schemas", f"REVOKE CREATE ON DATABASE {name(database)} FROM {name(role_name)}")
    for what in state["open"]:
        target = f"DATABASE {name(database)}" if what == "DATABASE" else what
        plan.add(f"revoke public access to {what.lower()}", f"REVOKE ALL ON {target} FROM PUBLIC")
    existing = {(one["role"], one["schema"]): one for one in state.get("access") or []}
    for role in roles:
        for owner in roles:
            if owner is not role:
                level = str((access or {}).get(role["name"], {}).get(owner["name"], ""))
                own = [schema for schema, other in sorted(state["schemas"].items()) if other == owner["name"] and schema != owner["schema"]]
                for schema in (owner["schema"], *own):
                    _plan_access(plan, role["name"], owner | {"schema": schema}, level, existing.get((role["name"], schema), {}))
    _plan_extensions(plan, state, roles, extensions or [], existing)
    return plan


def _plan_extensions(
    plan: Plan, state: dict[str, Any], roles: list[dict[str, Any]], extensions: list[str], existing: dict[tuple[str, str], dict[str, Any]]
) -> None:
    """Plan the extensions and the privileges to use them. One that is not desired any more stays: tables may need it."""
    if not extensions:
        return
    if SCHEMA not in state["schemas"]:
        plan.add(f"create schema {SCHEMA}", f"CREATE SCHEMA {name(SCHEMA)}")
    elif state["schemas"][SCHEMA] != "postgres":
        plan.add(f"change the owner of schema {SCHEMA} to postgres", f"ALTER SCHEMA {name(SCHEMA)} OWNER TO postgres")
    for extension in extensions:
        place = (state.get("extensions") or {}).get(extension)
        if place is None:
            plan.add(f"create extension {extension}", f"CREATE EXTENSION IF NOT EXISTS {name(extension)} SCHEMA {name(SCHEMA)} CASCADE")
        elif place != SCHEMA:
            plan.add(f"move extension {extension} to schema {SCHEMA}", f"ALTER EXTENSION {name(extension)} SET SCHEMA {name(SCHEMA)}")
    for role in roles:
        if not existing.get((role["name"], SCHEMA), {}).get("usage"):
            plan.add(f"let {role['name']} use extensions", f"GRANT USAGE ON SCHEMA {name(SCHEMA)} TO {name(role['name'])}")


def _plan_access(plan: Plan, role: str, owner: dict[str, Any], level: str, existing: dict[str, Any]) -> None:
    """Plan the privileges of `role` on the tables of another role's schema: those of `level`, none if it is empty."""
    schema, to, by = name(owner["schema"]), name(role), name(owner["name"])
    desired = LEVELS.get(level, [])
    granted = set(existing.get("granted") or []) - ({"USAGE"} if level == "write" else set())
    if granted - set(desired) or set(existing.get("default") or []) - set(desired) or (existing.get("usage") and not desired):
        plan.add(
            f"revoke access of {role} to schema {owner['schema']}",
            f"REVOKE ALL ON ALL TABLES IN SCHEMA {schema} FROM {to}",
            f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA {schema} FROM {to}",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {by} IN SCHEMA {schema} REVOKE ALL ON TABLES FROM {to}",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {by} IN SCHEMA {schema} REVOKE ALL ON SEQUENCES FROM {to}",
            f"REVOKE ALL ON SCHEMA {schema} FROM {to}",
        )
        existing = {}
    complete = (
        existing.get("usage")
        and set(existing.get("default") or []) == set(desired)
        and not set(existing.get("lacks") or []) & set(desired)
        and not (level == "write" and existing.get("lacks_sequences"))
    )
    if desired and not complete:
        privileges = ", ".join(desired)
        sequences = [
            f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {schema} TO {to}",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {by} IN SCHEMA {schema} GRANT USAGE ON SEQUENCES TO {to}",
        ]
        plan.add(
            f"let {role} {level} tables in schema {owner['schema']}",
            f"GRANT USAGE ON SCHEMA {schema} TO {to}",
            f"GRANT {privileges} ON ALL TABLES IN SCHEMA {schema} TO {to}",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {by} IN SCHEMA {schema} GRANT {privileges} ON TABLES TO {to}",
            *(sequences if level == "write" else []),
        )


class Server:
    """psql in the server's container, as superuser, by the Unix socket."""

    def __init__(self, module: AnsibleModule, container: str) -> None:
        self.module, self.container = module, container

    def run(self, script: str, database: str = "postgres") -> str:
        psql = ["psql", "-qtAX", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database, "-f", "-"]
        command = ["docker", "exec", "-i", self.container, *psql]
        done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            # psql quotes the failed statement, which may contain a verifier: return only the errors.
            errors = [line for line in done.stderr.splitlines() if "ERROR" in line or "FATAL" in line or "error:" in line]
            self.module.fail_json(msg=f"The database in {self.container} returned: {' '.join(errors)[:500] or done.stderr[-200:]}")
        return done.stdout

    def ask(self, query: str, database: str = "postgres") -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self.run(query, database))
        return result

    def apply(self, plan: Plan, database: str = "postgres") -> None:
        if plan.statements and not self.module.check_mode:
            self.run("BEGIN;\n" + ";\n".join(plan.statements) + ";\nCOMMIT;\n", database)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "container": {"type": "str", "required": True},
            "database": {"type": "str", "required": True},
            "roles": {"type": "list", "elements": "dict", "required": True},
            "access": {"type": "dict", "default": {}},
            # A directory, not a secret.
            "secrets": {"type": "path", "required": True, "no_log": False},
            "extensions": {"type": "list", "elements": "str", "default": []},
            "configuration": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    params: dict[str, Any] = module.params
    database, roles, access, extensions = params["database"], params["roles"], params["access"], params["extensions"]
    if problem := wrong_access(access, [role["name"] for role in roles]):
        module.fail_json(msg=problem)
    if module.check_mode and subprocess.run(["docker", "inspect", params["container"]], capture_output=True, check=False).returncode:
        module.exit_json(changed=True, actions=[f"create database {database}", *(f"create role {role['name']}" for role in roles)])
    server, store = Server(module, params["container"]), Store(Path(params["secrets"]))
    actions: list[str] = []
    state = server.ask(CLUSTER.format(database=text(database)))
    newest = max((path.stat().st_mtime for path in Path(params["configuration"]).iterdir() if path.is_file()), default=0)
    if newest > state["loaded"]:
        actions.append("reload the server's configuration")
        if not module.check_mode:
            server.run("SELECT pg_reload_conf()")
            wrong = server.run(WRONG_RULES)
            if wrong.strip():
                module.fail_json(msg=f"The server refuses pg_hba.conf in {params['configuration']}: {wrong.strip()}")
    if not state["database"]:
        actions.append(f"create database {database}")
        if not module.check_mode:
            server.run(f"CREATE DATABASE {name(database)}")
    plan = plan_roles(state, roles, logins(roles, [store.record(number) for number in store.generations()]), access, extensions)
    # In the roles' database, because DROP OWNED and REASSIGN OWNED apply to one database.
    server.apply(plan, database if state["database"] or not module.check_mode else "postgres")
    actions += plan.actions
    if state["database"] or not module.check_mode:
        inside = plan_database(server.ask(INSIDE, database), database, roles, access, extensions)
        server.apply(inside, database)
        actions += inside.actions
    module.exit_json(changed=bool(actions), actions=actions, diff={"before": "", "after": "".join(f"{action}\n" for action in actions)})


if __name__ == "__main__":
    main()
