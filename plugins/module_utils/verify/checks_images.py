"""Checks of builds and images. What a check is: verify/facts.py."""

from __future__ import annotations

import re
from typing import Any

from ..docker.image_scan import largest
from .facts import APPLICATION, MB, Evidence, Facts, NotApplicable, NotVerified, OverBudget, below, check, measured, require, unchecked


@check("stack")
def built(f: Facts, service: str) -> Evidence:
    """The {}'s image and the log of its build. Passes when the image is there with the content that it was built from, and the log has no
    error.
    """
    image = f.image(service)
    content = image["labels"].get("berth.content", "")
    require(content, "the image has no label berth.content: what it was built from is not known")
    log = (f.source.get("builds") or {}).get(content)
    require(not (log and "error" in log), f"the log of its build cannot be read: {(log or {}).get('error')}")
    require(not (log and log["errors"]), f"the build reported: {(log or {}).get('errors')}")
    note = f"; its build took {log['seconds']:.0f} s, {log['lines']} lines without an error" if log else ""
    return f"{(image['tags'] or [image['id'][:19]])[0]}, content {content[:12]}{note}"


@check("record")
def build_warnings(f: Facts) -> Evidence:
    """The logs of the builds of both images. Passes when none of their lines is a warning, but those accepted for a reason."""
    accepted: dict[str, str] = f.settings.get("build_warnings_accepted") or {}
    lines = []
    for service in APPLICATION:
        content = f.image(service)["labels"].get("berth.content", "")
        log = (f.source.get("builds") or {}).get(content)
        if log is None:
            raise NotVerified(f"no log of the {service}'s build is kept here: it was built elsewhere or before logs were kept")
        require("error" not in log, f"the log of the {service}'s build cannot be read: {log.get('error')}")
        warned = [line for line in log["warnings"] if not any(words in line for words in accepted)]
        require(not warned, f"{service}: {'; '.join(warned[:3])}")
        lines += [f"{service} accepted: {accepted[words]}" for words in accepted if any(words in line for line in log["warnings"])]
        lines.append(f"{service} {log['lines']} lines, {log.get('cached', 0)} steps from the cache")
    return f"no open warning in the logs: {'; '.join(lines)}"


def whole_source(instructions: list[list[str]]) -> list[int]:
    """Where the whole source comes in: copied, or mounted by a step of another stage than the one that picks the dependencies' files."""
    found, stage = [], ""
    for index, (name, rest) in enumerate(instructions):
        if name == "FROM":
            stage = rest.rpartition(" ")[2]
        copied = name == "COPY" and rest.startswith(". ")
        mounted = name == "RUN" and re.search(r"--mount=type=bind,(?!\S*from=)", rest) and stage != "dependency-files"
        if copied or mounted:
            found.append(index)
    return found


@check("source")
def build_caching(f: Facts) -> Evidence:
    """The order of both Dockerfiles. Passes when dependencies are installed from their own files, before the source comes in."""
    for service in APPLICATION:
        f.built_here(service)
        instructions = f.dockerfile(service)["instructions"]
        own = [i for i, (name, rest) in enumerate(instructions) if name == "COPY" and "--from=dependency-files" in rest]
        whole = whole_source(instructions)
        require(
            own and whole and min(own) < min(whole),
            f"the {service}'s dependencies hang on its whole source: every change installs them again",
        )
    return "lock files first, source last: a source change reinstalls nothing"


@check("stack")
def runtime(f: Facts, service: str) -> Evidence:
    """The interpreter in the {}'s container, asked there. Passes when it is the version that was chosen."""
    f.built_here(service)
    expected = str(f.settings["runtimes"][service])
    version = f.asked(service)["runtime"]
    require(version == expected or version.startswith(f"{expected}."), f"{version} runs, not {expected}")
    return f"version {version}"


@check("stack")
def libraries(f: Facts, names: str) -> Evidence:
    """The packages installed in the backend's container ({}). Passes when each is there."""
    f.built_here("backend")
    found = f.asked("backend")["libraries"]
    missing = [name for name in _expected(f, "backend", names) if not found.get(name)]
    if "openai-agents" in missing and "agents" not in f.required:
        raise NotApplicable("the backend does not have the OpenAI Agents SDK")
    require(not missing, f"not installed: {', '.join(missing)}")
    return ", ".join(f"{name} {found[name]}" for name in _expected(f, "backend", names))


def _expected(f: Facts, service: str, names: str) -> list[str]:
    """The names in a check's argument, without uvicorn where a command of the application's own serves by something else."""
    command = " ".join(f.setting("commands", service) or [])
    return [name for name in names.split(",") if not (name == "uvicorn" and command and name not in command)]


@check("stack")
def marks(f: Facts, argument: str) -> Evidence:
    """The files of an image ({}). Passes when they are there."""
    service, _, names = argument.partition(":")
    f.built_here(service)
    found = f.image(service)["scan"]["marks"]
    missing = [name for name in _expected(f, service, names) if name not in found]
    require(not missing, f"not in the {service}'s image: {', '.join(missing)}")
    return "; ".join(f"{name}: {found[name]}" for name in _expected(f, service, names))


@check("stack")
def production_only(f: Facts, service: str) -> Evidence:
    """The files of the {}'s image. Passes when no compiler, type checker or test tool of the development dependencies is there."""
    f.built_here(service)
    found = f.image(service)["scan"]["marks"]
    require("dev_tools" not in found, f"in the image: {found.get('dev_tools')}")
    require("repository" not in found, f"in the image: {found.get('repository')}")
    return "neither development tools nor a repository"


@check("stack")
def image_size(f: Facts, service: str) -> Evidence:
    """The size of the {}'s image. Passes when it is within its budget, which a release of the framework may have of its own."""
    size = f.image(service)["size"] / MB
    budget, framework = f.image_budget(service)
    if size > budget:
        costs = largest(f.image(service)["scan"].get("packages_bytes") or {}, f.image(service)["size"])
        raise OverBudget(f"{size:.1f} MB; the budget is {budget:g} MB{framework}; largest packages: {costs}")
    return f"{size:.1f} MB{framework}", measured(size, budget, "MB", f"image {service}")


@check("stack")
def layers(f: Facts, service: str) -> Evidence:
    """The layers of the {}'s image. Passes when they are few and what changes most often, the application, is the last and not the
    largest.
    """
    f.built_here(service)
    found = f.image(service)["layers"]
    sizes = [layer["size"] for layer in reversed(found)]
    require(sizes, "the image has no layer")
    if len(sizes) > 1 and sizes[-1] == max(sizes):
        raise OverBudget(f"the last layer, {sizes[-1] / MB:.1f} MB, is the largest: a change of source sends all of it")
    return below(
        f"{len(sizes)} layers: {', '.join(f'{size / MB:.1f}' for size in sizes)} MB",
        len(sizes),
        f.budgets["layers"],
        "layers",
        f"layers {service}",
    )


@check("stack")
def tags(f: Facts, service: str) -> Evidence:
    """Tag and labels of the {}'s image. Passes when it is the image that the current release names, its tag is the release's version of
    images, and not `latest`, and the labels have version and revision.
    """
    image, release = f.image(service), f.release()
    version, named, runs = release["image_version"], release["images"].get(service, ""), f.container(service)["image_id"]
    require(runs == named, f"{runs[:19]} runs, release {release['version']} names {named[:19] or 'no image'}")
    require(
        any(tag.endswith(f":{version}") for tag in image["tags"]),
        f"images of {version} run, the image's tags are {', '.join(image['tags']) or 'none'}",
    )
    require(version and version != "latest", f"the version is {version!r}")
    label = image["labels"].get("org.opencontainers.image.version")
    # Outside git there is no revision to name.
    expected = ("title", "version", "created")
    missing = [name for name in expected if not image["labels"].get(f"org.opencontainers.image.{name}")]
    require(not missing, f"labels without a value: {', '.join(missing)}")
    return f"{image['tags'][0]}, labelled {label}"


@check("stack")
def exposed(f: Facts, argument: str) -> Evidence:
    """Image and container ({}). Passes when exactly that port, or the one that was set, is exposed, is the application's PORT, and is not
    published on the host.
    """
    service, _, usual = argument.partition(":")
    port = str(f.setting("ports", service) or usual)
    image, container = f.image(service), f.container(service)
    require(
        f.setting("dockerfiles", service) or image["exposed"] == [f"{port}/tcp"],
        f"the image exposes {', '.join(image['exposed']) or 'nothing'}",
    )
    require(container["environment"].get("PORT", port) == port, f"PORT is {container['environment'].get('PORT')}")
    require(not container["ports"], f"published on the host: {container['ports']}")
    return f"{port}/tcp, inside only"


@check("stack")
def entrypoint(f: Facts, argument: str) -> Evidence:
    """How a container starts ({}). Passes when entry point or command name the program, or the command that was set, and a process of that
    name runs.
    """
    service, _, program = argument.partition(":")
    f.built_here(service)
    image, container = f.image(service), f.container(service)
    own = f.setting("commands", service) or []
    words = own or [*image["entrypoint"], *image["command"]]
    names = [_program(own)] if own else program.split("|")
    require(any(name in word for word in words for name in names), f"it starts {' '.join(words)}")
    running = [process["command"] for process in container.get("processes", [])]
    require(any(name in command for command in running for name in names), f"no process {program} runs: {running}")
    return " ".join(words)


def _program(command: list[str]) -> str:
    """What a command runs: the module or file of an interpreter, or the program."""
    interpreter = command[0].rpartition("/")[2].startswith(("python", "node"))
    words = [word for word in command[1:] if not word.startswith("-")] if interpreter else []
    return (words or command)[0].rpartition("/")[2]


@check("stack")
def init(f: Facts) -> Evidence:
    """The first process of the frontend's container. Passes when it is dumb-init, which forwards signals."""
    f.built_here("frontend")
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
    if f.setting("dockerfiles", service):
        raise NotVerified("the health check is that of the application's own Dockerfile: whether it can fail is not tried")
    if answer is None:
        raise NotVerified("the health check could not be run inside the container")
    require(answer != 0, f"`{' '.join(test[1:])}` reports healthy where nothing listens: it cannot fail")
    return f"{' '.join(test[1:])}: healthy; exit status {answer} where nothing answers"


@check("stack")
def health_steady(f: Facts) -> Evidence:
    """The last results of every container's health check. Passes when there are some, and all since the first healthy one are 0."""
    count = 0
    for container in f.containers():
        if unchecked(container):
            continue
        results = container["health_log"]
        # A check that runs while the program starts fails.
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
    # Its container has a user of its own, whatever the application's own Dockerfile says.
    own = bool(f.setting("dockerfiles", service))
    require(own or image["user"].split(":")[0] not in ("", "0", "root"), f"the image's user is {image['user'] or 'root'}")
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
    f.built_here(service)
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
    f.built_here(service)
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
    require(files, "no image was scanned")
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
    bad = [release["version"] for release in f.part("releases")["kept"] if release["secret_hits"]]
    require(not bad, f"manifests with secrets: {', '.join(bad)}")
    return f"environment and logs of {len(f.containers())} containers, {len(f.part('releases')['kept'])} manifests"


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
    """The URLs by which the two containers find each other. Passes when each has one by the environment, and none is baked into the
    image.
    """
    lines = []
    for service in APPLICATION:
        urls = {n: v for n, v in f.container(service)["environment"].items() if re.match(r"https?://", v)}
        require(urls, f"the {service} is given no URL")
        baked = [name for name in urls if name in f.image(service)["environment"]]
        require(not baked, f"baked into the {service}'s image: {', '.join(baked)}")
        lines += [f"{name}={value}" for name, value in urls.items()]
    return ", ".join(lines)
