"""Tell what a failed build says, in the order in which a tired person wants it."""

from __future__ import annotations

import re

# What the last lines of a build betray, and what to do about it. First match wins.
CAUSES = (
    (
        r"Failed to fetch .* from Google Fonts|fonts\.g(oogleapis|static)\.com|next/font.*(error|failed)",
        "the build fetches fonts and cannot reach their host: let the builder reach it, or keep the fonts in the source (next/font/local)",
    ),
    (
        r"Failed to collect page data|Error occurred prerendering",
        "the build runs the application's own modules, and one of them threw: where it demands a variable, set "
        "frontend_image_build_environment (public) or frontend_image_build_placeholders (addresses and secrets)",
    ),
    (
        r"\b401\b.*(Unauthorized|Authentication)|E401|ENEEDAUTH|ERR_PNPM_FETCH_401|\b403 Forbidden\b",
        "the package index wants credentials: give them as build secrets, backend_image_build_secrets (pip_config, netrc) "
        "or frontend_image_build_secrets (npm_config)",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|self.signed certificate|unable to get local issuer",
        "the build does not trust the network's certificates: set SSL_CERT_FILE (or container_ca_bundle) to your site's CA bundle",
    ),
    (
        r"Temporary failure (in name )?resol|Could not resolve|EAI_AGAIN|ENOTFOUND|Network is unreachable|ECONNREFUSED",
        "the build cannot reach the network: check DNS and the proxy of the Docker host",
    ),
    (
        r"requires a different Python|Requires-Python|requires-python",
        "the source asks for another Python than the image has: set backend_image_debian_release=trixie for Python 3.13",
    ),
    (r"No matching distribution found|ResolutionImpossible", "a Python requirement cannot be satisfied: see the package named above"),
    (
        r"npm ci.*package-lock|EUSAGE|ERR_PNPM_OUTDATED_LOCKFILE|frozen-lockfile",
        "the lock file does not match package.json: make it anew and commit it",
    ),
    (
        r"Unsupported engine|EBADENGINE|Node.js version .* is required",
        "the source asks for another Node.js: set frontend_image_debian_release=trixie for Node.js 20",
    ),
    (r"Type error:|Failed to compile|SyntaxError", "the source does not compile: see the file and line above"),
    (r"[Nn]o space left on device", "the disk of the Docker host is full: docker system df"),
)
NOISE = re.compile(r"^(#\d+ (CACHED|DONE|sha256|extracting|transferring|resolve)|\s*$|-+$|>>> |\s*\d+ \|)")


def build_failure(text: str, lines: int = 25) -> str:
    """The failing step's last `lines` lines, and the likely cause with what to do."""
    kept = [line for line in str(text).splitlines() if not NOISE.match(line)]
    tail = "\n".join(kept[-lines:])
    cause = next((advice for pattern, advice in CAUSES if re.search(pattern, "\n".join(kept[-200:]))), None)
    return tail + (f"\nLikely cause: {cause}." if cause else "")


WARNING = re.compile(r"^(?:#\d+ [\d.]+ )?(warning: .+|note: .+ is used, .+|WARN: .+)$", re.IGNORECASE)
# What package managers warn of in every other build and nobody can act on.
IDLE_WARNING = re.compile(r"npm warn|deprecated|inflight|unmet peer|peer dep", re.IGNORECASE)


def build_summary(text: str, seconds: float) -> dict[str, object]:
    """Of a build's plain progress: {seconds, steps, cached, warnings}; steps are those that the Dockerfile has and that were needed."""
    lines = str(text).splitlines()
    steps = {match[1] for line in lines if (match := re.match(r"(#\d+) \[(?!internal)[^\]]+\] (?!FROM)", line))}
    cached = {match[1] for line in lines if (match := re.match(r"(#\d+) CACHED$", line))} & steps
    warnings = [match[1] for line in lines if (match := WARNING.match(line)) and not IDLE_WARNING.search(match[1])]
    return {"seconds": round(float(seconds), 1), "steps": len(steps), "cached": len(cached), "warnings": list(dict.fromkeys(warnings))}


class FilterModule:
    """Filters of the role container."""

    def filters(self) -> dict[str, object]:
        return {"build_failure": build_failure, "build_summary": build_summary}
