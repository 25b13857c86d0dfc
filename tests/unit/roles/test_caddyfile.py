"""The edge's configuration, rendered: lists of paths may be empty, and a matcher without a path is one that Caddy refuses."""

from __future__ import annotations

import re

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from conftest import ROOT

OTHERS = {
    "edge_discover": False,
    "edge_backend": "b-{release}:8000",
    "edge_frontend": "f-{release}:3000",
    "edge_host": "localhost",
    "edge_bind": "127.0.0.1",
    "edge_internal": True,
    "edge_https_port": 8443,
    "edge_http_port": 8080,
    "edge_serving": "/etc/caddy/serving",
    "edge_small_body": 65536,
    "edge_buffer": 16384,
    "edge_compressed_types": ["text/*", "application/json*"],
    "edge_maintenance_open_paths": ["/health"],
}


def rendered(**paths: list[str]) -> str:
    defaults = yaml.safe_load((ROOT / "roles/edge/defaults/main.yml").read_text())
    values = {name: trust_as_template(value) if isinstance(value, str) else value for name, value in (defaults | OTHERS | paths).items()}
    text = (ROOT / "roles/edge/templates/Caddyfile.j2").read_text()
    return str(Templar(DataLoader(), values).template(trust_as_template(text)))


@pytest.mark.parametrize("backend", [[], ["/api/*"]], ids=["no path of the backend", "paths of the backend"])
@pytest.mark.parametrize("frontend", [[], ["/api/auth/*"]], ids=["none of the frontend below", "one below"])
def test_a_matcher_has_a_path_or_is_not_there(backend, frontend):
    text = rendered(edge_backend_paths=backend, edge_frontend_paths=frontend, edge_hidden_paths=[], edge_maintenance_open_paths=[])
    assert not re.search(r"\bpath\s*$", text, re.M)
    assert ("@backend path /api/*" in text) == bool(backend)
    assert ("@frontend path /api/auth/*" in text) == bool(backend and frontend)
    assert text.count("{") == text.count("}")


def test_paths_of_the_frontend_come_before_those_of_the_backend():
    text = rendered(edge_backend_paths=["/api/*"], edge_frontend_paths=["/api/auth/*"])
    assert text.index("handle @hidden") < text.index("handle @frontend") < text.index("handle @backend")
    assert "not path /health" in text


def test_only_responses_of_known_length_are_compressed():
    """Caddy 2.6 does not flush its encoders: a streamed page would arrive at its end."""
    found = re.findall(r"\bencode [^\n]*\{\s*match \{(.*?)\}", rendered(), re.S)
    assert found and all("header Content-Length *" in matcher and "header Content-Type text/*" in matcher for matcher in found)
    assert len(found) == rendered().count("encode ")
