"""What an operator does in Temporal's UI, through the same gRPC calls, and the responses that it is done to."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import redis.asyncio as aioredis
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import ResetReapplyExcludeType
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest, ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle

from open_responses.ids import new_id
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.temporal.codec import DATA_CONVERTER
from open_responses.loop.payloads.names import TASK_QUEUE
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import CreateResponse
from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import Event, Stack, events_of, until
from workflows.response import ResponseWorkflow

HOSTED = [{"type": "open_responses:hosted_tools"}]


async def console(stack: Stack) -> Client:
    """A client of Temporal, as the UI and the CLI are."""
    return await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)


async def delete(temporal: Client, workflow_id: str) -> None:
    """`temporal workflow delete`."""
    execution = WorkflowExecution(workflow_id=workflow_id)
    request = DeleteWorkflowExecutionRequest(namespace=temporal.namespace, workflow_execution=execution)
    await temporal.workflow_service.delete_workflow_execution(request)


async def reset(
    temporal: Client, handle: WorkflowHandle[Any, Any], task: int, *, without: Sequence[ResetReapplyExcludeType] = ()
) -> None:
    """`temporal workflow reset`, to the `task`-th completed workflow task (from 0; -1 is the last). What was sent to
    the workflow behind it comes again, but for these types."""
    ends = [
        event.event_id
        async for event in handle.fetch_history_events()
        if event.HasField("workflow_task_completed_event_attributes")
    ]
    execution = WorkflowExecution(workflow_id=handle.id, run_id=(await handle.describe()).run_id)
    await temporal.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=temporal.namespace,
            workflow_execution=execution,
            reason="a test",
            workflow_task_finish_event_id=ends[task],
            request_id=uuid.uuid4().hex,
            reset_reapply_exclude_types=without,
        )
    )


async def closed(handle: WorkflowHandle[Any, Any]) -> WorkflowExecutionStatus | None:
    """The status of the newest run, once it runs no more."""

    async def is_closed() -> bool:
        return (await handle.describe()).status != WorkflowExecutionStatus.RUNNING

    await until(is_closed, 40)
    return (await handle.describe()).status


async def begun_by_hand(
    stack: Stack, redis: aioredis.Redis, *, deadline_seconds: float | None = None, age_seconds: int = 0, **options: Any
) -> StartResponse:
    """A response as the API begins it, with options of Temporal that it never sets. `age_seconds` ago by its record."""
    start = StartResponse(
        response_id=new_id("resp_"),
        tenant="default",
        created_at=int(time.time()) - age_seconds,
        request=CreateResponse(model="fake", input="by hand", background=True),
        provider="fake",
        upstream_model="fake",
        retry_window=20,
        deadline_seconds=deadline_seconds,
    )
    await ResponseStore(redis, ttl_seconds=600, log_ttl_seconds=600).begin(start, ())
    options = {"task_queue": TASK_QUEUE, **options}
    await (await console(stack)).start_workflow(ResponseWorkflow.run, start, id=start.response_id, **options)
    return start


def turns(upstream: Upstream, prompt: str, first: Script, *rest: Script) -> Script:
    """The model's answers to this prompt, turn by turn."""
    first.turns = list(rest)
    return upstream.says(prompt, first)


class Watched:
    """A streamed response: `events` so far, and `handle` for the operator."""

    def __init__(self, temporal: Client, client: httpx.AsyncClient) -> None:
        self.events: list[Event] = []
        self._temporal = temporal
        self._client = client
        self._changed = asyncio.Event()
        self.reading: asyncio.Task[None] | None = None

    @property
    def id(self) -> str:
        response_id: str = self.events[0]["response"]["id"]
        return response_id

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        return self._temporal.get_workflow_handle(self.id)

    async def read(self, body: dict[str, Any]) -> None:
        async for event in events_of(self._client, body):
            self.events.append(event)
            self._changed.set()

    async def until(self, kind: str, count: int = 1, seconds: float = 50) -> None:
        """Wait for the `count`-th event of this type."""
        async with asyncio.timeout(seconds):
            while sum(event["type"] == kind for event in self.events) < count:
                assert self.reading is not None
                assert not self.reading.done(), [event["type"] for event in self.events]
                self._changed.clear()
                await self._changed.wait()

    async def ended(self, seconds: float = 50) -> dict[str, Any]:
        """The stream's last response, which `GET` and a replay have as well, to the letter."""
        assert self.reading is not None
        await asyncio.wait_for(self.reading, seconds)
        terminal = ("response.completed", "response.incomplete", "response.failed")
        assert [e["type"] in terminal for e in self.events] == [False] * (len(self.events) - 1) + [True]
        assert [e["sequence_number"] for e in self.events] == list(range(len(self.events)))
        response: dict[str, Any] = self.events[-1]["response"]
        done = {e["output_index"]: e["item"] for e in self.events if e["type"] == "response.output_item.done"}
        assert [done[index] for index in sorted(done)] == response["output"]
        assert (await self._client.get(f"/v1/responses/{self.id}")).json() == response
        assert [event async for event in events_of(self._client, resume=(self.id, None))] == self.events
        return response


@asynccontextmanager
async def watched(stack: Stack, client: httpx.AsyncClient, prompt: str, **body: Any) -> AsyncIterator[Watched]:
    """A response that is streamed while the block runs."""
    this = Watched(await console(stack), client)
    this.reading = asyncio.create_task(this.read({"input": prompt, **body}))
    try:
        yield this
    finally:
        this.reading.cancel()
        await asyncio.gather(this.reading, return_exceptions=True)


def a_start() -> StartResponse:
    """For a workflow in the test's own process, with activities of the test."""
    return StartResponse(
        response_id=new_id("resp_"),
        tenant="t",
        created_at=0,
        request=CreateResponse(model="fake", input="x"),
        provider="p",
        upstream_model="m",
        retry_window=1,
    )
