"""Which containers and image names of a stack Berth created; no others are drained, removed or counted.

Containers inherit the labels of their image, so `berth.stack` and `berth.service` do not prove that Berth created one. A container that
Berth creates has its own name in a label too: no image has that label, and a copy of the container (docker commit) has another name.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from .client import Engine, image_names

# Label with the name under which Berth created the container.
CREATED = "berth.container"
# Label of a service that an operator declares (stack_services) beside those of every stack.
DECLARED = "berth.declared"
# A draining container is renamed to NAME-draining-ID.
DRAINING = "-draining-"


def is_owned(name: str, labels: dict[str, str], recorded: Collection[str] = ()) -> bool:
    """Whether Berth created the container `name` with these labels.

    `recorded`: recorded names (Store.containers), which identify containers of an older Berth without the label.
    """
    origin = name.partition(DRAINING)[0]
    stack, service, version = (labels.get(f"berth.{key}", "") for key in ("stack", "service", "version"))
    if task := labels.get("com.docker.swarm.service.name"):
        # The engine creates the tasks of a service and derives their names from its name.
        return task == f"{stack}-{service}" and name.startswith(f"{task}.")
    if CREATED in labels:
        return labels[CREATED] == origin
    return origin in recorded or origin == f"{stack}-{service}-{version}"


def listed_name(listed: dict[str, Any]) -> str:
    """The name of a container as the engine lists it."""
    return str(listed["Names"][0]).lstrip("/")


def stack_containers(engine: Engine, labels: dict[str, str], recorded: Collection[str] = ()) -> list[dict[str, Any]]:
    """The containers with `labels`, as the engine lists them, that Berth created. Labels that no image has need no further check."""
    listed = engine.listing("containers", labels)
    return [one for one in listed if "berth.stack" not in labels or is_owned(listed_name(one), one["Labels"] or {}, recorded)]


def foreign_containers(engine: Engine, labels: dict[str, str], recorded: Collection[str] = ()) -> list[str]:
    """Names of the containers with `labels` that Berth did not create."""
    own = {listed_name(one) for one in stack_containers(engine, labels, recorded)}
    return sorted({listed_name(one) for one in engine.listing("containers", labels)} - own)


def _repository(name: str) -> str:
    """The repository of `repository:tag` or `repository@digest`; a registry's port is not a tag."""
    head = name.partition("@")[0]
    return head if ":" not in head.rpartition("/")[2] else head.rpartition(":")[0]


def shared_images(images: Collection[dict[str, Any]], stack: str, registry: str = "") -> list[dict[str, Any]]:
    """The base images among the listed `images`, if no other stack than `stack` has an image on the engine.

    Stacks share base images, whose label `berth.stack` is empty. Final images start from scratch, so no layer shows which base image a
    stack needs. Images without a name by Berth are not counted: they inherited their labels.
    """
    others = {image["Labels"]["berth.stack"] for image in images if own_names(image, registry=registry)} - {"", stack}
    return [] if others else [one for one in images if one["Labels"]["berth.stack"] == "" and one["Labels"].get("berth.service") == "base"]


def own_names(image: dict[str, Any], keep: Collection[str] = (), given: Collection[str] = (), registry: str = "") -> list[str]:
    """The names that Berth gave an image (listed or inspected), except those to `keep`.

    They are in `given` (the references of manifests) or in the repository of the image's labels, here or in `registry`. Tags by anybody
    else are not included; the digests that it was pulled by are.
    """
    labels = image.get("Labels") or (image.get("Config") or {}).get("Labels") or {}
    repositories = {labels.get("org.opencontainers.image.title", ""), f"{labels.get('berth.stack', '')}-{labels.get('berth.service', '')}"}
    if labels.get("berth.service") == "base":
        repositories |= {f"{repository}-root" for repository in repositories}
    # Digests are written by the engine, never by hand.
    digests = {name for name in image.get("RepoDigests") or [] if _repository(name).rpartition("/")[2] in repositories}
    placed = repositories | {f"{registry}/{repository}" for repository in repositories if registry}
    return [name for name in image_names(image, set(keep)) if name in digests or name in given or _repository(name) in placed]
