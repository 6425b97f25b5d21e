"""The texts in an item: reads all of them, or changes all of them in the same way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import CALL
from open_responses.schema.content import Refusal
from open_responses.schema.items import INPUT_ITEM, MESSAGES, InputItem

_PLAIN = ("content", "output", "reason", "input")
_LISTS = ("content", "output", "summary")
_IN_A_PART = ("text", "refusal", "stdout", "stderr")
# What a call of a shell or a patch is to do.
_ORDERS = ("action", "operation")


def texts_of(item: InputItem) -> Iterator[str]:
    """Every text of an item that a model reads. The arguments of a call are one text, in JSON."""
    if isinstance(item, MESSAGES) and not item.model_extra:
        yield from _texts_in(item.content)
        return
    found: list[str] = []

    def see(text: str) -> str:
        found.append(text)
        return text

    _changed(item.model_dump(mode="json", exclude_unset=True), see)
    yield from found


def _texts_in(content: str | Sequence[BaseModel]) -> Iterator[str]:
    """Reads messages without dumping them: contexts have thousands."""
    if isinstance(content, str):
        yield content
        return
    for part in content:
        # Looked at first, because pydantic takes ten times as long for a member that is not there.
        name = "refusal" if isinstance(part, Refusal) else "text"
        text = getattr(part, name) if name in part.model_fields_set else None
        if isinstance(text, str):
            yield text


def map_texts(item: InputItem, change: Callable[[str], str]) -> InputItem:
    """The item with `change` applied to each text; the same object if none changed. JSON arguments stay valid JSON."""
    before = item.model_dump(mode="json", exclude_unset=True)
    after = _changed(before, change)
    return item if after == before else INPUT_ITEM.validate_python(after)


def _changed(item: JsonObject, change: Callable[[str], str]) -> JsonObject:
    changed = dict(item)
    for key in _PLAIN:
        if isinstance(changed.get(key), str):
            changed[key] = change(changed[key])
    for key in _LISTS:
        if isinstance(changed.get(key), list):
            changed[key] = [_changed_part(part, change) for part in changed[key]]
    for key in _ORDERS:
        if isinstance(changed.get(key), dict):
            changed[key] = _walked(changed[key], change)
    if isinstance(changed.get("arguments"), str):
        changed["arguments"] = _changed_json(changed["arguments"], change)
    if isinstance(changed.get(CALL), dict):
        # What the model reads of a built-in tool's call is a function call and its output.
        changed[CALL] = _changed(changed[CALL], change)
    return changed


def _changed_part(part: JsonObject, change: Callable[[str], str]) -> JsonObject:
    return {k: change(v) if k in _IN_A_PART and isinstance(v, str) else v for k, v in part.items()}


def _changed_json(written: str, change: Callable[[str], str]) -> str:
    try:
        read = json.loads(written)
    except (ValueError, RecursionError):
        return change(written)
    changed = _walked(read, change)
    return written if changed == read else json.dumps(changed, ensure_ascii=False)


def _walked(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_walked(inner, change) for inner in value]
    if isinstance(value, dict):
        return {key: _walked(inner, change) for key, inner in value.items()}
    if isinstance(value, int | float) and not isinstance(value, bool):
        # A middleware that redacts the number of a card has to find it as a JSON number, too.
        plain = repr(value)
        changed = change(plain)
        return value if changed == plain else changed
    return value
