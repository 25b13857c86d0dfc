"""Rate limits: a token bucket per user, in this process."""

from __future__ import annotations

import time

from app.problems import ProblemError

MAX_USERS = 10_000


class RateLimit:
    """`per_minute` requests a minute and user, of which all may come at once; 0 means no limit."""

    def __init__(self, per_minute: int) -> None:
        self.capacity = float(per_minute)
        self.per_second = per_minute / 60
        self._buckets: dict[str, tuple[float, float]] = {}

    def check(self, user_id: str) -> None:
        """Count a request of this user; 429 when there were too many."""
        if not self.capacity:
            return
        now = time.monotonic()
        tokens, since = self._buckets.get(user_id, (self.capacity, now))
        tokens = min(self.capacity, tokens + (now - since) * self.per_second)
        if tokens < 1:
            self._buckets[user_id] = (tokens, now)
            raise ProblemError(
                429,
                "too-many-requests",
                "Too many requests: wait a little.",
                retry_after=(1 - tokens) / self.per_second,
            )
        self._buckets[user_id] = (tokens - 1, now)
        if len(self._buckets) > MAX_USERS:
            self._forget_full(now)

    def _forget_full(self, now: float) -> None:
        """Drop the buckets that are full again; if that is not enough, the oldest half."""
        self._buckets = {
            user: (tokens, since)
            for user, (tokens, since) in self._buckets.items()
            if tokens + (now - since) * self.per_second < self.capacity
        }
        if len(self._buckets) > MAX_USERS:
            newest = sorted(self._buckets.items(), key=lambda item: item[1][1])[MAX_USERS // 2 :]
            self._buckets = dict(newest)
