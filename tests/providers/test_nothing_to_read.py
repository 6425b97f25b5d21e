"""An input of which no word reaches the model: refused, and no provider is asked."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from open_responses.errors import InvalidRequest
from open_responses.models.capabilities import check_takes
from open_responses.models.sealed_reasoning import mark
from tests.support.fake_upstream import Script, Upstream
from tests.support.provider_cells import MODELS, VENDORS, run
from tests.support.provider_cells import http as http
from tests.support.provider_wire import call
from tests.support.responses_http import is_error
from tests.support.stack import check_whole, collect

THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": mark("another", "a thought")}


def unread(vendor: str) -> list[dict[str, Any]]:
    """Another provider's thought, and what its tool left."""
    return [THOUGHT, {"type": "executable_code" if vendor == "openai" else "web_search_call", "id": "ws_1"}]


@pytest.mark.parametrize("vendor", VENDORS)
async def test_no_provider_is_asked_about_nothing(http: httpx.AsyncClient, vendor: str) -> None:
    asked = call(unread(vendor), model=MODELS[vendor])
    with pytest.raises(InvalidRequest) as refused:
        check_takes(vendor, "p", asked.request, asked.items)
    assert (refused.value.param, refused.value.error_code) == ("input", "invalid_value")
    with pytest.raises(InvalidRequest, match="Your input has nothing"):
        await run(http, vendor, asked)


@pytest.mark.parametrize("vendor", VENDORS)
async def test_instructions_alone_are_something(http: httpx.AsyncClient, vendor: str) -> None:
    asked = call(unread(vendor), model=MODELS[vendor], instructions="Say hello.")
    check_takes(vendor, "p", asked.request, asked.items)
    requests, _ = await run(http, vendor, asked)
    assert "Say hello." in requests[0].body.decode()


@pytest.mark.parametrize("vendor", VENDORS)
async def test_an_empty_message_is_still_a_message(http: httpx.AsyncClient, vendor: str) -> None:
    asked = call("", model=MODELS[vendor])
    check_takes(vendor, "p", asked.request, asked.items)
    requests, _ = await run(http, vendor, asked)
    assert len(requests) == 1


async def test_what_is_nothing_by_itself_is_a_400(client: httpx.AsyncClient, upstream: Upstream) -> None:
    before = len(upstream.requests)
    wordless = {"type": "message", "role": "assistant", "content": []}
    answer = await client.post("/v1/responses", json={"model": "fake", "input": [*unread("openai-chat"), wordless]})
    is_error(answer, 400, "invalid_value", "input")
    assert len(upstream.requests) == before


async def test_behind_a_chain_it_goes_on_from_there(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("something to read", Script(words=3))
    first = check_whole(await collect(client, {"input": "something to read"}), script.text)
    script.literal = script.text + "and more"
    body = {"input": [THOUGHT], "previous_response_id": first["id"]}
    response = (await collect(client, body))[-1]["response"]
    assert response["status"] == "completed"


async def test_a_conversation_of_nothing_fails_with_a_code(client: httpx.AsyncClient) -> None:
    """What stands in the conversation is known only to who samples."""
    kept = (await client.post("/v1/conversations", json={"items": [THOUGHT]})).json()
    events = await collect(client, {"input": [THOUGHT], "conversation": kept["id"]})
    response = events[-1]["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", "invalid_value")
    assert "Send a message" in response["error"]["message"]
