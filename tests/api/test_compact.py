"""`POST /v1/responses/compact` (REQ-16, WS-7), `/v1/responses/input_tokens`, `/v1/models`."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from tests.support.fake_upstream import Fault, Script, Upstream
from tests.support.record_reads import record_reads
from tests.support.responses_http import is_error
from tests.support.spec import validate
from tests.support.stack import Stack, until


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": text}


def summaries(upstream: Upstream) -> Script:
    """What the model answers to the order to write a summary."""
    from open_responses.context.compaction import ORDER

    return upstream.says(ORDER, Script(literal="The user likes rivers. "))


async def test_a_conversation_is_compacted_and_a_new_chain_goes_on_from_it(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    summaries(upstream)
    upstream.says("what do I like?", Script(words=2))
    conversation = [user("I like rivers."), assistant("Noted."), user("And lakes?")]
    answer = await client.post("/v1/responses/compact", json={"model": "fake", "input": conversation})
    assert answer.status_code == 200, answer.text
    compacted = answer.json()
    validate("CompactResource", compacted)
    assert [item["type"] for item in compacted["output"]] == ["message", "compaction"]
    assert compacted["output"][0]["content"][0]["text"] == "And lakes?"
    assert "rivers" not in str(compacted["output"][1]), "the summary is sealed"
    body = {"model": "fake", "input": [*compacted["output"], user("what do I like?")]}
    assert (await client.post("/v1/responses", json=body)).status_code == 200
    sent = str(upstream.requests[-1]["messages"])
    assert "The user likes rivers." in sent
    assert "I like rivers." not in sent


async def test_what_a_request_continues_is_read_once_to_count_it_and_to_compact_it(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """The worker reads the chain as well, for the model."""
    summaries(upstream)
    upstream.says("read once", Script(words=3))
    asked: dict[str, Any] = {"model": "fake", "input": "read once"}
    first = (await client.post("/v1/responses", json=asked)).json()
    second = (await client.post("/v1/responses", json={**asked, "previous_response_id": first["id"]})).json()
    body = {"model": "fake", "previous_response_id": second["id"]}
    async with record_reads(stack.redis_url, second["id"]) as counting:
        assert (await client.post("/v1/responses/input_tokens", json=body)).status_code == 200
    assert len(counting) == 1
    async with record_reads(stack.redis_url, second["id"]) as compacting:
        answer = await client.post("/v1/responses/compact", json=body)
    assert answer.json()["output"][0]["content"][0]["text"] == "read once"
    assert len([read for read in compacting if " deleted " not in read]) == 1


async def test_a_stored_chain_is_compacted_by_its_last_id(client: httpx.AsyncClient, upstream: Upstream) -> None:
    summaries(upstream)
    upstream.says("of a chain", Script(words=3))
    first = (await client.post("/v1/responses", json={"model": "fake", "input": "of a chain"})).json()
    body = {"model": "fake", "previous_response_id": first["id"]}
    compacted = (await client.post("/v1/responses/compact", json=body)).json()
    validate("CompactResource", compacted)
    assert "w0 w1 w2" in str(upstream.requests[-1]["messages"])
    assert compacted["output"][0]["content"][0]["text"] == "of a chain"


@pytest.mark.campaign
async def test_a_compaction_outlives_the_worker_that_makes_it(
    client: httpx.AsyncClient, upstream: Upstream, stack: Stack
) -> None:
    script = summaries(upstream)
    script.__dict__.update(hold_after=1)
    asking = asyncio.create_task(
        client.post("/v1/responses/compact", json={"model": "fake", "input": [user("a"), assistant("b"), user("c")]})
    )
    await asyncio.wait_for(script.held.wait(), 50)
    await stack.kill(await stack.busy_worker())
    script.released.set()
    answer = await asking
    assert [item["type"] for item in answer.json()["output"]] == ["message", "compaction"]
    summaries(upstream)


async def test_a_provider_that_refuses_is_a_plain_error(client: httpx.AsyncClient, upstream: Upstream) -> None:
    # Words of its own: the fake remembers what it answered to another test's.
    summaries(upstream).faults.append(Fault(status=400))
    answer = await client.post("/v1/responses/compact", json={"model": "fake", "input": "refuse to summarize this"})
    is_error(answer, 500, "provider_rejected_request")
    summaries(upstream)


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"input": "x"}, 400, "missing_required_parameter", "model"),
        ({"model": "fake"}, 400, "missing_required_parameter", "input"),
        ({"model": "fake", "input": []}, 400, "invalid_value", "input"),
        ({"model": "nope", "input": "x"}, 404, "model_not_found", "model"),
        ({"model": "fake", "input": "x", "stream": True}, 400, "unknown_parameter", "stream"),
        (
            {"model": "fake", "previous_response_id": "resp_" + "0" * 48},
            400,
            "previous_response_not_found",
            "previous_response_id",
        ),
    ],
)
async def test_what_cannot_be_compacted_is_refused(
    client: httpx.AsyncClient, body: dict[str, Any], status: int, code: str, param: str
) -> None:
    is_error(await client.post("/v1/responses/compact", json=body), status, code, param)


async def test_the_openai_sdk_compacts_and_counts(stack: Stack, upstream: Upstream) -> None:
    summaries(upstream)
    async with AsyncOpenAI(base_url=stack.api_url + "/v1", api_key="none", max_retries=0) as openai:
        compacted = await openai.responses.compact(model="fake", input="a long story")
        assert compacted.output[-1].type == "compaction"
        counted = await openai.responses.input_tokens.count(model="fake", input="one two three four")
        assert 4 <= counted.input_tokens <= 20
        assert (await openai.models.retrieve("fake")).owned_by == "fake"


# --- how long is it?


async def test_input_tokens_count_the_chain_the_instructions_and_the_tools(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    async def count(**body: Any) -> int:
        answer = await client.post("/v1/responses/input_tokens", json={"model": "fake", "input": "hello", **body})
        assert answer.status_code == 200, answer.text
        assert answer.json()["object"] == "response.input_tokens"
        return int(answer.json()["input_tokens"])

    alone = await count()
    upstream.says("counted", Script(words=30))
    first = (await client.post("/v1/responses", json={"model": "fake", "input": "counted"})).json()
    assert await count(previous_response_id=first["id"]) > alone + 30
    assert await count(instructions="be brief and kind") > alone
    tool = {"type": "function", "name": "f", "description": "does", "parameters": {"type": "object", "properties": {}}}
    assert await count(tools=[tool]) > alone + 5
    is_error(
        await client.post("/v1/responses/input_tokens", json={"model": "fake", "inputs": "x"}), 400, "unknown_parameter"
    )


async def test_a_model_is_found_by_name_or_pattern(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/models/fake")).json() == {
        "id": "fake",
        "object": "model",
        "created": 0,
        "owned_by": "fake",
    }
    assert (await client.get("/v1/models/claude-sonnet-4-5")).json()["owned_by"] == "anthropic"
    is_error(await client.get("/v1/models/nope"), 404, "model_not_found", "model")


async def test_nothing_of_a_compaction_is_kept(client: httpx.AsyncClient, upstream: Upstream) -> None:
    summaries(upstream)
    compacted = (await client.post("/v1/responses/compact", json={"model": "fake", "input": "secret"})).json()

    async def gone() -> bool:
        return (await client.get(f"/v1/responses/{compacted['id']}")).status_code == 404

    await until(gone)
