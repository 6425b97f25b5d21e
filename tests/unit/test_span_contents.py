"""The content of conversations in spans: none unless the operator enables it, in the conventions' form, and bounded."""

from __future__ import annotations

import json

import pytest

from open_responses.io.telemetry.contents import as_messages, as_text, is_captured
from open_responses.io.telemetry.genai import provider_name, usage_attributes, usage_beside
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.usage import TurnUsage

SWITCH = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


@pytest.mark.parametrize(
    ("value", "captured"), [(None, False), ("", False), ("false", False), ("event_only", False), ("TRUE", True)]
)
def test_contents_are_recorded_only_where_the_operator_enables_them(value: str | None, captured: bool) -> None:
    assert is_captured({} if value is None else {SWITCH: value}) is captured


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"role": "user", "content": "Hi"}, {"role": "user", "parts": [{"type": "text", "content": "Hi"}]}),
        (
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "no"}],
            },
            {"role": "assistant", "parts": [{"type": "text", "content": "a"}, {"type": "text", "content": "no"}]},
        ),
        (
            {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}]},
            {"role": "user", "parts": [{"type": "input_image"}]},
        ),
        (
            {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}"},
            {
                "role": "assistant",
                "parts": [{"type": "tool_call", "id": "call_1", "name": "f", "arguments": "{}"}],
            },
        ),
        (
            {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "f", "input": "x"},
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "call_1", "name": "f", "arguments": "x"}]},
        ),
        (
            {"type": "mcp_call", "id": "mcp_1", "name": "f", "arguments": "{}", "output": "3"},
            {"role": "assistant", "parts": [{"type": "tool_call", "id": "mcp_1", "name": "f", "arguments": "{}"}]},
        ),
        (
            {"type": "function_call_output", "call_id": "call_1", "output": "3"},
            {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": "3"}]},
        ),
        (
            {"type": "reasoning", "id": "rs_1"},
            {"role": "assistant", "parts": [{"type": "reasoning", "id": "rs_1"}]},
        ),
    ],
)
def test_each_item_has_the_conventions_form_of_a_message(item: JsonObject, message: JsonObject) -> None:
    assert json.loads(as_messages([item])) == [message]


def test_of_a_long_conversation_the_newest_messages_are_kept() -> None:
    items = [{"role": "user", "content": f"{number} " + "x" * 1000} for number in range(100)]
    written = as_messages(items)
    kept = [message["parts"][0]["content"].split()[0] for message in json.loads(written)]
    assert len(written) < 62_000
    assert kept == [str(number) for number in range(100 - len(kept), 100)]
    assert len(kept) > 50
    assert len(as_text("x" * 100_000)) == 60_000
    assert as_text({"a": 1}) == '{"a":1}'


def test_usage_is_in_the_conventions_words_and_an_attempts_is_what_it_added() -> None:
    earlier = TurnUsage(input_tokens=10, output_tokens=4, cost_usd=0.5)
    total = TurnUsage(input_tokens=25, output_tokens=9, cached_tokens=3, cost_usd=0.75)
    own = usage_beside(total, earlier)
    assert (own.input_tokens, own.output_tokens, own.cached_tokens, own.cost_usd) == (15, 5, 3, 0.25)
    attributes = usage_attributes(own)
    assert attributes["gen_ai.usage.input_tokens"] == 15
    assert attributes["gen_ai.usage.cache_read.input_tokens"] == 3
    assert usage_attributes(TurnUsage()) == {}
    assert provider_name("no-such-adapter", "mine") == "mine"
