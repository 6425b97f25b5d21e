"""The fields of the log line at the end of a response. Nothing of its content is among them."""

from __future__ import annotations

from open_responses.json_types import JsonObject
from open_responses.loop.payloads.finish import FinishInput
from open_responses.loop.payloads.start import StartResponse
from open_responses.loop.payloads.usage import TurnUsage
from open_responses.schema.built_in_items import CALL, runs_here
from open_responses.schema.items import OUTPUT_TYPE_OF

END = "response_ended"
LOG_FIELDS = "open_responses_fields"
"""The attribute of a `logging` record that has the fields of its line: a workflow has no other logger."""


def how_far(call: FinishInput) -> JsonObject:
    """How far the workflow came."""
    return {
        "turns": call.turn,
        "attempts": call.attempts,
        "provider": call.provider or call.start.provider,
        "first_token_seconds": _seconds(call.start, call.first_token_at),
    }


def end_fields(start: StartResponse, response: JsonObject, usage: TurnUsage | None, *, now: float) -> JsonObject:
    """Ids, outcome and totals. `now` is in Unix seconds."""
    used = usage or TurnUsage()
    return {
        **ids_of(start),
        "status": response["status"],
        "code": (response.get("error") or {}).get("code"),
        "incomplete_reason": (response.get("incomplete_details") or {}).get("reason"),
        "tools": tools_called(response["output"]),
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "total_tokens": used.total,
        "cost_usd": used.cost_usd,
        "total_seconds": _seconds(start, now),
    }


def ids_of(start: StartResponse) -> JsonObject:
    """Return the fields that identify a response in log lines."""
    return {
        "response_id": start.response_id,
        "request_id": start.request_id,
        "tenant": start.tenant,
        "provider": start.provider,
        "model": start.request.model,
    }


def accepted_at(start: StartResponse) -> float:
    """The time at which the request was accepted, in Unix seconds."""
    return start.accepted_at or float(start.created_at)


def tools_called(output: list[JsonObject]) -> list[str]:
    """The names of the tools that the model called, each once. An MCP tool has its server's label in front."""
    names = set()
    for item in output:
        if item.get("type") in ("function_call", "custom_tool_call"):
            space = f"{item['namespace']}." if item.get("namespace") else ""
            names.add(f"{space}{item['name']}")
        elif item.get("type") in OUTPUT_TYPE_OF:
            names.add(str(item["type"]).removesuffix("_call"))
        elif item.get("type") == "mcp_call":
            names.add(f"{item['server_label']}.{item['name']}")
        elif runs_here(item):
            names.add(item[CALL]["function"])
    return sorted(names)


def _seconds(start: StartResponse, at: float | None) -> float | None:
    return None if at is None else round(max(0.0, at - accepted_at(start)), 3)
