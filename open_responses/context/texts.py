"""The texts in an item, wherever they are: to read them, or to change them all the same way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel

from open_responses.json_types import JsonObject
from open_responses.schema.items import INPUT_ITEM, MESSAGES, InputItem, Refusal

_PLAIN = ("content", "output", "reason")
_LISTS = ("content", "output", "summary")
_IN_A_PART = ("text", "refusal")


def texts_of(item: InputItem) -> Iterator[str]:
    """Every text of an item that a model reads; of arguments, their JSON."""
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
    """Without dumping what is a message: contexts have thousands of them."""
    if isinstance(content, str):
        yield content
        return
    for part in content:
        # Asked for a member that is not there, pydantic takes ten times as long as for one that is.
        name = "refusal" if isinstance(part, Refusal) else "text"
        text = getattr(part, name) if name in part.model_fields_set else None
        if isinstance(text, str):
            yield text


def map_texts(item: InputItem, change: Callable[[str], str]) -> InputItem:
    """The item with each of its texts changed; the same object if none did. Arguments stay valid JSON if they were."""
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
    if isinstance(changed.get("arguments"), str):
        changed["arguments"] = _changed_json(changed["arguments"], change)
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
        # A card's number may come as a number.
        plain = repr(value)
        changed = change(plain)
        return value if changed == plain else changed
    return value
