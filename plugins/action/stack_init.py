"""Read the sources of an application and write app.yml from what they say (make init). On the controller alone."""

from __future__ import annotations

import difflib
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils.settings import application
from ..module_utils.source.analysis import SERVICES, analyse
from ..module_utils.source.found import Found
from ..module_utils.source.nextjs import FONTS_HOST, can_reach
from ..module_utils.source.refusals import refusals
from ..module_utils.source.written import FONTS, app_yml, steps
from ..module_utils.state.store import write

PROJECT = Path(__file__).resolve().parents[2]
REGISTRY = "https://registry-1.docker.io/v2/"


class ActionModule(ActionBase):
    """The action. Arguments: C(backend) and C(frontend), directories; C(confirm), the name of a file that may be overwritten.

    Returns C(lines), what was found and what to do next; in check mode nothing is written.
    """

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result: dict[str, Any] = super().run(tmp, task_vars)
        sources = {service: Path(self._task.args[service]) for service in SERVICES}
        path = application.target(os.environ)
        if problem := _wrong(sources):
            return result | {"failed": True, "msg": problem}
        analysis = analyse(sources["backend"], sources["frontend"])
        if any("_IMAGE:" in text for text in analysis.problems):
            analysis.notes.append(registry())
        if analysis.fonts and not can_reach(FONTS_HOST):
            why = f"{FONTS_HOST} cannot be reached from here, and the build would fail; pages have the browser's own fonts"
            analysis.found[FONTS] = Found(FONTS, "fallback", "likely", analysis.fonts, why)
            analysis.notes.append(f"{why}: {FONTS} ({analysis.fonts})")
        text = app_yml(analysis, {service: os.path.relpath(one, path.parent) for service, one in sources.items()})
        before = path.read_text() if path.is_file() else ""
        if before and before != text and self._task.args.get("confirm") != path.name:
            changes = "".join(
                difflib.unified_diff(before.splitlines(True), text.splitlines(True), str(path), "from the sources as they are")
            )
            why = f"{path} exists, and the sources say something else: nothing was written. Replace it by: make init CONFIRM={path.name}"
            return result | {"failed": True, "msg": f"{why}\n{changes}"}
        changed = before != text
        if changed and not self._task.check_mode:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write(path, text, 0o644)
            except OSError as error:
                return result | {"failed": True, "msg": f"{path} cannot be written: {error.strerror}; APP=path names another file"}
        done = "would be written" if self._task.check_mode and changed else "written" if changed else "is as the sources say"
        lines = [
            *analysis.lines(),
            *(f"note: {note}" for note in analysis.notes),
            f"{path} {done}",
            *steps(analysis, path, application.is_default(path, PROJECT, os.environ), refusals(analysis, sources)),
        ]
        return result | {
            "changed": changed,
            "lines": lines,
            "diff": {"before": before, "after": text, "before_header": str(path), "after_header": str(path)},
        }


def _wrong(sources: dict[str, Path]) -> str:
    """Why there is nothing to read."""
    for service, path in sources.items():
        variable = f"{service.upper()}_SOURCE"
        if path.resolve() == (PROJECT / "apps" / service).resolve():
            return (
                f"which application? make init BACKEND_SOURCE=path FRONTEND_SOURCE=path ({variable} is not set; the reference application "
                "has its settings in apps/app.yml)"
            )
        if not path.is_dir():
            return f"{variable} is {path}: there is no such directory"
    return ""


def registry() -> str:
    """Whether Docker's registry answers from here, in a sentence: an image of another version comes from there."""
    try:
        with urllib.request.urlopen(REGISTRY, timeout=4):
            return "docker.io answers from here"
    except urllib.error.HTTPError:
        return "docker.io answers from here"  # it asks for a login, which a pull gets by itself
    except OSError as error:
        return (
            f"docker.io does not answer from here ({getattr(error, 'reason', error)}): a version that Debian has not needs a mirror's image"
        )
