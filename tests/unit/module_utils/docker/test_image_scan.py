"""Secrets in what is gathered: found, named, and not repeated."""

from __future__ import annotations

import io
import tarfile

from ansible_collections.berth.stack.plugins.module_utils.docker.image_scan import hidden, hits, largest, scan, setting_hits

CANARY = b"canary-9f31c2d8e4"


def test_a_secret_is_found_by_its_value_and_by_its_form():
    assert hits(b"password=" + CANARY, [CANARY]) == ["a secret of this stack"]
    assert hits(b"-----BEGIN PRIVATE KEY-----\n" + b"MIIEvQ" * 12, [CANARY]) == ["PRIVATE KEY-----"]
    assert hits(b"nothing here", [CANARY]) == []


def test_a_setting_with_a_value_is_named_and_a_path_is_none():
    assert setting_hits("AUTH_SECRET=abcdefgh12345678") == ["AUTH_SECRET"]
    assert setting_hits("AUTH_SECRET_FILE=/run/secrets/auth_secret") == []


def test_facts_repeat_no_secret_wherever_it_stands():
    facts = {"environment": {"KEY": CANARY.decode()}, "logs": {"bad": [f"login with {CANARY.decode()}"]}, "count": 3, "none": None}
    reported = hidden(facts, [CANARY])
    assert CANARY.decode() not in repr(reported)
    assert reported["logs"]["bad"] == ["login with [a secret of this stack]"]
    assert (reported["count"], reported["none"]) == (3, None)


def saved(files: dict[str, bytes]) -> io.BytesIO:
    """A `docker save` stream of one layer."""
    layer, out = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    with tarfile.open(fileobj=out, mode="w") as archive:
        entry = tarfile.TarInfo("layer.tar")
        entry.size = len(layer.getvalue())
        archive.addfile(entry, io.BytesIO(layer.getvalue()))
    out.seek(0)
    return out


def test_a_file_named_credentials_is_one_by_what_it_holds():
    texts = {"app/messages/en/credentials.json": b'{"title": "Credentials", "save": "Save"}'}
    assert scan(saved(texts), [])["secrets"] == []
    held = {"app/credentials.json": b'{"installed": {"client_secret": "abcdefghijklmnop"}}'}
    assert [one["path"] for one in scan(saved(held), [])["secrets"]] == ["app/credentials.json"]


def test_a_package_is_weighed_by_the_name_that_it_is_installed_by():
    site = "opt/venv/lib/python3.11/site-packages"
    files = {
        f"{site}/torch/lib/a.so": b"x" * 700,
        f"{site}/torchgen/b.pyc": b"x" * 50,
        f"{site}/torch-2.9.0.dist-info/RECORD": b"torch/lib/a.so,sha256=a,1\ntorchgen/b.py,,\n../../../bin/torchrun,,\n",
        f"{site}/PIL/c.so": b"x" * 90,
        f"{site}/pillow.libs/d.so": b"x" * 30,
        f"{site}/pillow-11.0.0.dist-info/RECORD": b"PIL/c.so,,\npillow.libs/d.so,,\n",
        f"{site}/google/cloud/e.pyc": b"x" * 20,
        f"{site}/google_cloud-1.dist-info/RECORD": b"google/cloud/e.py,,\n",
        f"{site}/google_auth-1.dist-info/RECORD": b"google/auth/f.py,,\n",
        "app/node_modules/next/package.json": b'{"name": "next", "version": "16.4.6"}',
    }
    found = scan(saved(files), [])
    assert found["packages_bytes"] == {"torch": 750, "pillow": 120, "google": 20, "next": 37}
    assert found["next"] == "16.4.6"
    assert largest({"torch": 750_400_000, "scipy": 9_040_000, "six": 30_000}) == "torch 750 MB, scipy 9.0 MB"


def test_keys_that_packages_ship_are_no_secrets_of_the_stack_but_the_stacks_own_are():
    key = b"-----BEGIN PRIVATE KEY-----\n" + b"MIIEvQ" * 12
    site = "opt/venv/lib/python3.11/site-packages"
    shipped = {
        f"{site}/tornado/test/test.key": key,
        "app/node_modules/@peculiar/x/test/key.pem": key,
        f"{site}/tornado/.env": b"A=bcdefghijklm",
    }
    found = scan(saved(shipped), [])
    assert found["secrets"] == []
    assert found["packages_bytes"] == {"tornado": len(key) + 14, "@peculiar/x": len(key)}
    leaked = scan(saved({f"{site}/tornado/settings.py": b"password=" + CANARY}), [CANARY])["secrets"]
    assert [one["what"] for one in leaked] == ["a secret of this stack"]
    assert [one["path"] for one in scan(saved({"app/certs/server.key": key}), [])["secrets"]] == ["app/certs/server.key"]


def test_a_package_that_was_installed_from_the_source_is_the_applications_own():
    key = b"-----BEGIN PRIVATE KEY-----\n" + b"MIIEvQ" * 12
    site = "opt/venv/lib/python3.11/site-packages"
    own = {f"{site}/ledger/key.pem": key, f"{site}/tornado/test.key": key}
    own |= {f"{site}/ledger-1.0.dist-info/RECORD": b"ledger/key.pem,sha256=x,1\nledger-1.0.dist-info/RECORD,,\n"}
    own |= {f"{site}/ledger-1.0.dist-info/direct_url.json": b'{"dir_info": {}, "url": "file:///source"}'}
    assert [one["path"] for one in scan(saved(own), [])["secrets"]] == [f"{site}/ledger/key.pem"]
