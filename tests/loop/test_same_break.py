"""A provider that breaks its answer twice in the same place is not asked, and paid, a third time."""

from __future__ import annotations

import httpx
import pytest

from tests.support.fake_upstream import Fault, Script, Upstream
from tests.support.fake_vendors import Vendors
from tests.support.stack import check_whole, collect
from tests.support.vendor_scripts import Spoken, VendorFault

# The vendors' fakes count the words of each request by themselves.
FIRST, AGAIN = VendorFault(after=5, ends=True), VendorFault(after=0, ends=True)


async def test_an_answer_that_is_begun_anew_and_breaks_in_the_same_place_has_failed(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("the same break", Script(words=12, faults=[Fault(after=5, drop=True)] * 50))
    events = await collect(client, {"model": "no-resume", "input": "the same break"})
    response = check_whole(events, "w0 w1 w2 w3 w4 " * 2, "failed")
    assert response["error"]["code"] == "provider_stream_broken"
    assert [item["status"] for item in response["output"]] == ["incomplete", "incomplete"]
    assert script.attempts == 2


@pytest.mark.campaign
@pytest.mark.parametrize("model", ["anthropic-prefill", "ollama"])
async def test_an_answer_that_is_continued_and_brings_nothing_twice_has_failed(
    client: httpx.AsyncClient, vendors: Vendors, model: str
) -> None:
    prompt = f"{model} never ends"
    script = vendors.says(prompt, Spoken(words=12, faults=[FIRST, *[AGAIN] * 50]))
    events = await collect(client, {"model": f"{model}-fake", "input": prompt})
    response = check_whole(events, "w0 w1 w2 w3 w4 ", "failed")
    assert response["error"]["code"] == "provider_stream_broken"
    assert script.attempts == 3, "the first one brought something; the second and the third are the same"


async def test_an_answer_that_gets_on_after_the_same_break_is_whole(
    client: httpx.AsyncClient, vendors: Vendors
) -> None:
    """One continuation that brings nothing may be the fault of a moment."""
    faults: list[Fault | None] = [FIRST, AGAIN]
    script = vendors.says("gets on in the end", Spoken(words=12, faults=faults))
    events = await collect(client, {"model": "ollama-fake", "input": "gets on in the end"})
    check_whole(events, script.text)
    assert script.attempts == 3


async def test_the_next_provider_is_asked_where_there_is_one(client: httpx.AsyncClient, upstream: Upstream) -> None:
    # The first provider goes on where it was; each of its continuations is garbage. The second begins anew.
    faults: list[Fault | None] = [Fault(after=5, garbage=True)] * 3
    script = upstream.says("the same break, elsewhere", Script(words=12, faults=faults))
    events = await collect(client, {"model": "breaks", "input": "the same break, elsewhere"})
    response = events[-1]["response"]
    assert response["status"] == "completed", response["error"]
    assert response["output"][-1]["content"][0]["text"] == script.text
    assert script.attempts == 4
