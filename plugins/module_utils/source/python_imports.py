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

# Where this is done in a file that runs, a name that is not found may be found after all.
CHANGES_PATH = re.compile(r"\bsys\.(path|meta_path|modules)\b\s*(\.|\[|=|\+)|\baddsitedir\(|\b__path__\b")


class ImportGraph:
    """The modules of a source that the application imports: what is still to be read, what was reached, and what was found."""

    def __init__(self, application: Application, dependencies: Declared) -> None:
        self.application, self.dependencies = application, dependencies
        self.queue: list[tuple[str, bool]] = []  # (file, whether it is imported for certain)
        self.findings: list[dict[str, Any]] = []
        self._reported: set[tuple[str, str]] = set()
        self.loaded: set[str] = set()  # files that are imported for certain
        self.changes_path = False  # a file that is reached decides itself where imports are searched

    def follow(self, starts: list[str], perhaps: list[str]) -> set[str]:
        """Follow the imports from the files `starts`, and from those that `perhaps` run; return the files that are reached."""
        self.queue += [(path, True) for path in starts] + [(path, False) for path in perhaps]
        seen: dict[str, bool] = {}
        while self.queue:
            path, certain = self.queue.pop(0)
            if not path or (seen.get(path, False) >= certain and path in seen):
                continue
            seen[path] = seen.get(path, False) or certain
            body = self.application.parsed(path)
            self.changes_path |= bool(CHANGES_PATH.search(self.application.tree.text(path) or ""))
            if body is None:
                if path in self.application.problems and ("parse", path) not in self._reported:
                    self._reported.add(("parse", path))
                    self.findings.append(self.application.parse_finding(path, self.application.problems[path], certain))
                continue
            for item in imports(body):
                self._one_import(path, item, certain)
        if self.changes_path:
            for one in self.findings:
                if one["check"] == "import" and not one["inside"]:
                    one["severity"] = "warning"
        self.loaded = {path for path, certain in seen.items() if certain}
        return set(seen)

    def _report(self, path: str, item: Import, certain: bool, message: str, advice: str, inside: bool = False) -> None:
        """`inside`: it is missing in a package that was found, wherever else imports may be searched."""
        severity = "error" if certain else "warning"
        self.findings.append(finding("import", severity, message, f"{path}:{item.line}", advice, inside=inside))

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
            and (installed & self.dependencies.names.keys() or top in sys.stdlib_module_names)
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
                self._report(path, item, hard, message, "correct the name, or commit what is missing", inside=True)

    def _unresolved(self, path: str, item: Import, name: str, near: str, hard: bool) -> None:
        if ("import", name) in self._reported:
            return
        self._reported.add(("import", name))
        options = self.application.options
        generated = bool(options.extra_commands) or re.search(r"generated|_pb2(_grpc)?$|_version$", name)
        if re.search(r"sys\.(modules|meta_path)|__path__", self.application.tree.text(near) or ""):
            return  # it finds its modules in a way of its own
        parent = name.rpartition(".")[0].replace(".", "/")
        advice = self.application.tree.hidden(name.replace(".", "/")) or f"commit {name.replace('.', '/')}.py" + (
            ", or correct the import" if parent else ""
        )
        self._report(path, item, hard and not generated, f"imports {name}, which is not in the source", advice, inside=bool(parent))

    def _third_party(self, path: str, item: Import, top: str, hard: bool) -> None:
        """An import of what is not in the source. What only an installation can tell, the build tells, which imports the application."""
        application, dependencies = self.application, self.dependencies
        options, have = application.options, release(application.options.python)[:2]
        if ("import", top) in self._reported or not dependencies.file:
            return  # reported already; or that nothing is declared is the finding
        gone = next((v for v, names in packages.REMOVED.items() if top in names.split() and have >= v), None)
        again = packages.PROVIDED_AGAIN.get(top)
        if gone or top in packages.LEFT_OUT:
            if not (again and again in dependencies.names):
                self._reported.add(("import", top))
                why = f"Python {gone[0]}.{gone[1]} does not have it any more" if gone else "the image leaves it out"
                advice = f"use something else{f', or require {again}' if again else ''}"
                self._report(
                    path, item, hard and (not again or dependencies.complete), f"imports {top} of the standard library: {why}", advice
                )
            return
        if top in sys.stdlib_module_names or any(top in names.split() for names in packages.REMOVED.values()):
            return
        distributions = [normal(name) for name in packages.IMPORTS.get(top, (top,))]
        squeezed = normal(top).replace("-", "")
        named = dependencies.names.keys()
        if named & {*distributions, normal(top)} or any(
            squeezed in name.replace("-", "") or name.startswith(f"{normal(top)}-") for name in named
        ):
            return
        if any(extra.partition("[")[2].rstrip("]") in {*distributions, normal(top)} for extra in dependencies.extras):
            return  # celery[redis] brings redis
        self._reported.add(("import", top))
        spot, hidden = application.elsewhere(top, path), application.tree.hidden(top)
        known = not dependencies.opaque and "pip install" not in options.extra_commands
        if spot:
            setting = spot if not application.root else str(PurePosixPath(*[".."] * (application.root.count("/") + 1), spot))
            message = f"imports {top}, which is in {spot}, where imports are not searched"
            self._report(path, item, hard, message, f"set {options.role}_pythonpath: {setting}, or {options.role}_app_root: {spot}")
        elif other := next((name for name in [*distributions, normal(top)] if name in dependencies.elsewhere), ""):
            if hard:  # in a condition of the same meaning it is right as it is
                message = f"imports {top}, and {dependencies.file} installs {other} only where {dependencies.elsewhere[other]}"
                self._report(path, item, True, message, f"import it under that condition, or drop the marker of {other}")
        elif missing := next((name for name in distributions if name in dependencies.development), ""):
            message = f"imports {top}, and {missing} is only a development dependency: the image is built without those"
            self._report(path, item, hard and known, message, f"move {missing} to the dependencies of {dependencies.file}")
        elif hidden or top in packages.OWN_WORDS:
            self._report(path, item, hard, f"imports {top}, which is not in the source", hidden or f"commit {top}")
        elif dependencies.complete and known:
            message = f"imports {top}, and {dependencies.file} does not name {' or '.join(distributions)}"
            self._report(
                path, item, hard and top in packages.IMPORTS, message, f"add {distributions[0]} to the dependencies, or commit {top}"
            )


def _stub(application: Application, file: str) -> bool:
    """A package that computes what it has: its names are not known."""
    text = application.tree.text(file) or ""
    return "__all__" in text and ("importlib" in text or "import_module" in text or "pkgutil" in text)
