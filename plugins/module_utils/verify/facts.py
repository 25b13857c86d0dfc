"""What the checks behind the acceptance criteria share: the gathered facts, the three ways not to pass, and the register of checks.

A check is a pure function of `Facts`. Its docstring is what the report and the documents print: what is checked, and when it passes;
`{}` stands for the check's argument. It returns a line, or a line and what was measured against which budget; it raises Fail, NotVerified
(the facts that it needs are missing, and why) or NotApplicable.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

from ..docker.image_weight import budget_of

APPLICATION = ("backend", "frontend")
MB = 1_000_000


# Services of every stack; others are declared by the operator.
OWN = (*APPLICATION, "database", "edge", "model")


def unchecked(container: dict[str, Any]) -> bool:
    """Whether a container is of a declared service for which the operator declares no health check."""
    return container["service"] not in OWN and container["health_test"] == ["NONE"]


class Fail(Exception):
    """The criterion is not met; the message has what was found."""


class OverBudget(Fail):
    """A figure is over its budget: the criterion is not met, and what runs serves all the same."""


class NotVerified(Exception):
    """It could not be checked; the message has the reason and the way to check it."""


class NotApplicable(Exception):
    """The application or the installation has no such part; the message has the reason."""


class Facts:
    """What was gathered: `stack` (host), `e2e` (steps of the end-to-end check), `source` and `repository` (controller), `browser`; with
    budgets, settings, parts that the application must have (`required`) and parts that it does not have (`absent`, with the reasons).
    """

    def __init__(self, gathered: dict[str, Any]) -> None:
        self.stack = gathered.get("stack") or {}
        self.steps = {step["key"]: step for step in gathered.get("e2e") or []}
        self.source = gathered.get("source") or {}
        self._repository = gathered.get("repository") or {}
        self.browser = gathered.get("browser") or {}
        self.budgets = gathered.get("budgets") or {}
        self.absent = gathered.get("absent") or {}
        self.required = set(gathered.get("required") or []) - set(self.absent)
        self.settings = gathered.get("settings") or {}

    def part(self, name: str) -> Any:
        """A part of the host's facts: a mapping or a list."""
        if not self.stack:
            raise NotVerified("the host's facts were not gathered: the stack could not be inspected")
        return self.stack[name]

    def containers(self, *services: str) -> list[dict[str, Any]]:
        """Containers of the stack, or of these services; missing ones fail."""
        found = [c for c in self.part("containers") if not services or c["service"] in services]
        missing = [service for service in services if service not in {c["service"] for c in found}]
        if missing or not found:
            raise Fail(f"no container of {', '.join(missing) or 'the stack'} exists")
        return found

    def container(self, service: str) -> dict[str, Any]:
        return self.containers(service)[0]

    def image(self, service: str) -> dict[str, Any]:
        image: dict[str, Any] | None = self.part("images").get(service)
        if not image or "error" in image:
            raise Fail(f"no image of {service}: {(image or {}).get('error', 'no container runs it')}")
        return image

    def release(self) -> dict[str, Any]:
        """The current release, as its manifest describes it. Its name is that of its images' version, or, where only its configuration
        or its secrets are other ones, that and -r2, -r3, ...: compare images with `image_version`.
        """
        found = self.part("releases")
        release = next((r for r in found["kept"] if r["version"] == found["current"]), None)
        if release is None:
            raise Fail(f"there is no manifest of {found['current'] or 'a current release'}")
        return {**release, "image_version": release.get("image_version") or release["version"]}

    def step(self, key: str) -> dict[str, Any]:
        """A step of the end-to-end check that passed."""
        step: dict[str, Any] | None = self.steps.get(key)
        if step is None:
            raise NotVerified("this step was not part of the end-to-end check" if self.steps else "the end-to-end check did not run")
        if step["outcome"] == "absent":
            raise NotApplicable(step["evidence"])
        if step["outcome"] != "ok":
            raise Fail(f"{step['step']}: {step['evidence']}")
        return step

    def asked(self, service: str) -> dict[str, Any]:
        asked = self.container(service).get("asked") or {}
        if "error" in asked or not asked:
            raise NotVerified(f"{service} could not be asked: {asked.get('error', 'it does not run, or has no interpreter to ask with')}")
        return asked

    def setting(self, name: str, service: str) -> Any:
        """What was set for a service: `runtimes`, `ports`, `commands` (that replaces the image's), `dockerfiles` (its own one)."""
        return (self.settings.get(name) or {}).get(service)

    def image_budget(self, service: str) -> tuple[float, str]:
        """(MB, the framework that it is of) of a service's image: one number, or one for each major release of Next.js and a `default`."""
        budget = self.budgets["image_mb"][service]
        asked = (self.container(service).get("asked") or {}).get("framework") if isinstance(budget, dict) else ""
        version = str(asked or "")
        return budget_of(budget, version), f" (Next.js {version})" if version else ""

    def built_here(self, service: str) -> None:
        """NotApplicable where the application's own Dockerfile builds the image: what Berth's Dockerfiles promise is no promise of it."""
        if own := self.setting("dockerfiles", service):
            raise NotApplicable(f"the {service}'s image is built by the application's own Dockerfile ({own})")

    def lacking(self, parts: list[str]) -> str:
        """Why the application does not have one of the parts; empty where it has all."""
        for part in parts:
            if part in self.absent:
                return str(self.absent[part])
        if "database" in parts and self.stack and "backend" in self.stack.get("images", {}):
            return self.no_database()
        return ""

    def no_database(self) -> str:
        """Why the application has no database; empty where it has one, or must have one."""
        if "database" in self.absent:
            return str(self.absent["database"])
        if "database" in self.required or "postgres_driver" in self.image("backend")["scan"]["marks"]:
            return ""
        if any(c["remote"] and role_of(c["user"]) == "backend" for c in self.connections()):
            return ""
        return "the backend uses no database: its image has no driver of PostgreSQL, and it is not connected"

    def database(self) -> dict[str, Any]:
        """What the database said of itself; NotApplicable where the stack has none."""
        if "database" in self.absent:
            raise NotApplicable(str(self.absent["database"]))
        found: dict[str, Any] = self.part("database")
        if not found:
            raise NotVerified("the database was not queried: verify_database is empty")
        if "error" in found:
            raise Fail(f"the database does not answer: {found['error']}")
        return found

    def connections(self) -> list[dict[str, Any]]:
        """Connections to the database: those that pools keep, and those that the end-to-end check saw while requests ran."""
        step = self.steps.get("connections") or {}
        seen: list[dict[str, Any]] = (step.get("figures") or {}).get("connections") or []
        return [*((self.part("database") or {}).get("connections") or []), *seen]

    def record(self, name: str) -> dict[str, Any]:
        """What an earlier run left about the version that runs."""
        record = (self.source.get("records") or {}).get(name) or {}
        version = self.part("releases").get("current")
        if "error" in record:
            raise Fail(f"the record of the {name} run cannot be read: {record['error']}")
        if not record:
            raise NotVerified(f"no {name} run was recorded for this stack: make stress measures it")
        if record.get("version") != version:
            raise NotVerified(f"the {name} run was of {record.get('version')}, and {version} runs: make stress measures it again")
        return record

    @property
    def repository(self) -> dict[str, Any]:
        """Berth's own repository, where the run is from a checkout of it."""
        if not self._repository:
            raise NotVerified("the repository was not inspected")
        if not self._repository["found"]:
            raise NotApplicable("this installation is not Berth's repository: there is nothing of it to audit")
        return self._repository

    def document(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.repository["documents"].get(name) or {}
        if not found.get("exists"):
            raise Fail(f"{name} does not exist")
        if found["broken"]:
            raise Fail(f"{name} links to what is not there: {', '.join(found['broken'])}")
        return found

    def sources(self) -> dict[str, Any]:
        """What was gathered of the application's sources."""
        if not self.source:
            raise NotVerified("the sources were not inspected")
        return self.source

    def dockerfile(self, service: str) -> dict[str, Any]:
        found: dict[str, Any] = self.sources()["dockerfiles"][service]
        if not found["exists"]:
            raise Fail(f"there is no Dockerfile of the {service}")
        return found


Evidence = str | tuple[str, dict[str, Any]]
CHECKS: dict[str, Callable[..., Evidence]] = {}
NEEDS: dict[str, str] = {}


def check(needs: str) -> Callable[[Callable[..., Evidence]], Callable[..., Evidence]]:
    """Register a check by its function's name; `needs` is stack, e2e, source, repository, browser or record."""

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
        raise OverBudget(f"{line}; the budget is {budget:g} {unit}")
    return line, measured(value, budget, unit, name)


def role_of(login: str) -> str:
    """The role of a login, which has the number of its secret version behind it."""
    return re.sub(r"_g[0-9]+$", "", login)


def require(condition: Any, message: str) -> None:
    if not condition:
        raise Fail(message)


def describe(name: str, argument: str) -> str:
    """A check's docstring with its argument."""
    return inspect.cleandoc(CHECKS[name].__doc__ or "").replace("\n", " ").replace("{}", argument)
