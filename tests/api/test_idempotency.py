"""`Idempotency-Key`: one response, however often it is asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis
from openai import AsyncOpenAI
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.redis import key_names
from tests.support.fake_upstream import Script, Upstream
from tests.support.responses_http import is_error
from tests.support.stack import Stack, events_of, until


async def ask(client: httpx.AsyncClient, key: str, **body: Any) -> httpx.Response:
    return await client.post("/v1/responses", json={"model": "fake", **body}, headers={"Idempotency-Key": key})


async def test_the_same_key_and_body_give_the_same_response_without_another_sample(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("only once", Script(words=5))
    first = await ask(client, "key-1", input="only once")
    again = await ask(client, "key-1", input="only once")
    assert first.status_code == again.status_code == 200
    assert first.json() == again.json()
    assert script.attempts == 1


async def test_twenty_requests_that_race_with_one_key_are_one_response(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("race", Script(words=5, delay=0.2))
    answers = await asyncio.gather(*(ask(client, "key-race", input="race") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert script.attempts == 1


async def test_another_body_or_tenant_does_not_get_it(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("mine", Script(words=2))
    await ask(client, "key-2", input="mine")
    is_error(await ask(client, "key-2", input="other"), 409, "idempotency_key_reused")
    is_error(await ask(client, "key-2", input="mine", temperature=1), 409, "idempotency_key_reused")


async def test_a_stream_asked_for_again_while_it_runs_has_all_events(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    script = upstream.says("twice streamed", Script(words=20, gap=0.02))
    client.headers["Idempotency-Key"] = "key-3"
    first, second = [], []

    async def read_second() -> None:
        async for event in events_of(client, {"input": "twice streamed"}):
            second.append(event)

    reading = None
    async for event in events_of(client, {"input": "twice streamed"}):
        first.append(event)
        if reading is None and event["type"] == "response.output_text.delta":
            reading = asyncio.create_task(read_second())
    assert reading is not None
    await reading
    assert first == second
    assert script.attempts == 1


async def test_after_a_flush_the_key_still_finds_its_response(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    script = upstream.says("flushed key", Script(words=5))
    first = await ask(client, "key-4", input="flushed key")
    await stack.flush()
    again = await ask(client, "key-4", input="flushed key")
    assert again.json() == first.json()
    is_error(await ask(client, "key-4", input="another"), 409, "idempotency_key_reused")
    assert script.attempts == 1


async def test_a_request_whose_api_died_before_the_start_begins_when_it_is_sent_again(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    """As it looks then: the record is in Redis, and Temporal has no workflow."""
    script = upstream.says("half begun", Script(words=3))
    first = (await ask(client, "key-5", input="half begun")).json()
    redis = aioredis.Redis.from_url(stack.redis_url)
    await redis.hdel(key_names.record(first["id"]), "response", "trace")  # type: ignore[misc]
    await redis.delete(key_names.log(first["id"]), key_names.state(first["id"]))
    await redis.aclose()
    temporal = await Client.connect(stack.temporal_address)
    await temporal.workflow_service.delete_workflow_execution(
        DeleteWorkflowExecutionRequest(
            namespace="default", workflow_execution=WorkflowExecution(workflow_id=first["id"])
        )
    )

    async def gone() -> bool:
        try:
            await temporal.get_workflow_handle(first["id"]).describe()
        except RPCError as error:
            return error.status == RPCStatusCode.NOT_FOUND
        return False

    await until(gone)
    answer = (await ask(client, "key-5", input="half begun")).json()
    assert (answer["id"], answer["output"][0]["content"][0]["text"]) == (first["id"], script.text)
    assert script.attempts == 2


async def test_a_key_of_a_deleted_or_unstored_response_is_spent(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("deleted key", Script(words=2))
    first = await ask(client, "key-6", input="deleted key")
    assert (await client.delete(f"/v1/responses/{first.json()['id']}")).status_code == 200
    is_error(await ask(client, "key-6", input="deleted key"), 409, "idempotency_key_spent")
    await ask(client, "key-7", input="deleted key", store=False)

    async def spent() -> bool:
        return (await ask(client, "key-7", input="deleted key", store=False)).status_code == 409

    await until(spent)


async def test_a_background_response_is_given_as_it_stands(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("background key", Script(words=5, hold_after=2))
    first = (await ask(client, "key-8", input="background key", background=True)).json()
    await asyncio.wait_for(script.held.wait(), 50)
    again = (await ask(client, "key-8", input="background key", background=True)).json()
    assert (again["id"], again["status"]) == (first["id"], "in_progress")
    script.released.set()


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb"])
async def test_a_key_that_is_none_is_refused(client: httpx.AsyncClient, key: str) -> None:
    is_error(await ask(client, key, input="x"), 400, "invalid_idempotency_key")


async def test_the_sdks_own_retries_are_one_response(stack: Stack, upstream: Upstream) -> None:
    script = upstream.says("sdk key", Script(words=3))
    async with AsyncOpenAI(base_url=stack.api_url + "/v1", api_key="none") as openai:
        ids = {
            (
                await openai.responses.create(
                    model="fake", input="sdk key", extra_headers={"Idempotency-Key": "key-sdk"}
                )
            ).id
            for _ in range(3)
        }
    assert len(ids) == 1
    assert script.attempts == 1
