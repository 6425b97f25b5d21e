"""How many tokens a context takes: counted by a real tokenizer, for whichever model.

The vocabulary is `o200k_base`, OpenAI's own; others cut the same text into up to a fifth more. Images and files are
estimated. Where the tokenizer has no build, the count is estimated too, from above: 3 bytes a token.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable

from open_responses.items import InputItem
from open_responses.json_types import JsonObject
from open_responses.texts import texts_of

_PER_ITEM = 6
_PER_IMAGE = 1000
# A page of a PDF is about 50 kB in base64, and about 1,500 tokens.
_FILE_CHARACTERS_PER_TOKEN = 32
# The tokenizer refuses texts of more than 200,000 tokens; a piece of this size cannot have more.
_PIECE_CHARACTERS = 50_000


def count_tokens(text: str) -> int:
    """Tokens of a text. One token is at least one byte, so that the UTF-8 length bounds it from above."""
    count = _counter()
    return sum(count(text[i : i + _PIECE_CHARACTERS]) for i in range(0, len(text), _PIECE_CHARACTERS))


def item_tokens(item: InputItem) -> int:
    """Tokens of an item, with what surrounds it."""
    return _PER_ITEM + sum(count_tokens(text) for text in texts_of(item)) + sum(map(_part_tokens, _parts(item)))


def json_tokens(values: Iterable[JsonObject]) -> int:
    """Tokens of tools' definitions."""
    return sum(count_tokens(json.dumps(value, ensure_ascii=False)) for value in values)


def at_most(items: Iterable[InputItem]) -> int:
    """An upper bound that costs no counting."""
    return sum(
        _PER_ITEM + sum(4 * len(text) for text in texts_of(item)) + sum(map(_part_tokens, _parts(item)))
        for item in items
    )


def _parts(item: InputItem) -> list[JsonObject]:
    dumped = item.model_dump(exclude_unset=True)
    return [part for key in ("content", "output") if isinstance(dumped.get(key), list) for part in dumped[key]]


def _part_tokens(part: JsonObject) -> int:
    kind = part.get("type")
    if kind == "input_image":
        return _PER_IMAGE
    if kind in ("input_file", "input_video"):
        data = part.get("file_data") or part.get("video_url") or ""
        return max(_PER_IMAGE, len(data) // _FILE_CHARACTERS_PER_TOKEN)
    return 0


@functools.cache
def _counter() -> Callable[[str], int]:
    # Loaded when first needed: its vocabulary takes 100 MB of memory.
    try:
        from bpe_openai import get_encoding
    except ImportError:
        return lambda text: -(-len(text.encode(errors="replace")) // 3)
    encoding = get_encoding("o200k_base")
    return lambda text: len(encoding.encode_ordinary(text))
