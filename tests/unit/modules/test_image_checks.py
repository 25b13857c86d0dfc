"""Each check of an image has a case in which it fails, and one in which it does not."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from ansible_collections.berth.stack.plugins.filter.image_report import image_report_failures, image_report_lines
from ansible_collections.berth.stack.plugins.module_utils.docker.image_archive import Entry, ImageArchive, Layer, overlay
from ansible_collections.berth.stack.plugins.module_utils.verify import image_evaluation as rate
from ansible_collections.berth.stack.plugins.modules.image_checks import structure_config

WANTED = {"service": "frontend", "role": "frontend_image", "ports": [3000], "entrypoint": "dumb-init", "variant": "scratch", "budget": 90,
          "budget_variable": "image_checks_frontend_budget", "uid": 65533}  # fmt: skip
GOOD = {
    "User": "65533:65533",
    "Entrypoint": ["dumb-init", "node"],
    "Cmd": ["server.js"],
    "Healthcheck": {"Test": ["CMD", "healthcheck"]},
    "ExposedPorts": {"3000/tcp": {}},
    "Labels": dict.fromkeys(
        ["berth.stack", "berth.service", "berth.version", *(f"org.opencontainers.image.{k}" for k in ("title", "version", "created"))], "x"
    ),
}


@pytest.mark.parametrize("check", rate.CONFIGURATION)
def test_a_good_configuration_passes(check):
    assert rate.CONFIGURATION[check](GOOD, WANTED) == []


@pytest.mark.parametrize(
    ("check", "change", "severity", "words"),
    [
        ("user", {"User": ""}, "error", "runs as root"),
        ("user", {"User": "0:0"}, "error", "runs as root"),
        ("user", {"User": "node"}, "warning", "is a name"),
        ("entrypoint", {"Entrypoint": None, "Cmd": None}, "error", "neither ENTRYPOINT nor CMD"),
        ("entrypoint", {"Entrypoint": ["node"]}, "error", "Node.js as process 1"),
        ("entrypoint", {"Entrypoint": ["/bin/sh", "-c", "node server.js"], "Cmd": None}, "error", "a shell is its first process"),
        ("entrypoint", {"Entrypoint": ["tini", "server"]}, "error", "its first process is tini, not dumb-init"),
        ("health", {"Healthcheck": None}, "error", "no HEALTHCHECK"),
        ("health", {"Healthcheck": {"Test": ["NONE"]}}, "error", "no HEALTHCHECK"),
        ("health", {"Healthcheck": {"Test": ["CMD-SHELL", "curl localhost || true"]}}, "error", "cannot fail"),
        ("port", {"ExposedPorts": {}}, "error", "it exposes no port, not 3000"),
        ("port", {"ExposedPorts": {"3000/tcp": {}, "22/tcp": {}}}, "warning", "more than its own"),
        ("labels", {"Labels": {}}, "warning", "it has no berth.stack"),
    ],
)
def test_configurations_that_fail(check, change, severity, words):
    findings = rate.CONFIGURATION[check](GOOD | change, WANTED)
    assert [item["severity"] for item in findings] == [severity]
    assert words in findings[0]["message"]


def test_size_against_the_budget():
    assert rate.size(90_000_000, WANTED) == []
    found = rate.size(91_500_000, WANTED)
    assert "91.5 MB, the budget is 90 MB" in found[0]["message"]
    assert found[0]["advice"].startswith("image_checks_frontend_budget")


def test_an_image_over_its_budget_names_the_packages_that_cost_most():
    sizes = {"torch": 750_400_000, "scipy": 90_000_000, "six": 30_000}
    found = rate.size(900_000_000, WANTED | {"budget": 200}, sizes)
    assert (
        found[0]["message"] == "900.0 MB, the budget is 200 MB; largest packages: torch 750 MB, scipy 90 MB; runtime and application 60 MB"
    )


@pytest.mark.parametrize(("framework", "over"), [("16.4.6", False), ("15.5.9", True), ("", True)])
def test_the_budget_of_a_release_of_the_framework(framework, over):
    image = WANTED | {"budget": {"default": 100, "16": 135}}
    assert bool(rate.size(120_000_000, image, {}, framework)) == over


def entry(path, size=10, mode=0o644, uid=0, kind="file"):
    return Entry(path, size, mode, uid, kind)


def test_bytes_that_later_layers_replace_or_remove_are_wasted():
    layers = [
        Layer("1", [entry("a/big", 5_000_000), entry("a/kept", 7), entry("b/one", 100), entry("b/two", 200)]),
        Layer("2", [entry("a/big", 3), entry("b/.wh..wh..opq", 0), entry("b/one", 1)]),
        Layer("3", [entry("a/.wh.kept", 0)]),
    ]
    seen, wasted = overlay(layers)
    assert wasted == {"a/big": 5_000_000, "b/one": 100, "b/two": 200, "a/kept": 7}
    assert set(seen) == {"a/big", "b/one"}
    assert "5.0 MB lie in layers" in rate.efficiency(5_000_311, wasted, 1_000_000)[0]["message"]
    assert rate.efficiency(5_000_311, wasted, 6_000_000) == []


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([entry("usr/bin/dash"), entry("bin/sh", kind="link")], "it holds a shell"),
        ([entry("usr/bin/apt-get")], "a package manager or compiler"),
        ([entry("usr/bin/su", mode=0o4755)], "set-user-id"),
        ([entry("app/server.js", uid=65533)], "its user can change app/server.js"),
        ([entry("app/cache", mode=0o777, kind="directory")], "its user can change app/cache"),
    ],
)
def test_contents_that_fail(files, words):
    found = rate.contents({f.path: f for f in files}, WANTED)
    assert [words in item["message"] for item in found] == [True]


def test_contents_that_are_as_they_should_be():
    files = [entry("usr/bin/node", mode=0o755), entry("tmp", mode=0o1777, kind="directory"), entry("app/server.js")]
    assert rate.contents({f.path: f for f in files}, WANTED) == []
    shell = {"bin/sh": entry("bin/sh", kind="link")}
    assert rate.contents(shell, WANTED | {"variant": "slim"}) == []


def test_what_hadolint_says():
    output = '[{"code":"DL3007","column":1,"file":"Dockerfile","level":"warning","line":1,"message":"Using latest is prone to errors"}]'
    found = rate.hadolint(output, "roles/x/files/Dockerfile")
    assert found[0]["where"] == "roles/x/files/Dockerfile:1"
    assert "DL3007" in found[0]["message"]
    assert rate.hadolint("[]", "x") == []


def test_what_container_structure_test_says():
    output = {"Pass": 1, "Fail": 1, "Total": 2, "Results": [{"Name": "Metadata Test", "Pass": True},
            {"Name": "no /bin/sh", "Pass": False, "Errors": ["File /bin/sh should not exist but does"]}]}  # fmt: skip
    assert [f["message"] for f in rate.structure(json.dumps(output))] == ["no /bin/sh: File /bin/sh should not exist but does"]
    assert rate.structure('{"Total": 0, "Results": []}')[0]["severity"] == "not verified"


def test_container_structure_test_is_asked_for_the_shape():
    config = structure_config(WANTED)
    assert {"name": "no /bin/sh", "path": "/bin/sh", "shouldExist": False} in config["fileExistenceTests"]
    assert config["metadataTest"]["exposedPorts"] == ["3000"]
    assert not [t for t in structure_config(WANTED | {"variant": "slim"})["fileExistenceTests"] if t["path"] == "/bin/sh"]


def test_what_gitleaks_says():
    output = json.dumps([{"RuleID": "aws", "File": "/tmp/x/layer-1/app/a.env", "StartLine": 3, "Match": 'KEY="REDACTED"'},
                       {"RuleID": "generic", "File": "/tmp/x/config.json", "StartLine": 9, "Match": "REDACTED"}])  # fmt: skip
    found = rate.gitleaks(output, "/tmp/x")
    assert [(f["where"], f["message"]) for f in found] == [
        ("/app/a.env:3", "aws (KEY) in layer-1"),
        ("config.json:9", "generic in config.json"),
    ]
    assert rate.gitleaks("[]", "/tmp/x") == []


def test_a_test_key_of_a_package_is_told_and_does_not_fail():
    file = "/tmp/x/layer-2/opt/venv/lib/python3.11/site-packages/tornado/test/test.key"
    (found,) = rate.gitleaks(json.dumps([{"RuleID": "private-key", "File": file, "StartLine": 1, "Match": "REDACTED"}]), "/tmp/x")
    assert (found["severity"], found["message"]) == ("warning", "private-key in layer-2, shipped by the package tornado")
    assert rate.verdict("secrets", [found])["status"] == "warning"


def test_a_bill_of_materials_names_what_the_image_records():
    bill = json.dumps({"components": [{"name": "libc6", "purl": "pkg:deb/debian/libc6@2.36"}]})
    assert rate.sbom(bill, 1) == []
    assert "names 1 of 2" in rate.sbom(bill, 2)[0]["message"]
    assert "is empty" in rate.sbom("{}", 0)[0]["message"]


POLICY = """libc6:
  Installed: 2.36-9+deb12u10
  Candidate: 2.36-9+deb12u14
  Version table:
     2.36-9+deb12u14 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
 *** 2.36-9+deb12u10 100
        100 /s
libssl3:
  Installed: 3.0.1
  Candidate: 3.0.2
  Version table:
     3.0.2 500
        500 http://security.debian.org/debian-security bookworm-security/main amd64 Packages
 *** 3.0.1 100
        100 /s
zlib1g:
  Installed: 1:1.2
  Candidate: 1:1.2
  Version table:
 *** 1:1.2 500
        500 http://deb.debian.org/debian bookworm/main amd64 Packages
        100 /s
"""


def test_outstanding_updates_are_reported_and_security_ones_fail():
    found = rate.debian(POLICY)
    assert [(f["severity"], f["message"].split()[0]) for f in found] == [("warning", "libc6"), ("error", "libssl3")]
    current = POLICY.replace("deb12u10", "deb12u14").replace("3.0.1", "3.0.2")
    assert rate.debian(current) == []


def test_without_package_lists_updates_are_not_verified():
    alone = "libc6:\n  Installed: 2.36\n  Candidate: 2.36\n  Version table:\n *** 2.36 100\n        100 /s\n"
    assert [f["severity"] for f in rate.debian(alone)] == ["not verified"]
    assert [f["severity"] for f in rate.debian("")] == ["not verified"]


def test_the_records_of_an_image_become_one_status_file():
    status = rate.dpkg_status({"var/lib/dpkg/status.d/b": "Package: b\nVersion: 1", "var/lib/dpkg/status.d/a": "Package: "
"a\nStatus: install ok installed\n"
                                "Version: 2\n", "var/lib/dpkg/status.d/a.md5sums": "Package: x"})  # fmt: skip
    assert status.count("Package: ") == 2
    assert status.count("Status: install ok installed") == 2
    assert rate.dpkg_status({}) == ""


def test_what_retire_says():
    output = {"data": [{"file": "/t/layer-1/app/jquery.js", "results": [{"component": "jquery", "version": "1.8.1", "vulnerabilities": [
        {"severity": "high", "below": "1.9.0", "identifiers": {"CVE": ["CVE-2012-1"]}},
        {"severity": "low", "below": "3.5.0", "identifiers": {"githubID": "GHSA-1"}}]}]}]}  # fmt: skip
    found = rate.retire(json.dumps(output), "/t")
    assert found[0]["severity"] == "error"
    assert found[0]["where"] == "/app/jquery.js"
    assert "CVE-2012-1, GHSA-1" in found[0]["message"]
    assert rate.retire('{"data": []}', "/t") == []


@pytest.fixture
def archive(tmp_path) -> Path:
    """An image of two layers, as docker save writes it."""

    def layer(**files: str) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, text in files.items():
                member = tarfile.TarInfo(name.replace("__", "/"))
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))
        return out.getvalue()

    config = {"config": GOOD, "history": []}
    parts = {"c.json": json.dumps(config).encode(), "1.tar": layer(etc__key="old secret", var__lib__dpkg__status="Package: "
"a\nVersion: 1\n"),
             "2.tar": layer(etc__key="new")}  # fmt: skip
    parts["manifest.json"] = json.dumps([{"Config": "c.json", "Layers": ["1.tar", "2.tar"], "RepoTags": []}]).encode()
    path = tmp_path / "image.tar"
    with tarfile.open(path, "w") as tar:
        for name, data in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def test_an_archive_is_read_layer_by_layer(archive, tmp_path):
    image = ImageArchive(archive)
    assert image.config["config"] == GOOD
    assert image.wasted() == {"etc/key": len("old secret")}
    assert image.texts("var/lib/dpkg/status") == {"var/lib/dpkg/status": "Package: a\nVersion: 1\n"}
    image.extract(tmp_path / "out" if (tmp_path / "out").mkdir() is None else tmp_path)
    # What a later layer replaced is still in the image, so the scanners see it.
    assert (tmp_path / "out/layer-0/etc/key").read_text() == "old secret"
    assert (tmp_path / "out/layer-1/etc/key").read_text() == "new"
    assert json.loads((tmp_path / "out/config.json").read_text())["config"] == GOOD


def test_every_check_has_a_title_and_not_verified_is_not_a_pass():
    for check in rate.TITLES:
        assert rate.verdict(check, [])["status"] == "pass"
        assert rate.verdict(check, rate.not_verified(check, "no data"))["status"] == "not verified"
    failed = [{"check": "size", "severity": "error", "where": "", "message": "m", "advice": "set x"}]
    assert rate.verdict("size", failed)["status"] == "fail"
    accepted = rate.verdict("size", [failed[0] | {"accepted": "because"}], "90 MB")
    assert (accepted["status"], accepted["evidence"]) == ("pass", "90 MB (1 accepted)")


def test_the_report_for_a_person_and_what_fails():
    findings = [*rate.size(99_000_000, WANTED), *rate.not_verified("debian", "no list")]
    report = {"service": "frontend", "image": "x:1", "size": 99_000_000, "layers": [1, 2], "findings": findings,
              "criteria": [rate.verdict(check, findings) for check in ("size", "debian", "user")]}  # fmt: skip
    lines = image_report_lines([report])
    assert lines[0] == "x:1  99.0 MB, 2 layers: 1 fail, 1 not verified, 1 pass"
    assert lines[1].startswith("  fail         size")
    assert len(image_report_failures([report])) == 1
    assert image_report_failures([report])[0].endswith("-> image_checks_frontend_budget, or make it smaller: make advise")
    assert len(image_report_failures([report], strict=True)) == 2
