"""The tokens of a try that did not end in an answer are in the response's usage: its provider has counted them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.fake_upstream import Fault, Script, Upstream
from tests.support.fake_vendors import Vendors
from tests.support.stack import Stack, collect, events_of, http_client, until
from tests.support.vendor_scripts import Spoken, VendorFault

FORM = {"format": {"type": "json_schema", "name": "city", "schema": {"type": "object"}}}


def tokens(response: dict[str, Any]) -> tuple[int, int]:
    return response["usage"]["input_tokens"], response["usage"]["output_tokens"]


async def test_a_response_whose_answers_did_not_fit_says_what_both_have_cost(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("costs, and does not fit", Script(literal="not it"))
    script.turns.append(Script(literal="not it either"))
    body = {"model": "fake", "input": "costs, and does not fit", "text": FORM}
    response = (await client.post("/v1/responses", json=body)).json()
    assert response["error"]["code"] == "invalid_output"
    assert tokens(response) == (20, 2 + 3)
    assert (await client.get(f"/v1/responses/{response['id']}")).json()["usage"] == response["usage"]


@pytest.mark.parametrize("vendor", ["anthropic", "anthropic-prefill"])
async def test_a_response_that_fails_after_a_break_says_what_its_tries_have_cost(
    client: httpx.AsyncClient, vendors: Vendors, vendor: str
) -> None:
    """Anthropic counts the prompt in its first event."""
    prompt = f"{vendor} breaks, then refuses"
    vendors.says(prompt, Spoken(words=20, faults=[VendorFault(after=7, drop=True), VendorFault(status=400)]))
    response = (await collect(client, {"model": f"{vendor}-fake", "input": prompt}))[-1]["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", "provider_rejected_request")
    assert tokens(response) == (10, 1)


async def test_an_answer_that_was_begun_anew_has_cost_both(client: httpx.AsyncClient, vendors: Vendors) -> None:
    script = vendors.says("breaks, then answers", Spoken(words=20, faults=[VendorFault(after=7, drop=True)]))
    response = (await collect(client, {"model": "anthropic-fake", "input": "breaks, then answers"}))[-1]["response"]
    assert response["status"] == "completed"
    assert script.attempts == 2
    assert tokens(response) == (20, 1 + 20)


async def test_a_try_that_said_nothing_before_it_broke_has_cost_its_prompt(
    client: httpx.AsyncClient, vendors: Vendors
) -> None:
    """Temporal itself repeats a sample that made no progress; the log keeps what it was counted for."""
    faults: list[Fault | None] = [VendorFault(after=0, ends=True), VendorFault(status=400)]
    vendors.says("breaks at once, then refuses", Spoken(words=20, faults=faults))
    body = {"model": "anthropic-fake", "input": "breaks at once, then refuses"}
    response = (await collect(client, body))[-1]["response"]
    assert response["status"] == "failed"
    assert tokens(response) == (10, 1)


async def test_a_cancelled_response_says_what_its_provider_had_counted(stack: Stack, vendors: Vendors) -> None:
    script = vendors.says("counted, then cancelled", Spoken(words=20, hold_after=5))
    async with http_client(stack.api_url) as client:
        body = {"model": "anthropic-fake", "input": "counted, then cancelled", "background": True}
        response_id = (await client.post("/v1/responses", json=body)).json()["id"]
        async for event in events_of(client, resume=(response_id, None)):
            if event["type"] == "response.output_text.delta":
                break
        await client.post(f"/v1/responses/{response_id}/cancel")

        async def has_ended() -> bool:
            return (await client.get(f"/v1/responses/{response_id}")).json()["status"] == "cancelled"

        await until(has_ended)
        response = (await client.get(f"/v1/responses/{response_id}")).json()
    assert tokens(response) == (10, 1)
    script.released.set()
