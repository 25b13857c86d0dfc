"""The checks behind the acceptance criteria, all of them: importing a module of checks registers what is in it."""

from __future__ import annotations

from . import checks_e2e, checks_images, checks_records, checks_repository, checks_running, checks_sources
from .facts import CHECKS, NEEDS, Facts, Fail, NotApplicable, NotVerified, OverBudget, below, describe

__all__ = ["CHECKS", "NEEDS", "Facts", "Fail", "NotApplicable", "NotVerified", "OverBudget", "below", "describe"]
MODULES = (checks_e2e, checks_images, checks_records, checks_repository, checks_running, checks_sources)
