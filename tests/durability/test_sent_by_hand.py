"""Signals, updates and queries that an operator sends by hand, with arguments that fit nothing: the run goes on.

A handler that raises fails its workflow task, which Temporal then repeats for ever.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import WorkflowTaskFailedCause
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from open_responses.conversations.payloads import AddItems, ConversationState, ResponseEnd
from open_responses.ids import new_id
from open_responses.loop.payloads.finish import FinishedResponse, FinishInput, FinishResult
from open_responses.loop.payloads.sample import SampleInput, SampleResult
from tests.support.operator import a_start, console
from tests.support.stack import Stack
from workflows.by_hand import FOREIGN_INPUT, ArgumentCheck
from workflows.conversation import ConversationWorkflow
from workflows.response import ResponseWorkflow

SIGNALS: list[tuple[str, list[Any]]] = [
    ("nonsense", []),
    ("nonsense", [1, 2]),
    ("tool_progress", []),
    ("tool_progress", ["x"]),
    ("tool_progress", [{"output_index": "x"}]),
    ("tool_progress", [{"output_index": -1, "message": "before all"}]),
    ("tool_progress", [{"output_index": 99, "message": "behind all"}]),
    ("tool_progress", [{"output_index": 0, "message": "m"}, 2, 3]),
]
OF_A_CONVERSATION: list[list[Any]] = [
    [],
    ["x"],
    [{}],
    [{"response_id": "resp_x", "entries": [{"item": {}}]}],
    [{"response_id": "resp_y", "entries": [{"item": {"id": 1, "type": []}}]}],
    [{"response_id": "resp_z"}, 2, 3],
]


@pytest.fixture(autouse=True)
def no_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    """To print those of the SDK takes longer than a workflow may stand still."""
    caplog.set_level(logging.CRITICAL, "temporalio")


@activity.defn(name="sample")
async def sample(call: SampleInput) -> SampleResult:
    await asyncio.sleep(600)
    return SampleResult(outcome="done")


@activity.defn(name="finish")
async def finish(call: FinishInput) -> FinishResult:
    return FinishResult()


@asynccontextmanager
async def worker(temporal: Client, queue: str) -> AsyncIterator[None]:
    async with Worker(
        temporal,
        task_queue=queue,
        workflows=[ResponseWorkflow, ConversationWorkflow],
        activities=[sample, finish],
        workflow_runner=UnsandboxedWorkflowRunner(),
        interceptors=[ArgumentCheck()],
    ):
        yield


async def by_hand(handle: WorkflowHandle[Any, Any], update: str, args: list[Any]) -> None:
    """An update that is refused, or comes into effect; it is not left without an answer."""
    with contextlib.suppress(WorkflowUpdateFailedError):
        await asyncio.wait_for(handle.execute_update(update, args=args), 50)


async def no_task_failed(handle: WorkflowHandle[Any, Any]) -> None:
    """Temporal itself rejects a task that ends the run where something arrived meanwhile, and repeats it with that."""
    async for event in handle.fetch_history_events():
        failed = event.workflow_task_failed_event_attributes
        is_repeated = failed.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_UNHANDLED_COMMAND
        assert is_repeated or not failed.HasField("failure"), failed.failure.message


@pytest.mark.parametrize("extra", [[], [1, "two"]], ids=["cancel", "cancel with arguments"])
async def test_nothing_that_is_sent_by_hand_stops_a_response(stack: Stack, extra: list[Any]) -> None:
    temporal, start = await console(stack), a_start()
    queue = start.response_id
    async with worker(temporal, queue):
        handle = await temporal.start_workflow(ResponseWorkflow.run, start, id=queue, task_queue=queue)
        for name, args in SIGNALS:
            await handle.signal(name, args=args)
        for args in ([], ["x"], [{"approval_request_id": "mcpr_x", "approve": True}], [1, 2]):
            await by_hand(handle, "answer_approval", args)
        await by_hand(handle, "nonsense", [])
        for query in ("nonsense", "progress"):
            with contextlib.suppress(WorkflowQueryFailedError, RPCError):
                await handle.query(query, args=[1, 2])
        await handle.signal("cancel", args=extra)
        ended: FinishedResponse = await asyncio.wait_for(handle.result(), 50)
        await no_task_failed(handle)
    assert ended.response["status"] == "cancelled"


async def test_a_conversation_is_not_begun_under_the_id_of_another(stack: Stack) -> None:
    temporal, conversation_id = await console(stack), new_id("conv_")
    state = ConversationState(conversation_id=new_id("conv_"), tenant="t", created_at=0)
    async with worker(temporal, conversation_id):
        handle = await temporal.start_workflow(
            ConversationWorkflow.run, state, id=conversation_id, task_queue=conversation_id
        )
        with pytest.raises(WorkflowFailureError) as failure:
            await asyncio.wait_for(handle.result(), 50)
    assert isinstance(failure.value.cause, ApplicationError)
    assert failure.value.cause.type == FOREIGN_INPUT


async def test_nothing_that_is_sent_by_hand_stops_a_conversation(stack: Stack) -> None:
    temporal, conversation_id = await console(stack), new_id("conv_")
    state = ConversationState(conversation_id=conversation_id, tenant="t", created_at=0)
    async with worker(temporal, conversation_id):
        handle = await temporal.start_workflow(
            ConversationWorkflow.run, state, id=conversation_id, task_queue=conversation_id
        )
        for args in OF_A_CONVERSATION:
            await handle.signal("end_turn", args=args)
            await by_hand(handle, "settle_turn", args)
        for update in ("add_items", "delete_item", "set_metadata", "begin_turn", "release_turn"):
            for args in ([], [7], [{}], [{"items": [{}]}]):
                await by_hand(handle, update, args)
        item = {"type": "message", "id": "msg_1", "role": "user", "content": []}
        await asyncio.wait_for(handle.execute_update("add_items", AddItems(items=[item])), 50)
        await handle.execute_update("settle_turn", ResponseEnd(response_id="resp_last"))
        kept = await handle.query(ConversationWorkflow.state)
        await no_task_failed(handle)
        await handle.execute_update("delete")
        await asyncio.wait_for(handle.result(), 50)
    assert [entry.item["id"] for entry in kept.entries] == ["msg_1"]
    assert "resp_last" in kept.ended
