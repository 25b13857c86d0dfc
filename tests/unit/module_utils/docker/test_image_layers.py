"""Which layers an archive may leave out, and that it does."""

from __future__ import annotations

import hashlib
import io
import tarfile

from ansible_collections.berth.stack.plugins.module_utils.docker.client import image_names
from ansible_collections.berth.stack.plugins.module_utils.docker.image_layers import chain_ids, content_hash, repack, skippable_layers


def image(*layers: str) -> dict:
    return {"RootFS": {"Layers": list(layers)}, "Config": {"Env": ["A=1"]}, "Os": "linux", "Architecture": "amd64"}


def archive(blobs: dict[str, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, data in blobs.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    file.seek(0)
    return file


def test_a_chain_is_the_layer_and_all_below_it():
    lowest, upper = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert chain_ids([lowest, upper]) == [lowest, "sha256:" + hashlib.sha256(f"{lowest} {upper}".encode()).hexdigest()]
    assert chain_ids([]) == []
    assert chain_ids([lowest, upper])[1] != chain_ids([upper, lowest])[1]


def test_what_the_host_holds_is_spared():
    held = set(chain_ids(["sha256:a", "sha256:b"]))
    assert skippable_layers([image("sha256:a", "sha256:b", "sha256:c")], held) == {"sha256:a", "sha256:b"}
    assert skippable_layers([image("sha256:a")], set()) == set()


def test_a_layer_that_lies_on_others_elsewhere_is_sent():
    held = set(chain_ids(["sha256:a", "sha256:b"]))
    # b is there on a, and is needed on x too, where the host lacks it.
    assert skippable_layers([image("sha256:a", "sha256:b"), image("sha256:x", "sha256:b")], held) == {"sha256:a"}


def test_content_is_layers_and_configuration_and_not_the_name():
    assert content_hash(image("sha256:a") | {"Id": "1", "RepoTags": ["a:1"]}) == content_hash(image("sha256:a"))
    assert content_hash(image("sha256:a")) != content_hash(image("sha256:b"))


def test_repack_leaves_out_what_is_spared_and_nothing_else():
    source = archive({"blobs/sha256/aa": b"x" * 1000, "blobs/sha256/bb": b"y" * 10, "manifest.json": b"[]"})
    target = io.BytesIO()
    assert repack(source, target, {"sha256:aa"}) == (10, 1000)
    target.seek(0)
    with tarfile.open(fileobj=target) as packed:
        assert packed.getnames() == ["blobs/sha256/bb", "manifest.json"]
        assert packed.extractfile("blobs/sha256/bb").read() == b"y" * 10


def test_an_image_goes_by_all_of_its_names_unless_one_of_them_stays():
    pulled = {"RepoTags": ["x:1", "x:2"], "RepoDigests": ["r.example:5443/x@sha256:aa"]}
    assert image_names(pulled, set()) == ["r.example:5443/x@sha256:aa", "x:1", "x:2"]
    assert image_names(pulled, {"x:2"}) == ["x:1"]
    # The engine takes a digest away with the last tag of its repository.
    assert image_names({"RepoTags": ["r.example:5443/x:1"], "RepoDigests": ["r.example:5443/x@sha256:aa"]}, set()) == ["r.example:5443/x:1"]
    assert image_names({"RepoTags": None}, set()) == []
