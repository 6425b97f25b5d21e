"""One arm under one load: the streams that came back, and the CPU time that each process spent on them."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.load.client import Client, Refused, Stream
from benchmarks.load.order import Order
from benchmarks.processes import cpu_seconds
from benchmarks.profiler import profiled
from benchmarks.table.arms import Arm
from tests.support.stack import Stack

CLIENT = "client"
"""This process, among those whose CPU is counted."""
_LOOK_SECONDS = 0.3
# Servers that have nothing to do take a few hundredths of a core: Temporal's timers, leases, LiteLLM's schedules.
_REST_CORES = 0.15
_LONGEST_SETTLING_SECONDS = 6.0
# Streams that were given up run on: a response of ours survives its client.
_LONGEST_SETTLING_BEHIND_GIVEN_UP_SECONDS = 30.0
# A stream's end is seen up to this late: one part in a hundred of the shortest length that is measured so.
_READ_SECONDS = 0.1


@dataclass(slots=True)
class Outcome:
    """`faults` counts the streams that failed, that were given up, and whose text was not what the provider sent."""

    streams: list[Stream] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    cpu: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def given_up(self) -> int:
        return self.faults["given up"]


class Load:
    """Runs arms, one at a time, each from a machine at rest to a machine at rest."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._client = Client()
        self.settling_seconds = 0.0

    def close(self) -> None:
        self._client.close()

    async def at_once(
        self, arm: Arm, order: Order, streams: int, *, within: float = 0.0, cap: float = 60.0, label: str = ""
    ) -> Outcome:
        """So many streams, started over `within` seconds. Each is given up after `cap` seconds. Where the starts take
        time, the row is about the streams' length, and the client reads them now and then."""
        outcome = Outcome()

        async def one(number: int) -> None:
            await asyncio.sleep(within * number / streams)
            await self._stream(arm, order, cap, outcome, read_seconds=_READ_SECONDS if within else 0.0)

        async with self._measured(arm, outcome, label):
            await asyncio.gather(*(one(number) for number in range(streams)))
        _check(outcome, order)
        return outcome

    async def one_after_the_other(
        self, arm: Arm, order: Order, streams: int, *, at_once: int, label: str = ""
    ) -> Outcome:
        """So many streams in all, `at_once` at a time."""
        outcome, left = Outcome(), iter(range(streams))

        async def several() -> None:
            for _ in left:
                await self._stream(arm, order, 60.0, outcome)

        async with self._measured(arm, outcome, label):
            await asyncio.gather(*(several() for _ in range(at_once)))
        _check(outcome, order)
        return outcome

    async def settle(self, longest: float = _LONGEST_SETTLING_SECONDS) -> None:
        """Wait until the servers have ended what they do behind their last answers."""
        began = time.perf_counter()
        before = sum(self.cpu().values())
        while time.perf_counter() - began < longest:
            await asyncio.sleep(_LOOK_SECONDS)
            now = sum(self.cpu().values())
            is_at_rest = now - before < _REST_CORES * _LOOK_SECONDS
            before = now
            if is_at_rest:
                break
        self.settling_seconds += time.perf_counter() - began

    def cpu(self) -> dict[str, float]:
        """CPU seconds of each process so far."""
        seconds = {name: cpu_seconds(process.pid) for name, process in self._stack.processes.items()}
        times = os.times()
        return {**seconds, CLIENT: times.user + times.system}

    async def _stream(self, arm: Arm, order: Order, cap: float, outcome: Outcome, *, read_seconds: float = 0.0) -> None:
        body = arm.body(order.prompt)
        try:
            async with asyncio.timeout(cap):
                outcome.streams.append(await self._client.stream(arm.target, body, read_seconds=read_seconds))
        except TimeoutError:
            outcome.faults["given up"] += 1
        except Refused as error:
            outcome.faults[str(error)] += 1
        except OSError as error:
            outcome.faults[repr(error)] += 1

    @asynccontextmanager
    async def _measured(self, arm: Arm, outcome: Outcome, label: str) -> AsyncIterator[None]:
        """What the servers do behind the last answer counts as well. What they do at rest does too: it is small, and
        the same for each arm."""
        before, began = self.cpu(), time.perf_counter()
        sampled = {name: process for name, process in self._stack.processes.items() if name in {*arm.own, *arm.beside}}
        with profiled(sampled, f".{label}.{arm.name}"):
            yield
            outcome.seconds = time.perf_counter() - began
            has_left = outcome.given_up > 0
            await self.settle(_LONGEST_SETTLING_BEHIND_GIVEN_UP_SECONDS if has_left else _LONGEST_SETTLING_SECONDS)
        outcome.cpu = {name: seconds - before.get(name, 0.0) for name, seconds in self.cpu().items()}


def _check(outcome: Outcome, order: Order) -> None:
    for stream in outcome.streams:
        if stream.text != order.text:
            outcome.faults["another text than the provider's"] += 1
        # Its bytes are of no more use.
        stream.parts.clear()
