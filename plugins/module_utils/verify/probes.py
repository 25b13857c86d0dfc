"""What goes beyond a user's story shares with it: its session. Looks at an application through its edge, each room at one subject.

Each probe returns its evidence (a line, or a line and figures) or raises Broken with what came instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .app_client import Browser

Evidence = str | tuple[str, dict[str, Any]]
Probe = tuple[str, str, Callable[[], Evidence]]  # key, title, act


class Probes:
    """Probes on the session of a story: its `web`, `token`, `user` and `engine`."""

    def __init__(self, check: Any) -> None:
        self.check = check
        self.options, self.engine = check.options, check.engine

    @property
    def web(self) -> Browser:
        return self.check.web

    @property
    def token(self) -> str:
        return self.check.token

    def steps(self) -> list[Probe]:
        """What needs the story's session and task; nothing where the application has no such part."""
        raise NotImplementedError
