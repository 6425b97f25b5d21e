"""Do calls and outputs of a conversation belong together? Checked before anything starts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from open_responses.errors import InvalidRequest
from open_responses.items import FunctionCall, FunctionCallOutput, InputItem
from open_responses.json_types import JsonObject


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
    `left_open` are the ids of such calls, where those are known.
    """
    waiting = _unanswered(previous_output)
    open_calls = {call_id for call_id, name in waiting.items() if name in own or call_id in left_open}
    answered: set[str] = set()
    given_calls: set[str] = set()
    for index, item in enumerate(given):
        if isinstance(item, FunctionCall) and item.status != "incomplete":
            if item.call_id in given_calls:
                raise InvalidRequest(
                    f"Function call {item.call_id!r} stands here a second time, before its output.",
                    param=f"input[{index}].call_id",
                    code="invalid_value",
                )
            given_calls.add(item.call_id)
            waiting[item.call_id] = item.name
            open_calls.discard(item.call_id)
            answered.discard(item.call_id)
        elif isinstance(item, FunctionCallOutput):
            if item.call_id not in waiting:
                raise _for_nothing(item.call_id, index, doubled=item.call_id in answered)
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


def _unanswered(output: Iterable[JsonObject]) -> dict[str, str]:
    """call_id -> name, of the calls that an output leaves to the client."""
    waiting: dict[str, str] = {}
    for item in output:
        if item["type"] == "function_call" and item.get("status") != "incomplete":
            waiting[item["call_id"]] = item["name"]
        elif item["type"] == "function_call_output":
            waiting.pop(item["call_id"], None)
    return waiting


def _for_nothing(call_id: str, index: int, *, doubled: bool) -> InvalidRequest:
    if doubled:
        message, code = f"A second output for function call {call_id!r}: each call has one.", "duplicate_tool_output"
    else:
        message, code = f"No tool call found for function call output with call_id {call_id!r}.", "unknown_tool_call"
    return InvalidRequest(message, param=f"input[{index}].call_id", code=code)
