"""One analysis of a backend's and a frontend's source: what `make init` writes, the defaults of roles, what the preflight says.

Only what the sources hold is read: nothing is imported, installed or run. A value that somebody has set outranks what is found, and
what follows from it is found by it.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .fastapi import BUILT_IN_PATHS
from .found import Found, Part, Secret
from .found_backend import backend
from .found_frontend import Page, frontend
from .python_routes import Route

# What a source decides that was not found, and what is neutral where a source is not there.
NEUTRAL: dict[str, Any] = {
    "backend_image_app": "app.main:app",
    "backend_image_app_root": ".",
    "backend_image_pythonpath": "",
    "backend_image_dependencies": "auto",
    "backend_image_debian_release": "bookworm",
    "backend_image_port": 8000,
    "backend_image_health_path": "/health",
    "backend_image_migrate_command": [],
    "backend_image_downgrade_command": [],
    "backend_image_database_scheme": "postgresql",
    "backend_image_database_options": "auto",
    "backend_image_database_schema": "backend",
    "backend_image_tmp_size": "64m",
    "frontend_image_source_subpath": ".",
    "frontend_image_debian_release": "bookworm",
    "frontend_image_health_path": "/",
    "frontend_image_page_path": "/",
    "frontend_image_migrate_command": [],
    "frontend_image_migrations": {},
    "frontend_image_downgrade_command": [],
    "frontend_image_database_scheme": "postgresql",
    "frontend_image_database_options": "auto",
    "frontend_image_database_schema": "auth",
    "edge_backend_paths": [],
    "edge_frontend_paths": [],
    "edge_max_body": "1MB",
    "verify_required": [],
}
# What is added to what an operator sets, instead of being replaced by it.
ADDED: dict[str, Any] = {
    "backend_image_environment": {},
    "backend_image_extra_run_packages": [],
    "stack_services": {},
    "backend_image_secrets_environment": {},
    "backend_image_secrets_files": {},
    "frontend_image_environment": {},
    "frontend_image_secrets_environment": {},
    "frontend_image_build_environment": {},
    "frontend_image_build_placeholders": [],
    "frontend_image_languages": [],
}
# For those who scrape it inside the network alone.
HIDDEN = {"/metrics", "/metrics/"}
SERVICES = ("backend", "frontend")


@dataclass
class Analysis:
    """What was found in both sources. `values` are those of NEUTRAL and ADDED, with @names@ that a run replaces (see tokens)."""

    found: dict[str, Found] = field(default_factory=dict)
    secrets: list[Secret] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    todo: list[str] = field(default_factory=list)
    outgoing: dict[str, dict[str, str]] = field(default_factory=dict)
    fonts: str = ""

    def value(self, setting: str) -> Any:
        return self.found[setting].value if setting in self.found else {**NEUTRAL, **ADDED}[setting]

    def questions(self, given: set[str]) -> list[str]:
        """What stops a run: what certainly is missing, and guesses that have alternatives and that nobody has decided."""
        guesses = [
            f"{one.setting} could be {' or '.join(map(str, one.candidates))}: set it (app.yml, the inventory or -e)"
            for one in self.found.values()
            if one.certainty == "guess" and one.candidates and one.setting not in given
        ]
        return self.problems + guesses

    def secret_services(self) -> dict[str, list[str]]:
        """{name of the variable: the services that read it}."""
        found: dict[str, list[str]] = {}
        for one in self.secrets:
            found.setdefault(one.name, [])
            if one.service not in found[one.name]:
                found[one.name].append(one.service)
        return found

    def schema(self, present: set[str]) -> dict[str, dict[str, Any]]:
        """The schema of the secrets that the sources read: those that can be drawn, and those that a source of secrets has (`present`,
        names of secrets)."""
        services = self.secret_services()
        found: dict[str, dict[str, Any]] = {}
        for one in self.secrets:
            if one.own:
                found[one.key] = {"services": services[one.name], "generate": 48}
            elif one.key in present:
                found[one.key] = {"services": services[one.name], "minimum": 1}  # its form is for who issues it to decide
        if "better_auth_secret" in self.value("backend_image_secrets_environment").values():
            found["better_auth_secret"] = {"services": ["frontend", "backend"]}
        return found

    def lines(self) -> list[str]:
        """What a run says of what it uses: a line for each service, and one for those beside them."""
        lines = [text for service in SERVICES if (text := self._line(service))]
        if services := self.found.get("stack_services"):
            lines.append(f"services: {', '.join(services.value)} ({services.where})")
        return lines

    def _line(self, service: str) -> str:
        def one(setting: str, form: str = "{}") -> str:
            found = self.found.get(f"{service}_image_{setting}")
            if found is None or found.value in ("", [], {}, "."):
                return ""
            value = " ".join(map(str, found.value)) if isinstance(found.value, list) else found.value
            return form.format(value) + (f" ({found.where})" if found.where and "," not in found.where else "")

        names = (
            ("app", "{}"),
            ("source_subpath", "in {}"),
            ("app_root", "in {}"),
            ("debian_release", "Debian {}"),
            ("health_path", "health {}"),
            ("migrate_command", "migrates by {}"),
            ("database_scheme", "{}"),
        )
        parts = [text for name, form in names if (name != "database_scheme" or service == "backend") and (text := one(name, form))]
        return f"{service}: {', '.join(parts)}" if parts else ""


def analyse(backend_source: Path | None, frontend_source: Path | None, given: dict[str, Any] | None = None) -> Analysis:
    """What both sources say; None where one is not to be analysed (it is not there, or has a Dockerfile of its own)."""
    given, out = given or {}, Analysis()
    routes: list[Route] = []
    pages: list[Page] = []
    parts: list[Part] = []
    if backend_source is not None:
        try:
            part, routes = backend(backend_source, given, _beside(backend_source, frontend_source))
        except Exception as error:  # of files that nobody has thought of
            part = _failed("backend", error)
        parts.append(part)
    if frontend_source is not None:
        try:
            part, pages = frontend(frontend_source, given)
        except Exception as error:  # as above
            part = _failed("frontend", error)
        parts.append(part)
    for part in parts:
        body = [one for one in (out.found.get("edge_max_body"), part.found.get("edge_max_body")) if one]
        out.found |= part.found
        if body:
            # Both services have one edge.
            out.found["edge_max_body"] = max(body, key=lambda one: int(str(one.value).removesuffix("MB")))
        out.secrets += part.secrets
        out.problems += part.problems
        out.notes += part.notes
        out.todo += part.todo
        out.fonts = out.fonts or part.fonts
        if part.outgoing:
            out.outgoing[part.service] = part.outgoing
    _paths(out, routes, pages)
    _shared(out)
    return out


def _failed(service: str, error: Exception) -> Part:
    """Of a source that the analysis itself fails on."""
    why = f"the analysis of the {service}'s source failed ({type(error).__name__}: {error}); this is a defect of Berth's: set "
    return Part(service, problems=[why + f"stack_analysis: false, and what differs from the defaults of role {service}_image"])


def stated(values: dict[str, Any]) -> Analysis:
    """What a file of settings says of an application, as if it were found."""
    if unknown := values.keys() - {**NEUTRAL, **ADDED}.keys():
        raise ValueError(f"not among what is found: {', '.join(sorted(unknown))}")
    return Analysis({name: Found(name, value) for name, value in values.items()})


def _beside(one: Path, other: Path | None) -> Path | None:
    """The directory that holds both sources, where a compose file may describe them."""
    one = one.resolve()
    if other is None or other.resolve() == one:
        return None
    return one.parent if other.resolve().parent == one.parent else None


# --- paths ------------------------------------------------------------------------------------------------------------------------


def _segment(path: str) -> str:
    return path.strip("/").partition("/")[0]


def patterns(paths: list[tuple[str, bool]]) -> list[str]:
    """The edge's patterns for paths of routes (path, whether all below it too): one for each first segment."""
    found: list[str] = []
    by_segment: dict[str, list[tuple[str, bool]]] = {}
    for path, everything in paths:
        by_segment.setdefault(_segment(path), []).append((path, everything))
    for segment, own in sorted(by_segment.items()):
        if not segment or "{" in segment:
            continue
        exact = f"/{segment}"
        plain = sorted({path.rstrip("/") for path, everything in own if "{" not in path and not everything})
        if len(own) == 1 and plain and not own[0][0].endswith("/"):
            found.append(plain[0])
        elif plain == [exact] and len(own) == 1:
            found += [exact, f"{exact}/*"]
        else:
            if exact in plain or any(path.rstrip("/") == exact for path, _ in own):
                found.append(exact)
            found.append(f"{exact}/*")
    return found


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern of the edge holds for a path, which may end with /* itself."""
    if pattern.endswith("/*"):
        return path.startswith(pattern[:-1])
    return path == pattern


def _paths(out: Analysis, routes: list[Route], pages: list[Page]) -> None:
    """Whose path is whose: the edge gives the backend's to the backend, but for what the frontend answers below them."""
    if not routes:
        return
    app = out.found.get("backend_image_app")
    shown = [route for route in routes if route.path not in HIDDEN and _segment(route.path) and "{" not in _segment(route.path)]
    # The framework's own pages give way to the frontend's.
    shown = [route for route in shown if route.path not in BUILT_IN_PATHS or not any(page.path == route.path for page in pages)]
    backend_paths = patterns([(route.path, route.everything) for route in shown])
    frontend_paths: list[str] = []
    conflicts: list[str] = []
    exact = {route.path.rstrip("/"): route for route in shown}
    for page in pages:
        path = page.path if page.path.endswith("/*") else page.path.rstrip("/")
        if not path or path == "/*" or not any(matches(one, path) for one in backend_paths):
            continue
        if path in exact:
            conflicts.append(f"{path}: backend {exact[path].where}, frontend {page.where}")
        frontend_paths.append(path)
    frontend_paths = [
        one for one in dict.fromkeys(frontend_paths) if not any(matches(other, one) for other in frontend_paths if other != one)
    ]
    # What the frontend answers exactly is the frontend's, also where the backend has it alone of its segment.
    backend_paths = [one for one in backend_paths if one not in frontend_paths]
    frontend_paths = [one for one in frontend_paths if any(matches(other, one) for other in backend_paths)]
    where = app.where if app else ""
    out.found["edge_backend_paths"] = Found("edge_backend_paths", backend_paths, "likely", where, f"{len(shown)} routes of the backend")
    out.found["edge_frontend_paths"] = Found(
        "edge_frontend_paths", sorted(frontend_paths), "likely", "", "what the frontend answers below them"
    )
    for one in conflicts:
        out.notes.append(f"both services answer {one}: the frontend gets it (edge_frontend_paths)")


def _shared(out: Analysis) -> None:
    """A secret that both services read is one secret."""
    services = out.secret_services()
    for name, readers in services.items():
        if len(readers) > 1:
            out.notes.append(f"backend and frontend read {name}: both get the same secret")
    backend_reads_auth = [one for one in out.secrets if one.name == "BETTER_AUTH_SECRET"]
    for one in backend_reads_auth:
        # The frontend's own secret, which exists already.
        out.secrets.remove(one)
        setting = f"{one.service}_image_secrets_environment"
        found = out.found.setdefault(setting, Found(setting, {}, "certain", one.where, "variables that the source reads"))
        found.value[one.name] = "better_auth_secret"


# --- storage ----------------------------------------------------------------------------------------------------------------------


def dumps(analysis: Analysis) -> str:
    """An analysis as JSON, for a file that other processes of the run read."""
    return json.dumps(asdict(analysis))


def loads(text: str) -> Analysis:
    raw = json.loads(text)
    raw["found"] = {name: Found(**one) for name, one in raw["found"].items()}
    raw["secrets"] = [Secret(**one) for one in raw["secrets"]]
    return Analysis(**raw)


TOKEN = re.compile(r"@(url|backend|release_backend|frontend|socket|database_host|database_port|database_name)@")


def tokens(value: Any) -> set[str]:
    """The names that a run replaces in a value."""
    return set(TOKEN.findall(json.dumps(value)))


def replaced(value: Any, known: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: replaced(one, known) for name, one in value.items()}
    if isinstance(value, list):
        return [replaced(one, known) for one in value]
    return TOKEN.sub(lambda match: known[match[1]], value) if isinstance(value, str) else value
