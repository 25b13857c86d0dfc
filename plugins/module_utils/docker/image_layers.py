"""Archives of images with only the layers that a host lacks.

An engine stores a layer by its chain id, the digest over it and all layers below it
(https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid). `docker load` reads only layers with an unknown chain
id from an archive, so the others may be missing in it.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from typing import IO, Any


def chain_ids(layers: list[str]) -> list[str]:
    """The chain id of each layer, from the digests of an image's layers, lowest first."""
    result: list[str] = []
    for digest in layers:
        result.append(digest if not result else "sha256:" + hashlib.sha256(f"{result[-1]} {digest}".encode()).hexdigest())
    return result


def content_hash(image: dict[str, Any]) -> str:
    """Hash over an inspected image's layers and configuration."""
    identity = [image["RootFS"].get("Layers"), image["Config"], image["Os"], image["Architecture"]]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def skippable_layers(images: list[dict[str, Any]], held: set[str]) -> set[str]:
    """Digests of the layers that an archive of `images` (inspected) need not contain for a host with the chain ids `held`.

    The same layer on other layers has another chain id: it is skipped only where the host has all of them.
    """
    present: set[str] = set()
    missing: set[str] = set()
    for image in images:
        layers = image["RootFS"].get("Layers") or []
        for digest, chain in zip(layers, chain_ids(layers), strict=True):
            (present if chain in held else missing).add(digest)
    return present - missing


def repack(source: IO[bytes], target: IO[bytes], without: set[str]) -> tuple[int, int]:
    """Copy a `docker save` stream to `target` without some layers; (bytes of layers copied, bytes of layers skipped)."""
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
