"""The spans of the work for one response: model calls, tool calls, requests to MCP servers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from open_responses.io.telemetry.contents import as_messages, as_text, is_captured
from open_responses.io.telemetry.genai import provider_name, request_attributes, usage_attributes, usage_beside
from open_responses.io.telemetry.request_context import in_log_lines
from open_responses.io.telemetry.spans import Span, current_traceparent, inside, is_recording, span
from open_responses.io.telemetry.trace_context import TraceContext
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.sample import SampleInput, SampleResult
from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.tool_calls import ToolContextPayload, ToolResult


@contextlib.contextmanager
def for_response(response_id: str, request_id: str | None, traceparent: str | None) -> Iterator[None]:
    """Open the response's trace: the spans inside are children of the response's own span.

    Without an exporter, the response has no span, and the trace of its request is passed on.
    """
    own = TraceContext.of_response(response_id, traceparent) if is_recording() else TraceContext.parse(traceparent)
    with inside(own), in_log_lines(request_id=request_id, trace_id=None if own is None else own.trace_id):
        yield


@contextlib.contextmanager
def model_call(call: SampleInput, *, adapter: str, attempt: int) -> Iterator[Span]:
    """One attempt at a model turn."""
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider_name(adapter, call.provider),
        "gen_ai.request.model": call.upstream_model,
        "open_responses.provider": call.provider,
        "open_responses.response_id": call.response_id,
        "open_responses.request_id": call.request_id,
        "open_responses.turn": call.turn,
        "open_responses.attempt": attempt,
        "open_responses.retried_because": call.lost,
    }
    with (
        for_response(call.response_id, call.request_id, call.traceparent),
        span(f"chat {call.upstream_model}", kind="client", attributes=attributes) as made,
    ):
        yield made


def describe_request(made: Span, start: StartResponse, items: Iterator[JsonObject]) -> None:
    """Set the attributes of a model call's request; with contents enabled, also the model's input."""
    if not is_recording():
        return
    made.set(request_attributes(start))
    if is_captured():
        made.set(
            {"gen_ai.input.messages": as_messages(items), "gen_ai.system_instructions": start.request.instructions}
        )


def describe_answer(made: Span, call: SampleInput, result: SampleResult) -> None:
    """Set the attributes of a model call's end and its tokens; with contents enabled, also the model's output."""
    if not is_recording():
        return
    made.set({"open_responses.outcome": result.outcome, **usage_attributes(usage_beside(result.usage, call.paid))})
    if result.first_token_at is not None:
        made.set({"gen_ai.response.time_to_first_chunk": max(0.0, result.first_token_at - made.started_at / 1e9)})
    if result.outcome == "done":
        made.set({"gen_ai.response.finish_reasons": [result.finish_reason]})
        if is_captured():
            made.set({"gen_ai.output.messages": as_messages(result.items)})
    elif result.outcome == "broken":
        made.error_type = result.code or "provider_stream_broken"
    else:
        made.error_type = result.outcome


@contextlib.contextmanager
def tool_call(given: ToolContextPayload, tool: str, arguments: JsonObject, *, attempt: int) -> Iterator[Span]:
    """One attempt at a call of a hosted tool, or of an MCP server's."""
    attributes = {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool,
        "gen_ai.tool.call.id": given.call_id,
        "gen_ai.tool.type": "function",
        "open_responses.response_id": given.response_id,
        "open_responses.request_id": given.request_id,
        "open_responses.tenant": given.tenant,
        "open_responses.attempt": attempt,
        "gen_ai.tool.call.arguments": as_text(arguments) if is_recording() and is_captured() else None,
    }
    with (
        for_response(given.response_id, given.request_id, given.traceparent),
        span(f"execute_tool {tool}", attributes=attributes) as made,
    ):
        yield made


def describe_result(made: Span, result: ToolResult) -> None:
    """Set the attributes of a tool call's end; with contents enabled, also the tool's output."""
    if not is_recording():
        return
    made.set({"open_responses.outcome": result.outcome})
    if result.outcome != "done":
        made.error_type = {"failed": "tool_error", "halted": result.reason or "halted"}.get(
            result.outcome, result.outcome
        )
    if is_captured():
        made.set({"gen_ai.tool.call.result": as_text(result.output)})


@contextlib.contextmanager
def mcp_request(method: str, label: str, tool: str | None = None) -> Iterator[Span]:
    """One request to an MCP server. The span has no address, because the address may contain a key."""
    attributes = {"mcp.method.name": method, "gen_ai.tool.name": tool, "open_responses.mcp.server_label": label}
    with span(method if tool is None else f"{method} {tool}", kind="client", attributes=attributes) as made:
        yield made


def trace_headers() -> dict[str, str]:
    """The headers with which a server that this task calls can continue the trace."""
    traceparent = current_traceparent()
    return {} if traceparent is None else {"traceparent": traceparent}
