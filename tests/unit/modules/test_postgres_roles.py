"""Roles and logins: what is there is compared with what the generations need, and only the difference is written."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.berth.stack.plugins.modules.postgres_roles import logins, matches, plan_database, plan_roles, verifier

BACKEND = {"name": "backend", "schema": "backend", "connections": 40, "service": "backend", "file": "database_url"}
FRONTEND = {"name": "frontend", "schema": "auth", "connections": 15, "service": "frontend", "file": "database_url"}
ROLES = [BACKEND, FRONTEND]
SUPERUSER = {"login": True, "limit": -1, "password": None, "comment": None, "settings": [], "powers": [], "member": []}


def record(login: str, password: str) -> dict:
    return {"files": {"backend": {"database_url": f"postgresql://{login}:{password}@database:5432/app?x=y"}, "model": {"api_key": "k"}}}


def kept(role: str, word: str, **changes) -> dict:
    settings = [f"role={role}", "search_path=backend"]
    return {
        "login": True, "limit": 40, "password": verifier(word, b"salt" * 4), "comment": None, "settings": settings, "member": [role],
        "powers": [],
    } | changes  # fmt: skip


GROUP = SUPERUSER | {"login": False}
WANTED = logins([BACKEND], [record("backend_g1", "first"), record("backend_g2", "se%40cond")])


def plan(roles=(BACKEND,), desired=WANTED, **existing):
    return plan_roles({"roles": {"postgres": SUPERUSER} | existing}, list(roles), desired)


def test_the_verifier_is_that_of_the_standard():
    # The exchange of RFC 7677, section 3, as PostgreSQL keeps it.
    text = verifier("pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="))
    assert text == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert matches("pencil", text) and not matches("pencils", text)
    assert not matches("pencil", None) and not matches("pencil", "md5" + "0" * 32)


def test_each_generation_has_a_login_of_its_own_with_its_own_password():
    assert {login: spec["password"] for login, spec in WANTED.items()} == {"backend_g1": "first", "backend_g2": "se@cond"}


def test_an_empty_server_gets_a_role_that_cannot_log_in_and_its_logins():
    made = plan()
    assert made.actions == ["create role backend", "create login backend_g1", "create login backend_g2"]
    assert made.statements[0] == 'CREATE ROLE "backend" NOLOGIN'
    login = made.statements[1]
    assert "NOSUPERUSER NOCREATEDB NOCREATEROLE" in login and "CONNECTION LIMIT 40" in login and 'IN ROLE "backend"' in login
    assert 'ALTER ROLE "backend_g1" SET role = "backend"' in made.statements
    assert 'ALTER ROLE "backend_g1" SET search_path = "backend"' in made.statements


def test_no_password_is_in_a_statement_or_in_what_is_told():
    made = plan()
    assert not [line for line in made.statements + made.actions if "first" in line or "cond" in line]


def test_what_is_right_is_left_alone():
    assert plan(backend=GROUP, backend_g1=kept("backend", "first"), backend_g2=kept("backend", "se@cond")).actions == []


@pytest.mark.parametrize(
    ("change", "action"),
    [
        ({"password": None}, "set password of backend_g1"),
        ({"password": verifier("another", b"salt" * 4)}, "set password of backend_g1"),
        ({"login": False}, "set password of backend_g1"),
        ({"limit": -1}, "let backend_g1 hold 40 connections"),
        ({"member": []}, "make backend_g1 a member of backend"),
        ({"member": ["backend", "frontend"]}, "revoke the membership of backend_g1 in frontend"),
        ({"powers": ["SUPERUSER", "CREATEDB"]}, "revoke superuser, createdb from backend_g1"),
        ({"settings": ["search_path=backend"]}, "set role of backend_g1"),
        ({"settings": ["role=backend", "search_path=public"]}, "set search_path of backend_g1"),
    ],
)
def test_what_differs_is_mended(change, action):
    made = plan(backend=GROUP, backend_g1=kept("backend", "first", **change), backend_g2=kept("backend", "se@cond"))
    assert made.actions == [action]


def test_a_role_has_no_power_and_is_no_member():
    made = plan(desired={}, backend=GROUP | {"powers": ["BYPASSRLS"], "member": ["pg_read_all_data"]})
    assert made.statements == ['ALTER ROLE "backend" NOBYPASSRLS', 'REVOKE "pg_read_all_data" FROM "backend"']


def test_a_login_goes_with_its_generation_and_its_objects_do_not():
    made = plan(backend=GROUP, backend_g1=kept("backend", "first"), backend_g2=kept("backend", "se@cond"), backend_g0=kept("backend", "x"))
    assert made.actions == ["drop login backend_g0"]
    assert made.statements == ['REASSIGN OWNED BY "backend_g0" TO "backend"', 'DROP OWNED BY "backend_g0"', 'DROP ROLE "backend_g0"']
    # A role of somebody else that only looks like one.
    assert plan(desired={}, backend=GROUP, backend_game=SUPERUSER, other_g1=SUPERUSER).actions == []


def test_a_generation_of_before_logins_keeps_its_role_open_until_it_goes():
    desired = logins([BACKEND], [record("backend", "first"), record("backend_g2", "se@cond")])
    old = kept("backend", "first", member=[], settings=["search_path=backend"])
    assert plan(desired=desired, backend=old, backend_g2=kept("backend", "se@cond")).actions == []
    made = plan(desired={"backend_g2": desired["backend_g2"]}, backend=old | {"comment": "a hash"}, backend_g2=kept("backend", "se@cond"))
    assert made.actions == ["disable logins of role backend", "remove the comment of role backend"]
    assert 'ALTER ROLE "backend" NOLOGIN PASSWORD NULL' in made.statements


def test_the_superuser_has_no_password():
    made = plan_roles({"roles": {"postgres": SUPERUSER | {"password": "SCRAM-SHA-256$..."}}}, [], {})
    assert made.statements == ["ALTER ROLE postgres PASSWORD NULL"]


def test_schemas_belong_to_their_roles_and_nobody_else_may_connect():
    state = {
        "schemas": {"backend": "postgres", "public": "pg_database_owner"},
        "open": ["SCHEMA public", "DATABASE"],
        "granted": ["backend"],
    }
    made = plan_database(state, "app", ROLES)
    assert made.statements == [
        'ALTER SCHEMA "backend" OWNER TO "backend"',
        'GRANT CONNECT, TEMPORARY ON DATABASE "app" TO "frontend"',
        'CREATE SCHEMA "auth" AUTHORIZATION "frontend"',
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        'REVOKE ALL ON DATABASE "app" FROM PUBLIC',
    ]
    right = {"schemas": {"backend": "backend", "auth": "frontend"}, "open": [], "granted": ["backend", "frontend"]}
    assert plan_database(right, "app", ROLES).actions == []
