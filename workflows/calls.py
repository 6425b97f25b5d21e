"""The activities as the workflow calls them: by name, typed, with their time limits, in one place."""

from __future__ import annotations

import json
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from open_responses.json_types import JsonObject
from open_responses.loop.markdown import plain
from open_responses.loop.payloads.approvals import ClaimInput, ClaimResult
from open_responses.loop.payloads.finish import FinishedResponse, FinishInput, FinishResult
from open_responses.loop.payloads.names import (
    CALL_BUILT_IN_TOOL,
    CALL_MCP_TOOL,
    CLAIM_APPROVALS,
    CLOSE_CUT_OFF_SAMPLE,
    FINISH,
    KEEP_END,
    LIST_MCP_TOOLS,
    PUBLISH,
    REQUEST_CANCELLATION,
    RUN_PROGRAM_STEP,
    SAMPLE,
)
from open_responses.loop.payloads.programs import ProgramStepInput, ProgramStepResult
from open_responses.loop.payloads.publish import PublishInput, PublishResult
from open_responses.loop.payloads.sample import SampleInput, SampleResult
from open_responses.loop.payloads.tool_calls import (
    BuiltInCallInput,
    McpCallInput,
    McpListInput,
    McpListResult,
    ToolCall,
    ToolResult,
)
from open_responses.tool_use.built_in import BuiltInTool
from open_responses.tool_use.hosted_tool import HostedTool
from open_responses.webhooks.deliveries import ANNOUNCE_WEBHOOKS, AnnounceInput

# A slow fallback for the leases: it ends the activity of a worker that died during an outage of Redis.
_HEARTBEAT_TIMEOUT = timedelta(seconds=60)
_LONGEST_SAMPLE = timedelta(hours=6)
_LONGEST_FINISH = timedelta(seconds=60)
# `finish` does the same again after a longer outage of Redis.
_LONGEST_CLOSING = timedelta(seconds=20)
_LONGEST_PUBLISH = timedelta(seconds=10)
# About as many attempts as fit into these times. The SDK does not count the pauses between the attempts of a local
# activity towards `schedule_to_close_timeout` (1.35): without a number of attempts, an activity that always fails is
# repeated without end.
_FINISH_ATTEMPTS = 32
_CLOSING_ATTEMPTS = 12
_CANCELLATION_ATTEMPTS = 7
# The limits in the activity of an MCP call are shorter, and their errors say more. These apply if the activity hangs.
_LONGEST_MCP_LIST = timedelta(seconds=45)
_LONGEST_MCP_CALL = timedelta(minutes=11)
_MCP_LIST_ATTEMPTS = 2
_SUMMARY_CHARACTERS = 120


LOCAL_FAILED = (ActivityError, ApplicationError)
"""The errors of a local activity whose last attempt failed. The SDK raises that attempt's failure unchanged (1.35), and
an ActivityError if the activity was cancelled or has timed out."""


def start_sample(call: SampleInput) -> workflow.ActivityHandle[SampleResult]:
    """Start one attempt at a model turn. The sample itself bounds Temporal's retries, in time."""
    return workflow.start_activity(
        SAMPLE,
        call,
        result_type=SampleResult,
        summary=f"{plain(call.upstream_model)} · turn {call.turn}",
        start_to_close_timeout=_LONGEST_SAMPLE,
        heartbeat_timeout=_HEARTBEAT_TIMEOUT,
        retry_policy=RetryPolicy(
            initial_interval=timedelta(seconds=1), backoff_coefficient=2, maximum_interval=timedelta(seconds=30)
        ),
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )


async def finish(call: FinishInput) -> FinishResult:
    """Store the response, then publish its end. Local: its input repeats the output that is in history already."""
    result: FinishResult = await workflow.execute_local_activity(
        FINISH,
        call,
        result_type=FinishResult,
        schedule_to_close_timeout=_LONGEST_FINISH,
        start_to_close_timeout=timedelta(seconds=15),
        retry_policy=_local_retries(_FINISH_ATTEMPTS),
    )
    return result


async def close_cut_off_sample(call: FinishInput) -> FinishResult | None:
    """Close the items that a sample left open in the log when it was stopped. The result brings these items into
    history.

    Returns None if the response has ended already, or if the log has another writer.
    """
    result: FinishResult | None = await workflow.execute_local_activity(
        CLOSE_CUT_OFF_SAMPLE,
        call,
        result_type=FinishResult,
        schedule_to_close_timeout=_LONGEST_CLOSING,
        start_to_close_timeout=timedelta(seconds=15),
        retry_policy=_local_retries(_CLOSING_ATTEMPTS),
    )
    return result


async def publish(call: PublishInput) -> PublishResult:
    """Append the workflow's own events to the log. Local, like `finish`."""
    result: PublishResult = await workflow.execute_local_activity(
        PUBLISH,
        call,
        result_type=PublishResult,
        schedule_to_close_timeout=_LONGEST_PUBLISH,
        start_to_close_timeout=timedelta(seconds=5),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_attempts=3),
    )
    return result


def start_claim(call: ClaimInput) -> workflow.ActivityHandle[ClaimResult]:
    """Start to claim approvals. Local, and retried without limit: the caller stops it with the response."""
    return workflow.start_local_activity(
        CLAIM_APPROVALS,
        call,
        result_type=ClaimResult,
        start_to_close_timeout=timedelta(seconds=15),
        retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=2)),
    )


async def keep_end(finished: FinishedResponse) -> None:
    """Put the result into history. Local, and without I/O of its own."""
    await workflow.execute_local_activity(
        KEEP_END, finished, result_type=FinishedResponse, start_to_close_timeout=timedelta(seconds=15)
    )


async def announce_webhooks(call: AnnounceInput) -> None:
    """Start the deliveries of a response's events. Local: it starts workflows, and sends nothing."""
    await workflow.execute_local_activity(
        ANNOUNCE_WEBHOOKS,
        call,
        schedule_to_close_timeout=_LONGEST_CLOSING,
        start_to_close_timeout=timedelta(seconds=10),
        retry_policy=_local_retries(_CLOSING_ATTEMPTS),
    )


async def request_cancellation() -> None:
    """Have Temporal cancel this run. Local. If Temporal does not answer, it does not accept this workflow task
    either."""
    await workflow.execute_local_activity(
        REQUEST_CANCELLATION,
        schedule_to_close_timeout=_LONGEST_PUBLISH,
        start_to_close_timeout=timedelta(seconds=5),
        retry_policy=_local_retries(_CANCELLATION_ATTEMPTS),
    )


def _local_retries(attempts: int) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=2), maximum_attempts=attempts
    )


def start_tool(tool: HostedTool, call: ToolCall, attempts_left: int) -> workflow.ActivityHandle[ToolResult]:
    """Start a hosted tool on our own workers."""
    return workflow.start_activity(
        tool.name,
        call,
        result_type=ToolResult,
        summary=_summary(call.arguments),
        start_to_close_timeout=timedelta(seconds=tool.timeout_seconds),
        heartbeat_timeout=_HEARTBEAT_TIMEOUT,
        retry_policy=_tool_retries(tool, attempts_left),
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )


def start_fleet_tool(tool: HostedTool, call: ToolCall, activity_id: str) -> workflow.ActivityHandle[object]:
    """Start a tool of another fleet: an activity of this name on its task queue."""
    return workflow.start_activity(
        tool.name,
        call,
        activity_id=activity_id,
        task_queue=tool.task_queue,
        summary=_summary(call.arguments),
        start_to_close_timeout=timedelta(seconds=tool.timeout_seconds),
        # Without a worker of that fleet, the model gets an error as the call's output, and the response goes on.
        schedule_to_start_timeout=timedelta(seconds=max(60.0, 2 * tool.timeout_seconds)),
        retry_policy=_tool_retries(tool, tool.max_attempts),
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )


def start_mcp_call(call: McpCallInput) -> workflow.ActivityHandle[ToolResult]:
    """Start a call to an MCP server."""
    return workflow.start_activity(
        CALL_MCP_TOOL,
        call,
        result_type=ToolResult,
        summary=f"{plain(call.server_label)}.{plain(call.tool)}{_summary(call.arguments)}",
        start_to_close_timeout=_LONGEST_MCP_CALL,
        heartbeat_timeout=_HEARTBEAT_TIMEOUT,
        # The workflow decides which call may be made a second time.
        retry_policy=RetryPolicy(maximum_attempts=1),
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )


def start_built_in_call(
    tool: BuiltInTool, call: BuiltInCallInput, attempts_left: int
) -> workflow.ActivityHandle[ToolResult]:
    """Start a call of a built-in tool on our own workers."""
    return workflow.start_activity(
        CALL_BUILT_IN_TOOL,
        call,
        result_type=ToolResult,
        summary=f"{call.function}{_summary(call.arguments)}",
        start_to_close_timeout=timedelta(seconds=tool.timeout_seconds),
        heartbeat_timeout=_HEARTBEAT_TIMEOUT,
        retry_policy=_tool_retries(tool, attempts_left),
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )


def start_program_step(
    tool: BuiltInTool, given: ProgramStepInput, attempts_left: int, calls_so_far: int
) -> workflow.ActivityHandle[ProgramStepResult]:
    """Start a step of a program."""
    return workflow.start_activity(
        RUN_PROGRAM_STEP,
        given,
        result_type=ProgramStepResult,
        summary=f"a program after {calls_so_far} calls",
        start_to_close_timeout=timedelta(seconds=tool.timeout_seconds),
        heartbeat_timeout=_HEARTBEAT_TIMEOUT,
        retry_policy=_tool_retries(tool, attempts_left),
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )


def start_mcp_list(call: McpListInput) -> workflow.ActivityHandle[McpListResult]:
    """Start to list a server's tools."""
    return workflow.start_activity(
        LIST_MCP_TOOLS,
        call,
        result_type=McpListResult,
        summary=plain(call.server_label),
        start_to_close_timeout=_LONGEST_MCP_LIST,
        heartbeat_timeout=_HEARTBEAT_TIMEOUT,
        retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_attempts=_MCP_LIST_ATTEMPTS),
        cancellation_type=workflow.ActivityCancellationType.TRY_CANCEL,
    )


def _tool_retries(tool: HostedTool | BuiltInTool, attempts: int) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=timedelta(seconds=tool.retry_seconds), backoff_coefficient=2, maximum_attempts=attempts
    )


def _summary(arguments: JsonObject) -> str:
    """`({"city":"Paris"})`, shortened."""
    text = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    return f"({plain(text if len(text) <= _SUMMARY_CHARACTERS else text[:_SUMMARY_CHARACTERS] + '…')})"
