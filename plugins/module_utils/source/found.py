"""What an analysis of sources finds: settings with where they come from and how sure they are, questions, and notes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# certain: the source says so. likely: it follows from the source, and is used. guess: an alternative is as good, and somebody must decide.
CERTAINTIES = ("certain", "likely", "guess")


@dataclass
class Found:
    """The value of one setting. `where` is file:line in the service's source, or empty; `why` completes "because"."""

    setting: str
    value: Any
    certainty: str = "certain"
    where: str = ""
    why: str = ""
    candidates: list[Any] = field(default_factory=list)


@dataclass
class Secret:
    """A secret that the source reads from the environment variable `name`. `own`: nobody else needs to know it, so it can be drawn."""

    name: str
    service: str
    where: str
    own: bool = False
    required: bool = False

    @property
    def key(self) -> str:
        """Its name in the schema of secrets."""
        return self.name.lower()


@dataclass
class Part:
    """What was found in one source."""

    service: str
    found: dict[str, Found] = field(default_factory=dict)
    secrets: list[Secret] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # what stops a run
    notes: list[str] = field(default_factory=list)
    outgoing: dict[str, str] = field(default_factory=dict)  # host of the internet: where it is named
    fonts: str = ""  # where the frontend takes fonts that the build fetches
    todo: list[str] = field(default_factory=list)  # variables that the source reads and nothing gives, a line each

    @property
    def role(self) -> str:
        return f"{self.service}_image"

    def add(
        self, setting: str, value: Any, certainty: str = "certain", where: str = "", why: str = "", candidates: list[Any] | None = None
    ) -> Any:
        """Note a value of the service's role, and return it."""
        name = f"{self.role}_{setting}"
        self.found[name] = Found(name, value, certainty, where, why, candidates or [])
        return value

    def guesses(self) -> Iterator[Found]:
        return (one for one in self.found.values() if one.certainty == "guess" and one.candidates)
