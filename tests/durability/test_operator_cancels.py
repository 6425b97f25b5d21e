"""Temporal's own cancellation ("Request Cancellation") ends a response as `cancelled`, at any moment."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from temporalio import activity, workflow
from temporalio.client import WorkflowExecutionStatus
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from open_responses.context.compaction import ORDER
from open_responses.deltas import Finish, TextDelta
from open_responses.events.event_types import TERMINAL_EVENTS
from open_responses.loop.payloads.finish import FinishedResponse, FinishInput, FinishResult
from open_responses.loop.payloads.names import FINISH, WORKFLOW
from open_responses.loop.payloads.sample import SampleInput, SampleResult
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.operator import HOSTED, a_start, console, turns, watched
from tests.support.repeated_task import bench
from tests.support.stack import Stack, until
from workflows.response import ResponseWorkflow

pytestmark = pytest.mark.campaign


async def test_a_cancelled_run_stops_its_sample_and_ends_its_stream(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    held = upstream.says("cancel a sample", Script(words=30, hold_after=3))
    async with watched(stack, client, "cancel a sample") as running:
        await running.until("response.output_text.delta")
        await running.handle.cancel()
        # Twice is once.
        await running.handle.cancel()
        response = await running.ended()
        await asyncio.wait_for(held.gone.wait(), 50)
        assert response["status"] == "cancelled"
        assert [item["status"] for item in response["output"]] == ["incomplete"]
        again = await client.post(f"/v1/responses/{running.id}/cancel")
        assert again.json() == response


async def test_a_cancelled_run_stops_its_tools_and_closes_their_items(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    wanted = [("a", "slow", {"seconds": 60}), ("b", "slow", {"seconds": 60}), ("c", "get_weather", {"city": "Rome"})]
    turns(upstream, "cancel tools", calls(*wanted), Script(words=3))
    async with watched(stack, client, "cancel tools", tools=HOSTED) as running:
        await running.until("open_responses:tool_progress", 2)
        await running.handle.cancel()
        response = await running.ended()
    assert response["status"] == "cancelled"
    by_call = {i["call_id"]: i["status"] for i in response["output"] if i["type"] == "function_call_output"}
    assert by_call == {"a": "incomplete", "b": "incomplete", "c": "completed"}
    notes = stack.data / "hosted" / f"{response['id']}.slow"
    assert "done" not in notes.read_text()


async def test_a_cancelled_run_waits_for_no_approval(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    turns(upstream, "cancel approval", calls(("a", "delete_all", {"what": "all"})), Script(words=3))
    body = {"model": "fake", "input": "cancel approval", "tools": HOSTED, "background": True}
    begun: dict[str, Any] = (await client.post("/v1/responses", json=body)).json()
    url = f"/v1/responses/{begun['id']}"

    async def now() -> dict[str, Any]:
        response: dict[str, Any] = (await client.get(url)).json()
        return response

    async def asks() -> bool:
        return any(item["type"] == "mcp_approval_request" for item in (await now())["output"])

    async def has_ended() -> bool:
        return (await now())["status"] == "cancelled"

    await until(asks)
    await (await console(stack)).get_workflow_handle(begun["id"]).cancel()
    await until(has_ended)


class Moments:
    """The activities, each of which waits to be let go."""

    def __init__(self) -> None:
        self.sampling, self.may_sample = asyncio.Event(), asyncio.Event()
        self.finishing, self.may_finish = asyncio.Event(), asyncio.Event()
        self.finished: list[FinishInput] = []

    def endings(self) -> set[str]:
        """The status that each `finish` was given. A workflow task that is repeated runs its local activities again."""
        return {call.ending.status for call in self.finished}

    @activity.defn(name="sample")
    async def sample(self, call: SampleInput) -> SampleResult:
        self.sampling.set()
        await self.may_sample.wait()
        return SampleResult(outcome="done")

    @activity.defn(name="finish")
    async def finish(self, call: FinishInput) -> FinishResult:
        self.finished.append(call)
        self.finishing.set()
        await self.may_finish.wait()
        return FinishResult()


@pytest.mark.parametrize("moment", ["before its first task", "in a sample"])
async def test_a_cancellation_never_cuts_the_closing_off(stack: Stack, moment: str) -> None:
    """With the workflow in this process: it ends by itself, after `finish`, and its result says how."""
    temporal, moments, start = await console(stack), Moments(), a_start()
    queue = start.response_id
    handle = await temporal.start_workflow(ResponseWorkflow.run, start, id=start.response_id, task_queue=queue)
    if moment == "before its first task":
        await handle.cancel()
    async with Worker(
        temporal,
        task_queue=queue,
        workflows=[ResponseWorkflow],
        activities=[moments.sample, moments.finish],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        if moment == "in a sample":
            await asyncio.wait_for(moments.sampling.wait(), 50)
            await handle.cancel()
        moments.may_finish.set()
        ended: FinishedResponse = await asyncio.wait_for(handle.result(), 50)
        moments.may_sample.set()
    assert ended.response["status"] == "cancelled"
    assert (await handle.describe()).status == WorkflowExecutionStatus.COMPLETED
    assert moments.endings() == {"cancelled"}


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_cancellation_while_a_response_closes_changes_nothing(stack: Stack, moment: str) -> None:
    """It arrives while `finish` runs: before it stores the end, or between that and its report."""
    async with bench(stack.temporal_address, stack.redis_url) as running_worker:
        cancelled = asyncio.Event()

        async def cancel() -> None:
            await running_worker.temporal.get_workflow_handle(running_worker.started.response_id).cancel()
            cancelled.set()

        getattr(running_worker.repetition, moment)[FINISH] = cancel
        running_worker.turns = [[TextDelta(text="all of it"), Finish(reason="stop")]]
        running = await running_worker.start({})
        ended = await running.result()
        assert cancelled.is_set()
        log = await running.log()
        assert await running.stored() == ended.response
        assert (await running.handle.describe()).status == WorkflowExecutionStatus.COMPLETED
    assert ended.response["status"] == "completed"
    assert [event["type"] for event in log if event["type"] in TERMINAL_EVENTS] == ["response.completed"]
    assert log[-1]["response"] == ended.response


async def test_a_cancellation_during_a_compaction_ends_in_one_event(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    notes = upstream.says(ORDER, Script(words=30, hold_after=2))
    turns(upstream, "cancel the notes", calls(("a", "get_weather", {"city": "filler " * 1500})), Script(words=3))
    managed = [{"type": "compaction", "compact_threshold": 1000}]
    async with watched(stack, client, "cancel the notes", tools=HOSTED, context_management=managed) as running:
        await asyncio.wait_for(notes.held.wait(), 50)
        await running.handle.cancel()
        response = await running.ended()
        await asyncio.wait_for(notes.gone.wait(), 50)
    assert response["status"] == "cancelled"
    assert [item["type"] for item in response["output"]] == ["function_call", "function_call_output"]


async def test_a_compaction_that_is_cancelled_is_no_summary(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Otherwise the API would return a compaction that holds nothing of the conversation."""
    notes = upstream.says(ORDER, Script(words=30, hold_after=2))
    temporal = await console(stack)
    items = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    asking = asyncio.create_task(client.post("/v1/responses/compact", json={"model": "fake", "input": items}))
    await asyncio.wait_for(notes.held.wait(), 50)
    found: list[str] = []

    async def is_listed() -> bool:
        query = f"WorkflowType = '{WORKFLOW}' AND ExecutionStatus = 'Running'"
        found[:] = [run.id async for run in temporal.list_workflows(query)]
        return len(found) == 1

    await until(is_listed)
    await temporal.get_workflow_handle(found[0]).cancel()
    answer = await asyncio.wait_for(asking, 50)
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "unavailable"
    assert "cancelled" in answer.json()["error"]["message"]


async def test_a_cancellation_is_handed_to_the_run_that_goes_on(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes while the run, whose history is too long, is about to end for another one."""
    temporal, moments, start = await console(stack), Moments(), a_start()
    monkeypatch.setattr("workflows.response.ResponseWorkflow._is_too_long", _once_cancelled)
    moments.may_finish.set()
    async with Worker(
        temporal,
        task_queue=start.response_id,
        workflows=[ResponseWorkflow],
        activities=[moments.sample, moments.finish],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        handle = await temporal.start_workflow(
            ResponseWorkflow.run, start, id=start.response_id, task_queue=start.response_id
        )
        await handle.cancel()
        ended: FinishedResponse = await asyncio.wait_for(handle.result(), 50)
    assert ended.response["status"] == "cancelled"
    assert not moments.sampling.is_set()
    assert moments.endings() == {"cancelled"}


async def _once_cancelled(self: ResponseWorkflow) -> bool:
    """In place of the look at history's length: hand over in the task that brings the cancellation."""
    await workflow.wait_condition(self._state.is_stopping)
    return self._is_fresh
