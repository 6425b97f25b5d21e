"""How long a client's stream pauses when the worker that writes it is killed."""

from __future__ import annotations

import asyncio
import statistics

import httpx

from benchmarks.stack import ms, prompt
from benchmarks.streams import THROUGH, stream
from tests.support.stack import Stack


async def measure(client: httpx.AsyncClient, stack: Stack, _: str) -> None:
    for how in ("seen by a supervisor", "found by its lease"):
        pauses = []
        for _ in range(4):
            await stack.heal()
            asking = asyncio.create_task(stream(client, stack.api_url + THROUGH, {"input": prompt(150, 0.02)}))
            await asyncio.sleep(1.2)
            name = await stack.busy_worker()
            await (stack.kill_seen(name) if how.startswith("seen") else stack.kill(name))
            pauses.append(max((await asking).gaps))
        print(f"kill -9, {how}: pause of the client's stream, median {ms(statistics.median(pauses))} of {len(pauses)}")
