"""What a provider leaves out of a stream costs no second call: the answer stands, or fails once."""

from __future__ import annotations

from typing import Literal

import httpx
import pytest

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.stack import check_whole, collect


@pytest.mark.parametrize("ends", ["reason alone", "done alone"])
async def test_an_answer_without_the_end_of_its_stream_is_asked_for_once(
    client: httpx.AsyncClient, upstream: Upstream, ends: Literal["reason alone", "done alone"]
) -> None:
    prompt = f"an answer that ends with {ends}"
    script = upstream.says(prompt, Script(words=5, ends=ends))
    response = check_whole(await collect(client, {"model": "fake", "input": prompt}), script.text)
    assert script.attempts == 1
    assert response["usage"]["open_responses:estimated"] is True, "the usage comes behind the reason"


async def test_a_call_without_a_name_fails_once(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("call nothing", calls(("call_1", "", {"city": "Rome"})))
    tools = [{"type": "function", "name": "get_weather"}]
    events = await collect(client, {"model": "fake", "input": "call nothing", "tools": tools})
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"]["code"] == "provider_answer_refused"
    assert "without its name" in events[-1]["response"]["error"]["message"]
    assert script.attempts == 1
