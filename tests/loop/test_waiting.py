"""The tool that waits: a timer of the workflow, which outlives workers, the API and Redis, and which a message ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from open_responses.contracts import ToolError
from open_responses.tool_use.waiting import PASSED, WOKEN, read_wait, spoken
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.operator import console
from tests.support.responses_http import create, ended
from tests.support.scripts import HOSTED, outputs, script
from tests.support.stack import Event, Stack, check_whole, collect, events_of, until

Json = dict[str, Any]
NOW = datetime(2026, 12, 1, 9, tzinfo=UTC).timestamp()


def waits(*wanted: Json) -> Any:
    return calls(*((f"w{number}", "wait_until", given) for number, given in enumerate(wanted)))


async def waiting(client: httpx.AsyncClient, upstream: Upstream, prompt: str, seconds: float) -> str:
    """A background response that has begun to wait. Returns its id."""
    script(upstream, prompt, waits({"seconds": seconds}), Script(words=2))
    response_id: str = (await create(client, input=prompt, background=True, tools=HOSTED))["id"]
    async for event in events_of(client, resume=(response_id, None)):
        if event["type"] == "open_responses:tool_progress":
            assert event["message"] == f"waits for {spoken(seconds)}"
            return response_id
    raise AssertionError("it does not wait")


async def test_a_model_waits_for_a_time_and_goes_on(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(upstream, "wait a moment", waits({"seconds": 0.2}, {"until": "2020-01-01T00:00:00Z"}), Script(words=2))
    events = await collect(client, {"input": "wait a moment", "tools": HOSTED})
    response = check_whole(events, "w0 w1 ")
    assert outputs(response) == ["The wait is over: it was for 0.2 s.", PASSED]
    progress = [event for event in events if event["type"] == "open_responses:tool_progress"]
    assert [event["message"] for event in progress] == ["waits for 0.2 s"]


@pytest.mark.campaign
async def test_a_wait_that_does_not_fit_is_an_output(client: httpx.AsyncClient, upstream: Upstream) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    script(upstream, "wait too long", waits({"until": tomorrow.isoformat()}, {"seconds": "soon"}), Script(words=1))
    response = (await collect(client, {"input": "wait too long", "tools": HOSTED}))[-1]["response"]
    assert response["status"] == "completed"
    too_long, wrong = outputs(response)
    assert too_long == "Not waited: the longest wait is 1 h. Ask for less, and wait again after it."
    assert wrong == "'seconds' must be a number that is not negative."


async def test_a_message_of_the_user_ends_a_wait_and_a_wait_is_shown_to_the_operator(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    response_id = await waiting(client, upstream, "wait for me", 3000)
    temporal = await console(stack)

    async def is_shown() -> bool:
        metadata = await temporal.get_workflow_handle(response_id).query("__temporal_workflow_metadata")
        return "- waits for 50 min" in str(metadata)

    await until(is_shown)
    upstream.says("here I am", Script(words=3))
    # Whatever Redis has had of it is gone, as after the longest time to live of its keys.
    await stack.flush()
    steered = await client.post(f"/v1/responses/{response_id}/steer", json={"input": "here I am"})
    assert steered.status_code == 200, steered.text
    response = await ended(client, response_id)
    assert (response["status"], outputs(response)) == ("completed", [WOKEN])
    assert [item.get("role") or item["type"] for item in response["output"]] == [
        "function_call",
        "function_call_output",
        "user",
        "assistant",
    ]
    events = [event async for event in events_of(client, resume=(response_id, None))]
    check_whole(events, "w0 w1 w2 ")


@pytest.mark.campaign
async def test_a_wait_is_cancelled(client: httpx.AsyncClient, upstream: Upstream) -> None:
    response_id = await waiting(client, upstream, "wait and be cancelled", 3000)
    cancelled = (await client.post(f"/v1/responses/{response_id}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    assert [item["status"] for item in cancelled["output"]] == ["completed", "incomplete"]


@pytest.mark.campaign
async def test_a_response_that_sleeps_wakes_after_its_worker_its_api_and_redis_were_replaced(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    response_id = await waiting(client, upstream, "sleep well", 12)
    seen: list[Event] = []
    async for event in events_of(client, resume=(response_id, None)):
        seen.append(event)
        if event["type"] == "open_responses:tool_progress":
            break
    for name in [one for one in stack.processes if one.startswith(("worker", "api"))]:
        await stack.kill(name)
    # As if all keys of the response had lived their time.
    await stack.flush()
    await asyncio.sleep(1)
    await stack.heal()
    rest = [event async for event in events_of(client, resume=(response_id, seen[-1]["sequence_number"]))]
    response = check_whole([*seen, *rest], "w0 w1 ")
    assert outputs(response) == ["The wait is over: it was for 12 s."]


@pytest.mark.parametrize(
    ("arguments", "text", "length"),
    [
        ({"seconds": 90}, "for 90 s", 90),
        ({"seconds": 7200.0}, "for 2 h", 7200),
        ({"until": "2026-12-01T10:00:00+01:00"}, "until 2026-12-01 09:00:00 UTC", 0),
        ({"until": "2026-12-02T09:00:00Z"}, "until 2026-12-02 09:00:00 UTC", 86400),
    ],
)
def test_what_a_model_may_ask_for(arguments: Json, text: str, length: float) -> None:
    wait = read_wait(arguments, NOW, 86400, None)
    assert (wait.text, wait.length(NOW)) == (text, length)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"seconds": 1, "until": "2026-12-02T09:00:00Z"},
        {"minutes": 1},
        {"seconds": -1},
        {"seconds": True},
        {"seconds": float("inf")},
        {"seconds": 10**400},
        {"seconds": 86401},
        {"until": "2026-12-02"},
        {"until": "2026-12-02T09:00:00"},
        {"until": "tomorrow"},
        {"until": 5},
        {"until": "2026-12-02T09:00:01Z"},
    ],
)
def test_what_a_model_may_not_ask_for(arguments: Json) -> None:
    with pytest.raises(ToolError):
        read_wait(arguments, NOW, 86400, None)


def test_a_wait_beyond_the_end_of_the_response_is_refused() -> None:
    with pytest.raises(ToolError, match="may run for 60 s more"):
        read_wait({"seconds": 60}, NOW, 86400, 60)
    assert read_wait({"seconds": 59}, NOW, 86400, 60).seconds == 59


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.5, "0.5 s"), (119, "119 s"), (3000, "50 min"), (3661, "1 h 1 min"), (86400, "1 day"), (180000, "2 days 2 h")],
)
def test_a_length_is_said_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert spoken(seconds) == text
