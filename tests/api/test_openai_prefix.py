"""`/openai/v1` is `/v1` in OpenAI's forms: over HTTP, over a WebSocket, replayed, and read by the `openai` SDK."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from openai.types.responses import Response
from websockets.asyncio.client import connect

from api.openai_forms import PREFIX, RENAMED_EVENTS
from api.openapi.document import document
from tests.support.conformance_scenarios import SCENARIOS, prepared
from tests.support.event_models import openais_event_models
from tests.support.fake_upstream import Fault, Script, Upstream
from tests.support.fake_vendors import Vendors
from tests.support.openapi_document import problem
from tests.support.stack import Stack
from tests.support.stream_judge import judge
from tests.support.vendor_scripts import Spoken

Json = dict[str, Any]
EVENT_MODELS = openais_event_models()
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


async def streamed(client: httpx.AsyncClient, path: str, body: Json | None = None) -> tuple[list[Json], str]:
    """The events, and the last line that is not empty."""
    method = "GET" if body is None else "POST"
    answer = await client.request(method, path, json=None if body is None else {"stream": True, **body})
    assert answer.status_code == 200, answer.text
    lines = [line for line in answer.text.splitlines() if line]
    datas = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    assert [line[7:] for line in lines if line.startswith("event: ")] == [event["type"] for event in datas]
    return datas, lines[-1]


def in_openais_forms(event: Json) -> Json:
    return {**event, "type": RENAMED_EVENTS.get(event["type"], event["type"])}


def openai_reads(events: list[Json]) -> None:
    """Each event is what the SDK's own model of it says; `create` itself checks nothing."""
    for event in events:
        # OpenAI's API sends it, and the SDK for Python has no model of it.
        if event != {"type": "keepalive", "sequence_number": event["sequence_number"]}:
            EVENT_MODELS[event["type"]].model_validate(event)


async def test_reasoning_has_openais_names_over_http_and_when_it_is_read_again(
    client: httpx.AsyncClient, vendors: Vendors
) -> None:
    vendors.says("thinks aloud", Spoken(words=3, thoughts=4))
    body = {"model": "ollama-fake", "input": "thinks aloud", "reasoning": {"effort": "low"}}
    events, last = await streamed(client, f"{PREFIX}/v1/responses", body)
    assert last.startswith("data: {"), "OpenAI sends no [DONE]"
    kinds = [event["type"] for event in events]
    assert "response.reasoning_text.delta" in kinds
    assert kinds.count("response.reasoning_text.done") == 1
    openai_reads(events)
    thought = "".join(event["delta"] for event in events if event["type"] == "response.reasoning_text.delta")
    assert thought == events[-1]["response"]["output"][0]["content"][0]["text"] == "t0 t1 t2 t3 "
    path = f"/v1/responses/{events[0]['response']['id']}?stream=true"
    again, _ = await streamed(client, PREFIX + path)
    assert again == events
    rest, _ = await streamed(client, f"{PREFIX}{path}&starting_after=4")
    assert rest == events[5:]
    specified, done = await streamed(client, path)
    assert done == "data: [DONE]"
    assert [in_openais_forms(event) for event in specified[:-1]] == events[:-1]
    assert specified[-1]["response"]["output"] == events[-1]["response"]["output"]
    assert {event["type"] for event in specified}.isdisjoint(RENAMED_EVENTS.values())


async def test_reasoning_has_openais_names_over_a_websocket(stack: Stack, vendors: Vendors) -> None:
    vendors.says("thinks over a socket", Spoken(words=2, thoughts=2))
    url = f"ws{stack.api_url.removeprefix('http')}{PREFIX}/v1/responses"
    events: list[Json] = []
    async with connect(url) as socket:
        # OpenAI's clients send `stream`, which the specification's must not.
        body = {"model": "ollama-fake", "input": "thinks over a socket", "reasoning": {"effort": "low"}}
        await socket.send(json.dumps({"type": "response.create", "stream": True, **body}))
        while not events or events[-1]["type"] != "response.completed":
            events.append(json.loads(await socket.recv()))
    openai_reads(events)
    assert "response.reasoning_text.delta" in {event["type"] for event in events}


async def test_the_stream_helper_of_the_sdk_hands_out_the_reasoning(stack: Stack, vendors: Vendors) -> None:
    vendors.says("thinks for the sdk", Spoken(words=2, thoughts=3))
    deltas: dict[str, list[str]] = {}
    async with AsyncOpenAI(base_url=f"{stack.api_url}{PREFIX}/v1", api_key="none", max_retries=0) as sdk:
        thinking: Any = {"model": "ollama-fake", "reasoning": {"effort": "low"}}
        async with sdk.responses.stream(input="thinks for the sdk", **thinking) as stream:
            async for event in stream:
                if event.type in ("response.reasoning_text.delta", "response.output_text.delta"):
                    deltas.setdefault(event.type, []).append(event.delta)
            final = await stream.get_final_response()
        assert "".join(deltas["response.reasoning_text.delta"]) == "t0 t1 t2 "
        assert "".join(deltas["response.output_text.delta"]) == final.output_text
        assert (await sdk.responses.retrieve(final.id)).output_text == final.output_text
        pages = [item.type async for item in await sdk.responses.input_items.list(final.id)]
        assert pages == ["message"]
        assert {model.object async for model in sdk.models.list()} == {"model"}


async def test_a_failure_is_openais_error_event_and_the_specifications(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("fails for openai", Script(faults=[Fault(drop=True, after=1), Fault(status=400)]))
    events, _ = await streamed(client, f"{PREFIX}/v1/responses", {"model": "fake", "input": "fails for openai"})
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert "keepalive" in {event["type"] for event in events}, "in place of an attempt"
    error = events[-2]
    assert {name: error[name] for name in ("code", "message", "param")} == {
        name: error["error"][name] for name in ("code", "message", "param")
    }
    assert error["code"] == "provider_rejected_request"
    assert (found := problem({"$ref": "/OpenAIStreamEvent"}, error)) is None, found
    # The codes of failures are more than the SDK lists, of OpenAI's API as well.
    events[-1]["response"]["error"]["code"] = "server_error"
    openai_reads(events)


@pytest.mark.parametrize("background", [False, True])
async def test_a_response_echoes_its_schema_and_effort(
    client: httpx.AsyncClient, vendors: Vendors, background: bool
) -> None:
    vendors.says("echoes for openai", Spoken(literal='{"city":"Rome"}'))
    text = {"format": {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}}
    body = {"model": "openai-fake", "input": "echoes for openai", "text": text, "reasoning": {"effort": "minimal"}}
    made = (await client.post(f"{PREFIX}/v1/responses", json={**body, "background": background})).json()
    path = f"/v1/responses/{made['id']}"
    read = [made, (await client.post(f"{PREFIX}{path}/cancel")).json(), (await client.get(PREFIX + path)).json()]
    for response in read:
        assert response["text"]["format"]["schema"] == SCHEMA
        assert response["reasoning"]["effort"] == "minimal"
        Response.model_validate(response)
    assert (await client.get(path)).json()["text"]["format"]["schema"] is None
    events, _ = await streamed(client, f"{PREFIX}{path}?stream=true")
    openai_reads(events)
    assert events[0]["response"]["text"]["format"]["schema"] == SCHEMA


@pytest.mark.campaign
@pytest.mark.parametrize("name", SCENARIOS)
async def test_a_scenario_of_the_conformance_tests_is_the_same_to_a_client_of_openais(
    client: httpx.AsyncClient, upstream: Upstream, name: str
) -> None:
    scenario = SCENARIOS[name]
    prepared(upstream, scenario)
    events, _ = await streamed(client, f"{PREFIX}/v1/responses", {"model": "fake", **scenario.body})
    openai_reads(events)
    response = judge(events)
    assert response["status"] == scenario.status
    assert [item["type"] for item in response["output"]] == list(scenario.outputs)
    assert scenario.contains in json.dumps(response["output"], ensure_ascii=False).replace("\\", "")


async def test_all_endpoints_of_v1_are_there_and_no_others(client: httpx.AsyncClient) -> None:
    for path, operations in document()["paths"].items():
        under = {server["url"] for server in operations.get("servers", ())}
        assert under == ({"/", PREFIX} if path.startswith("/v1/") else set()), path
        method = next(verb for verb in ("post", "get", "delete") if verb in operations or path.endswith("z"))
        answers = [
            await client.request(method, prefix + path.replace("{", "").replace("}", ""), json=None)
            for prefix in ("", PREFIX)
        ]
        if under:
            assert answers[0].status_code == answers[1].status_code, path
        else:
            assert answers[1].status_code == 404, path
    assert (await client.get(f"{PREFIX}/v1")).status_code == 404
    assert (await client.get(f"{PREFIX}{PREFIX}/v1/models")).status_code == 404
