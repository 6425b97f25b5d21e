"""Processes that stand by take the place of a worker that dies or leaves, and of no other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from open_responses.io.log.appender import Appender
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from open_responses.io.redis.leases import Lease, announce_death
from open_responses.io.redis.serving_places import Places
from tests.support.own_valkey import own_valkey
from tests.support.stack import until

pytestmark = pytest.mark.campaign

# So long that nothing here expires on a slow machine.
_LONG_SECONDS = 60.0
_PATIENCE_SECONDS = 20


@dataclass
class Process:
    """A worker process of which only lease and place exist."""

    places: Places
    lease: Lease
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    serving: asyncio.Task[None] = field(init=False)

    def __post_init__(self) -> None:
        self.serving = asyncio.create_task(self._serve())

    async def _serve(self) -> None:
        answered_since = await self.places.wait(self.stopping)
        if not self.stopping.is_set():
            await self.lease.start(place=key_names.places(self.places.version), answered_since=answered_since)

    async def serves(self) -> None:
        await asyncio.wait_for(asyncio.shield(self.serving), _PATIENCE_SECONDS)


@dataclass
class Processes:
    url: str
    redis: Redis
    started: list[Process] = field(default_factory=list)

    def start(self, name: str, *, version: str = "all", lease_seconds: float = _LONG_SECONDS) -> Process:
        lease = Lease(self.url, Appender(self.redis, ttl_seconds=60), name, lease_seconds)
        process = Process(Places(self.redis, lease.worker_id, version, 1, _LONG_SECONDS), lease)
        self.started.append(process)
        return process

    async def stands_by(self, process: Process) -> None:
        """It listens for what becomes of the others."""

        async def listens() -> bool:
            return bool((await self.redis.pubsub_numsub(key_names.CONTROL))[0][1])

        await until(listens, _PATIENCE_SECONDS)
        assert not process.serving.done()


@pytest_asyncio.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    async with own_valkey(tmp_path) as (url, redis):
        processes = Processes(url, redis)
        yield processes
        for process in processes.started:
            process.stopping.set()
            process.serving.cancel()
            if process.lease.begun_at != float("inf"):
                await process.lease.stop()
        await asyncio.gather(*(process.serving for process in processes.started), return_exceptions=True)


async def test_an_announced_death_frees_a_place_at_once(processes: Processes) -> None:
    first = processes.start("first")
    await first.serves()
    spare = processes.start("spare")
    await processes.stands_by(spare)
    # A lease that is renewed every quarter of a minute: until then it stays as it was announced.
    await announce_death(processes.url, "first")
    await spare.serves()
    assert await processes.redis.zscore(key_names.LEASES, spare.lease.worker_id)


async def test_a_worker_that_leaves_frees_its_place_before_its_lease_ends(processes: Processes) -> None:
    first = processes.start("first")
    await first.serves()
    spare = processes.start("spare")
    await processes.stands_by(spare)
    first.lease.leave_place()
    await first.places.leave()
    await spare.serves()
    assert await processes.redis.zscore(key_names.LEASES, first.lease.worker_id)


async def test_each_version_has_places_of_its_own(processes: Processes) -> None:
    await processes.start("old", version="1").serves()
    await processes.start("new", version="2").serves()


async def test_a_flush_is_no_death(processes: Processes) -> None:
    first = processes.start("first", lease_seconds=0.2)
    await first.serves()
    spare = processes.start("spare")
    await processes.stands_by(spare)
    await processes.redis.flushall()

    async def is_back() -> bool:
        return bool(await processes.redis.sismember(key_names.places("all"), first.lease.worker_id))

    await until(is_back, _PATIENCE_SECONDS)
    assert not spare.serving.done()
