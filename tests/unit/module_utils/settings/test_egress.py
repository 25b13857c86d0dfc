"""What a list of hosts outside the stack may say."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.berth.stack.plugins.module_utils.settings.egress import targets, wrong

GOOD: list[tuple[Any, list[str]]] = [
    ("all", []),
    ([], []),
    (["api.stripe.com"], ["api.stripe.com:443"]),
    (["API.stripe.com:443", "api.stripe.com", "smtp.example.com:587"], ["api.stripe.com:443", "smtp.example.com:587"]),
    (["a.example:25", "b.example:587"], ["a.example:25", "b.example:587"]),
    (["a.example:443", "b.example:443"], ["a.example:443", "b.example:443"]),
]


@pytest.mark.parametrize(("value", "found"), GOOD)
def test_hosts_have_a_port(value: Any, found: list[str]) -> None:
    assert targets(value) == found
    assert wrong({"backend_image_egress": value}, "hosts") == []


BAD: list[tuple[Any, str]] = [
    ("api.stripe.com", "it must be a list of host"),
    (True, "it must be a list of host"),
    (["https://api.stripe.com"], "it must be a list of host"),
    (["api.stripe.com:https"], "it must be a list of host"),
    (["api.stripe.com:70000"], "it must be a list of host"),
    (["*.stripe.com"], "a pattern"),
    (["10.1.2.3:5432"], "an address"),
    (["10.1.2.3"], "an address"),
    (["2001:db8::1"], "an address"),
    (["a.example:587", "b.example:587"], "a.example and b.example on port 587 (SMTP)"),
]


@pytest.mark.parametrize(("value", "words"), BAD)
def test_what_cannot_be_enforced_is_refused(value: Any, words: str) -> None:
    (line,) = wrong({"frontend_image_egress": value}, "hosts")
    assert line.startswith("frontend_image_egress ") and words in line


def test_a_list_is_refused_where_nothing_enforces_it() -> None:
    (line,) = wrong({"backend_image_egress": ["api.stripe.com"], "frontend_image_egress": "all"}, "swarm")
    assert line.startswith("backend_image_egress lists hosts, which nothing restricts in a Swarm")
