# ruff: noqa: E501 # logs as they come
"""What a failed build says: BuildKit's plain progress as it comes, with the Dockerfile's own text behind it."""

from __future__ import annotations

import pytest
from ansible_collections.berth.stack.plugins.filter.build_failure import build_failure, failing_step

# The epilogue of every failed installation: the step's own text, which names everything that may happen in it.
DOCKERFILE = """\
------
 > [dependencies 4/4] RUN --mount=type=secret,id=npm_config <<'BASH' (read -r manager version...):
{last}
------
Dockerfile:156
--------------------
 155 |     # hadolint ignore=SC2086 # options are words
 156 | >>> RUN --mount=type=secret,id=npm_config --mount=type=secret,id=ca_bundle <<'BASH'
 157 | >>>         npm-true-*) install=(npm ci --include=dev) ;; # package-lock.json
 158 | >>>         pnpm-true-*) install=(pnpm install --frozen-lockfile --prod=false) ;;
 159 | >>>     [ -s ca_bundle ] || echo "self-signed certificate, Type error: No space left on device"
 160 | >>> BASH
--------------------
ERROR: failed to build: failed to solve: process "/bin/bash -euo pipefail -c npm ci --frozen-lockfile package-lock.json" did not complete successfully: exit code: {code}
"""


def log(printed: str, code: int = 1, before: str = "") -> str:
    """The progress of a build whose step 15 printed these lines and failed."""
    lines = printed.strip("\n").splitlines()
    return (
        "#0 building with \"default\" instance using docker driver\n\n#1 [internal] load build definition from Dockerfile\n"
        "#1 transferring dockerfile: 17.52kB done\n#1 DONE 0.0s\n\n#14 [dependency-files 2/2] RUN node /opt/tools/dependency-files.mjs\n"
        f"{before}#14 0.211 dependencies: npm , package-lock.json\n#14 DONE 0.3s\n\n"
        "#15 [dependencies 4/4] RUN --mount=type=secret,id=npm_config <<'BASH' (read -r manager version...)\n"
        + "\n".join(f"#15 {number}.{number:03} {line}" for number, line in enumerate(lines, 1))
        + '\n#15 ERROR: process "/bin/bash -euo pipefail -c npm ci --frozen-lockfile package-lock.json" did not complete successfully: '
        f"exit code: {code}\n" + DOCKERFILE.format(last=lines[-1] if lines else "", code=code)
    )  # fmt: skip


POSTINSTALL = """
npm warn deprecated inflight@1.0.6: This module is not supported
npm error code 1
npm error path /source
npm error command failed
npm error command sh -c node scripts/fail.js
npm error /source/scripts/fail.js:3
npm error   throw new Error("no licence key: set LICENCE_KEY");
npm error   ^
npm error
npm error Error: no licence key: set LICENCE_KEY
npm error     at Object.<anonymous> (/source/scripts/fail.js:3:9)
npm error     at Module._compile (node:internal/modules/cjs/loader:1364:14)
npm error
npm error Node.js v18.20.4
npm error A complete log of this run can be found in: /tmp/npm/_logs/2026-11-27T20_00_00_000Z-debug-0.log
"""
PIP_OTHER_PYTHON = """
ERROR: Ignored the following versions that require a different python version: 3.0.0 Requires-Python >=3.12; 3.0.1 Requires-Python >=3.12
ERROR: Could not find a version that satisfies the requirement pandas==3.0.0 (from versions: 2.0.0, 2.9.0)
ERROR: No matching distribution found for pandas==3.0.0
"""
UV_PYTHON = (
    "error: The requested interpreter resolved to Python 3.11.2, which is incompatible with the project's Python requirement: `>=3.13`"
)
NOT_IN_SYNC = """
npm error code EUSAGE
npm error
npm error `npm ci` can only install packages when your package.json and package-lock.json or npm-shrinkwrap.json are in sync. Please update your lock file with `npm install` before continuing.
npm error
npm error Missing: zod@3.23.8 from lock file
"""
OLD_NODE = """
Failed to compile.
src/app/layout.tsx
An error occurred in `next/font`.
Error [ERR_REQUIRE_ESM]: require() of ES Module /source/node_modules/magic/dist/index.mjs not supported.
"""
NO_MAKE = """
npm error code 1
npm error path /source/node_modules/better-sqlite3
npm error command failed
npm error command sh -c prebuild-install || node-gyp rebuild --release
npm error prebuild-install warn install getaddrinfo EAI_AGAIN github.com
npm error gyp info it worked if it ends with ok
npm error gyp info spawn make
npm error gyp ERR! build error
npm error gyp ERR! stack Error: not found: make
npm error gyp ERR! not ok
"""
NO_HOST = """
npm error code ENOTFOUND
npm error syscall getaddrinfo
npm error errno ENOTFOUND
npm error network request to https://packages.example.com/zod failed, reason: getaddrinfo ENOTFOUND packages.example.com
npm error network This is a problem related to network connectivity.
"""
PIP_CONFLICT = """
ERROR: Cannot install fastapi==0.68.0 and pydantic==2.9.2 because these package versions have conflicting dependencies.
The conflict is caused by:
    The user requested pydantic==2.9.2
    fastapi 0.68.0 depends on pydantic!=1.7, <2.0.0 and >=1.6.2
ERROR: ResolutionImpossible: for help visit https://pip.pypa.io/en/latest/topics/dependency-resolution/#dealing-with-dependency-conflicts
"""
PIP_NONE = """
ERROR: Ignored the following versions that require a different python version: 0.1 Requires-Python <3.10
ERROR: Could not find a version that satisfies the requirement fastapi==99.0 (from versions: 0.1.0, 0.115.0)
ERROR: No matching distribution found for fastapi==99.0
"""
PIP_TLS = """
WARNING: Retrying (Retry(total=0)) after connection broken by 'SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate (_ssl.c:992)'))': /simple/fastapi/
ERROR: Could not find a version that satisfies the requirement fastapi (from versions: none)
ERROR: No matching distribution found for fastapi
"""
PIP_RETRIED = """
WARNING: Retrying (Retry(total=4)) after connection broken by 'NewConnectionError(Temporary failure in name resolution)': /simple/fastapi/
ERROR: Could not find a version that satisfies the requirement fastapi==99.0 (from versions: 0.1.0, 0.115.0)
ERROR: No matching distribution found for fastapi==99.0
"""
PIP_PYTHON = "ERROR: Package 'ipython' requires a different Python: 3.11.2 not in '>=3.13'"
GCC = """
  Building wheel for asyncpg (pyproject.toml): finished with status 'error'
  building 'asyncpg.pgproto.pgproto' extension
  error: command 'gcc' failed: No such file or directory
ERROR: Failed building wheel for asyncpg
"""
NEXT_TYPE = """
   Creating an optimized production build ...
 ✓ Compiled successfully
   Linting and checking validity of types ...
Failed to compile.

./app/page.tsx:3:9
Type error: Type 'string' is not assignable to type 'number'.
npm run build failed: exit status 1
"""
NEXT_PAGE_DATA = """
TypeError: Invalid URL
    at new URL (node:internal/url:797:36)
> Build error occurred
Error: Failed to collect page data for /api/health
npm run build failed: exit status 1
"""
HEAP = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\nnpm run build failed: SIGABRT"
ENGINE_WARNED = """
npm warn EBADENGINE Unsupported engine {
npm warn EBADENGINE   package: 'left-pad@2.0.0',
npm warn EBADENGINE   required: { node: '>= 20' },
npm warn EBADENGINE }
""" + POSTINSTALL.strip("\n")  # fmt: skip
LOCAL_DATABASE = """
npm error code 1
npm error command sh -c prisma migrate deploy
npm error Error: connect ECONNREFUSED 127.0.0.1:5432
"""
ESBUILD = '✘ [ERROR] Could not resolve "./generated"\n    src/index.ts:1:7\nnpm run build failed: exit status 1'

# (what the step printed, exit status) -> a part of the cause, empty where none is known; and the line that must be shown.
TABLE = {
    "postinstall throws": (POSTINSTALL, 1, "", "Error: no licence key: set LICENCE_KEY"),
    "engine warned, postinstall throws": (ENGINE_WARNED, 1, "", "Error: no licence key: set LICENCE_KEY"),
    "lock not in sync": (NOT_IN_SYNC, 1, "the lock file does not match package.json", "in sync"),
    "pnpm lock": (
        ' ERR_PNPM_OUTDATED_LOCKFILE  Cannot install with "frozen-lockfile" because pnpm-lock.yaml is not up to date', 1, "the lock file", "ERR_PNPM",
    ),
    "yarn lock": ("error Your lockfile needs to be updated, but yarn was run with `--frozen-lockfile`.", 1, "the lock file", "Your lockfile"),
    "a module is missing": (
        "Traceback (most recent call last):\n  x\napplication: app/main.py:3: ModuleNotFoundError: No module named 'jwt'", 1,
        "has the module jwt: declare its package", "application: app/main.py:3",
    ),
    "uvicorn is missing": (
        "application: app.main:app: ModuleNotFoundError: No module named 'uvicorn'", 1, "EXTRA_REQUIREMENTS: uvicorn", "application:",
    ),
    "a variable is missing": ("application: app/main.py:3: KeyError: 'TOKEN'", 1, "requires the variable TOKEN", "application: app/main.py:3"),
    "metadata is missing": (
        "application: app/__init__.py:2: PackageNotFoundError: No package metadata was found for shop", 1, "[build-system]", "application:",
    ),
    "a library is missing": (
        "application: app/a.py:1: ImportError: libGL.so.1: cannot open shared object file: No such file", 1, "no library libGL.so.1", "application:",
    ),
    "a package that Node.js 18 cannot load": (OLD_NODE, 1, "frontend_image_debian_release: trixie", "ERR_REQUIRE_ESM"),
    "make is missing": (NO_MAKE, 1, "[python3, make, g++]", "not found: make"),
    "gcc is missing": (GCC, 1, "[gcc, python3-dev]", "command 'gcc' failed"),
    "pg_config is missing": ("Error: pg_config executable not found.", 1, "psycopg2-binary", "pg_config"),
    "git is missing": ("npm error syscall spawn git\nnpm error errno -2", 1, "[git]", "spawn git"),
    "no such host": (NO_HOST, 1, "cannot reach packages.example.com", "ENOTFOUND packages.example.com"),
    "no name resolution": ("npm error code EAI_AGAIN", 1, "network", "EAI_AGAIN"),
    "a database of this machine": (LOCAL_DATABASE, 1, "", "ECONNREFUSED 127.0.0.1:5432"),
    "an import that leads nowhere": (ESBUILD, 1, "", "Could not resolve"),
    "pip conflict": (PIP_CONFLICT, 1, "contradict each other", "fastapi 0.68.0 depends on"),
    "pip finds none": (PIP_NONE, 1, "no fastapi==99.0", "from versions: 0.1.0"),
    "pip tries again and gets there": (PIP_RETRIED, 1, "no fastapi==99.0", "from versions: 0.1.0"),
    "pip and another Python": (PIP_PYTHON, 1, "asks for Python >=3.13, and the image has 3.11.2", "ipython"),
    "pip and a version for another Python": (PIP_OTHER_PYTHON, 1, "pandas 3.0.0 asks for Python >=3.12: set", "No matching distribution"),
    "pip finds none, and others are for another Python": (PIP_OTHER_PYTHON.replace("pandas==3.0.0", "pandas==9"), 1, "no pandas==9", "9.0"),
    "uv and another Python": (UV_PYTHON, 1, "asks for another Python", "resolved to Python 3.11.2"),
    "Turbopack": ("> Build error occurred\nError: Turbopack build failed with 1 errors:\n./app/layout.tsx:1:1", 1, "does not compile", "Turbopack"),
    "pip and TLS": (PIP_TLS, 1, "certificates", "CERTIFICATE_VERIFY_FAILED"),
    "npm and TLS": ("npm error code SELF_SIGNED_CERT_IN_CHAIN", 1, "certificates", "SELF_SIGNED"),
    "no credentials": ("npm error code E401\nnpm error 401 Unauthorized - GET https://npm.example.com/x", 1, "build secrets", "E401"),
    "no such package": ("npm error code E404\nnpm error 404 Not Found - GET /@acme%2fui", 1, "no such package", "E404"),
    "does not compile": (NEXT_TYPE, 1, "does not compile", "./app/page.tsx:3:9"),
    "page data": (NEXT_PAGE_DATA, 1, "frontend_image_build_placeholders", "TypeError: Invalid URL"),
    "fonts": ("Failed to fetch `Inter` from Google Fonts.\nError: getaddrinfo EAI_AGAIN fonts.googleapis.com", 1, "fonts", "Inter"),
    "heap": (HEAP, 1, "NODE_OPTIONS", "heap out of memory"),
    "killed": ("Creating an optimized production build ...", 137, "memory", "exit code 137"),
    "build.mjs killed": ("npm run build failed: SIGKILL", 1, "memory", "SIGKILL"),
    "disk": ("npm error code ENOSPC\nnpm error ENOSPC: no space left on device, write", 1, "disk", "ENOSPC"),
    "nothing said": ("", 3, "", "exit code 3"),
    "strange": ("it did not please me", 1, "", "it did not please me"),
}  # fmt: skip


@pytest.mark.parametrize(("printed", "code", "cause", "line"), TABLE.values(), ids=TABLE)
def test_the_cause_is_read_from_the_failing_step_alone_and_its_line_is_shown(printed, code, cause, line):
    reported = build_failure(log(printed, code))
    shown, _, advice = reported.partition("\nLikely cause: ")
    assert line in shown
    assert "hadolint" not in reported, "the Dockerfile's own text tells nothing"
    if cause:
        assert cause in advice
    else:
        assert "Likely cause" not in reported


@pytest.mark.parametrize("name", ["postinstall throws", "lock not in sync", "make is missing", "pip finds none"])
def test_the_line_that_tells_the_cause_is_shown_however_much_follows(name):
    printed, code, cause, line = TABLE[name]
    reported = build_failure(log(printed.strip("\n") + "\n" + "\n".join(f"npm info line {n}" for n in range(200)), code))
    assert line in reported.partition("\nLikely cause: ")[0]
    assert cause in reported
    assert len(reported.splitlines()) <= 28
    assert reported.splitlines()[-1 if not cause else -2] == "npm info line 199"


def test_what_another_step_printed_is_no_cause():
    assert "Likely cause" not in build_failure(log(POSTINSTALL, before="#14 0.1 write: no space left on device\n"))


def test_of_steps_side_by_side_the_one_that_failed_by_itself_is_told():
    text = (
        "#9 [runtime 1/1] RUN collect\n#12 [build 1/2] RUN npm ci\n#9 0.5 collecting\n#12 1.0 npm error code E404\n"
        '#9 ERROR: process "/bin/sh -c collect" did not complete successfully: context canceled: context canceled\n'
        '#12 ERROR: process "/bin/sh -c npm ci" did not complete successfully: exit code: 1\n'
    )
    step = failing_step(text)
    assert (step.name, step.output, step.error) == ("[build 1/2] RUN npm ci", ["npm error code E404"], "exit code 1")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (
            '#5 [2/3] COPY gone /app\n#5 ERROR: failed to calculate checksum of ref x::y: "/gone": not found\n',
            "copies what is not in the source",
        ),
        (
            "#2 [internal] load metadata for docker.io/library/python:9\n#2 ERROR: docker.io/library/python:9: failed to resolve source metadata\n",
            "cannot be pulled",
        ),
        (
            "ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "engine does not answer",
        ),
        (
            "Dockerfile:3\n--------------------\n   3 | >>> FORM x\n--------------------\nERROR: failed to solve: unknown instruction: FORM",
            "",
        ),
    ],
)
def test_what_fails_before_anything_runs_is_told_too(text, cause):
    reported = build_failure(text)
    assert "ERROR" in reported or "COPY" in reported or "metadata" in reported
    assert (cause in reported.partition("Likely cause: ")[2]) if cause else "Likely cause" not in reported


def test_text_that_is_no_progress_is_its_own_output():
    assert build_failure("\n".join(f"line {n}" for n in range(100)), lines=3) == "line 97\nline 98\nline 99"
    assert build_failure("#5 CACHED\n\n#6 12.3 strange\n------") == "strange"
