"""Counts the tokens of a context, with one tokenizer for all models.

The vocabulary is OpenAI's `o200k_base`. Other vocabularies make up to a fifth more tokens of the same text. Images and
files are estimated. Where the tokenizer has no build for a platform, the count is an upper estimate: 3 bytes a token.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pydantic import BaseModel

from open_responses.context.texts import texts_of
from open_responses.json_types import JsonObject
from open_responses.schema.built_in_items import BuiltInCall
from open_responses.schema.client_items import AdditionalTools, ToolSearchOutput
from open_responses.schema.content import InputText, OutputText, Refusal
from open_responses.schema.items import MESSAGES, InputItem
from open_responses.schema.validation import member

_TEXTS = (InputText, OutputText, Refusal)
_PER_ITEM = 6
_PER_IMAGE = 1000
# A page of a PDF is about 50 kB in base64, and about 1,500 tokens.
_FILE_CHARACTERS_PER_TOKEN = 32
# A second of sound is 32 tokens for Gemini and fewer for others; of MP3 at 64 kbit/s, some 10,000 characters.
_AUDIO_CHARACTERS_PER_TOKEN = 300
# The tokenizer rejects texts of more than 200,000 tokens, and a piece of this size cannot have more.
_PIECE_CHARACTERS = 50_000

_THREADS = ThreadPoolExecutor(2, thread_name_prefix="tokens")
Result = TypeVar("Result")


def count_tokens(text: str) -> int:
    """The tokens of a text. A token is at least one byte, so the count is at most the length in UTF-8."""
    count = _counter()
    return sum(count(text[i : i + _PIECE_CHARACTERS]) for i in range(0, len(text), _PIECE_CHARACTERS))


async def counted(work: Callable[..., Result], *arguments: object) -> Result:
    """Run `work(*arguments)`, which counts tokens, in one of two threads: a megabyte of words takes more than a second.

    The tokenizer releases the interpreter after each piece. The two threads do nothing else, so long counts delay one
    another, and not the name lookups and file accesses that the event loop runs in its own threads.
    """
    return await asyncio.get_running_loop().run_in_executor(_THREADS, lambda: work(*arguments))


def item_tokens(item: InputItem) -> int:
    """The tokens of an item, with those that mark its beginning and its role."""
    count = _PER_ITEM + sum(count_tokens(text) for text in texts_of(item)) + sum(map(part_tokens, _parts(item)))
    return count + (count_tokens(tools) if (tools := _tools_in(item)) else 0)


def json_tokens(values: Iterable[JsonObject]) -> int:
    """The tokens of the definitions of tools."""
    return sum(count_tokens(json.dumps(value, ensure_ascii=False)) for value in values)


def at_most(items: Iterable[InputItem]) -> int:
    """An upper bound of the tokens, without a count of them."""
    return sum(
        _PER_ITEM
        + sum(4 * len(text) for text in texts_of(item))
        + sum(map(part_tokens, _parts(item)))
        + 4 * len(_tools_in(item))
        for item in items
    )


def about(items: Iterable[InputItem]) -> int:
    """A quick estimate of four characters a token, as OpenAI's rate limits use it."""
    return sum(
        _PER_ITEM
        + sum(len(text) // 4 for text in texts_of(item))
        + sum(map(part_tokens, _parts(item)))
        + len(_tools_in(item)) // 4
        for item in items
    )


def about_input(items: Iterable[InputItem], instructions: str | None, tools: Iterable[BaseModel]) -> int:
    """As `about`, for the whole input of a model turn: items, instructions and tools."""
    characters = len(instructions or "") + sum(len(tool.model_dump_json(exclude_unset=True)) for tool in tools)
    return about(items) + characters // 4


def part_tokens(part: JsonObject | BaseModel) -> int:
    """The tokens of a content part that is not text; 0 for text."""
    kind = member(part, "type")
    if kind == "input_image":
        return _PER_IMAGE
    if kind in ("input_file", "input_video"):
        return max(_PER_IMAGE, len(part_data(part)) // _FILE_CHARACTERS_PER_TOKEN)
    if kind == "input_audio":
        return max(_PER_IMAGE, len(part_data(part)) // _AUDIO_CHARACTERS_PER_TOKEN)
    return 0


def part_data(part: JsonObject | BaseModel) -> str:
    """The data in a content part: base64, or a data URL; empty if the part only refers to it."""
    found = (
        member(part, "image_url"),
        member(part, "file_data"),
        member(part, "video_url"),
        member(member(part, "input_audio"), "data"),
    )
    return next((data for data in found if isinstance(data, str)), "")


def _tools_in(item: InputItem) -> str:
    """The definitions in an item that adds tools, as JSON; empty for any other item."""
    is_offer = isinstance(item, AdditionalTools | ToolSearchOutput)
    return json.dumps(item.model_dump(mode="json", exclude_unset=True)["tools"]) if is_offer else ""


def _parts(item: InputItem) -> list[JsonObject | BaseModel]:
    """The parts that are not text, not dumped: to dump 160,000 images takes a second."""
    if isinstance(item, MESSAGES):
        found: tuple[object, ...] = (item.content,)
    else:
        read = item.open_responses_call if isinstance(item, BuiltInCall) else item
        found = tuple(getattr(read, name, None) for name in ("content", "output", "output_parts"))
    parts = [part for value in found if isinstance(value, list) for part in value if not isinstance(part, _TEXTS)]
    return [part for part in parts if isinstance(part, dict | BaseModel)]


@functools.cache
def _counter() -> Callable[[str], int]:
    # Loaded when first needed: its vocabulary takes 100 MB of memory.
    try:
        from bpe_openai import get_encoding
    except ImportError:
        return lambda text: -(-len(text.encode(errors="replace")) // 3)
    encoding = get_encoding("o200k_base")
    return lambda text: len(encoding.encode_ordinary(text))
