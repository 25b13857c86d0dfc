"""Smoke checks as they are set, and which of them an application's source makes possible."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible_collections.berth.stack.plugins.module_utils.release.smoke_checks import accepts, demanded, normal, wrong
from ansible_collections.berth.stack.plugins.module_utils.source.routes import declared
from conftest import ROOT
from trees import write

PAIRS = ROOT / "tests/sources/pairs"
ONE = {"service": "backend", "port": 8000, "path": "/x"}


@pytest.mark.parametrize(
    ("check", "status", "good"),
    [
        ({"status": ["2xx"]}, 200, True),
        ({"status": ["2xx"]}, 204, True),
        ({"status": ["2xx"]}, 307, False),
        ({"status": ["2xx"]}, 404, False),
        ({"status": ["2xx", "3xx"]}, 307, True),
        ({"status": ["2xx", "3xx"]}, 404, False),
        ({"status": ["2xx", "3xx"]}, 0, False),
        ({"status": [200, 401]}, 401, True),
        ({"status": ["200"]}, 200, True),
        ({"status": [200]}, 201, False),
        ({}, 404, True),
        ({}, 500, False),
        ({}, 0, False),
    ],
)
def test_which_status_is_good(check, status, good):
    assert accepts(check, status) is good
    assert demanded(check)


def test_checks_are_made_once_a_path_and_none_without_one():
    assert normal(
        [ONE, ONE | {"path": ""}, ONE | {"path": "/", "status": ["2xx"]}, ONE | {"path": "/", "port": "8000", "status": ["2xx", "3xx"]}]
    ) == [ONE | {"status": ["2xx"]}, ONE | {"path": "/", "status": ["2xx", "3xx"]}]


@pytest.mark.parametrize(
    ("checks", "words"),
    [
        ("all", "must be a list"),
        ([{"service": "backend"}], "must have service, port and path"),
        ([ONE | {"path": "health"}], "must begin with /"),
        ([ONE | {"port": "http"}], "'http' is not a port"),
        ([ONE | {"status": 200}], "status is 200: it must be a list"),
        ([ONE | {"status": []}], "it must be a list"),
        ([ONE | {"status": ["ok"]}], "it must be a list, such as [200, 3xx]"),
        ([ONE | {"status": [99]}], "it must be a list, such as [200, 3xx]"),
        ([ONE | {"statuses": [200]}], "unknown key statuses; valid keys: path, port, service, status"),
    ],
)
def test_checks_that_cannot_be_made_are_named(checks, words):
    (told,) = wrong(checks)
    assert told.startswith("release_smoke_checks")
    assert words in told
    assert wrong([ONE, ONE | {"path": "", "status": ["2xx", 304]}]) == []


ROUTES = {
    "on the application": ('@app.get("/health/ready")\ndef r(): ...\n', True),
    "on a router with a prefix": ('router = APIRouter(prefix="/health")\n@router.get("/ready")\ndef r(): ...\n', True),
    "included with a prefix": ('@router.get("/ready")\ndef r(): ...\napp.include_router(router, prefix="/health")\n', True),
    "mounted": ('@sub.get("/ready")\ndef r(): ...\napp.mount("/health", sub)\n', True),
    "below two prefixes": (
        '@a.get("/ready")\ndef r(): ...\nb.include_router(a, prefix="/health")\napp.include_router(b, prefix="")\n',
        True,
    ),
    "of Starlette": ('routes = [Route("/health/ready", ready)]\n', True),
    "named path": ('@app.api_route(path="/health/ready", methods=["GET"])\ndef r(): ...\n', True),
    "commented out": ('# @app.get("/health/ready")\n', False),
    "another one": ('@app.get("/ready")\ndef r(): ...\n', False),
    "in a text": ('PUBLIC = {"/health/ready"}\n', False),
    "posted to": ('@app.post("/health/ready")\ndef r(): ...\n', False),
    "not Python": ("def (:\n", False),
}


@pytest.mark.parametrize(("code", "there"), ROUTES.values(), ids=ROUTES)
def test_a_path_is_asked_where_the_source_declares_it(tmp_path, code, there):
    root = write(tmp_path, {"app/main.py": code, "tests/test_x.py": '@app.get("/health/ready")\ndef r(): ...\n'})
    assert declared(root, ["/health/ready"]) == (["/health/ready"] if there else [])


# The health paths of the tested pairs, which their sources declare.
HEALTH = {
    "atlas": ("/livez", "/api/health"),
    "courier": ("/health", "/"),
    "board": ("/healthz", "/api/health"),
    "depot": ("/health", "/api/health"),
    "forge": ("/health", "/"),
    "harbour": ("/api/health", "/"),
    "ledger": ("/health", "/"),
    "gallery": ("/health", "/"),
    "orchard": ("/health", "/api/health"),
    "parlour": ("/health", "/"),
    "relay": ("/health", "/"),
}


def checks_of(variables: dict[str, object], source: Path) -> tuple[set[tuple[str, str]], list[str]]:
    """((service, path) of the smoke checks, what is said) for the variables of an application, as group_vars put them together."""
    wiring = yaml.safe_load((ROOT / "roles/wiring/defaults/main.yml").read_text())
    defaults = {}
    for role in ("backend_image", "frontend_image"):
        defaults |= yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text())
    names = ("release_smoke_checks", "release_notes", "release_optional_paths", "stack_ready_usual", "stack_ready_path")
    values = {"stack_engine": "hosts"} | defaults | {name: wiring[name] for name in names} | variables

    def trusted(value: object) -> object:
        if isinstance(value, dict):
            return {key: trusted(one) for key, one in value.items()}
        return [trusted(one) for one in value] if isinstance(value, list) else trust_as_template(value) if isinstance(value, str) else value

    templar = Templar(DataLoader(), {name: trusted(value) for name, value in values.items()})
    paths = templar.template(trusted("{{ release_optional_paths }}"))
    templar.available_variables = templar.available_variables | {"release_routes": {"backend": declared(source, paths["backend"])}}
    checks = templar.template(trusted("{{ release_smoke_checks }}"))
    assert wrong(checks) == []
    return {(one["service"], one["path"]) for one in normal(checks)}, templar.template(trusted("{{ release_notes }}"))


def test_the_reference_application_is_asked_whether_it_is_ready():
    assert checks_of(yaml.safe_load((ROOT / "apps/app.yml").read_text()), ROOT / "apps/backend") == (
        {("backend", "/health"), ("backend", "/health/ready"), ("frontend", "/api/health"), ("frontend", "/")},
        [],
    )


@pytest.mark.parametrize("pair", sorted(path.name for path in PAIRS.iterdir()))
def test_an_application_without_a_readiness_path_is_not_asked_for_it_and_that_is_said(pair):
    own = yaml.safe_load((PAIRS / pair / "vars.yml").read_text())
    sources = {
        f"stack_{service}_source": own.get(f"stack_{service}_source", f"{{{{ stack_pair }}}}/{service}").replace(
            "{{ stack_pair }}", str(PAIRS / pair)
        )
        for service in ("backend", "frontend")
    }
    dockerfiles = {name: value for name, value in own.items() if name.endswith("_dockerfile")}
    asked, said = checks_of({"stack_analysis": True} | sources | dockerfiles, Path(sources["stack_backend_source"]))
    health, page = HEALTH[pair]
    assert asked == {("backend", health), ("frontend", page), ("frontend", "/")}
    assert len(said) == 1
    assert f"declares no {health}/ready" in said[0]
    assert "backend_image_ready_path" in said[0]
    assert "\\" not in said[0]


def test_that_a_swarm_makes_no_smoke_check_is_said():
    _, said = checks_of({"stack_engine": "swarm"}, ROOT / "apps/backend")
    assert len(said) == 1
    assert "no smoke check is made" in said[0]


@pytest.mark.parametrize(("path", "asked"), [("/readyz", True), ("", False)])
def test_a_readiness_path_that_is_set_is_asked_and_one_that_is_switched_off_is_not_mentioned(path, asked):
    checks, said = checks_of({"backend_image_ready_path": path}, ROOT / "tests")
    assert (("backend", "/readyz") in checks) is asked
    assert said == []
