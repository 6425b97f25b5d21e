"""Resets: of a run to an earlier event, of an activity to its first attempt. What a stream has shown stays."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import (
    PauseActivityRequest,
    ResetActivityRequest,
    UnpauseActivityRequest,
)
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from open_responses.io.temporal.ends_of_runs import end_of_run
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.operator import HOSTED, closed, console, reset, turns, watched
from tests.support.stack import Stack, check_whole

pytestmark = pytest.mark.campaign


async def test_a_response_that_has_ended_stays_as_it_is_when_its_run_is_reset(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    turns(upstream, "reset an end", calls(("a", "once", {"text": "reset an end"})), Script(words=5))
    temporal = await console(stack)
    async with watched(stack, client, "reset an end", tools=HOSTED) as running:
        response = await running.ended()
        assert response["status"] == "completed"
        asked = len(upstream.requests)
        assert await closed(running.handle) == WorkflowExecutionStatus.COMPLETED
        await reset(temporal, running.handle, 0)
        assert await closed(running.handle) == WorkflowExecutionStatus.COMPLETED
        assert (await running.handle.result())["response"] == response
        await stack.flush()
        assert await running.ended() == response
        assert len(upstream.requests) == asked
    lines = (stack.data / "hosted" / "lines").read_text().splitlines()
    assert sum("reset an end" in line for line in lines) == 1


async def test_a_run_reset_to_its_turn_under_way_goes_on_from_what_was_shown(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    held = upstream.says("reset a turn", Script(words=30, hold_after=5))
    async with watched(stack, client, "reset a turn") as running:
        await running.until("response.output_text.delta")
        await asyncio.wait_for(held.held.wait(), 50)
        await reset(await console(stack), running.handle, 0)
        held.released.set()
        await running.ended(60)
    check_whole(running.events, held.text)


async def test_a_run_reset_to_before_what_was_shown_fails_and_says_so(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    last = Script(words=30, hold_after=5)
    turns(upstream, "reset behind", calls(("a", "once", {"text": "reset behind"})), last)
    async with watched(stack, client, "reset behind", tools=HOSTED) as running:
        await running.until("response.output_text.delta")
        await asyncio.wait_for(last.held.wait(), 50)
        await reset(await console(stack), running.handle, 0)
        response = await running.ended(60)
        assert await closed(running.handle) == WorkflowExecutionStatus.FAILED
        kept = await end_of_run(await console(stack), await running.handle.describe())
        assert kept is not None
        assert kept.response == response
    last.released.set()
    assert response["error"]["code"] == "run_reset"
    assert [item["type"] for item in response["output"]] == ["function_call", "function_call_output", "message"]


async def test_a_terminated_response_does_not_come_back_by_a_reset(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    held = upstream.says("terminate, then reset", Script(words=30, hold_after=5))
    async with watched(stack, client, "terminate, then reset") as running:
        await running.until("response.output_text.delta")
        await running.handle.terminate()
        response = await running.ended()
        await reset(await console(stack), running.handle, 0)
        held.released.set()
        assert await closed(running.handle) == WorkflowExecutionStatus.FAILED
        assert await running.ended() == response


async def test_an_activity_that_is_paused_and_one_that_is_reset_go_on(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Temporal tells a running attempt with its next heartbeat. This one ends before, or is the first again."""
    first = upstream.says("reset an activity", Script(words=30, hold_after=5))
    temporal = await console(stack)
    async with watched(stack, client, "reset an activity") as running:
        await running.until("response.output_text.delta")
        await asyncio.wait_for(first.held.wait(), 50)
        of = {"namespace": temporal.namespace, "execution": WorkflowExecution(workflow_id=running.id), "type": "sample"}
        service = temporal.workflow_service
        await service.pause_activity(PauseActivityRequest(**of))  # type: ignore[arg-type]
        await service.reset_activity(ResetActivityRequest(**of, keep_paused=True))  # type: ignore[arg-type]
        first.released.set()
        try:
            await service.unpause_activity(UnpauseActivityRequest(**of))  # type: ignore[arg-type]
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:  # the attempt may have ended already
                raise
        await running.ended(60)
    check_whole(running.events, first.text)
