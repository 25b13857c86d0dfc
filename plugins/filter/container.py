"""Build the complete description of a container from a role's description of its service."""

from __future__ import annotations

import json
import re
from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.settings.environment import ValueRefused, secret_names, texts
from ..module_utils.state.store import PLACEHOLDER

# Keys of a service that are not keys of its container.
OWN = ("service", "repository", "tag", "release", "secrets")


def environment_texts(variables: dict[str, Any], setting: str, structures: bool = True) -> dict[str, str]:
    """`variables` with all values as text; refuses a value without a common text form."""
    try:
        return texts(variables, setting, structures)
    except ValueRefused as error:
        raise AnsibleFilterError(str(error)) from error


def build_arguments(variables: dict[str, Any], setting: str) -> dict[str, str]:
    """`variables` as build arguments; refuses lists, because Dockerfiles differ in how they split an argument."""
    return environment_texts(variables, setting, structures=False)


def as_container(service: dict[str, Any], common: dict[str, Any], version: str) -> dict[str, Any]:
    """The container of `service`, with the hardening in `common`.

    `service`: name, service, repository and, optionally, tag (default: version), release (for its label), secrets (a directory on the
    host, mounted read-only at /run/secrets) and any key of module_utils/docker/spec.py, which takes precedence over `common`.
    """
    spec = common | {key: value for key, value in service.items() if key not in OWN}
    spec["image"] = f"{service['repository']}:{service.get('tag') or version}"
    spec["labels"] = (
        common.get("labels", {})
        | service.get("labels", {})
        | {
            "berth.service": service["service"],
            "berth.version": service.get("release") or service.get("tag") or version,
        }
    )
    if spec.get("environment"):
        spec["environment"] = environment_texts(spec["environment"], f"environment of {service['service']}")
    own = {entry.partition(":")[0] for entry in service.get("tmpfs", [])}
    spec["tmpfs"] = [entry for entry in common.get("tmpfs", []) if entry.partition(":")[0] not in own] + list(service.get("tmpfs", []))
    mounts = list(service.get("mounts", []))
    if service.get("secrets"):
        mounts.append({"type": "bind", "source": service["secrets"], "target": "/run/secrets", "read_only": True})
    spec["mounts"] = mounts
    spec["healthcheck"] = common.get("healthcheck", {}) | service.get("healthcheck", {})
    return spec


def as_migration(migration: dict[str, Any], common: dict[str, Any], version: str) -> dict[str, Any]:
    """`migration` with the description of the one-off container that runs its command, instead of its service."""
    service = dict(migration["container"])
    container = as_container(service | {"name": f"{service['name']}-migrate"}, common, version)
    once = {"entrypoint": migration["command"], "command": [], "restart": "no", "healthcheck": {"test": ["NONE"]}}
    return {key: value for key, value in migration.items() if key != "command"} | {"container": container | once}


# Run before the program by the image's interpreter, because the images have no shell. It sets the variables inside the process, so
# that neither docker inspect nor the engine's API shows them.
SETTERS = {
    "python": (
        "import os,sys;a=sys.argv[1:];i=a.index('--');"
        "os.environ.update((n,open('/run/secrets/'+f,encoding='utf-8',newline='').read()) for n,f in (p.split('=',1) for p in a[:i]));"
        "os.execvp(a[i+1],a[i+1:])"
    ),
    "node": (
        "const a=process.argv.slice(1),i=a.indexOf('--'),p=require('path').resolve(a[i+1]);"
        "for(const s of a.slice(0,i)){const [n,f]=s.split('=');process.env[n]=require('fs').readFileSync('/run/secrets/'+f,'utf8')}"
        "process.argv=[process.argv[0],p,...a.slice(i+2)];import(require('url').pathToFileURL(p)).catch(e=>{console.error(e);process.exit(1)})"
    ),
}


def with_secrets(command: list[str], variables: dict[str, str]) -> list[str]:
    """`command` with the environment `variables` {NAME: file in /run/secrets}, set inside its process.

    A Node.js program runs in the same process; any other is started by the Python of the backend's image.
    """
    if not variables or not command:
        return command
    pairs = [f"{name}={file}" for name, file in sorted(variables.items())]
    if command[0] == "node":
        return ["node", "-e", SETTERS["node"], *pairs, "--", *command[1:]]
    return ["python3", "-IS", "-c", SETTERS["python"], *pairs, "--", *command]


def build_secrets(files: dict[str, str]) -> list[dict[str, str]]:
    """BuildKit secrets, from {id: path on the builder}."""
    return [{"id": name, "type": "file", "src": path} for name, path in sorted(files.items())]


def build_environment(variables: dict[str, Any]) -> str:
    """The Dockerfile's BUILD_ENV as JSON, in which no value can define another variable; empty for none."""
    return json.dumps(environment_texts(variables, "frontend_image_build_environment"), ensure_ascii=False) if variables else ""


def placeholder(name: str) -> str:
    """A value for a build that requires the variable `name`: of a valid form, without a function."""
    if re.search(r"DATABASE|POSTGRES", name):
        return "postgresql://build:build@127.0.0.1:9/build"
    if re.search(r"(REDIS|VALKEY|CACHE|BROKER|CELERY|QUEUE)\w*_UR[IL]$", name):
        return "redis://:build@127.0.0.1:9/0"
    return "http://127.0.0.1:9" if re.search(r"UR[IL]$", name) else "placeholder-of-the-build-0123456789abcdef"


def import_arguments(environment: dict[str, Any], secrets: dict[str, str], scheme: str) -> dict[str, str]:
    """Build arguments with which a build imports the application: the `environment` of its container, and placeholders for its secrets.

    `secrets`: {variable: file in /run/secrets}; `scheme` is that of the database's URL. A value below /run/secrets is the path of a file,
    which the build makes of the placeholder of that name.
    """
    given = environment_texts(environment, "backend_image_extra_environment")
    # The name that the release will have: a host's name in a URL.
    given = {name: value.replace(PLACEHOLDER, "build") for name, value in given.items()}
    files = {value for value in given.values() if value.startswith("/run/secrets/")}
    sources = {path: path.rpartition("/")[2] for path in sorted(files)} | dict(sorted(secrets.items()))
    # Nothing that an application rejects as a placeholder.
    values = {
        name: f"{scheme}://build:build@127.0.0.1:9/build" if re.search(r"(database|postgres).*ur[il]$", file) else "b4f1c07e9a2d8635" * 3
        for name, file in sources.items()
    }
    return {"ENVIRONMENT": json.dumps(given, sort_keys=True), "PLACEHOLDERS": json.dumps(values)}


def image_name(image: dict[str, str]) -> str:
    """repository:tag of an image."""
    return f"{image['repository']}:{image['tag']}"


def built_line(result: dict[str, Any], builds: dict[str, Any] | None = None) -> str:
    """An image in one line: name, short digest, size in MB (decimal, as of `docker images`), layers, duration of its build."""
    build = (builds or {}).get(result["service"])
    took = f"built in {build['seconds']} s, {build['cached']} of {build['steps']} steps cached" if build else "exists already"
    identity, size = result["id"].removeprefix("sha256:")[:12], result["size"] / 1e6
    return f"{result['reference']}  {identity}  {size:.1f} MB  {result['layers']} layers  {took}"


def story_line(step: dict[str, Any]) -> str:
    """One line about a step of the verification's story."""
    return f"{step['step']}: {step['evidence']} ({step['seconds']} s)"


class FilterModule:
    """Filters of the role container."""

    def filters(self) -> dict[str, object]:
        return {
            "with_secrets": with_secrets,
            "build_secrets": build_secrets,
            "build_environment": build_environment,
            "build_arguments": build_arguments,
            "named_secrets": secret_names,
            "placeholder": placeholder,
            "image_name": image_name,
            "import_arguments": import_arguments,
            "as_container": as_container,
            "as_migration": as_migration,
            "built_line": built_line,
            "story_line": story_line,
        }
