#!/usr/bin/python
"""Keep the secrets of each service as files of their own, in generations."""

from __future__ import annotations

import json
import os
import re
import secrets as randomness
import shutil
import string
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: secret_files
short_description: Keep the secrets of each service as files of their own, in generations
description:
  - A generation is a directory that holds one directory per service, which only that service's uid can read, and the values
    that they were made from, which only root can read. A generation is never changed, so that a release can name the one it runs with.
  - A value that changes, appears or goes makes the next generation. A file that was changed by hand is written again.
  - No secret is in this module's results, in its diff or in its errors.
options:
  directory: {description: Parent of the generations., type: path, required: true}
  given:
    description: Values that come from outside, by name. They win over generated ones.
    type: dict
    default: {}
  generated:
    description: "By name, how many characters to generate where there is no value yet."
    type: dict
    default: {}
  services:
    description: "By service: C(uid) and C(files), by file name a text in which C({name}) stands for a value."
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the secrets
  secret_files:
    directory: /var/lib/berth/secrets
    generated: {password: 32}
    services:
      backend: {uid: 65532, files: {database_url: "postgresql://backend:{password}@database/app"}}
"""

RETURN = r"""
generation: {description: Number of the generation that holds what is wanted., type: str, returned: always, sample: "3"}
"""

ALPHABET = string.ascii_letters + string.digits
PLACEHOLDERS = re.compile(r"^(change[-_ ]?me.*|secret|password|placeholder|example|todo|xxx+|your[-_ ].*|<.*>)$", re.IGNORECASE)
MINIMUM = 8
RECORD = "record.json"


class Refused(ValueError):
    """A secret that must not be used; the message names it, never its value."""


def resolve(given: dict[str, str], generated: dict[str, int], known: dict[str, str]) -> dict[str, str]:
    """The value of each secret: given, else the one of the generation before, else a new one."""
    for name, value in given.items():
        if PLACEHOLDERS.match(value) or len(value) < MINIMUM:
            raise Refused(f"the secret {name} is a placeholder or shorter than {MINIMUM} characters; give a real one or leave it out")
    made = {name: known.get(name) or "".join(randomness.choice(ALPHABET) for _ in range(int(length))) for name, length in generated.items()}
    return made | given


def render(services: dict[str, Any], values: dict[str, str]) -> dict[str, dict[str, str]]:
    """{service: {file: content}}"""
    rendered: dict[str, dict[str, str]] = {}
    for service, spec in services.items():
        rendered[service] = {}
        for name, template in spec["files"].items():
            missing = [key for key in re.findall(r"{(\w+)}", template) if key not in values]
            if missing:
                raise Refused(f"the file {name} of {service} needs the secret {', '.join(missing)}, which is neither given nor generated")
            rendered[service][name] = re.sub(r"{(\w+)}", lambda match: values[match[1]], template)
    return rendered


class Store:
    """The generations below one directory."""

    def __init__(self, root: Path, check: bool) -> None:
        self.root, self.check, self.actions = root, check, list[str]()

    def newest(self) -> int:
        numbers = [int(p.name) for p in self.root.glob("*") if p.name.isdigit() and (p / RECORD).is_file()]
        return max(numbers, default=0)

    def record(self, generation: int) -> dict[str, Any]:
        """What a generation was made from: {values: {name: value}, files: {service: {file: content}}}."""
        if not generation:
            return {"values": {}, "files": {}}
        return json.loads((self.root / str(generation) / RECORD).read_text())

    def write(self, generation: int, services: dict[str, Any], record: dict[str, Any]) -> None:
        """Write a generation beside its place and move it there, so that it is never there by halves."""
        self.actions.append(f"write generation {generation}")
        if self.check:
            return
        self.root.mkdir(parents=True, exist_ok=True)
        os.chmod(self.root, 0o711)
        target, scratch = self.root / str(generation), self.root / f".{generation}.new"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(mode=0o711)
        for service, contents in record["files"].items():
            self.service(scratch / service, int(services[service]["uid"]), contents)
        self.put(scratch / RECORD, json.dumps(record), 0, 0o400)
        os.chmod(scratch, 0o711)
        scratch.rename(target)

    def service(self, folder: Path, uid: int, contents: dict[str, str]) -> None:
        folder.mkdir(mode=0o500)
        for name, content in contents.items():
            self.put(folder / name, content, uid, 0o400)
        os.chmod(folder, 0o500)
        self.own(folder, uid)

    @staticmethod
    def own(path: Path, uid: int) -> None:
        if os.geteuid() == 0:
            os.chown(path, uid, uid)

    def put(self, path: Path, content: str, uid: int, mode: int) -> None:
        scratch = path.with_name(f".{path.name}.new")
        scratch.unlink(missing_ok=True)
        with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(content)
        os.chmod(scratch, mode)
        self.own(scratch, uid)
        scratch.rename(path)

    def mend(self, generation: int, services: dict[str, Any], files: dict[str, dict[str, str]]) -> None:
        """Put back what was changed by hand in a generation: content, owner, mode, a file too few or too many."""
        for service, contents in files.items():
            folder, uid = self.root / str(generation) / service, int(services[service]["uid"])
            if not folder.is_dir():
                self.did(f"write the directory of {service} again", lambda f=folder, u=uid, c=contents: self.service(f, u, c))
                continue
            if self.strange(folder, uid, 0o500):
                self.did(
                    f"correct owner and mode of the directory of {service}", lambda f=folder, u=uid: (os.chmod(f, 0o500), self.own(f, u))
                )
            for path in folder.iterdir():
                if path.name not in contents:
                    self.did(f"remove {path.name} of {service}", path.unlink)
            for name, content in contents.items():
                path = folder / name
                if not path.is_file() or path.read_text() != content or self.strange(path, uid, 0o400):
                    self.did(f"write {name} of {service} again", lambda p=path, c=content, u=uid: self.put(p, c, u, 0o400))

    @staticmethod
    def strange(path: Path, uid: int, mode: int) -> bool:
        status = path.stat()
        return (status.st_mode & 0o7777) != mode or (os.geteuid() == 0 and status.st_uid != uid)

    def did(self, action: str, act: Any) -> None:
        self.actions.append(action)
        if not self.check:
            act()


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "given": {"type": "dict", "default": {}, "no_log": True},
            "generated": {"type": "dict", "default": {}},
            "services": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    store = Store(Path(module.params["directory"]), module.check_mode)
    services = module.params["services"]
    newest = store.newest()
    try:
        known = store.record(newest)
        values = resolve(module.params["given"], module.params["generated"], known["values"])
        wanted = {"values": values, "files": render(services, values)}
    except Refused as error:
        module.fail_json(msg=str(error))
    generation = newest if wanted == known else newest + 1
    if generation == newest:
        store.mend(newest, services, wanted["files"])
    else:
        store.write(generation, services, wanted)
    after = "\n".join(store.actions) + "\n" if store.actions else ""
    module.exit_json(
        changed=bool(store.actions),
        generation=str(generation),
        actions=store.actions,
        diff={"before_header": "secrets", "after_header": "secrets", "before": "", "after": after},
    )


if __name__ == "__main__":
    main()
