#!/usr/bin/python
"""Make the record of a stress run from what the load saw and what the host saw."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stress_record
short_description: Make the record of a stress run from what the load saw and what the host saw
description: Compares what load_run and stack_watch measured with the budgets, and writes the record that the acceptance criteria read.
options:
  load: {description: File that load_run wrote., type: path, required: true}
  watch: {description: "C(samples) and C(faults) of stack_watch.", type: dict, required: true}
  budgets: {description: What may be measured at most., type: dict, required: true}
  version: {description: The version that ran., type: str, required: true}
  directory: {description: Directory of the stack's records., type: path, required: true}
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Record
  berth.stack.stress_record: {load: load.json, watch: "{{ watch }}", budgets: "{{ budgets }}", version: v1, directory: .local/records/berth}
"""

RETURN = r"""
lines: {description: What a terminal shows., type: list, elements: str, returned: always}
over: {description: Figures above their budget., type: list, elements: str, returned: always}
"""

import json
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.verify.load_figures import figures


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "load": {"type": "path", "required": True},
            "watch": {"type": "dict", "required": True},
            "budgets": {"type": "dict", "required": True},
            "version": {"type": "str", "required": True},
            "directory": {"type": "path", "required": True},
        }
    )
    options = module.params
    run = json.loads(Path(options["load"]).read_text())
    watch = {"samples": options["watch"].get("samples", []), "faults": options["watch"].get("faults", [])}
    measured = figures(run, watch, {name: float(value) for name, value in options["budgets"].items()})
    record = {"version": options["version"], "when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run["started"])), **measured}
    directory = Path(options["directory"])
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "stress.json").write_text(json.dumps(record, indent=1))
    Path(options["load"]).unlink()
    found = record["figures"]
    over = [name for name, figure in found.items() if figure["value"] > figure["budget"]]
    lines = [
        f"{'OVER' if name in over else 'ok':<5}{figure['text']} (budget {figure['budget']:g} {figure['unit']})"
        for name, figure in found.items()
    ]
    head = f"{record['requests']} requests in {record['seconds']:.0f} s, {len(record['faults'])} faults; answers {record['statuses']}"
    module.exit_json(changed=True, lines=[head, *lines], over=over)


if __name__ == "__main__":
    main()
