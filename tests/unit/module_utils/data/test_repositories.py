"""backup_repositories: what is refused, and what follows for pgBackRest's configuration, containers, secrets and connections."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.berth.stack.plugins.filter.repositories import (
    backup_services,
    moment_lines,
    repositories_text,
    repository_files,
    repository_line,
    with_repositories,
)
from ansible_collections.berth.stack.plugins.module_utils.data.repositories import (
    egress,
    problems,
    secret_schema,
    volumes,
    with_policy,
)
from ansible_collections.berth.stack.plugins.module_utils.docker.spec import container_body

S3 = {"type": "s3", "endpoint": "s3.example.com", "bucket": "berth", "region": "eu"}
VOLUME = {"type": "volume"}
DIRECTORY = {"type": "directory", "path": "/mnt/nas"}
SETTINGS = {"retention": {"full": 2, "differential": 5}, "wal_limit": "4GiB"}
SERVICE = {
    "name": "s-database", "service": "database", "repository": "s-database", "tag": "t", "user": "70:70", "networks": [{"name": "s-data"}],
    "mounts": [{"type": "volume", "source": "s-database", "target": "/var/lib/postgresql/data"}], "command": ["-c", "max_connections=9"],
}  # fmt: skip
GIVEN = {
    "stack": "s", "secrets": "/s/secrets", "directory": "/s/backup", "memory": "512m", "timezone": "UTC", "database": "app",
    "schedule": {"full": "0 1 * * 0", "differential": "", "check": "0 4 * * *"}, "archive_timeout": 60,
}  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("s3", "must be a list"),
        ([{"type": "ftp"}], "none of volume, directory, s3"),
        (["s3"], "none of volume"),
        ([{"type": "s3", "endpoint": "s3.example.com"}], "requires bucket, region"),
        ([S3 | {"endpoint": "https://s3.example.com"}], "no name of a host"),
        ([S3 | {"endpoint": "10.0.0.1"}], "no name of a host"),
        ([S3 | {"port": 0}], ".port"),
        ([S3 | {"port": "x"}], ".port"),
        ([S3 | {"bucket": "A"}], ".bucket"),
        ([S3 | {"path": "x"}], ".path"),
        ([S3 | {"region": "a\nb"}], "has a space or a brace"),
        ([S3 | {"region": "{backup_passphrase}"}], "has a space or a brace"),
        ([S3 | {"credentials": "A-B"}], ".credentials"),
        ([S3 | {"key": "AKIA"}], "has no key key"),
        ([{"type": "directory", "path": "nas"}], "an absolute path"),
        ([VOLUME, VOLUME], "one volume"),
    ],
)
def test_what_no_repository_can_be_is_refused_by_name(given: Any, words: str) -> None:
    assert words in "\n".join(problems(given, "hosts"))


def test_repositories_are_valid_on_hosts_and_not_on_a_swarm() -> None:
    listed = [VOLUME, DIRECTORY, S3 | {"port": 9000, "path_style": True, "path": "/x"}]
    assert problems(listed, "hosts") == []
    assert "Swarm" in problems(listed, "swarm")[0]
    assert problems([], "swarm") == []


def test_without_repositories_nothing_changes() -> None:
    assert with_repositories(SERVICE, [], GIVEN) is SERVICE
    assert backup_services(SERVICE, [], GIVEN) == volumes([], "s") == []
    assert secret_schema([]) == egress([]) == repository_files([], "s", SETTINGS) == {}
    assert with_policy({"database": {}}, []) == {"database": {}}


def test_everything_in_each_repository_is_encrypted_and_no_secret_is_in_the_text() -> None:
    text = repository_files([VOLUME, DIRECTORY, S3], "s", SETTINGS)["pgbackrest.conf"]
    for number in (1, 2, 3):
        assert f"repo{number}-cipher-type=aes-256-cbc\nrepo{number}-cipher-pass={{backup_passphrase}}\n" in text
        assert f"repo{number}-retention-full=2\nrepo{number}-retention-diff=5\n" in text
    assert "repo3-s3-key={backup_s3_key}\nrepo3-s3-key-secret={backup_s3_key_secret}\n" in text
    assert [f"repo{n}-path={path}" in text for n, path in ((1, "/var/lib/pgbackrest/s"), (2, "/var/lib/pgbackrest-2/s"), (3, "/s"))] == [
        True
    ] * 3
    assert set(secret_schema([VOLUME, S3, S3 | {"credentials": "other"}])) == {
        "backup_passphrase", "backup_s3_key", "backup_s3_key_secret", "other_key", "other_key_secret",
    }  # fmt: skip


def test_a_certificate_of_the_controller_is_given_to_the_containers(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("CERTIFICATE")
    files = repository_files([VOLUME, S3 | {"ca_file": str(tmp_path / "ca.crt")}], "s", SETTINGS)
    assert files["repository-2.crt"] == "CERTIFICATE"
    assert "repo2-storage-ca-file=/run/secrets/repository-2.crt" in files["pgbackrest.conf"]
    with pytest.raises(AnsibleFilterError, match=r"gone\.crt cannot be read"):
        repository_files([S3 | {"ca_file": str(tmp_path / "gone.crt")}], "s", SETTINGS)


def test_the_database_reaches_the_hosts_of_its_repositories_and_no_others() -> None:
    assert egress([VOLUME, DIRECTORY]) == {}
    assert egress([S3, S3 | {"bucket": "two", "path_style": True, "port": 9000}]) == {
        "database": ["berth.s3.example.com:443", "s3.example.com:9000"]
    }
    made = with_repositories(SERVICE, [S3], GIVEN)
    assert made["networks"][1] == {"name": "s-egress-database", "links": {"berth.s3.example.com": "s-egress-database-backup"}}
    relay, timer = backup_services(SERVICE, [S3], GIVEN)
    assert relay["name"] == "s-egress-database-backup" and relay["entrypoint"][-1] == "berth.s3.example.com:443"
    assert timer["networks"] == made["networks"][1:]
    assert with_policy({}, [S3])["backup"]["needs"] == ["egress-database"]


def test_the_database_archives_its_wal_and_what_an_operator_set_is_kept() -> None:
    made = with_repositories(SERVICE | {"command": ["-c", "archive_timeout=5"]}, [VOLUME], GIVEN)
    assert "archive_mode=on" in made["command"] and [word for word in made["command"] if "archive_timeout" in word] == ["archive_timeout=5"]
    assert made["init"] is True and made["secrets"] == "/s/secrets"
    assert made["mounts"][-1] == {"type": "volume", "source": "s-backups", "target": "/var/lib/pgbackrest"}


def test_the_timer_has_a_job_for_each_schedule_and_cannot_write_the_database() -> None:
    (timer,) = backup_services(SERVICE, [VOLUME, DIRECTORY], GIVEN)
    jobs = json.loads(timer["entrypoint"][-1])["jobs"]
    assert {name: job["command"][4:6] for name, job in jobs.items()} == {
        "backup-full": ["backup", "full"],
        "backup-check": ["check", "app"],
    }
    assert timer["mounts"][0] == {"type": "volume", "source": "s-database", "target": "/var/lib/postgresql/data", "read_only": True}
    # The engine takes no argument and no variable that is longer.
    words = [*timer["entrypoint"], *(f"{name}={value}" for name, value in timer["environment"].items())]
    assert max(map(len, words)) < 120_000
    spec = {key: value for key, value in timer.items() if key not in ("service", "repository", "tag", "secrets")}
    assert container_body(spec | {"image": "i"}, {"Id": "i"})["User"] == "70:70"


def test_backups_are_listed_with_the_first_moment_that_can_be_restored() -> None:
    one = {
        "label": "20261127-120000F",
        "type": "full",
        "repository": 1,
        "start": 0,
        "stop": 1795780800,
        "bytes": 5e6,
        "stored": 1e6,
        "why": "w",
    }
    text = repositories_text({"backups": [one, one | {"label": "20261128-120000F_D", "type": "diff", "stop": 1795867200}]}, "s")
    assert text.index("F_D") < text.index("20261127-120000F ") and "from 2026-11-27T12:00:00Z on" in text
    assert "no backup yet" in repositories_text({}, "s")


def test_a_restore_into_place_tells_how_to_go_back() -> None:
    result = {"rows": {"t": 3}, "reached": "2026-11-27T12:00:00Z", "backup": "F", "seconds": 4, "behind": True, "before": "B"}
    lines = moment_lines({"result": result}, "s", "A")
    assert "3 rows in 1 tables" in lines[0] and "make deploy" in lines[1] and lines[2].endswith("make restore AT=B CONFIRM=s")
    assert len(moment_lines({"result": result}, "s", "A", "app_then")) == 1
    assert moment_lines({"would": "would restore"}, "s", "A") == ["s: would restore"]
    assert repository_line({"actions": ["a", "b"], "result": {"identical": True, "seconds": 1}}, "s").startswith("s: a; b, identical")
    assert repository_line({"would": "w"}, "s") == "s: w"
