"""Checks that hold for the deltas of every provider. A failed check raises AssertionError with an explanation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, get_args

from pydantic import ValidationError

from open_responses.deltas import (
    Delta,
    Finish,
    ProviderItem,
    ProviderItemProgress,
    ProviderItemStart,
    ReasoningDelta,
    ReasoningSeal,
    ReasoningSummaryDelta,
    RefusalDelta,
    ResumeToken,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
    Usage,
)
from open_responses.events.assembler import Assembler
from open_responses.events.event_types import EVENT_TYPES
from open_responses.json_types import JsonObject
from open_responses.schema.items import INPUT_ITEM

_KINDS: tuple[type, ...] = get_args(Delta)
_REASONS = ("stop", "length", "tool_calls", "content_filter", "pause")
_NO_COUNTS = ("estimated", "cost_usd", "unpriced")
_WITH_TEXT = TextDelta | RefusalDelta | ReasoningDelta | ReasoningSummaryDelta


def check_stream(deltas: Sequence[Delta]) -> Finish:
    """Check the deltas of a whole answer.

    Args:
        deltas: The deltas in order.

    Returns:
        The answer's `Finish`.

    Raises:
        AssertionError: A delta is malformed, `Finish` is not exactly once and last, or an item is invalid.
    """
    for delta in deltas:
        _check_delta(delta)
    ends = [index for index, delta in enumerate(deltas) if isinstance(delta, Finish)]
    if len(ends) != 1:
        fail(f"a stream ends with exactly one Finish; this one has {len(ends)}, in {len(deltas)} deltas")
    if ends[0] != len(deltas) - 1:
        fail(f"nothing comes behind the Finish; here comes {deltas[ends[0] + 1]!r}")
    finish = deltas[-1]
    assert isinstance(finish, Finish)
    _check_usage(finish.usage)
    _check_calls(deltas)
    for item in items_of(deltas):
        _check_item(item)
    return finish


def items_of(deltas: Sequence[Delta]) -> list[JsonObject]:
    """Return the output items that an assembler builds from the deltas."""
    assembler = Assembler(response_id="resp_contract")
    for delta in deltas:
        assembler.feed(delta)
    assembler.close("completed")
    return assembler.fold.output


def text_of(deltas: Sequence[Delta]) -> str:
    """Return the text of the answer."""
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def fail(message: str) -> NoReturn:
    """Raise AssertionError with this message."""
    raise AssertionError(message)


def _check_delta(delta: Delta) -> None:
    if not isinstance(delta, _KINDS):
        fail(f"sample() yields deltas of open_responses.deltas; this is {delta!r}")
    if isinstance(delta, _WITH_TEXT) and not isinstance(delta.text, str):
        fail(f"a text is a str: {delta!r}")
    if isinstance(delta, ReasoningSeal) and not isinstance(delta.data, str):
        fail(f"a seal's data is a str (`sealed_reasoning.mark`): {delta!r}")
    if isinstance(delta, ResumeToken) and not (isinstance(delta.token, str) and delta.token):
        fail(f"a resume token is a str that is not empty: {delta!r}")
    if isinstance(delta, ProviderItem | ProviderItemStart) and not isinstance(delta.item.get("type"), str):
        fail(f"a provider's item has a type: {delta!r}")
    if isinstance(delta, ProviderItemProgress) and delta.event not in EVENT_TYPES:
        fail(f"the progress of a built-in tool is an event of open_responses/events/event_types.py: {delta!r}")
    if isinstance(delta, TextAnnotation) and not isinstance(delta.annotation.get("type"), str):
        fail(f"an annotation has a type: {delta!r}")
    if isinstance(delta, Finish) and delta.reason not in _REASONS:
        fail(f"a Finish has one of the reasons {', '.join(_REASONS)}: {delta!r}")


def _check_usage(usage: Usage) -> None:
    counts = {name: getattr(usage, name) for name in Usage.__slots__ if name not in _NO_COUNTS}
    for name, count in counts.items():
        if type(count) is not int or count < 0:
            fail(f"{name} is a count of tokens, and not {count!r}")
    if usage.cost_usd is not None and not usage.cost_usd >= 0:
        fail(f"cost_usd is an amount of US dollars, and not {usage.cost_usd!r}")
    if usage.cached_tokens + usage.cache_write_tokens > usage.input_tokens:
        fail(f"input_tokens include those read from a cache and written to one: {usage}")
    if usage.reasoning_tokens > usage.output_tokens:
        fail(f"output_tokens include the reasoning_tokens: {usage}")


def _check_calls(deltas: Sequence[Delta]) -> None:
    names: dict[int, str] = {}
    ids: dict[int, str] = {}
    for delta in deltas:
        if not isinstance(delta, ToolCallDelta):
            continue
        if type(delta.index) is not int or not isinstance(delta.arguments, str):
            fail(f"a call's index is an int and its arguments are a str: {delta!r}")
        if delta.index not in names and not delta.name:
            fail(f"the first piece of a call has its name: {delta!r}")
        if delta.name and names.setdefault(delta.index, delta.name) != delta.name:
            fail(f"index {delta.index} is the call of {names[delta.index]!r} already: {delta!r}")
        if delta.call_id and ids.setdefault(delta.index, delta.call_id) != delta.call_id:
            fail(f"index {delta.index} is the call {ids[delta.index]!r} already: {delta!r}")
    if len(set(ids.values())) != len(ids):
        fail(f"two calls have the same id: {sorted(ids.values())}; leave out ids that the provider did not give")


def _check_item(item: JsonObject) -> None:
    if item.get("status") == "in_progress":
        fail(f"an item is still open at the end of the answer: {item}")
    try:
        INPUT_ITEM.validate_python(item)
    except ValidationError as error:
        fail(f"the deltas amount to an item that the next request could not send back: {error.errors()[0]}: {item}")
