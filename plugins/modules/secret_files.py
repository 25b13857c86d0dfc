#!/usr/bin/python
"""Keep the secrets of each service as files of their own, in generations."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.secrets.store import Refused, Store, render, resolve, with_defaults

DOCUMENTATION = r"""
module: secret_files
short_description: Keep the secrets of each service as files of their own, in generations
description:
  - A generation is a directory that holds one directory per service, which only that service's uid can read, and the values
    that they were made from, which only root can read. A generation is never changed, so that a release can name the one it runs with.
  - A value that changes, appears or goes makes the next generation. A file that was changed by hand is written again.
  - No secret is in this module's results, in its diff or in its errors.
  - An action plugin of the same name runs on the controller first and collects what comes from outside.
options:
  directory: {description: Parent of the generations., type: path, required: true}
  schema:
    description: "By secret: C(services) that hold it, C(generate) (characters; 0: it must be given), C(minimum) (characters), C(form) (a
      regular expression), C(versions) (how many values are kept), C(sources), C(environment)."
    type: dict
    required: true
  services:
    description:
      - "By service: C(uid) and C(files), by file name a text in which C({name}) stands for a value, C({name:url}) for it as a part of a
        URL, C({name:all}) for it and those it follows, as C(2:value,1:value), and C({generation}) for the generation's number."
      - "C(shared): the service stands beside the releases; its files lie in C(shared/) and follow the newest generation."
      - "Empty: the secrets are judged, and nothing is written."
    type: dict
    default: {}
  given: {description: "Values that come from outside, by name. They win over generated ones.", type: dict, default: {}}
  origin: {description: "Where each of them is set, in words.", type: dict, default: {}}
  rotate: {description: Secrets that get a new value although they have one., type: list, elements: str, default: []}
"""

EXAMPLES = r"""
- name: Write the secrets
  berth.stack.secret_files:
    directory: /var/lib/berth/secrets
    schema:
      password: {services: [backend], generate: 32}
    services:
      backend: {uid: 65532, files: {database_url: "postgresql://backend:{password:url}@database/app"}}
"""

RETURN = r"""
generation: {description: Number of the generation that holds what is wanted., type: str, returned: always, sample: "3"}
generations: {description: "By generation that is there, the services that have secrets in it.", type: dict, returned: always}
"""


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            # Its values are words such as `generate`: nothing to hide, and not to be taken for a secret because of their names.
            "schema": {"type": "dict", "required": True, "no_log": False},
            "services": {"type": "dict", "default": {}},
            "given": {"type": "dict", "default": {}, "no_log": True},
            "origin": {"type": "dict", "default": {}},
            "rotate": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    wanted = module.params
    store = Store(Path(wanted["directory"]), module.check_mode)
    services, newest = wanted["services"], store.newest()
    known = store.record(newest)
    try:
        schema = with_defaults(wanted["schema"])
        record = resolve(schema, wanted["given"], wanted["origin"], known, wanted["rotate"], newest + 1)
        if not services:
            module.exit_json(changed=False, generation=str(newest), generations={})
        record["files"] = render(services, schema, record, max(newest, 1))
        if newest and (record["values"], record["files"]) == (known["values"], known["files"]):
            generation = newest
            store.reconcile(generation, services, record["files"])
        else:
            generation = newest + 1
            record["files"] = render(services, schema, record, generation)
            store.write(generation, services, record)
    except Refused as error:
        module.fail_json(msg=str(error))
    there = {str(number): sorted(store.record(number)["files"]) for number in store.generations()}
    after = "\n".join(store.actions) + "\n" if store.actions else ""
    module.exit_json(
        changed=bool(store.actions),
        generation=str(generation),
        generations=there,
        actions=store.actions,
        diff={"before_header": "secrets", "after_header": "secrets", "before": "", "after": after},
    )


if __name__ == "__main__":
    main()
