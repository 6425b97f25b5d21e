"""A run that an operator terminates or deletes, or that times out: one end, the same for every reader, and soon."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest
import redis.asyncio as aioredis
from temporalio import workflow
from temporalio.exceptions import ApplicationError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from open_responses.ids import new_id
from open_responses.io.log.fences import END_FENCE
from open_responses.io.redis import key_names
from open_responses.io.store.outside_ends import DELETED, OVERTAKEN, ending_of
from open_responses.loop.payloads.names import WORKFLOW
from open_responses.loop.payloads.start import StartResponse
from tests.support.api_with_keys import bearer, key_block, keyed_api
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.operator import HOSTED, Watched, begun_by_hand, console, delete, turns, watched
from tests.support.stack import Event, Stack, collect, events_of, text_of, until

pytestmark = pytest.mark.campaign


async def test_a_terminated_run_fails_for_every_reader_and_its_sample_stops(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    held = upstream.says("terminate a sample", Script(words=30, hold_after=3))
    async with watched(stack, client, "terminate a sample") as running:
        await running.until("response.output_text.delta")
        await running.handle.terminate("by hand")
        response = await running.ended()
        await asyncio.wait_for(held.gone.wait(), 50)
        assert running.events[-2]["error"]["code"] == "run_terminated"
        assert response["status"] == "failed"
        assert response["error"]["code"] == "run_terminated"
        (item,) = response["output"]
        assert item["status"] == "incomplete"
        assert item["content"][0]["text"] == text_of(running.events)
        began = asyncio.get_running_loop().time()
        assert (await client.post(f"/v1/responses/{running.id}/cancel")).json() == response
        assert asyncio.get_running_loop().time() - began < 5
        resumed = [e async for e in events_of(client, resume=(running.id, 1))]
        assert resumed == running.events[2:]
    upstream.says("go on", Script(words=2))
    after = await client.post(
        "/v1/responses", json={"model": "fake", "input": "go on", "previous_response_id": running.id}
    )
    assert after.json()["status"] == "completed", after.text


async def test_a_reader_that_asks_first_finds_the_end_that_the_stream_has_too(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Many at once: whoever finds the end writes it, and all have the same."""
    upstream.says("ask at once", Script(words=30, hold_after=3))
    async with watched(stack, client, "ask at once") as running:
        await running.until("response.output_text.delta")
        await running.handle.terminate()
        answers = await asyncio.gather(*(client.get(f"/v1/responses/{running.id}") for _ in range(8)))
        response = await running.ended()
    assert all(answer.json() == response for answer in answers)


async def test_tools_and_the_turns_tokens_are_in_a_terminated_response(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    wanted = [("a", "slow", {"seconds": 60}), ("b", "get_weather", {"city": "Rome"})]
    turns(upstream, "terminate tools", calls(*wanted), Script(words=3))
    async with watched(stack, client, "terminate tools", tools=HOSTED) as running:
        await running.until("open_responses:tool_progress")
        await running.until("response.output_item.done", 3)
        await running.handle.terminate()
        response = await running.ended()
    by_call = {i["call_id"]: i["status"] for i in response["output"] if i["type"] == "function_call_output"}
    assert by_call == {"a": "incomplete", "b": "completed"}
    assert response["usage"]["input_tokens"] == 10


async def test_a_deleted_run_fails_as_deleted(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    """Temporal terminates it first: who looks in between says so."""
    upstream.says("delete a run", Script(words=30, hold_after=3))
    async with watched(stack, client, "delete a run") as running:
        await running.until("response.output_text.delta")
        await delete(await console(stack), running.id)
        response = await running.ended()
    assert response["error"]["code"] in ("run_deleted", "run_terminated")


@pytest.mark.parametrize("how", ["run_timed_out", "run_deleted", "run_terminated"])
async def test_a_poll_finds_how_a_run_ended(client: httpx.AsyncClient, stack: Stack, how: str) -> None:
    """No worker has begun any of these; a deleted one has no trace left but the request."""
    redis = aioredis.Redis.from_url(stack.redis_url)
    seconds = timedelta(seconds=1 if how == "run_timed_out" else 600)
    # Older than a start may take: a young one that Temporal does not know may still be on its way.
    start = await begun_by_hand(stack, redis, age_seconds=200, task_queue="nobody", execution_timeout=seconds)
    temporal, url = await console(stack), f"/v1/responses/{start.response_id}"
    assert (await client.get(url)).json()["status"] == "queued"
    if how == "run_deleted":
        await delete(temporal, start.response_id)
    elif how == "run_terminated":
        await temporal.get_workflow_handle(start.response_id).terminate()

    async def has_ended() -> bool:
        return (await client.get(url)).json()["status"] != "queued"

    await until(has_ended)
    response = (await client.get(url)).json()
    assert response["status"] == "failed"
    assert response["error"]["code"] in ({how, "run_terminated"} if how == "run_deleted" else {how})
    events = [event async for event in events_of(client, resume=(start.response_id, None))]
    assert events[-1]["response"] == response
    assert await redis.zscore(key_names.OPEN, start.response_id) is None
    await redis.aclose()


async def test_nobody_needs_to_ask(stack: Stack, upstream: Upstream, client: httpx.AsyncClient) -> None:
    """A worker looks at what has ended: the provider is left, and the response is not among the open ones."""
    held = upstream.says("nobody asks", Script(words=30, hold_after=3))
    body = {"model": "fake", "input": "nobody asks", "background": True}
    begun = (await client.post("/v1/responses", json=body)).json()
    await asyncio.wait_for(held.held.wait(), 50)
    await (await console(stack)).get_workflow_handle(begun["id"]).terminate()
    await asyncio.wait_for(held.gone.wait(), 50)
    redis = aioredis.Redis.from_url(stack.redis_url)

    async def is_closed() -> bool:
        return await redis.zscore(key_names.OPEN, begun["id"]) is None

    await until(is_closed)
    assert await redis.hexists(key_names.record(begun["id"]), "response")  # type: ignore[misc]
    await redis.aclose()


async def test_a_conversation_is_free_again_once_its_response_was_terminated(
    stack: Stack, upstream: Upstream, client: httpx.AsyncClient
) -> None:
    upstream.says("holds the turn", Script(words=30, hold_after=3))
    upstream.says("next turn", Script(words=3))
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    async with watched(stack, client, "holds the turn", conversation=conversation) as running:
        await running.until("response.output_text.delta")
        await running.handle.terminate()
        await running.ended()
    events = await collect(client, {"input": "next turn", "conversation": conversation})
    assert events[-1]["response"]["status"] == "completed"


async def test_a_run_ends_itself_where_the_process_that_was_to_write_its_end_died(
    stack: Stack, upstream: Upstream, client: httpx.AsyncClient
) -> None:
    """That process has closed the log, and no more."""
    held = upstream.says("half an end", Script(words=30, hold_after=3))
    redis = aioredis.Redis.from_url(stack.redis_url)
    async with watched(stack, client, "half an end") as running:
        await running.until("response.output_text.delta")
        await asyncio.wait_for(held.held.wait(), 50)
        await redis.hset(key_names.state(running.id), "fence", str(END_FENCE))  # type: ignore[misc]
        held.released.set()
        response = await running.ended(60)
    assert response["status"] == "cancelled"
    assert [item["status"] for item in response["output"]] == ["incomplete"]
    await redis.aclose()


async def test_an_unstored_response_ends_its_stream_when_its_run_is_terminated(
    stack: Stack, upstream: Upstream, client: httpx.AsyncClient
) -> None:
    upstream.says("unstored", Script(words=30, hold_after=3))
    running = Watched(await console(stack), client)
    running.reading = asyncio.create_task(running.read({"input": "unstored", "store": False}))
    await running.until("response.output_text.delta")
    await running.handle.terminate()
    await asyncio.wait_for(running.reading, 50)
    assert running.events[-1]["response"]["error"]["code"] == "run_terminated"
    assert (await client.get(f"/v1/responses/{running.id}")).status_code == 404


@workflow.defn(name=WORKFLOW)
class _Fails:
    """A run whose code raises on request, and which cannot answer a query."""

    def __init__(self) -> None:
        self._may_fail = False

    @workflow.run
    async def run(self, start: StartResponse) -> None:
        await workflow.wait_condition(lambda: self._may_fail)
        raise ApplicationError("a fault in the workflow's code", non_retryable=True)

    @workflow.signal
    def fail(self) -> None:
        self._may_fail = True


async def test_a_run_that_failed_ends_its_stream_its_polls_and_its_chain(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    redis, temporal, queue = aioredis.Redis.from_url(stack.redis_url), await console(stack), new_id("queue_")
    async with Worker(
        temporal, task_queue=queue, workflows=[_Fails], workflow_runner=UnsandboxedWorkflowRunner()
    ) as worker:
        start = await begun_by_hand(stack, redis, task_queue=worker.task_queue)
        url, handle = f"/v1/responses/{start.response_id}", temporal.get_workflow_handle(start.response_id)

        async def has_begun() -> bool:
            return (await handle.describe()).history_length > 3

        await until(has_begun)
        # The run cannot answer, and a poll is no fault of the server for that.
        assert (await client.get(url)).json()["status"] == "queued"
        streamed = asyncio.create_task(_all_of(client, start.response_id))
        await handle.signal("fail")
        events = await asyncio.wait_for(streamed, 50)
        response = (await client.get(url)).json()
    assert response["status"] == "failed"
    assert response["error"]["code"] == "run_failed"
    assert events[-1]["response"] == response
    assert await _all_of(client, start.response_id) == events
    assert (await client.post(f"{url}/cancel")).json() == response
    upstream.says("after a run that failed", Script(words=2))
    body = {"model": "fake", "input": "after a run that failed", "previous_response_id": start.response_id}
    assert (await client.post("/v1/responses", json=body)).json()["status"] == "completed"
    await redis.aclose()


async def _all_of(client: httpx.AsyncClient, response_id: str) -> list[Event]:
    return [event async for event in events_of(client, resume=(response_id, None))]


async def test_a_terminated_response_gives_its_keys_place_back(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    held = upstream.says("takes the only place", Script(words=30, hold_after=3))
    upstream.says("wants the only place", Script(words=2))
    headers = bearer("one-place-of-an-operator")
    block = key_block("default", "one-place-of-an-operator", "max_concurrent = 1")
    async with keyed_api(stack, block) as keyed:
        body = {"model": "fake", "input": "takes the only place", "background": True}
        begun = (await keyed.post("/v1/responses", json=body, headers=headers)).json()
        await asyncio.wait_for(held.held.wait(), 50)
        body = {"model": "fake", "input": "wants the only place"}
        assert (await keyed.post("/v1/responses", json=body, headers=headers)).status_code == 429
        await (await console(stack)).get_workflow_handle(begun["id"]).terminate("by hand")

        async def has_place() -> bool:
            return (await keyed.post("/v1/responses", json=body, headers=headers)).status_code == 200

        # Nobody asks for the response that was terminated: a worker finds it.
        await until(has_place)
        found = (await keyed.get(f"/v1/responses/{begun['id']}", headers=headers)).json()
    assert found["error"]["code"] == "run_terminated"


def test_each_end_has_its_code() -> None:
    from temporalio.client import WorkflowExecutionStatus as Status

    codes = {status: ending.error_code for status in Status if (ending := ending_of(status)) is not None}
    assert codes[Status.FAILED] == "run_failed"
    assert codes[Status.TIMED_OUT] == "run_timed_out"
    assert (DELETED.error_code, OVERTAKEN.error_code) == ("run_deleted", "run_reset")
    assert ending_of(Status.COMPLETED) is None
    assert ending_of(Status.RUNNING) is None
