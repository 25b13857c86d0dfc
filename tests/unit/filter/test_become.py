"""Who runs Ansible, and so whether it has to become somebody else."""

from __future__ import annotations

import os
import pwd

from ansible_collections.berth.stack.plugins.filter.become import is_another_user


def test_whoever_runs_is_no_other_user():
    assert not is_another_user(pwd.getpwuid(os.geteuid()).pw_name)


def test_others_are():
    assert is_another_user(next(entry.pw_name for entry in pwd.getpwall() if entry.pw_uid != os.geteuid()))
    assert is_another_user("no-such-user")
