"""`text.format`: what does not fit is asked for once more, and then fails (REQ-11)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from open_responses.io.schema_checks.process import schema_problem, text_problem
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.responses_http import is_error
from tests.support.stack import Stack, check_whole, collect, events_of

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "people": {"type": "integer"}},
    "required": ["city", "people"],
    "additionalProperties": False,
}
FORMAT = {"format": {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}}
GOOD = '{"city":"Rome","people":2800000}'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (GOOD, None),
        ("", "not JSON"),
        ("Rome", "not JSON"),
        ('{"city":"Rome"}', "people"),
        ('{"city":1,"people":2}', "$.city"),
        ('{"city":"Rome","people":2,"x":1}', "x"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_a_text_fits_its_schema_or_is_told_why_not(text: str, problem: str | None) -> None:
    found = text_problem(SCHEMA, text)
    assert (found is None) == (problem is None)
    assert problem is None or problem in str(found)


def test_a_pattern_of_the_request_cannot_keep_a_worker_busy() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(?=a)(a+)+$"}}}
    assert text_problem(schema, '{"a":"' + "a" * 40 + '!"}') is not None


def test_nothing_is_fetched_for_a_schema() -> None:
    assert "disabled" in str(schema_problem({"$ref": "http://127.0.0.1:1/schema.json"}))


async def test_an_answer_that_does_not_fit_is_asked_for_once_more(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("a city, second try", Script(literal='{"city":"Rome"}'))
    script.turns.append(Script(literal=GOOD))
    events = await collect(client, {"model": "fake", "input": "a city, second try", "text": FORMAT})
    response = events[-1]["response"]
    assert response["status"] == "completed"
    assert [(item["status"], item["content"][0]["text"]) for item in response["output"]] == [
        ("incomplete", '{"city":"Rome"}'),
        ("completed", GOOD),
    ]
    assert response["usage"]["output_tokens"] == 2, "both answers are paid for"
    assert "people" in upstream.requests[-1]["messages"][-1]["content"], "the model is told what is wrong"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("kind", ["json_schema", "json_object"])
async def test_an_answer_in_a_code_fence_is_asked_for_once(
    client: httpx.AsyncClient, upstream: Upstream, stream: bool, kind: str
) -> None:
    prompt = f"a fenced city, {kind}, {stream}"
    script = upstream.says(prompt, Script(literal=f"```json\n{GOOD}\n```"))
    wanted = FORMAT if kind == "json_schema" else {"format": {"type": kind}}
    body = {"model": "fake", "input": prompt, "text": wanted}
    if stream:
        response = check_whole(await collect(client, body), GOOD)
    else:
        response = (await client.post("/v1/responses", json=body)).json()
    assert [(item["status"], item["content"][0]["text"]) for item in response["output"]] == [("completed", GOOD)]
    assert script.attempts == 1


async def test_who_does_not_watch_is_told_of_the_answer_that_fits_alone(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    """The texts of all messages of a response are one text to the SDKs."""
    script = upstream.says("a city, unwatched", Script(literal='{"city":"Rome"}'))
    script.turns.append(Script(literal=GOOD))
    body = {"model": "fake", "input": "a city, unwatched", "text": FORMAT}
    response = (await client.post("/v1/responses", json=body)).json()
    assert [(item["status"], item["content"][0]["text"]) for item in response["output"]] == [("completed", GOOD)]
    assert response["usage"]["output_tokens"] == 2, "both answers are paid for"
    replayed = [event async for event in events_of(client, resume=(response["id"], None))]
    check_whole(replayed, GOOD)
    assert [event["action"] for event in replayed if event["type"] == "open_responses:attempt"] == ["restarted"]


async def test_a_call_behind_a_text_is_told_with_it(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("a city by a tool", replace(calls(("c", "look_up", {"city": "Rome"})), words=2))
    tool = {"type": "function", "name": "look_up"}
    body = {"model": "fake", "input": "a city by a tool", "text": FORMAT, "tools": [tool]}
    response = (await client.post("/v1/responses", json=body)).json()
    assert [item["type"] for item in response["output"]] == ["message", "function_call"]
    assert response["output"][0]["content"][0]["text"] == "w0 w1 "


async def test_an_answer_that_does_not_fit_twice_fails_with_a_code(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script = upstream.says("a city, never", Script(literal="Rome"))
    script.turns.append(Script(literal="Rome!"))
    events = await collect(client, {"model": "fake", "input": "a city, never", "text": FORMAT})
    assert [e["type"] for e in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"]["code"] == "invalid_output"
    assert script.attempts + script.turns[0].attempts == 2


async def test_json_mode_takes_any_object_and_nothing_else(client: httpx.AsyncClient, upstream: Upstream) -> None:
    text = {"format": {"type": "json_object"}}
    upstream.says("any object", Script(literal='{"a":[1]}'))
    answer = await client.post("/v1/responses", json={"model": "fake", "input": "any object", "text": text})
    assert answer.json()["status"] == "completed"
    script = upstream.says("a list", Script(literal="[1]"))
    script.turns.append(Script(literal="[2]"))
    answer = await client.post("/v1/responses", json={"model": "fake", "input": "a list", "text": text})
    assert answer.json()["error"]["code"] == "invalid_output"


async def test_a_truncated_answer_is_incomplete_and_not_judged(client: httpx.AsyncClient, upstream: Upstream) -> None:
    upstream.says("cut json", Script(literal='{"city":', finish="length"))
    answer = await client.post("/v1/responses", json={"model": "fake", "input": "cut json", "text": FORMAT})
    assert (answer.json()["status"], answer.json()["incomplete_details"]) == (
        "incomplete",
        {"reason": "max_output_tokens"},
    )


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"text": {"format": {**FORMAT["format"], "schema": {"type": "objekt"}}}}, "text.format.schema"),
        ({"text": {"format": {**FORMAT["format"], "schema": {"$ref": "#/$defs/no"}}}}, "text.format.schema"),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": {"properties": {"a": {"type": 1}}}}]},
            "tools[0].parameters",
        ),
    ],
)
async def test_a_schema_that_is_none_is_refused_before_anything_starts(
    client: httpx.AsyncClient, changes: dict[str, Any], param: str
) -> None:
    answer = await client.post("/v1/responses", json={"model": "fake", "input": "x", **changes})
    is_error(answer, 400, "invalid_value", param)


async def test_the_openai_sdk_parses(stack: Stack, upstream: Upstream) -> None:
    from openai import AsyncOpenAI

    class City(BaseModel):
        city: str
        people: int

    upstream.says("parse a city", Script(literal='{"city":"Rome"}', turns=[Script(literal=GOOD)]))
    async with AsyncOpenAI(base_url=stack.api_url + "/v1", api_key="none", max_retries=0) as openai:
        parsed = await openai.responses.parse(model="fake", input="parse a city", text_format=City)
    assert parsed.output_parsed == City(city="Rome", people=2800000)
