"""What a Python source declares its dependencies in, and whether the image's Python can satisfy it."""

from __future__ import annotations

import posixpath
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from . import python_packages as packages
from . import versions as markers
from .checks import Tree, line_of
from .findings import finding
from .python_packages import normal
from .versions import python_allows, release


@dataclass
class Options:
    """How the image will be built and run; paths are relative to the source, as the role's variables are."""

    app: str = "app.main:app"
    app_root: str = "."
    pythonpath: str = ""
    dependencies: str = "auto"
    python: str = "3.11"
    health_path: str = "/health"
    port: int = 8000
    environment: set[str] = field(default_factory=set)
    extra_commands: str = ""
    role: str = "backend_image"
    machine: str = field(default_factory=markers.builders_machine)

    def environments(self) -> list[dict[str, str]]:
        return markers.environments(self.python, self.machine)


@dataclass
class Declared:
    """What the dependencies are declared in."""

    file: str = ""
    names: dict[str, tuple[str, int, str]] = field(default_factory=dict)  # normalised name -> file, line, specifier
    extras: set[str] = field(default_factory=set)  # name[extra]
    complete: bool = False  # all that gets installed is named, not only what is asked for
    opaque: bool = False  # something is installed whose name cannot be read
    development: set[str] = field(default_factory=set)
    elsewhere: dict[str, str] = field(default_factory=dict)  # normalised name -> marker: installed on other systems only
    projects: set[str] = field(default_factory=set)  # those whose dependencies have been read
    local: dict[str, str] = field(
        default_factory=dict
    )  # directory of a package of the source, or a path out of it -> file:line that names it

    def where(self, name: str) -> str:
        """file:line that declares the dependency `name`."""
        file, line, _ = self.names[name]
        return f"{file}:{line}"

    def roots(self) -> list[str]:
        """The directories that the packages of the source are imported from."""
        return [clean(f"{folder}/{below}") for folder in self.local if not folder.startswith("..") for below in ("", "src")]


LOCKS = {"uv": "uv.lock", "poetry": "poetry.lock", "pdm": "pdm.lock"}


def clean(path: str) -> str:
    cleaned = posixpath.normpath(str(PurePosixPath(path)))
    return "" if cleaned == "." else cleaned


def toml(tree: Tree, path: str) -> dict[str, Any]:
    """A TOML file of the source; empty where it is none."""
    try:
        return tomllib.loads(tree.text(path) or "")
    except tomllib.TOMLDecodeError:
        return {}


def required_python(data: dict[str, Any]) -> str:
    """What a pyproject.toml or uv.lock asks of Python, as a specifier; empty for nothing."""
    found = (
        data.get("project", {}).get("requires-python")
        or data.get("requires-python")
        or data.get("tool", {}).get("poetry", {}).get("dependencies", {}).get("python")
    )
    return found if isinstance(found, str) and found.strip() != "*" else ""


# A requirement that is a directory: -e ../libs/shared[extra], ./vendor/x, .
LOCAL = re.compile(r"(?:(?:-e|--editable)[\s=]*(?!git\+|[\w+]+://)|(?=\.))(?:file:(?://)?)?([^\s\[;#]+?)/?(?:\[[^\]]*\])?\s*(?:[;#].*)?$")
REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?\s*(.*)$")


def _add(found: Declared, text: str, file: str, line: int, where: list[dict[str, str]]) -> None:
    """Note a requirement, where its marker holds in the environments `where`."""
    text, marker = markers.split(text)
    installed = markers.holds(marker, where)
    match = REQUIREMENT.match(text)
    if not match or re.match(r"\s*(git\+|https?:|file:|\.|/)", text):
        found.opaque |= installed
        return
    name, specifier = normal(match[1]), match[3].strip().strip("()")
    if not installed:
        found.elsewhere[name] = marker
        return
    if specifier.startswith("@"):
        specifier = ""
    found.names.setdefault(name, (file, line, re.split(r"\s+--", specifier)[0]))
    found.extras |= {f"{name}[{extra.strip()}]" for extra in (match[2] or "").split(",") if extra.strip()}


def _requirements(tree: Tree, path: str, found: Declared, seen: set[str], where: list[dict[str, str]]) -> None:
    if path in seen:
        return
    seen.add(path)
    text = re.sub(r"\\\n", " ", tree.text(path) or "")
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        include = re.match(r"(?:-r|--requirement)[\s=]*([^\s#]+)", line)
        if include:
            _requirements(tree, str(PurePosixPath(path).parent / include[1]).removeprefix("./"), found, seen, where)
        elif match := LOCAL.match(line):
            base = PurePosixPath(path).parent
            folder = next((clean(str(at / match[1])) for at in (base, *base.parents) if clean(str(at / match[1])) in tree.directories), "")
            folder = folder or clean(str(base / match[1]))
            found.local.setdefault(folder, f"{path}:{number}")
            if folder not in found.projects:
                found.projects.add(folder)
                _project(tree, f"{folder}/pyproject.toml".lstrip("/"), found, where)
                found.opaque |= f"{folder}/pyproject.toml".lstrip("/") not in tree.paths
        elif re.match(r"(-e|--editable|git\+|https?:)", line):
            address, marker = markers.split(line)
            if markers.holds(marker, where):
                egg = re.search(r"#egg=([\w.-]+)|/([\w.-]+?)(?:\.git)?(?:@[^/]*)?$", address)
                _add(found, next(filter(None, egg.groups())) if egg else "https:", path, number, where)
                found.opaque = True
        elif line and not line.startswith(("#", "-")):
            _add(found, line, path, number, where)


def _line_with(tree: Tree, path: str, needle: str) -> int:
    text = tree.text(path) or ""
    position = text.find(needle)
    return line_of(text, position) if position >= 0 else 1


def _poetry_marker(spec: Any) -> str:
    """The marker of a dependency in [tool.poetry.dependencies]; one of several forms of it needs to hold."""
    if isinstance(spec, list):
        each = [_poetry_marker(one) for one in spec]
        return " or ".join(f"({one})" for one in each) if all(each) else ""
    conditions = [f"({spec['markers']})"] if isinstance(spec, dict) and spec.get("markers") else []
    if isinstance(spec, dict) and spec.get("platform"):
        conditions.append(f"sys_platform == '{spec['platform']}'")
    return " and ".join(conditions)


def _poetry_python(spec: Any, options_python: str) -> bool:
    """Whether a dependency in [tool.poetry.dependencies] is one for this Python."""
    required = [one.get("python") if isinstance(one, dict) else None for one in (spec if isinstance(spec, list) else [spec])]
    return any(not isinstance(one, str) or python_allows(one, options_python) is not False for one in required)


def _project(tree: Tree, path: str, found: Declared, where: list[dict[str, str]]) -> None:
    data = toml(tree, path)
    for text in data.get("project", {}).get("dependencies", []):
        _add(found, text, path, _line_with(tree, path, text), where)
    for name, spec in data.get("tool", {}).get("poetry", {}).get("dependencies", {}).items():
        if name != "python" and _poetry_python(spec, where[0]["python_version"]):
            marker = _poetry_marker(spec)
            _add(found, f"{name} ; {marker}" if marker else name, path, _line_with(tree, path, name), where)
            if not markers.holds(marker, where):
                continue
            found.extras |= {f"{normal(name)}[{e}]" for e in (spec.get("extras", []) if isinstance(spec, dict) else [])}
    groups = [*data.get("dependency-groups", {}).values(), *data.get("project", {}).get("optional-dependencies", {}).values()]
    for group in groups:
        for text in group:
            if isinstance(text, str) and (match := REQUIREMENT.match(text)):
                found.development.add(normal(match[1]))


def _poetry(tree: Tree, path: str) -> list[dict[str, Any]]:
    """The packages of a poetry.lock, and the project itself, in the form of a uv.lock."""

    def needs(dependencies: dict[str, Any]) -> list[dict[str, Any]]:
        each = [(name, spec) for name, several in dependencies.items() for spec in (several if isinstance(several, list) else [several])]
        forms = [(name, spec if isinstance(spec, dict) else {}) for name, spec in each]
        return [
            {"name": name, "marker": spec.get("markers"), "extra": spec.get("extras", [])}
            for name, spec in forms
            if name != "python" and not spec.get("optional")
        ]

    packages_ = [
        package
        | {
            "dependencies": needs(package.get("dependencies", {})),
            "optional-dependencies": {
                extra: [{"name": match[1]} for line in lines if (match := REQUIREMENT.match(line))]
                for extra, lines in package.get("extras", {}).items()
            },
            "resolution-markers": [marker] if isinstance(marker := package.get("markers"), str) and "extra" not in marker else [],
            "source": {"directory": package["source"]["url"]} if package.get("source", {}).get("type") == "directory" else {},
        }
        for package in toml(tree, path).get("package", [])
    ]
    project = toml(tree, str(PurePosixPath(path).with_name("pyproject.toml")))
    own = needs(project.get("tool", {}).get("poetry", {}).get("dependencies", {}))
    for text in project.get("project", {}).get("dependencies", []):
        requirement, marker = markers.split(text)
        if match := REQUIREMENT.match(requirement):
            own.append({"name": match[1], "marker": marker, "extra": [one.strip() for one in (match[2] or "").split(",") if one]})
    return [*packages_, {"name": "", "source": {"virtual": "."}, "dependencies": own}]


def _pdm(tree: Tree, path: str) -> list[dict[str, Any]]:
    """The packages of a pdm.lock, and the project itself, in the form of a uv.lock."""
    locked = toml(tree, path).get("package", [])
    own = [
        {"name": package["name"], "marker": package.get("marker")} for package in locked if "default" in package.get("groups", ["default"])
    ]
    each = [package | {"dependencies": [], "source": {"directory": package["path"]} if "path" in package else {}} for package in locked]
    return [*each, {"name": "", "source": {"virtual": "."}, "dependencies": own}]


def _lock(tree: Tree, kind: str, path: str, found: Declared, where: list[dict[str, str]]) -> dict[str, list[dict[str, Any]]]:
    """What the projects of a lock need here, and all that follows from it; returned: the packages that are installed, by name.

    A lock is for all systems and Pythons: a package is installed where a chain of dependencies leads to it whose markers hold.
    """
    by_name: dict[str, list[dict[str, Any]]] = {}
    packages_ = {"poetry": _poetry, "pdm": _pdm}[kind](tree, path) if kind != "uv" else toml(tree, path).get("package", [])
    for package in packages_:
        by_name.setdefault(normal(package["name"]), []).append(package)
    own = [p for several in by_name.values() for p in several if {"virtual", "editable"} & set(p.get("source", {}))]
    base = PurePosixPath(path).parent
    for package in packages_:
        source = package.get("source", {})
        if place := source.get("editable") or source.get("directory"):
            found.local[clean(str(base / place))] = f"{path}:{_line_with(tree, path, place)}"
    queue = [dependency for p in own for dependency in p.get("dependencies", [])]
    done: set[tuple[str, str, str]] = set()
    installed: dict[str, list[dict[str, Any]]] = {}
    while queue:
        dependency = queue.pop()
        name = normal(dependency["name"])
        if not markers.holds(dependency.get("marker"), where):
            found.elsewhere.setdefault(name, dependency["marker"])
            continue
        for extra in ["", *dependency.get("extra", [])]:
            if (name, extra, dependency.get("version", "")) in done:
                continue
            done.add((name, extra, dependency.get("version", "")))
            for package in by_name.get(name, []):
                forks = package.get("resolution-markers", [])
                if dependency.get("version", package.get("version")) != package.get("version"):
                    continue  # another one of several versions
                if forks and not any(markers.holds(fork, where) for fork in forks):
                    continue
                if package not in installed.setdefault(name, []):
                    installed[name].append(package)
                found.names.setdefault(
                    name, (path, _line_with(tree, path, f'name = "{package["name"]}"'), "==" + package.get("version", "0"))
                )
                queue += package.get("optional-dependencies", {}).get(extra, []) if extra else package.get("dependencies", [])
    found.elsewhere = {name: marker for name, marker in found.elsewhere.items() if name not in found.names}
    found.development = {name for name in by_name if name not in found.names} - {normal(p["name"]) for p in own} - set(found.elsewhere)
    found.complete = bool(found.names)
    return installed


def declared(tree: Tree, options: Options) -> tuple[Declared, dict[str, list[dict[str, Any]]]]:
    """The dependencies that the image will be given, chosen as the Dockerfile chooses them."""
    start = PurePosixPath(clean(options.app_root) or ".")
    roots = [clean(str(folder)) for folder in (start, *start.parents)]
    found, locked = Declared(), {}
    where = options.environments()

    def first(name: str) -> str:
        return next((p for p in (f"{root}/{name}".lstrip("/") for root in roots) if p in tree.paths), "")

    files = {kind: first(name) for kind, name in LOCKS.items()}
    files |= {"requirements": first("requirements.txt"), "pyproject": first("pyproject.toml") or first("setup.py")}
    choice = options.dependencies
    if choice == "auto":
        usable = {kind: path for kind, path in files.items() if path and (kind != "pyproject" or _is_project(tree, path))}
        choice = next(iter(usable), "")
    found.file = files.get(choice, clean(choice))
    own = next((f"{root}/pyproject.toml".lstrip("/") for root in roots if f"{root}/pyproject.toml".lstrip("/") in tree.paths), "")
    if choice != "uv" and "build-system" in toml(tree, own):
        found.local.setdefault(clean(str(PurePosixPath(own).parent)), own)
    if choice in LOCKS and found.file:
        locked = _lock(tree, choice, found.file, found, where)
    elif choice == "pyproject" and found.file:
        _project(tree, found.file, found, where)
        found.opaque |= found.file.endswith("setup.py") or "dependencies" in toml(tree, found.file).get("project", {}).get("dynamic", [])
    elif found.file:
        _requirements(tree, found.file, found, set(), where)
        pinned = bool(found.names) and all(spec.startswith("==") for _, _, spec in found.names.values())
        typical = {
            "fastapi": "starlette",
            "sqlalchemy": "typing-extensions",
            "pydantic": "pydantic-core",
            "httpx": "httpcore",
            "uvicorn": "h11",
        }
        closed = [needed in found.names for name, needed in typical.items() if name in found.names]
        found.complete = pinned and not found.opaque and bool(closed) and all(closed)
    found.elsewhere = {name: marker for name, marker in found.elsewhere.items() if name not in found.names}
    return found, locked


def _is_project(tree: Tree, path: str) -> bool:
    data = toml(tree, path)
    return path.endswith("setup.py") or "project" in data or "poetry" in data.get("tool", {})


def dependency_findings(
    tree: Tree, options: Options, dependencies: Declared, locked: dict[str, list[dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """What is wrong with the dependencies: no file of them, no pins, versions that the image's Python cannot satisfy."""
    role = options.role
    if not dependencies.file or posixpath.normpath(dependencies.file) not in tree.paths:
        missing = (
            "no uv.lock, poetry.lock, pdm.lock, requirements.txt, setup.py or pyproject.toml with [project]"
            if options.dependencies == "auto"
            else f"no {dependencies.file or options.dependencies}"
        )
        searched = [dependencies.file] if dependencies.file else ["uv.lock", "requirements.txt", "pyproject.toml"]
        others = [
            f for f in tree.files if re.search(r"(^|/)[^/]*requirements[^/]*\.(txt|in)$|(^|/)(Pipfile|poetry\.lock|pyproject\.toml)$", f)
        ]
        message = f"{missing} in the source or in {options.app_root}" + (f"; there is {', '.join(others[:4])}" if others else "")
        advice = next(filter(None, map(tree.hidden, searched)), "") or f"set {role}_dependencies to the path of a requirements file"
        yield finding("lock", "error", message, options.app_root, advice)
        return
    for folder, where in dependencies.local.items():
        if folder.startswith(".."):
            message = f"{folder} is out of the source, which is all that an image is built from"
            advice = f"set the source to the directory that has both, and {role}_app_root to the application's directory in it"
            yield finding("lock", "error", message, where, advice)
    unpinned = [name for name, (_, _, spec) in dependencies.names.items() if not spec.startswith("==")]
    if unpinned and not dependencies.complete:
        yield finding(
            "lock",
            "warning",
            f"no lock file: {len(unpinned)} of {len(dependencies.names)} requirements are not pinned, and what they bring "
            "is not either; tomorrow's build may differ",
            dependencies.file,
            "make a lock: uv lock, or pip-compile",
        )
    if markers.MISSING:
        return  # which dependencies are installed is not known either
    # The interpreter that the source asks for.
    for path in dict.fromkeys(
        f"{base}/{name}".lstrip("/") for base in (clean(options.app_root), "") for name in ("pyproject.toml", "uv.lock")
    ):
        if path not in tree.paths:
            continue
        required = required_python(toml(tree, path))
        if required and python_allows(required, options.python) is False:
            message = f"the source asks for Python {required}, the image has {options.python}"
            where = f"{path}:{_line_with(tree, path, 'requires-python')}"
            yield finding("version", "error", message, where, _python_advice(required, options))
            break
    for name, versions in locked.items():
        if name in dependencies.names and not any(_installable(p, options.python, options.machine) for p in versions):
            yield finding(
                "version",
                "error",
                f"{name} {versions[0].get('version')} has no wheel for Python {options.python} (Linux {options.machine}) and no source",
                f"{dependencies.file}:{dependencies.names[name][1]}",
                f"lock another version, or set {role}_debian_release",
            )
    have = release(options.python)[:2]
    for name, first, python in packages.PYTHON_FROM:
        file, line, spec = dependencies.names.get(name, ("", 0, ""))
        if spec.startswith("==") and re.match(r"\d", spec[2:]) and release(spec[2:]) >= release(first) and have < release(python):
            message = f"{name} {spec[2:]} needs Python {python} or newer, the image has {options.python}"
            yield finding("version", "error", message, f"{file}:{line}", _python_advice(f">={python}", options))
    for name, first, python in packages.WHEELS_FROM:
        file, line, spec = dependencies.names.get(name, ("", 0, ""))
        if (
            not locked
            and spec.startswith("==")
            and re.match(r"\d", spec[2:])
            and release(spec[2:]) < release(first)
            and have >= release(python)
        ):
            message = f"{name} {spec[2:]} has no wheel for Python {options.python}: it is compiled, or does not install"
            advice = f"pin {name}>={first}, or set {role}_extra_build_packages: [gcc, python3-dev]"
            yield finding("version", "warning", message, f"{file}:{line}", advice)


def _python_advice(required: str, options: Options) -> str:
    if python_allows(required, "3.13") and options.python != "3.13":
        return f"set {options.role}_debian_release: trixie for Python 3.13"
    if python_allows(required, "3.11") and options.python != "3.11":
        return f"set {options.role}_debian_release: bookworm for Python 3.11"
    return f"set {options.role}_args.PYTHON_IMAGE to an image of that Python"


def _installable(package: dict[str, Any], python: str, machine: str) -> bool:
    files = package.get("wheels") or package.get("files") or []  # of uv, of Poetry and PDM
    names = [file.get("filename") or file.get("file") or file.get("url") or "" for file in files]
    if package.get("sdist") or not names or any(name.endswith((".tar.gz", ".zip")) for name in names):
        return True
    minor = release(python)[1]
    for name in names:
        parts = name.rpartition("/")[2].removesuffix(".whl").split("-")
        if len(parts) < 5:
            return True
        tags, abi, platform = parts[-3], parts[-2], parts[-1]
        # Debian has the GNU C library.
        if platform != "any" and not any(tag.startswith(("linux", "manylinux")) and tag.endswith(machine) for tag in platform.split(".")):
            continue
        for tag in tags.split("."):
            if tag in ("py3", f"cp3{minor}", f"py3{minor}") or ("abi3" in abi and re.fullmatch(r"cp3\d+", tag) and int(tag[3:]) <= minor):
                return True
    return False
