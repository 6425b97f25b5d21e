"""The transcript: a conversation in messages, function calls and outputs, which every provider takes.

The other items of a conversation (MCP calls, approvals, refused calls) are written as calls and outputs here, once, so
that no adapter has to handle them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import BuiltInCall
from open_responses.schema.client_items import ClientCall, CustomToolCall, CustomToolCallOutput
from open_responses.schema.content import ToolOutputPart
from open_responses.schema.items import (
    CALLS,
    OUTPUTS,
    AssistantMessage,
    FunctionCall,
    FunctionCallOutput,
    InputItem,
    OpaqueItem,
    Reasoning,
    RefusedCall,
    pairing_id,
)
from open_responses.schema.mcp_items import McpApprovalRequest, McpApprovalResponse, McpCall, McpTools

NameOf = Callable[[str, str], str]
"""(server label, tool) -> the function name that the model calls."""

NOT_RUN = "Not run: the model's turn broke off before it was complete."
USED_ALREADY = "Not run: the approval of this call had been used already."
# The types that are rewritten. Most conversations have none, and are returned after one look at each item.
_RETOLD = (*CALLS, *OUTPUTS, McpApprovalRequest, McpApprovalResponse, McpCall, McpTools, RefusedCall, BuiltInCall)
_UNFINISHED = "The call was interrupted before it gave a result."


def as_model_reads(items: Sequence[InputItem], name_of: NameOf) -> list[InputItem]:
    """The transcript of the items.

    Lists of tools are dropped. MCP calls, refused calls and approvals become function calls with outputs. A call
    without an output gets one that gives the reason.
    """
    if not any(isinstance(item, _RETOLD) for item in items):
        return list(items)
    called = {
        item.approval_request_id
        for item in items
        if isinstance(item, McpCall | BuiltInCall) and item.approval_request_id
    }
    called |= {a for item in items if isinstance(item, FunctionCall) and (a := approval_of(item)) is not None}
    items = _without_calls_of_programs(items)
    unpaired = _unpaired(items)
    answers = {item.approval_request_id: item for item in items if isinstance(item, McpApprovalResponse)}
    read: list[InputItem] = []
    for index, item in enumerate(items):
        if index in unpaired.dropped:
            continue
        match item:
            case McpTools() | McpApprovalResponse():
                continue
            case McpCall():
                read += _pair(item.id, name_of(item.server_label, item.name), item.arguments, _result(item))
            case BuiltInCall():
                read += _built_in(item)
            case RefusedCall():
                read += _pair(item.call_id, _plain(item.name), item.arguments, item.reason)
            case McpApprovalRequest():
                if item.id not in called:
                    said = _denied(answers.get(item.id))
                    read += _pair(item.id, name_of(item.server_label, item.name), item.arguments, said)
            case FunctionCall() if index in unpaired.left_open:
                read += [item, _output(item.call_id, unpaired.left_open[index])]
            case CustomToolCall() if index in unpaired.left_open:
                said = unpaired.left_open[index]
                output = CustomToolCallOutput(type="custom_tool_call_output", call_id=item.call_id, output=said)
                read += [item, output]
            case ClientCall() if index in unpaired.left_open:
                # No provider has an output of this type that says so.
                continue
            case FunctionCallOutput() if item.status == "incomplete" and not item.output:
                read.append(item.model_copy(update={"output": _UNFINISHED}))
            case _:
                read.append(item)
    return read


def _without_calls_of_programs(items: Sequence[InputItem]) -> Sequence[InputItem]:
    """The items without those of programs that this server ran: the model reads what the program printed.

    A program that waited for the client has an item in each response in which it ran. The first one stays, with the
    output of the last.
    """
    programs: dict[str, BuiltInCall] = {}
    for item in items:
        if (call_id := _program_of(item)) is not None:
            assert isinstance(item, BuiltInCall)
            programs[call_id] = _with_output_of(item, programs.get(call_id))
    if not programs:
        return items
    asked = {
        item.call_id for item in items if isinstance(item, FunctionCall) and _is_of_a_program(item, programs.keys())
    }
    made = frozenset(programs)
    read: list[InputItem] = []
    for item in items:
        call_id = _program_of(item)
        if call_id is not None:
            if call_id in programs:
                read.append(programs.pop(call_id))
            continue
        # A client need not send the caller back.
        is_answer = isinstance(item, FunctionCallOutput) and item.call_id in asked
        if not is_answer and not _is_of_a_program(item, made):
            read.append(item)
    return read


def _program_of(item: InputItem) -> str | None:
    """The call id of a program that this server ran; None for any other item."""
    if not isinstance(item, BuiltInCall) or item.type != "program":
        return None
    call_id = (item.model_extra or {}).get("call_id")
    return call_id if isinstance(call_id, str) else None


def _with_output_of(item: BuiltInCall, first: BuiltInCall | None) -> BuiltInCall:
    """The first item of a program, with the output of this one."""
    if first is None:
        return item
    call = first.open_responses_call.model_copy(update={"output": item.open_responses_call.output})
    return first.model_copy(update={"open_responses_call": call})


def _is_of_a_program(item: InputItem, programs: Collection[str]) -> bool:
    if isinstance(item, OpaqueItem):
        return item.type == "program_output" and (item.model_extra or {}).get("call_id") in programs
    caller = (getattr(item, "model_extra", None) or {}).get("caller")
    return isinstance(caller, dict) and caller.get("caller_id") in programs


def was_cut_off(item: InputItem) -> bool:
    """Whether the model's output broke off within this item. The calls of the same model turn were not run."""
    is_sampled = isinstance(item, (AssistantMessage, Reasoning, McpCall, BuiltInCall, *CALLS))
    return is_sampled and getattr(item, "status", None) == "incomplete"


@dataclass(frozen=True, slots=True)
class _Unpaired:
    """Calls and outputs without their counterpart, by index.

    `left_open` has the output that a call gets; the `dropped` are calls that were cut off, and outputs of calls that
    are not in the context.
    """

    left_open: dict[int, str]
    dropped: set[int]


def _unpaired(items: Sequence[InputItem]) -> _Unpaired:
    """A later response may use the same call id again."""
    waiting: dict[str, int] = {}
    unrun: set[int] = set()
    left: set[int] = set()
    orphans: set[int] = set()
    known: set[str] = set()
    for index, item in enumerate(items):
        if was_cut_off(item):
            unrun |= set(waiting.values())
        if isinstance(item, CALLS) and (call_id := pairing_id(item)) is not None:
            left |= {waiting[call_id]} if call_id in waiting else set()
            waiting[call_id] = index
            known.add(call_id)
        elif isinstance(item, OUTPUTS) and (call_id := pairing_id(item)) is not None:
            waiting.pop(call_id, None)
            orphans |= set() if call_id in known else {index}
    left |= set(waiting.values())
    dropped = {index for index in left if was_cut_off(items[index])} | orphans
    return _Unpaired({i: NOT_RUN if i in unrun else _UNFINISHED for i in left - dropped}, dropped)


def approval_of(item: FunctionCall) -> str | None:
    """The id of the approval that allowed a hosted tool's call: an extra member that this server adds to the item."""
    given = (item.model_extra or {}).get("approval_request_id")
    return given if isinstance(given, str) else None


def denial(reason: str | None) -> str:
    """The output that the model reads for a call that a person did not approve."""
    return f"The user did not approve this call{f': {reason}' if reason else '.'}"


def _denied(answer: McpApprovalResponse | None) -> str:
    if answer is None:
        return "The user has not approved this call; it was not run."
    if answer.approve:
        return "The user approved this call, but it has not been run yet."
    return denial(answer.reason)


def _result(call: McpCall) -> str | list[ToolOutputPart]:
    if call.error is not None:
        return f"Error: {error_text(call.error)}"
    if call.output is None:
        return _UNFINISHED
    return call.output_parts or call.output


def _built_in(item: BuiltInCall) -> list[InputItem]:
    """A call of a built-in tool that this server ran, as the function call that the model made."""
    made = item.open_responses_call
    call, output = _pair(
        item.id, made.function, item.arguments, made.output if made.output is not None else _UNFINISHED
    )
    assert isinstance(call, FunctionCall)
    more = {name: value for name, value in made.members.items() if name not in FunctionCall.model_fields}
    return [FunctionCall.model_validate({**call.model_dump(exclude_unset=True), **more}), output]


def error_text(error: str | JsonObject) -> str:
    """The message in an `mcp_call`'s error, in any of the known shapes."""
    if isinstance(error, str):
        return error
    message = error.get("message") or error.get("content") or error
    return message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)


def _pair(call_id: str, name: str, arguments: str, output: str | list[ToolOutputPart]) -> list[InputItem]:
    short = call_id[-64:]
    return [
        FunctionCall(type="function_call", call_id=short, name=_plain(name), arguments=arguments or "{}"),
        _output(short, output),
    ]


def _output(call_id: str, output: str | list[ToolOutputPart]) -> FunctionCallOutput:
    return FunctionCallOutput(type="function_call_output", call_id=call_id, output=output)


def _plain(name: str) -> str:
    """The name in the characters and the length that every provider takes."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)[:64] or "unknown"
