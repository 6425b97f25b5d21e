"""Runs tool calls as activities: hosted functions under their own names, and the tools of MCP servers.

What this prevents: a response that never ends because its tool hangs, and a response that fails because a tool failed.
Every call ends with an output that the model can read. `workflows/hosted_call.py` decides whether a call is made again.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.worker.cancellation_registry import RunningWork, Stop
from activities.worker.running_activity import running_activity
from open_responses.contracts import Halt, Middleware, Tool, ToolContext, ToolError, ToolNext, ToolOutput
from open_responses.errors import OpenResponsesError
from open_responses.io.background import in_background
from open_responses.io.metrics import recording as metrics
from open_responses.io.redis.leases import Lease
from open_responses.io.telemetry.activities import describe_result, tool_call
from open_responses.io.telemetry.spans import current_traceparent
from open_responses.io.temporal.client import unstick
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.tool_calls import ToolCall, ToolContextPayload, ToolProgress, ToolResult
from open_responses.middleware.compose import compose_tool
from open_responses.tool_use.json_safety import whole_characters
from open_responses.tool_use.tool_output import tool_output

log = structlog.get_logger(__name__)

# A worker that shuts down waits for a short call to finish, since another worker would have to run it again.
_GRACE_SECONDS = 3.0
# Each progress message to the client is a signal in history, so their number is bounded. The heartbeats show all of
# them to the operator.
_PROGRESS_SECONDS = 1.0
_MAX_PROGRESS = 50
_MAX_ERROR_CHARACTERS = 4000


@dataclass(slots=True)
class ToolRunner:
    """Runs a tool's code as an activity: listed under the lease, cancellable, wrapped in the middleware."""

    lease: Lease
    running: RunningWork
    temporal: Client
    middleware: Sequence[Middleware]

    async def run(self, given: ToolContextPayload, tool: str, arguments: JsonObject, last: ToolNext) -> ToolResult:
        """Run the call. Raises ApplicationError for a failure that Temporal may retry."""
        outcome, began = "cancelled", time.monotonic()
        attempt = given.attempt + activity.info().attempt - 1
        metrics.tool_dispatched(tool)
        try:
            with (
                running_activity(self.lease, self.running, given.response_id) as stop,
                tool_call(given, tool, arguments, attempt=attempt) as span,
            ):
                result = await self._run(given, tool, arguments, last, stop)
                describe_result(span, result)
            outcome = result.outcome
            return result
        except ApplicationError:
            outcome = "error"
            raise
        finally:
            metrics.tool_ended(tool, outcome, time.monotonic() - began)

    async def _run(
        self,
        given: ToolContextPayload,
        tool: str,
        arguments: JsonObject,
        last: ToolNext,
        stop: asyncio.Future[Stop],
    ) -> ToolResult:
        info = activity.info()
        progress = _Progress(self.temporal, given)
        context = ToolContext(
            response_id=given.response_id,
            call_id=given.call_id,
            tool=tool,
            tenant=given.tenant,
            attempt=given.attempt + info.attempt - 1,
            metadata=given.metadata,
            arguments=arguments,
            heartbeat=progress.beat,
            progress=progress.say,
            is_cancelled=lambda: stop.done() or activity.is_cancelled(),
            traceparent=current_traceparent(),
        )
        try:
            result = await _until_stopped(_contained(compose_tool(self.middleware, last), context), stop)
            if stop.done() and stop.result() == "handed_over":
                # This worker may have had another task of the workflow meanwhile: the next one must not wait for it.
                await unstick(self.temporal, given.response_id)
            return result.model_copy(update={"attempts": info.attempt})
        except ToolError as error:
            return ToolResult(outcome="failed", output=_shown(error))
        except Halt as halt:
            if halt.error is None:
                return ToolResult(outcome="done", output=halt.text or "")
            return ToolResult(outcome="halted", output=halt.error.message, reason=halt.error.error_code)
        except OpenResponsesError as error:
            raise ApplicationError(
                error.message,
                type=error.error_code,
                non_retryable=not error.retryable,
                next_retry_delay=None if error.retry_after is None else timedelta(seconds=error.retry_after),
            ) from error
        except Exception as error:
            raise ApplicationError(_shown(error), type=type(error).__name__) from error
        finally:
            progress.close()


@dataclass(slots=True)
class HostedToolActivity:
    """The activity of every hosted tool; the activity's name is the tool's."""

    runner: ToolRunner
    tools: Mapping[str, Tool]

    @activity.defn(dynamic=True)
    async def call_tool(self, payloads: Sequence[RawValue]) -> ToolResult:
        """Run a hosted tool. If the configuration no longer has it, the call fails with a message to the model."""
        call = activity.payload_converter().from_payload(payloads[0].payload, ToolCall)
        tool = self.tools.get(call.tool)
        if tool is None:
            return ToolResult(outcome="failed", output=f"The tool {call.tool!r} is gone: this server has it no more.")
        return await self.runner.run(call.context, call.tool, call.arguments, tool.call)


async def _contained(call: ToolNext, context: ToolContext) -> ToolOutput:
    """Call the tool, and turn every exception into the failure of this call.

    A SystemExit in a task would end the event loop, and a CancelledError that the tool raises would look like our
    cancellation.
    """
    try:
        return tool_output(await call(context))
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("the tool cancelled itself") from error
    except (Exception, GeneratorExit):
        raise
    except BaseException as error:
        raise ToolError(f"The tool tried to end its process ({type(error).__name__}).") from error


async def _until_stopped(call: Awaitable[ToolOutput], stop: asyncio.Future[Stop]) -> ToolResult:
    """Run the call until it ends or `stop` is set. At a shutdown, wait for a moment for the call to end first."""
    task = asyncio.ensure_future(call)
    waiting: list[asyncio.Future[Any]] = [task, stop]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and stop.result() == "handed_over":
            await asyncio.wait([task], timeout=_GRACE_SECONDS)
        if task.done():
            return ToolResult(outcome="done", output=task.result())
        why = stop.result()
        return ToolResult(outcome=why, reason="the worker shut down" if why == "handed_over" else None)
    finally:
        if not task.done():
            task.cancel()
            # A tool that ignores its cancellation goes on running, and its result is dropped.
            await asyncio.wait([task], timeout=_GRACE_SECONDS)


class _Progress:
    """Receives the progress of a tool from any thread. Each message goes to the operator, and at most one a second to
    the client."""

    def __init__(self, temporal: Client, context: ToolContextPayload) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._handle = temporal.get_workflow_handle(context.response_id)
        self._index = context.output_index
        self._signalled_at = -_PROGRESS_SECONDS
        self._sent = 0
        self._is_over = False
        self._tasks: set[asyncio.Task[None]] = set()

    def beat(self, *details: object) -> None:
        self._on_loop(lambda: self._beat(*details))

    def say(self, message: str) -> None:
        self._on_loop(lambda: self._say(whole_characters(message)))

    def _on_loop(self, act: Callable[[], None]) -> None:
        """A plain function runs in a thread of its own, with a copy of the activity's context."""
        if threading.get_ident() == self._thread:
            act()
        else:
            self._loop.call_soon_threadsafe(act, context=contextvars.copy_context())

    def _beat(self, *details: object) -> None:
        # The thread may go on after its call was given up.
        if not self._is_over:
            activity.heartbeat(*details)

    def _say(self, message: str) -> None:
        self._beat(message)
        now = self._loop.time()
        if self._is_over or now - self._signalled_at < _PROGRESS_SECONDS or self._sent >= _MAX_PROGRESS:
            return
        self._signalled_at, self._sent = now, self._sent + 1
        task = in_background("progress", self._signal(ToolProgress(output_index=self._index, message=message[:500])))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _signal(self, progress: ToolProgress) -> None:
        with contextlib.suppress(RPCError):
            await self._handle.signal("tool_progress", progress)

    def close(self) -> None:
        self._is_over = True
        for task in self._tasks:
            task.cancel()


def _shown(error: Exception) -> str:
    """An exception as the model reads it: its message, or its type's name if it has none."""
    text = whole_characters(str(error)).strip() or type(error).__name__
    return text if len(text) <= _MAX_ERROR_CHARACTERS else text[:_MAX_ERROR_CHARACTERS] + " …"
