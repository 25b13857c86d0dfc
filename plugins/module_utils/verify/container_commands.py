"""What is asked inside a stack's containers: versions, whether the neighbours answer, the database. Each answer is one JSON object."""

from __future__ import annotations

import json
from typing import Any

from ..docker.client import Engine, EngineError

# Asked in the backend and the frontend: versions, and whether the neighbours answer.
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
let framework = "";
try { framework = require("module").createRequire(process.cwd() + "/")("next/package.json").version; } catch {}
Promise.all(process.argv.slice(1).map(one)).then((r) =>
  console.log(JSON.stringify({runtime: process.versions.node, framework, reach: Object.fromEntries(r)})));
"""
ASK_DATABASE = """
SELECT json_build_object(
  'version', current_setting('server_version'), 'max_connections', current_setting('max_connections')::int,
  'password_encryption', current_setting('password_encryption'),
  'roles', (SELECT json_agg(json_build_object('name', rolname, 'super', rolsuper, 'limit', rolconnlimit,
     'password', rolpassword IS NOT NULL, 'schemas', ARRAY(SELECT nspname FROM pg_namespace n
        WHERE has_schema_privilege(a.oid, n.oid, 'USAGE') AND nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'extensions'))))
     FROM pg_authid a WHERE rolcanlogin),
  'connections', (SELECT json_agg(json_build_object('user', usename, 'application', application_name, 'state', state,
     'remote', client_addr IS NOT NULL, 'tls', coalesce(s.version, ''), 'seconds', extract(epoch FROM now() - xact_start)))
     FROM pg_stat_activity LEFT JOIN pg_stat_ssl s USING (pid) WHERE usename IS NOT NULL AND pid <> pg_backend_pid()),
  'rules', (SELECT json_agg(json_build_object('type', type, 'users', user_name, 'method', auth_method)) FROM pg_hba_file_rules),
  'tables', (SELECT count(*) FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')),
  'deadlocks', (SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()))
"""


CONNECTED = """SELECT usename AS "user", application_name AS application, client_addr IS NOT NULL AS remote, coalesce(s.version, '') AS tls
FROM pg_stat_activity LEFT JOIN pg_stat_ssl s USING (pid) WHERE usename IS NOT NULL AND pid <> pg_backend_pid()"""
ASK_CONNECTIONS = f"SELECT coalesce(jsonb_agg(c), '[]') FROM ({CONNECTED}) c"
# The same, as seen in the course of two seconds.
WATCH_CONNECTIONS = (
    f"CREATE TEMPORARY TABLE seen AS {CONNECTED} LIMIT 0",
    f"""DO $$ DECLARE ends timestamptz := clock_timestamp() + interval '2 s'; BEGIN
  WHILE clock_timestamp() < ends LOOP
    PERFORM pg_stat_clear_snapshot();
    INSERT INTO seen {CONNECTED} EXCEPT SELECT * FROM seen;
    PERFORM pg_sleep(0.002);
  END LOOP; END $$""",
    "SELECT coalesce(jsonb_agg(seen), '[]') FROM seen",
)


def exit_status(engine: Engine, identity: str, command: list[str], environment: list[str]) -> int | None:
    """Run a command inside with more environment; None when it cannot be run."""
    try:
        return engine.execute(identity, command, timeout=20, environment=environment)[0]
    except EngineError:
        return None


def _ask(engine: Engine, identity: str, command: list[str]) -> dict[str, Any]:
    try:
        status, output = engine.execute(identity, command)
        return json.loads(output) if status == 0 else {"error": output[-300:]}
    except (EngineError, ValueError) as error:
        return {"error": str(error)[:300]}


def ask_backend(engine: Engine, identity: str, ports: dict[str, int], outside: list[str]) -> dict[str, Any]:
    """`ports`: of backend and frontend. `outside`: HOST:PORT outside the stack to try besides."""
    return _ask(engine, identity, ["python3", "-c", ASK_PYTHON, "database:5432", f"frontend:{ports['frontend']}", "model:8000", *outside])


def ask_frontend(engine: Engine, identity: str, ports: dict[str, int], outside: list[str]) -> dict[str, Any]:
    return _ask(engine, identity, ["node", "-e", ASK_NODE, "database:5432", f"backend:{ports['backend']}", *outside])


def unlisted(targets: list[str]) -> str:
    """A host outside the stack, HOST:PORT, that is not among `targets`."""
    names = {target.rpartition(":")[0] for target in targets}
    return next(f"{name}:443" for name in ("example.com", "example.org", "example.net", "example.edu") if name not in names)


def ask_database(engine: Engine, database: dict[str, Any]) -> dict[str, Any]:
    """`database` names its `container` and `name`; of none, nothing is asked."""
    if not database:
        return {}
    return _ask(engine, database["container"], ["psql", "-tAX", "-U", "postgres", "-d", database["name"], "-c", ASK_DATABASE])
