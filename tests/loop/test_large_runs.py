"""What is too large for Temporal or for the model: it works, and the history stays small."""

from __future__ import annotations

import base64

import httpx
import pytest

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import HOSTED, outputs, script
from tests.support.stack import Stack, check_whole, collect

pytestmark = pytest.mark.campaign


async def test_a_tool_output_of_20_mb_is_whole_for_the_client(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    answer = Script(words=3)
    script(upstream, "say a lot", calls(("c", "big", {"megabytes": 20})), answer)
    events = await collect(client, {"input": "say a lot", "tools": HOSTED})
    response = check_whole(events, answer.text)
    (said,) = outputs(response)
    assert len(said) == 20 * 1024 * 1024
    (told,) = [m for m in upstream.requests[-1]["messages"] if m["role"] == "tool"]
    assert len(told["content"]) < 401_000
    assert "20,571,520 of 20,971,520 characters were left out" in told["content"]
    assert any(path.is_file() for path in (stack.data / "blobs").rglob("*"))


async def test_an_image_larger_than_a_payload_of_temporal_reaches_the_model(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    answer = upstream.says("what is in it", Script(words=3))
    image = "data:image/png;base64," + base64.b64encode(b"\x89PNG" + bytes(600_000)).decode()
    content = [{"type": "input_text", "text": "what is in it"}, {"type": "input_image", "image_url": image}]
    events = await collect(client, {"input": [{"type": "message", "role": "user", "content": content}]})
    check_whole(events, answer.text)
    sent = upstream.requests[-1]["messages"][-1]["content"]
    assert sent[1]["image_url"]["url"] == image
