"""Do calls and outputs of a conversation belong together? Checked before anything starts."""

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
    """Every call has one output, behind it. Raises InvalidRequest for one that is missing, doubled, or for nothing.

    `previous_output` is the output of the response that is continued; its own input was checked when it came. `own` are
    the functions that the server ran in it: a call of theirs that was cut off need not be answered by the client;
    `left_open` are the ids of such calls, where those are known. Nor need the calls in `given` in front of an item that
    was cut off: their turn broke off, and there the server's own, which it did not run, look like any others.
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
    """Items that a client adds to a conversation: each output has its call in front of it, and no other output.

    A call may be added without its output, which can follow. Items that are there already are passed over. `left_open`
    as above. Raises InvalidRequest.
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
    """The ids of outputs that have no call in front of them any more: a client may have deleted that."""
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
    """call_id -> name, of the calls that an output leaves to the client."""
    waiting: dict[str, str] = {}
    for item in output:
        if item["type"] == "function_call" and item.get("status") != "incomplete":
            waiting[item["call_id"]] = item["name"]
        elif item["type"] == "function_call_output":
            waiting.pop(item["call_id"], None)
    return waiting


def _for_nothing(call_id: str, param: str, *, doubled: bool) -> InvalidRequest:
    if doubled:
        message, code = f"A second output for function call {call_id!r}: each call has one.", "duplicate_tool_output"
    else:
        message, code = f"No tool call found for function call output with call_id {call_id!r}.", "unknown_tool_call"
    return InvalidRequest(message, param=param, code=code)


def _second_call(call_id: str, param: str) -> InvalidRequest:
    message = f"Function call {call_id!r} stands here a second time, before its output."
    return InvalidRequest(message, param=param, code="invalid_value")
