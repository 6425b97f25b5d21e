"""Cron expressions mean what cron means by them, and say what is wrong."""

from __future__ import annotations

import pytest

from open_responses.schedules.cron import BadCron, parse_cron


@pytest.mark.parametrize(
    ("text", "minutes", "hours", "gap"),
    [
        ("* * * * *", set(range(60)), set(range(24)), 60),
        ("*/15 9-17 * * *", {0, 15, 30, 45}, set(range(9, 18)), 900),
        ("5/20 0 * * *", {5, 25, 45}, {0}, 1200),
        ("0,59 0,23 * * *", {0, 59}, {0, 23}, 60),
        ("30 9 * * MON-fri", {30}, {9}, 86400),
        ("@hourly", {0}, set(range(24)), 3600),
        (" @Daily ", {0}, {0}, 86400),
    ],
)
def test_an_expression_has_its_times(text: str, minutes: set[int], hours: set[int], gap: int) -> None:
    cron = parse_cron(text)
    assert (cron.minutes, cron.hours, cron.shortest_gap) == (minutes, hours, gap)


def test_days_are_read_as_cron_reads_them() -> None:
    assert parse_cron("0 0 * * 7").weekdays == {0}
    assert parse_cron("0 0 * * mon-wed,6").weekdays == {1, 2, 3, 6}
    assert parse_cron("0 0 * jan,3 *").months == {1, 3}
    assert not parse_cron("0 0 */2 * mon").either_day
    either = parse_cron("0 0 13 * fri")
    assert (either.either_day, either.days, either.weekdays) == (True, {13}, {5})
    assert parse_cron("0 0 29 2 *").days == {29}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("* * * * * *", "no field for seconds"),
        ("@every 1s", "five fields"),
        ("60 * * * *", "minute, which goes from 0 to 59"),
        ("* 24 * * *", "hour"),
        ("* * 0 * *", "day of the month"),
        ("* * * foo *", "month"),
        ("* * * * 8", "day of the week"),
        ("9-5 * * * *", "upwards"),
        ("*/0 * * * *", "at least 1"),
        ("1- * * * *", "use a number"),
        ("*-5 * * * *", "use a number"),
        ("1,,2 * * * *", "use a number"),
        ("0 0 31 4,6 *", "none of its months"),
        ("x" * 300, "five fields"),
    ],
)
def test_an_expression_that_cannot_be_says_why(text: str, says: str) -> None:
    with pytest.raises(BadCron, match=says):
        parse_cron(text)
