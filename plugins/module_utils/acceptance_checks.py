"""The checks behind the acceptance criteria: each looks at gathered facts and returns its evidence, or says what is wrong.

A check is a pure function of `Facts`. Its docstring is what the report and the documents print: what is looked at, and when it passes;
`{}` stands for the check's argument. It returns a line, or a line and what was measured against which budget; it raises Fail, Unknown
(the facts that it needs are not there, and why) or NotApplicable.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

APPLICATION = ("backend", "frontend")
MB = 1_000_000


class Fail(Exception):
    """The criterion is not met; the message says what was found."""


class Unknown(Exception):
    """It cannot be told; the message says why and what would tell it."""


class NotApplicable(Exception):
    """The application or the installation has no such part; the message says who says so."""


class Facts:
    """What was gathered: `stack` (host), `story` (steps), `source` (controller), with budgets and absent parts."""

    def __init__(self, gathered: dict[str, Any]) -> None:
        self.stack = gathered.get("stack") or {}
        self.steps = {step["key"]: step for step in gathered.get("story") or []}
        self.source = gathered.get("source") or {}
        self.browser = gathered.get("browser") or {}
        self.budgets = gathered.get("budgets") or {}
        self.absent = gathered.get("absent") or {}
        self.settings = gathered.get("settings") or {}

    def part(self, name: str) -> dict[str, Any]:
        """A part of the host's facts."""
        if not self.stack:
            raise Unknown("the host's facts were not gathered: nothing of the stack could be asked")
        return self.stack[name]

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """Containers of the stack, or of these services; missing ones fail."""
        found = [c for c in self.part("containers") if not services or c["service"] in services]
        missing = [service for service in services if service not in {c["service"] for c in found}]
        if missing or not found:
            raise Fail(f"no container of {', '.join(missing) or 'the stack'} is there")
        return found

    def container(self, service: str) -> dict[str, Any]:
        return self.containers(service)[0]

    def image(self, service: str) -> dict[str, Any]:
        image = self.part("images").get(service)
        if not image or "error" in image:
            raise Fail(f"no image of {service}: {(image or {}).get('error', 'no container runs it')}")
        return image

    def step(self, key: str) -> dict[str, Any]:
        """A step of the story that went well."""
        step = self.steps.get(key)
        if step is None:
            raise Unknown("this step is not part of the story as it was told" if self.steps else "the story was not told")
        if step["outcome"] == "skipped":
            raise Fail(f"{step['step']}: {step['evidence']}")
        if step["outcome"] != "ok":
            raise Fail(f"{step['step']}: {step['evidence']}")
        return step

    def asked(self, service: str) -> dict[str, Any]:
        asked = self.container(service).get("asked") or {}
        if "error" in asked or not asked:
            raise Unknown(f"{service} could not be asked: {asked.get('error', 'it does not run, or has no interpreter to ask with')}")
        return asked

    def record(self, name: str) -> dict[str, Any]:
        """What an earlier run left about the version that runs."""
        record = (self.source.get("records") or {}).get(name) or {}
        version = self.part("releases").get("current")
        if not record:
            raise Unknown(f"no {name} run was recorded for this stack: make stress measures it")
        if record.get("version") != version:
            raise Unknown(f"the {name} run was of {record.get('version')}, and {version} runs: make stress measures it again")
        return record

    def document(self, name: str) -> dict[str, Any]:
        if not self.source:
            raise Unknown("the sources were not looked at")
        found = self.source["documents"].get(name) or {}
        if not found.get("there"):
            raise Fail(f"{name} is not there")
        if found["broken"]:
            raise Fail(f"{name} links to what is not there: {', '.join(found['broken'])}")
        return found

    def dockerfile(self, service: str) -> dict[str, Any]:
        if not self.source:
            raise Unknown("the sources were not looked at")
        found = self.source["dockerfiles"][service]
        if not found["there"]:
            raise Fail(f"there is no Dockerfile of the {service}")
        return found


Evidence = str | tuple[str, dict[str, Any]]
CHECKS: dict[str, Callable[..., Evidence]] = {}
NEEDS: dict[str, str] = {}


def check(needs: str) -> Callable[[Callable[..., Evidence]], Callable[..., Evidence]]:
    """Register a check by its function's name; `needs` is stack, story, source, browser or record."""

    def register(function: Callable[..., Evidence]) -> Callable[..., Evidence]:
        name = function.__name__
        CHECKS[name], NEEDS[name] = function, needs
        return function

    return register


def measured(value: float, budget: float, unit: str, name: str = "") -> dict[str, Any]:
    return {"value": round(value, 3), "budget": budget, "unit": unit, "name": name}


def below(line: str, value: float, budget: float, unit: str, name: str = "") -> Evidence:
    """Evidence of a figure that may be `budget` at most."""
    if value > budget:
        raise Fail(f"{line}; the budget is {budget:g} {unit}")
    return line, measured(value, budget, unit, name)


def require(condition: Any, message: str) -> None:
    if not condition:
        raise Fail(message)


def describe(name: str, argument: str) -> str:
    """A check's docstring with its argument."""
    return inspect.cleandoc(CHECKS[name].__doc__ or "").replace("\n", " ").replace("{}", argument)


# --- Dockerfiles and sources ------------------------------------------------------------------------------------------


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
        raise Unknown("the sources were not looked at")
    found = f.source["committed"]
    if not found["known"]:
        raise Unknown("the project is no git repository here")
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
        raise Unknown("the sources were not looked at")
    found = f.source["applications"]["backend"]
    require(found["declared"], "there is no requirements.txt, uv.lock or pyproject.toml")
    require(not found["unpinned"], f"{found['declared']} leaves open: {', '.join(found['unpinned'][:5])}")
    return f"{found['declared']}: {found['requirements']} requirements, all pinned"


@check("source")
def package_lock(f: Facts) -> Evidence:
    """The frontend's package.json and its lock file. Passes when both are there and agree."""
    if not f.source:
        raise Unknown("the sources were not looked at")
    found = f.source["applications"]["frontend"]
    require(found["dependencies"], "package.json declares no dependency")
    require(found["locks"], "there is no lock file")
    require(not found["lock_differs"], f"lock and package.json differ: {', '.join(found['lock_differs'][:5])}")
    return f"{len(found['dependencies'])} dependencies, {found['locks'][0]} agrees"


@check("source")
def source_ready(f: Facts) -> Evidence:
    """Both sources. Passes when the backend is a FastAPI application with Python files and the frontend has a build script."""
    if not f.source:
        raise Unknown("the sources were not looked at")
    back, front = f.source["applications"]["backend"], f.source["applications"]["frontend"]
    require(back["there"] and back["python_files"], "the backend's source has no Python files")
    require(back["fastapi"], "the backend does not declare FastAPI")
    require(front["there"] and "build" in front["scripts"], "the frontend's package.json has no build script")
    return f"{back['python_files']} Python files; scripts {', '.join(front['scripts'])}"


@check("source")
def ignored(f: Facts, service: str) -> Evidence:
    """The ignore file that the {}'s build obeys. Passes when it leaves out repositories, .env files, keys and what builds leave behind."""
    if not f.source:
        raise Unknown("the sources were not looked at")
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
        raise Unknown("the sources were not looked at")
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
        raise Unknown("the sources were not looked at")
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
        raise Unknown("the sources were not looked at")
    require(name in f.source["playbooks"], f"there is no playbooks/{name}.yml")
    return f"playbooks/{name}.yml"


# --- builds and images ------------------------------------------------------------------------------------------------


@check("stack")
def built(f: Facts, service: str) -> Evidence:
    """The {}'s image and the log of its build. Passes when the image is there with the content that it was built from, and the log has no
    error.
    """
    image = f.image(service)
    content = image["labels"].get("berth.content", "")
    require(content, "the image does not say what it was built from (label berth.content)")
    log = (f.source.get("builds") or {}).get(content)
    require(not (log and log["errors"]), f"the build said: {(log or {}).get('errors')}")
    told = f"; its build took {log['seconds']:.0f} s, {log['lines']} lines without an error" if log else ""
    return f"{(image['tags'] or [image['id'][:19]])[0]}, content {content[:12]}{told}"


@check("record")
def build_warnings(f: Facts) -> Evidence:
    """The logs of the builds of both images. Passes when none of their lines is a warning, but those accepted for a reason."""
    accepted: dict[str, str] = f.settings.get("build_warnings_accepted") or {}
    told = []
    for service in APPLICATION:
        content = f.image(service)["labels"].get("berth.content", "")
        log = (f.source.get("builds") or {}).get(content)
        if log is None:
            raise Unknown(f"no log of the {service}'s build is kept here: it was built elsewhere or before logs were kept")
        warned = [line for line in log["warnings"] if not any(words in line for words in accepted)]
        require(not warned, f"{service}: {'; '.join(warned[:3])}")
        told += [f"{service} accepted: {accepted[words]}" for words in accepted if any(words in line for line in log["warnings"])]
        told.append(f"{service} {log['lines']} lines, {log.get('cached', 0)} steps from the cache")
    return f"no open warning in the logs: {'; '.join(told)}"


@check("source")
def build_caching(f: Facts) -> Evidence:
    """The order of both Dockerfiles. Passes when dependencies are installed from their own files, before the source is copied."""
    for service in APPLICATION:
        instructions = f.dockerfile(service)["instructions"]
        own = [i for i, (name, rest) in enumerate(instructions) if name == "COPY" and "--from=dependency-files" in rest]
        whole = [i for i, (name, rest) in enumerate(instructions) if name == "COPY" and rest.startswith(". ")]
        require(
            own and whole and min(own) < min(whole),
            f"the {service}'s dependencies hang on its whole source: every change installs them again",
        )
    return "lock files first, source last: a source change reinstalls nothing"


@check("stack")
def runtime(f: Facts, service: str) -> Evidence:
    """The interpreter in the {}'s container, asked there. Passes when it is the wanted version."""
    wanted = str(f.settings["runtimes"][service])
    version = f.asked(service)["runtime"]
    require(version == wanted or version.startswith(f"{wanted}."), f"{version} runs, {wanted} is wanted")
    return f"version {version}"


@check("stack")
def libraries(f: Facts, names: str) -> Evidence:
    """The packages installed in the backend's container ({}). Passes when each is there."""
    found = f.asked("backend")["libraries"]
    missing = [name for name in names.split(",") if not found.get(name)]
    require(not missing, f"not installed: {', '.join(missing)}")
    return ", ".join(f"{name} {found[name]}" for name in names.split(","))


@check("stack")
def marks(f: Facts, argument: str) -> Evidence:
    """The files of an image ({}). Passes when they are there."""
    service, _, names = argument.partition(":")
    found = f.image(service)["scan"]["marks"]
    missing = [name for name in names.split(",") if name not in found]
    require(not missing, f"not in the {service}'s image: {', '.join(missing)}")
    return "; ".join(f"{name}: {found[name]}" for name in names.split(","))


@check("stack")
def production_only(f: Facts, service: str) -> Evidence:
    """The files of the {}'s image. Passes when no compiler, type checker or test tool of the development dependencies is there."""
    found = f.image(service)["scan"]["marks"]
    require("dev_tools" not in found, f"in the image: {found.get('dev_tools')}")
    require("repository" not in found, f"in the image: {found.get('repository')}")
    return "neither development tools nor a repository"


@check("stack")
def image_size(f: Facts, service: str) -> Evidence:
    """The size of the {}'s image. Passes when it is within its budget."""
    size = f.image(service)["size"] / MB
    return below(f"{size:.1f} MB", size, f.budgets["image_mb"][service], "MB", f"image {service}")


@check("stack")
def layers(f: Facts, service: str) -> Evidence:
    """The layers of the {}'s image. Passes when they are few and what changes most often, the application, is the last and not the
    largest.
    """
    found = f.image(service)["layers"]
    sizes = [layer["size"] for layer in reversed(found)]
    require(sizes, "the image has no layer")
    require(
        len(sizes) == 1 or sizes[-1] < max(sizes),
        f"the last layer, {sizes[-1] / MB:.1f} MB, is the largest: a change of source sends all of it",
    )
    return below(
        f"{len(sizes)} layers: {', '.join(f'{size / MB:.1f}' for size in sizes)} MB",
        len(sizes),
        f.budgets["layers"],
        "layers",
        f"layers {service}",
    )


@check("stack")
def tags(f: Facts, service: str) -> Evidence:
    """Tag and labels of the {}'s image. Passes when the tag is the version that runs, and not `latest`, and the labels tell version and
    revision.
    """
    image = f.image(service)
    version = f.container(service)["version"]
    require(
        any(tag.endswith(f":{version}") for tag in image["tags"]),
        f"{version} runs, the image's tags are {', '.join(image['tags']) or 'none'}",
    )
    require(version and version != "latest", f"the version is {version!r}")
    label = image["labels"].get("org.opencontainers.image.version")
    missing = [name for name in ("title", "version", "revision", "created") if not image["labels"].get(f"org.opencontainers.image.{name}")]
    require(not missing, f"labels without a value: {', '.join(missing)}")
    return f"{image['tags'][0]}, labelled {label}"


@check("stack")
def exposed(f: Facts, argument: str) -> Evidence:
    """Image and container ({}). Passes when exactly that port is exposed, is what the application is told, and is not published on the
    host.
    """
    service, _, port = argument.partition(":")
    image, container = f.image(service), f.container(service)
    require(image["exposed"] == [f"{port}/tcp"], f"the image exposes {', '.join(image['exposed']) or 'nothing'}")
    require(container["environment"].get("PORT", port) == port, f"PORT is {container['environment'].get('PORT')}")
    require(not container["ports"], f"published on the host: {container['ports']}")
    return f"{port}/tcp, inside only"


@check("stack")
def entrypoint(f: Facts, argument: str) -> Evidence:
    """How a container starts ({}). Passes when entry point or command name the program and a process of that name runs."""
    service, _, program = argument.partition(":")
    image, container = f.image(service), f.container(service)
    words = [*image["entrypoint"], *image["command"]]
    names = program.split("|")
    require(any(name in word for word in words for name in names), f"it starts {' '.join(words)}")
    running = [process["command"] for process in container.get("processes", [])]
    require(any(name in command for command in running for name in names), f"no process {program} runs: {running}")
    return " ".join(words)


@check("stack")
def init(f: Facts) -> Evidence:
    """The first process of the frontend's container. Passes when it is dumb-init, which hands signals on."""
    image, container = f.image("frontend"), f.container("frontend")
    require("dumb_init" in image["scan"]["marks"], "dumb-init is not in the image")
    require((container["entrypoint"] or [""])[0].endswith("dumb-init"), f"the entry point is {container['entrypoint']}")
    return f"{image['scan']['marks']['dumb_init']}, first process: {(container.get('processes') or [{}])[0].get('command', '')}"


@check("stack")
def healthcheck(f: Facts, service: str) -> Evidence:
    """The {}'s health check, run as it is and again where nothing listens. Passes when the image has one, it is healthy, and it notices."""
    image, container = f.image(service), f.container(service)
    test = container["health_test"]
    require(image["health_test"] and test and test != ["NONE"], "there is no health check")
    require(container["health"] == "healthy", f"the container is {container['health']}")
    answer = container.get("health_when_down")
    if answer is None:
        raise Unknown("the health check could not be run inside the container")
    require(answer != 0, f"`{' '.join(test[1:])}` says healthy where nothing answers: it cannot fail")
    return f"{' '.join(test[1:])}: healthy; exit status {answer} where nothing answers"


@check("stack")
def health_steady(f: Facts) -> Evidence:
    """The last results of every container's health check. Passes when there are some, and all since the first healthy one are 0."""
    count = 0
    for container in f.containers():
        results = container["health_log"]
        # A check that is asked while the program starts says no.
        since = results[results.index(0) :] if 0 in results else []
        require(container["health"] == "healthy" and since, f"{container['name']} is {container['health']}, results {results}")
        require(not any(since), f"{container['name']} is not steadily healthy: {results}")
        count += len(since)
    return f"{count} results of {len(f.containers())} containers, all 0"


@check("stack")
def user(f: Facts, service: str) -> Evidence:
    """The user of the {}'s image, container and processes. Passes when none is root."""
    image, container = f.image(service), f.container(service)
    for c in f.containers(service):
        _not_root(c)
    require(image["user"].split(":")[0] not in ("", "0", "root"), f"the image's user is {image['user'] or 'root'}")
    return f"uid {container['user']}; {len(container.get('processes', []))} processes, none of root"


def _not_root(container: dict[str, Any]) -> None:
    name = container["name"]
    require(container["user"].split(":")[0] not in ("", "0", "root"), f"{name} runs as {container['user'] or 'root'}")
    root = [process["command"] for process in container.get("processes", []) if process["uid"] in ("0", "root")]
    require(not root, f"processes of root in {name}: {', '.join(root)}")


@check("stack")
def users(f: Facts) -> Evidence:
    """All containers of the stack. Passes when none runs as root, may gain rights, or has a capability or the host's namespaces."""
    for container in f.containers():
        _not_root(container)
        name = container["name"]
        require(not container["privileged"], f"{name} is privileged")
        require(any(option.startswith("no-new-privileges") for option in container["security_opt"]), f"{name} may gain new privileges")
        require(
            "ALL" in container["cap_drop"] and not container["cap_add"],
            f"{name} has capabilities: dropped {container['cap_drop']}, added {container['cap_add']}",
        )
        require(not container["namespaces"], f"{name} shares the host's {', '.join(container['namespaces'])}")
    return ", ".join(f"{c['service']} {c['user'].split(':')[0]}" for c in f.containers())


@check("stack")
def ownership(f: Facts, service: str) -> Evidence:
    """Owners and modes of the {}'s files. Passes when the application's are root's, nobody else may write any, and none is setuid."""
    scan = f.image(service)["scan"]
    uid = f.container(service)["user"].split(":")[0]
    own = sum(count for owners in scan["owners"].values() for owner, count in owners.items() if owner == uid)
    require("app" in scan["owners"], "there is no /app")
    require(not own, f"{own} files belong to the user that runs the application: it could change itself")
    require(not scan["writable"], f"anybody may write {', '.join(scan['writable'][:3])}")
    require(not scan["setuid"], f"setuid: {', '.join(scan['setuid'][:3])}")
    return f"{sum(scan['owners']['app'].values())} files in /app, root's, read-only for uid {uid}"


@check("stack")
def no_tools(f: Facts, service: str) -> Evidence:
    """The programs in the {}'s image. Passes when no shell, package manager, compiler or downloader is among them."""
    scan = f.image(service)["scan"]
    found = [*scan["shells"], *scan["tools"]]
    require(not found, f"in the image: {', '.join(found[:8])}")
    return f"no shell, package manager, compiler or downloader in {scan['files']} files"


@check("stack")
def image_secrets(f: Facts) -> Evidence:
    """Every layer, the history and the environment of every image, compared with the stack's own secrets and the forms of credentials.
    Passes when nothing is found, not even in a layer that a later one hides.
    """
    files = 0
    for service, image in f.part("images").items():
        found = f.image(service)["scan"]["secrets"]
        require(not found, f"{service}: {'; '.join(hit['path'] + ' (' + hit['what'] + ')' for hit in found[:4])}")
        files += image["scan"]["files"]
    require(files, "no image was looked into")
    return f"{files} files in {len(f.part('images'))} images, and their histories"


@check("stack")
def configuration_secrets(f: Facts) -> Evidence:
    """Environment, logs and release manifests. Passes when no secret's value is in any of them."""
    for container in f.containers():
        require(
            not container["environment_secrets"],
            f"{container['name']} has secrets in its environment: {', '.join(container['environment_secrets'])}",
        )
        require(
            not container["logs"].get("secrets"), f"{container['name']} wrote a secret into its log: {container['logs'].get('secrets')}"
        )
    bad = [release["version"] for release in f.part("releases")["known"] if release["secret_hits"]]
    require(not bad, f"manifests with secrets: {', '.join(bad)}")
    return f"environment and logs of {len(f.containers())} containers, {len(f.part('releases')['known'])} manifests"


@check("stack")
def secret_files(f: Facts) -> Evidence:
    """The secrets on the host and how containers get them. Passes when files are 0400 of the service's own user and mounted read-only."""
    found = f.part("secrets")
    files = [entry for entry in found["files"] if not entry["directory"]]
    require(files, "there are no files of secrets")
    loose = [e["path"] for e in found["files"] if int(e["mode"], 8) & (0o077 if not e["directory"] else 0o066)]
    require(not loose, f"others may read {', '.join(loose)}")
    users = {c["service"]: c["user"].split(":")[0] for c in f.containers()}
    foreign = [e["path"] for e in files if (service := e["path"].split("/")[1]) in users and str(e["uid"]) != users[service]]
    require(not foreign, f"not of their service's user: {', '.join(foreign)}")
    for container in f.containers():
        writable = [m["target"] for m in container["mounts"] if "/secrets" in m["source"] and m["writable"]]
        require(not writable, f"{container['name']} may write {', '.join(writable)}")
    given = [c["service"] for c in f.containers() if any("/secrets" in m["source"] for m in c["mounts"])]
    require(given, "no container is given a secret as a file")
    return f"{len(files)} files in {len(found['generations'])} generations; given to {', '.join(given)}"


@check("stack")
def environment(f: Facts, service: str) -> Evidence:
    """The {}'s environment. Passes when it carries the configuration and secrets only by the path of their file."""
    container = f.container(service)
    baked = set(f.image(service)["environment"])
    given = [name for name in container["environment"] if name not in baked]
    require(given, "nothing is configured by the environment")
    require(not container["environment_secrets"], f"secrets in the environment: {', '.join(container['environment_secrets'])}")
    files = [name for name in given if name.endswith("_FILE")]
    return f"{len(given)} settings; secrets by {', '.join(files) or 'no file'}"


@check("stack")
def api_urls(f: Facts) -> Evidence:
    """Where the two containers are told to find each other. Passes when each has a URL by the environment, and none is baked into the
    image.
    """
    told = []
    for service in APPLICATION:
        urls = {n: v for n, v in f.container(service)["environment"].items() if re.match(r"https?://", v)}
        require(urls, f"the {service} is told no URL")
        baked = [name for name in urls if name in f.image(service)["environment"]]
        require(not baked, f"baked into the {service}'s image: {', '.join(baked)}")
        told += [f"{name}={value}" for name, value in urls.items()]
    return ", ".join(told)


# --- what runs --------------------------------------------------------------------------------------------------------


@check("stack")
def runs(f: Facts, service: str) -> Evidence:
    """The {}'s container. Passes when it runs, healthy, the version that is recorded as current, and was not restarted by the engine or
    killed for memory.
    """
    current = f.part("releases")["current"]
    for container in f.containers(service):
        require(container["running"], f"{container['name']} does not run")
        require(container["health"] == "healthy", f"{container['name']} is {container['health']}")
        require(not container["oom_killed"], f"{container['name']} ran out of memory")
        require(container["restarts"] == 0, f"the engine restarted {container['name']} {container['restarts']} times")
    container = f.container(service)
    require(container["version"] == current, f"{container['version']} runs, {current or 'nothing'} is recorded")
    return f"{container['name']}, healthy, no restarts"


@check("stack")
def all_run(f: Facts) -> Evidence:
    """All containers of the stack. Passes when each runs, is healthy and was neither restarted nor killed for memory by the engine."""
    for container in f.containers():
        require(
            container["running"] and container["health"] == "healthy",
            f"{container['name']}: running {container['running']}, {container['health']}",
        )
        require(
            not container["oom_killed"] and not container["restarts"],
            f"{container['name']}: {container['restarts']} restarts, out of memory {container['oom_killed']}",
        )
    return ", ".join(c["service"] for c in f.containers())


@check("stack")
def start_seconds(f: Facts, *services: str) -> Evidence:
    """Seconds from a container's start until it says in its log that it is ready. Passes when the slowest is within the budget."""
    seconds = {}
    for container in f.containers(*services):
        ready = container["logs"].get("ready_seconds")
        if ready is None:
            raise Unknown(f"the log of {container['name']} does not say when it was ready (rotated, or in other words)")
        seconds[container["service"]] = max(ready, seconds.get(container["service"], 0))
    line = ", ".join(f"{service} {value:.2f} s" for service, value in seconds.items())
    return below(line, max(seconds.values()), f.budgets["start_seconds"], "s", "start")


@check("stack")
def logs_formatted(f: Facts) -> Evidence:
    """The lines of backend, frontend, database and edge since their start. Passes when each has a level and a form for programs."""
    told = []
    for container in f.containers():
        log = container["logs"]
        if "error" in log:
            raise Unknown(f"the log of {container['name']} cannot be read: {log['error']}")
        require(not log["unformatted"], f"{container['name']} wrote: {log['unformatted'][0] if log['unformatted'] else ''}")
        told.append(f"{container['service']} {log['lines']}")
    return f"lines: {', '.join(told)}"


@check("stack")
def logs_clean(f: Facts, *services: str) -> Evidence:
    """What containers logged during this verification. Passes when nothing reports an error but what the checks provoke."""
    for container in f.containers(*services):
        bad = [
            line for line in container["logs"].get("bad", []) if not any(text in line for text in f.settings.get("expected_errors") or [])
        ]
        require(not bad, f"{container['name']} wrote: {bad[-1] if bad else ''}")
    return f"no error in {sum(c['logs'].get('lines', 0) for c in f.containers(*services))} lines"


@check("stack")
def logs_rotated(f: Facts) -> Evidence:
    """The log driver of every container. Passes when each log has a largest size."""
    bad = [c["name"] for c in f.containers() if c["log"].get("driver") == "json-file" and not c["log"].get("max-size")]
    require(not bad, f"logs that grow without end: {', '.join(bad)}")
    return ", ".join(sorted({f"{c['log'].get('driver')} {c['log'].get('max-size', '')}" for c in f.containers()}))


@check("stack")
def limits(f: Facts) -> Evidence:
    """Limits of every container. Passes when memory (without swap), processors and processes are limited."""
    for c in f.containers():
        require(
            c["memory_limit"] and c["cpus"] and c["pids_limit"] > 0,
            f"{c['name']}: memory {c['memory_limit']}, cpus {c['cpus']}, pids {c['pids_limit']}",
        )
        require(c["swap_limit"] == c["memory_limit"], f"{c['name']} may swap")
    return ", ".join(f"{c['service']} {c['memory_limit'] >> 20} MiB/{c['cpus']:g}" for c in f.containers())


@check("stack")
def within_limits(f: Facts) -> Evidence:
    """Memory and processes of every container. Passes when no container uses more than its share of its limits."""
    share = 0.0
    for c in f.containers():
        used = max(
            c.get("memory", 0) / c["memory_limit"] if c["memory_limit"] else 1,
            c.get("pids", 0) / c["pids_limit"] if c["pids_limit"] > 0 else 1,
        )
        share = max(share, used)
    line = ", ".join(f"{c['service']} {c.get('memory', 0) / MB:.0f} MB" for c in f.containers())
    return below(line, 100 * share, f.budgets["limit_percent"], "% of a limit", "use")


@check("stack")
def memory(f: Facts, *services: str) -> Evidence:
    """Memory of backend and frontend. Passes when each is within its budget."""
    told, worst = [], 0.0
    for service in services or APPLICATION:
        used = sum(c.get("memory", 0) for c in f.containers(service)) / MB
        budget = f.budgets["memory_mb"][service]
        require(used <= budget, f"{service} uses {used:.0f} MB; the budget is {budget} MB")
        told.append(f"{service} {used:.0f} of {budget} MB")
        worst = max(worst, 100 * used / budget)
    return ", ".join(told), measured(worst, 100, "% of budget", "memory")


@check("stack")
def stateless(f: Facts) -> Evidence:
    """File systems of backend and frontend. Passes when they are read-only, no mount but scratch space can be written, and nothing was."""
    for service in APPLICATION:
        for c in f.containers(service):
            require(c["read_only"], f"{c['name']} can write its own file system")
            writable = [m["target"] for m in c["mounts"] if m["writable"]]
            require(not writable, f"{c['name']} keeps state in {', '.join(writable)}")
            points = {
                "/" + "/".join(m["target"].strip("/").split("/")[: n + 1]) for m in c["mounts"] for n in range(m["target"].count("/"))
            }
            changed = [path for path in c.get("changes", []) if path not in points]
            require(not changed, f"{c['name']} changed {', '.join(changed[:3])}")
    return "read-only, scratch space in memory only, nothing changed"


@check("stack")
def volumes(f: Facts) -> Evidence:
    """Volumes of the stack. Passes when the database's data is in a named volume that carries the stack's labels."""
    if "database" in f.absent:
        raise NotApplicable(f.absent["database"])
    own = {v["name"] for v in f.part("volumes")}
    used = [m["source"] for c in f.containers("database") for m in c["mounts"] if m["type"] == "volume" and m["writable"]]
    require(
        used and set(used) <= own, f"the database writes to {used or 'no volume'}; volumes of the stack: {', '.join(sorted(own)) or 'none'}"
    )
    return f"{', '.join(sorted(own))}"


@check("stack")
def networks(f: Facts) -> Evidence:
    """Networks of the stack and the names that services have in them. Passes when they are labelled and backend, frontend and database
    have their names.
    """
    names = {n["name"] for n in f.part("networks")}
    require(len(names) >= 2, f"networks: {', '.join(names) or 'none'}")
    for service in ("backend", "frontend", *(() if "database" in f.absent else ("database",))):
        aliases = {alias for c in f.containers(service) for found in c["networks"].values() for alias in found}
        require(service in aliases, f"no network knows the name {service}")
        require(all(set(c["networks"]) <= names for c in f.containers(service)), f"{service} is in a network that is not the stack's")
    return ", ".join(sorted(names))


@check("stack")
def published(f: Facts) -> Evidence:
    """Ports that containers publish on the host. Passes when only the edge's are."""
    bad = [f"{c['name']}: {p['address'] or '0.0.0.0'}:{p['port']}" for c in f.containers() if c["service"] != "edge" for p in c["ports"]]
    require(not bad, f"published on the host: {', '.join(bad)}")
    ports = [f"{p['address'] or '0.0.0.0'}:{p['port']}" for c in f.containers("edge") for p in c["ports"]]
    require(ports, "the edge publishes nothing")
    return f"the edge's only: {', '.join(ports)}"


@check("stack")
def isolation(f: Facts) -> Evidence:
    """Which networks containers share, and whether packets find a way out of them. Passes when the edge cannot reach the database, and
    backend, frontend and database have no way out but the one that is declared.
    """
    internal = {n["name"]: n["internal"] for n in f.part("networks")}
    edge = {name for c in f.containers("edge") for name in c["networks"]}
    if "database" not in f.absent:
        database = {name for c in f.containers("database") for name in c["networks"]}
        require(not edge & database, f"edge and database share {', '.join(edge & database)}")
        require(len(database) == 1, f"the database is in {', '.join(sorted(database))}")
    allowed = {"edge", *(f.settings.get("egress") or [])}
    for c in f.containers():
        require(
            set(c["networks"]) <= set(internal),
            f"{c['name']} is in {', '.join(set(c['networks']) - set(internal))}, no network of the stack",
        )
        if c["service"] not in allowed:
            leaky = [name for name in c["networks"] if not internal[name]]
            require(not leaky, f"{c['name']} has a way out by {', '.join(leaky)}")
            require(not c.get("default_route"), f"{c['name']} has a default route")
    return f"a way out: {', '.join(sorted(allowed))} only"


@check("stack")
def reach_table(f: Facts) -> Evidence:
    """Who reaches whom and the internet: connections tried from inside every container's network. Passes when it is what network_reach
    (group_vars/all/reach.yml) says, no more and no less.
    """
    table = f.settings["reach"]

    def row(service: str) -> str:
        """A further process of the backend (backend_image_sidecars) is in the backend's networks and counts as it."""
        return service if service in table else "backend"

    present = {row(c["service"]) for c in f.containers() if c["running"]}
    told = []
    for c in f.containers():
        if not c["running"]:
            continue
        if c.get("reaches") is None:
            raise Unknown(f"the network of {c['name']} cannot be entered: verify as root, on the engine's host")
        own = row(c["service"])
        documented = {*table[own]["needs"], *table[own]["neighbours"]} & present
        found = {row(service) for service in c["reaches"]} - {own}
        more, less = found - documented, documented - found
        require(not more, f"{c['name']} reaches {', '.join(sorted(more))}, which network_reach does not name")
        require(not less, f"{c['name']} does not reach {', '.join(sorted(less))}")
        require(
            bool(c["internet"]) == bool(table[own]["internet"]), f"{c['name']} has {'a' if c['internet'] else 'no'} way to the internet"
        )
        told.append(f"{c['service']}: {', '.join([*sorted(found), *(['internet'] if c['internet'] else [])]) or 'nobody'}")
    return "; ".join(told)


@check("stack")
def benchmark(f: Facts) -> Evidence:
    """Section 5 of the CIS Docker Benchmark 1.6 for every container. Passes when no recommendation is left out but those that are accepted,
    with their reasons, in docs/security.md, and AppArmor where the kernel has none.
    """
    kernel = {} if f.part("engine").get("apparmor") else {"5.2": "no AppArmor"}
    for c in f.containers():
        accepted = {**kernel, **f.settings["benchmark_accepted"].get("all", {}), **f.settings["benchmark_accepted"].get(c["service"], {})}
        found = {number: wanted for number, wanted in c["benchmark"]["warnings"].items() if number not in accepted}
        require(not found, f"{c['name']} does not follow {', '.join(f'{number} ({wanted})' for number, wanted in found.items())}")
    accepted = sorted({number for c in f.containers() for number in c["benchmark"]["warnings"]})
    scores = ", ".join(f"{c['service']} {c['benchmark']['score']}" for c in f.containers())
    return f"accepted: {', '.join(accepted) or 'none'}; scores: {scores}"


@check("stack")
def reach(f: Facts, argument: str) -> Evidence:
    """Connections opened inside a container to its neighbours ({}). Passes when each is accepted."""
    service, _, names = argument.partition(":")
    found = f.asked(service)["reach"]
    wanted = [next((target for target in found if target.startswith(f"{name}:")), name) for name in names.split(",")]
    bad = {target: found.get(target, "not tried") for target in wanted if found.get(target) != "ok"}
    require(not bad, f"{service} does not reach {bad}")
    return f"{service} reaches {', '.join(wanted)}"


@check("stack")
def database_role(f: Facts) -> Evidence:
    """The database's own view. Passes when the backend is connected as a role of its own that is no superuser."""
    found = _database(f)
    roles = {role["name"]: role for role in found["roles"]}
    connected = {c["user"] for c in found["connections"] if c["application"].startswith("backend") or _role(c["user"]) == "backend"}
    require(connected, "the backend has no connection")
    bad = [name for name in connected if roles.get(name, {}).get("super")]
    require(not bad, f"the backend is connected as superuser {', '.join(bad)}")
    return f"connected as {', '.join(connected)}; PostgreSQL {found['version']}, {found['tables']} tables"


@check("stack")
def database_pool(f: Facts) -> Evidence:
    """Connections, limits and long transactions in the database. Passes when roles' limits fit into the server's, few are used and none
    hangs.
    """
    found = _database(f)
    used = {c["user"] for c in found["connections"]}
    limits = [role["limit"] for role in found["roles"] if not role["super"] and role["name"] in used]
    require(limits and all(limit > 0 for limit in limits), "a role may take all connections")
    require(sum(limits) <= found["max_connections"], f"roles may take {sum(limits)} of {found['max_connections']} connections")
    hanging = [c for c in found["connections"] if c["state"] == "idle in transaction" or (c["seconds"] or 0) > 30]
    require(not hanging, f"{len(hanging)} connections hang in a transaction")
    require(not found["deadlocks"], f"{found['deadlocks']} deadlocks")
    return below(
        f"{len(found['connections'])} of {found['max_connections']} connections, roles' limits {sum(limits)}",
        100 * len(found["connections"]) / found["max_connections"],
        80,
        "% of connections",
        "pool",
    )


@check("stack")
def database_separation(f: Facts) -> Evidence:
    """What each role may use in the database. Passes when no two share a schema, and no superuser has a password or comes by network."""
    found = _database(f)
    reads: dict[str, set[str]] = {}
    for role in found["roles"]:
        if not role["super"]:
            reads.setdefault(_role(role["name"]), set()).update(role["schemas"])
    require(reads, "nobody but superusers may log in")
    for schema in set.union(*reads.values()):
        readers = sorted(name for name, schemas in reads.items() if schema in schemas)
        require(len(readers) < 2, f"{' and '.join(readers)} may both use the schema {schema}")
    supers = [role["name"] for role in found["roles"] if role["super"]]
    require(not any(role["password"] for role in found["roles"] if role["super"]), f"{', '.join(supers)} has a password")
    remote = [c["user"] for c in found["connections"] if c["remote"] and c["user"] in supers]
    require(not remote, f"{', '.join(remote)} is connected over the network")
    return "; ".join(f"{name} uses {', '.join(sorted(schemas)) or 'nothing'}" for name, schemas in sorted(reads.items()))


@check("stack")
def database_traffic(f: Facts) -> Evidence:
    """Connections to the database and its rules of access. Passes when all that come over the network are encrypted, and others refused."""
    found = _database(f)
    remote = [c for c in found["connections"] if c["remote"]]
    require(remote, "nobody is connected over the network")
    plain = sorted({c["user"] for c in remote if not c["tls"]})
    require(not plain, f"{', '.join(plain)} is connected without TLS")
    open_to = sorted({user for rule in found["rules"] if rule["type"] in ("host", "hostnossl") for user in rule["users"]})
    require(not open_to, f"connections without TLS are let in for {', '.join(open_to)}")
    return f"{len(remote)} connections to the database by {', '.join(sorted({c['tls'] for c in remote}))}; none without is let in"


def _role(login: str) -> str:
    """The role of a login, which has the number of its generation of secrets behind it."""
    return re.sub(r"_g[0-9]+$", "", login)


@check("stack")
def database_passwords(f: Facts) -> Evidence:
    """How the database keeps passwords. Passes when as SCRAM-SHA-256."""
    found = _database(f)
    require(found["password_encryption"] == "scram-sha-256", f"as {found['password_encryption']}")
    return "scram-sha-256"


def _database(f: Facts) -> dict[str, Any]:
    if "database" in f.absent:
        raise NotApplicable(f.absent["database"])
    found = f.part("database")
    if not found:
        raise Unknown("the database was not asked: verify_database is empty")
    if "error" in found:
        raise Fail(f"the database does not answer: {found['error']}")
    return found


# --- the story --------------------------------------------------------------------------------------------------------


@check("story")
def step(f: Facts, key: str) -> Evidence:
    """The story's step `{}`, through the edge with certificates verified. Passes when it went as it should."""
    found = f.step(key)
    return f"{found['step']}: {found['evidence']}"


@check("story")
def ready(f: Facts, name: str) -> Evidence:
    """What /health/ready says of its part `{}`. Passes when it says ok."""
    checks = f.step("health")["figures"].get("checks") or {}
    require(checks.get(name, {}).get("status") == "ok", f"/health/ready says of {name}: {checks.get(name, 'nothing')}")
    return f"/health/ready: {name} ok, {checks[name].get('duration_ms')} ms"


@check("story")
def version_served(f: Facts) -> Evidence:
    """The version that /health tells. Passes when it is the one that is recorded as current."""
    told, current = f.step("health")["figures"].get("version"), f.part("releases")["current"]
    require(told == current, f"/health tells {told}, {current} is recorded")
    return f"{told}"


@check("story")
def latency(f: Facts, name: str) -> Evidence:
    """Twenty requests one after another ({}). Passes when their 95th percentile is within the budget."""
    found = f.step("latency")["figures"][name]
    return below(
        f"{name}: median {found['median']} ms, p95 {found['p95']} ms", found["p95"], f.budgets["p95_ms"][name], "ms", f"p95 {name}"
    )


@check("story")
def burst(f: Facts) -> Evidence:
    """Requests on many connections at once, right and wrong ones. Passes when each gets the answer that it should and p95 is within the
    budget.
    """
    found = f.step("burst")
    figures = found["figures"]
    return below(found["evidence"], figures["p95"], f.budgets["burst_p95_ms"], "ms", "p95 of a burst")


@check("story")
def growth(f: Facts) -> Evidence:
    """Memory of backend and frontend before and after equal bursts. Passes when a request leaves less than the budget behind."""
    found = f.step("memory")
    worst = max([0, *found["figures"]["bytes_per_request"].values()])
    return below(found["evidence"], worst, f.budgets["bytes_per_request"], "bytes a request", "growth")


@check("story")
def tool_used(f: Facts) -> Evidence:
    """The tools that the chat called. Passes when the one that adds was called and is one of those that the MCP server lists."""
    called, listed = f.step("chat")["figures"]["tools"], f.step("mcp")["figures"]["tools"]
    require(set(called) & set(listed), f"the chat called {called}, the MCP server lists {listed}")
    return f"{', '.join(called)} of {len(listed)} tools"


@check("browser")
def console(f: Facts) -> Evidence:
    """The page in a real browser without a window. Passes when it is drawn with its form and the console has no error."""
    if not f.browser.get("there"):
        raise Unknown(f.browser.get("why", "no browser looked at the page"))
    require(not f.browser["errors"], f"the console says: {f.browser['errors'][0] if f.browser['errors'] else ''}")
    require(f.browser["elements"] >= 5, f"the page has {f.browser['elements']} elements to use")
    return f"{f.browser['name']}: {f.browser['elements']} fields and buttons, no error in the console"


# --- releases and earlier runs ----------------------------------------------------------------------------------------


@check("stack")
def restart_keeps(f: Facts) -> Evidence:
    """A restart of every container in the middle of the story, in this run or in the last one of this version. Passes when session and
    task are there after it.
    """
    if "restart" in f.steps:
        seconds = f.step("restart")["figures"]["seconds"]
        f.step("session_kept")
        f.step("task_kept")
        return f"all containers restarted in {seconds} s; session and task are there", measured(
            seconds, f.budgets["restart_seconds"], "s", "restart"
        )
    try:
        record = f.record("restart")
    except Unknown as error:
        raise Unknown(
            "no restart was part of the story of this version: make verify ARGS='-e verify_restart=true' restarts everything"
        ) from error
    require(record["ok"], record["evidence"])
    return f"{record['when']}: {record['evidence']}"


@check("stack")
def previous_kept(f: Facts) -> Evidence:
    """The release before the current one. Passes when its images and secrets are still there, and its manifest says how to run it again."""
    found = f.part("releases")
    if len(found["known"]) < 2 or not found["previous"]:
        raise Unknown("there was only one release so far: nothing older could be kept")
    release = next((r for r in found["known"] if r["version"] == found["previous"]), None)
    require(release, f"there is no manifest of {found['previous']}")
    require(release["images_there"], f"images of {release['version']} are gone")
    require(release["replayable"], f"the manifest of {release['version']} does not say how to run it again: it is an older Berth's")
    require(
        release["secrets"] in f.part("secrets")["generations"], f"secrets generation {release['secrets']} of {release['version']} is gone"
    )
    ready = sum(r["images_there"] and r["replayable"] for r in found["known"]) - 1
    return f"{release['version']}: manifest, both images, secrets generation {release['secrets']}; {ready} in all can be gone back to"


@check("stack")
def manifests(f: Facts) -> Evidence:
    """The manifests of releases. Passes when the current one names images by digest, configuration and secrets generation, and the edge's
    file is there.
    """
    found = f.part("releases")
    release = next((r for r in found["known"] if r["version"] == found["current"]), None)
    require(release, f"there is no manifest of {found['current'] or 'a current release'}")
    require(release["configuration"], f"the manifest of {release['version']} has no configuration")
    require(
        all(i.startswith("sha256:") for i in release["images"].values()) and len(release["images"]) >= 2,
        f"images are named {release['images']}",
    )
    require(release["secrets"] in f.part("secrets")["generations"], f"secrets generation {release['secrets']} is gone")
    require(found["configuration"], "the edge's configuration is not kept")
    return (
        f"{len(found['known'])} manifests, {len(found['backups'])} backups; {release['version']}: images by digest, configuration, "
        f"secrets generation {release['secrets']}"
    )


@check("stack")
def audit(f: Facts) -> Evidence:
    """The audit of the stack. Passes when it tells how the current release came to serve, by whom, and nothing was left half-way."""
    found = f.part("releases")
    pending = found["pending"]
    require(not pending, f"{pending.get('verb')} to {pending.get('to')} did not come to its end; the next make deploy takes it up")
    ended = [line for line in found["audit"] if line["outcome"] == "ok"]
    done = [line for line in ended if line["to"] == found["current"]]
    require(done, f"nothing tells how {found['current'] or 'what runs'} came to serve")
    told = "{when}: {who}, {verb}, {seconds} s".format(**done[-1])
    back = [line for line in ended if line["verb"] == "rollback"]
    return told + ("; last rollback {when} to {to}, {seconds} s".format(**back[-1]) if back else "; no rollback so far")


@check("record")
def stress(f: Facts, figure: str) -> Evidence:
    """The last `make stress` of the version that runs: {}. Passes when the figure is within its budget."""
    record = f.record("stress")
    found = record["figures"].get(figure)
    if found is None:
        raise Unknown(f"the stress run of {record['when']} did not measure {figure}")
    return below(f"{record['when']}: {found['text']}", found["value"], found["budget"], found["unit"], f"stress {figure}")


@check("record")
def vulnerabilities(f: Facts) -> Evidence:
    """What `make check-images` found in the images of the version that runs: secrets, outstanding updates of Debian, advisories of
    JavaScript. Passes when each of these scans had its data and none fails."""
    found = (f.source or {}).get("image_checks") or {}
    if not found:
        raise Unknown("no scan of the images was recorded: make check-images scans them")
    current = f.part("releases")["current"]
    if found.get("version") != current:
        raise Unknown(f"the last scan was of {found.get('version')}, and {current} runs: make check-images scans it")
    told = []
    for report in found["images"]:
        scans = {entry["id"]: entry for entry in report["criteria"] if entry["id"] in ("secrets", "debian", "javascript")}
        for name, entry in scans.items():
            require(entry["status"] != "fail", f"{report['service']}: {name}: {entry['evidence']}")
            if entry["status"] not in ("pass", "warning"):
                raise Unknown(f"{report['service']}: {name}: {entry['evidence']}")
        if not scans:
            raise Unknown(f"{report['service']} was not scanned")
        warned = "; ".join(entry["evidence"] for entry in scans.values() if entry["status"] == "warning")
        told.append(f"{report['service']} {', '.join(scans)}" + (f" (warning: {warned})" if warned else ""))
    return "; ".join(told)


@check("stack")
def pushed(f: Facts) -> Evidence:
    """The images' digests in a registry. Passes when backend and frontend have one; without a registry images reach hosts as archives."""
    if not f.settings.get("registry"):
        raise NotApplicable("no registry is set: images are built on the host or carried there as archives")
    bad = [service for service in APPLICATION if not f.image(service)["digests"]]
    require(not bad, f"not pushed: {', '.join(bad)}")
    return ", ".join(f.image(service)["digests"][0] for service in APPLICATION)


@check("record")
def advice(f: Facts, task: str) -> Evidence:
    """What `make advise` left for {}. Passes when Docker's AI agent answered, and its answer is kept with what became of it."""
    found = (f.source or {}).get("advice") or {}
    if not found:
        raise Unknown("no advice was recorded (reports/latest/advice.json): make advise asks Docker's AI agent where Docker Desktop has it")
    entry = next((e for e in found.get("tasks", []) if e.get("task") == task), None)
    require(entry, f"the advice of {found.get('when', 'the last run')} has no part {task}")
    if entry.get("source") != "docker-ai":
        raise Unknown(entry.get("reason") or "Docker's AI agent is not installed here (docker ai); analysers answered in its place")
    require(entry.get("outcome"), "the answer is kept, and what became of it is not")
    return f"{entry['outcome']}"
