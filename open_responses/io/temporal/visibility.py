"""Lists runs by Temporal's visibility, newest first.

What this prevents: a list in the wrong order, and one that reads every run. Temporal on SQL has no ORDER BY: it lists
open runs first, and closed ones by the time of their end. So a page is found by the time of the start, in a window
that is narrow enough to be read as a whole, and is sorted here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.client import Client, WorkflowExecution, WorkflowExecutionStatus

# Runs of one window, and of one call. Each takes about a kilobyte, and 0.1 ms to decode.
_MOST_READ = 400
_FIRST_WINDOW = timedelta(minutes=10)
_LONGEST_WINDOW = timedelta(days=3650)
_WIDER = 8
# Runs that began so close to each other are read together, however many they are.
_NARROWEST = timedelta(milliseconds=20)
# Temporal keeps a start in nanoseconds, and `datetime` has microseconds.
_ROUNDING = timedelta(microseconds=1)
_CLOCKS_DIFFER = timedelta(minutes=1)
_ESCAPED = frozenset({'"', "\\", "\x7f", *map(chr, range(32))})
_OWN_ENDS = (
    WorkflowExecutionStatus.COMPLETED,
    WorkflowExecutionStatus.FAILED,
    WorkflowExecutionStatus.CANCELED,
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last run of the page before."""

    started: datetime
    workflow_id: str


def literal(text: str) -> str:
    """A text as a string of a query.

    Raises:
        ValueError: The text begins or ends with a quote, which Temporal takes off; or it has a backslash, a double
            quote or a control character, which Temporal writes with a backslash and databases read differently. Another
            value would be compared.
    """
    if text.startswith("'") or text.endswith("'") or set(text) & _ESCAPED:
        raise ValueError("begins or ends with a quote, or has a backslash, a double quote or a control character")
    return "'" + text.replace("'", "''") + "'"


def moment(time: datetime) -> str:
    """A time as a string of a query."""
    return literal(time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"))


async def newest_runs(
    temporal: Client,
    conditions: Sequence[str],
    *,
    limit: int,
    after: Cursor | None,
    newest_counts: bool = False,
) -> tuple[list[WorkflowExecution], bool]:
    """The runs that meet all conditions, by the time of their start, and whether there are more.

    A workflow is listed once. Of several runs of it, the one that has a result counts, else the newest.

    Args:
        temporal: The client.
        conditions: Terms of a query, which are joined by AND.
        limit: The most runs.
        after: Only runs that began before this one.
        newest_counts: Of several runs of a workflow, the newest counts, also if an earlier one has a result.

    Raises:
        RPCError: Temporal cannot be reached, or it rejects the query.
    """
    upper = datetime.now(UTC) + _CLOCKS_DIFFER if after is None else after.started + _ROUNDING
    windows = _Windows(temporal, [*conditions, "ExecutionStatus != 'ContinuedAsNew'"], upper)
    wanted = limit + 1
    while True:
        length = await windows.holding(wanted)
        runs = _sorted(await windows.read(length), after, newest_counts=newest_counts)
        if len(runs) > limit or length is None:
            return runs[:limit], len(runs) > limit
        # Further runs of the same workflows, or the last run of the page before, filled this page.
        wanted *= 2


class _Windows:
    """Windows of time that end at `upper`, by their length. None is the length of the one that holds every run."""

    def __init__(self, temporal: Client, conditions: Sequence[str], upper: datetime) -> None:
        self._temporal = temporal
        self._conditions = [*conditions, f"StartTime <= {moment(upper)}"]
        self._upper = upper

    async def holding(self, wanted: int) -> timedelta | None:
        """A window with at least `wanted` runs, and not many more than are read at once."""
        if await self._count(None) <= _MOST_READ:
            return None
        too_short, too_long, length = timedelta(0), None, _FIRST_WINDOW
        while length < _LONGEST_WINDOW:
            found = await self._count(length)
            if found < wanted:
                too_short = length
                length = _WIDER * length if too_long is None else (too_short + too_long) / 2
            elif found > _MOST_READ:
                too_long = length
                if too_long - too_short < _NARROWEST:
                    return length
                length = (too_short + too_long) / 2 if too_short else length / _WIDER
            else:
                return length
        return None

    async def read(self, length: timedelta | None) -> list[WorkflowExecution]:
        query = self._query(length)
        return [run async for run in self._temporal.list_workflows(query, page_size=_MOST_READ)]

    async def _count(self, length: timedelta | None) -> int:
        return (await self._temporal.count_workflows(self._query(length))).count

    def _query(self, length: timedelta | None) -> str:
        begin = [] if length is None else [f"StartTime >= {moment(self._upper - length)}"]
        return " AND ".join([*self._conditions, *begin])


def _sorted(
    runs: Sequence[WorkflowExecution], after: Cursor | None, *, newest_counts: bool = False
) -> list[WorkflowExecution]:
    best: dict[str, WorkflowExecution] = {}
    for run in runs:
        known = best.get(run.id)
        if known is None or _weight(run, newest_counts) > _weight(known, newest_counts):
            best[run.id] = run
    ordered = sorted(best.values(), key=lambda run: (run.start_time, run.id), reverse=True)
    if after is None:
        return ordered
    return [run for run in ordered if (run.start_time, run.id) < (after.started, after.workflow_id)]


def _weight(run: WorkflowExecution, newest_counts: bool) -> tuple[bool, datetime]:
    """An operator's reset leaves the run that had ended in place: the first end stays."""
    return not newest_counts and run.status in _OWN_ENDS, run.start_time
