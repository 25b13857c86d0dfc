# tables
"""What the backend's build installs: dependencies as people declare them, and the packages of the source itself."""

from __future__ import annotations

import json
from pathlib import Path

import dockerfiles
import pytest
from trees import write

PROJECT = '[project]\nname = "shop"\nversion = "1.2"\ndependencies = ["fastapi==0.115.0"]\n'
BUILT = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
SHARED = (
    '[project]\nname = "shared"\nversion = "1"\ndependencies = ["httpx==0.27.0"]\n[project.optional-dependencies]\nx = ["orjson==3.10.0"]\n'
    + BUILT
)


def declared(tmp_path: Path, files: dict[str, str | bytes], root: str = ".", **environment: str):
    """(lines of the requirements, packages of the source) that the build makes of a source; or what it says instead."""
    source = tmp_path / "source"
    source.mkdir()
    write(source, {path: text for path, text in files.items() if isinstance(text, str)})
    for path, raw in files.items():
        if isinstance(raw, bytes):
            (source / path).write_bytes(raw)
    moved = {"/source": source, "/dependencies": tmp_path / "dependencies", "/tmp/source": tmp_path / "copy"}
    settings = {"DEPENDENCIES": "auto", "APP_ROOT": root, "DEPENDENCY_EXTRAS": "", "PACKAGE_VERSION": "0.0.0"} | environment
    done = dockerfiles.run("backend_image", "dependencies", moved, "files", **settings)
    if done.returncode:
        return done.stderr.strip()
    lines = [line for line in (tmp_path / "dependencies/requirements.txt").read_text().splitlines() if line]
    return lines, json.loads((tmp_path / "dependencies/local.json").read_text())


PIP = {
    "UTF-16": ({"requirements.txt": "fastapi==0.115.0\r\nuvicorn\r\n".encode("utf-16")}, (["fastapi==0.115.0", "uvicorn"], {})),
    "UTF-8 with a mark": ({"requirements.txt": b"\xef\xbb\xbffastapi\n"}, (["fastapi"], {})),
    "an included file": (
        {"requirements.txt": "-r more/base.txt\nuvicorn", "more/base.txt": "fastapi # the framework\n"},
        (["fastapi", "uvicorn"], {}),
    ),
    "options, addresses, markers and hashes": (
        {
            "requirements.txt": "--extra-index-url https://x.example/simple\nfoo @ https://x.example/foo.whl\n-e git+https://x.example/bar.git#egg=bar\n"
            "pywin32==306 ; sys_platform == 'win32'\nzope.interface==7 \\\n    --hash=sha256:ab/c\n"
        },
        (
            [
                "--extra-index-url https://x.example/simple",
                "foo @ https://x.example/foo.whl",
                "-e git+https://x.example/bar.git#egg=bar",
                "pywin32==306 ; sys_platform == 'win32'",
                "zope.interface==7      --hash=sha256:ab/c",
            ],
            {},
        ),
    ),
    "the project itself": (
        {"requirements.txt": "-e .\nuvicorn\n", "pyproject.toml": PROJECT + BUILT},
        (["fastapi==0.115.0", "uvicorn"], {".": True}),
    ),
    "the project with hashes": (
        {"requirements.txt": "-e .\nuvicorn==1 --hash=sha256:ab\n", "pyproject.toml": PROJECT + BUILT},
        (["uvicorn==1 --hash=sha256:ab"], {".": True}),
    ),
    "a package beside the application": (
        {"api/requirements.txt": "-e ../libs/shared[x]\nuvicorn\n", "libs/shared/pyproject.toml": SHARED},
        (["httpx==0.27.0", "orjson==3.10.0", "uvicorn"], {"libs/shared": True}),
    ),
    "a path without an option": (
        {"api/requirements.txt": "./vendor/shared\n", "api/vendor/shared/pyproject.toml": SHARED},
        (["httpx==0.27.0"], {"api/vendor/shared": True}),
    ),
    "a package for another system": (
        {"api/requirements.txt": "../libs/shared ; sys_platform == 'win32'\nuvicorn\n", "libs/shared/pyproject.toml": SHARED},
        (["uvicorn"], {}),
    ),
    "a pyproject.toml alone": ({"pyproject.toml": PROJECT}, (["fastapi==0.115.0"], {})),
    "one that is built": ({"pyproject.toml": PROJECT + BUILT}, (["fastapi==0.115.0"], {".": False})),
    "one that is no package": ({"pyproject.toml": PROJECT + BUILT + "[tool.poetry]\npackage-mode = false\n"}, (["fastapi==0.115.0"], {})),
    "extras that name extras": (
        {
            "pyproject.toml": PROJECT + '[project.optional-dependencies]\nall = ["shop[db]"]\ndb = ["asyncpg==0.30.0"]\n',
            "DEPENDENCY_EXTRAS": "all",
        },
        (["fastapi==0.115.0", "asyncpg==0.30.0"], {}),
    ),
    "a requirement that is a path": (
        {"pyproject.toml": PROJECT.replace('"]', '", "shared @ {root:uri}/libs/shared"]'), "libs/shared/pyproject.toml": SHARED},
        (["fastapi==0.115.0", "httpx==0.27.0"], {"libs/shared": True}),
    ),
}


@pytest.mark.parametrize("case", PIP)
def test_what_pip_reads(tmp_path, case):
    files, expected = PIP[case]
    extras = {name: text for name, text in files.items() if name == "DEPENDENCY_EXTRAS"}
    root = "api" if any(path.startswith("api/") for path in files) else "."
    assert declared(tmp_path, {path: text for path, text in files.items() if path not in extras}, root, **extras) == expected


def test_a_constraint_is_one(tmp_path):
    lines, _ = declared(tmp_path, {"requirements.txt": "-c limits.txt\nfastapi\n", "limits.txt": "fastapi<1\n"})
    assert lines == [f"-c {tmp_path}/dependencies/limits.txt", "fastapi"]
    assert (tmp_path / "dependencies/limits.txt").read_text() == "fastapi<1\n"


REFUSED = {
    "nothing is declared": ({"main.py": ""}, {}, "no uv.lock, poetry.lock, pdm.lock, requirements.txt, setup.py or pyproject.toml"),
    "a file that is not there": ({"requirements.txt": "-r base.txt\n"}, {}, "requirements file not found: base.txt"),
    "a package out of the source": (
        {"requirements.txt": "-e ../libs/shared\n"},
        {},
        "-e ../libs/shared: there is no ../libs/shared in the source: set the source to the directory that has both",
    ),
    "an extra that there is not": (
        {"pyproject.toml": PROJECT},
        {"DEPENDENCY_EXTRAS": "db"},
        "pyproject.toml has no extra db; it has: none",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_installed_is_refused(tmp_path, case):
    files, environment, reason = REFUSED[case]
    assert reason in declared(tmp_path, files, **environment)
