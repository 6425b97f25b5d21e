"""The clients: streams that stay open in known numbers, and short responses at a known rate."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import aiohttp

from benchmarks.load.order import Order

T = TypeVar("T")

_DELTA = b'"type":"response.output_text.delta"'
_COMPLETED = b'"type":"response.completed"'
_SETTLE_SECONDS = 2.0
_READING_SECONDS = 2.0
"""The most that the two readings of a window take together."""
_STARTS_PER_SECOND = 20.0


@dataclass(slots=True)
class Received:
    """What all clients have received, and the number of streams that ended whole."""

    deltas: int = 0
    bytes: int = 0
    ended: int = 0


class Clients:
    """Clients that spread their requests over the API processes in turn."""

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str]) -> None:
        self._session = session
        self._urls = itertools.cycle(urls)
        self.received = Received()

    async def stream(self, words: int, gap: float) -> None:
        """One streamed response, read to its end."""
        body = {"model": "fake", "stream": True, "input": Order(words, gap).prompt}
        tail, is_complete = b"", False
        async with self._session.post(next(self._urls) + "/v1/responses", json=body) as response:
            response.raise_for_status()
            async for chunk in response.content.iter_any():
                self.received.bytes += len(chunk)
                # A chunk may end within a marker, and no marker fits into the tail.
                text = tail + chunk
                self.received.deltas += text.count(_DELTA)
                is_complete = is_complete or _COMPLETED in text
                tail = b"" if text.endswith(_DELTA) else text[-len(_COMPLETED) + 1 :]
        if not is_complete:
            raise AssertionError("a stream ended without its last event")
        self.received.ended += 1

    async def hold(
        self, sizes: Sequence[int], rate: float, seconds: float, measure: Callable[[int], Awaitable[T]]
    ) -> None:
        """Raise the number of live streams to each of `sizes` in turn, and call `measure` at each.

        `measure` takes `seconds`. Every stream brings `rate` deltas a second. All end at about the same time, after the
        last window.
        """
        loop = asyncio.get_running_loop()
        due = loop.time()
        steps = [larger - smaller for smaller, larger in itertools.pairwise([0, *sizes])]
        took = [step / _STARTS_PER_SECOND + _SETTLE_SECONDS + seconds + _READING_SECONDS for step in steps]
        end = due + sum(took)
        live = list[asyncio.Task[None]]()
        try:
            for size, step, whole in zip(sizes, steps, took, strict=True):
                for number in range(step):
                    await asyncio.sleep(due + number / _STARTS_PER_SECOND - loop.time())
                    # One more than fits, so that none ends within the last window.
                    words = 1 + math.ceil((end - loop.time()) * rate)
                    live.append(asyncio.create_task(self.stream(words, 1 / rate)))
                await asyncio.sleep(_SETTLE_SECONDS)
                await measure(size)
                due += whole
            if ended := sum(task.done() for task in live):
                print(f"{ended} streams ended before the last window did: the machine is too slow for these sizes")
            await asyncio.gather(*live)
        finally:
            for task in live:
                task.cancel()

    async def responses(self, per_second: float, seconds: float, words: int) -> None:
        """Begin so many short responses a second for so long, and wait for them."""
        tasks = list[asyncio.Task[None]]()
        for _ in range(round(per_second * seconds)):
            tasks.append(asyncio.create_task(self.stream(words, 0)))
            await asyncio.sleep(1 / per_second)
        await asyncio.gather(*tasks)
