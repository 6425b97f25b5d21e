"""The `openai` SDK as its users have it, sync and async: helpers, raw answers, pages, retries, its error classes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai import AsyncOpenAI, OpenAI, pydantic_function_tool
from pydantic import BaseModel

from api.errors import error_response
from open_responses.errors import OpenResponsesError, RateLimited, Unavailable
from tests.support.api_with_keys import key_block, keyed_api
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.scripts import script
from tests.support.stack import Stack, until
from tests.support.stream_judge import judge


class City(BaseModel):
    city: str
    people: int


class Forecast(BaseModel):
    """The weather of the next days."""

    city: str
    days: int


@pytest_asyncio.fixture
async def sdk(stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{stack.api_url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


async def with_sync(stack: Stack, use: Callable[[OpenAI], Any], **settings: Any) -> Any:
    """`use` in a thread, with a client of its own."""

    def run() -> Any:
        with OpenAI(base_url=f"{stack.api_url}/v1", api_key="none", max_retries=0, **settings) as client:
            return use(client)

    return await asyncio.to_thread(run)


# --- answers


async def test_the_sync_client_creates_streams_and_retrieves(stack: Stack, upstream: Upstream) -> None:
    made = upstream.says("sync", Script(words=6))

    def use(client: OpenAI) -> tuple[Any, list[Any], Any, Any]:
        plain = client.responses.create(model="fake", input="sync", metadata={"a": "b"})
        events = list(client.responses.create(model="fake", input="sync", stream=True))
        with client.responses.stream(model="fake", input="sync") as stream:
            final = stream.until_done().get_final_response()
        return plain, events, final, client.responses.retrieve(plain.id)

    plain, events, final, stored = await with_sync(stack, use)
    assert plain.output_text == final.output_text == stored.output_text == made.text
    assert (plain.metadata, plain.status, plain.object) == ({"a": "b"}, "completed", "response")
    judge([event.to_dict() for event in events])
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == made.text


async def test_the_stream_helper_tells_of_text_and_calls(sdk: AsyncOpenAI, upstream: Upstream) -> None:
    script(upstream, "helper", calls(("c1", "Forecast", {"city": "Oslo", "days": 2})))
    tool: Any = pydantic_function_tool(Forecast)
    flat: Any = {"type": "function", **tool["function"]}
    seen: list[str] = []
    async with sdk.responses.stream(model="fake", input="helper", tools=[flat]) as stream:
        async for event in stream:
            seen.append(event.type)
        final = await stream.get_final_response()
    assert seen[:2] == ["response.created", "response.in_progress"]
    assert seen[-1] == "response.completed"
    assert "response.function_call_arguments.delta" in seen
    (call,) = final.output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"city": "Oslo", "days": 2}


async def test_parse_reads_text_and_arguments(sdk: AsyncOpenAI, stack: Stack, upstream: Upstream) -> None:
    upstream.says("a city, parsed", Script(literal='{"city":"Rome","people":2800000}'))
    parsed = await sdk.responses.parse(model="fake", input="a city, parsed", text_format=City)
    assert parsed.output_parsed == City(city="Rome", people=2800000)
    async with sdk.responses.stream(model="fake", input="a city, parsed", text_format=City) as stream:
        final = await stream.get_final_response()
    assert final.output_parsed == City(city="Rome", people=2800000)
    script(upstream, "a call, parsed", calls(("c1", "Forecast", {"city": "Oslo", "days": 2})))
    tool = openai.pydantic_function_tool(Forecast)
    flat: Any = {"type": "function", **tool["function"]}
    called = await with_sync(
        stack, lambda client: client.responses.parse(model="fake", input="a call, parsed", tools=[flat])
    )
    assert called.output[0].name == "Forecast"


async def test_raw_and_streamed_answers_have_their_headers(sdk: AsyncOpenAI, upstream: Upstream) -> None:
    made = upstream.says("raw", Script(words=3))
    raw = await sdk.responses.with_raw_response.create(model="fake", input="raw")
    assert (raw.status_code, raw.headers["content-type"]) == (200, "application/json")
    assert raw.request_id
    assert raw.parse().output_text == made.text
    async with sdk.responses.with_streaming_response.create(
        model="fake", input="raw", stream=True, extra_headers={"X-Request-Id": "mine-1"}
    ) as streamed:
        assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert streamed.headers["x-request-id"] == "mine-1"
        lines = [line async for line in streamed.iter_lines()]
    assert [line for line in lines if line][-1] == "data: [DONE]"
    response = await sdk.responses.create(model="fake", input="raw")
    assert response._request_id


async def test_a_background_response_is_polled_followed_and_cancelled(sdk: AsyncOpenAI, upstream: Upstream) -> None:
    held = upstream.says("sdk background", Script(words=8, hold_after=3))
    job = await sdk.responses.create(model="fake", input="sdk background", background=True)
    assert job.status == "queued"
    await asyncio.wait_for(held.held.wait(), 50)
    held.released.set()

    async def ended() -> bool:
        nonlocal job
        job = await sdk.responses.retrieve(job.id)
        return job.status not in ("queued", "in_progress")

    await until(ended)
    assert job.output_text == held.text
    events = [event async for event in await sdk.responses.retrieve(job.id, stream=True)]
    rest = [event async for event in await sdk.responses.retrieve(job.id, stream=True, starting_after=5)]
    assert [event.sequence_number for event in rest] == [event.sequence_number for event in events[6:]]  # type: ignore[union-attr]
    judge([event.to_dict() for event in events])
    upstream.says("sdk background 2", Script(words=8, hold_after=3))
    job = await sdk.responses.create(model="fake", input="sdk background 2", background=True)
    assert (await sdk.responses.cancel(job.id)).status == "cancelled"


async def test_a_background_stream_is_taken_up_where_it_was_left(sdk: AsyncOpenAI, upstream: Upstream) -> None:
    held = upstream.says("left in the middle", Script(words=8, hold_after=4))
    seen: list[Any] = []
    stream = await sdk.responses.create(model="fake", input="left in the middle", background=True, stream=True)
    async for event in stream:
        seen.append(event)
        if event.type == "response.output_text.delta":
            break
    await stream.close()
    held.released.set()
    response_id = seen[0].response.id
    async for event in await sdk.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number):
        seen.append(event)
    assert judge([event.to_dict() for event in seen])["output"][0]["content"][0]["text"] == held.text


async def test_input_items_come_in_pages_and_what_is_deleted_is_gone(sdk: AsyncOpenAI) -> None:
    given: Any = [{"role": "user", "content": f"item {n}"} for n in range(7)]
    response = await sdk.responses.create(model="fake", input=given)
    items = [item async for item in sdk.responses.input_items.list(response.id, limit=2, order="asc")]
    assert [item.content[0].text for item in items] == [f"item {n}" for n in range(7)]  # type: ignore[union-attr]
    await sdk.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        await sdk.responses.retrieve(response.id)


@pytest.mark.campaign
async def test_models_compaction_and_counting(sdk: AsyncOpenAI) -> None:
    assert "fake" in [model.id async for model in sdk.models.list()]
    assert (await sdk.models.retrieve("fake")).owned_by == "fake"
    assert (await sdk.responses.input_tokens.count(model="fake", input="one two three")).input_tokens > 2
    compacted = await sdk.responses.compact(model="fake", input=[{"role": "user", "content": "a long story"}])
    assert compacted.output[-1].type == "compaction"
    went_on: Any = [*[item.to_dict() for item in compacted.output], {"role": "user", "content": "go on"}]
    assert (await sdk.responses.create(model="fake", input=went_on)).status == "completed"


@pytest.mark.campaign
async def test_a_failed_response_is_told_and_not_raised(sdk: AsyncOpenAI, upstream: Upstream) -> None:
    upstream.says("sdk fails", Script(faults=[Fault(status=400)]))
    response = await sdk.responses.create(model="fake", input="sdk fails")
    assert response.status == "failed"
    assert response.error is not None
    assert response.error.code == "provider_rejected_request"
    upstream.says("sdk fails in a stream", Script(faults=[Fault(status=400)]))
    stream = await sdk.responses.create(model="fake", input="sdk fails in a stream", stream=True)
    assert (await anext(stream)).type == "response.created"
    assert (await anext(stream)).type == "response.in_progress"
    with pytest.raises(openai.APIError, match="fault 400"):  # the SDK's way with an `error` event
        await anext(stream)


# --- errors

OVER_A_SOCKET: list[tuple[str, dict[str, Any], type[openai.APIStatusError], str]] = [
    ("create", {"input": "x", "max_output_tokens": 1}, openai.BadRequestError, "invalid_value"),
    ("create", {"input": "x", "model": "no-such"}, openai.NotFoundError, "model_not_found"),
    ("create", {"input": "x" * 1_100_000}, openai.APIStatusError, "request_too_large"),
    (
        "create",
        {"input": "x", "previous_response_id": "resp_no"},
        openai.BadRequestError,
        "previous_response_not_found",
    ),
    ("retrieve", {"response_id": "resp_" + "0" * 48}, openai.NotFoundError, "not_found"),
    ("cancel", {"response_id": "resp_" + "0" * 48}, openai.NotFoundError, "not_found"),
    ("compact", {"input": "refused"}, openai.InternalServerError, "provider_rejected_request"),
]


@pytest.mark.parametrize(("method", "arguments", "error", "code"), OVER_A_SOCKET, ids=lambda value: str(value)[:30])
async def test_an_error_over_a_socket_is_the_sdks_own(
    stack: Stack, upstream: Upstream, method: str, arguments: dict[str, Any], error: type[Exception], code: str
) -> None:
    if method == "compact":
        from open_responses.context.compaction import ORDER

        upstream.says(ORDER, Script(faults=[Fault(status=400)]))
    named = {"model": "fake"} if method in ("create", "compact") else {}

    def use(client: OpenAI) -> Any:
        with pytest.raises(error) as raised:
            getattr(client.responses, method)(**{**named, **arguments})
        return raised.value

    raised = await with_sync(stack, use)
    assert (raised.code, bool(raised.message), bool(raised.request_id)) == (code, True, True)
    upstream.scripts.pop("refused", None)
    if method == "compact":
        upstream.scripts.pop(ORDER)


@pytest.mark.campaign
async def test_keys_scopes_limits_and_conflicts_are_the_sdks_own(stack: Stack) -> None:
    blocks = [
        key_block("of-sdk", "sdk-key", 'models = ["fake"]', "requests_per_minute = 3"),
        key_block("of-sdk-2", "sdk-spent", "budget_tokens = 20"),
    ]
    async with keyed_api(stack, *blocks) as api:
        url = str(api.base_url).rstrip("/") + "/v1"

        def client(key: str) -> AsyncOpenAI:
            return AsyncOpenAI(base_url=url, api_key=key, max_retries=0)

        with pytest.raises(openai.AuthenticationError) as refused:
            await client("wrong").responses.create(model="fake", input="x")
        assert refused.value.code == "invalid_api_key"
        good = client("sdk-key")
        with pytest.raises(openai.PermissionDeniedError) as denied:
            await good.responses.create(model="smollm2", input="x")
        assert denied.value.code == "permission_denied"
        once = {"Idempotency-Key": "sdk-once"}
        first = await good.responses.create(model="fake", input="x", extra_headers=once)
        assert (await good.responses.create(model="fake", input="x", extra_headers=once)).id == first.id
        with pytest.raises(openai.ConflictError) as conflict:
            await good.responses.create(model="fake", input="y", extra_headers=once)
        assert conflict.value.code == "idempotency_key_reused"
        for _ in range(2):
            await good.responses.create(model="fake", input="x")
        with pytest.raises(openai.RateLimitError) as limited:
            await good.responses.create(model="fake", input="x")
        assert limited.value.code == "rate_limit_exceeded"
        assert int(limited.value.response.headers["retry-after"]) >= 1
        spent = client("sdk-spent")
        await spent.responses.create(model="fake", input="x")
        with pytest.raises(openai.RateLimitError) as over:
            await spent.with_options(max_retries=5).responses.create(model="fake", input="x")
        assert over.value.code == "token_budget_exceeded"


def errors() -> list[type[OpenResponsesError]]:
    """Every class of the tree."""
    found: list[type[OpenResponsesError]] = [OpenResponsesError]
    for kind in found:
        found += kind.__subclasses__()
    return [kind for kind in dict.fromkeys(found) if kind.__module__ == "open_responses.errors"]


SDK_CLASSES: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    429: openai.RateLimitError,
}


@pytest.mark.parametrize("kind", errors(), ids=lambda kind: kind.__name__)
async def test_each_status_raises_the_sdks_class(stack: Stack, kind: type[OpenResponsesError]) -> None:
    """ERR-1: the body that we write for each error of the tree, read by the SDK."""
    front = Front(stack, kind("what is wrong", param="input[0]", retry_after=2))
    expected = openai.InternalServerError if kind.status >= 500 else SDK_CLASSES.get(kind.status, openai.APIStatusError)
    async with front.client(max_retries=0) as client:
        with pytest.raises(expected) as raised:
            await client.responses.create(model="m", input="x")
    assert raised.type is expected
    found = raised.value
    assert (found.code, found.param, found.type) == (kind.code, "input[0]", kind.type)
    assert "what is wrong" in found.message


# --- retries


class Front:
    """A door before the API: the first requests are refused in the API's own words, the others go through."""

    def __init__(self, stack: Stack, *refusals: OpenResponsesError) -> None:
        self._behind = int(stack.api_url.rpartition(":")[2])
        self._refusals = list(refusals)
        self.times: list[float] = []

    @asynccontextmanager
    async def client(self, **settings: Any) -> AsyncIterator[AsyncOpenAI]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", **settings) as client:
            yield client

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.times.append(time.monotonic())
        if self._refusals:
            written = error_response(self._refusals.pop(0))
            headers = "".join(f"{name}: {value}\r\n" for name, value in written.headers.items())
            status = f"HTTP/1.1 {written.status_code} Refused\r\nconnection: close\r\n{headers}\r\n"
            writer.write(status.encode() + bytes(written.body))
        else:
            behind, onward = await asyncio.open_connection("127.0.0.1", self._behind)
            onward.write(head.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
            there = asyncio.create_task(_pipe(reader, onward))
            await _pipe(behind, writer)
            there.cancel()
            onward.close()
        writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


@pytest.mark.parametrize("refusal", [RateLimited("Slowly.", retry_after=1), Unavailable("Soon.", retry_after=1)])
async def test_the_sdk_comes_back_when_it_was_told_to(
    stack: Stack, upstream: Upstream, refusal: OpenResponsesError
) -> None:
    made = upstream.says("retry", Script(words=2))
    front = Front(stack, refusal)
    async with front.client(max_retries=1) as client:
        response = await client.responses.create(model="fake", input="retry")
    assert response.output_text == made.text
    first, second = front.times
    assert 1.0 <= second - first < 4.0, "Retry-After is what the SDK goes by"


@pytest.mark.campaign
async def test_a_full_place_is_free_again_when_the_sdk_comes_back(stack: Stack, upstream: Upstream) -> None:
    """429 with Retry-After over a socket: one response at a time, two clients."""
    held = upstream.says("holds the place", Script(words=4, hold_after=1))
    upstream.says("waits for the place", Script(words=1))
    block = key_block("one-place", "one-place", "max_concurrent = 1")
    async with keyed_api(stack, block) as api:
        url = str(api.base_url).rstrip("/") + "/v1"
        async with AsyncOpenAI(base_url=url, api_key="one-place", max_retries=5) as client:
            first = asyncio.create_task(client.responses.create(model="fake", input="holds the place"))
            await asyncio.wait_for(held.held.wait(), 50)
            second = asyncio.create_task(client.responses.create(model="fake", input="waits for the place"))
            await asyncio.sleep(0.2)
            assert not second.done()
            held.released.set()
            assert (await first).status == (await second).status == "completed"


async def test_what_cannot_get_better_is_not_tried_again(stack: Stack) -> None:
    front = Front(stack)
    async with front.client(max_retries=2) as client:
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(model="fake", input="x", temperature=9)
    assert len(front.times) == 1


# --- models


async def test_models_are_listed_and_retrieved_by_names_with_slashes(sdk: AsyncOpenAI, stack: Stack) -> None:
    name = "vendor/model-with/slashes"

    async def is_listed() -> bool:
        return name in [model.id async for model in sdk.models.list()]

    await until(is_listed, 40)
    model = await sdk.models.retrieve(name)
    assert (model.id, model.object, model.created, model.owned_by) == (name, "model", 1754425777, "system")
    found, page = await with_sync(stack, lambda client: (client.models.retrieve(name), client.models.list()))
    assert found == model
    assert model in page.data
    with pytest.raises(openai.NotFoundError):
        await sdk.models.retrieve("of-nobody/at-all")


async def test_what_continues_something_needs_no_input(sdk: AsyncOpenAI, upstream: Upstream) -> None:
    script = upstream.says("said before", Script(words=3))
    conversation = await sdk.conversations.create(items=[{"type": "message", "role": "user", "content": "said before"}])
    answer = await sdk.responses.create(model="fake", conversation=conversation.id)
    assert answer.output_text == script.text
    items = await sdk.conversations.items.list(conversation.id)
    assert [item.type for item in items.data] == ["message", "message"]
    told = upstream.says("asked again", Script(words=2))
    again = await sdk.responses.create(model="fake", input="asked again")
    more = await sdk.responses.create(model="fake", previous_response_id=again.id, instructions="Go on.", input=[])
    assert more.status == "completed"
    assert told.attempts == 2
    assert (await sdk.responses.input_items.list(more.id)).data == []


async def test_tokens_are_counted_of_whatever_there_is(sdk: AsyncOpenAI, upstream: Upstream) -> None:
    upstream.says("count this", Script(words=3))
    response = await sdk.responses.create(model="fake", input="count this")
    nothing = (await sdk.responses.input_tokens.count()).input_tokens
    text = (await sdk.responses.input_tokens.count(input="count this")).input_tokens
    chain = (await sdk.responses.input_tokens.count(model="fake", previous_response_id=response.id)).input_tokens
    assert nothing == 0 < text < chain
