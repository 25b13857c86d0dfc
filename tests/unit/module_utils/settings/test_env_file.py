"""`.env` by make and by playbooks, as python-dotenv reads it; what cannot be read is refused; make's command line arrives whole."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.berth.stack.plugins.module_utils.settings import env_file
from conftest import ROOT
from dotenv import dotenv_values

PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIF+a/b\nAwEHoUQDQgAE==\n-----END EC PRIVATE KEY-----\n"
# What is after = in the file.
AWKWARD = [
    "plain",
    "correct$horse-battery#staple%20x",
    "'correct$horse-battery#staple%20x'",
    '"correct$horse-battery#staple%20x"',
    "localhost         # a comment",
    "# nothing but a comment",
    " # a comment after a blank",
    "",
    "''",
    '""',
    "a$$b$(c)`d`",
    "${HOME}/x",
    "'${HOME}/x'",
    'say "hi"',
    "\"say \\\"hi\\\"\"",
    "'it\\'s'",
    "it's",
    "back\\slash\\n",
    '"line\\nbreak\\ttab"',
    "'line\\nbreak'",
    "a=b=c",
    "  blanks around  ",
    "'  blanks kept  '",
    f'"{PEM}"',
    "'two\r\nlines'",
    "naïve-ü-日本",
    "'single' # a comment",
    "1,100%",
]  # fmt: skip
TEXT = "\ufeff# comment\n\n" + "".join(f"{'export ' if n % 5 == 0 else ''}V{n:02}={value}\n" for n, value in enumerate(AWKWARD))
TEXT += "STACK_NAME=from-file\r\nBACKEND_SOURCE=../app\nSECRET_BACKEND_PASSWORD=correct$horse-battery#staple%20x\n"
NAMES = [f"V{n:02}" for n in range(len(AWKWARD))]


# Of the process that runs the tests: no .env, and the collection of this checkout instead of the project's own.
OTHERS = ("BERTH_ENV_FILE", "ANSIBLE_COLLECTIONS_PATH")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The project's make, plugins and roles with a playbook that writes its environment, and nothing that make would have to install."""
    made = tmp_path_factory.mktemp("project")
    for name in ("bin", "plugins", "inventory"):
        shutil.copytree(ROOT / name, made / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("roles", "group_vars", ".venv", "molecule", "apps", "meta"):
        (made / name).symlink_to(ROOT / name)
    (made / ".ansible/collections/ansible_collections/berth").mkdir(parents=True)
    (made / ".ansible/collections/ansible_collections/berth/stack").symlink_to(made)
    for path in (ROOT / ".ansible/collections/ansible_collections").iterdir():
        if path.name != "berth":
            (made / ".ansible/collections/ansible_collections" / path.name).symlink_to(path)
    (made / "playbooks").mkdir()
    shutil.copy(ROOT / "tests/unit/env_file.yml", made / "playbooks/status.yml")
    for name in ("Makefile", "ansible.cfg", "requirements.txt", "requirements.yml"):
        shutil.copy(ROOT / name, made / name)
    for path in (made / "requirements.txt", made / "requirements.yml", made / "bin/install-collections"):
        os.utime(path, (1, 1))
    return made


def run(project: Path, *command: str, file: str | None, names: list[str], **environment: str) -> dict[str, str]:
    """What the environment of a run holds."""
    path, output = project / ".env", project / "output"
    output.unlink(missing_ok=True)
    path.write_bytes(file.encode()) if file is not None else path.unlink(missing_ok=True)
    own = {name: value for name, value in os.environ.items() if name not in names and name not in OTHERS}
    own |= {"NAMES": ",".join(names), "OUTPUT": str(output), "PATH": f"{ROOT}/.venv/bin:{os.environ['PATH']}"} | environment
    done = subprocess.run(command, cwd=project, env=own, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and output.exists(), done.stdout + done.stderr
    return json.loads(output.read_text())


BY = {"make": ["make", "status"], "a playbook": ["ansible-playbook", "playbooks/status.yml", "-i", "inventory/example-staging.yml"]}


@pytest.mark.parametrize("command", BY.values(), ids=BY)
def test_the_file_is_read_as_python_dotenv_reads_it_and_the_shell_outranks_it(project, command):
    names = [*NAMES, "SECRET_BACKEND_PASSWORD", "BACKEND_SOURCE", "STACK_NAME"]
    found = run(project, *command, file=TEXT, names=names, STACK_NAME="from-shell", ID="7", VERSION="of-a-job")
    read = dotenv_values(stream=io.StringIO(TEXT, newline=""), interpolate=False)
    assert found == read | {"STACK_NAME": "from-shell", "BACKEND_SOURCE": str(project.parent / "app")}
    assert read["V23"] == PEM and read["SECRET_BACKEND_PASSWORD"] == "correct$horse-battery#staple%20x"


def test_what_make_is_told_arrives_as_it_was_written_and_outranks_shell_and_file(project):
    given = {
        "SECRET_A": "a$b$$c$(shell touch evil)${HOME}",
        "SECRET_B": 'it\'s "quoted" `touch evil`; touch evil',
        "SECRET_C": "a # b\\c\\",
        "SECRET_D": PEM.replace("\n", "\r\n"),
        "SECRET_E": "end with a blank ",
        "SECRET_F": "a=b:=c%20*?~",
        "VERSION": "v$1",
        "REASON": "it's $5",
        "STACK_NAME": "of-make",
        "ARGS": "-e 'a=\"b $(touch evil)\"'",
        "LIMIT": "localhost:x';touch evil;'",
    }
    names = [*given, "BERTH_VERSION", "BERTH_REASON", "BERTH_ID"]
    command = ["make", "status", *(f"{name}={value}" for name, value in given.items())]
    command.remove("VERSION=v$1")  # of no use to status
    found = run(project, *command, file="STACK_NAME=file\n", names=names, STACK_NAME="shell", VERSION="of-a-job", ID="7")
    assert found == given | {"VERSION": "of-a-job", "BERTH_REASON": "it's $5", "BERTH_VERSION": "", "BERTH_ID": ""}
    assert not list(project.rglob("evil"))


def test_a_path_on_the_command_line_starts_where_the_user_is(project, tmp_path):
    found = run(project, "make", "-C", str(project), "status", "BACKEND_SOURCE=app", file=None, names=["BACKEND_SOURCE"], PWD=str(tmp_path))
    assert found == {"BACKEND_SOURCE": str(tmp_path / "app")}


MISSPELT = {
    "an option": (["deploy", "VERSOIN=v1"], "unknown option VERSOIN: did you mean VERSION?"),
    "a setting": (["up", "BACKEND_SORCE=x"], "unknown option BACKEND_SORCE: did you mean BACKEND_SOURCE?"),
    "a secret": (["up", "SECERT_BACKEND_PASSWORD=x"], "did you mean SECRET_BACKEND_PASSWORD?"),
    "something else": (["up", "STRIPE=x"], "STRIPE=... make up"),
    "an option of another command": (["status", "CONFIRM=x"], "make status takes no CONFIRM; these do: "),
    "an option as playbooks read it": (["up", "BERTH_VERSOIN=x"], "did you mean BERTH_VERSION?"),
    "a version without a value": (["deploy", "VERSION="], "VERSION has no value"),
    "a limit without a value": (["deploy", "LIMIT="], "LIMIT has no value"),
    "a stack without a value": (["down", "STACK_NAME="], "STACK_NAME has no value"),
    "a name for the shell": (["up", "A';touch;'=x"], "unknown option"),
}


@pytest.mark.parametrize(("words", "message"), MISSPELT.values(), ids=MISSPELT)
def test_an_unknown_option_of_make_is_refused_before_anything_runs(project, words, message):
    done = subprocess.run(["make", *words], cwd=project, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and message in done.stderr and done.stdout == "", done.stdout + done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not list(project.rglob("evil"))


def test_every_option_that_playbooks_read_is_taken_by_a_command():
    for option in env_file.options(env_file.known_names(ROOT)):
        commands = [name for name in env_file.commands(ROOT) if option in env_file.commands(ROOT)[name]]
        assert commands or option in env_file.of_every_command(ROOT), f"{option}: no line of the Makefile's help names it"


CALL = re.compile(r"\bmake ([a-z-]+)((?: +[A-Z_]+=\S*)+)")
PAGES = [
    path
    for folder in ("roles", "plugins", "playbooks", "docs", "group_vars")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.is_file()
]


def test_make_takes_what_messages_and_pages_tell_to_type():
    for path in [ROOT / "README.md", *(path for path in PAGES if path.suffix in (".py", ".yml", ".md"))]:
        for command, given in CALL.findall(path.read_text()):
            if command in env_file.commands(ROOT):
                env_file.refuse_unknown(re.findall(r"([A-Z_]+)=", given), [command], ROOT)


# (content, words of the message)
REFUSED = {
    "no =": (b"\nSTACK_NAME\n", [".env, line 2", "STACK_NAME=value"]),
    "a quote that does not end": (b"A=1\nSECRET_X='cana\"ry\n", [".env, line 2", "SECRET_X", "begins with '"]),
    "words after a quote": (b"SECRET_X='canary' x\n", [".env, line 1", "SECRET_X", "does not end with it"]),
    "a quote that ends too late": (b'A="canary\nSTACK_NAME=b\nB=1"\n', [".env, line 1", "STACK_NAME=", "end the quote"]),
    "a key without quotes": (b"SECRET_KEY=-----BEGIN\nMIIEcanary\nAb+/canary==\n", [".env, line 2", "line 3", "quotes around"]),
    "no name": (b"2A=canary\n", [".env, line 1", "no digit first"]),
    "NUL": (b"SECRET_X=cana\0ry\n", [".env, line 1", "SECRET_X", "NUL"]),
    "Latin-1": (b"A=1\nSECRET_X=canary\xfc\n", [".env, line 2", "UTF-8"]),
    "UTF-16": ("STACK_NAME=a\n".encode("utf-16"), [".env, line 1", "UTF-8"]),
    "a misspelt setting": (b"# first\nX=1\nSTAK_NAME=canary\n", ["STAK_NAME in .env, line 3: did you mean STACK_NAME?"]),
    "a misspelt secret": (b"SECERT_BACKEND_PASSWORD=canary\n", ["did you mean SECRET_BACKEND_PASSWORD?"]),
    "an option of one call": (b"VERSION=canary\n", ["VERSION in .env, line 1", "make COMMAND VERSION=..."]),
    "the same for a playbook": (b"BERTH_CONFIRM=canary\n", ["BERTH_CONFIRM in .env", "make COMMAND CONFIRM=..."]),
    "hosts of one call": (b"LIMIT=canary\n", ["LIMIT in .env, line 1", "make COMMAND LIMIT=..."]),
    "what Ansible reads before": (b"ANSIBLE_VAULT_PASSWORD_FILE=canary\n", ["ansible.cfg or the shell's environment"]),
    "a replacement in a setting": (b"LOCAL_DIR=${HOME}/canary\n", ["LOCAL_DIR in .env, line 1", "not replaced"]),
}


@pytest.mark.parametrize(("content", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_read_or_does_nothing_is_refused_with_its_line_and_without_its_value(tmp_path, content, words):
    (tmp_path / "roles").symlink_to(ROOT / "roles")
    (tmp_path / "group_vars").symlink_to(ROOT / "group_vars")
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(env_file.Refused) as refusal:
        env_file.load(tmp_path, {})
    assert [word for word in words if word not in str(refusal.value)] == [], str(refusal.value)
    assert "canary" not in str(refusal.value)


def test_other_programs_may_share_the_file_and_two_lines_of_a_name_are_told(tmp_path):
    (tmp_path / "roles").symlink_to(ROOT / "roles")
    (tmp_path / "group_vars").symlink_to(ROOT / "group_vars")
    (tmp_path / ".env").write_text("DATABASE_URL=x\nSECRET_KEY=${x}\nSTACK_NAME=a\nSTACK_NAME=b\nHTTP_PROXY=\n")
    environ = {"SECRET_KEY": "of-the-shell"}
    _, warnings = env_file.load(tmp_path, environ)
    assert environ == {"SECRET_KEY": "of-the-shell", "DATABASE_URL": "x", "STACK_NAME": "b"}
    assert warnings == [
        ".env, line 4: STACK_NAME is set in line 3 too; the last one counts",
        ".env has variables that Berth does not read: DATABASE_URL (line 1)",
    ]


def test_a_misspelt_option_in_the_environment_is_refused():
    env_file.load(ROOT, {"BERTH_ENV_FILE": "", "BERTH_VERSION": "v1", "BERTH_CALLED_FROM": "/", "BERTH_OF_ANOTHER_PROGRAM": "1"})
    with pytest.raises(env_file.Refused, match=r"BERTH_VERSOIN in the environment: did you mean BERTH_VERSION\?"):
        env_file.load(ROOT, {"BERTH_ENV_FILE": "", "BERTH_VERSOIN": "v1"})


def test_a_name_that_an_inventory_asks_for_is_known_with_it(project, tmp_path):
    (tmp_path / "hosts.yml").write_text("all: {hosts: {localhost: {}}}\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text("own: \"{{ lookup('env', 'MY_OWN') }}\"\n")
    called = {"cwd": tmp_path, "env": os.environ | {"PWD": str(tmp_path)}, "capture_output": True, "check": False}
    make = ["make", "-C", str(project), "-n", "status", "MY_OWN=1"]
    assert subprocess.run([*make, "INVENTORY=hosts.yml"], **called).returncode == 0
    assert subprocess.run(make, **called).returncode == 2


def test_another_file_or_none(tmp_path):
    (tmp_path / ".env").write_text("STACK_NAME=a\n")
    (tmp_path / "other").write_text("STACK_NAME=b\n")
    assert env_file.values(tmp_path, {"BERTH_ENV_FILE": str(tmp_path / "other")})[0]["STACK_NAME"] == "b"
    assert env_file.values(tmp_path, {"BERTH_ENV_FILE": ""}) == ({}, [])
    with pytest.raises(env_file.Refused, match="BERTH_ENV_FILE is /nowhere"):
        env_file.values(tmp_path, {"BERTH_ENV_FILE": "/nowhere"})


def test_an_inventory_of_the_file_is_used_by_make_and_asked_for_without_make(project):
    file = "INVENTORY=inventory/example-staging.yml\n"
    assert run(project, "make", "status", file=file, names=["INVENTORY"])["INVENTORY"].endswith("inventory/example-staging.yml")
    with pytest.raises(AssertionError, match="ansible-playbook -i"):
        run(project, "ansible-playbook", "playbooks/status.yml", file=file, names=["INVENTORY"])


def test_a_file_that_can_be_read_once_is_refused_and_the_null_device_is_none(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(env_file.Refused, match="a pipe or a device, which cannot be read twice"):
        env_file.values(tmp_path, {"BERTH_ENV_FILE": str(tmp_path / "pipe")})
    assert env_file.values(tmp_path, {"BERTH_ENV_FILE": os.devnull}) == ({}, [])


def refused(project: Path, *command: str, **environment: str) -> str:
    """What a call says that ends with a status that is not 0, for a play on docker_hosts."""
    (project / "playbooks/hosts.yml").write_text("- {name: X, hosts: docker_hosts, gather_facts: false, tasks: [{name: X, ping: {}}]}\n")
    own = {name: value for name, value in os.environ.items() if name not in OTHERS} | environment
    own["PATH"] = f"{ROOT}/.venv/bin:{os.environ['PATH']}"
    done = subprocess.run(command, cwd=project, env=own, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0, done.stdout + done.stderr
    return done.stderr


PLAY = ["ansible-playbook", "playbooks/hosts.yml"]


@pytest.mark.parametrize("how", ["a configuration of one's own", "the environment"])
def test_a_file_that_ansible_would_not_read_ends_the_run(project, how):
    (project / ".env").write_text("STACK_NAME=a\n")
    lines = (project / "ansible.cfg").read_text().splitlines(keepends=True)
    (project / "own.cfg").write_text("".join(line for line in lines if not line.startswith("vars_plugins_enabled")))
    given = {"ANSIBLE_CONFIG": str(project / "own.cfg")} if how != "the environment" else {"ANSIBLE_VARS_ENABLED": "host_group_vars"}
    output = refused(project, *PLAY, **given)
    assert ".env was not read" in output and "vars_plugins_enabled = host_group_vars,berth.stack.env_file" in output
    output = refused(project, *PLAY, **given, BERTH_ENV_FILE="/nowhere.env")
    assert "BERTH_ENV_FILE is /nowhere.env: there is no such file" in output


def test_a_run_without_the_check_of_calls_ends(project):
    output = refused(project, *PLAY, ANSIBLE_STDOUT_CALLBACK="default", ANSIBLE_CALLBACKS_ENABLED="none")
    assert "Ansible does not load berth.stack.calls" in output


def test_an_inventory_in_any_directory_is_enough(project, tmp_path):
    hosts = "{localhost: {ansible_connection: local, ansible_python_interpreter: '{{ ansible_playbook_python }}'}}"
    (tmp_path / "hosts.yml").write_text(f"docker_hosts: {{hosts: {hosts}}}\nbuilders: {{hosts: {{localhost: }}}}\n")
    command = ["ansible-playbook", "playbooks/status.yml", "-i", str(tmp_path / "hosts.yml")]
    assert run(project, *command, file="STACK_NAME=elsewhere\n", names=["STACK_NAME"])["STACK_NAME"] == "elsewhere"


def test_the_last_host_of_a_limit_with_commas_is_looked_at(project):
    output = refused(project, *PLAY, "-i", "inventory/local.yml", "--limit", "localhost,nope:builders")
    assert "LIMIT names nope:builders" in output


@pytest.mark.parametrize("quiet", ["--print-directory", "--silent", "--no-print-directory"])
def test_a_path_starts_where_the_user_is_however_quiet_make_is(project, tmp_path, quiet):
    names = ["BACKEND_SOURCE", "BERTH_ENV_FILE"]
    (tmp_path / "x.env").write_text("HTTPS_PORT=1\n")
    found = run(project, "make", quiet, "-C", str(project), "status", "BACKEND_SOURCE=app", file=None, names=names, PWD=str(tmp_path))
    assert found["BACKEND_SOURCE"] == str(tmp_path / "app")
    command = ["make", quiet, "-C", str(project), "status"]
    found = run(project, *command, file=None, names=names, PWD=str(tmp_path), BERTH_ENV_FILE="x.env")
    assert found["BERTH_ENV_FILE"] == str(tmp_path / "x.env")
    # A program that starts make elsewhere does not always set PWD.
    found = run(project, "make", "--silent", "status", "BACKEND_SOURCE=app", file=None, names=names, PWD="/nowhere")
    assert found["BACKEND_SOURCE"] == str(project / "app")


def test_a_python_that_ansible_does_not_run_on_makes_no_environment(tmp_path):
    for name in ("bin", "plugins", "roles", "group_vars", "playbooks", "molecule", "Makefile", "requirements.txt", "requirements.yml"):
        (tmp_path / name).symlink_to(ROOT / name)
    old = tmp_path / "old"
    old.write_text(f"""#!/bin/sh
case $1 in -c) exec {sys.executable} -c "import sys; sys.version_info = (3, 9, 2); $2";; bin/*) exec {sys.executable} "$@";; esac
touch made
""")
    old.chmod(0o755)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").symlink_to("/usr/bin/python3.of-before")
    done = subprocess.run(["make", "setup", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "is Python 3.9; Ansible needs 3.11 or newer" in done.stderr and not (tmp_path / "made").exists(), done.stdout + done.stderr


EXAMPLES = [line[1:] for line in (ROOT / ".env.example").read_text().splitlines() if line[:1] == "#" and line[1:2].isupper()]


@pytest.mark.parametrize("line", EXAMPLES)
def test_each_line_of_the_example_is_a_setting_as_it_stands(line):
    lines, problems = env_file.parse(f"{line}\n".encode(), ".env")
    names = env_file.known_names(ROOT)
    assert problems == [] and env_file.check(lines, names, ".env") == ([], [])
    assert lines[0].value == line.partition("=")[2] and " " not in lines[0].value


def test_all_lines_of_the_example_at_once_are_the_defaults(project):
    names = [line.partition("=")[0] for line in EXAMPLES]
    assert len(names) > 20
    found = run(project, "make", "status", file="\n".join(EXAMPLES), names=names, VALIDATE="yes")
    assert found["STACK_NAME"] == "berth" and found["BACKEND_SOURCE"] == str(project / "apps/backend")


def test_a_run_reads_the_file_once_however_often_ansible_makes_the_plugin(monkeypatch):
    from ansible_collections.berth.stack.plugins.vars import env_file as plugin

    plugin.read.cache_clear()
    read: list[Path] = []
    monkeypatch.setattr(plugin, "load", lambda project, *_: (read.append(project), ({}, []))[1])
    monkeypatch.setattr(plugin.context, "CLIARGS", {})
    plugin.VarsModule()
    plugin.VarsModule()
    assert read == [ROOT]
