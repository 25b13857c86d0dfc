"""Extract the cause of a failed build from its output.

BuildKit's plain progress has the output of all steps, `#12 1.234 text`, followed by the Dockerfile's lines around the failed step. The
cause is in the output of the failed step; the Dockerfile's text contains words of errors that did not occur.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class Step:
    """A step of a build: its instruction, its output, and its error ("exit code 1", or BuildKit's message)."""

    name: str = ""
    output: list[str] = field(default_factory=list)
    error: str = ""


STEP = re.compile(r"#(\d+) (.*)$")
PRINTED = re.compile(r"\d+\.\d+ ?(.*)$")
STATE = re.compile(
    r"(CACHED|CANCELED|DONE\b.*|\.\.\.|(sha256:|extracting |transferring |resolve |exporting |naming |writing |sending ).*)$"
)
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# `process "/bin/sh -c <the whole text of the step>" did not complete successfully: exit code: 1`
PROCESS = re.compile(r'process ".*" did not complete successfully: exit code: (\d+)')
# BuildKit's output after the steps: the failed step again, and the Dockerfile around it.
ECHO = re.compile(r"(\s*\d+ \|.*|-{6,}|-{20,}| > \[.*|Dockerfile[\w.]*:\d+|\s*)$")
# Without steps: the client's own error.
SOLVE = re.compile(r"ERROR: (failed to build: )?failed to solve: ")


def failing_step(text: str) -> Step:
    """The failed step. Other text than BuildKit's progress counts as the output of a single step without a name."""
    lines = [ANSI.sub("", line).rstrip() for line in str(text).replace("\r\n", "\n").replace("\r", "\n").splitlines()]
    steps: dict[str, Step] = {}
    rest: list[str] = []
    for line in lines:
        match = STEP.match(line)
        if not match:
            rest.append(line)
            continue
        step, content = steps.setdefault(match[1], Step()), match[2]
        if content.startswith("ERROR: "):
            step.error = PROCESS.sub(r"exit code \1", content.removeprefix("ERROR: "))
        elif printed := PRINTED.match(content):
            step.output.append(printed[1])
        elif not STATE.match(content) and not step.name:
            step.name = content
    failed = [step for step in steps.values() if step.error]
    # Of parallel steps one fails, and the others are cancelled.
    own = [step for step in failed if "context canceled" not in step.error]
    if own or failed:
        return (own or failed)[0]
    output: list[str] = []
    for line in rest:
        if SOLVE.match(line):
            output.append(PROCESS.sub(r"exit code \1", SOLVE.sub("ERROR: ", line)))
        elif not ECHO.match(line):
            output.append(line)
    # BuildKit was killed before it reported the failed step: use all output.
    return Step(output=output or [line for step in steps.values() for line in step.output])


# (pattern of a cause, advice): the first one that matches a line of the failed step. Groups of the pattern are used in the advice.
CAUSES = tuple(
    (re.compile(pattern), advice)
    for pattern, advice in (
        # The backend's build imports the application once: roles/backend_image/files/Dockerfile, stage imported.
        (
            r"^application: \S+: ModuleNotFoundError: No module named 'uvicorn'",
            "uvicorn serves the application: declare it as a dependency, or set backend_image_args: {EXTRA_REQUIREMENTS: uvicorn}",
        ),
        (
            r"^application: \S+: ModuleNotFoundError: No module named '([\w.]+)'",
            "nothing that is installed or in the source has the module {0}: declare its package as a dependency, commit it, or set "
            "backend_image_pythonpath to the directory that it is in",
        ),
        (
            r"^application: \S+: PackageNotFoundError: No package metadata was found for (\S+)",
            "{0} is not installed as a package: give its pyproject.toml a [build-system], or name it in the requirements file (-e .)",
        ),
        (
            r"^application: \S+: KeyError: '(\w+)'",
            "the application requires the variable {0}, which its container is not given: set backend_image_extra_environment, or for a "
            "secret backend_image_secrets_environment",
        ),
        (
            r"^application: .*\[type=missing",
            "the application's settings require variables that its container is not given (see the fields above): set "
            "backend_image_extra_environment, or for secrets backend_image_secrets_environment",
        ),
        (r"^application: [\w.]+:[\w.]+: AttributeError", "set backend_image_app to the module and the name of the application"),
        (
            r"\b(lib[\w.+-]+\.so[.\d]*): cannot open shared object file",
            "the image has no library {0}: set backend_image_extra_run_packages to the Debian package that has it (libgl1 for libGL.so.1)",
        ),
        (r"[Nn]o space left on device|ENOSPC", "the disk of the Docker host is full: docker system df"),
        (
            r"^exit code 137$|failed: SIGKILL$|^Killed$|[Cc]annot allocate memory|\bENOMEM\b",
            "the step was killed, probably because the Docker host ran out of memory: add memory, or stop other programs during the build",
        ),
        (
            r"JavaScript heap out of memory",
            "Node.js reached its own limit of memory: set frontend_image_build_environment: {NODE_OPTIONS: --max-old-space-size=4096}",
        ),
        (
            r"Failed to fetch .* from Google Fonts|fonts\.g(oogleapis|static)\.com|next/font.*(error|failed)",
            "the build fetches fonts and cannot reach their host: let the builder reach it, or keep the fonts in the source "
            "(next/font/local)",
        ),
        (
            r"Failed to collect page data|Error occurred prerendering",
            "the build runs the application's own modules, and one of them failed: where it requires a variable, set "
            "frontend_image_build_environment (public) or frontend_image_build_placeholders (addresses and secrets)",
        ),
        (
            r"\b401\b.*(Unauthorized|Authentication)|\bE401\b|\bENEEDAUTH\b|ERR_PNPM_FETCH_401|\b403 Forbidden\b|\bE403\b",
            "the package index requires credentials: set them as build secrets, backend_image_build_secrets (pip_config, netrc) "
            "or frontend_image_build_secrets (npm_config)",
        ),
        (
            r"CERTIFICATE_VERIFY_FAILED|self.signed certificate|SELF_SIGNED_CERT|[Uu]nable to get local issuer|UNABLE_TO_GET_ISSUER_CERT|"
            r"UNABLE_TO_VERIFY_LEAF|certificate verif(y|ication) failed|invalid peer certificate",
            "the build does not trust the network's certificates: set SSL_CERT_FILE (or container_ca_bundle) to your site's CA bundle",
        ),
        (
            r"ERR_REQUIRE_ESM|ERR_UNKNOWN_BUILTIN_MODULE",
            "a package needs a newer Node.js, or a lock file with an older version of it: frontend_image_debian_release: trixie "
            'has Node.js 20, frontend_image_args: {NODE_IMAGE: "node:22-slim"} another where a registry answers',
        ),
        # Before network errors: a package that cannot be downloaded as a binary is compiled, which needs a compiler.
        (
            r"gyp ERR!.*\bnot found: (make|g\+\+|gcc|cc)\b|gyp ERR! find Python|\b(?:make|g\+\+): (?:command )?not found",
            "a package is compiled, and the image has no compiler: set frontend_image_extra_build_packages: [python3, make, g++]",
        ),
        (
            r"[Ee]rror: command '(?:\S+-)?(?:gcc|g\+\+|cc|clang)' failed: No such file|unable to execute '(?:\S+-)?(?:gcc|g\+\+|cc)'|"
            r"Python\.h: No such file|Unknown compiler\(s\)|No CMAKE_CXX?_COMPILER could be found",
            "a package is compiled, and the image has no compiler: set backend_image_extra_build_packages: [gcc, python3-dev], "
            "or use a version that has a wheel",
        ),
        (
            r"pg_config executable not found|pg_config is required",
            "psycopg2 is compiled: require psycopg2-binary in its place, or set "
            "backend_image_extra_build_packages: [gcc, python3-dev, libpq-dev] and backend_image_extra_run_packages: [libpq5]",
        ),
        (
            r"can't find Rust compiler|[Cc]argo, the Rust package manager, is not installed|Rust toolchain .*not found",
            "a package is compiled by Rust: use a version that has a wheel for the image's Python, or set "
            "backend_image_extra_build_packages: [rustc, cargo, gcc, python3-dev]",
        ),
        (
            r"Cannot find command 'git'|spawn git\b|git: (?:command )?not found",
            "a dependency comes from a git repository, and the image has no git: set backend_image_extra_build_packages "
            "or frontend_image_extra_build_packages: [git]",
        ),
        (
            r"(?:EAI_AGAIN|ENOTFOUND|ECONNREFUSED|ETIMEDOUT|Could not resolve host:|Temporary failure resolving|Could not resolve|host=)"
            r" ?'?(?!127\.|::1|localhost\b)((?:[\w-]+\.)+[a-zA-Z]{2,}|\d+(?:\.\d+){3})\b(?! from)",
            "the build cannot reach {0}: check DNS, the proxy and the firewall of the Docker host",
        ),
        (
            r"Temporary failure (?:in name )?resol|\bEAI_AGAIN\b|\bENOTFOUND\b|Network is unreachable|\bETIMEDOUT\b|dns error",
            "the build cannot reach the network: check DNS and the proxy of the Docker host",
        ),
        (
            r"requires a different Python: ([\d.]+) not in '([^']+)'",
            "a package asks for Python {1}, and the image has {0}: set backend_image_debian_release "
            "(bookworm: Python 3.11, trixie: Python 3.13)",
        ),
        (
            r"requires-python|Requires-Python.*(?:not|incompatible)|requires Python |incompatible with the project's Python requirement",
            "the source asks for another Python than the image has: set backend_image_debian_release "
            "(bookworm: Python 3.11, trixie: Python 3.13)",
        ),
        (
            r"THESE PACKAGES DO NOT MATCH THE HASHES|\bEINTEGRITY\b|ERR_PNPM_TARBALL_INTEGRITY",
            "a package is not the file that the lock file names: see which above; where the new one is right, "
            "create the lock file again and commit it",
        ),
        (r"ResolutionImpossible", "two Python requirements contradict each other: see the lines above"),
        (
            r"No matching distribution found for ([^\s;]+)",
            "the package index has no {0} for the image's Python: see the versions above",
        ),
        (
            r"can only install (?:packages )?(?:when|with) .*package-lock|ERR_PNPM_OUTDATED_LOCKFILE|[Yy]our lockfile needs to be updated|"
            r"lockfile would have been (?:modified|created)|lockfile at `uv\.lock` needs to be updated",
            "the lock file does not match package.json (uv.lock: pyproject.toml): create it again and commit it",
        ),
        (
            r"code ERESOLVE",
            "npm packages contradict each other: see the lines above, or set frontend_image_args: {INSTALL_OPTIONS: --legacy-peer-deps}",
        ),
        (
            r"code EBADENGINE|ERR_PNPM_UNSUPPORTED_ENGINE|engine \"node\" is incompatible|Node\.js version .* is required",
            "the source asks for another Node.js: set frontend_image_debian_release (bookworm: Node.js 18, trixie: Node.js 20)",
        ),
        (
            r"npm error 404|npm ERR! 404|ERR_PNPM_FETCH_404|\bE404\b",
            "the package index has no such package or version: see its name above",
        ),
        (r"E: Unable to locate package (\S+)", "Debian has no package {0}: see *_extra_build_packages and *_extra_run_packages"),
        (
            r"Type error:|Failed to compile|error TS\d+:|Build failed because of webpack errors|Turbopack build failed|"
            r"Module not found: Can't resolve",
            "the source does not compile: see the file and line above",
        ),
        (
            r"failed to (?:calculate checksum|compute cache key).*not found",
            "the Dockerfile copies what is not in the source, or what its .dockerignore leaves out",
        ),
        (
            r"failed to resolve source metadata|pull access denied",
            "the image that the Dockerfile begins with cannot be pulled: check its name, the registry and docker login",
        ),
        (r"Cannot connect to the Docker daemon|error during connect", "the engine does not answer: docker info"),
    )
)  # fmt: skip
PYTHONS = "bookworm: Python 3.11, trixie: Python 3.13"
NOT_FOUND = re.compile(r"No matching distribution found for ([\w.-]+)(?:\[[^\]]*\])?==([\w.+!]+)")
# Warnings, which successful builds print too.
WARNED = re.compile(r"\s*(npm warn|warning\b(?!: Retrying)|warn\b|⚠|DEPRECATION)", re.IGNORECASE)
UNUSABLE = re.compile(r"A complete log of this run can be found in|^npm (error|ERR!)\s+/\S*_logs/|^\s*$")
# Where no cause is known: the first line that looks like an error, the most specific pattern first.
TELLING = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b[A-Z]\w*(Error|Exception)\b(?!\.)|\bError: |\bFATAL\b|\bfatal: |(^|\s)error(\[\w+\])?: |^E: ",
        r"(?i)\berror\b|\bfailed\b|\bnot found\b|\bcannot\b|\bno such\b|\bdenied\b|\binvalid\b",
    )
)


def _cause(step: Step, lines: list[str]) -> tuple[int, str]:
    """(index of the line with the cause, -1 for none; advice, empty where no cause is known)."""
    # pip's retries are the cause only where it found nothing in the end.
    in_vain = any("from versions: none" in line or "Max retries exceeded" in line for line in lines)
    numbered = [
        (number, line) for number, line in enumerate(lines) if not WARNED.match(line) and (in_vain or "WARNING: Retrying" not in line)
    ]
    numbered.append((-1, step.error))
    # Before its error pip lists the versions for other Pythons: the cause, where the requested version is among them.
    for number, line in numbered:
        if not (package := NOT_FOUND.search(line)):
            continue
        if python := re.search(rf"(?:: |; ){re.escape(package[2])} Requires-Python ([^;\n]+)", "\n".join(lines)):
            asks = f"{package[1]} {package[2]} asks for Python {python[1].strip()}"
            return number, f"{asks}: set backend_image_debian_release ({PYTHONS}), or pin another version"
    for pattern, advice in CAUSES:
        for number, line in numbered:
            if match := pattern.search(line):
                return number, advice.format(*match.groups()) if match.groups() else advice
    for pattern in TELLING:
        for number, line in numbered[:-1]:
            if pattern.search(line):
                return number, ""
    return -1, ""


def build_failure(text: str, lines: int = 25) -> str:
    """The failed step, the relevant part of its output (at most `lines` lines), and the likely cause, where one is known."""
    step = failing_step(text)
    output = [line for line in step.output if not UNUSABLE.search(line)]
    key, advice = _cause(step, output)
    shown = output[-lines:]
    if 0 <= key < len(output) - lines:
        context = output[max(0, key - 2) : key + max(1, lines // 3)]
        shown = [*context, "...", *output[max(key + max(1, lines // 3), len(output) - lines + len(context) + 1) :]]
    name = step.name if len(step.name) <= 160 else f"{step.name[:157]}..."
    head = [f"{name}: {step.error}" if name else step.error] if step.error else []
    return "\n".join([*head, *shown]) + (f"\nLikely cause: {advice}." if advice else "")


WARNING = re.compile(r"^(?:#\d+ [\d.]+ )?(warning: .+|note: .+ is used, .+|WARN: .+)$", re.IGNORECASE)
# Common warnings of package managers that need no action.
IDLE_WARNING = re.compile(r"npm warn|deprecated|inflight|unmet peer|peer dep", re.IGNORECASE)


def build_summary(text: str, seconds: float) -> dict[str, object]:
    """{seconds, steps, cached, warnings} of a build by its plain progress; steps: those of the Dockerfile that were needed."""
    lines = str(text).splitlines()
    steps = {match[1] for line in lines if (match := re.match(r"(#\d+) \[(?!internal)[^\]]+\] (?!FROM)", line))}
    cached = {match[1] for line in lines if (match := re.match(r"(#\d+) CACHED$", line))} & steps
    warnings = [match[1] for line in lines if (match := WARNING.match(line)) and not IDLE_WARNING.search(match[1])]
    return {"seconds": round(float(seconds), 1), "steps": len(steps), "cached": len(cached), "warnings": list(dict.fromkeys(warnings))}


class FilterModule:
    """Filters of the role container."""

    def filters(self) -> dict[str, object]:
        return {"build_failure": build_failure, "build_summary": build_summary}
