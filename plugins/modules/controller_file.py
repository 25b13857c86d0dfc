"""Write a small file on the controller; see plugins/action/controller_file.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: controller_file
short_description: Write a small file on the controller
description:
  - Writes a file where ansible-playbook runs, as the user who runs it, with the directories that it stands in.
  - For notes and reports of a run, without the two modules, each a process, that M(ansible.builtin.file) and M(ansible.builtin.copy)
    start on localhost for one file. An action plugin; there is no module behind it.
author: Berth (@berth)
options:
  path:
    description: The file.
    type: path
    required: true
  content:
    description: What it holds; required where O(state=present).
    type: str
  state:
    description: Whether the file is written or removed.
    type: str
    choices: [present, absent]
    default: present
  mode:
    description: Mode of the file, octal.
    type: str
    default: "0644"
  directory_mode:
    description: Mode of a directory that is made for it, octal.
    type: str
    default: "0755"
"""

EXAMPLES = r"""
- name: Write a note
  berth.stack.controller_file:
    path: reports/note.txt
    content: "{{ note }}"
"""

RETURN = r"""
path:
  description: The file.
  type: str
  returned: success
"""
