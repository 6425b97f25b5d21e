"""One log line when a response starts, one when it ends, and the span of the whole response.

The end is written once: by `finish`, or by the process that finds a run that an operator ended.
"""

from __future__ import annotations

import time

import structlog

from open_responses.io.telemetry.genai import Attributes, tools_called
from open_responses.io.telemetry.spans import Span, is_recording, record
from open_responses.json_types import JsonObject
from open_responses.loop.payloads import FinishInput, StartResponse, TurnUsage
from open_responses.trace_context import TraceContext

log = structlog.get_logger("response")


def response_started(start: StartResponse) -> None:
    """Its workflow was started."""
    log.info(
        "response_started",
        **_ids(start),
        background=start.request.is_background,
        stream=start.request.is_streamed,
        conversation=start.request.conversation_id,
    )


def response_ended(call: FinishInput, response: JsonObject, usage: TurnUsage | None) -> None:
    """Its end was stored for the first time."""
    end = {"turns": call.turn, "attempts": call.attempts, "provider": call.provider or call.start.provider}
    _ended(call.start, response, usage, end, first_token_at=call.first_token_at)


def response_ended_outside(start: StartResponse, response: JsonObject, usage: TurnUsage | None) -> None:
    """As `response_ended`, where an operator ended the run. How far it came is not known."""
    _ended(start, response, usage, {"ended_from_outside": True})


def _ended(
    start: StartResponse,
    response: JsonObject,
    usage: TurnUsage | None,
    end: JsonObject,
    *,
    first_token_at: float | None = None,
) -> None:
    status, code = response["status"], (response.get("error") or {}).get("code")
    used = usage or TurnUsage()
    began = start.accepted_at or float(start.created_at)
    line = {
        **_ids(start),
        "status": status,
        "code": code,
        "incomplete_reason": (response.get("incomplete_details") or {}).get("reason"),
        **end,
        "tools": tools_called(response["output"]),
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "total_tokens": used.total,
        "cost_usd": used.cost_usd,
        "first_token_seconds": None if first_token_at is None else round(max(0.0, first_token_at - began), 3),
        "total_seconds": round(max(0.0, time.time() - began), 3),
    }
    (log.warning if status == "failed" else log.info)("response_ended", **line)
    if is_recording():
        _record(start, response, used, began, {"open_responses.turns": end.get("turns")})


def _record(start: StartResponse, response: JsonObject, usage: TurnUsage, began: float, more: Attributes) -> None:
    """The span of the whole response. Its id follows from the response's, so that its parts have named it already."""
    status = response["status"]
    whole = Span(
        name=f"invoke_agent {start.request.model}",
        kind="internal",
        context=TraceContext.of_response(start.response_id, start.traceparent),
        parent=TraceContext.parse(start.traceparent),
        started_at=int(began * 1e9),
        ended_at=time.time_ns(),
    )
    whole.set(
        {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.conversation.id": start.request.conversation_id,
            "open_responses.model": start.request.model,
            "open_responses.tenant": start.tenant,
            "open_responses.response_id": start.response_id,
            "open_responses.request_id": start.request_id,
            "open_responses.status": status,
            # Not under the conventions' names: who adds up tokens and cost would count each twice.
            "open_responses.input_tokens": usage.input_tokens,
            "open_responses.output_tokens": usage.output_tokens,
            "open_responses.cost_usd": usage.cost_usd,
            **more,
        }
    )
    if status == "failed":
        whole.error_type = (response.get("error") or {}).get("code") or "failed"
    record(whole)


def _ids(start: StartResponse) -> JsonObject:
    is_traced = start.traceparent is not None or is_recording()
    return {
        "response_id": start.response_id,
        "request_id": start.request_id,
        "trace_id": TraceContext.of_response(start.response_id, start.traceparent).trace_id if is_traced else None,
        "tenant": start.tenant,
        "provider": start.provider,
        "model": start.request.model,
    }
