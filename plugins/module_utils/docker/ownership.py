"""Which containers and image names of a stack Berth created; nothing else is drained, removed or counted.

A container inherits the labels of its image, so that `berth.stack` and `berth.service` are on whatever somebody runs from one. What Berth
creates carries its own name as a label besides: no image has it, and on a copy of the container (docker commit) the name is another.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from .client import Engine, image_names

# Given at creation, and to no image: the name under which Berth created the container.
CREATED = "berth.container"
# What a container that is being drained is renamed to: NAME-draining-ID.
DRAINING = "-draining-"


def is_owned(name: str, labels: dict[str, str], known: Collection[str] = ()) -> bool:
    """Whether Berth created the container `name` with these labels.

    `known`: names that the host remembers (Store.containers), by which containers of a Berth that gave no label are recognised.
    """
    origin = name.partition(DRAINING)[0]
    stack, service, version = (labels.get(f"berth.{key}", "") for key in ("stack", "service", "version"))
    if task := labels.get("com.docker.swarm.service.name"):
        # The engine creates the tasks of a service, and names them after it.
        return task == f"{stack}-{service}" and name.startswith(f"{task}.")
    if CREATED in labels:
        return labels[CREATED] == origin
    return origin in known or origin == f"{stack}-{service}-{version}"


def listed_name(listed: dict[str, Any]) -> str:
    """The name of a container as the engine lists it."""
    return listed["Names"][0].lstrip("/")


def stack_containers(engine: Engine, labels: dict[str, str], known: Collection[str] = ()) -> list[dict[str, Any]]:
    """The containers with `labels`, as the engine lists them, that Berth created. Labels that no image has need no second look."""
    listed = engine.listing("containers", labels)
    return [one for one in listed if "berth.stack" not in labels or is_owned(listed_name(one), one["Labels"] or {}, known)]


def foreign_containers(engine: Engine, labels: dict[str, str], known: Collection[str] = ()) -> list[str]:
    """Names of the containers that have `labels` from their image, and that Berth did not create."""
    own = {listed_name(one) for one in stack_containers(engine, labels, known)}
    return sorted({listed_name(one) for one in engine.listing("containers", labels)} - own)


def _repository(name: str) -> str:
    """The repository of `repository:tag` or `repository@digest`; a registry's port is no tag."""
    head = name.partition("@")[0]
    return head if ":" not in head.rpartition("/")[2] else head.rpartition(":")[0]


def shared_images(images: Collection[dict[str, Any]], stack: str, registry: str = "") -> list[dict[str, Any]]:
    """Of the listed `images`, base images that stacks share, if no other stack than `stack` has an image on the engine.

    A base image is of no stack: its label `berth.stack` is empty. Final images start from scratch, so that no layer tells which stack needs
    it. An image without a name that Berth gave it is somebody's own, and inherited its labels.
    """
    others = {image["Labels"]["berth.stack"] for image in images if own_names(image, registry=registry)} - {"", stack}
    return [] if others else [one for one in images if one["Labels"]["berth.stack"] == "" and one["Labels"].get("berth.service") == "base"]


def own_names(image: dict[str, Any], stay: Collection[str] = (), given: Collection[str] = (), registry: str = "") -> list[str]:
    """The names that Berth gave an image, listed or inspected, but for those that `stay`.

    They are in `given`, the references of manifests, or in the repository that the image is labelled with, here or in `registry`, where it
    is pushed to. Tags that somebody else gave it are not among them; what it was pulled as is.
    """
    labels = image.get("Labels") or (image.get("Config") or {}).get("Labels") or {}
    repositories = {labels.get("org.opencontainers.image.title", ""), f"{labels.get('berth.stack', '')}-{labels.get('berth.service', '')}"}
    if labels.get("berth.service") == "base":
        repositories |= {f"{repository}-root" for repository in repositories}
    # An engine's digest of a pulled image names the registry; nobody gives it by hand.
    digests = {name for name in image.get("RepoDigests") or [] if _repository(name).rpartition("/")[2] in repositories}
    placed = repositories | {f"{registry}/{repository}" for repository in repositories if registry}
    return [name for name in image_names(image, set(stay)) if name in digests or name in given or _repository(name) in placed]
