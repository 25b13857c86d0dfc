"""The import graph of a Python source, as Python would run it, and what is missing in it.

What is imported for certain, when the application starts, is an error where it is missing; what may never run is a warning.
"""

from __future__ import annotations

import re
import sys
from pathlib import PurePosixPath
from typing import Any

from . import python_packages as packages
from .findings import finding
from .python_dependencies import Declared
from .python_modules import Application, Import, bound, imports
from .python_packages import normal
from .versions import release


class ImportGraph:
    """The modules of a source that the application imports: what is still to be read, what was reached, and what was found."""

    def __init__(self, application: Application, dependencies: Declared) -> None:
        self.application, self.dependencies = application, dependencies
        self.queue: list[tuple[str, bool]] = []  # (file, whether it is imported for certain)
        self.findings: list[dict[str, Any]] = []
        self._reported: set[tuple[str, str]] = set()

    def follow(self, starts: list[str]) -> set[str]:
        """Follow the imports from the files `starts`; return the files that are reached."""
        self.queue += [(path, True) for path in starts]
        seen: dict[str, bool] = {}
        while self.queue:
            path, certain = self.queue.pop(0)
            if not path or (seen.get(path, False) >= certain and path in seen):
                continue
            seen[path] = seen.get(path, False) or certain
            body = self.application.parsed(path)
            if body is None:
                if path in self.application.problems and ("parse", path) not in self._reported:
                    self._reported.add(("parse", path))
                    self.findings.append(self.application.parse_finding(path, self.application.problems[path], certain))
                continue
            for item in imports(body):
                self._one_import(path, item, certain)
        return set(seen)

    def _report(self, path: str, item: Import, certain: bool, message: str, advice: str) -> None:
        severity = "error" if certain else "warning"
        self.findings.append(finding("import", severity, message, f"{path}:{item.line}", advice))

    def _one_import(self, path: str, item: Import, certain: bool) -> None:
        hard = item.hard and certain
        name = item.module
        if item.level:
            package = self.application.package_of(path).split(".") if self.application.package_of(path) else []
            if item.level > 1:
                package = package[: len(package) - (item.level - 1)]
            name = ".".join([*package, *([item.module] if item.module else [])])
            if not name:
                return
        top = name.partition(".")[0]
        local = self.application.resolve(top)
        installed = {normal(top), *packages.IMPORTS.get(top, ())}
        if (
            local
            and local[0] == "namespace"
            and not item.level
            and (installed & self.dependencies.available() or top in sys.stdlib_module_names)
        ):
            local = None  # an installed package comes before a mere directory
        if local:
            self._local(path, item, name, local, hard)
        elif item.level:
            self._unresolved(path, item, name, "", hard)
        else:
            self._third_party(path, item, top, hard)

    def _local(self, path: str, item: Import, name: str, found: tuple[str, str], hard: bool) -> None:
        """An import of the source's own; `found` is what its first word means."""
        # As Python does: every package on the way is imported, then the module, then what is named of it.
        parts, deepest, (kind, file) = name.split("."), 0, found
        while True:
            deepest += 1
            if kind in ("package", "module"):
                self.queue.append((file, hard))
            if deepest == len(parts):
                break
            following = self.application.resolve(".".join(parts[: deepest + 1])) if kind != "module" else None
            if following is None:
                self._unresolved(path, item, ".".join(parts[: deepest + 1]), file, hard)
                return
            kind, file = following
        names = None if kind == "namespace" else (bound(body) if (body := self.application.parsed(file)) else None)
        for imported in item.names:
            if imported == "*":
                continue
            below = self.application.resolve(f"{name}.{imported}") if kind != "module" else None
            if below:
                if below[0] != "namespace":
                    self.queue.append((below[1], hard))
            elif kind == "namespace" or (
                kind == "package" and names is not None and imported not in names and not _stub(self.application, file)
            ):
                self._unresolved(path, item, f"{name}.{imported}", file, hard)
            elif kind == "module" and names is not None and imported not in names and ("name", f"{name}.{imported}") not in self._reported:
                self._reported.add(("name", f"{name}.{imported}"))
                message = f"{file} has no {imported}, which is imported from it here"
                self._report(path, item, hard, message, "correct the name, or commit what is missing")

    def _unresolved(self, path: str, item: Import, name: str, near: str, hard: bool) -> None:
        if ("import", name) in self._reported:
            return
        self._reported.add(("import", name))
        options = self.application.options
        generated = bool(options.extra_commands) or re.search(r"generated|_pb2(_grpc)?$|_version$", name)
        if re.search(r"sys\.(modules|meta_path)", self.application.tree.text(near) or ""):
            return  # it finds its modules in a way of its own
        parent = name.rpartition(".")[0].replace(".", "/")
        advice = self.application.tree.hidden(name.replace(".", "/")) or f"commit {name.replace('.', '/')}.py" + (
            ", or correct the import" if parent else ""
        )
        self._report(path, item, hard and not generated, f"imports {name}, which is not in the source", advice)

    def _third_party(self, path: str, item: Import, top: str, hard: bool) -> None:
        application, dependencies = self.application, self.dependencies
        options, have = application.options, release(application.options.python)[:2]
        gone = next((v for v, names in packages.REMOVED.items() if top in names.split() and have >= v), None)
        again = packages.PROVIDED_AGAIN.get(top)
        available = dependencies.available()
        if ("import", top) in self._reported or not dependencies.file:
            return  # reported already; or that nothing is declared is the finding
        if gone or top in packages.LEFT_OUT:
            if not (again and again in available):
                self._reported.add(("import", top))
                why = f"Python {gone[0]}.{gone[1]} does not have it any more" if gone else "the image leaves it out"
                advice = f"use something else{f', or require {again}' if again else ''}"
                self._report(path, item, hard, f"imports {top} of the standard library: {why}", advice)
            return
        if top in sys.stdlib_module_names or any(top in names.split() for names in packages.REMOVED.values()):
            return
        distributions = [normal(name) for name in packages.IMPORTS.get(top, (top,))]
        squeezed = normal(top).replace("-", "")
        if any(name in available for name in [*distributions, normal(top)]) or any(
            squeezed in name.split("-")
            or name.replace("-", "") in (squeezed, f"python{squeezed}", f"py{squeezed}", f"{squeezed}py", f"{squeezed}python")
            or name.startswith(normal(top) + "-")
            or (len(squeezed) > 4 and squeezed in name.replace("-", ""))
            for name in available
        ):
            return
        self._reported.add(("import", top))
        spot = application.elsewhere(top)
        if spot:
            path_setting = spot if not application.root else str(PurePosixPath(*[".."] * (application.root.count("/") + 1), spot))
            message = f"imports {top}, which is in {spot or 'the root of the source'}, where imports are not searched"
            self._report(path, item, hard, message, f"set {options.role}_pythonpath: {path_setting}, or {options.role}_app_root: {spot}")
            return
        unknown = [n for n in dependencies.names if n not in packages.BRINGS]
        explained = {normal(n) for names in packages.IMPORTS.values() for n in names}
        maybe = dependencies.opaque or "pip install" in options.extra_commands or "uv pip" in options.extra_commands
        if not dependencies.complete and distributions[0] in packages.WIDE and unknown:
            maybe = True
        if (
            not dependencies.complete
            and top not in packages.IMPORTS
            and distributions[0] not in packages.BRINGS
            and any(n not in explained for n in unknown)
        ):
            maybe = True
        if other := next((n for n in [*distributions, normal(top)] if n in dependencies.elsewhere), ""):
            if hard:  # in a condition of the same meaning it is right as it is
                message = f"imports {top}, and {dependencies.file} installs {other} only where {dependencies.elsewhere[other]}"
                self._report(path, item, True, message, f"import it under that condition, or drop the marker of {other}")
            return
        own = top in packages.OWN_WORDS
        missing = next((n for n in distributions if n in dependencies.development), "")
        if missing:
            message = f"imports {top}, and {missing} is only a development dependency: the image is built without those"
            advice = f"move {missing} to the dependencies of {dependencies.file}"
        elif own or (not packages.IMPORTS.get(top) and distributions[0] not in packages.BRINGS and distributions[0] not in packages.WIDE):
            hidden = application.tree.hidden(top)
            message = f"imports {top}, which is not in the source" + (
                "" if own else f", and {dependencies.file} names nothing of that name"
            )
            advice = (hidden or f"commit {top}") + ("" if own else f", or name its package in {dependencies.file}")
        else:
            message = f"imports {top}, and {dependencies.file} does not name {' or '.join(distributions)}"
            advice = f"add {distributions[0]} to {dependencies.file}"
        self._report(path, item, hard and (own or not maybe), message, advice)


def _stub(application: Application, file: str) -> bool:
    """A package that computes what it has: its names are not known."""
    text = application.tree.text(file) or ""
    return "__all__" in text and ("importlib" in text or "import_module" in text or "pkgutil" in text)
