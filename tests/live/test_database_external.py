"""A stack whose database is outside: a PostgreSQL of this host with TLS, which the stack uses, backs up, and leaves alone at its end."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, docker

BINARIES = Path(os.environ.get("POSTGRES_BINARIES", "/usr/lib/postgresql/15/bin"))
STACK = f"{os.environ.get('STACK_NAME', 'berth')}-out"
HTTPS, NAME = 18471, "db.example.test"
with socket.create_server(("0.0.0.0", 0)) as free:
    PORT = free.getsockname()[1]
STATE, LOCAL = Path("/var/lib") / STACK, ROOT / ".local" / STACK
URL = f"https://localhost:{HTTPS}"
PASSWORDS = {use: f"word of {use} @:/%" for use in ("backend", "frontend", "backend_migration", "backup")}
# What an administrator does: the backend's tables belong to the login of its migrations, the frontend's to its own.
SETUP = f"""
CREATE ROLE shop_backend LOGIN PASSWORD '{PASSWORDS["backend"]}';
CREATE ROLE shop_frontend LOGIN PASSWORD '{PASSWORDS["frontend"]}';
CREATE ROLE shop_owner LOGIN PASSWORD '{PASSWORDS["backend_migration"]}';
CREATE ROLE shop_dump LOGIN PASSWORD '{PASSWORDS["backup"]}' IN ROLE pg_read_all_data, shop_owner, shop_frontend;
CREATE SCHEMA backend AUTHORIZATION shop_owner;
CREATE SCHEMA auth AUTHORIZATION shop_frontend;
GRANT USAGE ON SCHEMA backend TO shop_backend;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA backend GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO shop_backend;
ALTER DEFAULT PRIVILEGES FOR ROLE shop_owner IN SCHEMA backend GRANT USAGE ON SEQUENCES TO shop_backend;
ALTER ROLE shop_backend SET search_path = backend;
ALTER ROLE shop_owner SET search_path = backend;
ALTER ROLE shop_frontend SET search_path = auth;
"""


class Server:
    """The PostgreSQL outside."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.user = directory, "postgres" if os.geteuid() == 0 else None

    def run(self, program: str, *arguments: str) -> None:
        # The log of a server that stays is not read here: nobody would close it.
        command = [str(BINARIES / program), "-D", str(self.directory / "data"), *arguments]
        subprocess.run(command, check=True, user=self.user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.directory)

    def sql(self, text: str, database: str = "shop") -> str:
        place = ["-h", self.directory, "-p", str(PORT), "-U", "postgres", "-d", database]
        command = [BINARIES / "psql", "-qtAX", "-v", "ON_ERROR_STOP=1", *place, "-f", "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def authority(place: Path, name: str) -> None:
    """An authority (NAME-ca.pem), and a certificate of it for the server's name (NAME.pem, NAME.key)."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-days", "3", "-subj", f"/CN={name} authority", "-keyout", f"{name}-ca.key", "-out", f"{name}-ca.pem")
    openssl("req", *key, "-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
    signed = ["-CA", f"{name}-ca.pem", "-CAkey", f"{name}-ca.key", "-CAcreateserial", "-copy_extensions", "copy", "-days", "3"]
    openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    if not (BINARIES / "initdb").exists():
        pytest.skip("PostgreSQL is not installed")
    # Not pytest's own directory, which each session closes to other users: the server runs as one.
    with tempfile.TemporaryDirectory(prefix="berth-outside-", ignore_cleanup_errors=True) as directory:
        place = Path(directory)
        place.chmod(0o755)
        for name in ("right", "wrong"):
            authority(place, name)
        found = Server(place)
        if found.user:
            subprocess.run(["chown", "-R", found.user, directory], check=True)
        found.run("initdb", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync")
        (place / "data/pg_hba.conf").write_text("local all postgres trust\nhostssl shop all all scram-sha-256\n")
        tls = f"-c ssl=on -c ssl_cert_file={place}/right.pem -c ssl_key_file={place}/right.key -c ssl_min_protocol_version=TLSv1.3"
        options = f"-k {place} -p {PORT} -c listen_addresses=* -c fsync=off {tls}"
        found.run("pg_ctl", "-l", str(place / "log"), "-w", "-o", options, "start")
        try:
            found.sql("CREATE DATABASE shop", "postgres")
            found.sql(SETUP)
            yield found
        finally:
            found.run("pg_ctl", "-m", "immediate", "-w", "stop")


def settings(server: Server, **changes: Any) -> dict[str, Any]:
    address = docker("network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "bridge")
    users = {"backend": "shop_backend", "frontend": "shop_frontend", "backend_migration": "shop_owner", "backup": "shop_dump"}
    given = {"address": NAME, "hostaddr": address, "port": PORT, "name": "shop", "users": users}
    return {"database_external": given | {"ca_file": str(server.directory / "right-ca.pem")} | changes}


def call(server: Server, name: str, *words: str, change: dict[str, Any] | None = None, **environment: str) -> tuple[int, str]:
    """A command of this stack; (exit status, output)."""
    own = {"STACK_NAME": STACK, "HTTPS_PORT": str(HTTPS), "HTTP_PORT": "18472", "LOCAL_DIR": str(LOCAL), "BERTH_OUTPUT": "plain"}
    secrets = {f"SECRET_{use.upper()}_PASSWORD": word for use, word in PASSWORDS.items()}
    command = [str(ROOT / ".venv/bin/ansible-playbook"), f"playbooks/{name}.yml", "-e", json.dumps(settings(server, **(change or {})))]
    variables = os.environ | own | secrets | environment
    done = subprocess.run([*command, *words], cwd=ROOT, env=variables, capture_output=True, text=True, timeout=1200, check=False)
    return done.returncode, done.stdout + done.stderr


def containers() -> set[str]:
    return set(docker("ps", "--all", "--format={{.Names}}", f"--filter=label=berth.stack={STACK}").split())


def sign_up(email: str) -> int:
    body = json.dumps({"name": "Out", "email": email, "password": "a password of 16 characters"}).encode()
    request = urllib.request.Request(f"{URL}/api/auth/sign-up/email", body, {"Content-Type": "application/json", "Origin": URL})
    with urllib.request.urlopen(request, timeout=30, context=ssl.create_default_context(cafile=LOCAL / "edge-ca.crt")) as answer:
        return int(answer.status)


def test_a_certificate_of_another_authority_is_refused_before_anything(server: Server) -> None:
    status, output = call(server, "deploy", change={"ca_file": str(server.directory / "wrong-ca.pem")})
    assert status == 2 and f"The certificate of the database at {NAME}:{PORT}" in output and "Nothing was changed" in output
    status, output = call(server, "deploy", change={"address": "other.example.test"})
    assert status == 2 and "Hostname mismatch" in output
    assert containers() == set() and not docker("volume", "ls", "--quiet", f"--filter=label=berth.stack={STACK}")


@pytest.fixture(scope="module")
def stack(server: Server) -> Iterator[Server]:
    """The stack with its database outside. Destroyed at the end, where no test did."""
    try:
        status, output = call(server, "up")
        assert status == 0, output[-6000:]
        yield server
    finally:
        if containers():
            call(server, "destroy", "-e", f"teardown_confirm={STACK}")


def test_the_stack_has_no_database_and_uses_the_one_outside_with_tls(stack: Server) -> None:
    release = (STATE / "current").read_text().strip()
    relays = {f"{STACK}-egress-{service}-{release}" for service in ("backend", "frontend")}
    assert containers() == {f"{STACK}-edge", f"{STACK}-model", f"{STACK}-backend-{release}", f"{STACK}-frontend-{release}"} | relays
    assert sign_up("one@example.com") == 200
    assert stack.sql("SELECT count(*) FROM auth.user WHERE email = 'one@example.com'") == "1"
    assert stack.sql("SELECT count(*) > 0 FROM backend.alembic_version") == "t"
    query = "SELECT DISTINCT usename || ' ' || ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE usename ~ '^shop' ORDER BY 1"
    assert {"shop_backend true", "shop_frontend true"} <= set(stack.sql(query).splitlines())
    # Migrations ran as their own login, whose password no running service has.
    assert stack.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'backend'") == "shop_owner"
    kept = [path.read_text() for path in STATE.glob("secrets/*/backend/*")]
    assert kept and not any(PASSWORDS["backend_migration"] in text or "shop_owner" in text for text in kept)


def test_a_second_run_has_nothing_to_do_and_the_status_names_the_database(stack: Server) -> None:
    status, output = call(stack, "deploy")
    assert status == 0 and "nothing has changed since the last run" in output, output[-3000:]
    assert f"database: shop at {NAME}:{PORT}, outside the stack" in call(stack, "status")[1]


def test_the_verification_says_what_is_not_applicable(stack: Server) -> None:
    status, output = call(stack, "verify")
    assert status == 0, output[-6000:]
    report = json.loads((ROOT / "reports" / STACK / "latest/acceptance.json").read_text())
    results = {result["id"]: result for result in report["criteria"]}
    assert results["SSEC-05"]["status"] == "pass"
    for criterion in ("VAL-05", "SBE-06", "RISK-01", "ENV-08"):
        assert results[criterion]["status"] == "not applicable" and NAME in results[criterion]["evidence"]


def test_a_login_that_cannot_connect_is_named_and_nothing_is_changed(stack: Server) -> None:
    before = containers()
    status, output = call(stack, "deploy", SECRET_BACKEND_PASSWORD="not the right password")
    assert status == 2 and "backend: " in output and "password authentication failed" in output and "were not changed" in output
    assert "not the right password" not in output
    assert containers() == before and sign_up("two@example.com") == 200
    status, output = call(stack, "deploy")
    assert status == 0, output[-3000:]


def test_the_services_reach_this_database_alone(stack: Server) -> None:
    backend = next(name for name in containers() if "-backend-" in name and "egress" not in name)
    gateway = settings(stack)["database_external"]["hostaddr"]
    program = f"import socket; socket.create_connection(({gateway!r}, {PORT}), 3)"
    done = subprocess.run(["docker", "exec", backend, "python3", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode and "unreachable" in done.stderr, "by its address there is no way, only by the relay of its name"
    program = f"import socket; socket.create_connection(({NAME!r}, {PORT}), 3)"
    subprocess.run(["docker", "exec", backend, "python3", "-c", program], check=True)


def test_passwords_are_not_rotated(stack: Server) -> None:
    status, output = call(stack, "rotate", BERTH_SECRET="backend_password")
    assert status == 2 and "backend_password: the logins are those of a database outside the stack" in output, output[-2000:]
    status, output = call(stack, "rotate", BERTH_SECRET="better_auth_secret")
    assert status == 0, output[-3000:]


def test_a_backup_is_made_there_and_restored_when_confirmed(stack: Server) -> None:
    status, output = call(stack, "backup", BERTH_WHY="outside")
    assert status == 0, output[-3000:]
    kept = max(STATE.glob("backups/*-outside"))
    listed = subprocess.run([BINARIES / "pg_restore", "-l", kept / "database.dump"], capture_output=True, text=True, check=False)
    # An older pg_restore does not read the archives of a later one.
    assert listed.returncode == 0 or "unsupported version" in listed.stderr
    stack.sql("DELETE FROM auth.session; DELETE FROM auth.account; DELETE FROM auth.user WHERE email = 'one@example.com'")
    for environment in ({}, {"BERTH_CONFIRM": STACK}, {"BERTH_INTO": "copy"}):
        status, output = call(stack, "restore", BERTH_BACKUP=kept.name, **environment)
        assert status == 2 and f"{NAME}" in output and "Nothing was changed" in output
    assert stack.sql("SELECT count(*) FROM auth.user WHERE email = 'one@example.com'") == "0"
    status, output = call(stack, "restore", BERTH_BACKUP=kept.name, BERTH_CONFIRM=NAME)
    assert status == 0, output[-3000:]
    assert stack.sql("SELECT count(*) FROM auth.user WHERE email = 'one@example.com'") == "1"
    # Owners and privileges are as before.
    assert stack.sql("SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'backend'") == "shop_owner"
    assert sign_up("three@example.com") == 200


def test_a_rollback_uses_the_same_database(stack: Server) -> None:
    before = (STATE / "current").read_text().strip()
    status, output = call(stack, "deploy", "-e", json.dumps({"backend_image_extra_environment": {"LATER": "yes"}}))
    assert status == 0, output[-3000:]
    assert (STATE / "current").read_text().strip() != before
    status, output = call(stack, "rollback")
    assert status == 0, output[-3000:]
    assert (STATE / "current").read_text().strip() == before and sign_up("four@example.com") == 200


def test_the_end_of_the_stack_leaves_the_database_alone(stack: Server) -> None:
    status, output = call(stack, "destroy", "-e", f"teardown_confirm={STACK}")
    assert status == 0, output[-3000:]
    assert containers() == set() and not STATE.exists()
    assert stack.sql("SELECT string_agg(email, ' ' ORDER BY email) FROM auth.user WHERE name = 'Out'") == (
        "four@example.com one@example.com three@example.com two@example.com"
    )
    deadline = time.monotonic() + 10
    while stack.sql("SELECT count(*) FROM pg_stat_activity WHERE usename ~ '^shop'") != "0":
        assert time.monotonic() < deadline, "somebody is still connected"
        time.sleep(0.5)
