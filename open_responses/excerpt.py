"""What a model gets of a result that is too long for it: both ends, and a note of what was left out."""

from __future__ import annotations

from collections.abc import Sequence

from open_responses.items import FunctionCallOutput, InputItem
from open_responses.json_types import JsonObject
from open_responses.texts import map_texts

MAX_RESULT_CHARACTERS = 400_000
"""About 100,000 tokens: half the context window of the larger models of today."""

# The end of a log or of a listing often says how it came out.
_TAIL_SHARE = 4


def excerpt(text: str, limit: int) -> str:
    """The text, or its beginning and its end with a note in between; a little over `limit` characters at most."""
    if len(text) <= limit:
        return text
    tail = limit // _TAIL_SHARE
    note = f"\n[… {len(text) - limit:,} of {len(text):,} characters were left out here, to fit the model's context …]\n"
    return text[: limit - tail] + note + text[len(text) - tail :]


def readable(item: JsonObject, limit: int = MAX_RESULT_CHARACTERS) -> JsonObject:
    """An item of a response's output as the model is to read it: a tool's result is cut, all else stays whole."""
    output = item.get("output")
    if item["type"] not in ("function_call_output", "mcp_call") or not output:
        return item
    if isinstance(output, str):
        return item if len(output) <= limit else {**item, "output": excerpt(output, limit)}
    return {**item, "output": [_readable_part(part, limit) for part in output]}


def _readable_part(part: JsonObject, limit: int) -> JsonObject:
    text = part.get("text")
    return {**part, "text": excerpt(text, limit)} if isinstance(text, str) else part


def shorten_results(items: Sequence[InputItem], limit: int) -> list[InputItem]:
    """The items, with each function call's output of more than `limit` characters cut."""
    return [
        map_texts(item, lambda text: excerpt(text, limit)) if isinstance(item, FunctionCallOutput) else item
        for item in items
    ]
