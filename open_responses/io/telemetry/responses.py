"""One log line when a response starts, one when it ends, and the span of the whole response.

The end is written once: by `finish`, or by the process that finds a run that an operator ended.
"""

from __future__ import annotations

import time

import structlog

from open_responses.io.telemetry.spans import Span, is_recording, record
from open_responses.io.telemetry.trace_context import TraceContext
from open_responses.json_types import JsonObject
from open_responses.loop.end_line import END, accepted_at, end_fields, how_far, ids_of
from open_responses.loop.payloads.finish import FinishInput
from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.usage import TurnUsage

log = structlog.get_logger("response")

_SHOWN = (
    "response_id",
    "request_id",
    "tenant",
    "model",
    "status",
    "turns",
    "input_tokens",
    "output_tokens",
    "cost_usd",
)


def response_started(start: StartResponse) -> None:
    """Log that the response's workflow was started."""
    log.info(
        "response_started",
        **ids_of(start),
        trace_id=_trace_id(start),
        background=start.request.is_background,
        stream=start.request.is_streamed,
        conversation=start.request.conversation_id,
    )


def response_ended(call: FinishInput, response: JsonObject, usage: TurnUsage | None) -> None:
    """Log the response's end, and record its span, when the end is stored for the first time."""
    _ended(call.start, response, usage, how_far(call))


def response_ended_outside(start: StartResponse, response: JsonObject, usage: TurnUsage | None) -> None:
    """Do the same as `response_ended` for a run that an operator ended.

    The number of its turns and attempts is not known.
    """
    _ended(start, response, usage, {"ended_from_outside": True})


def _ended(start: StartResponse, response: JsonObject, usage: TurnUsage | None, more: JsonObject) -> None:
    line = {**end_fields(start, response, usage, now=time.time()), "trace_id": _trace_id(start), **more}
    (log.warning if response["status"] == "failed" else log.info)(END, **line)
    if is_recording():
        _record(start, line)


def _record(start: StartResponse, line: JsonObject) -> None:
    """Record the span of the whole response.

    Its id follows from the response's id, so the spans of its parts already name it as their parent.
    """
    whole = Span(
        name=f"invoke_agent {start.request.model}",
        kind="internal",
        context=TraceContext.of_response(start.response_id, start.traceparent),
        parent=TraceContext.parse(start.traceparent),
        started_at=int(accepted_at(start) * 1e9),
        ended_at=time.time_ns(),
    )
    whole.set({"gen_ai.operation.name": "invoke_agent", "gen_ai.conversation.id": start.request.conversation_id})
    # Tokens and cost do not have the conventions' names here: a sum over all spans would count those of each call
    # twice.
    whole.set({f"open_responses.{name}": line.get(name) for name in _SHOWN})
    if line["status"] == "failed":
        whole.error_type = line["code"] or "failed"
    record(whole)


def _trace_id(start: StartResponse) -> str | None:
    if start.traceparent is None and not is_recording():
        return None
    return TraceContext.of_response(start.response_id, start.traceparent).trace_id
