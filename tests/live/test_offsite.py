"""Backups that leave the host, in a separate stack with two repositories, a volume and an S3-compatible server: each of five moments is
restored exactly, beside and into place; nothing in a repository is readable without the passphrase; a missing WAL segment is told."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, docker, verb

STACK = "berth-offsite"
STATE = Path("/var/lib") / STACK
OUTSIDE, SERVER, NAME, PORT = f"{STACK}-outside", f"{STACK}-s3", "s3.test", 9000
PACKAGES = next((ROOT / ".venv-s3/lib").glob("python3.*/site-packages"))
LIBRARIES = f"/usr/lib/{platform.machine()}-linux-gnu"
CANARY = "kanarienvogel"
KEYS = {"SECRET_BACKUP_S3_KEY": "offsite-key-1", "SECRET_BACKUP_S3_KEY_SECRET": "offsite-secret-1"}
# moto keeps objects in memory; at /buckets it has a page of all that is readable.
PROGRAM = f"""
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
server = Server(("0.0.0.0", {PORT}), DomainDispatcherApplication(create_backend_app), numthreads=16)
server.ssl_adapter = BuiltinSSLAdapter("/tls/tls.crt", "/tls/tls.key")
server.start()
"""
CLIENT = f"""
import sys, boto3
s3 = boto3.client("s3", endpoint_url="https://{NAME}:{PORT}", verify="/tls/tls.crt", aws_access_key_id="k", aws_secret_access_key="s",
    region_name="us-east-1")
what, *words = sys.argv[1:]
if what == "create":
    s3.create_bucket(Bucket="berth")
else:
    keys = [one["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="berth") for one in page["Contents"]]
    if what == "search":
        bodies = [s3.get_object(Bucket="berth", Key=key)["Body"].read() for key in keys]
        print(len(bodies), sum(word.encode() in body for body in bodies for word in words))
    for key in keys if what == "remove" else ():
        if words[0] in key:
            s3.delete_object(Bucket="berth", Key=key)
            print(key)
"""


class Offsite:
    """The stack with its repositories."""

    def __init__(self, folder: Path) -> None:
        self.variables = {
            "backup_repositories": [
                {"type": "volume"},
                {
                    "type": "s3", "endpoint": NAME, "port": PORT, "bucket": "berth", "region": "us-east-1", "path_style": True,
                    "ca_file": str(folder / "tls/tls.crt"),
                },
            ],
            "backup_schedule": {"full": "0 1 * * 0", "differential": "", "check": "0 4 * * 0"},
            "release_monitor_seconds": 0,
        }  # fmt: skip
        self.environment = KEYS | {
            "STACK_NAME": STACK,
            "LOCAL_DIR": str(folder / "local"),
            "HTTPS_PORT": os.environ.get("OFFSITE_HTTPS_PORT", "18743"),
            "HTTP_PORT": os.environ.get("OFFSITE_HTTP_PORT", "18780"),
        }
        self.folder = folder

    def run(self, command: str, status: int = 0, **environment: str) -> str:
        words = ["-e", "teardown_confirm=" + STACK] if command == "destroy" else ["-e", json.dumps(self.variables)]
        done = verb(command, *words, **self.environment, **environment)
        output = done.stdout + done.stderr
        assert done.returncode == status, f"{command}: {output[-4000:]}"
        return output

    def s3(self, *words: str) -> str:
        return docker("exec", SERVER, "python3", "-c", CLIENT, *words)


def sql(text: str, database: str = "app") -> str:
    return docker("exec", f"{STACK}-database", "psql", "-qtAX", "-U", "postgres", "-d", database, "-c", text)


def moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.fixture(scope="module")
def offsite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offsite]:
    folder = tmp_path_factory.mktemp("offsite")
    (folder / "tls").mkdir()
    certificate = ["-keyout", "tls.key", "-out", "tls.crt", "-days", "2", "-subj", "/CN=s3", "-addext", f"subjectAltName=DNS:{NAME}"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *certificate]
    subprocess.run(command, cwd=folder / "tls", check=True, capture_output=True)
    (folder / "tls/tls.key").chmod(0o644)
    made = Offsite(folder)
    docker("network", "create", "--label", f"berth.test={STACK}", OUTSIDE)
    try:
        # A repository that cannot be reached keeps no release from being deployed.
        assert "repositories of backups cannot be used now" in " ".join(made.run("deploy").split())
        image = docker("inspect", "--format", "{{.Image}}", f"{STACK}-backup")
        labels = ["--label", f"berth.test={STACK}", "--label", "berth.stack=", "--label", "berth.service="]
        mounts = ["--volume", f"{folder}/tls:/tls:ro", "--volume", f"{PACKAGES}:/packages:ro", "--env", "PYTHONPATH=/packages"]
        # Which wheels ask for and the image has not: empty libraries of glibc, of the same Debian release.
        for stub in ("libpthread.so.0", "libdl.so.2", "librt.so.1", "libutil.so.1"):
            mounts += ["--volume", f"{LIBRARIES}/{stub}:{LIBRARIES}/{stub}:ro"]
        docker(
            "run", "--detach", "--name", SERVER, *labels, *mounts, "--network", OUTSIDE, "--network-alias", NAME, "--env", "HOME=/tmp",
            "--env", "S3_IGNORE_SUBDOMAIN_BUCKETNAME=true",
            "--no-healthcheck", "--entrypoint", "python3", image, "-c", PROGRAM,
        )  # fmt: skip
        docker("network", "connect", OUTSIDE, f"{STACK}-egress-database-backup")
        for _ in range(100):
            if not subprocess.run(
                ["docker", "exec", SERVER, "python3", "-c", CLIENT, "create"], capture_output=True, check=False
            ).returncode:
                break
            time.sleep(0.3)
        yield made
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", SERVER], capture_output=True, check=False)
        made.run("destroy")
        docker("network", "rm", OUTSIDE)


@pytest.fixture(scope="module")
def written(offsite: Offsite) -> list[float]:
    """When each of 1,000 rows was acknowledged, in their order, after a full backup."""
    assert "make full backup" in offsite.run("backup", BERTH_TYPE="full", BERTH_WHY="first")
    sql(f"CREATE TABLE moments (i int PRIMARY KEY, t text); INSERT INTO moments VALUES (-1, '{CANARY}')")
    program = (
        "import subprocess, time\n"
        "p = subprocess.Popen(['psql', '-qtAX', '-U', 'postgres', 'app'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)\n"
        "for i in range(1000):\n"
        f"    p.stdin.write(f\"INSERT INTO moments VALUES ({{i}}, '{CANARY}') RETURNING i;\\n\"); p.stdin.flush()\n"
        "    assert p.stdout.readline().strip() == str(i); print(time.time(), flush=True); time.sleep(0.01)\n"
    )
    times = [float(line) for line in docker("exec", f"{STACK}-database", "python3", "-c", program).split()]
    assert len(times) == 1000
    return times


@pytest.mark.parametrize("row", [0, 200, 499, 750, 999])
def test_each_moment_is_restored_with_exactly_the_rows_acknowledged_before_it(row: int, offsite: Offsite, written: list[float]) -> None:
    at = written[row] + (0.004 if row < 999 else 0.5)
    offsite.run("restore", BERTH_AT=moment(at), BERTH_INTO=f"then_{row}")
    try:
        rows = [int(line) for line in sql("SELECT i FROM moments WHERE i >= 0 ORDER BY i", f"then_{row}").split()]
        assert rows == [i for i, when in enumerate(written) if when <= at]
    finally:
        sql(f"DROP DATABASE then_{row}", "postgres")


def test_nothing_in_a_repository_is_readable_without_the_passphrase(offsite: Offsite, written: list[float]) -> None:
    offsite.run("backup", BERTH_TYPE="full")
    count, found = offsite.s3("search", CANARY, "moments", "backend_g1").split()
    assert int(count) > 10 and found == "0"
    kept = json.loads(docker("volume", "inspect", f"{STACK}-backups"))[0]["Mountpoint"]
    files = [path for path in Path(kept).rglob("*") if path.is_file()]
    assert len(files) > 10 and not [path for path in files if CANARY.encode() in path.read_bytes()]


def test_no_secret_is_in_the_environment_or_in_the_list_of_processes(offsite: Offsite) -> None:
    passphrase = (offsite.folder / "local/backup-passphrase").read_text().strip()
    shown = "".join(docker("inspect", f"{STACK}-{name}") + docker("top", f"{STACK}-{name}") for name in ("database", "backup"))
    assert passphrase and not [secret for secret in (passphrase, *KEYS.values()) if secret in shown]


def test_a_restore_into_place_asks_first_and_can_be_taken_back(offsite: Offsite, written: list[float]) -> None:
    at = moment(written[99] + 0.004)
    assert f"CONFIRM={STACK}" in offsite.run("restore", 2, BERTH_AT=at)
    assert sql("SELECT count(*) FROM moments WHERE i >= 0") == "1000"
    output = offsite.run("restore", BERTH_AT=at, BERTH_CONFIRM=STACK)
    assert sql("SELECT count(*) FROM moments WHERE i >= 0") == "100"
    back = re.findall(r"To go back .*? AT=(\S+)", output)[0]
    offsite.run("restore", BERTH_AT=back, BERTH_CONFIRM=STACK)
    assert sql("SELECT count(*) FROM moments WHERE i >= 0") == "1000"


def test_the_newest_backup_is_checked_and_status_and_audit_have_it(offsite: Offsite) -> None:
    assert "identical with the database in use" in offsite.run("backup-check")
    status = offsite.run("status")
    assert "backups: repository 1: " in status and "; repository 2: " in status and "WAL: archived" in status and "last check" in status
    audit = [json.loads(line) for line in (STATE / "audit.jsonl").read_text().splitlines()]
    assert [(line["verb"], line["outcome"]) for line in audit[-1:]] == [("backup-check", "ok")]
    assert "repository" in offsite.run("backups")


def test_a_missing_wal_segment_is_told_with_the_last_moment_that_can_be_restored(offsite: Offsite) -> None:
    offsite.run("backup")
    times: list[Any] = []
    for i in range(2000, 2003):
        sql(f"INSERT INTO moments VALUES ({i}, 'x')")
        times.append(time.time())
        segment = sql("SELECT pg_walfile_name(pg_switch_wal())")
        for _ in range(300):
            if sql("SELECT last_archived_wal FROM pg_stat_archiver") >= segment:
                break
            time.sleep(0.1)
        times[-1] = (times[-1], segment)
    lost = times[1][1]
    assert lost in offsite.s3("remove", lost)
    kept = json.loads(docker("volume", "inspect", f"{STACK}-backups"))[0]["Mountpoint"]
    for path in Path(kept).rglob(f"{lost}*"):
        path.unlink()
    output = " ".join(offsite.run("restore", 2, BERTH_AT=moment(times[2][0] + 0.2), BERTH_INTO="gap").split())
    assert "the repositories have no complete WAL up to it" in output
    reachable = re.findall(r"The last moment that can be restored: .*? AT=(\S+)", output)[0]
    offsite.run("restore", BERTH_AT=reachable.strip(".,\"'"), BERTH_INTO="gap")
    assert sql("SELECT count(*) FROM moments WHERE i IN (2000, 2002)", "gap") in ("0", "1")
    assert "WAL is missing" in " ".join(offsite.run("backup-check", 2).split())


def test_without_repositories_the_timer_and_the_relay_are_gone(offsite: Offsite) -> None:
    before = offsite.variables.pop("backup_repositories")
    offsite.run("deploy")
    names = docker("ps", "--all", "--format={{.Names}}", f"--filter=label=berth.stack={STACK}").split()
    assert f"{STACK}-database" in names and not {f"{STACK}-backup", f"{STACK}-egress-database-backup"} & set(names)
    assert sql("SHOW archive_mode") == "off"
    offsite.variables["backup_repositories"] = before
