"""Usage in any form: no count fails an answer, and what a vendor leaves out is estimated and marked as such."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from open_responses.deltas import Usage
from open_responses.testing.delta_checks import check_stream
from tests.support.provider_wire import call, text_of
from tests.support.vendor_streams import (
    TEXT,
    VENDORS,
    anthropic_block,
    anthropic_end,
    anthropic_start,
    chat_chunk,
    gemini_chunk,
    ollama_line,
    openai_end,
    read,
    stream_of,
)

Json = dict[str, Any]


class Absent:
    """The count is not there at all."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()
NAMES = {
    "openai": ("input_tokens", "output_tokens"),
    "openai-chat": ("prompt_tokens", "completion_tokens"),
    "anthropic": ("input_tokens", "output_tokens"),
    "gemini": ("promptTokenCount", "candidatesTokenCount"),
    "ollama": ("prompt_eval_count", "eval_count"),
}
ENDS: dict[str, Callable[[Any], list[Json]]] = {
    "openai": lambda usage: [openai_end(usage=usage)],
    "openai-chat": lambda usage: [chat_chunk(finish="stop"), {"choices": [], "usage": usage}],
    "anthropic": lambda usage: [{**anthropic_end("end_turn"), "usage": usage}, {"type": "message_stop"}],
    "gemini": lambda usage: [gemini_chunk(finish="STOP", usage=usage)],
    "ollama": lambda usage: [ollama_line(done=True, **(usage if isinstance(usage, dict) else {"eval_count": usage}))],
}
# "hello" is asked, "Hello" answered: five characters each, at four a token.
ESTIMATE = 2
TEXT_ALONE = {
    **TEXT,
    "anthropic": [
        anthropic_start(),
        *anthropic_block({"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"}),
    ],
}


async def usage_of(http: httpx.AsyncClient, vendor: str, usage: Any) -> Usage:
    reported: list[Usage] = []
    asked = replace(call(), on_usage=reported.append)
    deltas = await read(http, vendor, stream_of(vendor, *TEXT_ALONE[vendor], *ENDS[vendor](usage)), asked)
    assert text_of(deltas) == "Hello"
    finish = check_stream(deltas)
    assert all(count >= 0 for report in reported for count in (report.input_tokens, report.output_tokens))
    return finish.usage


def counts(vendor: str, read: Any, written: Any) -> Json:
    given = dict(zip(NAMES[vendor], (read, written), strict=True))
    return {name: value for name, value in given.items() if value is not ABSENT}


@pytest.mark.parametrize("odd", ["many", -7, None, ABSENT, True, [3], {"n": 3}, float("1e300")], ids=repr)
@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_count_that_is_none_is_estimated(http: httpx.AsyncClient, vendor: str, odd: Any) -> None:
    assert await usage_of(http, vendor, counts(vendor, 11, odd)) == Usage(11, ESTIMATE, estimated=True)
    assert await usage_of(http, vendor, counts(vendor, odd, 11)) == Usage(ESTIMATE, 11, estimated=True)


@pytest.mark.parametrize(("odd", "count"), [("12", 12), ("12.0", 12), (12.0, 12), (11.5, 12)])
@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_number_in_another_form_counts(http: httpx.AsyncClient, vendor: str, odd: Any, count: int) -> None:
    assert await usage_of(http, vendor, counts(vendor, odd, odd)) == Usage(count, count)


@pytest.mark.parametrize("usage", ["unknown", -1, None, [], {}, [1, 2]], ids=repr)
@pytest.mark.parametrize("vendor", VENDORS)
async def test_usage_that_is_no_object_is_estimated(http: httpx.AsyncClient, vendor: str, usage: Any) -> None:
    got = await usage_of(http, vendor, usage)
    assert (got.input_tokens, got.estimated) == (ESTIMATE, True)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_an_answer_of_no_tokens_was_not_counted(http: httpx.AsyncClient, vendor: str) -> None:
    assert await usage_of(http, vendor, counts(vendor, 0, 0)) == Usage(ESTIMATE, ESTIMATE, estimated=True)
    assert await usage_of(http, vendor, counts(vendor, 11, 0)) == Usage(11, 0)


PARTS: dict[str, Json] = {
    "openai": {
        "input_tokens_details": {"cached_tokens": 99, "cache_write_tokens": "x"},
        "output_tokens_details": {"reasoning_tokens": 99},
    },
    "openai-chat": {
        "prompt_tokens_details": {"cached_tokens": 99},
        "completion_tokens_details": {"reasoning_tokens": 99},
    },
    "anthropic": {"output_tokens_details": {"thinking_tokens": 99}},
    "gemini": {"cachedContentTokenCount": 99},
    "ollama": {"prompt_eval_cached_count": 99},
}


@pytest.mark.parametrize("vendor", VENDORS)
async def test_a_part_is_never_more_than_the_whole(http: httpx.AsyncClient, vendor: str) -> None:
    usage = await usage_of(http, vendor, {**counts(vendor, 5, 6), **PARTS[vendor]})
    assert (usage.input_tokens, usage.output_tokens) == (5, 6)


@pytest.mark.parametrize(
    ("vendor", "total"), [("openai-chat", "total_tokens"), ("gemini", "totalTokenCount")], ids=["chat", "gemini"]
)
async def test_a_total_gives_the_missing_half(http: httpx.AsyncClient, vendor: str, total: str) -> None:
    assert await usage_of(http, vendor, {**counts(vendor, 11, ABSENT), total: 20}) == Usage(11, 9)
    assert await usage_of(http, vendor, {**counts(vendor, ABSENT, 9), total: 20}) == Usage(11, 9)
