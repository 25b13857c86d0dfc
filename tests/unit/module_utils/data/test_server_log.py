"""Statements that a database server refused, from its log."""

from __future__ import annotations

from ansible_collections.berth.stack.plugins.module_utils.data.server_log import refused_statements

AT = "2026-11-28 03:20:11.123 UTC"
LOG = f"""\
{AT} [44] LOG:  checkpoint starting: time
{AT} [45] ERROR:  permission denied to create extension "citext"
{AT} [46] ERROR:  duplicate key value violates unique constraint "task_pkey"
{AT} [45] HINT:  Must have CREATE privilege on current database to create this extension.
{AT} [46] DETAIL:  Key (id)=(7) already exists.
{AT} [45] STATEMENT:  CREATE EXTENSION IF NOT EXISTS
\t\tcitext
{AT} [46] STATEMENT:  INSERT INTO task VALUES (7, 'a secret')
{AT} [47] FATAL:  password authentication failed for user "backend_g1"
"""
EXTENSION = (
    'permission denied to create extension "citext" (CREATE EXTENSION IF NOT EXISTS citext). '
    "Must have CREATE privilege on current database to create this extension."
)


def test_errors_of_interleaved_sessions_keep_their_own_statement_and_hint():
    duplicate = "duplicate key value violates unique constraint \"task_pkey\" (INSERT INTO task VALUES (7, '...'))"
    assert refused_statements(LOG, definitions_only=False) == [EXTENSION, duplicate]


def test_while_a_release_serves_only_definitions_are_of_the_migration():
    assert refused_statements(LOG, definitions_only=True) == [EXTENSION]


def test_the_same_error_is_told_once_and_secrets_in_statements_are_not_told():
    text = f"{AT} [9] ERROR:  permission denied to alter role\n{AT} [9] STATEMENT:  ALTER ROLE me PASSWORD 'it''s me'\n"
    assert refused_statements(text * 2, True) == ["permission denied to alter role (ALTER ROLE me PASSWORD '...')"]


def test_a_server_with_another_prefix_is_read_too_and_one_without_errors_says_nothing():
    assert refused_statements('app backend ERROR:  relation "x" does not exist\n', False) == ['relation "x" does not exist']
    assert refused_statements(f"{AT} [1] LOG:  database system is ready to accept connections\nnoise\n\tnoise\n", False) == []
