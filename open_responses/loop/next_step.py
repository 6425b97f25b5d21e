"""The pure decision after each model turn: end the response, or run calls and sample again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from open_responses.context.transcript import NOT_RUN
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.sample import SampleResult
from open_responses.schema.built_in_items import CALL, arguments_of, runs_here
from open_responses.schema.items import OUTPUT_TYPE_OF, OUTPUT_TYPES, REFUSED_CALL
from open_responses.tool_use.json_safety import writing_problem

BROKE_OFF = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""finish_reason -> why the response is incomplete."""


CallKind: TypeAlias = Literal["hosted", "mcp", "built_in"]


@dataclass(frozen=True, slots=True)
class Stop:
    """The response ends with this status."""

    status: Literal["completed", "incomplete"]
    incomplete_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A call that the server runs. `index` is the output index of the model's call.

    `problem`: the error in the arguments. The call is then not run, and the model reads the error.
    """

    kind: CallKind
    index: int
    name: str
    arguments: JsonObject
    call_id: str
    server_label: str = ""
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Run `calls` in parallel. Then `stop`; with None, wait for `approvals`, if any, and sample again.

    `unanswered` are calls that are not run and get no output. `waits_for_client`: the response stops because a call
    needs the client's output or approval.
    """

    calls: Sequence[Call] = ()
    approvals: Sequence[int] = ()
    stop: Stop | None = None
    unanswered: Sequence[Call] = ()
    waits_for_client: bool = False


def next_step(result: SampleResult, first_index: int, hosted: frozenset[str], *, waits_for_approval: bool) -> Step:
    """The step after a model turn (REQ-4, ITEM-2).

    A call of a client's function ends the response as `completed`, once the server's calls of the same turn have run:
    the client sends the output with its next request. So does an approval, unless the response waits for the decision.

    A model turn that broke off ends the response, and its complete calls are not run. After an item that was cut off no
    item may follow, so a function call before it gets no output; the model reads that it was not run
    (`as_model_reads`).

    Args:
        result: The model turn.
        first_index: The output index of its first item.
        hosted: The names of the functions that the server runs.
        waits_for_approval: The response waits for decisions about approvals.
    """
    items = [(first_index + i, item) for i, item in enumerate(result.items) if item.get("status") != "incomplete"]
    calls = [call for index, item in items if (call := _call(index, item, hosted)) is not None]
    if result.finish_reason in BROKE_OFF:
        return _after_a_break(result, calls)
    approvals = [index for index, item in items if item["type"] == "mcp_approval_request"]
    answered = {item.get("call_id") for _, item in items if item["type"] in OUTPUT_TYPES}
    asks_client = any(_is_clients(item, hosted) and item.get("call_id") not in answered for _, item in items)
    if asks_client or (approvals and not waits_for_approval):
        return Step(calls, (), Stop("completed"), waits_for_client=True)
    refused = any(item["type"] == REFUSED_CALL for _, item in items)
    if calls or approvals or refused or result.finish_reason == "pause":
        return Step(calls, approvals)
    return Step(stop=Stop("completed"))


def _is_clients(item: JsonObject, hosted: frozenset[str]) -> bool:
    """Whether the item is a call that the client answers. A search that its provider ran has no `call_id`."""
    if item["type"] == "function_call":
        return not _is_hosted(item, hosted)
    return item["type"] in OUTPUT_TYPE_OF and item.get("call_id") is not None


def _is_hosted(item: JsonObject, hosted: frozenset[str]) -> bool:
    return item["name"] in hosted and item.get("namespace") is None


def _after_a_break(result: SampleResult, calls: Sequence[Call]) -> Step:
    unrun = [replace(call, problem=NOT_RUN) for call in calls]
    is_cut_off = bool(result.items) and result.items[-1].get("status") == "incomplete"
    # The other kinds of calls are their own output.
    unanswered = [call for call in unrun if is_cut_off and call.kind == "hosted"]
    answered = [call for call in unrun if call not in unanswered]
    reason = result.incomplete_reason or BROKE_OFF[result.finish_reason]
    return Step(answered, (), Stop("incomplete", reason), unanswered)


def _call(index: int, item: JsonObject, hosted: frozenset[str]) -> Call | None:
    if item["type"] == "function_call" and _is_hosted(item, hosted):
        return call_of("hosted", index, item["name"], item["arguments"], item["call_id"])
    if item["type"] == "mcp_call":
        return call_of("mcp", index, item["name"], item["arguments"], item["id"], item["server_label"])
    if runs_here(item) and item["status"] == "in_progress":
        return call_of("built_in", index, item[CALL]["function"], arguments_of(item), item["id"])
    return None


def call_of(kind: CallKind, index: int, name: str, written: str, call_id: str, server_label: str = "") -> Call:
    """A call with its arguments read. No arguments at all stand for an empty object: some providers send that."""
    arguments, problem = _arguments(written)
    return Call(kind, index, name, arguments, call_id, server_label, problem)


def _arguments(written: str) -> tuple[JsonObject, str | None]:
    if not written.strip():
        return {}, None
    try:
        read = json.loads(written, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        return {}, f"The arguments are not valid JSON ({error}). Call the tool again with a JSON object."
    if not isinstance(read, dict):
        return {}, "The arguments must be a JSON object. Call the tool again with one."
    problem = writing_problem(read)
    if problem is not None:
        return {}, f"The arguments cannot be handed to the tool: {problem}. Call the tool again with other arguments."
    return read, None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
