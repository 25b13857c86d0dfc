"""Which layers a host lacks, and an archive of images with those layers and no others.

A layer is known by its chain: the digest over itself and all layers below it, because that is how an engine keeps it
(https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid). `docker load` reads from an archive only the layers
whose chain is not there, so the others may be missing in it.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import Any, BinaryIO


def chain_ids(layers: list[str]) -> list[str]:
    """The chain of each layer, from the digests of an image's layers, lowest first."""
    result: list[str] = []
    for digest in layers:
        result.append(digest if not result else "sha256:" + hashlib.sha256(f"{result[-1]} {digest}".encode()).hexdigest())
    return result


def content_hash(image: dict[str, Any]) -> str:
    """Hash over what an image is to a container, its layers and its configuration, as the engine inspects it."""
    told = [image["RootFS"].get("Layers"), image["Config"], image["Os"], image["Architecture"]]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def skippable_layers(images: list[dict[str, Any]], held: set[str]) -> set[str]:
    """Digests of the layers that an archive of `images` (as the engine inspects them) need not have for a host that holds `held`.

    A layer that lies on others in another image is another chain: it is left out only where all of its chains are there.
    """
    there: set[str] = set()
    lacking: set[str] = set()
    for image in images:
        layers = image["RootFS"].get("Layers") or []
        for digest, chain in zip(layers, chain_ids(layers), strict=True):
            (there if chain in held else lacking).add(digest)
    return there - lacking


def repack(source: BinaryIO, target: BinaryIO, without: set[str]) -> tuple[int, int]:
    """Copy a stream of `docker save` to `target` but for the layers `without`; (bytes of layers sent, bytes of layers left out)."""
    sent = left_out = 0
    with tarfile.open(fileobj=source, mode="r|") as archive, tarfile.open(fileobj=target, mode="w|") as packed:
        for member in archive:
            blob = member.name.removeprefix("blobs/sha256/") if member.name.startswith("blobs/sha256/") else ""
            if blob and f"sha256:{blob}" in without:
                left_out += member.size
                continue
            sent += member.size if blob else 0
            packed.addfile(member, archive.extractfile(member) if member.isreg() else None)
    return sent, left_out
