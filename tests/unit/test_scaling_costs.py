"""`python -m benchmarks scaling` finds the costs that it was given, and the example follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from benchmarks.scaling.costs import PartCost, Window, busy_costs, part_costs, per_response, per_stream_hour
from benchmarks.scaling.example import Assumptions, Costs, Workload, processes, redis, streams_of_a_core
from benchmarks.scaling.readings import PARTS, Reading

KNOWN = PartCost(at_rest=0.02, stream_second=100e-6, delta=300e-6, response=0.020)
WORDS = 2


def reading(at: float, cpu: float, **counts: float) -> Reading:
    nothing: Mapping[str, float] = {}
    return Reading(
        at=at,
        cpu=dict.fromkeys(PARTS, cpu),
        memory=dict.fromkeys(PARTS, 0.0),
        sockets=dict.fromkeys(PARTS, 0),
        commands=0,
        calls=0,
        redis_in=0,
        redis_out=0,
        redis_memory=0,
        temporal_bytes=0,
        requests=nothing,
        writes=counts,
    )


def window(*, live: int = 0, rate: float = 0.0, responses: int = 0, seconds: float = 10.0, **writes: float) -> Window:
    """What the known costs spend in a window."""
    deltas = round(live * rate * seconds) + WORDS * responses
    busy = KNOWN.at_rest * seconds + KNOWN.stream_second * live * seconds
    busy += KNOWN.delta * deltas + KNOWN.response * responses
    before, after = reading(0, 0), reading(seconds, busy, **writes)
    return Window.between(before, after, live=live, deltas=deltas, responses=responses, sse=0)


def test_the_costs_of_a_stream_a_delta_and_a_response_are_told_apart() -> None:
    held = {rate: [window(live=live, rate=rate) for live in (0, 25, 50, 100, 200)] for rate in (0.5, 4.0)}
    short: Sequence[Window] = [window(responses=count) for count in (30, 60, 120)]
    parts = part_costs(held, short, WORDS)
    busy = busy_costs(parts, [window(live=live, rate=20.0) for live in (0, 20, 60)])
    for cost in [*parts.values(), *busy.values()]:
        assert cost.at_rest == pytest.approx(KNOWN.at_rest)
        assert cost.stream_second == pytest.approx(KNOWN.stream_second)
        assert cost.delta == pytest.approx(KNOWN.delta)
        assert cost.response == pytest.approx(KNOWN.response)


def test_what_a_process_at_rest_asks_of_temporal_is_not_counted_for_its_responses() -> None:
    rest = {"Poll": 2.0}
    short = [window(responses=50, Poll=20, UpdateWorkflowExecution=250)]
    assert per_response(short, "writes", rest) == {"UpdateWorkflowExecution": 5.0}
    quiet = window(live=10, seconds=360, Poll=900, Beat=75)
    assert per_stream_hour(quiet, "writes", rest) == {"Beat": 75.0}


def test_each_tier_of_the_example_is_large_enough_for_its_work_and_its_bounds() -> None:
    load = Workload("tried", live=1_000_000, rate=2, seconds=500, kept_hours=1)
    assumed = Assumptions(use=0.5, streams_per_api=10_000, samples_per_worker=1_000, redis_memory=64 * 2**30)
    costs = Costs(
        parts=dict.fromkeys(PARTS, KNOWN),
        parts_at_low_rates={},
        process_memory={"api": 100.0, "worker": 200.0},
        stream_memory={"api": 1.0, "worker": 2.0},
        redis_delta_in_pipelines=KNOWN.delta / 3,
        redis_connections=1,
        redis_calls_at_rest=1,
        redis_memory_per_response=10_000,
        redis_memory_per_delta=400,
        redis_record_per_delta=50,
        redis_in_per_delta=1,
        redis_out_per_delta=1,
        sse_per_delta=1,
        temporal_bytes_per_response=1,
        temporal_requests=1,
        temporal_writes=1,
        temporal_writes_per_stream_hour=1,
        temporal_requests_per_stream_hour=1,
    )
    assert Costs.read(costs.written()) == costs
    # 100 cores for open streams, 600 for deltas, 40 for responses.
    api, workers = (processes(costs, part, load, assumed) for part in ("api", "worker"))
    store = redis(costs, load, assumed)
    assert api.busy == pytest.approx(740)
    assert api.processes == 1480
    assert api.cores == pytest.approx(740 + 1480 * KNOWN.at_rest)
    assert workers.memory == pytest.approx(1480 * 200 + 2_000_000)
    assert store.processes == 1480
    assert redis(costs, load, assumed, in_pipelines=True).busy == pytest.approx(340)
    records, logs = 2_000 * 3600 * (10_000 + 1_000 * 50), 2_000_000 * (250 + 3600) * 400
    assert store.memory == pytest.approx(records + logs)
    assert streams_of_a_core(KNOWN, load) == pytest.approx(1_000_000 / 740)
    idle = Workload("idle", live=1_000_000, rate=0.001, seconds=1e6, kept_hours=1)
    light = {part: PartCost(0, 0, 1e-9, 0) for part in PARTS}
    counts = [processes(replace(costs, parts=light), part, idle, assumed).processes for part in ("api", "worker")]
    assert counts == [100, 1000]
