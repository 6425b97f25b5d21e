"""Which worker takes over from which: on a Redis of its own, where no real worker looks at the leases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.service import RPCStatusCode

from activities.worker.dead_worker_detector import DeadWorkerDetector, IsDead
from activities.worker.dead_worker_takeover import lost_result
from open_responses.io.log.appender import Appender
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from open_responses.io.redis.leases import Lease, Running, announce_death
from open_responses.io.redis.takeovers import newest_takeovers
from open_responses.io.temporal.client import TemporalAway
from open_responses.loop.payloads.programs import ProgramStepResult
from open_responses.loop.payloads.sample import SampleResult
from open_responses.loop.payloads.tool_calls import McpListResult, ToolResult
from open_responses.schema.payload import Payload
from tests.support.own_valkey import own_valkey

LISTED = Running("resp_1", "run", "3", kind="get_weather", attempt=2, task_token=b"\x00token")
# Long enough that a slow machine does not let one expire while a test looks.
_LEASE_SECONDS = 30.0


class Workers:
    """Workers of which only lease and detector exist."""

    def __init__(self, url: str, redis: Redis) -> None:
        self.url = url
        self.redis = redis
        self.leases: list[Lease] = []

    async def lease(self, name: str = "worker", seconds: float = _LEASE_SECONDS) -> Lease:
        lease = Lease(self.url, Appender(self.redis, ttl_seconds=60), name, seconds)
        self.leases.append(lease)
        await lease.start()
        return lease

    async def dead(self, name: str = "dead") -> str:
        """The id of a worker that ran an activity, and whose death was announced."""
        worker_id = f"{name}:0"
        await self.redis.zadd(key_names.LEASES, {worker_id: 0})
        await self.redis.hset(key_names.running(worker_id), LISTED.token, LISTED.details)  # type: ignore[misc,arg-type]
        return worker_id

    async def ids(self) -> set[str]:
        return {member.decode() for member in await self.redis.zrange(key_names.LEASES, 0, -1)}


@pytest_asyncio.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    async with own_valkey(tmp_path) as (url, redis):
        workers = Workers(url, redis)
        yield workers
        for lease in workers.leases:
            await lease.stop()


class Takeovers:
    """What one detector handed over. `during` runs in the middle of each takeover.

    `living`: those that were alive before or after it, by their lease.
    """

    def __init__(self, workers: Workers, lease: Lease, during: Callable[[], Awaitable[None]] | None = None) -> None:
        self.of: list[tuple[str, list[Running]]] = []
        self.living: list[str] = []
        self._during = during
        self.detector = DeadWorkerDetector(workers.redis, lease, self._take_over, self._find_orphans)

    async def _take_over(self, dead: Mapping[str, list[Running]], is_dead: IsDead) -> Mapping[str, Sequence[str]]:
        self.living += [worker_id for worker_id in dead if not await is_dead(worker_id)]
        if self._during is not None:
            await self._during()
        self.of += dead.items()
        self.living += [worker_id for worker_id in dead if not await is_dead(worker_id)]
        return {worker_id: ["resp_that_was_not_listed"] for worker_id in dead}

    async def _find_orphans(self, *_: object) -> None:
        raise AssertionError("nothing was flushed")


async def test_two_processes_of_one_name_hold_two_leases(workers: Workers) -> None:
    first, second = await workers.lease("same"), await workers.lease("same")
    assert first.worker_id != second.worker_id
    assert await workers.ids() == {first.worker_id, second.worker_id}


async def test_a_worker_has_its_lease_before_it_polls(workers: Workers) -> None:
    """`start` returns when no other worker can take it for dead any more, also one that read the leases before."""
    looking = Takeovers(workers, await workers.lease())
    earlier = await workers.ids()
    starting = await workers.lease("new")
    assert starting.worker_id not in earlier
    assert not await looking.detector.is_orphaned(starting.worker_id)
    assert await looking.detector.is_orphaned("nobody:1")


async def test_an_announced_death_is_of_all_processes_of_that_name_and_of_no_other(workers: Workers) -> None:
    mine, longer = await workers.lease("worker-1"), await workers.lease("worker-10")
    assert await announce_death(workers.url, "worker-1") == [mine.worker_id]
    assert await workers.redis.zscore(key_names.LEASES, mine.worker_id) == 0
    assert await workers.redis.zscore(key_names.LEASES, longer.worker_id) != 0


async def test_a_dead_worker_is_forgotten_after_its_activities_were_taken_over(workers: Workers) -> None:
    dead = await workers.dead()
    lists: list[int] = []

    async def look() -> None:
        lists.append(await workers.redis.hlen(key_names.running(dead)))  # type: ignore[misc]

    one = Takeovers(workers, await workers.lease(), look)
    await one.detector.look()
    assert one.of == [(dead, [LISTED])]
    assert one.living == []
    assert lists == [1]
    assert dead not in await workers.ids()
    assert not await workers.redis.exists(key_names.running(dead), key_names.CLAIMS)
    (noted,) = await newest_takeovers(workers.redis, 10)
    assert (noted.worker, noted.activities) == (dead, 2)
    assert set(noted.responses) == {LISTED.workflow_id, "resp_that_was_not_listed"}


async def test_one_of_two_living_workers_takes_over(workers: Workers) -> None:
    await workers.dead()
    other = Takeovers(workers, await workers.lease())
    one = Takeovers(workers, await workers.lease(), other.detector.look)
    await one.detector.look()
    assert len(one.of) == 1
    assert other.of == []


async def test_the_workers_of_a_node_that_died_are_taken_over_together(workers: Workers) -> None:
    dead = [await workers.dead(name) for name in ("first", "second", "third")]
    takeovers: list[int] = []

    async def count() -> None:
        takeovers.append(1)

    one = Takeovers(workers, await workers.lease(), count)
    await one.detector.look()
    assert takeovers == [1]
    assert sorted(one.of) == sorted((worker_id, [LISTED]) for worker_id in dead)
    assert not await workers.ids() & set(dead)
    assert {noted.worker for noted in await newest_takeovers(workers.redis, 10)} == set(dead)


async def test_a_worker_that_dies_in_a_takeover_leaves_it_to_the_next(workers: Workers) -> None:
    dead = await workers.dead()
    claimer = await workers.lease("claimer")

    async def die() -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await Takeovers(workers, claimer, die).detector.look()
    await claimer.stop()
    next_one = Takeovers(workers, await workers.lease())
    await next_one.detector.look()
    assert next_one.of == [(dead, [LISTED])]
    assert dead not in await workers.ids()


async def test_a_takeover_waits_for_a_temporal_that_is_away(workers: Workers) -> None:
    dead = await workers.dead()
    is_away = [True]

    async def ask_temporal() -> None:
        if is_away[0]:
            raise TemporalAway("refused", RPCStatusCode.UNAVAILABLE, b"", was_sent=False)

    one = Takeovers(workers, await workers.lease(), ask_temporal)
    await one.detector.look()
    assert one.of == []
    is_away[0] = False
    await one.detector.look()
    assert one.of == [(dead, [LISTED])]


async def test_a_worker_that_wakes_up_during_its_takeover_keeps_its_lease(workers: Workers) -> None:
    dead = await workers.dead()

    async def wake_up() -> None:
        seconds, _ = await workers.redis.time()
        await workers.redis.zadd(key_names.LEASES, {dead: seconds * 1000 + 999})

    one = Takeovers(workers, await workers.lease(), wake_up)
    await one.detector.look()
    assert len(one.of) == 1
    assert one.living == [dead], "it lives from then on, and not before"
    assert dead in await workers.ids()
    assert await workers.redis.hlen(key_names.running(dead)) == 1  # type: ignore[misc]


def test_a_list_of_an_earlier_version_is_read() -> None:
    assert Running.parse(b"resp_1 run 3", b"1") == Running("resp_1", "run", "3")
    assert Running.parse(LISTED.token.encode(), LISTED.details) == LISTED


@pytest.mark.parametrize(
    ("kind", "result_type"),
    [
        ("sample", SampleResult),
        ("list_mcp_tools", McpListResult),
        ("call_mcp_tool", ToolResult),
        ("run_program_step", ProgramStepResult),
        ("get_weather", ToolResult),
    ],
)
def test_each_kind_of_activity_has_its_own_lost_result(kind: str, result_type: type[Payload]) -> None:
    lost = lost_result(Running("resp_1", "run", "3", kind=kind, attempt=2))
    assert isinstance(lost, result_type)
    assert getattr(lost, "outcome") == "lost"  # noqa: B009
    if isinstance(lost, ToolResult):
        assert lost.attempts == 2


@pytest.mark.parametrize("turns_of_the_loop", range(5))
async def test_a_cancelled_detector_ends_although_a_death_is_announced_in_the_same_moment(
    workers: Workers, turns_of_the_loop: int
) -> None:
    """A worker that leaves cancels its detector once, and announces its own departure."""
    looking = Takeovers(workers, await workers.lease(seconds=10_000.0))
    running = asyncio.create_task(looking.detector.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    looking.detector.look_now()
    for _ in range(turns_of_the_loop):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait({running}, timeout=50)
    assert running.cancelled()
