"""Checks, before a response starts, that each call in its conversation has one output, and each output a call."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from open_responses.context.transcript import was_cut_off
from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from open_responses.schema.items import FunctionCall, FunctionCallOutput, InputItem


def check_calls_are_answered(
    given: Sequence[InputItem],
    previous_output: Iterable[JsonObject],
    *,
    own: frozenset[str] = frozenset(),
    left_open: Collection[str] = (),
) -> None:
    """Check that every call has one output, after it.

    Calls in `given` before an item that was cut off need no output. Their model turn broke off, and the server's own
    calls, which it did not run, look like the client's there.

    Args:
        given: The request's input.
        previous_output: The output of the response that is continued. Its own input was checked with its request.
        own: The functions that the server ran in that response. The client need not answer a call of theirs that was
            cut off.
        left_open: The ids of such calls, where they are known.

    Raises:
        InvalidRequest: An output is missing, is given twice, or has no call.
    """
    waiting = _unanswered(previous_output)
    open_calls = {call_id for call_id, name in waiting.items() if name in own or call_id in left_open}
    answered: set[str] = set()
    given_calls: set[str] = set()
    for index, item in enumerate(given):
        if was_cut_off(item):
            open_calls |= given_calls
        elif isinstance(item, FunctionCall):
            if item.call_id in given_calls:
                raise _second_call(item.call_id, f"input[{index}].call_id")
            given_calls.add(item.call_id)
            waiting[item.call_id] = item.name
            open_calls.discard(item.call_id)
            answered.discard(item.call_id)
        elif isinstance(item, FunctionCallOutput):
            if item.call_id not in waiting:
                raise _for_nothing(item.call_id, f"input[{index}].call_id", doubled=item.call_id in answered)
            del waiting[item.call_id]
            given_calls.discard(item.call_id)
            answered.add(item.call_id)
    for call_id, name in waiting.items():
        if call_id in open_calls:
            continue
        raise InvalidRequest(
            f"No tool output found for function call {call_id!r} ({name}). Send a function_call_output with this "
            "call_id in the input.",
            param="input",
            code="missing_tool_output",
        )


def check_added_calls(
    stored: Sequence[JsonObject], added: Sequence[JsonObject], left_open: Collection[str] = ()
) -> None:
    """Check the items that a client adds to a conversation: each output follows its call, and is its only output.

    A call may be added before its output. Items that the conversation already has are skipped.

    Args:
        stored: The items of the conversation.
        added: The new items.
        left_open: The ids of calls that the server did not run; they need no output.

    Raises:
        InvalidRequest: An output has no call, or is its second one; or a call repeats an id that has no output yet.
    """
    known, orphans = {item["id"] for item in stored}, orphaned_outputs(stored)
    waiting = _unanswered(stored)
    answered = {i["call_id"] for i in stored if i["type"] == "function_call_output" and i["id"] not in orphans}
    for index, item in enumerate(added):
        if item["id"] in known or item["type"] not in ("function_call", "function_call_output"):
            continue
        call_id, param = item["call_id"], f"items[{index}].call_id"
        if item["type"] == "function_call_output":
            if call_id not in waiting:
                raise _for_nothing(call_id, param, doubled=call_id in answered)
            del waiting[call_id]
            answered.add(call_id)
        elif item.get("status") != "incomplete":
            if call_id in waiting and call_id not in left_open:
                raise _second_call(call_id, param)
            waiting[call_id] = item["name"]
            answered.discard(call_id)


def orphaned_outputs(items: Iterable[JsonObject]) -> set[str]:
    """The ids of outputs without a call before them. A client may have deleted the call."""
    waiting: set[str] = set()
    orphans: set[str] = set()
    for item in items:
        if item["type"] == "function_call" and item.get("status") != "incomplete":
            waiting.add(item["call_id"])
        elif item["type"] == "function_call_output":
            if item["call_id"] in waiting:
                waiting.remove(item["call_id"])
            else:
                orphans.add(item["id"])
    return orphans


def _unanswered(output: Iterable[JsonObject]) -> dict[str, str]:
    """call_id -> name, of the calls in an output that the client has to answer."""
    waiting: dict[str, str] = {}
    for item in output:
        if item["type"] == "function_call" and item.get("status") != "incomplete":
            waiting[item["call_id"]] = item["name"]
        elif item["type"] == "function_call_output":
            waiting.pop(item["call_id"], None)
    return waiting


def _for_nothing(call_id: str, param: str, *, doubled: bool) -> InvalidRequest:
    if doubled:
        message, code = (
            f"Your input has a second output for function call {call_id!r}. Send one for each call.",
            "duplicate_tool_output",
        )
    else:
        message = (
            f"No tool call found for function call output with call_id {call_id!r}. Send the call before it, or "
            "continue the response that made the call."
        )
        code = "unknown_tool_call"
    return InvalidRequest(message, param=param, code=code)


def _second_call(call_id: str, param: str) -> InvalidRequest:
    message = f"Your input has function call {call_id!r} a second time, before its output. Send each call once."
    return InvalidRequest(message, param=param, code="invalid_value")
