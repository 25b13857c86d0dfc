"""What a failed build says."""

from __future__ import annotations

import pytest
from build_failure import build_failure


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ("ERROR: Could not find a version\nSSLError(CERTIFICATE_VERIFY_FAILED)", "certificates"),
        ("npm ERR! getaddrinfo EAI_AGAIN registry", "network"),
        ("npm error `npm ci` can only install with an existing package-lock.json", "lock file"),
        ("ERROR: Package 'x' requires a different Python: 3.11.2 not in '>=3.13'", "trixie"),
        ("Failed to fetch `Inter` from Google Fonts.\nError: getaddrinfo EAI_AGAIN", "fonts"),
        ("[Error: Failed to collect page data for /api/health]", "frontend_image_build_placeholders"),
        ("npm error code E401", "build secrets"),
        ("write: no space left on device", "disk"),
        ("./app/page.tsx:3:1 Type error: x", "does not compile"),
    ],
)
def test_the_likely_cause_is_named(log, cause):
    assert cause in build_failure(log).partition("Likely cause:")[2]


def test_an_unknown_failure_names_no_cause_and_noise_is_left_out():
    told = build_failure("#5 CACHED\n\n#6 12.3 strange\n------")
    assert told == "#6 12.3 strange"


def test_only_the_end_is_told():
    assert build_failure("\n".join(f"line {n}" for n in range(100)), lines=3) == "line 97\nline 98\nline 99"
