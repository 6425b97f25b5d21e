"""The worked example: what a stated workload needs in each tier, by the costs that were measured."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

from benchmarks.scaling.costs import PartCost

MIB, GIB = 2**20, 2**30


@dataclass(frozen=True, slots=True)
class Workload:
    """`live` responses at a time, each `seconds` long with `rate` deltas a second, kept in Redis for `kept_hours`."""

    name: str
    live: int
    rate: float
    seconds: float
    kept_hours: float

    @property
    def deltas_per_second(self) -> float:
        """Deltas of all responses."""
        return self.live * self.rate

    @property
    def responses_per_second(self) -> float:
        """Responses that begin, and as many that end."""
        return self.live / self.seconds


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What is not measured here, and has to be chosen.

    `use`: the share of a core that a process may be busy for. `streams_per_api` and `samples_per_worker`: the bounds by
    default. `log_seconds`: how long Redis keeps the log of an ended response (OPEN_RESPONSES_LOG_TTL_SECONDS).
    `redis_memory`: bytes of one Redis. `write_seconds` and `shard_use`: how long one write to Temporal's
    database takes, and the share of the time for which a history shard may be busy with its own, which come one after
    the other.
    """

    use: float = 0.6
    streams_per_api: int = 10_000
    samples_per_worker: int = 1_000
    log_seconds: float = 3600
    redis_memory: int = 64 * GIB
    write_seconds: float = 0.005
    shard_use: float = 0.25


@dataclass(frozen=True, slots=True)
class Costs:
    """The measured costs. Memory and bytes in bytes. The example uses `parts`: those where many deltas come."""

    parts: Mapping[str, PartCost]
    parts_at_low_rates: Mapping[str, PartCost]
    process_memory: Mapping[str, float]
    stream_memory: Mapping[str, float]
    redis_delta_in_pipelines: float
    """CPU seconds of a delta where Redis is so busy that each pipeline has many: the log's appends alone."""
    redis_connections: float
    redis_calls_at_rest: float
    redis_memory_per_response: float
    redis_memory_per_delta: float
    redis_record_per_delta: float
    redis_in_per_delta: float
    redis_out_per_delta: float
    sse_per_delta: float
    temporal_bytes_per_response: float
    temporal_requests: float
    temporal_writes: float
    temporal_writes_per_stream_hour: float
    temporal_requests_per_stream_hour: float

    def written(self) -> str:
        """As JSON."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def read(cls, text: str) -> Costs:
        """From JSON that `written` made. Raises TypeError if it was made by a version with other costs."""
        found = json.loads(text)
        for name in ("parts", "parts_at_low_rates"):
            found[name] = {part: PartCost(**cost) for part, cost in found[name].items()}
        return cls(**found)


@dataclass(frozen=True, slots=True)
class Tier:
    """What one tier needs. `busy`: cores at work, without the processes at rest."""

    busy: float
    processes: int
    cores: float
    memory: float


def busy(cost: PartCost, load: Workload) -> float:
    """The cores that this part is busy with under a workload."""
    return (
        load.live * cost.stream_second + load.deltas_per_second * cost.delta + load.responses_per_second * cost.response
    )


def streams_of_a_core(cost: PartCost, load: Workload) -> float:
    """Live responses of this kind that keep one core busy."""
    one = busy(cost, load) / load.live
    return 1 / one if one else math.inf


def processes(costs: Costs, part: str, load: Workload, assumed: Assumptions) -> Tier:
    """API or worker processes, each with its own core."""
    work = busy(costs.parts[part], load)
    bound = assumed.streams_per_api if part == "api" else assumed.samples_per_worker
    count = max(math.ceil(work / assumed.use), math.ceil(load.live / bound))
    memory = count * costs.process_memory[part] + load.live * costs.stream_memory[part]
    return Tier(work, count, work + count * costs.parts[part].at_rest, memory)


def redis(costs: Costs, load: Workload, assumed: Assumptions, *, in_pipelines: bool = False) -> Tier:
    """Redis servers, each with one core for commands. `in_pipelines`: at the cost of a delta in a full pipeline."""
    cost = costs.parts["valkey"]
    work = busy(replace(cost, delta=costs.redis_delta_in_pipelines) if in_pipelines else cost, load)
    record = costs.redis_memory_per_response + load.rate * load.seconds * costs.redis_record_per_delta
    kept = load.responses_per_second * load.kept_hours * 3600 * record
    # A log is half of its final size on average while it is written.
    logs = load.deltas_per_second * (load.seconds / 2 + assumed.log_seconds) * costs.redis_memory_per_delta
    memory = kept + logs
    count = max(math.ceil(work / assumed.use), math.ceil(memory / assumed.redis_memory))
    return Tier(work, count, work, memory)


def printed(costs: Costs, load: Workload, assumed: Assumptions) -> list[str]:
    """The example as lines of text."""
    api, workers = processes(costs, "api", load, assumed), processes(costs, "worker", load, assumed)
    store, least = redis(costs, load, assumed), redis(costs, load, assumed, in_pipelines=True)
    writes = (
        load.responses_per_second * costs.temporal_writes + load.live * costs.temporal_writes_per_stream_hour / 3600
    )
    requests = (
        load.responses_per_second * costs.temporal_requests + load.live * costs.temporal_requests_per_stream_hour / 3600
    )
    shards = writes * assumed.write_seconds / assumed.shard_use
    in_cell = (api.processes + workers.processes) / least.processes
    deltas, starts = load.deltas_per_second, load.responses_per_second
    full = {part: streams_of_a_core(cost, load) for part, cost in costs.parts.items()}
    return [
        f"{load.name}: {load.live:,} live responses of {load.seconds:g} s with {load.rate:g} deltas/s: "
        f"{deltas:,.0f} deltas/s, {starts:,.0f} responses/s",
        f"  live responses of one core   API {full['api']:,.0f}, worker {full['worker']:,.0f}, "
        f"Valkey {full['valkey']:,.0f}, Temporal (development server) {full['temporal']:,.0f}",
        f"  API       {api.processes:,} processes, {api.cores:,.0f} cores, {api.memory / GIB:,.0f} GiB",
        f"  workers   {workers.processes:,} processes, {workers.cores:,.0f} cores, {workers.memory / GIB:,.0f} GiB",
        f"  Redis     {least.processes:,} to {store.processes:,} servers, "
        f"{least.busy:,.0f} to {store.busy:,.0f} cores, "
        f"{store.memory / GIB:,.0f} GiB with ended responses for {load.kept_hours:g} h, "
        f"{deltas * costs.redis_in_per_delta * 8 / 1e9:,.2f} Gbit/s in, "
        f"{deltas * costs.redis_out_per_delta * 8 / 1e9:,.2f} Gbit/s out",
        f"  a cell    {load.live / store.processes:,.0f} to {load.live / least.processes:,.0f} live responses "
        f"with one Redis, "
        f"{api.processes / store.processes:.1f} to {api.processes / least.processes:.1f} API processes, "
        f"{workers.processes / store.processes:.1f} to {workers.processes / least.processes:.1f} workers, "
        f"{in_cell * costs.redis_connections:,.0f} connections to Redis and "
        f"{in_cell * costs.redis_calls_at_rest:,.0f} calls/s for leases in the larger one",
        f"  Temporal  {requests:,.0f} requests/s, {writes:,.0f} writes/s to the database, "
        f"{shards:,.0f} history shards or more, {starts * costs.temporal_bytes_per_response * 8 / 1e9:,.2f} Gbit/s",
        f"  clients   {deltas * costs.sse_per_delta * 8 / 1e9:,.2f} Gbit/s of server-sent events",
    ]
