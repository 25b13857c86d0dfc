"""The settings of a database outside the stack: what is refused, and what follows for secrets, networks and policy."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.berth.stack.plugins.module_utils.settings.database_extensions import extension_packages, wrong_extensions
from ansible_collections.berth.stack.plugins.module_utils.settings.database_external import (
    complete,
    egress_with_database,
    files_with_database,
    policy_with_database,
    secrets_with_database,
    target,
    wrong_external,
)

USERS = {"backend": "shop_backend", "frontend": "shop@web"}
GIVEN = {"address": "DB.example.com", "name": "shop", "ca_file": "ca.pem", "users": USERS}
ALL_USERS = USERS | {"backend_migration": "shop_owner", "backup": "shop_dump"}
OUTSIDE = complete(GIVEN)
FILES = {
    "backend": {
        "uid": 1,
        "files": {
            "database_url": "postgresql://backend_g{generation}:{backend_password:url}@db.example.com:5432/shop?sslmode=verify-full",
            "database_user": "backend_g{generation}",
            "database_password": "{backend_password}",
            "database_ca": "",
            "stripe": "{stripe}",
        },
    },
    "frontend": {"uid": 2, "files": {"database_url": "postgres://frontend_g{generation}:{frontend_password:url}@db.example.com:5432/shop"}},
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, ""),
        ({"port": 25060, "hostaddr": "10.0.0.5", "sslmode": "verify-full"}, ""),
        ({"address": ""}, "has no address"),
        ({"name": None}, "has no name"),
        ({"ca_file": ""}, "has no ca_file: the file with the certificate of the authority"),
        ({"address": "10.0.0.5"}, "it must be the name in the server's certificate"),
        ({"address": "db example"}, "it must be the name in the server's certificate"),
        ({"hostaddr": "db"}, "must be an IP address"),
        ({"port": 70000}, "must be a port"),
        ({"port": "high"}, "must be a port"),
        ({"name": "shop?x=y"}, "must be of letters"),
        ({"sslmode": "require"}, "only verify-full is supported"),
        ({"sslmodes": "x"}, "has sslmodes; there are address"),
        ({"users": {"backend": "x"}}, "must have the logins of backend and frontend"),
        ({"users": USERS | {"worker": "x"}}, "has worker; there are backend, frontend"),
        ({"users": USERS | {"backup": "a b"}}, "users has backup: a b"),
    ],
)
def test_what_cannot_be_is_refused_by_name(change: dict, words: str) -> None:
    problem = wrong_external(GIVEN | change, {})
    assert words in problem if words else problem == ""


@pytest.mark.parametrize(
    ("others", "words"),
    [
        (
            {"backend_image_egress": ["api.example.com"], "frontend_image_egress": "all", "database_extensions": [], "database_access": {}},
            "",
        ),
        ({"stack_engine": "swarm"}, "remove STACK_ENGINE=swarm"),
        ({"database_extensions": ["citext"]}, "database_extensions is set"),
        ({"backup_repositories": [{"type": "volume"}]}, "backup_repositories is set"),
        ({"database_access": {"backend": {"frontend": "read"}}}, "database_access is set"),
        ({"backend_image_egress": ["other.example.com:5432"]}, "backend_image_egress has other.example.com:5432, on the port"),
        ({"frontend_image_egress": ["db.example.com:5432"]}, ""),
    ],
)
def test_settings_that_do_not_go_with_it_are_refused(others: dict, words: str) -> None:
    problem = wrong_external(GIVEN, others)
    assert words in problem if words else problem == ""


def test_an_ip_address_needs_the_relay() -> None:
    assert "remove database_external.hostaddr" in wrong_external(GIVEN | {"hostaddr": "10.0.0.5"}, {"backend_image_egress": "all"})


def test_a_url_gives_the_same_settings() -> None:
    url = "postgresql://shop@db.example.com/shop?sslmode=verify-full&sslrootcert=ca.pem"
    assert wrong_external(url, {}) == ""
    assert complete(url) == OUTSIDE | {"users": {"backend": "shop", "frontend": "shop"}}
    assert "has a password" in wrong_external(url.replace("shop@", "shop:word@"), {})
    assert "only verify-full" in wrong_external(url.replace("verify-full", "require"), {})
    assert "has no ca_file" in wrong_external("postgresql://shop@db.example.com/shop", {})
    assert "no valid URL" in wrong_external("postgresql://shop@db.example.com:port/shop", {})


@pytest.mark.parametrize("nothing", [False, None, "", {}, "false", "False"])
def test_nothing_is_no_database_outside(nothing: object) -> None:
    assert complete(nothing) == {} and wrong_external(nothing, {}) == ""


def test_a_service_reaches_the_database_besides_its_list() -> None:
    assert target(OUTSIDE) == "db.example.com:5432"
    egress = {"backend": "all", "frontend": ["a.example.com"]}
    assert egress_with_database(egress, OUTSIDE) == {"backend": "all", "frontend": ["a.example.com", "db.example.com:5432"]}
    assert egress_with_database({"backend": ["db.example.com:5432"]}, OUTSIDE) == {"backend": ["db.example.com:5432"]}
    assert egress_with_database(egress, {}) == egress


def test_passwords_are_given_and_each_login_has_its_own() -> None:
    schema = {"backend_password": {"services": ["backend"], "generate": 32}, "stripe": {"services": ["backend"]}, "other": None}
    before = copy.deepcopy(schema)
    made = secrets_with_database(schema, complete(GIVEN | {"users": ALL_USERS}))
    assert {name: spec.get("services") for name, spec in made.items()} == {
        "backend_password": ["backend", "database-client"],
        "frontend_password": ["frontend", "database-client"],
        "backend_migration_password": ["backend-migration", "database-client"],
        "backup_password": ["database-client"],
        "stripe": ["backend", "backend-migration"],
        "other": None,
    }
    assert not any("generate" in spec for name, spec in made.items() if name.endswith("password"))
    assert schema == before == secrets_with_database(schema, {})


def test_files_have_the_logins_and_migrations_have_theirs() -> None:
    before = copy.deepcopy(FILES)
    made = files_with_database(FILES, complete(GIVEN | {"users": ALL_USERS}), 70, "PEM")
    url = made["backend"]["files"]["database_url"]
    assert url == "postgresql://shop_backend:{backend_password:url}@db.example.com:5432/shop?sslmode=verify-full"
    assert made["backend"]["files"]["database_user"] == "shop_backend" and made["backend"]["files"]["database_ca"] == "PEM"
    assert made["frontend"]["files"]["database_url"].startswith("postgres://shop%40web:{frontend_password:url}@")
    migration = made["backend-migration"]
    assert migration["uid"] == 1 and migration["files"]["stripe"] == "{stripe}"
    assert migration["files"]["database_url"].startswith("postgresql://shop_owner:{backend_migration_password:url}@")
    assert migration["files"]["database_password"] == "{backend_migration_password}"
    assert "frontend-migration" not in made
    sections = made["database-client"]["files"]["service"].split("\n[")
    assert [section.splitlines()[0].strip("[]") for section in sections] == ["backend", "frontend", "backend_migration", "backup", "client"]
    assert "user=shop_dump\npassword={backup_password}" in sections[-1] and "sslmode=verify-full" in sections[-1]
    assert FILES == before == files_with_database(FILES, {}, 70, "")


@pytest.mark.parametrize(
    ("users", "login"), [(USERS, "shop_backend"), (USERS | {"backend_migration": "owner"}, "owner"), (ALL_USERS, "shop_dump")]
)
def test_berth_asks_as_the_login_that_sees_most(users: dict, login: str) -> None:
    service = files_with_database(FILES, complete(GIVEN | {"users": users}), 70, "")["database-client"]["files"]["service"]
    assert f"user={login}" in service.partition("[client]")[2]


def test_the_policy_has_no_database() -> None:
    policy = {"backend": {"needs": ["database", "model"], "neighbours": []}, "database": {"needs": [], "neighbours": ["backend"]}}
    assert policy_with_database(policy, OUTSIDE) == {"backend": {"needs": ["model"], "neighbours": []}}
    assert policy_with_database(policy, {}) == policy


def test_extensions_are_those_of_debian() -> None:
    assert wrong_extensions(["citext", "pgcrypto"], 15) == wrong_extensions(["vector"], 17) == wrong_extensions([], 15) == ""
    assert "has tricorder; available: bloom, " in wrong_extensions(["citext", "tricorder"], 15)
    assert "Set database_version: 17" in wrong_extensions(["vector"], "15")
    assert "must be a list" in wrong_extensions("citext", 15)
    assert extension_packages(["citext", "vector"], 17) == ["postgresql-17-pgvector"]
