"""Whatever reads text from outside takes time in proportion to it: each is fed the worst text that we know for it.

CPU time of eight times as much is compared with that of one: about 8 where it is linear, 64 where it is quadratic.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest

from activities.providers.anthropic.schema import native_schema
from activities.providers.anthropic.stream import StreamReader
from activities.providers.gemini.schema import gemini_schema
from activities.providers.openai_chat.call_fragments import ToolCalls
from activities.providers.openai_chat.thoughts import Thoughts
from activities.providers.shared.answer_guard import guard
from activities.providers.shared.error_mapping import Failures
from activities.providers.shared.keys import Key
from activities.providers.shared.object_schema import object_schema
from activities.providers.shared.upstream import ndjson_objects, sse_objects
from activities.tools.mcp_client import _line
from api.streaming.obfuscation import obfuscated
from open_responses.config import ProviderConfig
from open_responses.context.excerpt import excerpt
from open_responses.context.truncation import fit
from open_responses.deltas import TextDelta
from open_responses.errors import InvalidRequest
from open_responses.events.surrogates import Joiner, whole
from open_responses.middleware.redact_pii import RedactPII
from open_responses.schema.items import AssistantMessage, UserMessage
from open_responses.schema.json_schema_cost import SchemaTooCostly, schema_cost
from open_responses.schema.mcp_tool import _is_header_value
from open_responses.schema.validation import read_json_object
from open_responses.testing.sample_calls import call_of
from open_responses.tool_use.json_safety import whole_characters, writing_problem
from open_responses.tool_use.mcp_functions import with_label
from open_responses.tool_use.strict_schema import made_strict

pytestmark = pytest.mark.campaign

TIMES = 8
MOST = 24
SMALL_SECONDS = 0.03
"""What takes less for the long text is no trouble, and too short to be compared."""
MEGABYTE = 1_000_000

REDACT = RedactPII(kinds="email,iban,card,us_ssn,phone,ipv4")


def body(raw: bytes) -> None:
    with suppress(InvalidRequest):
        read_json_object(raw)


def cost(schema: dict[str, Any]) -> None:
    with suppress(SchemaTooCostly):
        schema_cost(schema)


def joined(pieces: list[str]) -> None:
    joiner = Joiner()
    for piece in pieces:
        joiner.clean(TextDelta(piece))


def tool_calls(pieces: list[str]) -> None:
    """A server that repeats the name in each piece, so that each may begin another call."""
    calls = ToolCalls()
    for piece in pieces:
        calls.read([{"index": 0, "function": {"name": "f", "arguments": piece}}])


def thoughts(pieces: list[str]) -> None:
    read = Thoughts("p")
    for piece in pieces:
        read.read({"reasoning_details": [{"type": "reasoning.text", "index": 0, "text": piece}]})
    read.at_end()


def details(pieces: list[str]) -> None:
    """Each piece is of another block."""
    read = Thoughts("p")
    for index, piece in enumerate(pieces):
        read.read({"reasoning_details": [{"type": "reasoning.text", "index": index, "text": piece}]})
    read.at_end()


def turns(count: int) -> None:
    items = [UserMessage(type="message", role="user", content="x") for _ in range(count)]
    for index in range(0, count, 2):
        items[index] = UserMessage(type="message", role="user", content="y")
    fit([item for pair in zip(items, [assistant()] * count, strict=True) for item in pair], 50, lambda _: 1)


def assistant() -> Any:
    return AssistantMessage(type="message", role="assistant", content="z")


def linked(count: int) -> dict[str, Any]:
    """Definitions that refer on, each to the next, and the last to the first."""
    definitions = {
        f"d{i}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/d{(i + 1) % count}"}}} for i in range(count)
    }
    return {"type": "object", "$defs": definitions, "properties": {"a": {"$ref": "#/$defs/d0"}}}


def fanned(count: int) -> dict[str, Any]:
    """References to a property, which Gemini has to be given in place."""
    return {
        "type": "object",
        "properties": {
            "a": {"type": "object", "properties": {f"p{i}": {"$ref": "#/properties/b"} for i in range(count)}},
            "b": {"type": "object", "properties": {f"p{i}": {"$ref": "#/properties/c"} for i in range(count)}},
            "c": {"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(count)}},
        },
    }


def merged(count: int) -> dict[str, Any]:
    return {"allOf": [{"properties": {f"p{i}": {"type": "string"}}, "required": [f"p{i}"]} for i in range(count)]}


CASES: dict[str, tuple[Callable[[Any], Any], Callable[[int], Any], int]] = {
    "a body of escapes that does not end": (body, lambda n: b'{"a":"' + b'\\",' * n, MEGABYTE // 3),
    "a body of quotes": (body, lambda n: b'"' * n, MEGABYTE),
    "a body of short texts": (body, lambda n: b"[" + b'"",' * n, MEGABYTE // 3),
    "a body of brackets": (body, lambda n: b"[" * n, MEGABYTE),
    "a body of backslashes": (body, lambda n: b'{"a":"' + b"," * 600_000 + b"\\" * n, MEGABYTE),
    "a body of one table": (body, lambda n: b'{"a":"' + b"1,2,3 [{" * n + b'"}', MEGABYTE // 8),
    "the cost of a cycle": (cost, linked, 500),
    "the cost of references": (cost, lambda n: {"$defs": {"a": {}}, "anyOf": [{"$ref": "#/$defs/a"}] * n}, 2000),
    "the cost of anchors": (
        cost,
        lambda n: {"$defs": {f"d{i}": {"$anchor": f"a{i}"} for i in range(n)}, "anyOf": [{"$ref": "#a0"}] * n},
        1000,
    ),
    "gemini's schema of a cycle": (gemini_schema, linked, 500),
    "gemini's schema of references in place": (gemini_schema, fanned, 30),
    "gemini's schema of many in one": (gemini_schema, merged, 500),
    "anthropic's schema of a cycle": (native_schema, linked, 500),
    "anthropic's schema of many properties": (native_schema, lambda n: object_schema(merged(n)), 500),
    "a strict schema": (made_strict, lambda n: {"properties": {f"p{i}": {"type": "string"} for i in range(n)}}, 1000),
    "emails without an end": (REDACT.redacted, lambda n: "a" * n, MEGABYTE // 20),
    "emails of dots": (REDACT.redacted, lambda n: "a@a." * n, MEGABYTE // 80),
    "digits": (REDACT.redacted, lambda n: "1" * n, MEGABYTE // 20),
    "digits and blanks": (REDACT.redacted, lambda n: "1 " * n, MEGABYTE // 40),
    "brackets and digits": (REDACT.redacted, lambda n: "+1(" * n, MEGABYTE // 60),
    "letters of an IBAN": (REDACT.redacted, lambda n: "DE00 AAAA" * n, MEGABYTE // 800),
    "halves of surrogate pairs": (joined, lambda n: ["\ud83d"] * n, MEGABYTE // 200),
    "a text of halves": (whole, lambda n: "\ud83d" * n, MEGABYTE // 20),
    "characters made whole": (whole_characters, lambda n: "\udc00" * n, MEGABYTE // 20),
    "deep values": (writing_problem, lambda n: [[[]] * 2] * n, MEGABYTE // 20),
    "a header of blanks": (lambda value: _suppressed(_is_header_value, value), lambda n: "a" + " " * n, MEGABYTE // 10),
    "an excerpt": (lambda text: excerpt(text, 1000), lambda n: "x" * n, MEGABYTE),
    "a padded event": (
        obfuscated,
        lambda n: b'{"type":"response.output_text.delta","delta":"' + b"x" * n + b'"}',
        MEGABYTE,
    ),
    "a tool's name": (lambda name: with_label("label", name), lambda n: "é" * n, MEGABYTE // 40),
    "an MCP server's message": (_line, lambda n: "http://a?b " * n, MEGABYTE // 100),
    "arguments in pieces": (tool_calls, lambda n: ['{"a":[', *["{}, "] * n, "1]}"], MEGABYTE // 100),
    "arguments of a text in pieces": (tool_calls, lambda n: ['{"a":"', *['\\"}'] * n, '"}'], MEGABYTE // 100),
    "arguments that are none": (tool_calls, lambda n: ["}"] * n, MEGABYTE // 100),
    "thoughts in pieces": (thoughts, lambda n: ["abcd" * 4] * n, MEGABYTE // 100),
    "thoughts of many blocks": (details, lambda n: ["abcd"] * n, MEGABYTE // 500),
    "turns to be dropped": (turns, lambda n: n, 500),
}


def _suppressed(work: Callable[[Any], Any], value: Any) -> None:
    with suppress(Exception):
        work(value)


def seconds(work: Callable[[Any], Any], given: Any) -> float:
    """CPU time, the better of two. Without the collector, which looks through all that other tests have left."""
    best = float("inf")
    gc.collect()
    gc.disable()
    try:
        for _ in range(2):
            began = time.thread_time()
            work(given)
            best = min(best, time.thread_time() - began)
    finally:
        gc.enable()
    return best


def check_is_linear(work: Callable[[Any], Any], make: Callable[[int], Any], count: int) -> None:
    long = seconds(work, make(TIMES * count // 4))
    if long < SMALL_SECONDS:
        long = seconds(work, make(TIMES * count))
        if long < SMALL_SECONDS:
            return
        count *= 4
    short = seconds(work, make(count // 4))
    assert long < MOST * short, f"{TIMES} times as much took {long / short:.0f} times as long"


@pytest.mark.parametrize("name", CASES)
def test_it_takes_time_in_proportion(name: str) -> None:
    work, make, count = CASES[name]
    check_is_linear(work, make, count)


def test_a_deep_schema_is_translated_once_a_level() -> None:
    schema: dict[str, Any] = {"type": "string", "maxLength": 5}
    for _ in range(30):
        schema = {"type": "array", "items": schema, "maxItems": 5}
    translated = json.dumps(native_schema(schema))
    assert translated.count("items") == 30


def blanks(count: int) -> StreamReader:
    config = ProviderConfig(name="p", adapter="anthropic", base_url="http://localhost")
    call = replace(call_of(), prefix="a" + " " * count)
    reader = StreamReader(call, Failures(config, Key("key", is_own=False)))
    reader.read({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    return reader


def test_blanks_that_are_said_again_are_passed_over_once() -> None:
    def say(count: int) -> None:
        delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " " * count}}
        reader = blanks(count)
        assert reader.read(delta) == []
        delta["delta"] = {"type": "text_delta", "text": "  b"}
        assert reader.read(delta) == [TextDelta("  b")]

    check_is_linear(say, lambda n: n, MEGABYTE // 20)


def test_what_is_quadratic_is_found() -> None:
    with pytest.raises(AssertionError):
        check_is_linear(lambda n: [n in list(range(i)) for i in range(n)], lambda n: n, 1000)


class Chunks(httpx.AsyncByteStream):
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk


@pytest.mark.parametrize("kind", ["sse", "ndjson"])
async def test_a_line_in_many_chunks_is_joined_once(kind: str) -> None:
    """A line of a megabyte or more, in chunks of some bytes, as a provider may send it."""
    head, tail = (b'data: {"a":"', b'"}\n\n') if kind == "sse" else (b'{"a":"', b'"}\n')
    read = sse_objects if kind == "sse" else ndjson_objects

    async def spent(count: int) -> float:
        best = float("inf")
        for _ in range(2):
            stream = Chunks([head, *[b"0123456789" * 5] * count, tail])
            response = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=stream)
            guard(response, ProviderConfig(name="p", adapter="openai-chat", base_url="http://localhost"))
            began = time.thread_time()
            found: list[Any] = [one async for one in read(response)]
            best = min(best, time.thread_time() - began)
            assert len(json.dumps(found)) > 50 * count
        return best

    short = await spent(4_000)
    assert await spent(4_000 * TIMES) < MOST * short
