"""Checks, before a response starts, that each call in its conversation has one output, and each output a call."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from open_responses.context.transcript import was_cut_off
from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from open_responses.schema.items import (
    CALL_TYPE_OF,
    CALLS,
    OUTPUT_TYPE_OF,
    OUTPUT_TYPES,
    OUTPUTS,
    InputItem,
    pairing_id,
)


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
    previous_output = list(previous_output)
    cut_off = _unanswered(previous_output, is_cut_off=True)
    waiting = cut_off | _unanswered(previous_output)
    open_calls = {call_id for call_id, call in waiting.items() if call.is_of(own) or call_id in left_open}
    open_calls |= cut_off.keys()
    answered: set[str] = set()
    given_calls: set[str] = set()
    for index, item in enumerate(given):
        if was_cut_off(item):
            open_calls |= given_calls
        if isinstance(item, CALLS):
            call_id = pairing_id(item)
            if call_id is None:
                continue
            if was_cut_off(item):
                # It needs no output. A client that does not read the status has run the call, and sends one.
                waiting.setdefault(call_id, Waiting(item.type, getattr(item, "name", item.type)))
                open_calls.add(call_id)
                continue
            if call_id in given_calls:
                raise _second_call(item.type, call_id, f"input[{index}].call_id")
            given_calls.add(call_id)
            waiting[call_id] = Waiting(item.type, getattr(item, "name", item.type))
            open_calls.discard(call_id)
            answered.discard(call_id)
        elif isinstance(item, OUTPUTS):
            call_id = pairing_id(item)
            if call_id is None:
                continue
            if _may_follow(item.type, call_id, answered):
                continue
            if call_id not in waiting:
                raise _for_nothing(item.type, call_id, f"input[{index}].call_id", doubled=call_id in answered)
            _check_answers(item.type, call_id, waiting[call_id], f"input[{index}].type")
            del waiting[call_id]
            given_calls.discard(call_id)
            answered.add(call_id)
    for call_id, call in waiting.items():
        if call_id in open_calls:
            continue
        kind = OUTPUT_TYPE_OF[call.kind]
        raise InvalidRequest(
            f"No tool output found for {_spoken(call.kind)} {call_id!r} ({call.name}). Send a {kind} with this "
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
    cut_off = _unanswered(stored, is_cut_off=True)
    waiting = cut_off | _unanswered(stored)
    answered = {_id_in(i) for i in stored if i["type"] in OUTPUT_TYPES and i["id"] not in orphans}
    for index, item in enumerate(added):
        kind, call_id, param = item["type"], _id_in(item), f"items[{index}].call_id"
        if item["id"] in known or call_id is None or not (kind in OUTPUT_TYPES or kind in OUTPUT_TYPE_OF):
            continue
        if kind in OUTPUT_TYPES:
            if _may_follow(kind, call_id, answered):
                continue
            if call_id not in waiting:
                raise _for_nothing(kind, call_id, param, doubled=call_id in answered)
            _check_answers(kind, call_id, waiting[call_id], f"items[{index}].type")
            del waiting[call_id]
            answered.add(call_id)
        elif item.get("status") == "incomplete":
            # It needs no output, and may have one.
            cut_off[call_id] = Waiting(kind, str(item.get("name", kind)))
            waiting.setdefault(call_id, cut_off[call_id])
        else:
            if call_id in waiting and call_id not in cut_off and call_id not in left_open:
                raise _second_call(kind, call_id, param)
            waiting[call_id] = Waiting(kind, str(item.get("name", kind)))
            answered.discard(call_id)


def orphaned_outputs(items: Iterable[JsonObject]) -> set[str]:
    """The ids of outputs without a call before them. A client may have deleted the call."""
    waiting: set[str] = set()
    answered: set[str] = set()
    orphans: set[str] = set()
    for item in items:
        call_id = _id_in(item)
        if call_id is None:
            continue
        if item["type"] in OUTPUT_TYPE_OF:
            # A call that was cut off may have an output, too.
            waiting.add(call_id)
            answered.discard(call_id)
        elif item["type"] in OUTPUT_TYPES:
            if call_id in waiting:
                waiting.remove(call_id)
                answered.add(call_id)
            elif not _may_follow(item["type"], call_id, answered):
                orphans.add(item["id"])
    return orphans


@dataclass(frozen=True, slots=True)
class Waiting:
    """A call without an output. `kind` is the type of its item."""

    kind: str
    name: str

    def is_of(self, hosted: frozenset[str]) -> bool:
        """Whether the server runs the call."""
        return self.kind == "function_call" and self.name in hosted


def _unanswered(output: Iterable[JsonObject], *, is_cut_off: bool = False) -> dict[str, Waiting]:
    """call_id -> call, of the calls in an output that the client has to answer, or of those that were cut off."""
    waiting: dict[str, Waiting] = {}
    for item in output:
        call_id = _id_in(item)
        if call_id is None:
            continue
        if item["type"] in OUTPUT_TYPE_OF and (item.get("status") == "incomplete") == is_cut_off:
            waiting[call_id] = Waiting(item["type"], str(item.get("name", item["type"])))
        elif item["type"] in OUTPUT_TYPES:
            waiting.pop(call_id, None)
    return waiting


def _id_in(item: JsonObject) -> str | None:
    """The id by which a call and its output find each other. OpenAI's `local_shell_call_output` has it as its id."""
    found = item.get("call_id")
    if found is None and item["type"] == "local_shell_call_output":
        found = item.get("id")
    return found if isinstance(found, str) else None


def _may_follow(kind: str, call_id: str, answered: Collection[str | None]) -> bool:
    """Whether an output may be one more of its call: Codex sends what a custom tool reports while it runs."""
    return kind == "custom_tool_call_output" and call_id in answered


def _check_answers(kind: str, call_id: str, call: Waiting, param: str) -> None:
    wanted = OUTPUT_TYPE_OF[call.kind]
    if kind != wanted:
        raise InvalidRequest(
            f"The call {call_id!r} is a {call.kind}, and your output for it is a {kind}. Send a {wanted}.",
            param=param,
            code="unknown_tool_call",
        )


def _spoken(kind: str) -> str:
    """`custom tool call`, of an item's type."""
    return kind.replace("_", " ")


def _for_nothing(kind: str, call_id: str, param: str, *, doubled: bool) -> InvalidRequest:
    if doubled:
        message, code = (
            f"Your input has a second output for {_spoken(CALL_TYPE_OF[kind])} {call_id!r}. Send one for each call.",
            "duplicate_tool_output",
        )
    else:
        message = (
            f"No tool call found for {_spoken(kind)} with call_id {call_id!r}. Send the call before it, or "
            "continue the response that made the call."
        )
        code = "unknown_tool_call"
    return InvalidRequest(message, param=param, code=code)


def _second_call(kind: str, call_id: str, param: str) -> InvalidRequest:
    message = f"Your input has {_spoken(kind)} {call_id!r} a second time, before its output. Send each call once."
    return InvalidRequest(message, param=param, code="invalid_value")
