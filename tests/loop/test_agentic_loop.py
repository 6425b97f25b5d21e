"""The agentic loop: the server samples, runs tools, and samples again, until the answer stands."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from open_responses.context.transcript import NOT_RUN
from open_responses.ids import new_id
from open_responses.io.temporal.codec import DATA_CONVERTER
from open_responses.loop.next_step import Step
from open_responses.loop.payloads.finish import FinishInput, FinishResult
from open_responses.loop.payloads.sample import SampleInput, SampleResult
from open_responses.loop.payloads.start import StartResponse
from open_responses.schema.requests import CreateResponse
from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import HOSTED, outputs, run, script, types
from tests.support.stack import Event, Stack, another_api, check_whole, collect, until
from workflows.response import ResponseWorkflow


async def test_a_hosted_tool_runs_inside_the_loop_and_leaves_its_receipt(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    answer = Script(words=5)
    script(upstream, "weather", calls(("call_1", "get_weather", {"city": "Paris"})), answer)
    events: list[Event] = await collect(
        client, {"input": "weather", "tools": [{"type": "function", "name": "get_weather"}]}
    )
    response = check_whole(events, answer.text)
    assert types(response) == ["function_call", "function_call_output", "message"]
    call, output, _ = response["output"]
    assert call["call_id"] == output["call_id"] == "call_1"
    assert json.loads(output["output"]) == {"city": "Paris", "weather": "12 C", "tenant": "default"}
    assert output["status"] == "completed"
    told = upstream.requests[-1]
    assert told["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": output["output"]}
    (function,) = told["tools"]
    assert function["function"]["description"] == "The weather of a city."
    assert function["function"]["parameters"]["properties"]["city"]["description"] == "Its name in English."
    assert response["usage"]["input_tokens"] == 20


async def test_parallel_calls_run_side_by_side_and_keep_the_models_order(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    wanted = [(f"c{i}", "slow", {"seconds": 1.0 - i * 0.2}) for i in range(5)]
    script(upstream, "side by side", calls(*wanted), Script(words=3))
    began = asyncio.get_running_loop().time()
    response = await run(client, "side by side")
    assert asyncio.get_running_loop().time() - began < 2.5
    assert outputs(response) == ["slept 1", "slept 0.8", "slept 0.6", "slept 0.4", "slept 0.2"]


async def test_what_a_tool_does_wrong_is_told_to_the_model(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(
        upstream,
        "wrong",
        calls(
            ("a", "fails", {}),
            ("b", "get_weather", {"town": "Paris"}),
            ("c", "get_weather", "{not json"),
            ("d", "get_weather", "[1]"),
            ("e", "gone", {}),
            ("f", "flaky", ""),
            ("g", "times_out", {}),
        ),
        Script(words=2),
    )
    response = await run(client, "wrong")
    assert response["status"] == "completed"
    said = outputs(response)
    assert said[0] == "the moon is in the way"
    assert "city: Field required" in said[1]
    assert "not valid JSON" in said[2]
    assert "must be a JSON object" in said[3]
    assert said[4] == "worked at attempt 3"
    assert "did not answer in time" in said[5]
    assert "must not be repeated without checking" in said[5]
    (refused,) = [item for item in response["output"] if item["type"] == "open_responses:refused_call"]
    assert refused["name"] == "gone"
    assert "There is no tool named 'gone'" in refused["reason"]
    told = {m["tool_call_id"]: m["content"] for m in upstream.requests[-1]["messages"] if m["role"] == "tool"}
    assert set(told) == {"a", "b", "c", "d", "e", "f", "g"}


async def test_the_same_call_id_on_each_turn_is_told_apart(client: httpx.AsyncClient, upstream: Upstream) -> None:
    turns = [calls(("call_0", "get_weather", {"city": f"c{i}"})) for i in range(3)]
    script(upstream, "same ids", *turns, Script(words=2))
    response = await run(client, "same ids")
    ids = [item["call_id"] for item in response["output"] if item["type"] == "function_call"]
    assert len(set(ids)) == 3
    assert [json.loads(output)["city"] for output in outputs(response)] == ["c0", "c1", "c2"]


async def test_a_clients_call_ends_the_response_once_the_servers_calls_have_run(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    mine = {"type": "function", "name": "mine", "parameters": {"type": "object", "properties": {}}}
    script(upstream, "mixed", calls(("a", "mine", {}), ("b", "get_weather", {"city": "Rome"})), Script(words=4))
    first = await run(client, "mixed", tools=[mine, *HOSTED])
    assert first["status"] == "completed"
    assert types(first) == ["function_call", "function_call", "function_call_output"]
    body = {"model": "fake", "previous_response_id": first["id"], "tools": [mine, *HOSTED]}
    missing = await client.post("/v1/responses", json={**body, "input": "go on"})
    assert missing.status_code == 400
    assert missing.json()["error"]["code"] == "missing_tool_output"
    output = {"type": "function_call_output", "call_id": "a", "output": "42"}
    doubled = await client.post("/v1/responses", json={**body, "input": [output, output]})
    assert doubled.json()["error"]["code"] == "duplicate_tool_output"
    stray = {**output, "call_id": "zzz"}
    unknown = await client.post("/v1/responses", json={**body, "input": [stray]})
    assert unknown.json()["error"]["code"] == "unknown_tool_call"
    done = await client.post("/v1/responses", json={**body, "input": [output]})
    assert done.json()["output"][0]["content"][0]["text"] == Script(words=4).text
    told = [m["content"] for m in upstream.requests[-1]["messages"] if m["role"] == "tool"]
    assert sorted(told) == sorted(["42", outputs(first)[0]])


async def test_tools_outside_allowed_tools_are_never_run_and_never_surface_as_calls(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_weather"}]}
    script(upstream, "allowed", calls(("a", "once", {"text": "forbidden"})), Script(words=2))
    response = await run(client, "allowed", tool_choice=choice)
    assert types(response) == ["open_responses:refused_call", "message"]
    assert len(upstream.requests[-1]["tools"]) > 3


async def test_a_forced_choice_holds_for_the_first_call_only(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(upstream, "forced", calls(("a", "get_weather", {"city": "Oslo"})), Script(words=2))
    choice = {"type": "function", "name": "get_weather"}
    response = await run(client, "forced", tool_choice=choice)
    assert types(response) == ["function_call", "function_call_output", "message"]
    first, second = [r for r in upstream.requests if r["messages"][0]["content"] == "forced"]
    assert first["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    assert second["tool_choice"] == "auto"


async def test_max_tool_calls_bounds_the_whole_response(client: httpx.AsyncClient, upstream: Upstream) -> None:
    wanted = [(f"c{i}", "get_weather", {"city": str(i)}) for i in range(3)]
    script(upstream, "bounded", calls(*wanted), Script(words=2))
    response = await run(client, "bounded", max_tool_calls=2)
    assert response["status"] == "completed"
    said = outputs(response)
    assert [json.loads(text)["city"] for text in said[:2]] == ["0", "1"]
    assert "Not run" in said[2]


async def test_one_call_a_turn_where_parallel_calls_are_off(client: httpx.AsyncClient, upstream: Upstream) -> None:
    wanted = [(f"c{i}", "get_weather", {"city": str(i)}) for i in range(3)]
    script(upstream, "one at a time", calls(*wanted), Script(words=2))
    response = await run(client, "one at a time", parallel_tool_calls=False)
    assert len(outputs(response)) == 1


@pytest.mark.campaign
async def test_a_loop_without_end_stops_at_max_turns(client: httpx.AsyncClient, upstream: Upstream) -> None:
    script(upstream, "forever", calls(("c", "get_weather", {"city": "x"})))
    response = await run(client, "forever", max_output_tokens=None)
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": "max_turns"}
    assert len(outputs(response)) == 100


async def test_cancelling_during_a_tool_closes_its_item(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script(upstream, "cancel the tool", calls(("c", "slow", {"seconds": 30})), Script(words=2))
    body = {"model": "fake", "input": "cancel the tool", "tools": HOSTED, "background": True}
    started = (await client.post("/v1/responses", json=body)).json()
    notes = stack.data / "hosted" / f"{started['id']}.slow"
    while not notes.exists():
        await asyncio.sleep(0.02)
    cancelled = (await client.post(f"/v1/responses/{started['id']}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    assert cancelled["output"][1]["status"] == "incomplete"
    assert "done" not in notes.read_text()


async def test_a_tools_progress_reaches_the_client_and_the_operator(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    answer = Script(words=2)
    script(upstream, "progress", calls(("c", "talks", {})), answer)
    events = await collect(client, {"input": "progress", "tools": HOSTED})
    response = check_whole(events, answer.text)
    said = [event for event in events if event["type"] == "open_responses:tool_progress"]
    assert [event["message"] for event in said] == ["step 0", "step 1", "step 2"]
    assert {event["item_id"] for event in said} == {response["output"][1]["id"]}


async def test_a_response_in_a_tool_is_shown_as_it_is_after_a_flush(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script(upstream, "flushed in a tool", calls(("c", "slow", {"seconds": 3})), Script(words=2))
    body = {"model": "fake", "input": "flushed in a tool", "tools": HOSTED, "background": True}
    started = (await client.post("/v1/responses", json=body)).json()
    notes = stack.data / "hosted" / f"{started['id']}.slow"
    while not notes.exists():
        await asyncio.sleep(0.02)
    await stack.flush()
    now = (await client.get(f"/v1/responses/{started['id']}")).json()
    assert now["status"] == "in_progress"
    assert types(now) == ["function_call", "function_call_output"]
    await client.post(f"/v1/responses/{started['id']}/cancel")


@pytest.mark.campaign
async def test_a_deadline_ends_the_response_in_the_middle_of_a_tool(stack: Stack, upstream: Upstream) -> None:
    script(upstream, "late", calls(("c", "slow", {"seconds": 30})), Script(words=2))
    async with another_api(stack, head="deadline_seconds = 1.5") as client:
        response = await run(client, "late")
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "deadline_exceeded"})
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]

    async def is_idle() -> bool:
        return not await stack.busy_workers()

    await until(is_idle)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ('{"city": "\\ud83d"}', "half of a surrogate pair"),
        ('{"city": ' + '{"a":' * 300 + "1" + "}" * 301, "nested more than"),
        ('{"city": 1e999}', "not finite"),
        ('{"city": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
    ids=["surrogate", "deep", "infinite", "long number"],
)
async def test_arguments_that_cannot_be_handed_on_are_told_to_the_model(
    client: httpx.AsyncClient, upstream: Upstream, arguments: str, complaint: str
) -> None:
    script(upstream, f"odd {complaint}", calls(("c", "get_weather", arguments)), Script(words=2))
    response = await run(client, f"odd {complaint}")
    assert response["status"] == "completed"
    assert complaint in outputs(response)[0]


async def test_a_bug_in_the_loop_fails_the_response_instead_of_hanging_it(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the workflow in this process, and a decision that raises."""

    @activity.defn(name="sample")
    async def sample(call: SampleInput) -> SampleResult:
        return SampleResult(outcome="done")

    @activity.defn(name="finish")
    async def finish(call: FinishInput) -> FinishResult:
        return FinishResult()

    def broken(*_: object, **__: object) -> Step:
        raise KeyError("a bug")

    monkeypatch.setattr("workflows.response.next_step", broken)
    temporal = await Client.connect(stack.temporal_address, data_converter=DATA_CONVERTER)
    request = CreateResponse(model="fake", input="x")
    start = StartResponse(
        response_id=new_id("resp_"), tenant="t", created_at=0, request=request, provider="p", upstream_model="m",
        retry_window=1,
    )  # fmt: skip
    async with Worker(
        temporal,
        task_queue="a-bug",
        workflows=[ResponseWorkflow],
        activities=[sample, finish],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        ended = await temporal.execute_workflow(ResponseWorkflow.run, start, id=start.response_id, task_queue="a-bug")
    assert ended.response["status"] == "failed"
    assert "KeyError" in ended.response["error"]["message"]


async def test_content_parts_of_a_tool_reach_the_model_or_are_said_to_be_left_out(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    kinds = ("image", "ultra", "nothing", "file", "file_url", "half")
    wanted = [(f"c{i}", "returns_parts", {"which": kind}) for i, kind in enumerate(kinds)]
    script(upstream, "parts", calls(*wanted), Script(words=2))
    response = await run(client, "parts")
    assert response["status"] == "completed", response["error"]
    image, ultra, nothing, file, file_url, half = outputs(response)
    assert (image[0]["type"], image[0]["detail"]) == ("input_image", "auto")  # type: ignore[index]
    assert "'[0].detail' must be 'low', 'high' or 'auto'" in ultra
    assert "image_url" in nothing
    assert file[0]["filename"] == "a.txt"  # type: ignore[index]
    assert file_url[0]["file_url"] == "https://example.com/a.pdf"  # type: ignore[index]
    assert half == "half a pair: \ufffd"
    told = json.dumps(upstream.requests[-1]["messages"])
    assert "a part of kind file (https://example.com/a.pdf); you cannot read it" in told
    assert "iVBORw0KGgo=" in told


async def test_a_tool_that_ends_its_process_or_cancels_itself_ends_its_call(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    wanted = [("a", "ends", {"how": "exit"}), ("b", "ends", {"how": "cancel"})]
    script(upstream, "ends", calls(*wanted), Script(words=2))
    exited, cancelled = outputs(await run(client, "ends"))
    assert "tried to end its process (SystemExit)" in exited
    assert "cancelled itself" in cancelled
    tries = (stack.data / "hosted" / "ends").read_text().splitlines()
    assert sorted(tries) == ["cancel 1", "cancel 2", "cancel 3", "exit 1"]
    assert all(stack.processes[name].poll() is None for name in ("worker-0", "worker-1"))


async def test_a_plain_function_tells_its_progress_from_its_thread(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script(upstream, "thread", calls(("c", "talks_in_a_thread", {})), Script(words=2))
    events = await collect(client, {"input": "thread", "tools": HOSTED})
    assert [e["message"] for e in events if e["type"] == "open_responses:tool_progress"] == ["from a thread"]
    assert outputs(events[-1]["response"]) == ["said"]


async def test_a_conversation_goes_on_after_a_turn_that_broke_off_behind_a_hosted_call(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    turn = calls(("c1", "get_weather", {"city": "Rome"}), ("c2", "get_weather", '{"ci'), finish="length")
    script(upstream, "broke off", turn, Script(words=2))
    response = check_whole(await collect(client, {"input": "broke off", "tools": HOSTED}), "", "incomplete")
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert types(response) == ["function_call"] * 2, "nothing stands behind what was cut off (ITEM-2)"
    assert [item["status"] for item in response["output"]] == ["completed", "incomplete"]
    sent_back = [{"role": "user", "content": "broke off"}, *response["output"], {"role": "user", "content": "go on"}]
    for prompt, earlier in (("go on", {"previous_response_id": response["id"]}), (sent_back, {})):
        after = await run(client, prompt, **earlier)
        assert after["status"] == "completed"
        told = upstream.requests[-1]["messages"]
        assert [m["content"] for m in told if m["role"] == "tool"] == [NOT_RUN]


async def test_an_mcp_call_in_front_of_what_was_cut_off_ends_in_its_own_place(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    turn = calls(("c1", "add", {"a": 1, "b": 2}), ("c2", "get_weather", '{"ci'), finish="length")
    script(upstream, "broke off at mcp", turn)
    tools = [*HOSTED, {"type": "mcp", "server_label": "calc", "require_approval": "never"}]
    response = check_whole(await collect(client, {"input": "broke off at mcp", "tools": tools}), "", "incomplete")
    assert types(response) == ["mcp_list_tools", "mcp_call", "function_call"]
    assert [item["status"] for item in response["output"]] == ["completed", "failed", "incomplete"]
    assert response["output"][1]["error"]["content"] == NOT_RUN


async def test_the_model_reads_that_a_cancelled_call_was_interrupted(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    script(upstream, "interrupt", calls(("c", "slow", {"seconds": 30})), Script(words=2))
    body = {"model": "fake", "input": "interrupt", "tools": HOSTED, "background": True}
    started = (await client.post("/v1/responses", json=body)).json()
    while not (stack.data / "hosted" / f"{started['id']}.slow").exists():
        await asyncio.sleep(0.02)
    await client.post(f"/v1/responses/{started['id']}/cancel")
    await run(client, "what now", previous_response_id=started["id"])
    (told,) = [m["content"] for m in upstream.requests[-1]["messages"] if m["role"] == "tool"]
    assert told == "The call was interrupted before it gave a result."


async def test_a_choice_that_no_tool_of_the_server_fits_allows_none(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    script(upstream, "no such", calls(("c", "get_weather", {"city": "x"})), Script(words=2))
    choice = {"type": "mcp", "server_label": "calc", "name": "nonexistent"}
    calc = {"type": "mcp", "server_label": "calc", "require_approval": "never"}
    body = {"model": "fake", "input": "no such", "tools": [calc, *HOSTED], "tool_choice": choice}
    response = (await client.post("/v1/responses", json=body)).json()
    assert types(response) == ["mcp_list_tools", "open_responses:refused_call", "message"]
    first = next(r for r in upstream.requests if r["messages"][0]["content"] == "no such")
    assert first["tool_choice"] == "none"


async def test_strict_by_request_sends_a_strict_schema(client: httpx.AsyncClient, upstream: Upstream) -> None:
    await run(client, "strictly", tools=[{"type": "function", "name": "get_weather", "strict": True}])
    (function,) = upstream.requests[-1]["tools"]
    assert function["function"]["strict"] is True
    assert function["function"]["parameters"]["required"] == ["city", "unit"]


async def test_a_described_function_of_a_hosted_tools_name_is_refused(client: httpx.AsyncClient) -> None:
    mine = {"type": "function", "name": "get_weather", "description": "mine"}
    for more in ({}, {"parameters": {"type": "object"}}):
        body = {"model": "fake", "input": "x", "tools": [{**mine, **more}, *HOSTED]}
        answer = await client.post("/v1/responses", json=body)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tools[0].name")
