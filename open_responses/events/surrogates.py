r"""Joins the halves of surrogate pairs in a provider's text, and replaces those without a second half.

JSON can carry a lone half (`"\ud83d"`), but UTF-8 cannot, so the text could not be written. A provider sends a half if
its tokenizer cuts an emoji between two chunks.
"""

from __future__ import annotations

from dataclasses import replace

from open_responses.deltas import (
    Delta,
    ProviderItem,
    ProviderItemProgress,
    ProviderItemStart,
    ReasoningDelta,
    ReasoningSummaryDelta,
    RefusalDelta,
    TextAnnotation,
    TextDelta,
    ToolCallDelta,
)
from open_responses.json_types import JsonObject

_HIGH = range(0xD800, 0xDC00)


class Joiner:
    """Cleans the deltas of one stream. A high half at the end of a text waits for the next delta of that type."""

    def __init__(self) -> None:
        self._held: dict[tuple[type, int], str] = {}

    def clean(self, delta: Delta) -> Delta:
        """Return the delta with text that UTF-8 can encode."""
        if type(delta) is TextDelta and not self._held and delta.text.isascii():
            # Nearly all deltas.
            return delta
        match delta:
            case TextDelta() | RefusalDelta() | ReasoningDelta() | ReasoningSummaryDelta():
                text = self._joined((type(delta), 0), delta.text)
                return delta if text is delta.text else replace(delta, text=text)
            case ToolCallDelta():
                arguments = self._joined((ToolCallDelta, delta.index), delta.arguments)
                name = delta.name and whole(delta.name)
                call_id = delta.call_id and whole(delta.call_id)
                return replace(delta, arguments=arguments, name=name, call_id=call_id)
            case TextAnnotation():
                return TextAnnotation(whole_json(delta.annotation))
            case ProviderItem() | ProviderItemStart():
                return replace(delta, item=whole_json(delta.item))
            case ProviderItemProgress(members={"delta": str(text)}):
                return replace(delta, members={"delta": self._joined((ProviderItemProgress, delta.key), text)})
            case ProviderItemProgress():
                return replace(delta, members=whole_json(delta.members))
            case _:
                return delta

    def _joined(self, key: tuple[type, int], text: str) -> str:
        if not self._held and text.isascii():
            return text
        text = self._held.pop(key, "") + text
        if text and ord(text[-1]) in _HIGH:
            self._held[key] = text[-1]
            text = text[:-1]
        return whole(text)


def whole(text: str) -> str:
    """Return the text with pairs joined and lone halves replaced by U+FFFD; the same object if it has none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def whole_json(value: JsonObject) -> JsonObject:
    """Return a provider's JSON object with `whole` applied to each of its texts."""
    walked = _walked(value)
    assert isinstance(walked, dict)
    return walked


def _walked(value: object) -> object:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_walked(inner) for inner in value]
    if isinstance(value, dict):
        return {whole(str(key)): _walked(inner) for key, inner in value.items()}
    return value
