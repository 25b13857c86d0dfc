"""Scan a `docker save` stream for secrets, tools and permissions, layer by layer, so that files which a later layer hides count too.

Pure functions over a stream; no engine is needed to test them.
"""

from __future__ import annotations

import posixpath
import re
import tarfile
from typing import Any, BinaryIO

# Programs that an application does not need and an intruder can use.
SHELLS = frozenset({"sh", "bash", "dash", "ash", "zsh", "busybox"})
TOOLS = frozenset(
    {
        "apt", "apt-get", "dpkg", "rpm", "apk", "pip", "pip3", "npm", "npx", "yarn", "pnpm", "gcc", "cc", "g++", "make", "git", "curl",
        "wget", "perl", "ssh", "telnet", "nc", "ncat", "gdb", "strace", "sudo", "su",
    }
)  # fmt: skip
BIN = ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "opt/venv/bin")
# Names of files with credentials. For .env.production and the like, which frameworks expect in the repository, the content decides.
SECRET_NAMES = re.compile(r"(^|/)(\.env(\.([\w-]+\.)?local)?|id_rsa|id_ed25519|\.netrc|\.pgpass|\.git-credentials)$")
# credentials.json may be a translation: the content decides.
CREDENTIALS_JSON = re.compile(rb'"(client_secret|private_key|refresh_token|secret_access_key|password)"\s*:\s*"[^"]{12,}"')
# The beginning of a private key in PEM, with line ends as they are or as JSON and .env files write them.
PRIVATE_KEY = (
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\\r|\\n|[\s\"'+,])+(?:[A-Za-z-]+: [^\n\\]*(?:\\r|\\n|\s)+)*[A-Za-z0-9+/=]{40}"
)
# Patterns of credentials, by a fixed part that is searched first.
SECRET_FORMS = {
    b"PRIVATE KEY-----": re.compile(PRIVATE_KEY.encode()),
    b"AKIA": re.compile(rb"(?<![A-Za-z0-9+/])AKIA[0-9A-Z]{16}(?![A-Za-z0-9+/])"),
    b"sk-": re.compile(rb"(?<![A-Za-z0-9_-])sk-(?:(?:proj-|live-)?[A-Za-z0-9]{32,}|(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,})"),
    b"ghp_": re.compile(rb"(?<![A-Za-z0-9_])ghp_[A-Za-z0-9]{36}"),
    b"github_pat_": re.compile(rb"(?<![A-Za-z0-9_])github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}"),
    b"glpat-": re.compile(rb"(?<![A-Za-z0-9_-])glpat-[A-Za-z0-9_-]{20}"),
    b"_live_": re.compile(rb"(?<![A-Za-z0-9_])[sr]k_live_[A-Za-z0-9]{24,}"),
    b"xox": re.compile(rb"(?<![A-Za-z0-9_])xox[bp]-[0-9A-Za-z-]{20,}"),
}
# An environment or argument whose value is a secret, in a Dockerfile's instruction or an image's configuration.
SECRET_SETTING = re.compile(r"(?i)\b([A-Z0-9_]*(?:SECRET|PASSWORD|PASSWD|TOKEN|API_KEY|PRIVATE_KEY))=(?!\s|$|['\"]?\s*['\"]|/|\$)([^\s]+)")
# Increased when the scan finds more than before, which invalidates cached results.
SCANNER = "6"
# A file of an installed package, and the package. Its test keys and examples are everybody's, and no secrets of a stack.
PACKAGE = re.compile(r"(?:^|/)(?:(?:site|dist)-packages|node_modules)/((?:@[^/]+/)?[^/]+)/")
# The metadata of a package; one that was installed from a directory has a direct_url.json, and its files are the application's own.
METADATA = re.compile(r"(?:site|dist)-packages/([^/]+\.dist-info)/(direct_url\.json|RECORD)$")
LARGEST = 64 * 1024 * 1024


def tops(record: str) -> set[str]:
    """What a distribution has directly below site-packages, by its RECORD: directories and files."""
    return {line.split("/")[0].split(",")[0] for line in record.splitlines()} - {"..", "__pycache__", ""}


def by_distribution(sizes: dict[str, int], modules: dict[str, set[str]]) -> dict[str, int]:
    """`sizes` of what is below site-packages or node_modules, by the name that it is installed by: torch with torchgen and torch.libs.

    `modules`: {NAME-VERSION.dist-info: its `tops`}. A directory that several distributions share (google, nvidia) keeps its own name.
    """
    owners: dict[str, set[str]] = {}
    for metadata, names in modules.items():
        for name in names:
            owners.setdefault(name, set()).add(metadata.rsplit("-", 2)[0])
    found: dict[str, int] = {}
    for name, size in sizes.items():
        own = owners.get(name, set())
        key = next(iter(own)) if len(own) == 1 else name
        found[key] = found.get(key, 0) + size
    return found


def largest(sizes: dict[str, int], total: int = 0, number: int = 5) -> str:
    """The largest packages with their sizes in MB (decimal), those below 1 MB not: `torch 750 MB, scipy 90 MB`.

    `total`: size of the image in bytes; what of it is in no package (interpreter, libraries, the application) follows.
    """
    order = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:number]
    found = [f"{name} {size / 1e6:.{0 if size >= 1e7 else 1}f} MB" for name, size in order if size >= 1e6]
    rest = total - sum(sizes.values())
    return ", ".join(found or ["none over 1 MB"]) + (f"; runtime and application {rest / 1e6:.0f} MB" if rest > 0 else "")


CANARY = "a secret of this stack"
NAMED = "a file of credentials by its name"


def hits(data: bytes, canaries: list[bytes]) -> list[str]:
    """Kinds of secrets in `data`: `a secret of this stack`, or the name of a pattern."""
    found = [CANARY] if any(canary in data for canary in canaries) else []
    return found + [name.decode() for name, form in SECRET_FORMS.items() if name in data and form.search(data)]


def hidden(value: Any, canaries: list[bytes]) -> Any:
    """`value` with each secret replaced by `[a secret of this stack]`."""
    if isinstance(value, dict):
        return {hidden(key, canaries): hidden(one, canaries) for key, one in value.items()}
    if isinstance(value, list):
        return [hidden(one, canaries) for one in value]
    if isinstance(value, str):
        for canary in canaries:
            value = value.replace(canary.decode(errors="replace"), f"[{CANARY}]")
    return value


def setting_hits(text: str) -> list[str]:
    """Names of settings in a history line or environment with a secret's value; NAME_FILE holds a path and does not count."""
    return sorted({match[1] for match in SECRET_SETTING.finditer(text)})


def scan(stream: BinaryIO, canaries: list[bytes]) -> dict[str, Any]:
    """The findings over all layers of a `docker save` stream, each with its path.

    {secrets: [{path, what}], shells, tools, setuid, writable: [path], owners: {top directory: {uid: files}}, packages: [name],
    files, bytes, marks: {name in MARKS: path}, packages_bytes: {installed package: bytes}, next: version of Next.js or empty}
    """
    found: dict[str, Any] = {"secrets": [], "shells": [], "tools": [], "setuid": [], "writable": [], "packages": [], "marks": {}}
    owners: dict[str, dict[str, int]] = {}
    packages_bytes: dict[str, int] = {}
    modules: dict[str, set[str]] = {}
    framework = ""
    local: set[str] = set()
    files = size = 0
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            if not member.isfile() or member.size < 512:
                continue
            content = archive.extractfile(member)
            if content is None:
                continue
            try:
                layer = tarfile.open(fileobj=content, mode="r|")  # noqa: SIM115 # closed with its content
            except tarfile.ReadError:
                continue  # the manifest and the configuration
            for entry in layer:
                path = posixpath.normpath(entry.name).lstrip("/")
                if not (entry.isfile() or entry.issym()):
                    continue
                directory, name = posixpath.split(path)
                if directory in BIN and name in SHELLS:
                    found["shells"].append(path)
                if directory in BIN and name in TOOLS:
                    found["tools"].append(path)
                _mark(found["marks"], path)
                if directory == "var/lib/dpkg/status.d" and not name.endswith(".md5sums"):
                    found["packages"].append(name)
                if not entry.isfile():
                    continue
                files, size = files + 1, size + entry.size
                if entry.mode & 0o6000:
                    found["setuid"].append(path)
                if entry.mode & 0o002:
                    found["writable"].append(path)
                top = path.split("/")[0]
                owners.setdefault(top, {}).setdefault(str(entry.uid), 0)
                owners[top][str(entry.uid)] += 1
                if SECRET_NAMES.search(path):
                    found["secrets"].append({"path": path, "what": NAMED})
                if (package := PACKAGE.search(path)) and not package[1].endswith(".dist-info"):
                    packages_bytes[package[1]] = packages_bytes.get(package[1], 0) + entry.size
                data = layer.extractfile(entry)
                if data is not None and 12 <= entry.size <= LARGEST:
                    text = data.read()
                    if metadata := METADATA.search(path):
                        if metadata[2] == "RECORD":
                            modules[metadata[1]] = tops(text.decode(errors="replace"))
                        elif b'"dir_info"' in text:
                            local.add(metadata[1])
                    elif path.endswith("node_modules/next/package.json"):
                        framework = (re.search(rb'"version"\s*:\s*"([^"]+)"', text) or [b"", b""])[1].decode()
                    content_hits = hits(text, canaries)
                    if name.startswith(".env.") and not name.endswith(("example", "sample", "template")):
                        content_hits += setting_hits(text.decode(errors="replace"))
                    if name == "credentials.json" and CREDENTIALS_JSON.search(text):
                        content_hits.append("credentials")
                    if ".so" in name:
                        # TLS libraries carry the keys of their own self-tests.
                        content_hits = [what for what in content_hits if "PRIVATE KEY" not in what]
                    found["secrets"] += [{"path": path, "what": what} for what in content_hits]
    own = set[str]().union(*(modules.get(name, set()) for name in local))
    found["secrets"] = [hit for hit in found["secrets"] if hit["what"] == CANARY or not _is_packaged(hit["path"], own)]
    named = by_distribution(packages_bytes, modules)
    return {**found, "owners": owners, "files": files, "bytes": size, "packages_bytes": named, "next": framework}


def _is_packaged(path: str, own: set[str]) -> bool:
    """Whether a file is of a package that everybody can install; `own`: modules of the application."""
    package = PACKAGE.search(path)
    return package is not None and package[1] not in own


MARKS = {
    "python": re.compile(r"^usr/(?:local/)?lib/python(3\.\d+)/os\.pyc?$"),
    "next_build": re.compile(r"(?:^|/)\.next/BUILD_ID$"),
    "next_static": re.compile(r"(?:^|/)\.next/static/.+"),
    "next_server": re.compile(r"^app/(?:.*/)?server\.js$"),
    "dumb_init": re.compile(r"(?:^|/)bin/dumb-init$"),
    "fastapi": re.compile(r"site-packages/fastapi/__init__\.pyc?$"),
    "uvicorn": re.compile(r"site-packages/uvicorn/__init__\.pyc?$"),
    "agents": re.compile(r"site-packages/agents/__init__\.pyc?$"),
    "mcp": re.compile(r"site-packages/mcp/__init__\.pyc?$"),
    "postgres_driver": re.compile(r"site-packages/(?:asyncpg|psycopg|psycopg2|pg8000|psqlpy|aiopg)/__init__\.pyc?$"),
    "better_auth": re.compile(r"node_modules/better-auth/package\.json$|better-auth"),
    "dev_tools": re.compile(
        r"(?:site-packages/(?:pytest|ruff|mypy|pip)/__init__\.pyc?|node_modules/(?:typescript|eslint|esbuild)/package\.json)$"
    ),
    "ca_bundle": re.compile(r"^etc/ssl/certs/ca-certificates\.crt$"),
    "repository": re.compile(r"(?:^|/)\.git/"),
}


def _mark(marks: dict[str, str], path: str) -> None:
    for name, form in MARKS.items():
        if name not in marks and (match := form.search(path)):
            marks[name] = match[1] if match.groups() and match[1] else path


def history_hits(history: list[dict[str, Any]], environment: list[str]) -> list[dict[str, str]]:
    """Settings with a secret's value in an image's history and environment."""
    found = [{"path": "history", "what": name} for entry in history for name in setting_hits(entry.get("CreatedBy", ""))]
    return found + [{"path": "environment", "what": name} for entry in environment for name in setting_hits(entry)]
