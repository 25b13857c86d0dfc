"""Checks of Dockerfiles and of the application's sources. What a check is: verify/facts.py."""

from __future__ import annotations

import re

from .facts import APPLICATION, Evidence, Facts, below, check, require


@check("source")
def stages(f: Facts, service: str) -> Evidence:
    """The {}'s Dockerfile. Passes when tools are in stages of their own and the last stage copies results from them."""
    f.built_here(service)
    found = f.dockerfile(service)
    names = [stage["as"] or stage["from"] for stage in found["stages"]]
    require(len(names) >= 2, f"the Dockerfile has {len(names)} stage: {', '.join(names)}")
    last = max(index for index, (name, _) in enumerate(found["instructions"]) if name == "FROM")
    final = found["instructions"][last:]
    copied = [rest for name, rest in final if name == "COPY" and "--from=" in rest]
    require(copied, "the last stage copies nothing from another one")
    require(not any(name == "RUN" for name, _ in final), "the last stage runs commands: tools are in the image")
    return f"{len(names)} stages; the last one copies from {len(copied)}"


@check("source")
def base_image(f: Facts, service: str) -> Evidence:
    """The stage that the {}'s image starts from. Passes when that is empty (scratch): nothing is in it that was not put there."""
    f.built_here(service)
    found = f.dockerfile(service)
    by_name = {stage["as"]: stage["from"] for stage in found["stages"] if stage["as"]}
    name = found["stages"][-1]["from"]
    for _ in range(5):
        name = re.sub(r"\$\{VARIANT\}", "scratch", name)
        if name not in by_name:
            break
        name = by_name[name]
    require(name == "scratch", f"the image starts from {name}")
    return "the image starts from scratch"


@check("stack")
def base_release(f: Facts, service: str) -> Evidence:
    """The Debian packages that the {}'s image records. Passes when base-files is among them and their number is within the
    budget.
    """
    f.built_here(service)
    packages = f.image(service)["scan"]["packages"]
    require("base-files" in packages, "the image does not record its distribution")
    return below(f"Debian, {len(packages)} packages", len(packages), f.budgets["packages"], "packages", f"packages {service}")


@check("source")
def dockerfile_secrets(f: Facts) -> Evidence:
    """ENV, ARG, RUN and COPY of both Dockerfiles. Passes when none has a secret's value."""
    found = {service: f.dockerfile(service)["secrets"] for service in APPLICATION}
    bad = [f"{service}: {name}" for service, names in found.items() for name in names]
    require(not bad, f"values of secrets are written into {', '.join(bad)}")
    return "no value of a secret in an instruction"


@check("source")
def site_secrets(f: Facts) -> Evidence:
    """How the builds get credentials and certificates. Passes when they come as BuildKit secrets, which leave nothing in a layer."""
    for service in APPLICATION:
        f.built_here(service)
        text = "\n".join(rest for name, rest in f.dockerfile(service)["instructions"] if name == "RUN")
        require("--mount=type=secret" in text, f"the {service}'s build mounts no secret: credentials would be build arguments")
    return "RUN --mount=type=secret in both"


@check("source")
def system_packages(f: Facts) -> Evidence:
    """The backend's Dockerfile. Passes when compilers and tools come by an argument into a build stage, and others by another into the
    image.
    """
    f.built_here("backend")
    names = " ".join(rest for name, rest in f.dockerfile("backend")["instructions"] if name == "ARG")
    for argument in ("EXTRA_BUILD_PACKAGES", "EXTRA_RUN_PACKAGES"):
        require(argument in names, f"there is no ARG {argument}")
    return "EXTRA_BUILD_PACKAGES (gcc, git, ...) for a build stage, EXTRA_RUN_PACKAGES (curl, ...) for the image"


@check("source")
def declared(f: Facts, service: str) -> Evidence:
    """What the {}'s dependencies are declared in. Passes when there is such a file and it names some."""
    f.built_here(service)
    found = f.sources()["applications"][service]
    names = {"backend": ("declared", "requirements"), "frontend": ("declared", "dependencies")}[service]
    file, count = found[names[0]], found[names[1]]
    require(file and count, f"the {service} declares no dependency" + (f" in {file}" if file else ""))
    return f"{file}: {count if isinstance(count, int) else len(count)} dependencies"


@check("source")
def requirements(f: Facts) -> Evidence:
    """What the backend's dependencies are declared in. Passes when there is such a file and it pins what it names."""
    f.built_here("backend")
    found = f.sources()["applications"]["backend"]
    require(found["declared"], "there is no requirements.txt, uv.lock or pyproject.toml")
    require(not found["unpinned"], f"{found['declared']} leaves open: {', '.join(found['unpinned'][:5])}")
    return f"{found['declared']}: {found['requirements']} requirements, all pinned"


@check("source")
def package_lock(f: Facts) -> Evidence:
    """The frontend's package.json and its lock file. Passes when both are there and agree."""
    f.built_here("frontend")
    found = f.sources()["applications"]["frontend"]
    require(found["dependencies"], "package.json declares no dependency")
    require(found["locks"], "there is no lock file")
    require(not found["lock_differs"], f"lock and package.json differ: {', '.join(found['lock_differs'][:5])}")
    return f"{len(found['dependencies'])} dependencies, {found['locks'][0]} agrees"


@check("source")
def source_ready(f: Facts) -> Evidence:
    """Both sources. Passes when the backend is a FastAPI application with Python files and the frontend has a build script."""
    f.built_here("backend")
    f.built_here("frontend")
    back, front = f.sources()["applications"]["backend"], f.sources()["applications"]["frontend"]
    require(back["exists"] and back["python_files"], "the backend's source has no Python files")
    require(back["fastapi"], "the backend does not declare FastAPI")
    require(front["exists"] and "build" in front["scripts"], "the frontend's package.json has no build script")
    return f"{back['python_files']} Python files; scripts {', '.join(front['scripts'])}"


@check("source")
def ignored(f: Facts, service: str) -> Evidence:
    """The ignore file that the {}'s build obeys. Passes when it leaves out repositories, .env files, keys and what builds leave behind."""
    f.built_here(service)
    names = [line.removeprefix("**/") for line in f.sources()["ignored"][service]]
    expected = [".git", ".env", "*.key", "node_modules" if service == "frontend" else "__pycache__"]
    missing = [name for name in expected if name not in names]
    require(names, "there is none")
    require(not missing, f"it does not name {', '.join(missing)}")
    return f"{len(names)} patterns, {', '.join(expected)} among them"
