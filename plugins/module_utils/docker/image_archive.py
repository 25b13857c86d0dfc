"""Read a `docker save` archive: the layers of an image, their files, and the bytes that no container sees.

Supports the OCI layout (https://github.com/opencontainers/image-spec/blob/main/image-layout.md) and Docker's older one.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass
class Entry:
    """One entry of a layer; size in bytes."""

    path: str
    size: int
    mode: int
    uid: int
    kind: str  # file, directory, link, other


@dataclass
class Layer:
    name: str
    entries: list[Entry]

    @property
    def size(self) -> int:
        return sum(entry.size for entry in self.entries)


class ImageArchive:
    """An image in a tar file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with tarfile.open(self.path) as archive:
            manifest = json.loads(self._read(archive, "manifest.json"))[0]
            self.config: dict[str, Any] = json.loads(self._read(archive, manifest["Config"]))
            self._names: list[str] = manifest["Layers"]
            self.layers = [Layer(name, list(self._entries(archive, name))) for name in self._names]

    @staticmethod
    def _read(archive: tarfile.TarFile, name: str) -> bytes:
        member = archive.extractfile(name)
        if member is None:
            raise ValueError(f"{name} is not a file")
        return member.read()

    @staticmethod
    def _entries(archive: tarfile.TarFile, name: str) -> Iterator[Entry]:
        with tarfile.open(fileobj=archive.extractfile(name)) as layer:
            for member in layer:
                kind = (
                    "file" if member.isreg() else "directory" if member.isdir() else "link" if member.issym() or member.islnk() else "other"
                )
                size = member.size if member.isreg() else 0
                yield Entry(os.path.normpath(member.name).lstrip("/"), size, member.mode, member.uid, kind)

    def visible(self) -> dict[str, Entry]:
        """The files that a container sees, by path."""
        return overlay(self.layers)[0]

    def wasted(self) -> dict[str, int]:
        """Bytes by path in a layer that a later one replaces or removes."""
        return overlay(self.layers)[1]

    def extract(self, target: Path, small: int = 5_000_000) -> None:
        """Write the regular files of all layers below `small` bytes to target/layer-N/PATH, and the configuration to target/config.json.

        The content of an image is not trusted: no links, owners or modes, and no path outside `target`.
        """
        with tarfile.open(self.path) as archive:
            for number, name in enumerate(self._names):
                with tarfile.open(fileobj=archive.extractfile(name)) as layer:
                    for member in layer:
                        parts = [part for part in member.name.split("/") if part not in ("", ".")]
                        if not member.isreg() or member.size > small or ".." in parts:
                            continue
                        file, content = target.joinpath(f"layer-{number}", *parts), layer.extractfile(member)
                        file.parent.mkdir(parents=True, exist_ok=True)
                        if content:
                            with file.open("wb") as out:
                                shutil.copyfileobj(content, out)
        (target / "config.json").write_text(json.dumps(self.config, indent=1))

    def texts(self, *prefixes: str) -> dict[str, str]:
        """The last text of each file below one of `prefixes`, by path."""
        found: dict[str, str] = {}
        with tarfile.open(self.path) as archive:
            for name in self._names:
                with tarfile.open(fileobj=archive.extractfile(name)) as layer:
                    for member in layer:
                        path = os.path.normpath(member.name).lstrip("/")
                        if member.isreg() and path.startswith(prefixes) and (content := layer.extractfile(member)):
                            found[path] = content.read().decode(errors="replace")
        return found


def overlay(layers: list[Layer]) -> tuple[dict[str, Entry], dict[str, int]]:
    """(visible entries by path, wasted bytes by path) of layers on top of each other."""
    seen: dict[str, Entry] = {}
    wasted: dict[str, int] = {}

    def lose(path: str) -> None:
        entry = seen.pop(path, None)
        if entry and entry.size:
            wasted[path] = wasted.get(path, 0) + entry.size

    for layer in layers:
        for entry in layer.entries:
            folder, _, name = entry.path.rpartition("/")
            if name == OPAQUE:
                for path in [p for p in seen if p.startswith(folder + "/")]:
                    lose(path)
        for entry in layer.entries:
            folder, _, name = entry.path.rpartition("/")
            if name == OPAQUE:
                continue
            if name.startswith(WHITEOUT):
                gone = f"{folder}/{name[len(WHITEOUT) :]}".lstrip("/")
                for path in [p for p in seen if p == gone or p.startswith(gone + "/")]:
                    lose(path)
                continue
            if entry.kind != "directory" or (entry.path in seen and seen[entry.path].kind != "directory"):
                lose(entry.path)
            seen[entry.path] = entry
    return seen, wasted
