"""Where secrets come from: the first source that has one; what cannot be asked is named; stand-ins for sops and for a command."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.berth.stack.plugins.action import secret_files as action
from ansible_collections.berth.stack.plugins.module_utils.secrets.store import Refused

ORDER = list(action.SOURCES)
VALUE = "a-value-that-nobody-guesses"


def sources(tmp_path, variables=(), environ=(), sops="", command=()):
    config = {"sops": {"program": str(tmp_path / "sops"), "file": sops}, "command": list(command)}
    return action.Sources(dict(variables).get, config, {"PATH": os.environ["PATH"], **dict(environ)})


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_the_first_source_that_has_a_secret_gives_it(tmp_path):
    program(tmp_path / "sops", f"echo '{json.dumps({'key': 'of-sops', 'other': 'of-sops'})}'")
    command = [program(tmp_path / "request", 'echo "of-command-$1"'), "{name}"]
    asked = sources(tmp_path, {"vault_key": "of-vault"}, {"SECRET_KEY": "x", "SECRET_THIRD": "of-environment"}, "s.yml", command)
    schema = {name: {} for name in ("key", "other", "third", "fourth")}
    given, origin = action.gather(schema, asked, ORDER)
    assert given == {"key": "of-vault", "other": "of-sops", "third": "of-environment", "fourth": "of-command-fourth"}
    assert origin["key"] == "the variable vault_key (group_vars/all/vault.yml)"
    assert origin["other"] == "the key other of s.yml (sops s.yml)"
    assert origin["third"] == "SECRET_THIRD in the environment or .env"
    assert "secrets_command" in origin["fourth"]


def test_a_secret_may_have_an_order_and_a_variable_of_its_own(tmp_path):
    asked = sources(tmp_path, {"vault_key": "of-vault"}, {"OPENAI_API_KEY": "of-environment"})
    given, origin = action.gather({"key": {"sources": ["environment", "vault"], "environment": "OPENAI_API_KEY"}}, asked, ORDER)
    assert given == {"key": "of-environment"} and origin["key"].startswith("OPENAI_API_KEY")
    assert action.gather({"key": {"sources": []}}, asked, ORDER) == ({}, {})
    with pytest.raises(Refused, match=r"secrets_schema\.key\.sources has 'vualt'"):
        action.gather({"key": {"sources": ["vualt"]}}, asked, ORDER)


def test_sops_is_called_once_as_sops_wants_to_be_called(tmp_path):
    program(tmp_path / "sops", f'echo "$@" >> {tmp_path}/calls; echo \'{{"a": "{VALUE}", "b": "{VALUE}"}}\'')
    given, _ = action.gather({"a": {}, "b": {}, "c": {}}, sources(tmp_path, sops="inventory/secrets.sops.yml"), ORDER)
    assert given == {"a": VALUE, "b": VALUE}
    assert (tmp_path / "calls").read_text() == "--decrypt --output-type json inventory/secrets.sops.yml\n"


def test_sops_that_is_not_there_or_has_no_key_is_told_with_the_way_out(tmp_path):
    with pytest.raises(Refused, match=r"secrets_sops_file is s.yml, and .*not found.*SOPS_AGE_KEY_FILE"):
        action.gather({"key": {}}, sources(tmp_path, sops="s.yml"), ORDER)
    program(tmp_path / "sops", f"echo {VALUE}; echo 'no identity matched any of the recipients' >&2; exit 128")
    with pytest.raises(Refused, match=r"ended with status 128: no identity matched") as refusal:
        action.gather({"key": {}}, sources(tmp_path, sops="s.yml"), ORDER)
    assert VALUE not in str(refusal.value)
    program(tmp_path / "sops", f"echo {VALUE}")
    with pytest.raises(Refused, match="is not JSON") as refusal:
        action.gather({"key": {}}, sources(tmp_path, sops="s.yml"), ORDER)
    assert VALUE not in str(refusal.value)


def test_a_command_that_fails_is_told_and_one_that_prints_nothing_has_none(tmp_path):
    quiet = [program(tmp_path / "quiet", "exit 0")]
    assert action.gather({"key": {}}, sources(tmp_path, command=quiet), ORDER) == ({}, {})
    failing = [program(tmp_path / "failing", f"echo {VALUE}; echo locked >&2; exit 3")]
    with pytest.raises(Refused, match=r"secrets_command for the secret key.*status 3: locked") as refusal:
        action.gather({"key": {}}, sources(tmp_path, command=failing), ORDER)
    assert VALUE not in str(refusal.value)


def test_only_what_is_generated_here_can_be_rotated_here():
    schema = {"made": {"generate": 32}, "given": {"generate": 32}, "outside": {}}
    action.refuse_rotation(schema, ["made"], {})
    with pytest.raises(Refused, match=r"there is no secret mad; secrets: given, made, outside"):
        action.refuse_rotation(schema, ["mad"], {})
    with pytest.raises(Refused, match=r"given is set by vault_given: set a new value there, then: make deploy"):
        action.refuse_rotation(schema, ["given"], {"given": "vault_given"})
    with pytest.raises(Refused, match="outside is not generated"):
        action.refuse_rotation(schema, ["outside"], {})


PEM = "-----BEGIN PRIVATE KEY-----\r\nMIGHAgEAMBMGByqG+/==\r\n-----END PRIVATE KEY-----\r\n"


def test_every_source_gives_several_lines_byte_for_byte(tmp_path):
    (tmp_path / "key").write_bytes(PEM.encode())
    program(tmp_path / "sops", f"cat {tmp_path}/sops.json")
    (tmp_path / "sops.json").write_text(json.dumps({"sops": PEM}))
    ask = [program(tmp_path / "request", f'case $1 in command) cat {tmp_path}/key;; line) echo "{VALUE}";; esac'), "{name}"]
    asked = sources(tmp_path, {"vault_vault": PEM}, {"SECRET_ENVIRONMENT": PEM}, "s.yml", ask)
    given, _ = action.gather({name: {} for name in ("vault", "sops", "environment", "command", "line")}, asked, ORDER)
    assert given == {"vault": PEM, "sops": PEM, "environment": PEM, "command": PEM, "line": VALUE}


@pytest.mark.parametrize("value", [83, 1e5, True, ["a"]])
def test_a_value_that_is_no_text_is_refused(tmp_path, value):
    with pytest.raises(Refused, match=r"the secret key is (a|true) .*not a text.*vault_key.*quote it"):
        action.gather({"key": {}}, sources(tmp_path, {"vault_key": value}), ORDER)


def test_a_misspelt_secret_is_refused_and_another_programs_is_not():
    schema = {"backend_password": {}, "openai_api_key": {"environment": "OPENAI_API_KEY"}}
    action.refuse_slips(schema, ["SECRET_BACKEND_PASSWORD", "SECRET_KEY", "PATH", "SECRET_OPENAI_API_KEY"])
    with pytest.raises(Refused, match=r"SECRET_BACKEND_PASWORD .*: did you mean SECRET_BACKEND_PASSWORD"):
        action.refuse_slips(schema, ["SECRET_BACKEND_PASWORD"])
