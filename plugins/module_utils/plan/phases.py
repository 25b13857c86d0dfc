"""Which phases a run needs: a pure function of what differs."""

from __future__ import annotations

from dataclasses import dataclass, field

from .differences import (
    EDGE,
    EXPIRED,
    GONE,
    HOST,
    IMAGE_BACKEND,
    IMAGE_FRONTEND,
    IMAGE_INFRASTRUCTURE,
    INFRASTRUCTURE,
    PROJECT,
    RELEASE,
    SECRETS,
    SOURCES,
    Difference,
)

# In the order in which they run. Transfer: what is released is known, fits the database, and its images are on the host.
# Certificate: the controller's copy of the edge's own authority.
PHASES = ("engine", "build", "transfer", "infrastructure", "release", "certificate")
# What the preflight looks at before anything is touched.
CHECKS = ("settings", "secrets", "engine", "sources", "ports")
IMAGES = {IMAGE_BACKEND: ("backend",), IMAGE_FRONTEND: ("frontend",), IMAGE_INFRASTRUCTURE: ("database", "edge", "model")}
APPLICATION = ("backend", "frontend")
ALL_IMAGES = ("backend", "frontend", "database", "edge", "model")

# By component and object, what a deployment needs; "" is any other object of the component. A release reconciles by itself what the host
# has recorded of networks and containers; what a release knows nothing of (secrets, data, roles of the database) is the infrastructure's.
_RELEASE, _INFRASTRUCTURE = ("release",), ("infrastructure", "release", "certificate")
_EVERYTHING = ("engine", *_INFRASTRUCTURE)
DEPLOYMENT: dict[tuple[str, str], tuple[str, ...]] = {
    (SOURCES, ""): _RELEASE,
    (RELEASE, ""): _RELEASE,
    (IMAGE_BACKEND, "image"): _RELEASE,
    (IMAGE_BACKEND, ""): _INFRASTRUCTURE,
    (IMAGE_FRONTEND, "image"): _RELEASE,
    (IMAGE_FRONTEND, ""): _INFRASTRUCTURE,
    (IMAGE_INFRASTRUCTURE, ""): _INFRASTRUCTURE,
    (EDGE, "setting"): _INFRASTRUCTURE,
    (EDGE, "copy"): ("release", "certificate"),
    (EDGE, ""): _RELEASE,
    (INFRASTRUCTURE, "container"): _RELEASE,
    (INFRASTRUCTURE, "network"): _RELEASE,
    (INFRASTRUCTURE, ""): _INFRASTRUCTURE,
    (SECRETS, ""): _INFRASTRUCTURE,
    (HOST, ""): _EVERYTHING,
    (PROJECT, ""): _EVERYTHING,
}
# Differences by which everything is looked at: there is no record, or it is too old.
FIRST, TOO_OLD = Difference(PROJECT, GONE, "record"), Difference(PROJECT, EXPIRED, "record")
NO_ENGINE = Difference(HOST, GONE, "engine", "Docker Engine")
# Components and objects that no image is made from.
NOT_BUILT = (RELEASE, SECRETS, HOST, "copy")


@dataclass(frozen=True)
class Plan:
    """`phases` and `checks` in their order, and `images`, the services whose images may have to be built; all empty: nothing to do."""

    phases: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()


@dataclass
class _Needs:
    phases: set[str] = field(default_factory=set)
    images: set[str] = field(default_factory=set)
    checks: set[str] = field(default_factory=set)

    def plan(self) -> Plan:
        return Plan(
            tuple(phase for phase in PHASES if phase in self.phases),
            tuple(image for image in ALL_IMAGES if image in self.images),
            tuple(check for check in CHECKS if check in self.checks),
        )


def choose(deployment: list[Difference] | None, build: list[Difference] | None, builder: bool) -> Plan:
    """What a run needs on one host, given what differs from its last deployment and from the last build there.

    None: the run does not deploy on this host, or builds nothing there. A deployment from which nothing differs builds nothing.
    `builder`: whether images are built on this host, whether or not this run builds.
    """
    needs = _Needs()
    if deployment is not None and not deployment:
        return needs.plan()
    for difference in deployment or []:
        _deploy(difference, needs)
    if "release" in needs.phases and ("infrastructure" in needs.phases or not builder):
        # Where they were built and a release alone is due, the deployment itself looks at its two images.
        needs.phases.add("transfer")
    for difference in build or []:
        if affects_images(difference):
            _build(difference, needs, deployment is not None)
    return needs.plan()


def affects_images(difference: Difference) -> bool:
    """Whether an image may be another one by it. The version asked for is the name of what is built."""
    if difference.object == "version" or difference == NO_ENGINE:
        return True
    return difference.component not in NOT_BUILT and difference.object not in NOT_BUILT


def _deploy(difference: Difference, needs: _Needs) -> None:
    component, what, kind = difference.component, difference.object, difference.kind
    phases = DEPLOYMENT.get((component, what)) or DEPLOYMENT[component, ""]
    if (what, kind) == ("answer", GONE):
        phases = _RELEASE  # the container that answers is gone, which is a difference of its own
    needs.phases.update(phases)
    if what in ("setting", "environment"):
        needs.checks.add("settings")
    if "infrastructure" in phases:
        needs.checks.update(("settings", "secrets", "engine", "ports"))
    if (component, what, kind) == (EDGE, "container", GONE):
        needs.checks.add("ports")  # somebody else may have them by now


def _build(difference: Difference, needs: _Needs, deploys: bool) -> None:
    needs.phases.add("build")
    if difference.component == SOURCES:
        needs.images.update(("model",) if difference.name == "model" else APPLICATION)  # one version names both
    else:
        needs.images.update(IMAGES.get(difference.component, ALL_IMAGES))
    # Where nothing but sources and images differs, settings and engine are as they were when these were built.
    if difference.component != SOURCES and difference.object != "image" and not deploys:
        needs.phases.add("engine")
        needs.checks.update(("settings", "engine"))
    if difference == NO_ENGINE:
        needs.checks.add("sources")  # before one is installed
