"""Halves of surrogate pairs in a provider's text: joined where the other half follows, replaced where it does not.

What this prevents: a text that JSON can carry (`"\\ud83d"`) and UTF-8 cannot, so that nothing could write it.
A tokenizer that cuts an emoji between two chunks sends one.
"""

from __future__ import annotations

from dataclasses import replace

from open_responses.deltas import (
    Delta,
    ProviderItem,
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
    """Cleans the deltas of one stream. A high half at the end of a text waits for the next text of its kind."""

    def __init__(self) -> None:
        self._held: dict[tuple[type, int], str] = {}

    def clean(self, delta: Delta) -> Delta:
        """The same delta, of text that UTF-8 can carry."""
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
            case ProviderItem():
                return ProviderItem(whole_json(delta.item))
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
    """Pairs joined, lone halves replaced by U+FFFD; the same object where there are none."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def whole_json(value: JsonObject) -> JsonObject:
    """An object of a provider's with all its texts made whole."""
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
