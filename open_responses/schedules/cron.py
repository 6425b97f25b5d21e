"""Cron expressions of five fields, read as cron reads them.

What this prevents: an expression that Temporal reads otherwise than its author (there, a day has to match both the day
of the month and the day of the week), and one that runs more often than the server allows, or never.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_DAY_SECONDS = 24 * 3600
_LONGEST = 256
_SHORTHANDS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_PART = re.compile(r"(?P<first>\*|\d{1,2}|[a-z]{3})(?:-(?P<last>\d{1,2}|[a-z]{3}))?(?:/(?P<step>\d{1,2}))?")


class BadCron(ValueError):
    """The message completes "'cron' …"."""


@dataclass(frozen=True, slots=True)
class _Field:
    what: str
    least: int
    most: int
    names: tuple[str, ...] = ()

    def values(self, text: str) -> frozenset[int]:
        found: set[int] = set()
        for part in text.split(","):
            found |= self._of_part(part)
        return frozenset(found)

    def _of_part(self, part: str) -> set[int]:
        match = _PART.fullmatch(part)
        if match is None or (match["first"] == "*" and match["last"] is not None):
            raise BadCron(f"has {part[:20]!r} as the {self.what}: use a number, a range (1-5), a step (*/15) or a list")
        step = int(match["step"] or 1)
        if match["first"] == "*":
            first, last = self.least, self.most
        else:
            first = self._number(match["first"])
            # `5/15` is `5-59/15`, as in cron.
            last = self._number(match["last"]) if match["last"] else self.most if match["step"] else first
        if step < 1 or first > last:
            raise BadCron(f"has {part[:20]!r} as the {self.what}: a range must go upwards, and a step be at least 1")
        return set(range(first, last + 1, step))

    def _number(self, text: str) -> int:
        if text in self.names:
            return self.names.index(text) + self.least
        if not text.isdigit() or not self.least <= int(text) <= self.most:
            raise BadCron(f"has {text[:20]!r} as the {self.what}, which goes from {self.least} to {self.most}")
        return int(text)


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)


@dataclass(frozen=True, slots=True)
class Cron:
    """The times of an expression. `either_day`: both days are restricted, and one of them suffices."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    @property
    def shortest_gap(self) -> int:
        """The seconds between the two runs of a day that are closest, midnight included."""
        times = sorted(hour * 3600 + minute * 60 for hour in self.hours for minute in self.minutes)
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        return min([*gaps, times[0] + _DAY_SECONDS - times[-1]])


def parse_cron(text: str) -> Cron:
    """Return the times of an expression. Raises BadCron."""
    expression = _SHORTHANDS.get(text.strip().lower(), text.strip().lower())
    parts = expression.split()
    if len(text) > _LONGEST or len(parts) != len(_FIELDS):
        raise BadCron(
            "must have five fields: minute, hour, day of the month, month, day of the week. There is no field for "
            "seconds"
        )
    minutes, hours, days, months, weekdays = (field.values(part) for field, part in zip(_FIELDS, parts, strict=True))
    weekdays = frozenset(day % 7 for day in weekdays)
    either_day = not parts[2].startswith("*") and not parts[4].startswith("*")
    if not either_day and not any(min(days) <= _LONGEST_MONTHS[month - 1] for month in months):
        raise BadCron("names a day that none of its months has")
    return Cron(minutes, hours, days, months, weekdays, either_day)
