"""What the checks behind the acceptance criteria share: the gathered facts, the three ways not to pass, and the register of checks.

A check is a pure function of `Facts`. Its docstring is what the report and the documents print: what is checked, and when it passes;
`{}` stands for the check's argument. It returns a line, or a line and what was measured against which budget; it raises Fail, NotVerified
(the facts that it needs are missing, and why) or NotApplicable.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

APPLICATION = ("backend", "frontend")
MB = 1_000_000


class Fail(Exception):
    """The criterion is not met; the message has what was found."""


class NotVerified(Exception):
    """It could not be checked; the message has the reason and the way to check it."""


class NotApplicable(Exception):
    """The application or the installation has no such part; the message has the reason."""


class Facts:
    """What was gathered: `stack` (host), `e2e` (steps of the end-to-end check), `source` and `repository` (controller), `browser`; with
    budgets, settings and absent parts.
    """

    def __init__(self, gathered: dict[str, Any]) -> None:
        self.stack = gathered.get("stack") or {}
        self.steps = {step["key"]: step for step in gathered.get("e2e") or []}
        self.source = gathered.get("source") or {}
        self._repository = gathered.get("repository") or {}
        self.browser = gathered.get("browser") or {}
        self.budgets = gathered.get("budgets") or {}
        self.absent = gathered.get("absent") or {}
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
        if step["outcome"] != "ok":
            raise Fail(f"{step['step']}: {step['evidence']}")
        return step

    def asked(self, service: str) -> dict[str, Any]:
        asked = self.container(service).get("asked") or {}
        if "error" in asked or not asked:
            raise NotVerified(f"{service} could not be asked: {asked.get('error', 'it does not run, or has no interpreter to ask with')}")
        return asked

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
        raise Fail(f"{line}; the budget is {budget:g} {unit}")
    return line, measured(value, budget, unit, name)


def require(condition: Any, message: str) -> None:
    if not condition:
        raise Fail(message)


def describe(name: str, argument: str) -> str:
    """A check's docstring with its argument."""
    return inspect.cleandoc(CHECKS[name].__doc__ or "").replace("\n", " ").replace("{}", argument)
