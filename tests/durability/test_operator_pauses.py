"""Pauses: of an activity, and of a whole run where Temporal's server has it enabled. What is paused waits, is not
settled or erased, and goes on with nothing lost or doubled."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import pytest
import redis.asyncio as aioredis
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    PauseActivityRequest,
    PauseWorkflowExecutionRequest,
    UnpauseActivityRequest,
    UnpauseWorkflowExecutionRequest,
)
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.temporal.client import connect
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.operator import HOSTED, begun_by_hand, console, turns, watched
from tests.support.stack import Stack, check_whole, collect, events_of, until

pytestmark = pytest.mark.campaign

# More than a slow machine comes to before the pause; a test clears the rest.
_LATER = [Fault(status=503, headers={"retry-after": "2"})] * 20


def _of_sample(temporal: Client, response_id: str) -> dict[str, Any]:
    execution = WorkflowExecution(workflow_id=response_id)
    return {"namespace": temporal.namespace, "execution": execution, "type": "sample"}


async def _pause_sample(temporal: Client, response_id: str) -> None:
    await temporal.workflow_service.pause_activity(PauseActivityRequest(**_of_sample(temporal, response_id)))


async def _unpause_sample(temporal: Client, response_id: str) -> None:
    await temporal.workflow_service.unpause_activity(UnpauseActivityRequest(**_of_sample(temporal, response_id)))


async def _pending(temporal: Client, response_id: str) -> PendingActivityInfo:
    described = await temporal.get_workflow_handle(response_id).describe()
    (pending,) = described.raw_description.pending_activities
    return pending


async def _paused_between_attempts(
    client: httpx.AsyncClient, upstream: Upstream, temporal: Client, response_id: str, script: Script
) -> int:
    """The provider asked for patience: the next attempt does not come while the sample is paused. Returns how many
    there were."""

    async def has_begun() -> bool:
        return script.attempts > 0

    await until(has_begun)
    await _pause_sample(temporal, response_id)

    async def waits() -> bool:
        return (await _pending(temporal, response_id)).state == PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED

    await until(waits)
    attempts = script.attempts
    # A sample that is not paused, and began to wait later, has its next attempt: so this one's was due before.
    other = upstream.says(f"beside {response_id}", Script(words=1, faults=_LATER[:1]))
    check_whole(await collect(client, {"input": f"beside {response_id}"}), other.text)
    assert other.attempts == 2
    assert script.attempts == attempts
    return attempts


async def test_a_sample_that_is_paused_between_two_attempts_goes_on_when_it_is_unpaused(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script, temporal = upstream.says("paused", Script(words=10, faults=list(_LATER))), await console(stack)
    async with watched(stack, client, "paused") as running:
        await running.until("response.created")
        attempts = await _paused_between_attempts(client, upstream, temporal, running.id, script)
        shown = list(running.events)
        assert (await client.get(f"/v1/responses/{running.id}")).json()["status"] == "in_progress"
        script.faults.clear()
        await _unpause_sample(temporal, running.id)
        await running.ended()
    assert running.events[: len(shown)] == shown
    check_whole(running.events, script.text)
    assert script.attempts == attempts + 1


async def test_a_paused_sample_is_cancelled(client: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    script = upstream.says("paused and cancelled", Script(words=10, faults=list(_LATER)))
    temporal = await console(stack)
    async with watched(stack, client, "paused and cancelled") as running:
        await running.until("response.created")
        attempts = await _paused_between_attempts(client, upstream, temporal, running.id, script)
        answer = await client.post(f"/v1/responses/{running.id}/cancel")
        response = await running.ended()
    assert answer.json() == response
    assert response["status"] == "cancelled"
    assert script.attempts == attempts


async def test_a_paused_sample_keeps_to_the_deadline(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says("by hand", Script(words=10, faults=list(_LATER)))
    redis = aioredis.Redis.from_url(stack.redis_url)
    start = await begun_by_hand(stack, redis, deadline_seconds=12)
    temporal = await console(stack)
    attempts = await _paused_between_attempts(client, upstream, temporal, start.response_id, script)
    events = [event async for event in events_of(client, resume=(start.response_id, None))]
    response = events[-1]["response"]
    assert response["incomplete_details"]["reason"] == "deadline_exceeded"
    assert (await client.get(f"/v1/responses/{start.response_id}")).json() == response
    assert script.attempts == attempts
    await redis.aclose()


async def test_a_sample_that_is_paused_in_its_middle_goes_on_from_what_was_shown(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Temporal tells the attempt with its next heartbeat, which the SDK holds back for most of a minute."""
    held, temporal = upstream.says("paused amid", Script(words=30, hold_after=5)), await console(stack)
    async with watched(stack, client, "paused amid") as running:
        await running.until("response.output_text.delta")
        await asyncio.wait_for(held.held.wait(), 50)
        await _pause_sample(temporal, running.id)
        await asyncio.wait_for(held.gone.wait(), 90)
        shown = list(running.events)
        assert (await client.get(f"/v1/responses/{running.id}")).json()["status"] == "in_progress"
        held.released.set()
        await _unpause_sample(temporal, running.id)
        await running.ended(60)
    assert running.events[: len(shown)] == shown
    check_whole(running.events, held.text)


async def _pause(temporal: Client, workflow_id: str) -> None:
    await temporal.workflow_service.pause_workflow_execution(
        PauseWorkflowExecutionRequest(
            namespace=temporal.namespace, workflow_id=workflow_id, identity="a test", request_id=uuid.uuid4().hex
        )
    )


async def _unpause(temporal: Client, workflow_id: str) -> None:
    await temporal.workflow_service.unpause_workflow_execution(
        UnpauseWorkflowExecutionRequest(
            namespace=temporal.namespace, workflow_id=workflow_id, identity="a test", request_id=uuid.uuid4().hex
        )
    )


async def test_a_paused_run_keeps_its_turn_and_goes_on_when_it_is_unpaused(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Its sample is not interrupted; what comes behind waits."""
    first = calls(("a", "get_weather", {"city": "Rome"}))
    first.hold_after = 0
    turns(upstream, "a paused run", first, Script(words=5))
    upstream.says("another turn", Script(words=2))
    conversation_id = (await client.post("/v1/conversations", json={})).json()["id"]
    temporal, another = await console(stack), {"model": "fake", "input": "another turn"}
    async with watched(stack, client, "a paused run", tools=HOSTED, conversation=conversation_id) as running:
        await running.until("response.in_progress")
        await _pause(temporal, running.id)
        first.released.set()
        url = f"/v1/responses/{running.id}"
        assert (await client.get(url)).json()["status"] == "in_progress"
        busy = await client.post("/v1/responses", json={**another, "conversation": conversation_id})
        assert busy.status_code == 409, busy.text
        await stack.flush()
        answer = await client.get(url)
        assert (answer.status_code, answer.json()["status"]) == (200, "in_progress")
        await _unpause(temporal, running.id)
        response = await running.ended(60)
    assert response["status"] == "completed"
    assert [item["type"] for item in response["output"]] == ["function_call", "function_call_output", "message"]
    after = await client.post("/v1/responses", json={**another, "conversation": conversation_id})
    assert after.json()["status"] == "completed", after.text


async def test_a_paused_run_is_cancelled_when_it_is_unpaused_and_terminated_at_once(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    temporal = await console(stack)
    upstream.says("paused, then cancelled", Script(words=30, hold_after=3))
    async with watched(stack, client, "paused, then cancelled") as running:
        await running.until("response.output_text.delta")
        await _pause(temporal, running.id)
        await running.handle.cancel()
        await _unpause(temporal, running.id)
        assert (await running.ended())["status"] == "cancelled"
    upstream.says("paused, then terminated", Script(words=30, hold_after=3))
    async with watched(stack, client, "paused, then terminated") as running:
        await running.until("response.output_text.delta")
        await _pause(temporal, running.id)
        await running.handle.terminate()
        assert (await running.ended())["error"]["code"] == "run_terminated"


async def test_a_paused_conversation_is_unavailable_and_not_gone(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    upstream.says("of a paused one", Script(words=2))
    temporal = await console(stack)
    conversation_id = (await client.post("/v1/conversations", json={})).json()["id"]
    url, body = f"/v1/conversations/{conversation_id}", {"model": "fake", "input": "of a paused one"}
    await _pause(temporal, conversation_id)
    items = {"items": [{"role": "user", "content": "x"}]}
    for answer in (
        await client.get(url),
        await client.get(f"{url}/items"),
        await client.post(f"{url}/items", json=items),
        await client.post("/v1/responses", json={**body, "conversation": conversation_id}),
    ):
        assert answer.status_code == 503, answer.text
        assert "retry-after" in answer.headers
    await _unpause(temporal, conversation_id)
    answer = await client.post("/v1/responses", json={**body, "conversation": conversation_id})
    assert answer.json()["status"] == "completed", answer.text


async def test_a_deletion_of_a_paused_conversation_is_carried_out_when_it_is_unpaused(
    client: httpx.AsyncClient, stack: Stack
) -> None:
    temporal = await console(stack)
    conversation_id = (await client.post("/v1/conversations", json={})).json()["id"]
    await _pause(temporal, conversation_id)
    assert (await client.delete(f"/v1/conversations/{conversation_id}")).status_code == 503
    # It was accepted all the same, and the conversation is hidden from then on.
    assert (await client.get(f"/v1/conversations/{conversation_id}")).status_code == 404
    await _unpause(temporal, conversation_id)

    async def is_gone() -> bool:
        try:
            await temporal.get_workflow_handle(conversation_id).describe()
        except RPCError as error:
            return error.status == RPCStatusCode.NOT_FOUND
        return False

    await until(is_gone)


async def test_a_paused_run_is_described_as_one_that_runs(
    client: httpx.AsyncClient, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK has no word for it: a description raised ValueError, and stopped what erases and what settles."""
    conversation_id = (await client.post("/v1/conversations", json={})).json()["id"]
    monkeypatch.setenv("TEMPORAL_ADDRESS", stack.temporal_address)
    ours, theirs = await connect(None), await console(stack)
    await _pause(theirs, conversation_id)
    with pytest.raises(ValueError, match="8 is not a valid WorkflowExecutionStatus"):
        await theirs.get_workflow_handle(conversation_id).describe()
    described = await ours.get_workflow_handle(conversation_id).describe()
    assert described.status == WorkflowExecutionStatus.RUNNING

    async def is_listed() -> bool:
        query = f"WorkflowId = '{conversation_id}' AND ExecutionStatus = 'Paused'"
        return [one.status async for one in ours.list_workflows(query)] == [WorkflowExecutionStatus.RUNNING]

    await until(is_listed)
    await _unpause(theirs, conversation_id)
