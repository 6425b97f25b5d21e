"""The response resource as JSON, at the start and at the end of a response (REQ-7, REQ-15, ITEM-3).

Every required member of the specification's `ResponseResource` is always there, null where there is nothing, and each
setting is echoed with the value that takes effect. Pure functions, so that the API, the workflow and a rebuild from the
log give the same object.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, TypeAlias, cast

from open_responses.deltas import Usage
from open_responses.json_types import JsonObject
from open_responses.schema import http_bodies
from open_responses.schema.http_bodies import EchoedReasoning, EchoedText, EchoedTool, InputTokensDetails
from open_responses.schema.mcp_tool import McpTool
from open_responses.schema.names import SLUG
from open_responses.schema.request_settings import ReasoningSettings
from open_responses.schema.requests import CreateResponse
from open_responses.schema.text_settings import JsonSchemaFormat, TextSettings
from open_responses.schema.tools import FunctionTool, HostedTools

OMITTED = f"{SLUG}omitted"
"""An extension: true in a built-in tool that the provider lacks; in the response, the settings that it lacks."""

FinalStatus: TypeAlias = Literal["completed", "failed", "incomplete", "cancelled"]

STATUS_TRANSITIONS: Mapping[str, frozenset[str]] = {
    "queued": frozenset({"in_progress", "cancelled"}),
    "in_progress": frozenset({"completed", "failed", "incomplete", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "incomplete": frozenset(),
    "cancelled": frozenset(),
}

# The efforts in the specification's `Reasoning`. `minimal` and `max` are accepted and passed on to the provider, but
# the schema does not allow them in the response. The echo is then null, because any other level would be wrong.
_EFFORTS_IN_THE_SCHEMA = frozenset({"none", "low", "medium", "high", "xhigh"})


def check_transition(old: str, new: str) -> None:
    """Check a change of a status (ITEM-3).

    Args:
        old: The status before.
        new: The status after.

    Raises:
        ValueError: `STATUS_TRANSITIONS` does not have the change.
    """
    if new not in STATUS_TRANSITIONS.get(old, frozenset()):
        raise ValueError(f"a response cannot go from {old!r} to {new!r}")


def is_final(status: str) -> bool:
    """Return whether a status is final."""
    return not STATUS_TRANSITIONS[status]


def initial_response(
    request: CreateResponse,
    *,
    response_id: str,
    created_at: int,
    status: Literal["queued", "in_progress"],
    hosted: Sequence[str] = (),
    omitted_tools: Collection[int] = (),
    omitted_parameters: Sequence[str] = (),
) -> JsonObject:
    """Return the response before its first item.

    Args:
        request: The request, whose settings are echoed.
        response_id: The id.
        created_at: Unix seconds.
        status: `queued` for a background response.
        hosted: The names of the hosted tools.
        omitted_tools: The indexes of the built-in tools that the provider lacks.
        omitted_parameters: The settings that the provider lacks.
    """
    response: http_bodies.Response = {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "completed_at": None,
        "status": status,
        "background": request.is_background,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "model": request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id,
        "prompt_cache_key": request.prompt_cache_key,
        "reasoning": _echo_reasoning(request.reasoning, omitted_parameters),
        "safety_identifier": request.safety_identifier,
        "service_tier": "default" if request.service_tier in (None, "auto") else request.service_tier,
        "store": request.is_stored,
        "temperature": _or(request.temperature, 1.0),
        "text": _echo_text(request.text),
        "tool_choice": _echo_tool_choice(request),
        "tools": _echo_tools(request, hosted, omitted_tools),
        "top_logprobs": request.top_logprobs or 0,
        "top_p": _or(request.top_p, 1.0),
        "presence_penalty": _or(request.presence_penalty, 0.0),
        "frequency_penalty": _or(request.frequency_penalty, 0.0),
        "truncation": request.truncation or "disabled",
        "usage": None,
        "metadata": request.metadata or {},
    }
    if request.conversation_id is not None:
        response["conversation"] = {"id": request.conversation_id}
    named = {OMITTED: list(omitted_parameters)} if omitted_parameters else {}
    return {**cast(JsonObject, response), **_echo_openai(request, omitted_parameters), **named}


def started_response(initial: JsonObject) -> JsonObject:
    """Return the response as it is after it has left the queue."""
    if initial["status"] == "in_progress":
        return initial
    check_transition(initial["status"], "in_progress")
    return {**initial, "status": "in_progress"}


def finished_response(
    initial: JsonObject,
    *,
    status: FinalStatus,
    output: list[JsonObject],
    completed_at: int | None,
    usage: Usage | None,
    error: tuple[str, str] | None = None,
    incomplete_reason: str | None = None,
) -> JsonObject:
    """Return the response at its end.

    Args:
        initial: The response at its start. It may be the snapshot from the queue, of which only the settings are used.
        status: The final status.
        output: The output items.
        completed_at: Unix seconds. Only a `completed` response has it, as in OpenAI's API.
        usage: The tokens of all model turns; None if no provider has reported any.
        error: (code, message) of a `failed` response.
        incomplete_reason: The reason of an `incomplete` response.

    Raises:
        ValueError: The arguments contradict each other.
    """
    if is_final(initial["status"]):
        check_transition(initial["status"], status)
    check_transition("in_progress", status)
    if (status == "failed") != (error is not None):
        raise ValueError(f"an error goes with 'failed', not with {status!r}, and 'failed' needs one")
    if (status == "incomplete") != (incomplete_reason is not None):
        raise ValueError(f"a reason goes with 'incomplete', not with {status!r}, and 'incomplete' needs one")
    return {
        **initial,
        "status": status,
        "completed_at": completed_at if status == "completed" else None,
        "output": output,
        "usage": None if usage is None else usage_json(usage),
        "error": None if error is None else {"code": error[0], "message": error[1]},
        "incomplete_details": None if incomplete_reason is None else {"reason": incomplete_reason},
    }


def usage_json(usage: Usage) -> http_bodies.Usage:
    """Return the specification's `Usage` (REQ-15), with two extension members if they apply."""
    input_details: InputTokensDetails = {"cached_tokens": usage.cached_tokens}
    if usage.cache_write_tokens:
        input_details["cache_write_tokens"] = usage.cache_write_tokens
    written: http_bodies.Usage = {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": input_details,
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    if usage.estimated:
        written["open_responses:estimated"] = True
    return written


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _echo_reasoning(reasoning: ReasoningSettings | None, omitted: Sequence[str]) -> EchoedReasoning | None:
    if reasoning is None:
        return None
    effort = reasoning.effort if reasoning.effort in _EFFORTS_IN_THE_SCHEMA else None
    echo: EchoedReasoning = {"effort": effort, "summary": reasoning.summary}
    if reasoning.context is not None and "reasoning.context" not in omitted:
        echo["context"] = reasoning.context
    if reasoning.mode is not None:
        echo["mode"] = reasoning.mode
    return echo


def _echo_openai(request: CreateResponse, omitted: Sequence[str]) -> JsonObject:
    """Return the settings of OpenAI's API beyond the specification, as far as they were sent and take effect."""
    names = {"access_programs", "image", "prompt", "prompt_cache_options", "prompt_cache_retention", "user"}
    return request.model_dump(mode="json", include=names - set(omitted), exclude_none=True)


def _echo_text(text: TextSettings | None) -> EchoedText:
    echo: EchoedText = {"format": {"type": "text"}}
    if text is not None and isinstance(text.format, JsonSchemaFormat):
        echo["format"] = {
            "type": "json_schema",
            "name": text.format.name,
            "description": text.format.description,
            # The specification's JsonSchemaResponseFormat allows nothing but null here.
            "schema": None,
            "strict": text.format.strict is True,
        }
    elif text is not None and text.format is not None:
        echo["format"] = {"type": text.format.type}
    if text is not None and text.verbosity is not None:
        echo["verbosity"] = text.verbosity
    return echo


def _echo_tools(request: CreateResponse, hosted: Sequence[str], omitted: Collection[int]) -> list[EchoedTool]:
    """Return the tools, with `open_responses:hosted_tools` replaced by the functions that it includes.

    A built-in tool that the provider lacks is marked, since the model did not have it.
    """
    echo: list[EchoedTool] = []
    named = {tool.name for tool in request.tools or [] if isinstance(tool, FunctionTool)}
    for index, tool in enumerate(request.tools or []):
        if isinstance(tool, FunctionTool):
            echo.append(_echo_function(tool))
        elif isinstance(tool, McpTool):
            echo.append(_echo_mcp(tool))
        elif not isinstance(tool, HostedTools):
            mark = {OMITTED: True} if index in omitted else {}
            echo.append(cast(EchoedTool, {**tool.model_dump(mode="json", exclude_unset=True), **mark}))
        else:
            echo += [_echo_function(FunctionTool(type="function", name=name)) for name in hosted if name not in named]
    return echo


def _echo_function(tool: FunctionTool) -> EchoedTool:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
        "strict": tool.strict,
    }


def _echo_mcp(tool: McpTool) -> EchoedTool:
    """Return the tool without its headers and token, which are secrets."""
    echo = tool.model_dump(mode="json", exclude={"headers", "authorization"}, exclude_none=True)
    return cast(EchoedTool, {**echo, "require_approval": echo.get("require_approval", "always"), "headers": None})


def _echo_tool_choice(request: CreateResponse) -> Literal["none", "auto", "required"] | JsonObject:
    choice = request.tool_choice
    if choice is None or isinstance(choice, str):
        return choice or "auto"
    return choice.model_dump(mode="json", exclude_none=True)
