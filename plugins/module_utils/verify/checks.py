"""The checks behind the acceptance criteria, all of them: importing a room registers what is in it."""

from __future__ import annotations

from . import checks_e2e as acceptance_story
from . import checks_images as acceptance_images
from . import checks_records as acceptance_records
from . import checks_running as acceptance_running
from . import checks_sources as acceptance_sources
from .facts import CHECKS, NEEDS, Facts, Fail, NotApplicable, NotVerified, below, describe

__all__ = ["CHECKS", "NEEDS", "Facts", "Fail", "NotApplicable", "NotVerified", "below", "describe"]
ROOMS = (acceptance_images, acceptance_records, acceptance_running, acceptance_sources, acceptance_story)
