#!/usr/bin/python
"""Find out which packages make images larger than their budgets."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_packages
short_description: Find out which packages make images larger than their budgets
description:
  - Reads each image that is larger than its budget from the engine, and adds up the files of its Python distributions and npm packages.
    It takes about a second for 100 MB. Images within their budgets are not read.
options:
  images:
    description: "The images: C(reference), C(service), C(size) (bytes)."
    type: list
    elements: dict
    required: true
  budgets:
    description: "By service the budget in MB (decimal), one number or one for each major release of Next.js and a C(default); 0 for none."
    type: dict
    required: true
author: Berth (@berth)
"""

EXAMPLES = r"""
- name: Name the packages of images over their budgets
  berth.stack.image_packages:
    images: [{reference: "berth-backend:v1", service: backend, size: 912000000}]
    budgets: {backend: 200, frontend: {default: 100, "16": 135}}
"""

RETURN = r"""
lines: {description: A line for each image that is over its budget., type: list, elements: str, returned: always}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.docker.client import Engine, EngineError
from ..module_utils.docker.image_scan import largest, scan
from ..module_utils.docker.image_weight import budget_of


def line(image: dict[str, Any], budget: Any, packages: dict[str, int], framework: str) -> str:
    """What is said of an image; empty where it is within its budget."""
    limit = budget_of(budget, framework)
    if not limit or image["size"] <= limit * 1e6:
        return ""
    of = f" (Next.js {framework})" if framework and isinstance(budget, dict) else ""
    over = f"{image['size'] / 1e6:.1f} MB, over the budget of {limit:g} MB{of} (stack_image_budgets)"
    return f"{image['reference']} is {over}; largest packages: {largest(packages, int(image['size']))}"


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "images": {"type": "list", "elements": "dict", "required": True},
            "budgets": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    engine, lines = Engine(), []
    for image in module.params["images"]:
        budget = module.params["budgets"].get(image["service"]) or 0
        smallest = min(map(float, budget.values())) if isinstance(budget, dict) else float(budget)
        if not smallest or image["size"] <= smallest * 1e6:
            continue
        try:
            with engine.stream(f"/images/{image['reference']}/get") as stream:
                found = scan(stream, [])
        except EngineError as error:
            module.fail_json(msg=f"{image['reference']} could not be read: {error}")
        lines.append(line(image, budget, found["packages_bytes"], found["next"]))
    module.exit_json(changed=False, lines=[one for one in lines if one])


if __name__ == "__main__":
    main()
