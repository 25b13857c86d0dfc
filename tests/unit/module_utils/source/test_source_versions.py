"""Environment markers, compared with `packaging`; and what a source's dependencies are where markers say so."""

from __future__ import annotations

import packaging.markers
import pytest
from ansible_collections.berth.stack.plugins.module_utils.source import fastapi as source_fastapi
from ansible_collections.berth.stack.plugins.module_utils.source import versions
from ansible_collections.berth.stack.plugins.module_utils.source.checks import Tree
from ansible_collections.berth.stack.plugins.module_utils.source.findings import line
from ansible_collections.berth.stack.plugins.module_utils.source.python_dependencies import declared
from ansible_collections.berth.stack.plugins.module_utils.source.versions import Unreadable, environments, evaluate, holds, split
from trees import BACKEND, write

MARKERS = [
    'sys_platform == "win32"',
    "sys_platform != 'win32'",
    "sys_platform == 'linux' or sys_platform == 'darwin'",
    "platform_system == 'Windows'",
    "os_name == 'nt'",
    "os_name == 'posix' and sys_platform != 'cygwin'",
    "platform_machine == 'aarch64' or platform_machine == 'x86_64'",
    "platform_machine == 'arm64' and sys_platform == 'darwin'",
    "platform_machine not in 'arm64 aarch64'",
    "sys_platform in 'linux darwin'",
    "'linux' in sys_platform",
    "python_version < '3.11'",
    "python_version >= '3.11'",
    "python_version > '3.11'",
    "python_version == '3.11'",
    "python_version == '3.*'",
    "python_version != '3.11.*'",
    "python_version ~= '3.8'",
    "python_version ~= '3.11.1'",
    "'3.9' <= python_version",
    "python_version < '3.9' or python_version >= '3.13'",
    "python_version in '3.10 3.11'",
    "python_full_version < '3.11.3'",
    "python_full_version >= '3.11.3'",
    "python_full_version == '3.11.*'",
    "python_full_version < '3.14.0rc1'",
    "python_full_version >= '3.13' and platform_python_implementation != 'PyPy'",
    "implementation_name == 'cpython'",
    "implementation_name == 'pypy' or (sys_platform == 'linux' and python_version >= '3.10')",
    "(platform_python_implementation == 'CPython' and python_version < '3.13') and (sys_platform != 'win32')",
    "extra == 'dev'",
    "extra == ''",
    "sys_platform == 'win32' or extra == 'dev' and python_version >= '3.8'",
    "platform_release >= '20' and sys_platform == 'darwin'",
]


@pytest.mark.parametrize("python", ["3.11.2", "3.13.5", "3.9.0", "3.12.10"])
@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_means_what_packaging_says(marker, python):
    (environment,) = environments(python, "x86_64")
    assert evaluate(marker, environment) == packaging.markers.Marker(marker).evaluate(environment)


@pytest.mark.parametrize(("python", "marker", "may"), [
    ("3.11", "python_full_version < '3.11.3'", True),
    ("3.11", "python_full_version >= '3.11.3'", True),
    ("3.11", "python_full_version >= '3.12'", False),
    ("3.11", "", True),
    ("3.11", "what is this", True),
    ("3.11", "sys_platform", True),
    ("3.11", "extra == 'extra-3-app-cpu' and sys_platform == 'linux'", True),
    ("3.11", "extra != 'extra-3-app-cpu' and sys_platform == 'win32'", False),
])  # fmt: skip
def test_what_cannot_be_evaluated_counts_as_installed(python, marker, may):
    assert holds(marker, environments(python, "x86_64")) is may


def test_what_is_no_marker_is_not_guessed():
    for text in ("", "sys_platform ==", "sys_platform = 'x'", "'a' == 'b'", "unknown == 'x'", "(sys_platform == 'x'"):
        with pytest.raises(Unreadable):
            evaluate(text, environments("3.11.2", "x86_64")[0])


@pytest.mark.parametrize(("requirement", "parts"), [
    ('pywin32==306 ; sys_platform == "win32"  # Windows', ("pywin32==306", 'sys_platform == "win32"')),
    ("a==1;python_version<'3.9'", ("a==1", "python_version<'3.9'")),
    ("a==1 ; sys_platform == 'x' --hash=sha256:00 --hash=sha256:11", ("a==1", "sys_platform == 'x'")),
    ("a @ https://example.com/a;b.whl ; os_name == 'nt'", ("a @ https://example.com/a;b.whl", "os_name == 'nt'")),
    ("git+https://example.com/x.git#egg=x ; os_name == 'nt'", ("git+https://example.com/x.git#egg=x", "os_name == 'nt'")),
    ("a[b]>=1,<2", ("a[b]>=1,<2", "")),
])  # fmt: skip
def test_a_requirement_and_its_marker(requirement, parts):
    assert split(requirement) == parts


WHEEL = '{ url = "https://example.com/%s" }'


def package(name: str, version: str, wheel: str, *dependencies: str, more: str = "") -> str:
    return (
        f'[[package]]\nname = "{name}"\nversion = "{version}"\nsource = {{ registry = "https://example.com/simple" }}\n{more}\n'
        f"dependencies = [{', '.join(dependencies)}]\nwheels = [{WHEEL % wheel}]\n\n"
    )


PURE = "x-1-py3-none-any.whl"
WINDOWS_ONLY = "x-1-cp311-cp311-win_amd64.whl"
LOCK = (
    'version = 1\nrequires-python = ">=3.11"\n\n[[package]]\nname = "app"\nversion = "0"\nsource = { virtual = "." }\n'
    'dependencies = [{ name = "fastapi" }, { name = "uvicorn" }, { name = "sqlmodel" }, { name = "pyjwt" }, { name = "mcp" }, '
    '{ name = "numpy", version = "1.26.4", source = { registry = "x" }, marker = "python_full_version < \'3.12\'" }, '
    '{ name = "numpy", version = "2.1.0", source = { registry = "x" }, marker = "python_full_version >= \'3.12\'" }]\n\n'
    + "".join(package(name, "1.0", PURE) for name in ("fastapi", "uvicorn", "pyjwt", "sqlalchemy"))
    + package("sqlmodel", "1.0", PURE, '{ name = "sqlalchemy" }')
    + package("mcp", "1.0", PURE, '{ name = "pywin32", marker = "sys_platform == \'win32\'" }', '{ name = "anyio" }')
    + package("pywin32", "306", WINDOWS_ONLY, '{ name = "winhelper" }')
    + package("winhelper", "1.0", WINDOWS_ONLY)
    + package("anyio", "4.0", PURE)
    + package("numpy", "1.26.4", "numpy-1.26.4-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl")
    + package("numpy", "2.1.0", "numpy-2.1.0-cp313-cp313-manylinux_2_17_x86_64.whl")
)
TOML = '[project]\nname = "app"\nversion = "0"\ndependencies = [{}]\n'
POETRY = '[tool.poetry.dependencies]\npython = "^3.11"\npywin32 = {version = "*", markers = "sys_platform == \'win32\'"}\n'
POETRY += 'winloop = {version = "*", platform = "win32"}\ntomli = {version = "*", python = "<3.11"}\n'
SOURCES = {
    "requirements.txt": {"requirements.txt": BACKEND["requirements.txt"] + 'pywin32==300 ; sys_platform == "win32"\n'},
    "requirements.txt as uv exports it": {
        "requirements.txt": BACKEND["requirements.txt"] + "pywin32==300 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n    # via mcp\n"
    },
    "pyproject.toml": {
        "requirements.txt": None,
        "pyproject.toml": TOML.format("'fastapi', 'uvicorn', 'sqlmodel', 'pyjwt', 'pywin32==300; sys_platform == \"win32\"'"),
    },
    "uv.lock": {"requirements.txt": None, "pyproject.toml": TOML.format('"mcp"'), "uv.lock": LOCK},
}


@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize("source", SOURCES)
def test_what_is_installed_on_other_systems_only_is_not_mentioned(tmp_path, source, python):
    root = write(tmp_path, BACKEND, SOURCES[source])
    options = source_fastapi.Options(python=python, machine="x86_64")
    messages = [line(item) for item in source_fastapi.check(root, options) if item["check"] in ("version", "import")]
    assert messages == []
    found, _ = declared(Tree(root), options)
    assert "fastapi" in found.names
    assert "pywin32" not in found.names
    assert "pywin32" in found.elsewhere


def test_a_lock_for_several_pythons_is_read_for_the_images_own(tmp_path):
    root = write(tmp_path, BACKEND, SOURCES["uv.lock"])
    for python, version in (("3.11", "==1.26.4"), ("3.13", "==2.1.0")):
        found, installed = declared(Tree(root), source_fastapi.Options(python=python, machine="x86_64"))
        assert found.names["numpy"][2] == version
        assert [p["version"] for p in installed["numpy"]] == [version[2:]]
        assert "winhelper" not in found.names, "what follows from it is not installed either"


def test_a_wheel_for_another_processor_does_not_install(tmp_path):
    root = write(tmp_path, BACKEND, SOURCES["uv.lock"])
    messages = [line(item) for item in source_fastapi.check(root, source_fastapi.Options(machine="aarch64")) if item["check"] == "version"]
    assert len(messages) == 1
    assert "numpy 1.26.4 has no wheel for Python 3.11 (Linux aarch64) and no source" in messages[0]


def test_poetrys_own_markers(tmp_path):
    root = write(tmp_path, {"pyproject.toml": POETRY, "app/main.py": "app = 1"})
    found, _ = declared(Tree(root), source_fastapi.Options(dependencies="pyproject"))
    assert set(found.names) == set()
    assert set(found.elsewhere) == {"pywin32", "winloop"}


@pytest.mark.parametrize(("code", "messages"), [
    ("import sys\nif sys.platform == 'win32':\n    import win32api\n", 0),
    ("try:\n    import win32api\nexcept ImportError:\n    win32api = None\n", 0),
    ("import win32api\n", 1),
])  # fmt: skip
def test_an_import_of_what_is_installed_elsewhere(tmp_path, code, messages):
    root = write(tmp_path, BACKEND, SOURCES["requirements.txt"], {"app/database.py": code + "engine = 1\n"})
    found = [line(item) for item in source_fastapi.check(root, source_fastapi.Options()) if item["check"] == "import"]
    assert len(found) == messages, found
    if messages:
        assert "requirements.txt installs pywin32 only where sys_platform ==" in found[0]


def test_a_builder_without_the_libraries_compares_no_versions_and_refuses_nothing_for_them(tmp_path, monkeypatch):
    monkeypatch.setattr(versions, "MISSING", ["packaging"])
    assert versions.python_allows(">=3.13", "3.11") is None and versions.node_allows(">=20", "18.20.4") is None
    for number, layers in enumerate(SOURCES.values()):
        root = write(tmp_path / str(number), BACKEND, layers, {"pyproject.toml": TOML.format("") + 'requires-python = ">=3.13"\n'})
        found = source_fastapi.check(root, source_fastapi.Options(machine="x86_64"))
        assert [line(item) for item in found if item["check"] == "version"] == []
