"""Lines through what was measured, and the costs that they show: per process, live stream, delta and response."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.scaling.readings import PARTS, Reading


@dataclass(frozen=True, slots=True)
class Line:
    """`y = intercept + slope * x`, by least squares. `fit` is r²: 1 if all points are on the line."""

    intercept: float
    slope: float
    fit: float

    @classmethod
    def through(cls, xs: Sequence[float], ys: Sequence[float]) -> Line:
        """The line through at least two points with different `xs`."""
        slope, intercept = statistics.linear_regression(xs, ys)
        fit = statistics.correlation(xs, ys) ** 2 if len(set(ys)) > 1 else 1.0
        return cls(intercept, slope, fit)


@dataclass(frozen=True, slots=True)
class Window:
    """What was spent between two readings, while `live` streams were open."""

    live: int
    seconds: float
    deltas: int
    responses: int
    sse_bytes: int
    cpu: Mapping[str, float]
    """Cores, by part."""
    end: Reading
    commands: float
    calls: float
    redis_in: float
    redis_out: float
    redis_memory: float
    temporal_bytes: float
    requests: Mapping[str, float]
    writes: Mapping[str, float]

    @classmethod
    def between(cls, before: Reading, after: Reading, *, live: int, deltas: int, responses: int, sse: int) -> Window:
        """The differences of two readings."""
        seconds = after.at - before.at
        return cls(
            live=live,
            seconds=seconds,
            deltas=deltas,
            responses=responses,
            sse_bytes=sse,
            cpu={part: (after.cpu[part] - before.cpu[part]) / seconds for part in PARTS},
            end=after,
            commands=after.commands - before.commands,
            calls=after.calls - before.calls,
            redis_in=after.redis_in - before.redis_in,
            redis_out=after.redis_out - before.redis_out,
            redis_memory=after.redis_memory - before.redis_memory,
            temporal_bytes=after.temporal_bytes - before.temporal_bytes,
            requests=_grown(before.requests, after.requests),
            writes=_grown(before.writes, after.writes),
        )


def _grown(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: more for name, count in after.items() if (more := count - before.get(name, 0.0)) > 0}


@dataclass(frozen=True, slots=True)
class PartCost:
    """CPU of one part, in seconds of one core: at rest, for a second of an open stream, for a delta, for a response."""

    at_rest: float
    stream_second: float
    delta: float
    response: float


def part_costs(windows: Mapping[float, Sequence[Window]], short: Sequence[Window], words: int) -> dict[str, PartCost]:
    """The costs of each part.

    Two slopes over the number of streams, at two rates of deltas, give the cost of an open stream and of a delta. The
    slope over the responses per second gives the cost of a response, of which its `words` deltas are taken off.
    """
    slow, fast = sorted(windows)
    found = {}
    for part in PARTS:
        lines = {rate: cpu_line(windows[rate], part) for rate in (slow, fast)}
        # The deltas that have come, which are fewer than were asked for if a part is late.
        rates = {rate: delta_rate(windows[rate]) for rate in (slow, fast)}
        delta = max(0.0, (lines[fast].slope - lines[slow].slope) / (rates[fast] - rates[slow]))
        stream_second = max(0.0, lines[slow].slope - delta * rates[slow])
        response = response_line(short, part).slope - words * delta
        at_rest = windows[slow][0].cpu[part] if windows[slow][0].live == 0 else lines[slow].intercept
        found[part] = PartCost(at_rest, stream_second, delta, max(0.0, response))
    return found


def busy_costs(parts: Mapping[str, PartCost], windows: Sequence[Window]) -> dict[str, PartCost]:
    """The same costs, with that of a delta where many come at a time.

    A pipeline, a wake-up of a process and a write to a socket then carry several events, as they do in a process that
    has as much to do as it can.
    """
    rate, found = delta_rate(windows), {}
    for part, cost in parts.items():
        delta = (cpu_line(windows, part).slope - cost.stream_second) / rate
        found[part] = replace(cost, delta=max(0.0, delta))
    return found


def cpu_line(windows: Sequence[Window], part: str) -> Line:
    """Cores of a part over the number of live streams."""
    return Line.through([window.live for window in windows], [window.cpu[part] for window in windows])


def delta_rate(windows: Sequence[Window]) -> float:
    """Deltas a second that one live stream brings."""
    return Line.through(
        [window.live for window in windows], [window.deltas / window.seconds for window in windows]
    ).slope


def response_line(short: Sequence[Window], part: str) -> Line:
    """Cores of a part over the responses per second."""
    return Line.through([w.responses / w.seconds for w in short], [w.cpu[part] for w in short])


def memory_line(windows: Sequence[Window], part: str) -> Line:
    """Bytes of memory of a part over the number of live streams."""
    return Line.through([window.live for window in windows], [window.end.memory[part] for window in windows])


def socket_line(windows: Sequence[Window], part: str) -> Line:
    """Open sockets of a part over the number of live streams."""
    return Line.through([window.live for window in windows], [window.end.sockets[part] for window in windows])


def rate_line(windows: Sequence[Window], of: str, over: str) -> Line:
    """A counter per second over another one per second."""
    xs = [getattr(window, over) / window.seconds for window in windows]
    return Line.through(xs, [getattr(window, of) / window.seconds for window in windows])


def at_rest(windows: Sequence[Window], what: str) -> dict[str, float]:
    """Requests or writes of Temporal a second, by name, in the windows without streams: polls, and looks at queues."""
    idle = [window for window in windows if window.live == 0]
    seconds, total = sum(window.seconds for window in idle), defaultdict[str, float](float)
    for window in idle:
        for name, count in getattr(window, what).items():
            total[name] += count
    return {name: count / seconds for name, count in total.items()}


def per_response(short: Sequence[Window], what: str, rest: Mapping[str, float]) -> dict[str, float]:
    """Requests or writes of Temporal for each response, by name. Those that are rarer than one in ten are left out."""
    responses, total = sum(window.responses for window in short), defaultdict[str, float](float)
    for window in short:
        for name, count in getattr(window, what).items():
            total[name] += count - rest.get(name, 0.0) * window.seconds
    rates = {name: count / responses for name, count in total.items() if count >= 0.1 * responses}
    return dict(sorted(rates.items(), key=lambda pair: -pair[1]))


def per_stream_hour(quiet: Window, what: str, rest: Mapping[str, float]) -> dict[str, float]:
    """Requests or writes of Temporal in an hour of one open stream, by name; those with less than one are left out.

    Workers repeat their long polls once a minute, whatever the number of streams, so these are left out too.
    """
    hours = quiet.live * quiet.seconds / 3600
    more = {
        name: count - rest.get(name, 0.0) * quiet.seconds
        for name, count in getattr(quiet, what).items()
        if not name.startswith("Poll")
    }
    return {name: count / hours for name, count in more.items() if count >= hours}
