"""The surface of this slice, over a real socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, BadRequestError, NotFoundError

from open_responses.events.fold import Fold
from tests.support.bad_bodies import BAD_BODIES, body
from tests.support.fake_upstream import Script, Upstream
from tests.support.responses_http import create, is_error
from tests.support.spec import validate_response
from tests.support.stack import Stack, check_whole, collect, events_of, text_of, until


async def test_plain_json_is_the_fold_of_the_stream(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("fold", Script(words=5))
    response = await create(client, input="fold", metadata={"a": "b"}, temperature=0.5)
    assert response["output"][0]["content"][0]["text"] == script.text
    assert response["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 15,
    }
    assert (response["metadata"], response["temperature"], response["status"]) == ({"a": "b"}, 0.5, "completed")
    events = [event async for event in events_of(client, resume=(response["id"], None))]
    fold = Fold()
    for event in events:
        fold.apply(event)
    assert fold.output == response["output"]
    assert check_whole(events, script.text) == response


async def test_a_stream_opens_and_closes_in_the_specifications_order(client: httpx.AsyncClient) -> None:
    events = await collect(client, {"input": "hello"})
    kinds = [event["type"] for event in events if not event["type"].endswith("text.delta")]
    assert kinds == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]


async def test_function_calls_stream_interleaved_and_keep_the_models_ids(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    calls = [
        {"id": "call_1", "name": "get_time", "arguments": ['{"city":', '"Paris"}']},
        {"id": "call_2", "name": "get_time", "arguments": ['{"city":"Rome"}']},
    ]
    upstream.says("what time", Script(words=2, tool_calls=calls))
    tool = {"type": "function", "name": "get_time", "parameters": {"type": "object"}}
    events = await collect(client, {"input": "what time", "tools": [tool]})
    response = check_whole(events, "w0 w1 ")
    found = [(item["call_id"], item["arguments"]) for item in response["output"] if item["type"] == "function_call"]
    assert found == [("call_1", '{"city":"Paris"}'), ("call_2", '{"city":"Rome"}')]
    outputs = [{"type": "function_call_output", "call_id": call["id"], "output": "noon"} for call in calls]
    await create(client, previous_response_id=response["id"], input=outputs, tools=[tool])
    sent = upstream.requests[-1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == ["call_1", "call_2"]


async def test_a_chain_gives_the_model_the_whole_conversation(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("one", Script(words=1))
    upstream.says("two", Script(words=1))
    first = await create(client, input="one", instructions="be brief")
    second = await create(client, input="two", previous_response_id=first["id"])
    await create(client, input="three", previous_response_id=second["id"])
    sent = [(message["role"], message["content"]) for message in upstream.requests[-1]["messages"]]
    assert sent == [
        ("user", "one"),
        ("assistant", "w0 "),
        ("user", "two"),
        ("assistant", "w0 "),
        ("user", "three"),
    ]


async def test_background_returns_queued_at_once_and_can_be_polled(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("later", Script(words=5, hold_after=2))
    response = await create(client, input="later", background=True)
    assert (response["status"], response["background"]) == ("queued", True)
    url = f"/v1/responses/{response['id']}"

    async def has_status(status: str) -> bool:
        return bool((await client.get(url)).json()["status"] == status)

    await until(lambda: has_status("in_progress"))
    await asyncio.wait_for(script.held.wait(), 50)
    script.released.set()
    await until(lambda: has_status("completed"))
    events = [event async for event in events_of(client, resume=(response["id"], None))]
    assert [event["type"] for event in events[:3]] == ["response.created", "response.queued", "response.in_progress"]
    check_whole(events, script.text)


async def test_cancel_stops_a_silent_provider_and_closes_the_open_item(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("cancel me", Script(words=50, hold_after=5))
    response = await create(client, input="cancel me", background=True)
    following = asyncio.create_task(_follow(client, response["id"]))
    await asyncio.wait_for(script.held.wait(), 50)
    answer = await client.post(f"/v1/responses/{response['id']}/cancel")
    cancelled = answer.json()
    validate_response(cancelled)
    assert (answer.status_code, cancelled["status"]) == (200, "cancelled")
    assert [item["status"] for item in cancelled["output"]] == ["incomplete"]
    await asyncio.wait_for(script.gone.wait(), 50)
    events = await asyncio.wait_for(following, 50)
    assert check_whole(events, "w0 w1 w2 w3 w4 ", "cancelled") == cancelled
    again = await client.post(f"/v1/responses/{response['id']}/cancel")
    assert again.json() == cancelled


async def _follow(client: httpx.AsyncClient, response_id: str) -> list[dict[str, Any]]:
    return [event async for event in events_of(client, resume=(response_id, None))]


async def test_a_client_that_leaves_does_not_cancel_a_stored_response(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("leave", Script(words=10, hold_after=3))
    events = []
    async for event in events_of_until(client, {"input": "leave"}, "response.output_text.delta"):
        events.append(event)
    script.released.set()
    rest = [event async for event in events_of(client, resume=(events[0]["response"]["id"], len(events) - 1))]
    check_whole(events + rest, script.text)


async def test_a_client_that_leaves_cancels_what_is_not_stored(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("leave for good", Script(words=10, hold_after=3))
    async for _ in events_of_until(client, {"input": "leave for good", "store": False}, "response.output_text.delta"):
        pass
    await asyncio.wait_for(script.gone.wait(), 50)


async def events_of_until(client: httpx.AsyncClient, body: dict[str, Any], kind: str) -> Any:
    """Events up to the first of this kind; then the connection is closed."""
    async with client.stream("POST", "/v1/responses", json={"model": "fake", "stream": True, **body}) as response:
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                yield event
                if event["type"] == kind:
                    return


async def test_what_is_not_stored_cannot_be_fetched_or_continued(client: httpx.AsyncClient) -> None:
    response = await create(client, store=False)
    is_error(await client.get(f"/v1/responses/{response['id']}"), 404, "not_found")
    again = {"model": "fake", "input": "hi", "previous_response_id": response["id"]}
    is_error(await client.post("/v1/responses", json=again), 400, "previous_response_not_found")


async def test_a_deleted_response_is_gone_for_good(client: httpx.AsyncClient) -> None:
    response = await create(client)
    answer = await client.delete(f"/v1/responses/{response['id']}")
    assert answer.json() == {"id": response["id"], "object": "response", "deleted": True}
    is_error(await client.get(f"/v1/responses/{response['id']}"), 404, "not_found")
    is_error(await client.delete(f"/v1/responses/{response['id']}"), 404, "not_found")


async def test_input_items_are_listed_in_pages(client: httpx.AsyncClient) -> None:
    items = [{"role": "user", "content": f"m{i}"} for i in range(5)]
    response = await create(client, input=items)
    url = f"/v1/responses/{response['id']}/input_items"
    newest = (await client.get(url, params={"limit": 2})).json()
    assert [item["content"][0]["text"] for item in newest["data"]] == ["m4", "m3"]
    assert newest["has_more"] is True
    rest = (await client.get(url, params={"after": newest["last_id"]})).json()
    assert [item["content"][0]["text"] for item in rest["data"]] == ["m2", "m1", "m0"]
    assert rest["has_more"] is False
    oldest = (await client.get(url, params={"order": "asc", "before": rest["data"][1]["id"]})).json()
    assert [item["content"][0]["text"] for item in oldest["data"]] == ["m0"]
    for query in ({"order": "up"}, {"limit": "0"}, {"limit": "x"}):
        is_error(await client.get(url, params=query), 400, "invalid_value")


async def test_length_ends_in_incomplete(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("long", Script(words=20, finish="length"))
    response = await create(client, input="long", max_output_tokens=20)
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert upstream.requests[-1]["max_tokens"] == 20
    assert response["output"][-1]["status"] == "incomplete"


@pytest.mark.parametrize("after", ["99", "-1", "x", "1e3", "99999999999999999999"])
async def test_a_starting_after_that_is_none_is_refused(client: httpx.AsyncClient, after: str) -> None:
    response = await create(client)
    params = {"stream": "true", "starting_after": after}
    answer = await client.get(f"/v1/responses/{response['id']}", params=params)
    is_error(answer, 400, "invalid_request", "starting_after")


@pytest.mark.parametrize("response_id", ["resp_unknown", "x", "resp_" + "0" * 48, "%00", "resp_" + "a" * 5000])
async def test_an_id_that_is_none_is_not_found(client: httpx.AsyncClient, response_id: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("GET", "/input_items")):
        is_error(await client.request(method, f"/v1/responses/{response_id}{path}"), 404, "not_found")


@pytest.mark.parametrize("bad", BAD_BODIES, ids=lambda bad: str(bad)[:60])
async def test_bad_bodies_are_refused_over_http_before_anything_starts(client: httpx.AsyncClient, bad: Any) -> None:
    answer = await client.post("/v1/responses", content=json.dumps(body(**bad[0])))
    assert answer.status_code in (400, 413)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


async def test_refusals_have_the_specifications_shape(client: httpx.AsyncClient) -> None:
    async def post(body: Any) -> httpx.Response:
        return await client.post("/v1/responses", content=body if isinstance(body, bytes) else json.dumps(body))

    is_error(await post(b"{"), 400, "invalid_json")
    is_error(await post({"model": "nope-9", "input": "x"}), 404, "model_not_found", "model")
    is_error(await post({"model": "fake", "input": "x", "tempature": 1}), 400, "unknown_parameter", "tempature")
    is_error(await post({"model": "fake", "input": "x", "moderation": {}}), 400, "unsupported_parameter")
    unknown = {"model": "fake", "input": "x", "previous_response_id": "resp_" + "0" * 48}
    is_error(await post(unknown), 400, "previous_response_not_found", "previous_response_id")
    is_error(await post({"model": "fake", "input": "x" * 1_100_000}), 413, "request_too_large")
    is_error(await client.get("/v1/nothing"), 404, "not_found")
    assert (await client.put("/v1/responses")).status_code == 405


async def test_models_health_and_readiness(client: httpx.AsyncClient) -> None:
    models = (await client.get("/v1/models")).json()
    assert {"id": "fake", "object": "model", "created": 0, "owned_by": "fake"} in models["data"]
    assert (await client.get("/healthz")).status_code == 200
    assert (await client.get("/readyz")).json() == {"status": "ready"}


async def test_the_openai_sdk_streams_parses_and_raises(stack: Stack, upstream: Upstream) -> None:
    script = upstream.says("sdk", Script(words=5))
    async with AsyncOpenAI(base_url=stack.api_url + "/v1", api_key="none", max_retries=0) as openai:
        async with openai.responses.stream(model="fake", input="sdk") as stream:
            final = await stream.get_final_response()
        assert final.output_text == script.text
        found = await openai.responses.retrieve(final.id)
        assert found.output_text == script.text
        resumed = await openai.responses.retrieve(final.id, stream=True, starting_after=4)
        numbers = [event.sequence_number async for event in resumed]
        assert numbers[0] == 5
        with pytest.raises(NotFoundError):
            await openai.responses.create(model="nobody", input="x")
        with pytest.raises(BadRequestError):
            await openai.responses.create(model="fake", input="x", max_output_tokens=3)


async def test_silence_is_filled_with_comments(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script = upstream.says("quiet", Script(words=2, hold_after=1))
    body = {"model": "fake", "stream": True, "input": "quiet"}
    async with client.stream("POST", "/v1/responses", json=body) as response:
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["cache-control"] == "no-cache, no-transform"
        async for line in response.aiter_lines():
            if line.startswith(": "):
                script.released.set()
    assert script.released.is_set()


async def test_the_operator_reads_the_run_in_temporal(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    from temporalio.client import Client

    from open_responses.io.temporal.client import MODEL, STATUS, TENANT
    from open_responses.io.temporal.codec import DATA_CONVERTER

    response = await create(client)
    temporal = await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)
    handle = temporal.get_workflow_handle(response["id"])

    async def shown() -> bool:
        attributes = (await handle.describe()).typed_search_attributes
        return (attributes[MODEL], attributes[STATUS], attributes[TENANT]) == ("fake", "completed", "default")

    # The answer is announced a moment before the workflow closes.
    await until(shown)
    progress = await handle.query("progress")
    assert progress["output"] == response["output"]
    assert text_of([]) == ""
