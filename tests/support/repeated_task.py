"""A worker in the test's own process whose workflow tasks fail on purpose, behind a local activity that has run.

Temporal then repeats the task, with what arrived in the meantime: as after a worker that died between what it did and
its report of it. The workflow, `finish` and `publish` are the real ones, on the stack's Temporal and Valkey; models and
tools are functions of the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import SearchAttributePair, TypedSearchAttributes
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    UnsandboxedWorkflowRunner,
    Worker,
)

from activities.lifecycle.claim_approvals import ClaimActivity
from activities.lifecycle.finish import FinishActivity
from activities.lifecycle.publish import PublishActivity
from activities.lifecycle.run_ends import keep_end, request_cancellation
from open_responses.deltas import Delta, Finish
from open_responses.events.assembler import Assembler
from open_responses.events.fold import Fold
from open_responses.events.lifecycle import opening_events
from open_responses.ids import new_id
from open_responses.io.log.appender import Appender
from open_responses.io.log.fenced_log import fence_for_attempt
from open_responses.io.log.fences import fence
from open_responses.io.log.reader import read_log
from open_responses.io.log.writer import Writer
from open_responses.io.redis.client import Redis, connect
from open_responses.io.store.conversation_pieces import ConversationPieces
from open_responses.io.store.records import Record
from open_responses.io.store.redis_store import ResponseStore
from open_responses.io.store.repository import Records
from open_responses.io.temporal.client import TENANT
from open_responses.io.temporal.codec import DATA_CONVERTER
from open_responses.io.temporal.ends_of_runs import end_of_run
from open_responses.io.temporal.erasure_marks import ErasureMarks
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.approvals import ClaimResult
from open_responses.loop.payloads.finish import FinishedResponse, FinishInput, FinishResult
from open_responses.loop.payloads.names import CLAIM_APPROVALS, FINISH, PUBLISH, SAMPLE, WORKFLOW
from open_responses.loop.payloads.publish import PublishResult
from open_responses.loop.payloads.sample import SampleInput, SampleResult
from open_responses.loop.payloads.start import PATCH_LEVEL, StartResponse
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.schema.requests import CreateResponse
from open_responses.tool_use.hosted_tool import HostedTool
from open_responses.tool_use.route import Route
from open_responses.tool_use.tool_table import ToolTable
from workflows.response import ResponseWorkflow

Meanwhile = Callable[[], Awaitable[None]]
_RESULTS: dict[str, type] = {FINISH: FinishResult, PUBLISH: PublishResult, CLAIM_APPROVALS: ClaimResult}
# As the API starts a response today.
_AS_NOW = {
    "results_in_order": True,
    "repeats_alike": True,
    "ends_alike": True,
    "has_search_attributes": True,
    "patch_level": PATCH_LEVEL,
}
TOOL = "get_weather"
GUARDED = "guarded"
"""Waits for a person's approval."""
WAIT = "wait_until"
"""Waits, in the workflow itself."""
_ROUTES = {
    TOOL: Route("hosted", TOOL),
    GUARDED: Route("hosted", GUARDED, needs_approval=True),
    WAIT: Route("hosted", WAIT),
}


class WatchedFinish(FinishActivity):
    """Keeps what the workflow asked for, and counts the ends that were taken from the log instead."""

    asked: list[FinishInput]
    adopted: list[FinishInput]

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        # Its base is frozen.
        self.__dict__.update(asked=[], adopted=[])

    @activity.defn(name=FINISH)
    async def finish(self, call: FinishInput) -> FinishResult:
        self.asked.append(call)
        return await super().finish(call)

    async def _adopted(self, call: FinishInput) -> FinishResult:
        self.adopted.append(call)
        return await super()._adopted(call)

    @property
    def has_diverged(self) -> bool:
        """Whether a repeated task asked for another end, or the log held events that the workflow did not publish."""
        ends = [(call.ending, call.output, call.trace, call.ended_at) for call in self.asked]
        return bool(self.adopted) or any(end != ends[0] for end in ends)


class Repetition(Interceptor):
    """Fails the task once, behind the `count`-th run of a local activity."""

    def __init__(self) -> None:
        self._name = ""
        self._count = 0
        self._meanwhile: Meanwhile | None = None
        self.unreachable: set[str] = set()
        """Activities whose every attempt fails, as without their server."""
        self.before: dict[str, Meanwhile] = {}
        """By the name of an activity: what happens once, before it does anything."""
        self.after: dict[str, Meanwhile] = {}
        """The same, between what it does and its report; no task fails."""
        self.doomed: type | None = None
        self.times = 0

    def behind(self, name: str, meanwhile: Meanwhile, *, count: int = 1) -> None:
        """What happens between the local activity's deed and the failure of its task."""
        self._name, self._meanwhile, self._count = name, meanwhile, count

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        outer = self

        class Inbound(ActivityInboundInterceptor):
            async def execute_activity(self, input: ExecuteActivityInput) -> Any:
                name = activity.info().activity_type
                await outer._once(outer.before, name)
                if name in outer.unreachable:
                    raise RuntimeError("its server is away on purpose")
                result = await super().execute_activity(input)
                await outer._once(outer.after, name)
                await outer._ran(name)
                return result

        return Inbound(next)

    @staticmethod
    async def _once(moments: dict[str, Meanwhile], name: str) -> None:
        if (meanwhile := moments.pop(name, None)) is not None:
            await meanwhile()

    async def _ran(self, name: str) -> None:
        if name != self._name or self._meanwhile is None:
            return
        self._count -= 1
        if self._count == 0:
            meanwhile, self._meanwhile = self._meanwhile, None
            await meanwhile()
            self.doomed = _RESULTS[name]

    def converter(self) -> type[PydanticPayloadConverter]:
        outer = self

        class Failing(PydanticPayloadConverter):
            def from_payloads(self, payloads: Sequence[Any], type_hints: list[type] | None = None) -> list[Any]:
                if outer.doomed is not None and type_hints == [outer.doomed]:
                    outer.doomed = None
                    outer.times += 1
                    raise RuntimeError("this workflow task fails on purpose")
                return super().from_payloads(payloads, type_hints)

        return Failing


class Running:
    """One response on this worker."""

    def __init__(
        self, handle: WorkflowHandle[Any, FinishedResponse], redis: Redis, store: ResponseStore, temporal: Client
    ) -> None:
        self.handle = handle
        self._temporal = temporal
        self._redis = redis
        self._store = store

    @property
    def id(self) -> str:
        return self.handle.id

    async def result(self) -> FinishedResponse:
        """The end in the run, once it has closed, also where it is failed or cancelled."""
        try:
            return await asyncio.wait_for(self.handle.result(), 60)
        except WorkflowFailureError:
            ended = await end_of_run(self._temporal, await self.handle.describe())
        assert ended is not None
        return ended

    async def log(self) -> list[JsonObject]:
        return [orjson.loads(event) for event in await read_log(self._redis, self.id, 0)]

    async def stored(self) -> JsonObject:
        (record,) = await self._store.load([self.id])
        assert isinstance(record, Record)
        assert record.response is not None
        response: JsonObject = orjson.loads(record.response)
        return response


class Bench:
    """Starts responses whose turns are the given deltas, and whose tool is the given function."""

    def __init__(self, temporal: Client, redis: Redis, queue: str, repetition: Repetition, data: Path) -> None:
        self.temporal = temporal
        self.redis = redis
        self.store = ResponseStore(redis, ttl_seconds=600, log_ttl_seconds=600)
        self.appender = Appender(redis, ttl_seconds=600)
        self.repetition = repetition
        self.queue = queue
        self.records = Records(self.store, temporal, ConversationPieces(data))
        marks = ErasureMarks(data)
        self.finishing = WatchedFinish(redis, self.store, self.appender, marks, self.records.outside_ends, 600)
        self.turns: list[Sequence[Delta]] = []
        self.tool: Callable[[Any], Awaitable[Any]] | None = None
        self.before_answer: Meanwhile | None = None
        self.before_end: Meanwhile | None = None
        self.before_result: Meanwhile | None = None
        self.mcp: Callable[[Any], Awaitable[Any]] | None = None

    async def start(self, request: JsonObject, *, task_timeout: timedelta | None = None, **more: Any) -> Running:
        asked = CreateResponse.model_validate({"model": "fake", "input": "hello", **request})
        hosted = [
            HostedTool(name=TOOL),
            HostedTool(name=GUARDED, require_approval=True),
            HostedTool(name=WAIT, max_wait_seconds=3600),
        ]
        start = StartResponse(
            tenant="default",
            created_at=int(time.time()),
            request=asked,
            provider="fake",
            upstream_model="fake",
            retry_window=20,
            hosted=hosted,
            **{"response_id": new_id("resp_"), **_AS_NOW, **more},
        )
        await self.store.begin(start, ())
        handle = await self.temporal.start_workflow(
            WORKFLOW,
            start,
            id=start.response_id,
            task_queue=self.queue,
            result_type=FinishedResponse,
            task_timeout=task_timeout,
            search_attributes=TypedSearchAttributes([SearchAttributePair(TENANT, start.tenant)]),
        )
        self.started = start
        return Running(handle, self.redis, self.store, self.temporal)

    @activity.defn(name=SAMPLE)
    async def sample(self, call: SampleInput) -> SampleResult:
        """One turn, with its events in the log."""
        if self.before_answer is not None:
            await self.before_answer()
        fold = Fold()
        fold.output = [{"type": "gap"}] * call.first_output_index
        await fence_for_attempt(self.redis, call, fence(call.epoch, 1), 1, ttl=60)
        writer = Writer(
            self.appender, call.response_id, fence=fence(call.epoch, 1), initial={}, base=call.first_sequence, fold=fold
        )
        assembler = Assembler(fold, ToolTable(routes=_ROUTES), call.response_id)
        if call.first_sequence == 0:
            writer.write(opening_events(self.started.initial()))
        for delta in self.turns[call.turn - 1]:
            if not isinstance(delta, Finish):
                writer.write(assembler.feed(delta))
        if self.before_end is not None:
            await writer.flush()
            await self.before_end()
        writer.write(assembler.close("completed"))
        await writer.flush()
        if self.before_result is not None:
            await self.before_result()
        return SampleResult(
            outcome="done",
            items=fold.output[call.first_output_index :],
            trace=writer.trace.ops,
            usage=TurnUsage(input_tokens=1, output_tokens=1),
            ended_at=time.time(),
        )

    @activity.defn(name=TOOL)
    async def run_tool(self, call: Any) -> Any:
        assert self.tool is not None
        return await self.tool(call)

    @activity.defn(name=GUARDED)
    async def run_guarded(self, call: Any) -> Any:
        return await self.run_tool(call)

    @activity.defn(name="list_mcp_tools")
    async def list_mcp_tools(self, call: Any) -> Any:
        assert self.mcp is not None
        return await self.mcp(call)


@contextlib.asynccontextmanager
async def bench(temporal_address: str, redis_url: str) -> AsyncIterator[Bench]:
    repetition = Repetition()
    converter = dataclasses.replace(DATA_CONVERTER, payload_converter_class=repetition.converter())
    temporal = await Client.connect(temporal_address, data_converter=converter)
    folder = tempfile.TemporaryDirectory()
    redis, queue = connect(redis_url), new_id("queue_")
    this = Bench(temporal, redis, queue, repetition, Path(folder.name))
    appending = asyncio.create_task(this.appender.run())
    worker = Worker(
        temporal,
        task_queue=queue,
        workflows=[ResponseWorkflow],
        activities=[
            this.sample,
            this.run_tool,
            this.run_guarded,
            this.list_mcp_tools,
            this.finishing.close_cut_off_sample,
            this.finishing.finish,
            keep_end,
            request_cancellation,
            ClaimActivity(temporal, this.store).claim,
            PublishActivity(redis, this.appender, this.records).publish,
        ],
        workflow_runner=UnsandboxedWorkflowRunner(),
        interceptors=[repetition],
    )
    try:
        async with worker:
            yield this
    finally:
        appending.cancel()
        await asyncio.gather(appending, return_exceptions=True)
        await redis.aclose()
        folder.cleanup()
