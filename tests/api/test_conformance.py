"""The server as an outside tester sees it: each scenario of the official compliance tests, and more, over a socket.

Every scenario runs as JSON and as a stream, against the scripted upstream and against the real local model; all that
comes back is judged by the specification's schema and by `tests/support/stream_judge.py`. Behind them, tests of those
clauses whose sentence says more than a scenario shows.

The official ones: openresponses/openresponses, `src/lib/compliance-tests.ts`; ours have its ids.
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from temporalio.client import Client

from open_responses.schema.requests import CreateResponse
from tests.support.conformance_scenarios import ECHOED, SCENARIOS, WEATHER, Json, Scenario, message, prepared
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.fake_vendors import Vendors
from tests.support.responses_http import create, is_error
from tests.support.scripts import HOSTED, outputs, script
from tests.support.spec import document, validate, validate_response
from tests.support.stack import Stack, another_api, collect, events_of, until
from tests.support.stream_judge import judge
from tests.support.vendor_scripts import Spoken


def asked(model: str, scenario: Scenario) -> Json:
    """The real model is small, its machine is busy: short answers, the same each time."""
    short = {"max_output_tokens": 24, "temperature": 0.0} if model == "smollm2" else {}
    return {"model": model, **short, **scenario.body}


def check(model: str, scenario: Scenario, response: Json) -> None:
    validate_response(response)
    may_run_out = model == "smollm2" and scenario.status == "completed"
    assert response["status"] == scenario.status or (may_run_out and response["status"] == "incomplete"), response
    assert response["model"] == model
    if response["status"] == "incomplete":
        states = [item["status"] for item in response["output"]]
        assert states == ["completed"] * (len(states) - 1) + ["incomplete"], "what ran out is last (ITEM-2)"
    kinds = {item["type"] for item in response["output"]}
    assert set(scenario.outputs) <= kinds, f"{scenario.outputs} expected, {kinds} found"
    assert scenario.contains in json.dumps(response["output"], ensure_ascii=False).replace("\\", "")
    assert response["usage"]["total_tokens"] == response["usage"]["input_tokens"] + response["usage"]["output_tokens"]
    assert response["usage"]["output_tokens"] > 0 or scenario.calls is not None


def cases() -> list[Any]:
    return [
        pytest.param(model, name, id=f"{model}-{name}", marks=pytest.mark.campaign if model == "smollm2" else ())
        for model in ("fake", "smollm2")
        for name, scenario in SCENARIOS.items()
        if model == "fake" or scenario.real
    ]


@pytest.mark.parametrize(("model", "name"), cases())
async def test_a_scenario_conforms_as_json_and_as_a_stream(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, model: str, name: str
) -> None:
    if model == "smollm2":
        await stack.start_local_model()
    scenario = SCENARIOS[name]
    body = asked(model, scenario)
    prepared(upstream, scenario)
    answer = await client.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    plain = answer.json()
    check(model, scenario, plain)
    prepared(upstream, scenario)
    events = await collect(client, body)
    rebuilt = judge(events)
    check(model, scenario, rebuilt)
    assert rebuilt["output"] == events[-1]["response"]["output"]
    assert shape(rebuilt) == shape(plain), "the same settings give the same resource"
    if model == "fake":
        assert [item["type"] for item in rebuilt["output"]] == list(scenario.outputs)
        sent = json.dumps(upstream.requests[-1], ensure_ascii=False)
        assert all(text in sent for text in scenario.seen), sent
    if body.get("store") is not False:
        stored = (await client.get(f"/v1/responses/{rebuilt['id']}")).json()
        assert stored == events[-1]["response"]
        assert judge([e async for e in events_of(client, resume=(rebuilt["id"], None))]) == rebuilt


def shape(response: Json) -> Json:
    """What does not change from run to run."""
    changing = ("id", "created_at", "completed_at", "output", "usage", "status", "incomplete_details")
    return {name: value for name, value in response.items() if name not in changing}


async def test_a_call_makes_the_round_trip_by_id_and_by_history(client: httpx.AsyncClient, upstream: Upstream) -> None:
    """Official: `function-call-roundtrip`."""
    prompt = "Use the weather tool for Lima."
    wanted = calls(("call_9", "get_weather", {"location": "Lima"}))
    script(upstream, prompt, wanted, Script(literal="It is 18 C."))
    choice = {"type": "function", "name": "get_weather"}
    first = await create(client, input=prompt, tools=[WEATHER], tool_choice=choice)
    (call,) = first["output"]
    assert (call["type"], call["name"], json.loads(call["arguments"])) == (
        "function_call",
        "get_weather",
        {"location": "Lima"},
    )
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "18 C"}
    second = await create(client, input=[result], previous_response_id=first["id"], tools=[WEATHER])
    third = await create(client, input=[message("user", prompt), call, result], tools=[WEATHER])
    for response in (second, third):
        assert response["output"][0]["content"][0]["text"] == "It is 18 C."
    told = [[m for m in request["messages"] if m["role"] != "system"] for request in list(upstream.requests)[-2:]]
    assert told[0] == told[1], "both ways give the model the same conversation"


async def test_a_code_word_is_remembered_by_previous_response_id(client: httpx.AsyncClient, upstream: Upstream) -> None:
    """Official: `previous-response-id`."""
    first = await create(client, input="Remember this code word: papaya. Reply with only OK.")
    second = await create(client, input="What code word did I ask you to remember?", previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    assert "papaya" in str(upstream.requests[-1]["messages"])


# --- errors (HTTP-1, ERR-1)


@pytest.mark.parametrize(
    ("request_", "status", "kind", "code"),
    [
        (("POST", "/v1/responses", b"not json"), 400, "invalid_request", "invalid_json"),
        (("POST", "/v1/responses", b""), 400, "invalid_request", "invalid_json"),
        (("POST", "/v1/responses", b"[]"), 400, "invalid_request", "invalid_json"),
        (("POST", "/v1/responses", b'{"model": "fake"}'), 400, "invalid_request", "missing_required_parameter"),
        (("POST", "/v1/responses", b'{"input": "x"}'), 400, "invalid_request", "missing_required_parameter"),
        (("POST", "/v1/responses", b'{"input": "x", "model": "no"}'), 404, "not_found", "model_not_found"),
        (("POST", "/v1/responses/compact", b"{}"), 400, "invalid_request", "missing_required_parameter"),
        (("POST", "/v1/responses/compact", b"nope"), 400, "invalid_request", "invalid_json"),
        (("POST", "/v1/responses/input_tokens", b"nope"), 400, "invalid_request", "invalid_json"),
        (("GET", "/v1/responses/resp_none", b""), 404, "not_found", "not_found"),
        (("GET", "/v1/models/none", b""), 404, "not_found", "model_not_found"),
        (("GET", "/nowhere", b""), 404, "not_found", "not_found"),
        (("PATCH", "/v1/responses", b""), 405, "invalid_request", "method_not_allowed"),
    ],
    ids=str,
)
async def test_an_error_has_its_status_type_and_body(
    client: httpx.AsyncClient, request_: tuple[str, str, bytes], status: int, kind: str, code: str
) -> None:
    method, path, content = request_
    answer = await client.request(method, path, content=content)
    is_error(answer, status, code)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]["type"] == kind
    assert answer.headers["x-request-id"]


async def test_headers_of_ordinary_clients_are_taken(client: httpx.AsyncClient) -> None:
    """HTTP-1: `Authorization` and `Content-Type` with parameters; an unknown Accept changes nothing."""
    for headers in (
        {"Authorization": "Bearer anything", "Content-Type": "application/json; charset=utf-8"},
        {"Content-Type": "application/json", "Accept": "text/event-stream"},
        {"Content-Type": "application/json", "OpenAI-Beta": "responses=v1", "OpenAI-Organization": "o"},
    ):
        content = json.dumps({"model": "fake", "input": "ordinary"})
        answer = await client.post("/v1/responses", content=content, headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


# --- clauses whose sentence says more than a scenario shows


@pytest.mark.parametrize(("sent", "echo"), ECHOED, ids=lambda value: str(value)[:50])
async def test_every_setting_is_echoed_with_its_effective_value(
    client: httpx.AsyncClient, sent: Json, echo: Json
) -> None:
    """REQ-7."""
    response = await create(client, input="echo", **sent)
    assert {name: response[name] for name in echo} == echo
    required = set(document()["components"]["schemas"]["ResponseResource"]["required"])
    assert required <= response.keys()


async def test_the_budget_of_tokens_holds_for_all_turns_together(client: httpx.AsyncClient, upstream: Upstream) -> None:
    """REQ-4, REQ-15: two turns of 8 and 20 words, of 20 tokens."""
    wanted = [{"id": "c", "name": "get_weather", "arguments": ['{"city":"Bern"}']}]
    script(upstream, "budget of two", Script(words=8, tool_calls=wanted), Script(words=12, finish="length"))
    events = await collect(client, {"input": "budget of two", "tools": HOSTED, "max_output_tokens": 20})
    response = judge(events)
    assert [request["max_tokens"] for request in list(upstream.requests)[-2:]] == [20, 12]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["usage"]["output_tokens"] == 20
    assert response["output"][-1]["status"] == "incomplete"


async def test_a_spent_budget_ends_the_loop_before_another_turn(client: httpx.AsyncClient, upstream: Upstream) -> None:
    """REQ-4."""
    wanted = [{"id": "c", "name": "get_weather", "arguments": ['{"city":"Bern"}']}]
    script(upstream, "spent at once", Script(words=16, tool_calls=wanted), Script(words=1))
    response = judge(await collect(client, {"input": "spent at once", "tools": HOSTED, "max_output_tokens": 16}))
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    assert response["usage"]["output_tokens"] == 16


async def test_usage_is_summed_over_every_turn(client: httpx.AsyncClient, upstream: Upstream) -> None:
    """REQ-15."""
    wanted = [{"id": "c", "name": "get_weather", "arguments": ['{"city":"Bern"}']}]
    turns = [Script(words=n, tool_calls=wanted if n < 3 else None) for n in (1, 2, 3)]
    script(upstream, "three turns", *turns)
    usage = judge(await collect(client, {"input": "three turns", "tools": HOSTED}))["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (30, 6, 36)


async def test_cached_and_reasoning_tokens_are_told(client: httpx.AsyncClient, vendors: Vendors) -> None:
    """REQ-15, over HTTP: the vendor's own counts."""
    vendors.says("count my thoughts", Spoken(words=3, thoughts=4))
    reasoning = {"effort": "low", "summary": "auto"}
    response = judge(
        await collect(client, {"model": "openai-fake", "input": "count my thoughts", "reasoning": reasoning})
    )
    details = response["usage"]["output_tokens_details"], response["usage"]["input_tokens_details"]
    assert all(isinstance(count, int) for detail in details for count in detail.values())


@pytest.mark.parametrize("tier", ["auto", "default", "flex", "priority"])
async def test_a_tier_is_the_priority_of_the_run(client: httpx.AsyncClient, stack: Stack, tier: str) -> None:
    """REQ-8."""
    response = await create(client, input="tier", service_tier=tier)
    temporal = await Client.connect(stack.temporal_address)
    described = await temporal.get_workflow_handle(response["id"]).describe()
    priority = described.raw_description.workflow_execution_info.priority
    assert priority.priority_key == {"priority": 1, "flex": 5}.get(tier, 3)
    assert priority.fairness_key == "default"


async def test_reasoning_and_phase_survive_the_round_trip_as_input(client: httpx.AsyncClient, vendors: Vendors) -> None:
    """ITEM-8, ITEM-9, REQ-12: a conversation that the client keeps itself."""
    script = vendors.says("think, then answer", Spoken(words=5, thoughts=3))
    asking = {
        "model": "openai-fake",
        "store": False,
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
    }
    first = judge(await collect(client, {**asking, "input": "think, then answer"}))
    reasoning, answer = first["output"]
    assert reasoning["encrypted_content"]
    assert "".join(part["text"] for part in reasoning["summary"]) == script.thought
    assert answer["phase"] == "final_answer"
    vendors.says("and again", Spoken(words=1))
    history = [message("user", "think, then answer"), reasoning, answer, message("user", "and again")]
    vendors.refusals.clear()
    second = await collect(client, {**asking, "input": history})
    assert second[-1]["response"]["status"] == "completed"
    assert not vendors.refusals, "the vendor takes its reasoning back"
    (body,) = vendors.asked("openai", "and again")
    sent = json.dumps(body["input"])
    assert vendors.seal_of("openai", script) in sent
    assert '"phase": "final_answer"' in sent
    items = (await client.post("/v1/responses", json={"model": "fake", "input": history})).json()
    listed = (await client.get(f"/v1/responses/{items['id']}/input_items?order=asc")).json()["data"]
    assert listed[1] == reasoning
    assert listed[2]["phase"] == "final_answer"


async def test_commentary_and_answer_are_two_messages_over_http(client: httpx.AsyncClient) -> None:
    """ITEM-9: `phase` in the input is taken, kept, and refused when it is none."""
    said = {**message("assistant", "Let me look."), "phase": "commentary"}
    response = await create(client, input=[message("user", "a"), said, message("user", "b")])
    listed = (await client.get(f"/v1/responses/{response['id']}/input_items?order=asc")).json()["data"]
    assert listed[1]["phase"] == "commentary"
    bad = {**said, "phase": "draft"}
    is_error(await client.post("/v1/responses", json={"model": "fake", "input": [bad]}), 400, "invalid_value")


@pytest.mark.campaign
async def test_logprobs_come_when_they_are_included(client: httpx.AsyncClient, stack: Stack) -> None:
    """REQ-12, from the real model."""
    await stack.start_local_model()
    body = {"model": "smollm2", "input": "Say yes.", "max_output_tokens": 16, "temperature": 0.0}
    include = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    with_them = judge(await collect(client, {**body, **include}))
    without = judge(await collect(client, body))
    (part,) = with_them["output"][0]["content"]
    assert "".join(entry["token"] for entry in part["logprobs"]) == part["text"]
    assert all(len(entry["top_logprobs"]) == 2 for entry in part["logprobs"])
    assert without["output"][0]["content"][0]["logprobs"] == []


async def test_the_specifications_metadata_bounds_are_taken_and_no_more(client: httpx.AsyncClient) -> None:
    """REQ-13."""
    whole = {f"{n:064d}": "v" * 512 for n in range(16)}
    assert (await create(client, input="bounds", metadata=whole))["metadata"] == whole
    for metadata in ({**whole, "x": "y"}, {"k" * 65: ""}, {"k": "v" * 513}, {"k": 1}):
        answer = await client.post("/v1/responses", json={"model": "fake", "input": "x", "metadata": metadata})
        assert answer.status_code == 400


async def test_obfuscation_is_as_asked_for_and_changes_nothing_else(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    """REQ-14, for a new stream and for one that is read again."""
    upstream.says("hide", Script(words=3))
    events = await collect(client, {"input": "hide", "stream_options": {"include_obfuscation": False}})
    assert not any("obfuscation" in event for event in events)
    response_id = events[0]["response"]["id"]
    for asked_for in ("true", "false"):
        params = {"stream": "true", "include_obfuscation": asked_for}
        lines = (await client.get(f"/v1/responses/{response_id}", params=params)).text.splitlines()
        again = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
        padded = [event.pop("obfuscation", None) is not None for event in again]
        assert any(padded) == (asked_for == "true")
        assert again == events


async def test_a_background_response_is_polled_streamed_and_cancelled(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    """REQ-10, ITEM-3."""
    held = upstream.says("in the background", Script(words=9, hold_after=2))
    queued = await create(client, input="in the background", background=True)
    assert (queued["status"], queued["output"], queued["usage"]) == ("queued", [], None)
    seen = ["queued"]

    async def moves() -> bool:
        now = (await client.get(f"/v1/responses/{queued['id']}")).json()
        validate_response(now)
        if now["status"] != seen[-1]:
            seen.append(now["status"])
        return bool(now["output"])

    await until(moves)
    cancelled = (await client.post(f"/v1/responses/{queued['id']}/cancel")).json()
    assert [*seen, cancelled["status"]] == ["queued", "in_progress", "cancelled"]
    held.released.set()
    stream = [event async for event in events_of(client, resume=(queued["id"], None))]
    assert judge(stream)["status"] == "cancelled"
    assert [event["type"] for event in stream[:3]] == [
        "response.created",
        "response.queued",
        "response.in_progress",
    ]


@pytest.mark.parametrize("tool", ["talks", "get_weather", "add"])
async def test_a_client_that_ignores_extensions_rebuilds_the_same_response(
    client: httpx.AsyncClient, upstream: Upstream, tool: str
) -> None:
    """EXT-1, EXT-2: hosted tools, progress, MCP and refused calls in one stream."""
    arguments = {"talks": {}, "get_weather": {"city": "Bern"}, "add": {"a": 2, "b": 3}}[tool]
    prompt = f"extensions of {tool}"
    script(
        upstream,
        prompt,
        calls(("a", tool, arguments), ("b", "no_such_tool", {})),
        Script(words=2),
    )
    tools = [*HOSTED, {"type": "mcp", "server_label": "calc", "require_approval": "never"}]
    events = await collect(client, {"input": prompt, "tools": tools})
    response = judge(events)
    assert response["output"] == events[-1]["response"]["output"]
    kinds = [item["type"] for item in response["output"]]
    assert "open_responses:refused_call" in kinds
    assert any(event["type"].startswith("open_responses:") for event in events) == (tool == "talks")
    assert all(isinstance(event["sequence_number"], int) for event in events)
    back = await create(
        client, input=[message("user", prompt), *response["output"], message("user", "go on")], tools=tools
    )
    assert back["status"] == "completed"
    if tool != "add":
        assert len(outputs(response)) == 1


async def test_compaction_gives_what_a_new_chain_starts_from(client: httpx.AsyncClient, upstream: Upstream) -> None:
    """REQ-16, WS-7."""
    history = [message("user", "My name is Bo."), message("assistant", "Hi Bo."), message("user", "Go on.")]
    answer = await client.post("/v1/responses/compact", json={"model": "fake", "input": history})
    compacted = answer.json()
    validate("CompactResource", compacted)
    assert compacted["object"] == "response.compaction"
    (item,) = [item for item in compacted["output"] if item["type"] == "compaction"]
    assert item["encrypted_content"]
    went_on = await create(client, input=[*compacted["output"], message("user", "What now?")])
    assert went_on["status"] == "completed"
    forged = {**item, "encrypted_content": item["encrypted_content"][:-8] + "AAAAAAA="}
    refused = await client.post("/v1/responses", json={"model": "fake", "input": [forged, message("user", "x")]})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"].startswith("input[0]")


async def test_an_unknown_previous_response_is_an_error_even_with_a_good_looking_id(client: httpx.AsyncClient) -> None:
    """REQ-1."""
    for previous in ("resp_" + "0" * 48, "resp_x", "", "x" * 5000):
        body = {"model": "fake", "input": "x", "previous_response_id": previous}
        answer = await client.post("/v1/responses", json=body)
        is_error(answer, 400, "previous_response_not_found", "previous_response_id")


async def test_nothing_of_an_unstored_response_is_there_afterwards(client: httpx.AsyncClient) -> None:
    """REQ-9."""
    response = await create(client, input="leave nothing", store=False)
    for method, path in (("GET", ""), ("GET", "/input_items"), ("POST", "/cancel"), ("DELETE", "")):
        is_error(await client.request(method, f"/v1/responses/{response['id']}{path}"), 404, "not_found")


@pytest.mark.campaign
async def test_a_second_server_gives_the_same_answer_for_an_id(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    """What was told by one process is told by another: nothing lives in the one that a client happened to reach."""
    upstream.says("two servers", Script(words=3))
    events = await collect(client, {"input": "two servers"})
    response_id = events[0]["response"]["id"]
    async with another_api(stack) as other:
        assert [event async for event in events_of(other, resume=(response_id, None))] == events
        assert (await other.get(f"/v1/responses/{response_id}")).json() == events[-1]["response"]


def test_every_field_of_the_specifications_request_is_known_here() -> None:
    """HTTP-3: what the specification's body has, ours has too, whatever it is then worth."""
    fields = set(document()["components"]["schemas"]["CreateResponseBody"]["properties"])
    ours = {*CreateResponse.model_fields, *CreateResponse.IGNORED, *CreateResponse.UNSUPPORTED}
    assert fields <= ours
