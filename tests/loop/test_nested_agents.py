"""Agents on three levels: a stop and a deadline go down, tokens come up, and each is followed and steered by its id."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from api.responses.cost import COST_HEADER
from open_responses.tool_use.agents import agents_in
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.responses_http import create
from tests.support.scripts import outputs, script
from tests.support.stack import Stack, another_api, check_whole, events_of, until

pytestmark = pytest.mark.campaign

Json = dict[str, Any]
LEAD = [{"type": "function", "name": "lead"}]
LEVELS = """
[[routes]]
model = "priced"
provider = "fake"
upstream_model = "fake"
price = { input = 2, output = 8 }
[[tools]]
name = "lead"
description = "Leads."
agent = { model = "priced", tools = ["mid"] }
[[tools]]
name = "mid"
description = "Passes on."
agent = { model = "priced", tools = ["leaf"] }
[[tools]]
name = "leaf"
description = "Works."
agent = { model = "priced" }
"""


@pytest_asyncio.fixture
async def deep(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with another_api(stack, tail=LEVELS) as client:
        yield client


def asks(agent: str, task: str) -> Script:
    return calls(("c", agent, {"task": task}))


def scripted(upstream: Upstream, name: str, leaf: Script) -> Script:
    """Three agents below a prompt, `leaf` is the answer of the last."""
    script(upstream, name, asks("lead", f"{name} 1"), Script(words=1))
    script(upstream, f"{name} 1", asks("mid", f"{name} 2"), Script(words=2))
    script(upstream, f"{name} 2", asks("leaf", f"{name} 3"), Script(words=3))
    return upstream.says(f"{name} 3", leaf)


async def get(client: httpx.AsyncClient, response_id: str) -> Json:
    response: Json = (await client.get(f"/v1/responses/{response_id}")).json()
    return response


async def ended(client: httpx.AsyncClient, response_id: str) -> Json:
    response: Json = {}

    async def has_ended() -> bool:
        response.update(await get(client, response_id))
        return response["status"] not in ("queued", "in_progress")

    await until(has_ended)
    return response


async def linked(client: httpx.AsyncClient, response_id: str) -> str:
    """The agent that a running response has started, as its stream names it, once that can be read."""
    async for event in events_of(client, resume=(response_id, None)):
        if event["type"] == "open_responses:tool_progress":
            agent = str(event["message"]).removeprefix("runs as ")
            break
    else:
        raise AssertionError("no agent was started")

    async def is_there() -> bool:
        return (await client.get(f"/v1/responses/{agent}")).status_code == 200

    await until(is_there)
    return agent


async def family(client: httpx.AsyncClient, leaf: Script, **body: Any) -> list[str]:
    """A background response and the three agents below it, while the last one answers."""
    ids = [(await create(client, background=True, tools=LEAD, **body))["id"]]
    for _ in range(3):
        ids.append(await linked(client, ids[-1]))
    await asyncio.wait_for(leaf.held.wait(), 50)
    return ids


async def test_tokens_costs_and_answers_come_up_from_the_third_level(
    deep: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    scripted(upstream, "three levels", Script(words=4))
    response = await create(deep, input="three levels", tools=LEAD, model="priced")
    family = [response]
    while links := agents_in(family[-1]["output"]):
        family.append(await get(deep, links[0]))
    assert [one["status"] for one in family] == ["completed"] * 4
    assert [outputs(one) for one in family] == [["w0 w1 "], ["w0 w1 w2 "], ["w0 w1 w2 w3 "], []]
    # Each has its own tokens and those of all below it: 1, 2, 3 and 4 words.
    assert [one["usage"]["output_tokens"] for one in family] == [10, 9, 7, 4]
    for _ in range(2):
        for one in family:
            used = one["usage"]
            answer = await deep.get(f"/v1/responses/{one['id']}")
            cost = (2 * used["input_tokens"] + 8 * used["output_tokens"]) / 1_000_000
            assert float(answer.headers[COST_HEADER]) == pytest.approx(cost)
        await stack.flush()
    for one, text in zip(family, ("w0 ", "w0 w1 ", "w0 w1 w2 ", "w0 w1 w2 w3 "), strict=True):
        check_whole([event async for event in events_of(deep, resume=(one["id"], None))], text)


async def test_a_cancellation_goes_down_to_the_third_level(deep: httpx.AsyncClient, upstream: Upstream) -> None:
    leaf = scripted(upstream, "cancel three levels", Script(words=4, hold_after=2))
    ids = await family(deep, leaf, input="cancel three levels")
    assert (await deep.post(f"/v1/responses/{ids[0]}/cancel")).json()["status"] == "cancelled"
    assert [(await ended(deep, one))["status"] for one in ids] == ["cancelled"] * 4


async def test_a_deadline_ends_every_level(stack: Stack, upstream: Upstream) -> None:
    leaf = scripted(upstream, "three levels and no time", Script(words=4, hold_after=2))
    async with another_api(stack, head="deadline_seconds = 25", tail=LEVELS) as client:
        ids = await family(client, leaf, input="three levels and no time")
        top = await ended(client, ids[0])
        assert (top["status"], top["incomplete_details"]) == ("incomplete", {"reason": "deadline_exceeded"})
        for agent in ids[1:]:
            below = await ended(client, agent)
            # Its own deadline is the same moment, and its caller's end cancels it.
            assert below["status"] in ("incomplete", "cancelled")


async def test_an_agent_on_the_third_level_is_steered_by_its_id(deep: httpx.AsyncClient, upstream: Upstream) -> None:
    leaf = scripted(upstream, "steer three levels", Script(words=4, hold_after=2))
    upstream.says("say it shorter", Script(words=1))
    ids = await family(deep, leaf, input="steer three levels")
    accepted = await deep.post(f"/v1/responses/{ids[3]}/steer", json={"input": "say it shorter"})
    assert accepted.status_code == 200, accepted.text
    leaf.released.set()
    top = await ended(deep, ids[0])
    assert top["status"] == "completed"
    steered = await get(deep, ids[3])
    assert [item["role"] for item in steered["output"]] == ["assistant", "user", "assistant"]
    # The callers have the answer that has read the message.
    assert outputs(await get(deep, ids[2])) == ["w0 "]
    assert "user" not in [item.get("role") for one in ids[:3] for item in (await get(deep, one))["output"]]
