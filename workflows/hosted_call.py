"""Runs one call of a hosted tool or an MCP server's tool, until there is an output that the model can read.

What this prevents: a response that fails because a tool, its worker or its server failed. Every call ends in an item.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol, TypeVar

from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    TerminatedError,
    TimeoutError,
    TimeoutType,
)

with workflow.unsafe.imports_passed_through():
    from open_responses.contracts import ToolError, ToolOutput
    from open_responses.json_types import JsonObject
    from open_responses.loop.next_step import Call
    from open_responses.loop.payloads.ending import Ending
    from open_responses.loop.payloads.start import StartResponse
    from open_responses.loop.payloads.tool_calls import (
        FLEET_PREFIX,
        MAX_FLEET_PAYLOAD,
        MAY_TRY_AGAIN,
        BuiltInCallInput,
        McpCallInput,
        ToolCall,
        ToolContextPayload,
        ToolResult,
    )
    from open_responses.tool_use.built_in import BuiltInTool
    from open_responses.tool_use.hosted_tool import HostedTool
    from open_responses.tool_use.tool_output import DO_NOT_REPEAT, OUTCOME_UNKNOWN, tool_output
    from workflows import calls
    from workflows.patches import patched
    from workflows.tasks import came_with_the_stop

# If each attempt kills its worker, the call itself is the cause. This limit applies in addition to the tool's own.
_MAX_LOSSES = 10
_MCP_ATTEMPTS = 2
_MCP_PAUSE = timedelta(seconds=1)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The output that the model reads. `failed`: it is an error message. `ending`: the response ends with it.

    `parts`: an MCP tool's output, if it has more than text. `item`: the members of a built-in tool's finished item.
    `citations`: what the model may cite of it.
    """

    output: ToolOutput
    failed: bool = False
    ending: Ending | None = None
    parts: Sequence[JsonObject] = ()
    item: JsonObject = field(default_factory=dict)
    citations: Sequence[JsonObject] = ()


@dataclass(frozen=True, slots=True)
class BuiltInWork:
    """A call of a built-in tool: the tool's name and its settings in the request, the item in OpenAI's form, and the
    call's number in the context."""

    tool: str
    settings: JsonObject
    item: JsonObject
    ordinal: int


@dataclass(frozen=True, slots=True)
class ToolRun:
    """Runs calls of one response. The wait for a call ends as soon as `is_stopping` returns True."""

    start: StartResponse
    is_stopping: Callable[[], bool]

    async def run(self, call: Call, output_index: int, work: BuiltInWork | None = None) -> Outcome | None:
        """Run the call. Returns None if the response was stopped first. `work` is that of a built-in tool."""
        if call.problem is not None:
            return Outcome(call.problem, failed=True)
        tool = next((tool for tool in self.start.hosted if tool.name == call.name), None)
        try:
            if call.kind == "mcp":
                return await self._mcp(call, output_index)
            if work is not None:
                return await self._built_in(work, call, output_index)
            if tool is None:
                return Outcome(f"The tool {call.name!r} is gone: this response does not have it.", failed=True)
            if tool.task_queue is not None:
                return await self._fleet(tool, call, output_index)
            return await self._hosted(tool, call, output_index)
        except ActivityError as error:
            return Outcome(message_of(error, call.name), failed=True)

    async def _hosted(self, tool: HostedTool, call: Call, output_index: int) -> Outcome | None:
        def begin(runs: int) -> workflow.ActivityHandle[ToolResult]:
            context = self._context(call, output_index, runs + 1)
            given = ToolCall(tool=tool.name, arguments=call.arguments, context=context)
            return calls.start_tool(tool, given, tool.max_attempts - runs)

        return await self._at_most(tool.max_attempts, call.name, begin)

    async def _built_in(self, work: BuiltInWork, call: Call, output_index: int) -> Outcome | None:
        tool = next((tool for tool in self.start.built_in if tool.name == work.tool), BuiltInTool(name=work.tool))

        def begin(runs: int) -> workflow.ActivityHandle[ToolResult]:
            given = BuiltInCallInput(
                tool=work.tool,
                function=call.name,
                arguments=call.arguments,
                settings=work.settings,
                item=work.item,
                ordinal=work.ordinal,
                context=self._context(call, output_index, runs + 1),
            )
            return calls.start_built_in_call(tool, given, tool.max_attempts - runs)

        return await self._at_most(tool.max_attempts, call.name, begin)

    async def _at_most(
        self, max_attempts: int, name: str, begin: Callable[[int], workflow.ActivityHandle[ToolResult]]
    ) -> Outcome | None:
        """Run a tool at most `max_attempts` times in all. `begin` starts an activity, given the runs so far."""
        try:
            result = await first_not_lost(max_attempts, lambda runs: self._ended(begin(runs)))
        except EachRunLost:
            lost = f"The worker that ran {name!r} was lost; the call was not finished."
            return Outcome(_with_unknown_outcome(lost), failed=True)
        return None if result is None or result.outcome == "cancelled" else _outcome(result)

    async def _mcp(self, call: Call, output_index: int) -> Outcome | None:
        """Call an MCP tool; once more, after a pause, if its server was not reached.

        A call whose worker was lost may have run. The activity then asks the server whether the tool may run twice.
        """
        failures, may_have_run = 0, False
        for attempt in range(1, _MAX_LOSSES + 1):
            given = McpCallInput(
                server_label=call.server_label,
                tool=call.name,
                arguments=call.arguments,
                context=self._context(call, output_index, attempt),
                may_have_run=may_have_run,
            )
            try:
                result = await self._ended(calls.start_mcp_call(given))
            except ActivityError as error:
                failures += 1
                if failures == _MCP_ATTEMPTS or not _may_try_again(error):
                    raise
                await self._pause()
                continue
            if result is None or result.outcome == "cancelled":
                return None
            if result.outcome in ("done", "failed", "halted"):
                return _outcome(result)
            may_have_run = True
        return Outcome(_with_unknown_outcome(f"The worker that called {call.name!r} was lost each time."), failed=True)

    async def _fleet(self, tool: HostedTool, call: Call, output_index: int) -> Outcome | None:
        """Call a tool of another fleet. Any JSON that its activity returns becomes text, unless it is content parts."""
        given = ToolCall(tool=tool.name, arguments=call.arguments, context=self._context(call, output_index, 1))
        if len(given.model_dump_json()) > MAX_FLEET_PAYLOAD:
            return Outcome(f"The arguments of {call.name!r} are too long. Call it again with less.", failed=True)
        handle = calls.start_fleet_tool(tool, given, f"{FLEET_PREFIX}{output_index}")
        returned = await self._ended(handle)
        if returned is None and self.is_stopping() and (self.start.repeats_alike or not handle.done()):
            return None
        try:
            return Outcome(tool_output(returned))
        except ToolError as error:
            return Outcome(str(error), failed=True)

    async def _ended(self, handle: workflow.ActivityHandle[Result]) -> Result | None:
        start = self.start
        return await until_stopped(
            handle, self.is_stopping, in_order=start.results_in_order, repeats_alike=start.repeats_alike
        )

    async def _pause(self) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await workflow.wait_condition(self.is_stopping, timeout=_MCP_PAUSE)

    def _context(self, call: Call, output_index: int, attempt: int) -> ToolContextPayload:
        return ToolContextPayload(
            response_id=self.start.response_id,
            call_id=call.call_id,
            idempotency_key=f"{self.start.response_id}:{call.call_id}",
            tenant=self.start.tenant,
            metadata=self.start.request.metadata or {},
            attempt=attempt,
            output_index=output_index,
            request_id=self.start.request_id,
            traceparent=self.start.traceparent,
        )


class EachRunLost(Exception):
    """The worker of each run was lost."""


class _Run(Protocol):
    @property
    def outcome(self) -> str: ...
    @property
    def attempts(self) -> int: ...


Run = TypeVar("Run", bound=_Run)


async def first_not_lost(max_attempts: int, run: Callable[[int], Awaitable[Run | None]]) -> Run | None:
    """The result of the first activity whose worker was not lost; None if the response was stopped first.

    There are at most `max_attempts` runs in all: Temporal's retries inside each activity, and the activities that
    follow a lost worker. A run whose worker was lost counts, since it may have had its effect. `run` runs an activity,
    given the number of runs so far. Raises EachRunLost.
    """
    runs = 0
    while runs < max_attempts:
        result = await run(runs)
        if result is None or result.outcome not in ("lost", "handed_over"):
            return result
        runs += max(1, result.attempts)
    raise EachRunLost


async def until_stopped(
    handle: asyncio.Task[Result],
    is_stopping: Callable[[], bool],
    *,
    in_order: bool = False,
    repeats_alike: bool = False,
) -> Result | None:
    """Wait for the result of an activity or a child workflow. Returns None if the response was stopped first.

    Its cancellation is requested and not awaited: its worker may be dead.

    `in_order`: of several waiting calls, the one whose result came first continues first. With a condition for each,
    the calls would continue in the order in which they began to wait. A task that Temporal repeats, and that finds
    two results instead of one, would then publish the results in another order than the log has.

    `repeats_alike`: a result counts if it came in the same workflow task as the stop, and does not if it came later.
    """
    if in_order:
        stopping = asyncio.create_task(workflow.wait_condition(is_stopping))
        await workflow.wait([handle, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
    else:
        await workflow.wait_condition(lambda: handle.done() or is_stopping())
    if handle.done() or (repeats_alike and await came_with_the_stop(handle)):
        return await handle
    if not handle.done():
        handle.cancel()
    return None


def _outcome(result: ToolResult) -> Outcome:
    if result.outcome != "halted":
        failed = result.outcome == "failed"
        return Outcome(result.output, failed, parts=result.parts, item=result.item, citations=result.citations)
    error = Ending(status="failed", error_code=result.reason or "server_error", error_message=str(result.output))
    return Outcome(result.output, failed=True, ending=error)


def _may_try_again(error: ActivityError) -> bool:
    return isinstance(error.cause, ApplicationError) and error.cause.type == MAY_TRY_AGAIN


def message_of(error: ActivityError, name: str) -> str:
    """The failure of an activity that ran a call, as the model reads it."""
    cause = error.cause
    if isinstance(cause, TimeoutError):
        if cause.type == TimeoutType.SCHEDULE_TO_START:
            return f"No worker runs the tool {name!r} at the moment."
        return _with_unknown_outcome(f"The tool {name!r} did not answer in time.")
    if isinstance(cause, ApplicationError):
        return cause.message
    if isinstance(cause, CancelledError | TerminatedError):
        return _with_unknown_outcome(f"The call to {name!r} was cancelled.")
    return _with_unknown_outcome(f"The call to {name!r} failed: {cause or error}")


def _with_unknown_outcome(message: str) -> str:
    """The message about a call that a worker may have carried out.

    A run that earlier versions began keeps the shorter message, so that its stream and its record agree.
    """
    if not patched("unknown-outcomes-are-said"):
        return message
    return f"{message} {OUTCOME_UNKNOWN} {DO_NOT_REPEAT}"
