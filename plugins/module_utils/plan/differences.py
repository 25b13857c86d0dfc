"""What differs between what was recorded and what is there now, as structures; sentences are made of them at the very end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

# Components: what of a stack a difference concerns.
HOST, SECRETS, INFRASTRUCTURE, RELEASE, EDGE = "host", "secrets", "infrastructure", "release", "edge"
SOURCES, PROJECT = "sources", "project"  # PROJECT: Berth itself, and settings of which it is not known what they concern
IMAGE_BACKEND, IMAGE_FRONTEND, IMAGE_INFRASTRUCTURE = "image.backend", "image.frontend", "image.infrastructure"
COMPONENTS = (HOST, SECRETS, INFRASTRUCTURE, IMAGE_BACKEND, IMAGE_FRONTEND, IMAGE_INFRASTRUCTURE, RELEASE, EDGE, SOURCES, PROJECT)

CHANGED, GONE, NEW, UNHEALTHY, EXPIRED = "changed", "gone", "new", "unhealthy", "expired"
SENTENCES = {CHANGED: "differs", GONE: "is gone", NEW: "is new", UNHEALTHY: "is unhealthy", EXPIRED: "has expired"}
# How a sentence calls objects that are not called by their kind and name.
CALLED = {
    "source": "source of {}",
    "commit": "commit of {}",
    "answer": "answer of {}",
    "revision": "revision of the database",
    "current": "current release",
    "manifest": "manifest of the current release",
    "version": "version asked for",
    "record": "record of the last run",
    "engine": "{}",
}


class Item(NamedTuple):
    """One thing that is compared: of a component, what it is (setting, container, file, ...), and its name."""

    component: str
    object: str
    name: str


Hashes = dict[Item, str]


@dataclass(frozen=True)
class Difference:
    """`kind` is changed, gone, new, unhealthy or expired; the rest is the item's."""

    component: str
    kind: str
    object: str
    name: str = ""

    def sentence(self) -> str:
        return f"{CALLED.get(self.object, self.object + ' {}').format(self.name)} {SENTENCES[self.kind]}"


def compare(before: Hashes, after: Hashes) -> list[Difference]:
    """What is gone, new, and not the same."""
    gone = [Difference(item.component, GONE, item.object, item.name) for item in before if item not in after]
    new = [Difference(item.component, NEW, item.object, item.name) for item in after if item not in before]
    unlike = [item for item, value in after.items() if before.get(item, value) != value]
    return gone + new + [Difference(item.component, CHANGED, item.object, item.name) for item in unlike]


def rows(hashes: Hashes) -> list[list[str]]:
    """As JSON keeps them: [component, object, name, hash]."""
    return [[*item, value] for item, value in hashes.items()]


def hashes(kept: Iterable[list[str]]) -> Hashes:
    """The opposite of rows()."""
    return {Item(component, what, name): value for component, what, name, value in kept}


def as_dicts(found: Iterable[Difference]) -> list[dict[str, Any]]:
    return [asdict(one) for one in found]


def summary(found: list[Difference], most: int = 8) -> str:
    """Sentences for people, the first `most` of them."""
    more = [f"and {len(found) - most} more"] if len(found) > most else []
    return "; ".join([one.sentence() for one in found[:most]] + more)
