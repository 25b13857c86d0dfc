"""Probes share the session of the end-to-end check that runs them; each class covers one subject, through the edge.

Each probe returns its evidence (a line, or a line and figures) or raises Broken with what came instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .app_client import Browser

Evidence = str | tuple[str, dict[str, Any]]
Probe = tuple[str, str, Callable[[], Evidence]]  # key, title, function


class Probes:
    """Probes on the session of an end-to-end check: its `web`, `token`, `user` and `engine`."""

    def __init__(self, check: Any) -> None:
        self.check = check
        self.options, self.engine = check.options, check.engine

    @property
    def web(self) -> Browser:
        web: Browser = self.check.web
        return web

    @property
    def token(self) -> str:
        return str(self.check.token)

    def steps(self) -> list[Probe]:
        """The probes, which use the check's session and task; none where the application has no such part."""
        raise NotImplementedError
