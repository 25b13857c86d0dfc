"""What a build says of an image that is over its budget."""

from __future__ import annotations

import pytest
from ansible_collections.berth.stack.plugins.modules.image_packages import line

PACKAGES = {"torch": 750_000_000, "scipy": 90_000_000, "six": 40_000}
NEXT = {"default": 100, "16": 135}


def test_the_packages_that_cost_most_are_named():
    image = {"reference": "shop-backend:v1", "service": "backend", "size": 912_000_000}
    assert line(image, 200, PACKAGES, "") == (
        "shop-backend:v1 is 912.0 MB, over the budget of 200 MB (stack_image_budgets); largest packages: torch 750 MB, scipy 90 MB"
        "; runtime and application 72 MB"
    )


@pytest.mark.parametrize(
    ("framework", "size", "over"), [("16.4.6", 130, ""), ("15.5.9", 130, "100 MB (Next.js 15.5.9)"), ("16.4.6", 140, "135 MB (")]
)
def test_the_budget_is_that_of_the_release_of_next(framework, size, over):
    text = line({"reference": "a:b", "service": "frontend", "size": size * 1e6}, NEXT, {"next": 50_000_000}, framework)
    assert over in text
    assert bool(text) == bool(over)


def test_no_budget_and_small_packages():
    image = {"reference": "a:b", "service": "backend", "size": 300e6}
    assert line(image, 0, PACKAGES, "") == ""
    assert line(image, 200, {"six": 40_000}, "").endswith("largest packages: none over 1 MB; runtime and application 300 MB")
