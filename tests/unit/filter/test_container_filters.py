"""What roles turn their settings into: programs with secrets, sidecars, what a build may be told."""

from __future__ import annotations

import subprocess
import sys

import pytest
from ansible_collections.berth.stack.plugins.filter.build_failure import build_summary
from ansible_collections.berth.stack.plugins.filter.container import (
    SETTERS,
    as_container,
    build_environment,
    build_secrets,
    built_line,
    placeholder,
    with_secrets,
)

SERVICE = {
    "name": "s-backend-v1", "service": "backend", "repository": "s-backend",
    "networks": [{"name": "s-app", "aliases": ["backend"]}, {"name": "s-data"}],
    "secrets": "/var/lib/s/secrets/1/backend", "environment": {"LOG_LEVEL": "INFO"},
    "mem_limit": "512m", "cpus": 1.5, "user": "65532:65532",
}  # fmt: skip


def test_a_service_has_its_own_size_of_a_scratch_directory():
    common = {"tmpfs": ["/tmp:rw,size=64m", "/run:rw"]}
    service = {"name": "s", "service": "s", "repository": "r", "tmpfs": ["/tmp:rw,size=1g", "/x:rw"]}
    assert as_container(service, common, "v1")["tmpfs"] == ["/run:rw", "/tmp:rw,size=1g", "/x:rw"]


def test_a_program_without_secrets_stays_what_it_is():
    assert with_secrets(["python3", "-m", "uvicorn"], {}) == ["python3", "-m", "uvicorn"]
    assert with_secrets([], {"A": "a"}) == []


@pytest.mark.parametrize("value", ["postgresql://x", "-----BEGIN-----\nMIG+/==\n-----END-----\n", "two\r\nlines\r\n", " ü \t"], ids=repr)
@pytest.mark.parametrize("runtime", SETTERS)
def test_the_setter_sets_the_variable_byte_for_byte_and_runs_the_program(tmp_path, runtime, value):
    (tmp_path / "secret").write_bytes(value.encode())
    code = SETTERS[runtime].replace("/run/secrets/", f"{tmp_path}/")
    if runtime == "node":
        (tmp_path / "show.mjs").write_text("process.stdout.write(process.env.SECRET + JSON.stringify(process.argv.slice(2)))")
        command = ["node", "-e", code, "SECRET=secret", "--", str(tmp_path / "show.mjs"), "a", "b c"]
    else:
        show = "import os,sys;sys.stdout.buffer.write(os.environb[b'SECRET'] + str(sys.argv[1:]).replace(chr(39), chr(34)).encode())"
        command = [sys.executable, "-IS", "-c", code, "SECRET=secret", "--", sys.executable, "-c", show, "a", "b c"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.replace(b", ", b",") == value.encode() + b'["a","b c"]'


def test_a_missing_secret_ends_the_program(tmp_path):
    code = SETTERS["python"].replace("/run/secrets/", f"{tmp_path}/")
    done = subprocess.run([sys.executable, "-c", code, "A=absent", "--", "true"], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "absent" in done.stderr


def test_node_runs_in_the_same_process_and_others_by_python():
    assert with_secrets(["node", "server.js"], {"B": "b", "A": "a"})[3:] == ["A=a", "B=b", "--", "server.js"]
    assert with_secrets(["python3", "-m", "alembic"], {"A": "a"})[-4:] == ["--", "python3", "-m", "alembic"]


def test_variables_of_a_build_are_json():
    assert build_environment({"A": "x y", "B": 1}) == '{"A": "x y", "B": "1"}'


def test_placeholders_have_the_form_that_is_asked_for():
    assert placeholder("DATABASE_URL").startswith("postgresql://") and placeholder("BACKEND_URL").startswith("http://")
    assert len(placeholder("BETTER_AUTH_SECRET")) >= 32
    assert placeholder("REDIS_URL") == placeholder("MY_CACHE_URL") == "redis://:build@127.0.0.1:9/0"


def test_build_secrets_are_files_by_id():
    assert build_secrets({"netrc": "/root/.netrc"}) == [{"id": "netrc", "type": "file", "src": "/root/.netrc"}]


LOG = """#1 [internal] load build definition from Dockerfile
#5 [base 1/2] FROM docker.io/library/b:1
#6 [builder 1/3] RUN one
#6 CACHED
#7 [builder 2/3] RUN two
#7 0.412 warning: no lock file for npm in the source: the newest versions
#7 0.9 npm warn deprecated x@1
#8 [stage-9 1/1] COPY --from=builder / /
#8 DONE 0.1s
"""


def test_a_build_is_summed_up():
    assert build_summary(LOG, 12.34) == {
        "seconds": 12.3, "steps": 3, "cached": 1, "warnings": ["warning: no lock file for npm in the source: the newest versions"],
    }  # fmt: skip


def test_an_image_that_was_there_says_so():
    result = {"service": "backend", "reference": "b:1", "id": "sha256:" + "a" * 64, "size": 98_800_000, "layers": 4}
    assert built_line(result).endswith("98.8 MB  4 layers  exists already")
    assert built_line(result, {"backend": {"seconds": 2.0, "cached": 3, "steps": 4}}).endswith("built in 2.0 s, 3 of 4 steps cached")
