"""Where this collection is."""

from __future__ import annotations

DOCUMENTATION = r"""
name: root
short_description: Directory of the collection berth.stack
description: Returns the real path of the collection, which is the repository where it was linked in from a checkout.
options: {}
"""

EXAMPLES = r"""
- name: Show where the reference application is
  ansible.builtin.debug:
    msg: "{{ lookup('berth.stack.root') }}/apps"
"""

RETURN = r"""
_raw: {description: The path., type: list, elements: path}
"""

from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):
    """The lookup; it takes no terms."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        return [str(Path(__file__).resolve().parents[2])]
