"""Checks of Dockerfiles, sources and documents. What a check is: verify/facts.py."""

from __future__ import annotations

import re

from .facts import APPLICATION, Evidence, Facts, NotVerified, below, check, require


@check("source")
def stages(f: Facts, service: str) -> Evidence:
    """The {}'s Dockerfile. Passes when tools are in stages of their own and the last stage copies results from them."""
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
    """The Debian packages that the {}'s image says it is made of. Passes when base-files is among them and their number is within the
    budget.
    """
    packages = f.image(service)["scan"]["packages"]
    require("base-files" in packages, "the image does not say which distribution it is made of")
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
        text = "\n".join(rest for name, rest in f.dockerfile(service)["instructions"] if name == "RUN")
        require("--mount=type=secret" in text, f"the {service}'s build mounts no secret: credentials would be build arguments")
    return "RUN --mount=type=secret in both"


@check("source")
def committed_secrets(f: Facts) -> Evidence:
    """The files that git keeps. Passes when no .env, key or vault is among them and no text has a credential's form."""
    if not f.source:
        raise NotVerified("the sources were not looked at")
    found = f.source["committed"]
    if not found["known"]:
        raise NotVerified("the project is no git repository here")
    require(not found["bad_names"] and not found["secrets"], f"kept by git: {', '.join(found['bad_names'] + found['secrets'])}")
    require(any(line.strip("/") == ".env" for line in f.source["gitignore"]), ".gitignore does not name .env")
    return "no .env, key or credential is kept; .env is ignored"


@check("source")
def system_packages(f: Facts) -> Evidence:
    """The backend's Dockerfile. Passes when compilers and tools come by an argument into a build stage, and others by another into the
    image.
    """
    names = " ".join(rest for name, rest in f.dockerfile("backend")["instructions"] if name == "ARG")
    for argument in ("EXTRA_BUILD_PACKAGES", "EXTRA_RUN_PACKAGES"):
        require(argument in names, f"there is no ARG {argument}")
    return "EXTRA_BUILD_PACKAGES (gcc, git, ...) for a build stage, EXTRA_RUN_PACKAGES (curl, ...) for the image"


@check("source")
def requirements(f: Facts) -> Evidence:
    """What the backend's dependencies are declared in. Passes when there is such a file and it pins what it names."""
    if not f.source:
        raise NotVerified("the sources were not looked at")
    found = f.source["applications"]["backend"]
    require(found["declared"], "there is no requirements.txt, uv.lock or pyproject.toml")
    require(not found["unpinned"], f"{found['declared']} leaves open: {', '.join(found['unpinned'][:5])}")
    return f"{found['declared']}: {found['requirements']} requirements, all pinned"


@check("source")
def package_lock(f: Facts) -> Evidence:
    """The frontend's package.json and its lock file. Passes when both are there and agree."""
    if not f.source:
        raise NotVerified("the sources were not looked at")
    found = f.source["applications"]["frontend"]
    require(found["dependencies"], "package.json declares no dependency")
    require(found["locks"], "there is no lock file")
    require(not found["lock_differs"], f"lock and package.json differ: {', '.join(found['lock_differs'][:5])}")
    return f"{len(found['dependencies'])} dependencies, {found['locks'][0]} agrees"


@check("source")
def source_ready(f: Facts) -> Evidence:
    """Both sources. Passes when the backend is a FastAPI application with Python files and the frontend has a build script."""
    if not f.source:
        raise NotVerified("the sources were not looked at")
    back, front = f.source["applications"]["backend"], f.source["applications"]["frontend"]
    require(back["there"] and back["python_files"], "the backend's source has no Python files")
    require(back["fastapi"], "the backend does not declare FastAPI")
    require(front["there"] and "build" in front["scripts"], "the frontend's package.json has no build script")
    return f"{back['python_files']} Python files; scripts {', '.join(front['scripts'])}"


@check("source")
def ignored(f: Facts, service: str) -> Evidence:
    """The ignore file that the {}'s build obeys. Passes when it leaves out repositories, .env files, keys and what builds leave behind."""
    if not f.source:
        raise NotVerified("the sources were not looked at")
    names = [line.removeprefix("**/") for line in f.source["ignored"][service]]
    wanted = [".git", ".env", "*.key", "node_modules" if service == "frontend" else "__pycache__"]
    missing = [name for name in wanted if name not in names]
    require(names, "there is none")
    require(not missing, f"it does not name {', '.join(missing)}")
    return f"{len(names)} patterns, {', '.join(wanted)} among them"


@check("source")
def env_example(f: Facts) -> Evidence:
    """.env.example. Passes when it names settings and carries no secret's value."""
    if not f.source:
        raise NotVerified("the sources were not looked at")
    found = f.source["environment"]
    require(found["example"], "there is no .env.example that names a setting")
    require(not found["example_secrets"], f"it has values for {', '.join(found['example_secrets'])}")
    return f"{len(found['example'])} settings: {', '.join(found['example'][:8])}, ..."


@check("source")
def env_documented(f: Facts) -> Evidence:
    """Every environment variable that the playbooks read. Passes when docs/environment.md or .env.example says what it is."""
    text = f.document("docs/environment.md")["text"]
    found = f.source["environment"]
    missing = [name for name in found["read"] if name not in found["example"] and not re.search(rf"\b{name}\b", text)]
    # Names that other tools read for the same thing, beside one that is documented.
    missing = [name for name in missing if name not in ("REQUESTS_CA_BUNDLE",)]
    require(not missing, f"read and not documented: {', '.join(missing)}")
    return f"{len(found['read'])} variables are read, all are documented"


@check("source")
def container_env_documented(f: Facts) -> Evidence:
    """The settings that containers are given. Passes when docs/environment.md names those of backend and frontend."""
    text = f.document("docs/environment.md")["text"]
    require("Of the containers" in text and "_FILE" in text, "docs/environment.md does not say what containers are given")
    return "docs/environment.md, Of the containers"


@check("source")
def compose(f: Facts) -> Evidence:
    """compose.yaml. Passes when it has backend, frontend and database, each read-only with a user, a health check and a memory limit, and
    the database is not published."""
    if not f.source:
        raise NotVerified("the sources were not looked at")
    found = f.source["compose"]
    require(found, "there is no compose.yaml")
    services = found.get("services") or {}
    missing = [name for name in ("backend", "frontend", "database") if name not in services]
    require(not missing, f"compose.yaml has no service {', '.join(missing)}")
    soft = [
        f"{name} has no {key}"
        for name in ("backend", "frontend", "database")
        for key in ("user", "healthcheck", "read_only", "mem_limit")
        if not services[name].get(key)
    ]
    require(not soft, f"compose.yaml: {', '.join(soft)}")
    require(not services["database"].get("ports"), "compose.yaml publishes the database")
    return f"services {', '.join(services)}"


@check("source")
def document(f: Facts, name: str) -> Evidence:
    """{}. Passes when it is there, has headings or a table, and every link in it leads somewhere."""
    found = f.document(name)
    words = len(found["text"].split())
    require(words >= 100, f"{name} has {words} words only")
    return f"{words} words, {len(found['headings'])} headings, no broken link"


@check("source")
def document_tells(f: Facts, argument: str) -> Evidence:
    """A document and what it must tell ({}). Passes when each of the words is in it."""
    name, _, wanted = argument.partition(":")
    text = f.document(name)["text"].lower()
    missing = [word for word in wanted.split(",") if word.replace("_", " ").lower() not in text]
    require(not missing, f"{name} says nothing of {', '.join(missing)}")
    return f"{name} tells of {wanted.replace(',', ', ').replace('_', ' ')}"


@check("source")
def verb(f: Facts, name: str) -> Evidence:
    """The playbooks. Passes when there is one for `{}`."""
    if not f.source:
        raise NotVerified("the sources were not looked at")
    require(name in f.source["playbooks"], f"there is no playbooks/{name}.yml")
    return f"playbooks/{name}.yml"
