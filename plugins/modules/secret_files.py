#!/usr/bin/python
"""Write the secrets of each service to files, in generations."""

from __future__ import annotations

DOCUMENTATION = r"""
module: secret_files
short_description: Write the secrets of each service to files, in generations
description:
  - A generation is a version of all secrets. Its directory has one directory per service, readable only by that service's uid, and a
    record of the values, readable only by root. A generation is never changed, so that a release can refer to the one it runs with.
  - A changed, added or removed value creates the next generation. A file that was changed by hand is written again.
  - Results, diff and errors of this module never contain a secret.
  - The action plugin of the same name collects given values on the controller first.
options:
  directory: {description: Parent directory of the generations., type: path, required: true}
  schema:
    description: "By secret: C(services) that use it, C(generate) (characters; 0: it must be given), C(minimum) (characters), C(form) (a
      regular expression), C(versions) (how many values are retained), C(sources), C(environment)."
    type: dict
    required: true
  services:
    description:
      - "By service: C(uid) and C(files), by file name a template in which C({name}) is replaced by a value, C({name:url}) by it as a
        part of a URL, C({name:all}) by it and its earlier values, as C(2:value,1:value), and C({generation}) by the generation's number."
      - "C(shared): all releases share the service; its files are in C(shared/) and always of the newest generation."
      - "Empty: the secrets are validated, and nothing is written."
    type: dict
    default: {}
  given: {description: "Given values by name. They take precedence over generated ones.", type: dict, default: {}}
  origin: {description: "Where each of them is set, as text.", type: dict, default: {}}
  rotate: {description: Secrets for which to generate a new value., type: list, elements: str, default: []}
author: Berth (@berth)
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
generation: {description: Number of the generation with these secrets., type: str, returned: always, sample: "3"}
generations: {description: "By existing generation, the services that have secrets in it.", type: dict, returned: always}
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.secrets.store import Refused, Store, render, resolve, with_defaults


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            # Not a secret, although its keys are names of secrets.
            "schema": {"type": "dict", "required": True, "no_log": False},
            "services": {"type": "dict", "default": {}},
            "given": {"type": "dict", "default": {}, "no_log": True},
            "origin": {"type": "dict", "default": {}},
            "rotate": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    store = Store(Path(params["directory"]), module.check_mode)
    services, newest = params["services"], store.newest()
    previous = store.record(newest)
    try:
        schema = with_defaults(params["schema"])
        record = resolve(schema, params["given"], params["origin"], previous, params["rotate"], newest + 1)
        if not services:
            module.exit_json(changed=False, generation=str(newest), generations={})
        record["files"] = render(services, schema, record, max(newest, 1))
        if newest and (record["values"], record["files"]) == (previous["values"], previous["files"]):
            generation = newest
            store.reconcile(generation, services, record["files"])
        else:
            generation = newest + 1
            record["files"] = render(services, schema, record, generation)
            store.write(generation, services, record)
    except Refused as error:
        module.fail_json(msg=str(error))
    existing = {str(number): sorted(store.record(number)["files"]) for number in store.generations()}
    after = "\n".join(store.actions) + "\n" if store.actions else ""
    module.exit_json(
        changed=bool(store.actions),
        generation=str(generation),
        generations=existing,
        actions=store.actions,
        diff={"before_header": "secrets", "after_header": "secrets", "before": "", "after": after},
    )


if __name__ == "__main__":
    main()
