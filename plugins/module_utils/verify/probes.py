"""Probes share the session of the end-to-end check that runs them; each class covers one subject, through the edge.

Each probe returns its evidence (a line, or a line and figures), raises Broken with what came instead, or Absent where the application has
no such part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .app_client import Browser

Evidence = str | tuple[str, dict[str, Any]]


class Step(NamedTuple):
    """One step: its key, its title, what it does, the parts of the application that it is about, and the keys of the steps it needs."""

    key: str
    title: str
    run: Callable[[], Evidence]
    parts: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


class Probes:
    """Probes on the session of an end-to-end check: its `web`, `token`, `user`, `engine` and `application`."""

    def __init__(self, check: Any) -> None:
        self.check = check
        self.options, self.engine, self.application = check.options, check.engine, check.application

    @property
    def web(self) -> Browser:
        web: Browser = self.check.web
        return web

    @property
    def token(self) -> str:
        return str(self.check.token)

    def steps(self) -> list[Step]:
        """The probes, which use the check's session and task."""
        raise NotImplementedError
