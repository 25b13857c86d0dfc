# tables
"""The proofs of the backend's build: what is installed can be imported with the files that are left, and so can the application."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import dockerfiles
import pytest
from ansible_collections.berth.stack.plugins.filter.container import import_arguments
from trees import write


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    """A Python without packages, in an environment to install into."""
    place = tmp_path_factory.mktemp("venv") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    return place


def install(site: Path, name: str, files: dict[str, str]) -> None:
    """Put a distribution of one version into a site-packages directory, as an installer leaves it."""
    write(site, files)
    record = "".join(f"{path},,\n" for path in files)
    write(
        site, {f"{name}-1.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n", f"{name}-1.dist-info/RECORD": record}
    )


PACKAGES = {
    "plain": {"plain/__init__.py": "x = 1\n", "plain/stub.pyi": ""},
    # As lazy_loader's users do.
    "stubbed": {"stubbed/__init__.py": "import reader\nreader.read(__file__)\n", "stubbed/__init__.pyi": "from .x import y\n"},
    "reader": {"reader.py": "def read(path):\n    return open(path + 'i').read()\n"},
    "broken": {"broken.py": "import ctypes\nctypes.CDLL('libnowhere.so.9')\n"},
    "leaving": {"leaving.py": "import os\nos._exit(3)\n"},
    "spaced": {"space/one/__init__.py": "open(__file__[:-3] + '.txt').read()\n", "space/one/__init__.txt": ""},
}


def prove(tmp_path: Path, interpreter: Path, removed: list[str]):
    """The proof's output and what is in site-packages after it, of PACKAGES without the files `removed`."""
    venv, full = tmp_path / "opt-venv", tmp_path / "unslimmed"
    shutil.copytree(interpreter, venv, symlinks=True)
    site = next((venv / "lib").glob("python3.*/site-packages"))
    for name, files in PACKAGES.items():
        install(site, name, files)
    shutil.copytree(venv, full, symlinks=True)
    for path in removed:
        (site / path).unlink()
    moved = {"/opt/venv": venv, "/unslimmed": full, "/tmp/imports": tmp_path / "imports"}
    done = dockerfiles.run("backend_image", "closure.py", moved, interpreter=str(venv / "bin/python3"))
    return done, {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}


def test_a_package_that_reads_its_stubs_keeps_them(tmp_path, interpreter):
    done, left = prove(tmp_path, interpreter, ["plain/stub.pyi", "stubbed/__init__.pyi", "space/one/__init__.txt"])
    assert done.returncode == 0, done.stderr
    assert "stubbed needs files that are left out otherwise, and keeps them: FileNotFoundError" in done.stdout
    assert "space needs files that are left out otherwise" in done.stdout
    assert {"stubbed/__init__.pyi", "space/one/__init__.txt"} <= left
    assert "plain/stub.pyi" not in left
    assert "broken cannot be imported, with or without the files that are left out: OSError: libnowhere.so.9" in done.stdout
    assert "leaving cannot be imported, with or without the files that are left out: its import ends the interpreter" in done.stdout
    assert "4 of 6 modules can be imported" in done.stdout


def test_nothing_is_put_back_where_nothing_is_missed(tmp_path, interpreter):
    done, left = prove(tmp_path, interpreter, ["plain/stub.pyi"])
    assert done.returncode == 0, done.stderr
    assert "needs files" not in done.stdout
    assert "plain/stub.pyi" not in left


def application(tmp_path: Path, interpreter: Path, main: str, plain: dict[str, str] | None = None, **given: str):
    source, packages = tmp_path / "app", tmp_path / "packages"
    write(source, {"shop/main.py": main, "shop/sound.py": "x = 1\n"})
    write(packages, {"uvicorn.py": "", "pydantic_settings.py": ""})
    program = {"/app": source, "/tmp": tmp_path}
    environment = {
        "UVICORN_APP": "shop.main:app",
        "PLACEHOLDERS": json.dumps(given),
        "ENVIRONMENT": json.dumps(plain or {}),
        "PYTHONPATH": f"{packages}:{source}",
    }
    done = dockerfiles.run("backend_image", "application.py", program, interpreter=str(interpreter / "bin/python3"), **environment)
    last = (done.stdout.splitlines() or [""])[-1]
    return done.returncode, last


SECRET = "placeholder-of-the-build-0123456789abcdef"
CERTAIN = {
    "a module that nothing provides": ("import fastapi\n", "shop/main.py:1: ModuleNotFoundError: No module named 'fastapi'"),
    "a name that a module has not": (
        "x = 1\nfrom shop.sound import y\n",
        "shop/main.py:2: ImportError: cannot import name 'y' from 'shop.sound'",
    ),
    "a file that cannot be parsed": ("app = (\n", "shop/main.py:1: SyntaxError: '(' was never closed"),
    "a variable that the container is not given": ("import os\napp = os.environ['OTHER']\n", "shop/main.py:2: KeyError: 'OTHER'"),
    "metadata that is not installed": (
        "from importlib.metadata import version\napp = version('shop')\n",
        "shop/main.py:2: PackageNotFoundError: No package metadata was found for shop",
    ),
    "no application": ("api = 1\n", "shop.main:app: AttributeError: module 'shop.main' has no attribute 'app'"),
}


@pytest.mark.parametrize("case", CERTAIN)
def test_an_import_that_certainly_fails_is_an_error_with_file_and_line(tmp_path, interpreter, case):
    main, reason = CERTAIN[case]
    status, last = application(tmp_path, interpreter, main, TOKEN=SECRET)
    assert status == 1
    assert last.startswith(f"application: {reason}")


UNCERTAIN = {
    "a value that is no number": ("import os\napp = int(os.environ['TOKEN'])\n", "shop/main.py:2: ValueError: invalid literal"),
    "a module named by a variable": (
        "import importlib, os\napp = importlib.import_module(os.environ['TOKEN'])\n",
        "shop/main.py:2: ModuleNotFoundError",
    ),
    "a program that gives up": ("import sys\nsys.exit('no licence')\n", "shop/main.py:2: SystemExit: no licence"),
    "a lookup of its own": ("app = {}['OTHER']\n", "shop/main.py:1: KeyError"),
}


@pytest.mark.parametrize("case", UNCERTAIN)
def test_an_import_that_may_succeed_with_other_values_is_a_warning(tmp_path, interpreter, case):
    main, reason = UNCERTAIN[case]
    status, last = application(tmp_path, interpreter, main, {"LEVEL": "INFO"}, TOKEN=SECRET)
    assert status == 0
    assert last.startswith("warning: importing shop.main with placeholders for its variables fails")
    assert reason in last


UNREACHED = {
    "a service that does not answer": (
        "import socket\napp = socket.create_connection(('127.0.0.1', 9))\n",
        "shop/main.py:2: ConnectionRefusedError",
    ),
    "a database whose driver says so in its own words": (
        "class OperationalError(Exception): pass\ntry:\n    raise OSError('server at 127.0.0.1, port 9: Connection refused')\n"
        "except OSError as error:\n    raise OperationalError('no tables') from error\n",
        "shop/main.py:5: OperationalError: no tables",
    ),
}


@pytest.mark.parametrize("case", UNREACHED)
def test_an_import_that_connects_is_only_noted(tmp_path, interpreter, case):
    main, reason = UNREACHED[case]
    status, last = application(tmp_path, interpreter, main, {"LEVEL": "INFO"}, TOKEN=SECRET)
    assert status == 0
    assert last.startswith("note: importing shop.main with placeholders for its variables fails")
    assert reason in last


def test_an_application_that_can_be_imported_is_not_spoken_of(tmp_path, interpreter):
    main = (
        "import os\nassert os.environ['LEVEL'] == 'INFO'\n"
        "app = os.environ['TOKEN'] + open(os.environ['DATABASE_URL_FILE']).read()\nassert app == 'placeholderpostgresql://x'\n"
    )
    arguments = import_arguments(
        {"LEVEL": "INFO", "DATABASE_URL_FILE": "/run/secrets/database_url", "KEYS_URL": "http://shop-frontend-@release@:3000/keys"},
        {"TOKEN": "token"},
        "postgresql+asyncpg",
    )
    assert urlsplit(json.loads(arguments["ENVIRONMENT"])["KEYS_URL"]).hostname == "shop-frontend-build"
    given = json.loads(arguments["PLACEHOLDERS"])
    assert given["/run/secrets/database_url"].startswith("postgresql+asyncpg://")
    given |= {"TOKEN": "placeholder", "/run/secrets/database_url": "postgresql://x"}
    assert application(tmp_path, interpreter, main, json.loads(arguments["ENVIRONMENT"]), **given) == (0, "")
