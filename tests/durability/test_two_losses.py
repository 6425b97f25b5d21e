"""Redis flushed and every worker killed in the same moment, in mid-answer.

The API's processes keep what they have sent, and the log is restored from that. Without such a copy the answer is
sampled anew and comes out otherwise: a client that has half of the first one gets an error, and never the rest of the
second as if it were the rest of the first.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
import pytest_asyncio
from openai import APIError, AsyncOpenAI
from websockets.asyncio.client import connect

from tests.support.fake_upstream import Script, Upstream
from tests.support.stack import Event, Stack, another_api, check_whole, events_of, text_of, until

pytestmark = pytest.mark.campaign


@pytest_asyncio.fixture(scope="module")
async def forgetful(session_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API that keeps nothing of what it sends."""
    await session_stack.heal()
    async with another_api(session_stack, env={"OPEN_RESPONSES_READER_COPIES_BYTES": "0"}) as client:
        yield client


# Words that come faster are put together now and then, and would be cut otherwise the second time.
GAP = 0.02
FIRST = "".join(f"first{i} " for i in range(40))


async def read_into(events: list[Event], client: httpx.AsyncClient, body: dict[str, str]) -> None:
    """Follow a streamed response to its end."""
    async for event in events_of(client, body):
        events.append(event)


async def lose_all(stack: Stack) -> None:
    for name in ("worker-0", "worker-1"):
        await stack.kill(name)
    await stack.flush()


@asynccontextmanager
async def lost_in_the_middle(
    stack: Stack, upstream: Upstream, prompt: str, second: Script, has_half: Callable[[], Awaitable[bool]]
) -> AsyncIterator[None]:
    """Around a request that is under way: its first answer is lost in the middle, and `second` is the next one."""
    script = upstream.says(prompt, Script(literal=FIRST, hold_after=20, gap=GAP))
    yield
    await asyncio.wait_for(script.held.wait(), 50)
    await until(has_half)
    await lose_all(stack)
    upstream.says(prompt, second)
    script.released.set()
    await stack.heal()


@pytest.mark.parametrize("words", [60, 3], ids=["longer", "shorter"])
async def test_a_stream_whose_beginning_is_lost_ends_with_an_error_and_not_with_another_answer(
    forgetful: httpx.AsyncClient, stack: Stack, upstream: Upstream, words: int
) -> None:
    prompt, second = f"lost, then {words} words", Script(words=words)
    events: list[Event] = []

    async def has_half() -> bool:
        return "first19" in text_of(events)

    async with lost_in_the_middle(stack, upstream, prompt, second, has_half):
        streaming = asyncio.create_task(read_into(events, forgetful, {"input": prompt}))
    await asyncio.wait_for(streaming, 50)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert FIRST.startswith(text_of(events))
    assert (events[-1]["type"], events[-1]["error"]["code"]) == ("error", "stream_lost")
    response_id = events[0]["response"]["id"]
    assert response_id in events[-1]["error"]["message"]

    async def has_ended() -> bool:
        return (await forgetful.get(f"/v1/responses/{response_id}")).json()["status"] == "completed"

    await until(has_ended)
    check_whole([event async for event in events_of(forgetful, resume=(response_id, None))], second.text)


async def test_a_plain_request_gets_the_second_answer_whole(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    second = Script(words=3)

    async def has_half() -> bool:
        return True

    async with lost_in_the_middle(stack, upstream, "lost, unseen", second, has_half):
        asking = asyncio.create_task(client.post("/v1/responses", json={"model": "fake", "input": "lost, unseen"}))
    (message,) = (await asking).json()["output"]
    assert message["content"][0]["text"] == second.text


async def test_a_socket_gets_the_error_in_an_envelope_and_goes_on(
    forgetful: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    told: list[Event] = []

    async def has_half() -> bool:
        return "first19" in text_of(told)

    url = str(forgetful.base_url.join("/v1/responses").copy_with(scheme="ws"))
    async with connect(url, proxy=None) as socket:

        async def turn(prompt: str) -> None:
            told.clear()
            await socket.send(json.dumps({"type": "response.create", "model": "fake", "input": prompt}))
            while not told or ("status" not in told[-1] and told[-1]["type"] != "response.completed"):
                told.append(json.loads(await socket.recv()))

        async with lost_in_the_middle(stack, upstream, "lost, on a socket", Script(words=60), has_half):
            turning = asyncio.create_task(turn("lost, on a socket"))
        await asyncio.wait_for(turning, 50)
        assert (told[-1]["type"], told[-1]["error"]["code"]) == ("error", "stream_lost")
        script = upstream.says("the next turn", Script(words=3))
        await turn("the next turn")
        assert text_of(told) == script.text


async def test_the_sdk_raises_it(forgetful: httpx.AsyncClient, stack: Stack, upstream: Upstream) -> None:
    words: list[str] = []

    async def has_half() -> bool:
        return "first19" in "".join(words)

    async def stream() -> None:
        async with AsyncOpenAI(base_url=str(forgetful.base_url.join("/v1")), api_key="none", max_retries=0) as sdk:
            async for event in await sdk.responses.create(model="fake", input="lost, by the sdk", stream=True):
                if event.type == "response.output_text.delta":
                    words.append(event.delta)

    async with lost_in_the_middle(stack, upstream, "lost, by the sdk", Script(words=60), has_half):
        streaming = asyncio.create_task(stream())
    with pytest.raises(APIError, match="started anew"):
        await asyncio.wait_for(streaming, 50)


async def test_a_flush_in_a_pause_is_made_good_by_a_worker_that_leaves(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Nothing is written between the loss and the end of the try: its writer looks all the same."""
    script = upstream.says("lost in a pause", Script(words=40, hold_after=20, gap=GAP))
    events: list[Event] = []

    async def has_half() -> bool:
        return "w19" in text_of(events)

    streaming = asyncio.create_task(read_into(events, client, {"input": "lost in a pause"}))
    await until(has_half)
    worker = await stack.busy_worker()
    await stack.flush()
    stack.signal(worker, signal.SIGTERM)
    script.released.set()
    await asyncio.wait_for(streaming, 50)
    check_whole(events, script.text)


async def test_a_loss_that_was_made_good_before_the_next_is_not_noticed(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """A flush, the log restored by its writer, and only then the writer's death."""
    script = upstream.says("lost one by one", Script(words=40, hold_after=20))
    events: list[Event] = []

    async def has(word: str) -> bool:
        return word in text_of(events)

    streaming = asyncio.create_task(read_into(events, client, {"input": "lost one by one"}))
    await until(lambda: has("w19"))
    await stack.flush()
    held, script.released, script.hold_after = script.released, asyncio.Event(), 30
    held.set()
    await until(lambda: has("w29"))
    for name in ("worker-0", "worker-1"):
        await stack.kill_seen(name)
    script.released.set()
    await stack.heal()
    await asyncio.wait_for(streaming, 50)
    check_whole(events, script.text)
    assert [e["action"] for e in events if e["type"] == "open_responses:attempt"] == ["continued"]


async def test_the_same_answer_told_again_goes_on_where_it_was(
    forgetful: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    events: list[Event] = []

    async def has_half() -> bool:
        return "first19" in text_of(events)

    again = Script(literal=FIRST, gap=GAP)
    async with lost_in_the_middle(stack, upstream, "lost, and told again", again, has_half):
        streaming = asyncio.create_task(read_into(events, forgetful, {"input": "lost, and told again"}))
    await asyncio.wait_for(streaming, 50)
    check_whole(events, FIRST)
    assert again.attempts == 1


async def test_the_log_is_restored_from_what_a_reader_was_sent_and_the_answer_goes_on(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    events: list[Event] = []

    async def has_half() -> bool:
        return "first19" in text_of(events)

    async with lost_in_the_middle(stack, upstream, "lost, and restored", Script(literal=FIRST), has_half):
        streaming = asyncio.create_task(read_into(events, client, {"input": "lost, and restored"}))
    await asyncio.wait_for(streaming, 50)
    check_whole(events, FIRST)
    assert [e["action"] for e in events if e["type"] == "open_responses:attempt"] == ["continued"]
    response_id = events[0]["response"]["id"]
    again = [event async for event in events_of(client, resume=(response_id, None))]
    assert [e["sequence_number"] for e in again] == [e["sequence_number"] for e in events]
    assert text_of(again) == FIRST


async def test_an_answer_that_cannot_go_on_is_closed_behind_what_was_restored(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """Where the provider cannot continue, the half answer stays, marked as incomplete, and another one follows."""
    prompt, second = "lost, restored, started anew", Script(words=5)
    events: list[Event] = []

    async def has_half() -> bool:
        return "first19" in text_of(events)

    async with lost_in_the_middle(stack, upstream, prompt, second, has_half):
        streaming = asyncio.create_task(read_into(events, client, {"model": "no-resume", "input": prompt}))
    await asyncio.wait_for(streaming, 50)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    half, whole = events[-1]["response"]["output"]
    assert (half["status"], whole["status"]) == ("incomplete", "completed")
    assert FIRST.startswith(half["content"][0]["text"])
    assert "first19" in half["content"][0]["text"]
    assert whole["content"][0]["text"] == second.text
    assert text_of(events) == half["content"][0]["text"] + second.text


async def test_what_was_sent_before_a_flush_stays_in_a_response_that_is_cancelled(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script = upstream.says("flushed, then cancelled", Script(words=40, hold_after=20, gap=GAP))
    events: list[Event] = []

    async def has_half() -> bool:
        return "w19" in text_of(events)

    streaming = asyncio.create_task(read_into(events, client, {"input": "flushed, then cancelled"}))
    await until(has_half)
    for name in ("worker-0", "worker-1"):
        await stack.kill(name)
    await stack.flush()
    response_id = events[0]["response"]["id"]
    cancelling = asyncio.create_task(client.post(f"/v1/responses/{response_id}/cancel"))
    await stack.heal()
    await asyncio.wait_for(streaming, 50)
    script.released.set()
    await cancelling
    assert events[-1]["response"]["status"] == "cancelled"
    (message,) = events[-1]["response"]["output"]
    assert (message["status"], message["content"][0]["text"]) == ("incomplete", text_of(events))


async def test_a_client_that_was_away_gets_no_second_half_of_another_answer(
    forgetful: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    prompt, second = "lost, and nobody there", Script(words=60)
    script = upstream.says(prompt, Script(literal=FIRST, hold_after=20, gap=GAP))
    events: list[Event] = []
    async for event in events_of(forgetful, {"input": prompt}):
        events.append(event)
        if "first15" in text_of(events):
            break
    await asyncio.wait_for(script.held.wait(), 50)
    await lose_all(stack)
    upstream.says(prompt, second)
    script.released.set()
    await stack.heal()
    response_id, last = events[0]["response"]["id"], events[-1]["sequence_number"]
    (error,) = [event async for event in events_of(forgetful, resume=(response_id, last))]
    assert (error["type"], error["error"]["code"]) == ("error", "stream_lost")
    check_whole([event async for event in events_of(forgetful, resume=(response_id, None))], second.text)


async def test_a_process_that_was_frozen_while_another_answer_was_given_ends_its_streams_with_an_error(
    client: httpx.AsyncClient, forgetful: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """It has a copy, and cannot give it; the last writer that it finds is that of the end, ahead of all it has sent."""
    prompt, second = "lost, and nobody answers", Script(words=60)
    script = upstream.says(prompt, Script(literal=FIRST, hold_after=20, gap=GAP))
    events: list[Event] = []

    async def has_half() -> bool:
        return "first19" in text_of(events)

    async def has_ended() -> bool:
        return (await forgetful.get(f"/v1/responses/{response_id}")).json()["status"] == "completed"

    streaming = asyncio.create_task(read_into(events, client, {"input": prompt}))
    await until(has_half)
    response_id, last = events[0]["response"]["id"], events[-1]["sequence_number"]
    stack.signal("api", signal.SIGSTOP)
    try:
        await lose_all(stack)
        upstream.says(prompt, second)
        script.released.set()
        await stack.heal()
        await until(has_ended)
    finally:
        stack.signal("api", signal.SIGCONT)
    await asyncio.wait_for(streaming, 50)
    assert (events[-1]["type"], events[-1]["error"]["code"]) == ("error", "stream_lost")
    assert text_of(events) == "".join(f"first{i} " for i in range(20))
    for after in (last, 3):
        (error,) = [event async for event in events_of(client, resume=(response_id, after))]
        assert (error["type"], error["error"]["code"]) == ("error", "stream_lost")
    check_whole([event async for event in events_of(client, resume=(response_id, None))], second.text)
