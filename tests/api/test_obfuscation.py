"""`stream_options.include_obfuscation`: sizes do not tell words apart (REQ-14)."""

from __future__ import annotations

import json
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from api.streaming.obfuscation import obfuscated
from open_responses.io.log.encoding import encode
from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import collect


def delta(text: str, kind: str = "response.output_text.delta") -> bytes:
    return encode({"type": kind, "item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text}, 7)


@given(st.text(max_size=12), st.text(max_size=12))
def test_short_words_have_sizes_from_a_coarse_scale_and_are_unchanged(one: str, other: str) -> None:
    padded = [obfuscated(delta(text)) for text in (one, other)]
    assert all(len(event) % 32 == 0 for event in padded)
    for text, event in zip((one, other), padded, strict=True):
        read = json.loads(event)
        assert read.pop("obfuscation") is not None
        assert read == json.loads(delta(text))


def test_an_event_without_words_is_left_alone_and_one_read_again_is_the_same() -> None:
    done = encode({"type": "response.output_text.done", "text": "x"}, 1)
    assert obfuscated(done) is done
    assert obfuscated(delta("x")) == obfuscated(delta("x"))
    assert obfuscated(delta("x")) != obfuscated(delta("y"))


async def test_streams_are_padded_unless_the_client_says_no(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("padded", Script(words=4))

    async def deltas(**body: Any) -> list[dict[str, Any]]:
        events = await collect(client, {"input": "padded", **body})
        return [event for event in events if event["type"] == "response.output_text.delta"]

    assert all(len(event["obfuscation"]) <= 32 for event in await deltas())
    assert all("obfuscation" not in event for event in await deltas(stream_options={"include_obfuscation": False}))
