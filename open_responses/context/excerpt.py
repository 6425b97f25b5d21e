"""Excerpts of tool results that are too long for a model: both ends, and a note of how much was left out.

Text is cut. An image, a file or a recording is replaced by a note, since half of one cannot be read.
"""

from __future__ import annotations

from collections.abc import Sequence

from open_responses.context.texts import map_texts
from open_responses.context.tokens import part_data, part_tokens
from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import CALL
from open_responses.schema.client_items import CustomToolCallOutput
from open_responses.schema.content import MAX_IMAGE_URL
from open_responses.schema.items import INPUT_ITEM, OUTPUTS, FunctionCallOutput, InputItem, UserMessage

MAX_RESULT_CHARACTERS = 400_000
"""About 100,000 tokens: half of the 200,000 that many large models take."""

# The end is a quarter of an excerpt: the end of a log or of a listing often has the outcome.
_TAIL_SHARE = 4
_CHARACTERS_PER_TOKEN = 4
# A shorter excerpt of a part is of no use to a model.
_SHORTEST_PART = 200
_WHY = "left out here, to fit the model's context"


def excerpt(text: str, limit: int) -> str:
    """The text, or its beginning and its end with a note in between; a little over `limit` characters at most."""
    if len(text) <= limit:
        return text
    tail = limit // _TAIL_SHARE
    note = f"\n[… {len(text) - limit:,} of {len(text):,} characters were {_WHY} …]\n"
    return text[: limit - tail] + note + text[len(text) - tail :]


def readable(item: JsonObject, limit: int = MAX_RESULT_CHARACTERS) -> JsonObject:
    """An item of a response's output as the model reads it: a tool's result is cut, any other item stays whole."""
    if CALL in item:
        return _readable_call(item, limit)
    output = item.get("output")
    if item["type"] not in ("function_call_output", "mcp_call") or not output:
        return item
    if item.get("output_parts"):
        return {**item, "output": excerpt(output, limit), "output_parts": fitting_parts(item["output_parts"], limit)}
    if isinstance(output, str):
        return item if len(output) <= limit else {**item, "output": excerpt(output, limit)}
    return {**item, "output": fitting_parts(output, limit)}


def _readable_call(item: JsonObject, limit: int) -> JsonObject:
    call = item[CALL]
    output = call.get("output")
    if not output or (isinstance(output, str) and len(output) <= limit):
        return item
    cut = excerpt(output, limit) if isinstance(output, str) else fitting_parts(output, limit)
    return {**item, CALL: {**call, "output": cut}}


def fitting_parts(parts: Sequence[JsonObject], limit: int) -> list[JsonObject]:
    """Content parts of `limit` characters in all, or a little more. The longest are cut, or replaced by a note.

    A part that is not text counts four characters for each of its tokens.
    """
    most = max(1, limit // _SHORTEST_PART)
    kept = list(parts[:most])
    share = _share([_weight(part) for part in kept], limit)
    fitting = [part if _weight(part) <= share else _cut(part, share) for part in kept]
    return fitting if len(parts) <= most else [*fitting, _text(f"[… {len(parts) - most:,} more parts were {_WHY} …]")]


def shorten_results(items: Sequence[InputItem], limit: int) -> list[InputItem]:
    """The items, with each function call's output of more than `limit` characters cut."""
    return [shortened(item, limit) if isinstance(item, OUTPUTS) else item for item in items]


def shortened(item: InputItem, limit: int) -> InputItem:
    """The item with each of its texts cut to `limit` characters. The parts of a message or a result share one limit."""
    match item:
        case FunctionCallOutput(output=[*parts]) | CustomToolCallOutput(output=[*parts]):
            return _with_parts(
                item, "output", [part.model_dump(mode="json", exclude_unset=True) for part in parts], limit
            )
        case UserMessage(content=[*parts]):
            return _with_parts(
                item, "content", [part.model_dump(mode="json", exclude_unset=True) for part in parts], limit
            )
        case _:
            return map_texts(item, lambda text: excerpt(text, limit))


def _with_parts(item: InputItem, key: str, parts: list[JsonObject], limit: int) -> InputItem:
    kept = fitting_parts(parts, limit)
    if kept == parts:
        return item
    return INPUT_ITEM.validate_python({**item.model_dump(mode="json", exclude_unset=True), key: kept})


def _share(weights: Sequence[int], limit: int) -> int:
    """The most characters of each part, so that all have `limit`. Short parts leave their rest to long ones."""
    left = limit
    for index, weight in enumerate(sorted(weights)):
        share = left // (len(weights) - index)
        if weight > share:
            return share
        left -= weight
    return limit


def _weight(part: JsonObject) -> int:
    text = part.get("text")
    if isinstance(text, str):
        return len(text)
    if part.get("type") == "input_image" and len(part_data(part)) > MAX_IMAGE_URL:
        # The API rejects an image of this size in an input, so none is passed to an adapter.
        return len(part_data(part))
    return part_tokens(part) * _CHARACTERS_PER_TOKEN


def _cut(part: JsonObject, limit: int) -> JsonObject:
    text = part.get("text")
    if isinstance(text, str):
        return {**part, "text": excerpt(text, max(limit, _SHORTEST_PART))}
    kind = str(part.get("type", "")).removeprefix("input_") or "part"
    name = f" {part['filename']!r}" if part.get("filename") else ""
    size = len(part_data(part)) * 3 // 4
    return _text(f"[… the {kind}{name}{f', {size:,} bytes,' if size else ''} was {_WHY} …]")


def _text(text: str) -> JsonObject:
    return {"type": "input_text", "text": text}
