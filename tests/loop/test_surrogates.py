"""Text that UTF-8 cannot carry comes from a provider, and nothing breaks."""

from __future__ import annotations

import json

import httpx
from hypothesis import given
from hypothesis import strategies as st

from open_responses.deltas import ProviderItem, TextDelta, ToolCallDelta
from open_responses.events.surrogates import Joiner, whole
from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import check_whole, collect

# As a provider's JSON may have it: each UTF-16 unit by itself.
UNITS = st.lists(st.sampled_from(["a", "é", "\ud83d", "\ude00", "😀"]), max_size=8)


@given(UNITS)
def test_halves_are_joined_wherever_the_text_is_cut(units: list[str]) -> None:
    joiner = Joiner()
    deltas = [joiner.clean(TextDelta(unit)) for unit in units]
    text = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
    text.encode()
    assert whole("".join(units)).startswith(text), "all but a half that waits for its other at the end"


def test_a_call_is_made_whole_too() -> None:
    joiner = Joiner()
    first = joiner.clean(ToolCallDelta(0, '{"a":"\ud83d', "c\ud83d", "f"))
    other = joiner.clean(ToolCallDelta(1, "\ude00"))
    last = joiner.clean(ToolCallDelta(0, '\ude00"}'))
    assert isinstance(first, ToolCallDelta)
    assert isinstance(other, ToolCallDelta)
    assert isinstance(last, ToolCallDelta)
    assert first.arguments + last.arguments == '{"a":"😀"}'
    assert (first.call_id, other.arguments) == ("c\ufffd", "\ufffd")
    item = joiner.clean(ProviderItem({"type": "web_search_call", "action": {"query": ["\ud83d"]}}))
    assert item == ProviderItem({"type": "web_search_call", "action": {"query": ["\ufffd"]}})


async def test_a_lone_half_stops_neither_its_stream_nor_those_beside_it(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    halves = upstream.says("halves", Script(literal="hi \ud83d \ude00 there "))
    assert json.dumps(halves.text).isascii()
    for round_number in range(4):
        events = await collect(client, {"model": "fake", "input": "halves"})
        check_whole(events, "hi \ufffd \ufffd there ")
        script = upstream.says(f"beside it {round_number}", Script(words=5))
        check_whole(await collect(client, {"input": f"beside it {round_number}"}), script.text)
