"""Rate an image: pure functions from facts and from the scanners' output to findings.

Every check has a name, which acceptances use too, and a title. A check that lacks data or a tool is not verified.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from ..docker.image_archive import Entry
from ..docker.image_scan import PACKAGE, largest
from ..docker.image_weight import budget_of
from ..source.findings import finding

TITLES = {
    "hadolint": "hadolint finds nothing in the Dockerfile",
    "structure": "container-structure-test: the image has the promised shape",
    "secrets": "No layer and no configuration holds a secret (gitleaks)",
    "sbom": "A software bill of materials is stored beside the release (CycloneDX)",
    "debian": "No Debian update is outstanding",
    "javascript": "No JavaScript advisory applies (retire)",
    "efficiency": "No layer carries what a later one replaces",
    "size": "The image is within its budget",
    "user": "It runs as a user of its own",
    "entrypoint": "Its first process is the right one",
    "health": "It reports its health",
    "port": "It exposes its own port and no other",
    "contents": "It holds no shell, no package manager, no set-user-id program, nothing that its user could change",
    "labels": "It is described by OCI annotations",
}
Image = dict[str, Any]
Findings = list[dict[str, Any]]


# --- the configuration ----------------------------------------------------------------------------------------------------


def user(config: dict[str, Any], expected: Image) -> Findings:
    name = str(config.get("User") or "")
    role, who = expected["role"], name.partition(":")[0]
    if who in ("", "0", "root"):
        return [finding("user", "error", "it runs as root", "USER", f"add USER to roles/{role}/files/Dockerfile")]
    if not re.fullmatch(r"\d+(:\d+)?", name):
        message = f"USER {name} is a name: a cluster that demands a non-root user refuses it"
        return [finding("user", "warning", message, "USER", "name the number")]
    return []


def entrypoint(config: dict[str, Any], expected: Image) -> Findings:
    command = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
    if not command:
        advice = f"add ENTRYPOINT to roles/{expected['role']}/files/Dockerfile"
        return [finding("entrypoint", "error", "it has neither ENTRYPOINT nor CMD", "ENTRYPOINT", advice)]
    if command[0] in ("sh", "/bin/sh", "bash", "/bin/bash") and command[1:2] == ["-c"]:
        return [finding("entrypoint", "error", f"a shell is its first process and keeps signals from the application: "
f"{' '.join(command)[:80]}",
                        "ENTRYPOINT", "use the exec form: a JSON list")]  # fmt: skip
    if any(word.rpartition("/")[2] in ("node", "npm", "next") for word in command) and command[0].rpartition("/")[2] not in (
        "dumb-init",
        "tini",
    ):
        return [finding("entrypoint", "error", "Node.js as process 1 reaps no children and ignores SIGTERM", "ENTRYPOINT",
                        'ENTRYPOINT ["dumb-init", "node"]')]  # fmt: skip
    first = expected.get("entrypoint")
    if first and command[0].rpartition("/")[2] != first:
        message = f"its first process is {command[0]}, not {first}"
        return [finding("entrypoint", "error", message, "ENTRYPOINT", f"roles/{expected['role']}/files/Dockerfile")]
    return []


def health(config: dict[str, Any], expected: Image) -> Findings:
    check = config.get("Healthcheck") or config.get("HealthCheck") or {}
    test = check.get("Test") or []
    if not test or test == ["NONE"]:
        return [finding("health", "error", "it has no HEALTHCHECK: the health of its containers cannot be checked", "HEALTHCHECK",
                        f"add HEALTHCHECK to roles/{expected['role']}/files/Dockerfile")]  # fmt: skip
    if re.search(r"\|\|\s*(true|exit 0|:)\s*$", " ".join(test)):
        return [
            finding("health", "error", f"its HEALTHCHECK cannot fail: {' '.join(test[1:])}", "HEALTHCHECK", "drop what stands behind ||")
        ]
    return []


def port(config: dict[str, Any], expected: Image) -> Findings:
    exposed = {int(name.partition("/")[0]) for name in config.get("ExposedPorts") or {}}
    own = {int(number) for number in expected.get("ports") or []}
    ports = ", ".join(map(str, sorted(exposed))) or "no port"
    if own - exposed:
        return [
            finding("port", "error", f"it exposes {ports}, not {', '.join(map(str, sorted(own)))}", "EXPOSE", f"{expected['role']}_port")
        ]
    if exposed - own:
        return [
            finding("port", "warning", f"it exposes more than its own: {ports}", "EXPOSE", f"roles/{expected['role']}/files/Dockerfile")
        ]
    return []


def labels(config: dict[str, Any], expected: Image) -> Findings:
    given = config.get("Labels") or {}
    needed = [
        "berth.stack",
        "berth.service",
        "berth.version",
        *(f"org.opencontainers.image.{k}" for k in ("title", "version", "revision", "created")),
    ]
    missing = [name for name in needed if not given.get(name)]
    # Outside git there is no revision to name.
    missing = [name for name in missing if name != "org.opencontainers.image.revision"]
    return [finding("labels", "warning", f"it has no {', '.join(missing)}", "LABEL", "container_build")] if missing else []


# --- size and layers ----------------------------------------------------------------------------------------------------------


def size(total: int, expected: Image, packages: dict[str, int] | None = None, framework: str = "") -> Findings:
    """`total` bytes against the budget in MB (decimal), which may be of a release of the `framework`; the largest of the `packages`."""
    budget = budget_of(expected.get("budget") or 0, framework)
    if budget and total > budget * 1e6:
        message = f"{total / 1e6:.1f} MB, the budget is {budget:g} MB; largest packages: {largest(packages or {}, total)}"
        return [finding("size", "error", message, "", f"{expected['budget_variable']}, or make it smaller: make advise",
                        bytes=int(total - budget * 1e6))]  # fmt: skip
    return []


def efficiency(total: int, wasted: dict[str, int], allowed: int) -> Findings:
    """Wasted bytes by path against what is `allowed`."""
    sum_ = sum(wasted.values())
    if sum_ <= allowed:
        return []
    worst = sorted(wasted.items(), key=lambda item: -item[1])[:5]
    largest = ", ".join(f"{path} ({count / 1e6:.1f} MB)" for path, count in worst)
    share = 100 * (1 - sum_ / max(total, 1))
    return [finding("efficiency", "error", f"{sum_ / 1e6:.1f} MB lie in layers and are replaced or removed later "
f"({share:.0f} % is used): {largest}", "",
                    "remove a file in the RUN that makes it, or copy from a stage", bytes=sum_)]  # fmt: skip


SHELLS = re.compile(r"(^|/)(ba|da|z|k|c|fi)?sh$|(^|/)busybox$")
MANAGERS = re.compile(r"(^|/)(apt|apt-get|dpkg|apk|pip3?|npm|npx|yarn|pnpm|corepack|gcc|cc|make)$")


def contents(seen: dict[str, Entry], expected: Image) -> Findings:
    """What a container sees, by path."""
    out: Findings = []
    programs = {p: e for p, e in seen.items() if re.match(r"(usr/)?(local/)?s?bin/|opt/[^/]+/bin/", p) and e.kind != "directory"}
    if expected.get("variant") == "scratch":
        for what, pattern in (("a shell", SHELLS), ("a package manager or compiler", MANAGERS)):
            found = sorted(p for p in programs if pattern.search(p))
            if found:
                message = f"it holds {what}: {', '.join(found[:4])}"
                out.append(finding("contents", "error", message, f"/{found[0]}", f"{expected['role']}_variant: scratch"))
    risen = sorted(p for p, e in seen.items() if e.kind == "file" and e.mode & 0o6000)
    if risen:
        out.append(finding("contents", "error", f"set-user-id or set-group-id: {', '.join(risen[:4])}", f"/{risen[0]}", "chmod a-s"))
    loose = sorted(p for p, e in seen.items() if e.kind in ("file", "directory") and e.mode & 0o002 and not e.mode & 0o1000)
    own = sorted(p for p, e in seen.items() if e.kind == "file" and expected.get("uid") and e.uid == int(expected["uid"]))
    if loose or own:
        paths = (loose or own)[:4]
        out.append(finding("contents", "error", f"its user can change {', '.join(paths)}", f"/{paths[0]}", "chown 0:0, chmod go-w"))
    return out


# --- output of the scanners ------------------------------------------------------------------------------------------------------


def not_verified(check: str, why: str, advice: str = "") -> Findings:
    return [finding(check, "not verified", why, "", advice)]


def hadolint(output: str, dockerfile: str) -> Findings:
    """hadolint -f json."""
    return [
        finding("hadolint", "error", f"{item['code']}: {item['message']}", f"{dockerfile}:{item['line']}", "correct the line")
        for item in json.loads(output or "[]")
    ]  # fmt: skip


def structure(output: str) -> Findings:
    """container-structure-test test --output json."""
    result = json.loads(output)
    if not result.get("Total"):
        return not_verified("structure", "container-structure-test ran no test")
    return [
        finding("structure", "error", f"{item['Name']}: {'; '.join(item.get('Errors') or ['failed'])}")
        for item in result["Results"]
        if not item.get("Pass")
    ]


def gitleaks(output: str, root: str) -> Findings:
    """gitleaks dir --redact --report-format json, over layers extracted to `root`."""
    out = []
    for item in json.loads(output or "[]"):
        where = item["File"].removeprefix(root).lstrip("/")
        layer, _, path = where.partition("/")
        place = f"/{path}:{item['StartLine']}" if layer.startswith("layer-") else f"{where}:{item['StartLine']}"
        name = re.split(r"[\"'=:\s]", item.get("Match") or "")[0][:60]
        message = f"{item['RuleID']}{f' ({name})' if name and name != 'REDACTED' else ''} in {layer}"
        if package := PACKAGE.search(path):
            out.append(finding("secrets", "warning", f"{message}, shipped by the package {package[1]}", place,
                               "it is everybody's, unless the package is your own"))  # fmt: skip
            continue
        out.append(finding("secrets", "error", message, place, "give it as a build secret or at run time, and have it replaced"))
    return out


def sbom(document: str, packages: int) -> Findings:
    """A CycloneDX document against the number of Debian packages that the image records."""
    parts = json.loads(document).get("components") or []
    if not parts:
        advice = "keep /var/lib/dpkg/status.d and the packages' metadata in the image"
        return [finding("sbom", "error", "the bill of materials is empty", "", advice)]
    debian = [part for part in parts if str(part.get("purl", "")).startswith("pkg:deb/")]
    if len(debian) < packages:
        message = f"it names {len(debian)} of {packages} Debian packages"
        return [finding("sbom", "error", message, "", "keep /var/lib/dpkg/status.d in the image")]
    return []


def dpkg_status(texts: dict[str, str]) -> str:
    """One status file of apt's from the records of an image: its status, or a file for each package."""
    parts = []
    for path, text in sorted(texts.items()):
        if path.endswith(".md5sums"):
            continue
        for paragraph in re.split(r"\n\s*\n", text):
            if "Package:" in paragraph and "Version:" in paragraph:
                parts.append(paragraph.strip() + ("" if "\nStatus:" in paragraph else "\nStatus: install ok installed"))
    return "\n\n".join(parts) + "\n" if parts else ""


def debian(policy: str) -> Findings:
    """`apt-cache policy` of the packages in an image, against lists that were fetched for it."""
    out, fetched = [], 0
    for match in re.finditer(r"^(\S+):\n  Installed: (\S+)\n  Candidate: (\S+)\n((?:  .*\n| \*\*\*.*\n?)*)", policy, re.M):
        name, installed, candidate, table = match.groups()
        fetched += "http" in table
        if candidate in (installed, "(none)"):
            continue
        section = table.partition(candidate + " ")[2].partition("\n     ")[0] + table
        security = bool(re.search(r"security", section.split("\n     " + installed)[0]))
        out.append(finding("debian", "error" if security else "warning",
                           f"{name} {installed}: {candidate} is out{', a security update' if security else ''}", "/var/lib/dpkg/status.d",
                           "build again on a new base image"))  # fmt: skip
    return (
        out
        if fetched
        else not_verified(
            "debian", "no package list was fetched: outstanding updates cannot be listed", "give the builder a way to Debian's mirror"
        )
    )


def retire(output: str, root: str) -> Findings:
    """retire --outputformat json."""
    out = []
    for file in json.loads(output or "{}").get("data") or []:
        _, _, path = file["file"].removeprefix(root).lstrip("/").partition("/")
        for result in file["results"]:
            worst = sorted(
                (v.get("severity", "medium") for v in result.get("vulnerabilities") or []), key=["low", "medium", "high", "critical"].index
            )
            if not worst:
                continue
            ids = [i for v in result["vulnerabilities"] for i in (v["identifiers"].get("CVE") or [v["identifiers"].get("githubID", "")])]
            fixed = [v["below"] for v in result["vulnerabilities"] if v.get("below")]
            out.append(finding("javascript", "error" if worst[-1] in ("high", "critical") else "warning",
                               f"{result['component']} {result['version']} ({worst[-1]}): {', '.join(filter(None, ids))}", f"/{path}",
                               f"use {result['component']} {fixed[-1]} or newer" if fixed else "replace it"))  # fmt: skip
    return out


# --- the verdict ---------------------------------------------------------------------------------------------------------------


def verdict(check: str, findings: Iterable[dict[str, Any]], evidence: str = "", seconds: float = 0.0) -> dict[str, Any]:
    """One criterion: fail with an open error, not verified without data, warning, else pass."""
    own = [item for item in findings if item["check"] == check]
    opened = [item["severity"] for item in own if not item.get("accepted")]
    status = "fail" if "error" in opened else "not verified" if "not verified" in opened else "warning" if "warning" in opened else "pass"
    messages = [f"{item['where']}: {item['message']}".lstrip(": ") for item in own if not item.get("accepted")]
    accepted = sum(1 for item in own if item.get("accepted"))
    words = "; ".join(messages[:3]) + (f"; and {len(messages) - 3} more" if len(messages) > 3 else "") or evidence
    return {
        "id": check,
        "title": TITLES[check],
        "status": status,
        "evidence": words + (f" ({accepted} accepted)" if accepted else ""),
        "seconds": round(seconds, 2),
    }


CONFIGURATION: dict[str, Callable[[dict[str, Any], Image], Findings]] = {
    "user": user,
    "entrypoint": entrypoint,
    "health": health,
    "port": port,
    "labels": labels,
}
