#!/usr/bin/python
"""Tell whether a host is as the last run left it, and whether that run wanted the same."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stack_fingerprint
short_description: Tell whether a host is as the last run left it, and whether that run wanted the same
description:
  - Reads every container, network and volume of a stack, images by name, files and the answers of commands, in one run, and compares
    a hash of each with those that the last run remembered. Nothing that is wanted is evaluated, so it takes a fraction of a run.
  - What is not well is never the same, and what was changed by hand differs. A record is believed for O(hours), because certificates end.
options:
  record: {description: File of the record on the host., type: path, required: true}
  stack: {description: Name of the stack., type: str, required: true}
  wanted: {description: "What the run is made from: a hash by name. Added by the action.", type: dict, required: true}
  objects: {description: "Whether containers, networks and volumes count, or images and files alone.", type: bool, default: true}
  images: {description: "To remember: names of images whose content counts.", type: list, elements: str, default: []}
  files: {description: "Files and directories whose content, owner and mode count.", type: list, elements: path, default: []}
  probes:
    description: "Commands whose answer counts, each C(container) and C(command), and C(name), for another name of the answer."
    type: list
    elements: dict
    default: []
  released:
    description: "Patterns of differences that a release itself brings about or mends."
    type: list
    elements: str
    default: []
  time: {description: "To remember: when everything was looked at last; now, where it is 0.", type: float, default: 0}
  hours: {description: For how long a record is believed., type: int, default: 24}
  keep: {description: "To remember: what is given back as long as nothing differs.", type: dict, default: {}}
  remember: {description: Remember instead of comparing., type: bool, default: false}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Look whether anything changed
  berth.stack.stack_fingerprint:
    record: /var/lib/berth/unchanged.json
    stack: berth
    project: /srv/berth
    sources: [/srv/app/backend, /srv/app/frontend]
    files: [/var/lib/berth/secrets]
  register: __found
"""

RETURN = r"""
same: {description: Whether nothing differs., type: bool, returned: always}
around: {description: Whether nothing differs but what a release brings about or mends., type: bool, returned: always}
asked: {description: "Whether a setting or what the environment says differs, O(released) or not.", type: bool, returned: always}
time: {description: When everything was looked at last., type: float, returned: always}
known: {description: Whether there was a record to compare with., type: bool, returned: always}
differs: {description: What differs., type: list, elements: str, returned: always}
compared: {description: How many objects were compared., type: int, returned: always}
release: {description: Name of the release that serves., type: str, returned: always}
kept: {description: What was to be kept., type: dict, returned: always}
wanted: {description: As it was given., type: dict, returned: always}
"""

import hashlib
import json
import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.docker.ownership import stack_containers
from ..module_utils.state.store import Store, write

ANSWER = "answer of"
CONFIG = ("Env", "Entrypoint", "Cmd", "User", "Labels", "Healthcheck", "StopTimeout", "ExposedPorts", "Image")


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def container(actual: dict[str, Any]) -> dict[str, Any]:
    """What of an inspected container somebody may have changed; not what changes by itself."""
    state, own = actual["State"], {actual["Id"][:12], actual["Name"].lstrip("/")}
    joined = (actual["NetworkSettings"]["Networks"] or {}).items()
    return {
        "image": actual["Image"],
        "config": {key: actual["Config"].get(key) for key in CONFIG},
        "host": actual["HostConfig"],
        "networks": {
            name: [end.get("NetworkID"), bool(end.get("EndpointID")), sorted(set(end.get("Aliases") or []) - own)] for name, end in joined
        },
        "state": [state["Status"], (state.get("Health") or {}).get("Status")],
    }


def well(actual: dict[str, Any]) -> bool:
    state = actual["State"]
    return state["Status"] == "running" and (state.get("Health") or {}).get("Status", "healthy") == "healthy"


def tree(path: Path) -> Iterator[tuple[str, str]]:
    """(path, hash over owner, mode and content) of a file, or of all in a directory."""
    if path.is_symlink() or not path.exists():
        yield f"file {path}", str(path.readlink()) if path.is_symlink() else "missing"
        return
    status = path.stat()
    yield f"file {path}", digest([status.st_mode, status.st_uid, status.st_gid, path.read_bytes().hex() if path.is_file() else None])
    if path.is_dir():
        for child in sorted(path.iterdir()):
            yield from tree(child)


class Look:
    """What a host has now, as {what: hash}; C(ill) names the containers that are not well."""

    def __init__(self, engine: Engine, wanted: dict[str, Any], images: list[str]) -> None:
        self.engine, self.wanted, self.ill = engine, wanted, list[str]()
        self.store = Store(Path(wanted["record"]).parent)
        self.seen = dict(self._all(images))

    def _all(self, images: list[str]) -> Iterator[tuple[str, str]]:
        for name in images:
            yield f"image {name}", (self.engine.find(f"/images/{name}/json") or {}).get("Id", "missing")
        for path in self.wanted["files"]:
            yield from tree(Path(path))
        if self.wanted["objects"]:
            yield "current release", self.store.current
            yield "manifest of the current release", digest(self.store.manifest(self.store.current))
            yield from self._objects()
        for probe in self.wanted["probes"]:
            if self.engine.find(f"/containers/{probe['container']}/json"):
                named = probe.get("name") or f"{ANSWER} {probe['command'][0]} in {probe['container']}"
                yield named, digest(self._answer(probe))

    def _answer(self, probe: dict[str, Any]) -> Any:
        try:
            return self.engine.execute(probe["container"], probe["command"], timeout=10)
        except EngineError as error:
            return str(error)

    def _objects(self) -> Iterator[tuple[str, str]]:
        labels = {"berth.stack": self.wanted["stack"]}
        for entry in stack_containers(self.engine, labels, self.store.containers):
            actual = self.engine.find(f"/containers/{entry['Id']}/json")
            if actual and not self._leaving(actual):
                name = f"container {actual['Name'].lstrip('/')}"
                if not well(actual):
                    self.ill.append(name)
                yield name, digest(container(actual))
        for network in self.engine.listing("networks", labels):
            yield f"network {network['Name']}", digest([network[key] for key in ("Id", "Driver", "Internal", "Options", "Labels")])
        for volume in self.engine.listing("volumes", labels):
            yield f"volume {volume['Name']}", digest([volume[key] for key in ("Driver", "Labels", "Options", "CreatedAt")])

    def _leaving(self, actual: dict[str, Any]) -> bool:
        """Whether it is a container of another release, on its way out; only where it is remembered what is there."""
        manifest = self.store.manifest(self.store.current)
        services = (manifest.get("around") or {}).get("services") or []
        own = [spec["name"] for spec in manifest.get("containers") or []]
        labels = actual["Config"]["Labels"] or {}
        return self.wanted["remember"] and labels.get("berth.service") in services and actual["Name"].lstrip("/") not in own


def compare(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """What differs, in words."""
    gone = [f"{name} is gone" for name in before if name not in after]
    new = [f"{name} is new" for name in after if name not in before]
    return gone + new + [f"{name} differs" for name in unlike(before, after)]


def unlike(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Names of what is in both, and not the same."""
    return [name for name in after if before.get(name, after[name]) != after[name]]


def of_release(difference: str, released: list[str]) -> bool:
    """Whether a difference is one that a release itself brings about or mends."""
    return any(fnmatchcase(difference, pattern) for pattern in released)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "record": {"type": "path", "required": True},
            "stack": {"type": "str", "required": True},
            "wanted": {"type": "dict", "required": True},
            "objects": {"type": "bool", "default": True},
            "images": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "dict", "default": {}},
            "files": {"type": "list", "elements": "path", "default": []},
            "probes": {"type": "list", "elements": "dict", "default": []},
            "released": {"type": "list", "elements": "str", "default": []},
            "hours": {"type": "int", "default": 24},
            "time": {"type": "float", "default": 0},
            "remember": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    given, path = module.params, Path(module.params["record"])
    before: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    answer = {
        "changed": False,
        "known": bool(before),
        "wanted": given["wanted"],
        "kept": before.get("kept", {}),
        "time": before.get("time", 0),
    }
    try:
        if not before and not given["remember"]:
            module.exit_json(same=False, around=False, asked=False, differs=[], compared=0, release="", **answer)
        look = Look(Engine(timeout=10), given, given["images"] if given["remember"] else before.get("images", given["images"]))
    except EngineError as error:
        module.exit_json(same=False, around=False, asked=False, differs=[str(error)], compared=0, release="", **answer)
    found = {"compared": len(look.seen), "release": look.store.current}
    if given["remember"]:
        # What answers was not looked at where everything around the release was as before: then it has to answer as before.
        other = [name for name in unlike(before.get("seen", {}), look.seen) if name.startswith(ANSWER)] if given["time"] else []
        if other and not module.check_mode:
            path.unlink(missing_ok=True)
        elif not module.check_mode and not look.ill:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
            kept = {"wanted": given["wanted"], "seen": look.seen, "images": given["images"], "kept": given["keep"]}
            kept["time"] = given["time"] or time.time()
            write(path, json.dumps(kept, indent=1) + "\n", 0o600)
        module.exit_json(same=False, around=False, asked=False, differs=[], **found, **answer)
    differs = compare(before["wanted"], given["wanted"]) + compare(before["seen"], look.seen)
    differs += [f"{name} is not well" for name in look.ill]
    if time.time() - before["time"] > given["hours"] * 3600:
        differs.append(f"the last look at everything is more than {given['hours']} hours ago")
    around = all(of_release(difference, given["released"]) for difference in differs)
    asked = any(difference.startswith(("setting ", "environment ")) for difference in differs)
    module.exit_json(same=not differs, around=around, asked=asked, differs=differs, **found, **answer)


if __name__ == "__main__":
    main()
