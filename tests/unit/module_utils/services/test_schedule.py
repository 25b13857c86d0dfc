"""Cron expressions: when they come, and which are refused. Times as cron(8) and the time zone database have them."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.berth.stack.plugins.module_utils.services.scheduler import UTC, InvalidSchedule, Schedule, moment, stamp

START = moment("2026-01-01T00:00:00Z")  # a Thursday


def times(text: str, count: int = 3, zone: str = "UTC", after: datetime = START) -> list[str]:
    return [stamp(one)[:16] for one in islice(Schedule(text, zone).times(after), count)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", ["2026-01-01T00:01", "2026-01-01T00:02", "2026-01-01T00:03"]),
        ("*/20 * * * *", ["2026-01-01T00:20", "2026-01-01T00:40", "2026-01-01T01:00"]),
        ("5,35 9-17/4 * * *", ["2026-01-01T09:05", "2026-01-01T09:35", "2026-01-01T13:05"]),
        ("10/25 0 * * *", ["2026-01-01T00:10", "2026-01-01T00:35", "2026-01-02T00:10"]),
        ("0 2 * * *", ["2026-01-01T02:00", "2026-01-02T02:00", "2026-01-03T02:00"]),
        ("0 0 31 * *", ["2026-01-31T00:00", "2026-03-31T00:00", "2026-05-31T00:00"]),
        ("0 0 29 2 *", ["2028-02-29T00:00", "2032-02-29T00:00", "2036-02-29T00:00"]),
        ("0 0 1 jan,Jul *", ["2026-07-01T00:00", "2027-01-01T00:00", "2027-07-01T00:00"]),
        ("30 4 * * mon-FRI", ["2026-01-01T04:30", "2026-01-02T04:30", "2026-01-05T04:30"]),
        ("0 0 * * 7", ["2026-01-04T00:00", "2026-01-11T00:00", "2026-01-18T00:00"]),
        # Either the 13th or a Friday; with a star, both.
        ("0 0 13 * 5", ["2026-01-02T00:00", "2026-01-09T00:00", "2026-01-13T00:00"]),
        ("0 0 */2 * 5", ["2026-01-09T00:00", "2026-01-23T00:00", "2026-02-13T00:00"]),
        ("@weekly", ["2026-01-04T00:00", "2026-01-11T00:00", "2026-01-18T00:00"]),
        ("@yearly", ["2027-01-01T00:00", "2028-01-01T00:00", "2029-01-01T00:00"]),
    ],
)
def test_when_a_schedule_comes(text, expected):
    assert times(text) == expected


def test_it_agrees_with_the_definition_minute_by_minute():
    """Every minute of 40 days, by a reading of the fields that has nothing of the implementation."""
    schedule = Schedule("*/7 3-21/3 2-20/3 * 1,4")
    every = [START + timedelta(minutes=n) for n in range(1, 40 * 24 * 60)]

    def matches(at: datetime) -> bool:
        day = at.day in (2, 5, 8, 11, 14, 17, 20) or at.strftime("%a") in ("Mon", "Thu")
        return at.minute % 7 == 0 and at.hour in (3, 6, 9, 12, 15, 18, 21) and day

    expected = [at for at in every if matches(at)]
    assert list(islice(schedule.times(START), len(expected))) == expected and len(expected) > 500


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "0 fields"),
        ("0 2 * *", "4 fields"),
        ("60 * * * *", "no minute: it must be 0 to 59"),
        ("* 24 * * *", "no hour"),
        ("* * 0 * *", "no day of month"),
        ("* * * foo *", "no month: it must be 1 to 12, or jan to dec"),
        ("* * * * 8", "no day of week"),
        ("5-1 * * * *", "ends before it begins"),
        ("*/0 * * * *", "no minute: write"),
        ("1- * * * *", "no minute: write"),
        ("0 0 30 2 *", "never comes"),
        ("@reboot", "1 fields"),
    ],
)
def test_what_is_no_schedule_is_refused(text, wrong):
    with pytest.raises(InvalidSchedule, match=wrong):
        Schedule(text)


SPRING, AUTUMN = moment("2026-03-28T12:00:00Z"), moment("2026-10-24T12:00:00Z")


def test_a_time_that_clocks_skip_counts_an_hour_later():
    # Berlin: 2026-03-29, 02:00 is followed by 03:00.
    assert times("30 2 * * *", 3, "Europe/Berlin", SPRING) == ["2026-03-29T01:30", "2026-03-30T00:30", "2026-03-31T00:30"]
    assert ZoneInfo("Europe/Berlin").utcoffset(datetime(2026, 3, 29, 4)) == timedelta(hours=2)


def test_a_time_that_clocks_show_twice_counts_once():
    # Berlin: 2026-10-25, 03:00 is followed by 02:00.
    assert times("30 2 * * *", 2, "Europe/Berlin", AUTUMN) == ["2026-10-25T00:30", "2026-10-26T01:30"]


@pytest.mark.parametrize("after", [SPRING, AUTUMN])
def test_every_hour_is_elapsed_time(after):
    found = list(islice(Schedule("15 * * * *", "Europe/Berlin").times(after), 36))
    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(hours=1)}


def test_every_second_hour_does_not_come_in_an_hour_that_is_skipped():
    assert times("0 */2 * * *", 3, "Europe/Berlin", moment("2026-03-28T23:00:00Z")) == [
        "2026-03-29T02:00", "2026-03-29T04:00", "2026-03-29T06:00",
    ]  # fmt: skip


def test_passed_times_are_counted():
    schedule = Schedule("0 2 * * *")
    now = START + timedelta(days=3)
    assert schedule.passed(START, now) == (3, now - timedelta(hours=22))
    assert schedule.passed(START, START + timedelta(hours=1)) == (0, None)
    assert schedule.passed(START, START + timedelta(hours=2)) == (1, START + timedelta(hours=2))
    assert schedule.next(START).tzinfo == UTC
