"""Containers, images, secrets and connections of the services and jobs that an operator declares."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError

from ..module_utils.docker.spec import SpecError
from ..module_utils.services import declared
from ..module_utils.settings.environment import ValueRefused
from .container import with_secrets

Declared = dict[str, dict[str, Any]]


def service_problems(services: Any, jobs: Any, given: dict[str, Any]) -> list[str]:
    """What is wrong with the declarations, a line each."""
    return declared.problems(services, jobs, given)


def release_services(services: Declared, jobs: Declared, given: dict[str, Any]) -> list[dict[str, Any]]:
    """The services of the release's image, the scheduler of the jobs among them.

    `given`: backend (the description of its service), variables (those that are set inside the process, with their files), networks,
    timezone and directory (where the host keeps the record of the jobs).
    """
    backend, networks = given["backend"], given["networks"]
    try:
        made = declared.release_services(services, backend, networks)
        made += declared.scheduler_service(jobs, services, backend, networks, given["timezone"], given["directory"])
    except (ValueRefused, ValueError, SpecError) as error:
        raise AnsibleFilterError(str(error)) from error
    return [
        service | {"entrypoint": with_secrets(service["entrypoint"], _readable(service, services, given["variables"]))} for service in made
    ]


def _readable(service: dict[str, Any], services: Declared, variables: dict[str, str]) -> dict[str, str]:
    """The variables whose files a service has: all, or, where it names its secrets, those."""
    entry = services.get(service["service"]) or {}
    return {name: file for name, file in variables.items() if "secrets" not in entry or file in (entry["secrets"] or [])}


class FilterModule:
    """Filters of the role services."""

    def filters(self) -> dict[str, object]:
        return {
            "service_problems": service_problems,
            "release_services": release_services,
            "infrastructure_services": declared.infrastructure_services,
            "service_volumes": declared.volumes,
            "service_recipes": declared.recipes,
            "service_builds": declared.builds,
            "service_debian_releases": declared.debian_releases,
            "service_passwords": declared.with_passwords,
            "service_secret_files": declared.with_files,
            "service_secret_users": declared.with_users,
            "service_policy": declared.with_services,
        }
