"""What a model gets of a result that is too long for it: both ends, and a note of what was left out.

Text is cut; an image, a file or a recording is not, since half of one is nothing: a note takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence

from open_responses.context.texts import map_texts
from open_responses.context.tokens import part_data, part_tokens
from open_responses.json_types import JsonObject
from open_responses.schema.items import INPUT_ITEM, MAX_IMAGE_URL, FunctionCallOutput, InputItem, UserMessage

MAX_RESULT_CHARACTERS = 400_000
"""About 100,000 tokens: half the context window of the larger models of today."""

# The end of a log or of a listing often says how it came out.
_TAIL_SHARE = 4
_CHARACTERS_PER_TOKEN = 4
# Less of a part says nothing.
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
    """An item of a response's output as the model is to read it: a tool's result is cut, all else stays whole."""
    output = item.get("output")
    if item["type"] not in ("function_call_output", "mcp_call") or not output:
        return item
    if isinstance(output, str):
        return item if len(output) <= limit else {**item, "output": excerpt(output, limit)}
    return {**item, "output": fitting_parts(output, limit)}


def fitting_parts(parts: Sequence[JsonObject], limit: int) -> list[JsonObject]:
    """Content parts of `limit` characters in all, or a little more: the longest are cut, or told of in a note.

    What is not text counts by its tokens, four characters each.
    """
    most = max(1, limit // _SHORTEST_PART)
    kept = list(parts[:most])
    share = _share([_weight(part) for part in kept], limit)
    fitting = [part if _weight(part) <= share else _cut(part, share) for part in kept]
    return fitting if len(parts) <= most else [*fitting, _text(f"[… {len(parts) - most:,} more parts were {_WHY} …]")]


def shorten_results(items: Sequence[InputItem], limit: int) -> list[InputItem]:
    """The items, with each function call's output of more than `limit` characters cut."""
    return [shortened(item, limit) if isinstance(item, FunctionCallOutput) else item for item in items]


def shortened(item: InputItem, limit: int) -> InputItem:
    """The item with each of its texts cut to `limit` characters; parts of a message or a result, in all."""
    match item:
        case FunctionCallOutput(output=[*parts]):
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
    """What each may weigh at most, so that all together weigh `limit`: the light ones leave theirs to the heavy."""
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
        # No input may have such an image, so no adapter is asked to take one.
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
