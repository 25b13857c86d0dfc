"""What is refused before the first play, and what a hint to type has on its line."""

from __future__ import annotations

import importlib
import re

import pytest
import yaml
from ansible.inventory.manager import split_host_pattern
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from ansible_collections.berth.stack.plugins.module_utils.settings import commands as calls
from conftest import ROOT, STACK

FILES = [*STACK, *ROOT.glob("roles/*/defaults/main.yml")]


@pytest.fixture(scope="module")
def known_options() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in FILES:
        for name, settings in calls.options(path.read_text()).items():
            found.setdefault(name, []).extend(settings)
    return found


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "HTTPS_PORT": ["abc", "0", "70000", "-1", "8443.0", " 8443"],
        "HTTP_PORT": ["x", "65536"],
        "SERIAL": ["x", "0", "150%", "1,", "1,x", "0%", "%"],
        "STACK_NAME": ["Berth", "a/b", "1a", "x" * 31, "a_b", "a b"],
        "STACK_HOST": ["https://app.example.org", "app.example.org:8443", "a/b"],
        "STACK_BIND": ["localhost", "1.2.3", "300.1.1.1"],
        "STACK_TLS": ["foo"],
        "STACK_ENGINE": ["nope"],
        "STRICT": ["perhaps"],
        "LOG_LEVEL": ["loud"],
        "SSL_CERT_FILE": ["/nowhere.pem"],
        "SECRETS_SOPS_FILE": ["/nowhere.yml"],
        "REGISTRY": ["https://registry.example.org", "registry.example.org/Team X"],
        "REGISTRY_OWN": ["maybe"],
        "REGISTRY_HOST": ["http://a"],
        "REGISTRY_PORT": ["x"],
        "OPENAI_BASE_URL": ["api.openai.com", "ftp://x"],
        "LOCK_WAIT": ["abc", "-1"],
        "BERTH_VERSION": ["a b", "../x", "-x"],
        "BERTH_TAIL": ["abc", "0", "-5"],
        "BERTH_FORMAT": ["xml", "JSON"],
        "BERTH_SCHEMA": ["foo"],
        "BERTH_ON": ["maybe"],
        "BERTH_REPLICAS": ["x", "0", "100"],
        "BERTH_SERVICE": ["Back End", "a/b"],
        "BERTH_STRESS_SECONDS": ["abc", "0"],
        "BERTH_STRESS_RATE": ["abc"],
    }.items(),
)
def test_an_impossible_value_is_named_by_its_public_name(known_options, name, values):
    for value in values:
        wrong = calls.wrong_options(known_options, {name: value})
        assert list(wrong) == [name], value
        line = calls.option_line(name, wrong[name][0], value)
        assert line.startswith(f"{name.removeprefix('BERTH_')} is {value!r}; it must be "), line


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "HTTPS_PORT": ["", "1", "443", "65535"],
        "SERIAL": ["1", "1,100%", "2,25%,100%", "1, 3"],
        "STACK_NAME": ["berth", "a-1"],
        "STACK_BIND": ["127.0.0.1", "0.0.0.0", "::1"],
        "STRICT": ["true", "False", "yes", "0"],
        "REGISTRY": ["registry.example.org/team", "127.0.0.1:5000", "localhost:5000/a/b"],
        "BERTH_FORMAT": ["json", "table"],
        "LOCK_WAIT": ["0", "300"],
        "SSL_CERT_FILE": [__file__],
        "REGISTRY_PASSWORD": ["any thing"],
    }.items(),
)
def test_a_possible_value_is_none_of_its_business(known_options, name, values):
    for value in values:
        assert calls.wrong_options(known_options, {name: value}) == {}, value


def test_of_several_variables_the_first_that_is_set_counts(known_options):
    assert list(calls.wrong_options(known_options, {"REQUESTS_CA_BUNDLE": "/nowhere"})) == ["REQUESTS_CA_BUNDLE"]
    assert calls.wrong_options(known_options, {"SSL_CERT_FILE": __file__, "REQUESTS_CA_BUNDLE": "/nowhere"}) == {}


def test_every_option_with_a_choice_or_a_type_has_a_rule(known_options):
    """The rules are those of the specifications: what a role takes no text for, an option cannot have any text for."""
    specs = {}
    for path in ROOT.glob("roles/*/meta/argument_specs.yml"):
        entries = yaml.safe_load(path.read_text())["argument_specs"]
        specs |= (entries.get("main") or entries["settings"]).get("options") or {}
    read = {setting for settings in known_options.values() for setting in settings}
    # Made from whether there is a key, not from its text.
    for setting in sorted(read & set(specs) - {"stack_model_external"}):
        spec = specs[setting]
        if spec.get("choices") or spec["type"] in ("int", "bool"):
            assert setting in calls.RULES, setting
        for choice in spec.get("choices") or []:
            assert calls.wrong_value(setting, str(choice)) == "", (setting, choice)


def test_a_setting_is_called_by_the_option_that_it_comes_from():
    raw = {
        "stack_https_port": "{{ lookup('ansible.builtin.env', 'HTTPS_PORT') | default('8443', true) }}",
        "edge_https_port": "{{ stack_https_port }}",
        "verify_id": "{{ lookup('ansible.builtin.env', 'BERTH_ID') }}",
        "edge_uid": 3,
        "loop": "{{ loop }}",
    }
    assert calls.source("edge_https_port", raw, {"HTTPS_PORT": "x"}) == "HTTPS_PORT"
    assert calls.source("edge_https_port", raw, {}) == "stack_https_port"
    assert calls.source("edge_https_port", {**raw, "stack_https_port": "abc"}, {"HTTPS_PORT": "8443"}) == "stack_https_port"
    assert calls.source("verify_id", raw, {"BERTH_ID": "x"}) == "ID"
    assert [calls.source(name, raw, {}) for name in ("edge_uid", "loop", "unknown")] == ["edge_uid", "loop", "unknown"]


def test_options_are_found_in_folded_values_and_not_in_comments():
    one, two, no = (f"{{{{ lookup('ansible.builtin.env', '{name}') }}}}" for name in ("ONE", "TWO", "NO"))
    text = f'# a: {no}\na: >-\n  {one}\nb: "{two}"\n'
    assert calls.options(text) == {"ONE": ["a"], "TWO": ["b"]}


GROUPS = {"all": ["b", "w1", "w2"], "builders": ["b"], "docker_hosts": ["w1", "w2"]}


@pytest.mark.parametrize(
    ("sources", "hosts", "groups", "words"),
    [
        (["/nowhere/nope.yml"], [], {}, "INVENTORY is /nowhere/nope.yml: there is no such file"),
        ([str(ROOT / "inventory/local.yml"), "/nowhere/nope.yml"], ["b"], GROUPS, "INVENTORY is /nowhere/nope.yml: there is no such file"),
        ([__file__], [], {}, "names no host, or it cannot be read"),
        ([__file__], ["b"], {"builders": ["b"], "docker_hosts": []}, "its group docker_hosts has no host"),
        ([__file__], ["w1"], {"docker_hosts": ["w1"]}, "its group builders has no host"),
    ],
)
def test_an_inventory_that_names_nothing_is_refused(sources, hosts, groups, words):
    lines = calls.wrong_inventory(sources, hosts, groups, ["builders", "docker_hosts"])
    assert len(lines) == 1
    assert words in lines[0]
    assert lines[0].startswith("INVENTORY ")


def test_an_inventory_with_hosts_is_taken():
    assert calls.wrong_inventory([__file__], ["b"], GROUPS, ["builders", "docker_hosts"]) == []
    assert calls.wrong_inventory(["w1,"], ["w1"], {"docker_hosts": ["w1"]}, ["docker_hosts"]) == []


@pytest.mark.parametrize(
    ("limit", "unmatched", "left", "words"),
    [
        ("nope", ["nope"], {}, "LIMIT names nope: no host and no group of the inventory is called so. Hosts: b, w1, w2; groups: builders"),
        ("w1,nope,x", ["nope", "x"], {"docker_hosts": ["w1"]}, "LIMIT names nope, x"),
        ("b", [], {"builders": ["b"], "docker_hosts": []}, "LIMIT is b: it leaves no host of the group docker_hosts, which has w1, w2"),
        ("w1", [], {"builders": [], "docker_hosts": ["w1"]}, "--limit 'w1:builders'"),
    ],
)
def test_a_limit_that_leaves_nothing_is_refused(limit, unmatched, left, words):
    (line,) = calls.wrong_limit(limit, unmatched, left, GROUPS)
    assert words in line


def test_a_limit_that_leaves_hosts_is_taken():
    assert calls.wrong_limit("w1", [], {"builders": ["b"], "docker_hosts": ["w1"]}, GROUPS) == []


@pytest.mark.parametrize("limit", ["w1", "w1,w2", "docker_hosts:!w1", "docker_hosts,!w1", "web[0:2]"])
def test_the_builder_is_added_to_a_limit_as_ansible_splits_it(limit):
    whole = calls.with_builders(limit)
    assert split_host_pattern(whole) == [*split_host_pattern(limit), "builders"]
    assert calls.without_builders(whole) == calls.without_builders(limit) == limit


def test_files_of_a_limit_start_where_the_caller_is(tmp_path):
    (tmp_path / "hosts").touch()
    assert calls.limit_files("@hosts,w1,@gone", lambda path: f"{tmp_path}/{path}") == (
        f"@{tmp_path}/hosts,w1,@{tmp_path}/gone",
        [f"{tmp_path}/gone"],
    )


def test_criteria_that_do_not_exist_are_refused():
    catalogue = yaml.safe_load((ROOT / "roles/verify/files/criteria.yml").read_text())
    assert calls.wrong_criteria(catalogue, "", "BE-01,be-02, FE") == []
    assert calls.wrong_criteria(catalogue, "backend", "") == []
    assert "XX-01" in calls.wrong_criteria(catalogue, "", "BE-01,XX-01")[0]
    assert "SECTION is 'nope'" in calls.wrong_criteria(catalogue, "nope", "")[0]


def test_all_problems_are_in_one_message_once():
    text = calls.refusal(["A is wrong", "B is wrong", "A is wrong"])
    assert (text.count("A is wrong"), text.count("B is wrong")) == (1, 1)


def test_two_ports_are_two_ports_and_a_registry_has_a_name():
    assert calls.same_ports("8443", 8443) != []
    assert calls.same_ports(8443, 8080) == []
    assert calls.registry_without_host(True, "") != []
    assert calls.registry_without_host(True, "10.0.0.5") == calls.registry_without_host(False, "") == []


COMMANDS = ["up", "status", "logs", "check-images", "destroy", "rollback", "deploy"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "Next steps: make status | make logs SERVICE=backend",
            "Next steps: make status STACK_NAME=b P=1 | make logs STACK_NAME=b P=1 SERVICE=backend",
        ),
        ('"make up" starts it again', '"make up STACK_NAME=b P=1" starts it again'),
        ("make up P=2   (P in .env)", "make up STACK_NAME=b P=2   (P in .env)"),
        ("make check-images, then", "make check-images STACK_NAME=b P=1, then"),
        ("make upper; make it; make status-x", "make upper; make it; make status-x"),
        ('{"hint": "make up"}', '{"hint": "make up"}'),
    ],
)
def test_a_hint_can_be_typed_as_it_stands(text, wanted):
    assert calls.typed(text, ["STACK_NAME=b", "P=1"], COMMANDS) == wanted
    assert calls.typed(text, [], COMMANDS) == text


def test_a_hint_has_what_another_stack_is_reached_by():
    environment = {"STACK_NAME": "second", "HTTPS_PORT": "9443", "LOG_LEVEL": "debug", "HTTP_PORT": ""}
    assert calls.hint_options("second", environment) == ["STACK_NAME=second", "HTTPS_PORT=9443"]
    assert calls.hint_options("berth", {"STACK_NAME": "berth", "HTTPS_PORT": "9443"}) == []
    assert calls.hint_options("second", {"STACK_NAME": "second", "LOCAL_DIR": "/srv/a b"}) == ["STACK_NAME=second", "LOCAL_DIR='/srv/a b'"]
    # The inventory names it: the name in the environment would change nothing.
    assert calls.hint_options("app-staging", {"HTTPS_PORT": "9443"}, "inventory/staging.yml") == ["INVENTORY=inventory/staging.yml"]
    assert calls.hint_options("berth", {"BERTH_APP": "/srv/a b/app.yml"}) == ["APP='/srv/a b/app.yml'"]


def load_plugin(kind: str, name: str):
    return importlib.import_module(f"ansible_collections.berth.stack.plugins.{kind}.{name}")


def test_settings_of_an_inventory_are_held_against_rules_and_specifications():
    specs = {
        "edge_https_port": {"type": "int"},
        "edge_tls": {"type": "str", "choices": ["on", "off"]},
        "edge_ports": {"type": "list", "elements": "int"},
    }
    raw = {
        "stack_https_port": "{{ lookup('ansible.builtin.env', 'HTTPS_PORT') | default('8443', true) }}",
        "edge_https_port": "{{ stack_https_port }}",
        "edge_ports": ["{{ stack_https_port }}"],
        "edge_tls": "maybe",
    }
    values = {
        "stack_https_port": "abc",
        "edge_https_port": "abc",
        "edge_ports": ["abc"],
        "edge_tls": "maybe",
        "stack_serial": ["1", "100%"],
    }
    lines = load_plugin("action", "validate_roles").problems(specs, values, raw, {"HTTPS_PORT": "abc"})
    assert lines == ["HTTPS_PORT is 'abc'; it must be a port, 1 to 65535", "edge_tls is 'maybe'; it must be one of on, off"]


def test_what_failed_is_said_once_and_in_words():
    lines = load_plugin("callback", "berth").failure_lines
    assert lines({"msg": "non-zero return code", "rc": 1, "cmd": ["docker", "x"], "stdout": "", "stderr": "no such image\n"}, "T") == [
        "no such image"
    ]
    assert lines({"msg": "non-zero return code", "rc": 3, "cmd": "false", "stdout": "", "stderr": ""}, "T") == [
        "`false` ended with status 3"
    ]
    assert lines({"msg": "well said"}, "T") == ["well said"]
    assert lines({"msg": "x", "_ansible_no_log": True}, "T") == ["(the output is hidden because it may contain a secret)"]
    output = lines({"msg": "Task failed: Module failed: 'heads'", "exception": "(traceback unavailable)"}, "Deploy")
    assert output[0] == "Internal error in the task 'Deploy': Module failed: 'heads'"
    assert re.search("ARGS=-vvv", output[1])
    assert lines({"results": [{"failed": True, "msg": "a"}, {"failed": False, "msg": "b"}]}, "T") == ["a"]


def test_a_relative_path_starts_where_the_caller_is(monkeypatch, tmp_path):
    from_caller = load_plugin("filter", "caller").from_caller
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BERTH_CALLED_FROM", raising=False)
    assert from_caller("a/../b.tar") == f"{tmp_path}/b.tar"
    assert from_caller("/x/y.tar") == "/x/y.tar"
    monkeypatch.setenv("BERTH_CALLED_FROM", "/home/somebody")
    assert from_caller("b.tar") == "/home/somebody/b.tar"


@pytest.fixture(scope="module")
def plugins() -> None:
    init_plugin_loader([])


@pytest.mark.usefixtures("plugins")
@pytest.mark.parametrize(
    ("stack", "local", "files", "reports"),
    [
        ("berth", "", "/srv/.local", "/srv/reports"),
        ("second", "", "/srv/.local/second", "/srv/reports/second"),
        ("second", "/var/second", "/var/second", "/srv/reports/second"),
    ],
)
def test_two_stacks_of_one_checkout_keep_their_files_apart(monkeypatch, stack, local, files, reports):
    monkeypatch.setenv("LOCAL_DIR", local)
    loader = DataLoader()
    shipped = {}
    for path in STACK:
        shipped |= loader.load_from_file(str(path), trusted_as_template=True)
    templar = Templar(loader=loader, variables={**shipped, "stack_name": stack, "stack_root": "/srv"})
    assert templar.template(shipped["edge_ca_copy"]) == f"{files}/edge-ca.crt"
    assert templar.template(shipped["stack_files_dir"]) == files
    assert templar.template(shipped["stack_reports_dir"]) == reports


def test_a_key_is_not_made_in_check_mode(tmp_path):
    kept_key = load_plugin("filter", "caller").kept_key
    assert kept_key("hash-key", str(tmp_path)) == f"{tmp_path}/hash-key"
    assert kept_key("hash-key", str(tmp_path), True) == "/dev/null"
    (tmp_path / "hash-key").write_text("x")
    assert kept_key("hash-key", str(tmp_path), True) == f"{tmp_path}/hash-key"


def test_what_would_serve_does_not_serve():
    applied_line = load_plugin("filter", "releases").applied_line
    applied = {"changed": True, "release": "v1", "before": "v2"}
    assert applied_line(applied, "berth", "https://x", True) == "berth v1 would serve at https://x (previous: v2)"
    assert applied_line(applied, "berth", "https://x") == "berth v1 serves at https://x (previous: v2)"
