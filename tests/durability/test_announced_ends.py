"""A response whose end clients were sent never reads as running again, also where Redis loses the end at once.

`finish` stores and announces the end within a workflow task. Until Temporal has recorded the task, the run is open, and
the stored end is the only one that others can read.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio
from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import PendingWorkflowTaskState, TaskQueueKind, WorkflowTaskFailedCause
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollWorkflowTaskQueueRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskFailedRequest,
)
from temporalio.client import Client, WorkflowHandle
from websockets.asyncio.client import connect

from api.errors import as_told, error_response
from api.idempotency import idempotency_key
from open_responses.deltas import TextDelta
from open_responses.ids import new_id
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from open_responses.io.store import repository
from open_responses.io.store.records import Record
from open_responses.io.store.repository import EndUnknown
from open_responses.io.temporal.task_in_doubt import has_task_in_doubt
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.names import FINISH, WORKFLOW
from tests.support.fake_upstream import Script, Upstream
from tests.support.repeated_task import Bench, Running, bench
from tests.support.stack import Event, Stack, events_of, until
from tests.support.websocket_client import Client as Socket

Lose = Callable[[Redis, Running], Awaitable[None]]

_SCHEDULED = PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED
_ANSWERED_WITHIN = 0.5


@pytest_asyncio.fixture
async def loop(stack: Stack) -> AsyncIterator[Bench]:
    async with bench(stack.temporal_address, stack.redis_url) as this:
        yield this


async def flush(redis: Redis, running: Running) -> None:
    await redis.flushall()


async def fail_over(redis: Redis, running: Running) -> None:
    """What is left where a replica is promoted that has received all but the end."""
    await redis.hdel(key_names.record(running.id), "response", "trace")
    await redis.zadd(key_names.OPEN, {running.id: time.time()})
    await redis.expire(key_names.OPEN, 600)
    log = key_names.log(running.id)
    *received, (_, last) = await redis.xrange(log)
    assert orjson.loads(last[b"e"])["type"] == "response.completed"
    await redis.delete(log)
    for entry_id, fields in received:
        await redis.xadd(log, fields, entry_id)
    await redis.expire(log, 600)


class Held:
    """A response whose end is announced, and lost by Redis, while its workflow task is still under way."""

    def __init__(self, loop: Bench, lose: Lose) -> None:
        self.loop = loop
        self._lose = lose
        self._is_announced, self.released = asyncio.Event(), asyncio.Event()
        self.log: list[JsonObject] = []

    async def start(self, *, repeats: bool = False, **more: Any) -> None:
        """`repeats`: the task has broken off by then, and is repeated up to what stores the end again."""
        self.loop.turns = [[TextDelta("hello")]]
        if repeats:
            self.loop.repetition.behind(FINISH, self._lost)
        else:
            self.loop.repetition.after[FINISH] = self._lost_and_held
        self.running = await self.loop.start({"background": True}, **more)
        await asyncio.wait_for(self._is_announced.wait(), 50)

    async def _lost(self) -> None:
        self.log = await self.running.log()
        await self._lose(self.loop.redis, self.running)
        self.loop.repetition.before[FINISH] = self._held

    async def _lost_and_held(self) -> None:
        await self._lost()
        del self.loop.repetition.before[FINISH]
        await self._held()

    async def _held(self) -> None:
        self._is_announced.set()
        await self.released.wait()

    async def record(self) -> Record:
        record = await self.loop.records.load(self.running.id)
        assert record is not None
        assert record.response is None
        return record


async def released_behind(held: Held, *reading: Awaitable[Any]) -> list[Any]:
    """What these readers get. The task goes on when all have an answer, or had time enough to give a wrong one."""
    readers = [asyncio.ensure_future(one) for one in reading]
    await asyncio.wait(readers, timeout=_ANSWERED_WITHIN)
    held.released.set()
    return await asyncio.wait_for(asyncio.gather(*readers), 50)


@pytest.mark.parametrize(
    "repeats",
    [pytest.param(False, id="its first run"), pytest.param(True, id="its repetition", marks=pytest.mark.campaign)],
)
@pytest.mark.parametrize("lose", [flush, fail_over])
async def test_a_response_whose_announced_end_redis_has_lost_is_not_read_as_running(
    loop: Bench, stack: Stack, client: httpx.AsyncClient, upstream: Upstream, lose: Lose, repeats: bool
) -> None:
    body = {"model": "fake", "input": "hello", "background": True}
    headers = {"Idempotency-Key": new_id("key_")}
    key = idempotency_key("default", {name.lower(): value for name, value in headers.items()}, body)
    assert key is not None
    upstream.says("and then?", Script(words=2))
    held = Held(loop, lose)
    await held.start(repeats=repeats, response_id=key.response_id, body_digest=key.body_digest)
    end, path = held.log[-1]["response"], f"/v1/responses/{key.response_id}"
    goes_on = {"model": "fake", "input": "and then?", "previous_response_id": key.response_id}

    async def turn() -> JsonObject:
        url = stack.api_url.replace("http", "ws") + "/v1/responses"
        async with connect(url, proxy=None) as connection:
            return await Socket(connection).answer(input="and then?", previous_response_id=key.response_id)

    read, again, listed, chained, on_socket = await released_behind(
        held,
        client.get(path),
        client.post("/v1/responses", json=body, headers=headers),
        client.get(f"{path}/input_items"),
        client.post("/v1/responses", json=goes_on),
        turn(),
    )
    assert end["status"] == "completed"
    assert (read.status_code, read.json()) == (200, end)
    assert (again.status_code, again.json()) == (200, end)
    assert listed.status_code == 200
    assert (chained.status_code, chained.json()["status"]) == (200, "completed"), chained.text
    assert on_socket["status"] == "completed"
    assert (await held.running.result()).response == end


@pytest.mark.campaign
@pytest.mark.parametrize("lose", [flush, fail_over])
async def test_a_stream_of_a_response_whose_announced_end_redis_has_lost_has_all_of_it(
    loop: Bench, client: httpx.AsyncClient, lose: Lose
) -> None:
    held = Held(loop, lose)
    await held.start()

    async def replayed() -> list[Event]:
        return [event async for event in events_of(client, resume=(held.running.id, None))]

    (replay,) = await released_behind(held, replayed())
    assert [{name: event[name] for name in event if name != "obfuscation"} for event in replay] == held.log


@pytest.mark.parametrize("lose", [pytest.param(flush, marks=pytest.mark.campaign), fail_over])
async def test_a_cancel_behind_an_announced_end_that_redis_has_lost_returns_that_end(
    loop: Bench, client: httpx.AsyncClient, lose: Lose
) -> None:
    held = Held(loop, lose)
    await held.start()
    end, path = held.log[-1]["response"], f"/v1/responses/{held.running.id}"
    # The repeated task has the cancellation, and ends behind a timer: for a moment no task is under way.
    cancelled, read = await released_behind(held, client.post(f"{path}/cancel"), client.get(path))
    assert (cancelled.status_code, cancelled.json()) == (200, end)
    assert (read.status_code, read.json()) == (200, end)


async def test_a_deletion_behind_an_announced_end_that_redis_has_lost_deletes_it(
    loop: Bench, client: httpx.AsyncClient
) -> None:
    held = Held(loop, fail_over)
    await held.start()
    path = f"/v1/responses/{held.running.id}"
    (deleted,) = await released_behind(held, client.delete(path))
    assert (deleted.status_code, deleted.json()["deleted"]) == (200, True)
    assert (await client.get(path)).status_code == 404


async def test_an_end_that_stays_unknown_is_an_outage_and_not_a_running_response(
    loop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository, "_DECIDED_WITHIN_SECONDS", 0.2)
    held = Held(loop, fail_over)
    await held.start()
    record = await held.record()
    with pytest.raises(EndUnknown) as unknown:
        await loop.records.settled(record, decided=True)
    answer = error_response(as_told(unknown.value, "/v1/responses"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    held.released.set()
    settled = await loop.records.settled(record, decided=True, must_be_known=True)
    assert orjson.loads(settled.response or b"{}") == held.log[-1]["response"]


async def test_a_poll_of_a_running_response_asks_temporal_once(loop: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    loop.turns = [[TextDelta("hello")]]
    is_sampled, released = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        is_sampled.set()
        await released.wait()

    loop.before_answer = hold
    running = await loop.start({"background": True})
    await asyncio.wait_for(is_sampled.wait(), 50)

    async def is_recorded() -> bool:
        return not (await running.handle.describe()).raw_description.HasField("pending_workflow_task")

    await until(is_recorded)
    record = await loop.records.load(running.id)
    assert record is not None
    asked: list[str] = []
    service = loop.temporal.workflow_service

    def counted(name: str) -> Callable[..., Awaitable[Any]]:
        call = getattr(service, name)

        async def counting(*given: Any, **more: Any) -> Any:
            asked.append(name)
            return await call(*given, **more)

        return counting

    calls = ("describe_workflow_execution", "query_workflow", "get_workflow_execution_history_reverse")
    for name in calls:
        monkeypatch.setattr(service, name, counted(name))
    assert (await loop.records.settled(record, decided=True)).response is None
    assert asked == ["describe_workflow_execution"]
    released.set()
    await running.result()


class OwnWorker:
    """Carries out the workflow tasks of one run by hand, so that each state of a task stays for as long as it is
    looked at."""

    def __init__(self, temporal: Client, queue: str) -> None:
        self._temporal = temporal
        self._queue = TaskQueue(name=queue, kind=TaskQueueKind.TASK_QUEUE_KIND_NORMAL)
        self._token = b""

    @property
    def _names(self) -> dict[str, Any]:
        return {"namespace": self._temporal.namespace, "identity": "by hand"}

    async def begin(self) -> None:
        service, wanted = self._temporal.workflow_service, {"task_queue": self._queue, **self._names}
        while not self._token:
            answer = await service.poll_workflow_task_queue(
                PollWorkflowTaskQueueRequest(**wanted), timeout=timedelta(seconds=30)
            )
            self._token = answer.task_token

    async def complete(self) -> None:
        token, self._token = self._token, b""
        await self._temporal.workflow_service.respond_workflow_task_completed(
            RespondWorkflowTaskCompletedRequest(task_token=token, **self._names)
        )

    async def fail(self) -> None:
        token, self._token = self._token, b""
        cause = WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE
        await self._temporal.workflow_service.respond_workflow_task_failed(
            RespondWorkflowTaskFailedRequest(task_token=token, cause=cause, **self._names)
        )


async def is_in_doubt(temporal: Client, handle: WorkflowHandle[Any, Any]) -> bool:
    return await has_task_in_doubt(temporal, await handle.describe())


async def test_a_task_is_in_doubt_from_its_beginning_until_it_is_recorded(stack: Stack) -> None:
    temporal, queue = await Client.connect(stack.temporal_address), new_id("queue_")
    handle = await temporal.start_workflow(WORKFLOW, Payloads(), id=new_id("resp_"), task_queue=queue)
    worker = OwnWorker(temporal, queue)
    assert not await is_in_doubt(temporal, handle), "no worker has it"
    await worker.begin()
    assert not await is_in_doubt(temporal, handle), "the first task announces no end"
    await worker.complete()
    assert not await is_in_doubt(temporal, handle), "nothing is under way"

    await handle.signal("tool_progress")
    assert not await is_in_doubt(temporal, handle), "a task that no worker has begun"
    await worker.begin()
    assert await is_in_doubt(temporal, handle)

    # Temporal counts the next one as a first attempt.
    for _ in range(25):
        await handle.signal("cancel")
    await worker.fail()
    raw = (await handle.describe()).raw_description
    assert (raw.pending_workflow_task.state, raw.pending_workflow_task.attempt) == (_SCHEDULED, 1)
    assert await is_in_doubt(temporal, handle), "the task before has broken off"
    await worker.begin()
    await worker.fail()
    raw = (await handle.describe()).raw_description
    assert (raw.pending_workflow_task.state, raw.pending_workflow_task.attempt) == (_SCHEDULED, 2)
    assert await is_in_doubt(temporal, handle)
    await worker.begin()
    await worker.complete()
    assert not await is_in_doubt(temporal, handle)
    await handle.signal("cancel")
    assert not await is_in_doubt(temporal, handle), "a task that no worker has begun, behind one that is recorded"
    await handle.terminate()
