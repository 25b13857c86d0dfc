"""The checks behind the acceptance criteria, all of them: importing a room registers what is in it."""

from __future__ import annotations

from ansible.module_utils import (
    acceptance_images,
    acceptance_records,
    acceptance_running,
    acceptance_sources,
    acceptance_story,
)
from ansible.module_utils.acceptance_facts import CHECKS, NEEDS, Facts, Fail, NotApplicable, Unknown, below, describe

__all__ = ["CHECKS", "NEEDS", "Facts", "Fail", "NotApplicable", "Unknown", "below", "describe"]
ROOMS = (acceptance_images, acceptance_records, acceptance_running, acceptance_sources, acceptance_story)
