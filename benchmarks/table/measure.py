"""Fills the table's rows. In each round the arms take turns, each round from the next one on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping

from benchmarks.load.order import Order
from benchmarks.processes import memory
from benchmarks.stack import WORKERS
from benchmarks.table import report
from benchmarks.table.arms import LITELLM_MODELS, OUR_MODELS, Arm
from benchmarks.table.load import Load, Outcome
from benchmarks.table.results import Results
from benchmarks.table.rows import THEIRS
from benchmarks.table.servers import Servers
from benchmarks.table.sizes import Sizes
from benchmarks.worker_start import seconds_to_first_poll

_SHORT, _SHORT_AT_ONCE = Order(50), 64
# Of a client that asks the provider itself: more of them, since a few end before a clock can tell.
_SHORT_DIRECT = 1200
_FIRST = Order(40, 0.02, 0.05)
# The figure is the time to the first token: one stream alone does not slow itself down, and the rounds are many.
_FIRST_ALONE = Order(5, 0.02, 0.05)
_PACE_BEGIN_SECONDS = 2.0
_DIRECT, _TEMPORAL = "direct", "temporal"


class Measurement:
    """Rows by name: `PARTS[name]` fills the rows that begin so."""

    def __init__(self, servers: Servers, sizes: Sizes, arms: Mapping[str, Arm]) -> None:
        self.results = Results()
        self._servers = servers
        self._sizes = sizes
        self._arms = arms
        self._load = Load(servers.stack)

    async def run(self, parts: Iterable[str]) -> Results:
        """These parts, in their order."""
        began = time.perf_counter()
        await self._warm_up()
        for part in parts:
            known = set(self.results.figures)
            await PARTS[part](self)
            for row in [row for row in self.results.figures if row not in known]:
                print(f"{time.perf_counter() - began:4.0f} s  {report.progress(row, self.results)}", flush=True)
        self._load.close()
        self.results.notes.append(f"waited {self._load.settling_seconds:.0f} s in all until the servers were at rest")
        return self.results

    async def _warm_up(self) -> None:
        """Connections, compiled code, caches of each arm; a server's first seconds are none of a day's."""
        for arm in self._arms.values():
            self._keep("warm-up", arm, await self._load.at_once(arm, Order(20, 0.005), 24))

    def _turns(self, row: str, rounds: int = 1) -> Iterator[Arm]:
        """The row's arms, each once a round; another one is the first in each round."""
        without = self._sizes.without.get(row, ())
        arms = [arm for name, arm in self._arms.items() if name not in without]
        for number in range(rounds):
            start = number % len(arms)
            yield from [*arms[start:], *arms[:start]] if arms else []

    def _keep(self, row: str, arm: Arm, outcome: Outcome) -> Outcome:
        self.results.add_faults(row, arm.name, outcome.faults)
        return outcome

    async def first(self) -> None:
        """Time to the first token, less that of a direct client in the same rounds."""
        for streams, rounds in self._sizes.first_rounds.items():
            row, order = f"first-{streams}", _FIRST if streams > 1 else _FIRST_ALONE
            took: dict[str, list[float]] = {}
            for arm in self._turns(row, rounds):
                outcome = self._keep(row, arm, await self._load.at_once(arm, order, streams, label=row))
                took.setdefault(arm.name, []).extend(stream.seconds_to_first for stream in outcome.streams)
            medians = {name: statistics.median(seconds) for name, seconds in took.items() if seconds}
            for name, median in medians.items():
                self.results.put(row, name, (median - medians.get(_DIRECT, 0.0)) * 1000)

    async def short(self) -> None:
        """Answers a second, and CPU per answer: of one load, since a saturated machine is what both are about."""
        rates: dict[str, list[float]] = {}
        spent: dict[str, list[dict[str, float]]] = {}
        for arm in self._turns("short", self._sizes.short_rounds):
            count = _SHORT_DIRECT if arm.name == _DIRECT else self._sizes.short
            outcome = self._keep(
                "short",
                arm,
                await self._load.one_after_the_other(arm, _SHORT, count, at_once=_SHORT_AT_ONCE, label="short"),
            )
            rates.setdefault(arm.name, []).append(len(outcome.streams) / outcome.seconds)
            spent.setdefault(arm.name, []).append({name: cpu / count for name, cpu in outcome.cpu.items()})
        for name, several in rates.items():
            self.results.put("short", name, statistics.fmean(several))
            cpu = _means(spent[name])
            self.results.put_cpu("short", name, cpu, 1, _SHORT.words)
            if own := self._arms[name].own:
                self.results.put("cpu-response", name, sum(cpu[process] for process in own) * 1000)
            if name in OUR_MODELS:
                self.results.put("cpu-temporal", name, cpu[_TEMPORAL] * 1000)
        self._divide_by_theirs("cpu-temporal", "cpu-response")
        self._memory()

    def _memory(self) -> None:
        """What one worker (the larger) and the API hold, and LiteLLM's process."""
        held = {name: memory(process.pid) for name, process in self._servers.stack.processes.items()}
        for name in self._arms:
            used = [held["litellm"]] if name in LITELLM_MODELS else []
            if name in OUR_MODELS:
                used = [max((held[worker] for worker in WORKERS), key=lambda one: one.resident), held["api"]]
                each = " + ".join(f"{one.resident:.0f}" for one in used)
                self.results.notes.append(f"memory of {name}: worker + API {each} MiB resident")
            if used:
                self.results.put("memory-rss", name, sum(one.resident for one in used))
                self.results.put("memory-pss", name, sum(one.proportional for one in used))

    async def cpu(self) -> None:
        """CPU per delta where no server but LiteLLM's is saturated; starts included."""
        sizes, order = self._sizes, self._sizes.cpu
        spent: dict[str, list[dict[str, float]]] = {}
        for arm in self._turns("cpu-delta", sizes.cpu_rounds):
            outcome = self._keep("cpu-delta", arm, await self._paced(arm, order, sizes.cpu_streams, "cpu"))
            deltas = len(outcome.streams) or 1
            spent.setdefault(arm.name, []).append({name: cpu / deltas for name, cpu in outcome.cpu.items()})
        for name, several in spent.items():
            cpu = _means(several)
            self.results.put_cpu("cpu-delta", name, cpu, 1, order.words)
            # Seconds an answer: to ms per 1,000 deltas.
            per_delta = {process: seconds / order.words * 1e6 for process, seconds in cpu.items()}
            if own := self._arms[name].own:
                self.results.put("cpu-delta", name, sum(per_delta[process] for process in own))
            if name in OUR_MODELS:
                self.results.put("cpu-delta-api", name, per_delta["api"])
                self.results.put("cpu-delta-worker", name, sum(per_delta[worker] for worker in WORKERS))
        self._divide_by_theirs("cpu-delta-api", "cpu-delta")
        self._divide_by_theirs("cpu-delta-worker", "cpu-delta")

    async def pace(self) -> None:
        """Whether streams keep the provider's pace."""
        for streams in self._sizes.pace_streams:
            row = f"pace-{streams}"
            self.results.labels[row] = f"{streams} streams of {self._sizes.pace.words} tokens, 20/s: median length"
            for arm in self._turns(row):
                outcome = await self._paced(arm, self._sizes.pace, streams, row)
                self._put_length(row, arm, outcome, self._sizes.pace)

    async def burst(self) -> None:
        """Many streams that start within seconds."""
        sizes = self._sizes
        started = (
            f"{sizes.burst_streams} streams of {sizes.burst.words} tokens started within {sizes.burst_seconds:.0f} s"
        )
        self.results.labels["burst"] = f"{started}: median length"
        for arm in self._turns("burst"):
            cap = 2 * sizes.cap * (sizes.burst.seconds + sizes.burst_seconds)
            outcome = await self._load.at_once(
                arm, sizes.burst, sizes.burst_streams, within=sizes.burst_seconds, cap=cap, label="burst"
            )
            self._put_length("burst", arm, outcome, sizes.burst)

    async def start(self) -> None:
        """A third worker's start, until Temporal sees it poll, on a machine that does nothing else."""
        took = []
        for _ in range(self._sizes.starts):
            await self._load.settle()
            took.append(await seconds_to_first_poll(self._servers.stack))
        for name in self._arms:
            if name in OUR_MODELS:
                self.results.put("start", name, statistics.median(took))
            elif name == THEIRS:
                self.results.put("start", name, self._servers.litellm_start)

    async def _paced(self, arm: Arm, order: Order, streams: int, label: str) -> Outcome:
        return await self._load.at_once(
            arm, order, streams, within=_PACE_BEGIN_SECONDS, cap=self._sizes.cap * order.seconds, label=label
        )

    def _put_length(self, row: str, arm: Arm, outcome: Outcome, order: Order) -> None:
        self._keep(row, arm, outcome)
        lengths = sorted([stream.seconds for stream in outcome.streams] + [float("inf")] * outcome.given_up)
        if not lengths:
            return
        median = statistics.median_low(lengths)
        if median == float("inf"):
            self.results.bounds.add((row, arm.name))
            median = outcome.seconds
        self.results.put(row, arm.name, median)
        self.results.put(row, "pace", order.seconds)
        responses = len(outcome.streams)
        if responses and not outcome.given_up:
            self.results.put_cpu(row, arm.name, outcome.cpu, responses, order.words)

    def _divide_by_theirs(self, row: str, base: str) -> None:
        theirs = self.results.figures.get(base, {}).get(THEIRS)
        if theirs is not None and row in self.results.figures:
            self.results.put(row, "base", theirs)


def _means(several: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.fmean(one[name] for one in several) for name in several[0]}


PARTS: Mapping[str, Callable[[Measurement], Awaitable[None]]] = {
    "first": Measurement.first,
    "short": Measurement.short,
    "cpu": Measurement.cpu,
    "pace": Measurement.pace,
    "burst": Measurement.burst,
    "start": Measurement.start,
}
