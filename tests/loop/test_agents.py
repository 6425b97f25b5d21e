"""Agents as tools: a call is a response of its own, once, and it ends with the response that made the call."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from pydantic import ValidationError

from activities.worker.dead_worker_takeover import WorkerTakeover
from open_responses.config import Config
from open_responses.config_tables.tools import ToolConfig
from open_responses.contracts import ToolError
from open_responses.ids import is_id, new_id
from open_responses.io.redis import key_names
from open_responses.io.redis.client import Redis
from open_responses.loop.next_step import call_of
from open_responses.loop.payloads.start import Admitted
from open_responses.tool_use.agents import AgentPlan, agent_response_id, agents_in, answer_of, read_task
from tests.support.api_with_keys import bearer, key_block, keyed_api
from tests.support.fake_upstream import Fault, Script, Upstream, calls
from tests.support.operator import console
from tests.support.responses_http import create, is_error
from tests.support.scripts import HOSTED, outputs, script
from tests.support.stack import Stack, check_whole, collect, events_of, until
from workflows.agents import Agents
from workflows.publication import Publication
from workflows.state import ResponseState

Json = dict[str, Any]


def asks(*tasks: Any) -> Script:
    return calls(*((f"r{number}", "researcher", {"task": task}) for number, task in enumerate(tasks)))


def links(response: Json) -> list[str]:
    return agents_in(response["output"])


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


async def running_agent(
    client: httpx.AsyncClient, upstream: Upstream, prompt: str, **script_of: Any
) -> tuple[str, str]:
    """A background response whose agent runs, and waits within its answer. Returns the ids of both."""
    held = upstream.says(f"{prompt}, research", Script(words=4, hold_after=2, **script_of))
    script(upstream, prompt, asks(f"{prompt}, research"), Script(words=2))
    parent: str = (await create(client, input=prompt, background=True, tools=HOSTED))["id"]
    async for event in events_of(client, resume=(parent, None)):
        if event["type"] == "open_responses:tool_progress":
            child = str(event["message"]).removeprefix("runs as ")
            await asyncio.wait_for(held.held.wait(), 50)
            return parent, child
    raise AssertionError("no agent was started")


async def test_an_agent_is_a_response_of_its_own_and_its_answer_is_the_calls_output(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    research = script(upstream, "the weather in Rome", calls(("w", "get_weather", {"city": "Rome"})), Script(words=3))
    script(upstream, "ask an agent", asks("the weather in Rome"), Script(words=2))
    events = await collect(client, {"input": "ask an agent", "tools": HOSTED, "metadata": {"a": "b"}})
    response = check_whole(events, "w0 w1 ")
    assert outputs(response) == ["w0 w1 w2 "]
    (child_id,) = links(response)
    assert response["output"][1]["agent_response_id"] == child_id
    assert research.messages[0] == {"role": "system", "content": "You research."}
    child = await get(client, child_id)
    assert (child["status"], child["model"], child["metadata"]) == ("completed", "fake", {"a": "b"})
    assert [item["type"] for item in child["output"]] == ["function_call", "function_call_output", "message"]
    check_whole([event async for event in events_of(client, resume=(child_id, None))], "w0 w1 w2 ")
    timeline = await client.get(f"/v1/responses/{response['id']}/timeline")
    assert timeline.status_code == 200
    # Two turns of the parent, the first without words, and two of the agent.
    assert response["usage"]["output_tokens"] == 2 + child["usage"]["output_tokens"]
    assert response["usage"]["input_tokens"] == 20 + child["usage"]["input_tokens"]
    await stack.flush()
    assert await get(client, child_id) == child
    assert (await get(client, response["id"]))["usage"] == response["usage"]
    # It goes with its parent.
    assert (await client.delete(f"/v1/responses/{response['id']}")).status_code == 200
    for gone in (response["id"], child_id):
        assert (await client.get(f"/v1/responses/{gone}")).status_code == 404


@pytest.mark.campaign
async def test_a_cancelled_response_cancels_its_agent(client: httpx.AsyncClient, upstream: Upstream) -> None:
    parent, child = await running_agent(client, upstream, "cancel with its agent")
    assert (await get(client, child))["status"] == "in_progress"
    refused = await client.delete(f"/v1/responses/{child}")
    is_error(refused, 409, "conflict")
    cancelled = (await client.post(f"/v1/responses/{parent}/cancel")).json()
    assert (cancelled["status"], links(cancelled)) == ("cancelled", [child])
    assert (await ended(client, child))["status"] == "cancelled"


@pytest.mark.campaign
async def test_an_agents_answer_goes_on_where_its_worker_was_killed(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, redis: Redis
) -> None:
    parent, child = await running_agent(client, upstream, "kill the agent's worker")
    # Redis has it among those without an end, as it has a client's: its log is not taken for a lost one.
    assert await redis.zscore(key_names.OPEN, child) is not None
    await stack.kill(await stack.busy_worker())
    await stack.heal()
    upstream.scripts["kill the agent's worker, research"].released.set()
    response = await ended(client, parent)
    assert (response["status"], outputs(response)) == ("completed", ["w0 w1 w2 w3 "])
    check_whole([event async for event in events_of(client, resume=(child, None))], "w0 w1 w2 w3 ")
    assert await redis.hget(key_names.state(child), "anew") is None
    assert await redis.zscore(key_names.OPEN, child) is None


@pytest.mark.campaign
async def test_an_agents_turn_that_its_worker_has_not_listed_is_found_when_the_worker_is_taken_over(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream, redis: Redis
) -> None:
    parent, child = await running_agent(client, upstream, "an unlisted turn")
    worker = str(await stack.worker_id(await stack.busy_worker()))
    # As if the worker had died between Temporal's dispatch and its own entries.
    await redis.zrem(key_names.OPEN, child)

    async def is_dead(_: str) -> bool:
        return True

    assert await WorkerTakeover(await console(stack), redis).take_over({worker: []}, is_dead) == {worker: [child]}
    upstream.scripts["an unlisted turn, research"].released.set()
    assert outputs(await ended(client, parent)) == ["w0 w1 w2 w3 "]


@pytest.mark.campaign
async def test_an_agent_that_is_cancelled_or_fails_is_an_output_of_the_call(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    parent, child = await running_agent(client, upstream, "cancel the agent alone")
    assert (await client.post(f"/v1/responses/{child}/cancel")).json()["status"] == "cancelled"
    response = await ended(client, parent)
    assert (response["status"], outputs(response)) == ("completed", ["The agent's response was cancelled."])
    upstream.says("research that fails", Script(faults=[Fault(status=400)]))
    script(upstream, "an agent fails", asks("research that fails"), Script(words=2))
    failing = await create(client, input="an agent fails", tools=HOSTED)
    assert failing["status"] == "completed"
    assert outputs(failing)[0].startswith("The agent's response failed: provider_rejected_request: ")


async def test_calls_beyond_an_agents_limit_and_without_a_task_are_not_run(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    upstream.says("first of many", Script(words=1))
    script(upstream, "too many agents", asks("first of many", " ", "third of many"), Script(words=2))
    response = await create(client, input="too many agents", tools=HOSTED)
    assert outputs(response) == [
        "w0 ",
        "Give 'task', the text of what the agent has to do, and nothing else.",
        "Not run: this response may call 'researcher' 2 times.",
    ]
    assert len(links(response)) == 1


async def test_a_response_that_is_not_stored_has_no_agents(client: httpx.AsyncClient) -> None:
    tools = [{"type": "function", "name": "researcher"}]
    body = {"model": "fake", "input": "x", "tools": tools, "store": False}
    is_error(await client.post("/v1/responses", json=body), 400, "invalid_value", "store")


@pytest.mark.campaign
async def test_a_worker_killed_within_an_agent_leaves_one_agent_and_its_answer(
    client: httpx.AsyncClient, stack: Stack, upstream: Upstream
) -> None:
    parent, child = await running_agent(client, upstream, "kill within an agent")
    await stack.kill(await stack.busy_worker())
    upstream.script_of("kill within an agent, research").released.set()
    await stack.heal()
    response = await ended(client, parent)
    assert (response["status"], links(response)) == ("completed", [child])
    assert outputs(response) == ["w0 w1 w2 w3 "]
    check_whole([event async for event in events_of(client, resume=(child, None))], "w0 w1 w2 w3 ")
    check_whole([event async for event in events_of(client, resume=(parent, None))], "w0 w1 ")


@pytest.mark.campaign
async def test_a_keys_usage_has_an_agents_tokens_once_and_its_budget_holds_for_an_agent(
    stack: Stack, upstream: Upstream
) -> None:
    only = {"tools": [{"type": "function", "name": "researcher"}], "model": "fake"}
    blocks = [
        key_block("agents-usage", "agents-usage"),
        key_block("agents-budget", "agents-budget", "budget_tokens = 1500"),
    ]
    async with keyed_api(stack, *blocks) as api:
        upstream.says("counted research", Script(words=3))
        script(upstream, "count an agent", asks("counted research"), Script(words=2))
        headers = bearer("agents-usage")
        shown = (await api.post("/v1/responses", json={"input": "count an agent", **only}, headers=headers)).json()

        async def is_counted() -> bool:
            total = (await api.get("/v1/usage", headers=headers)).json()["total"]
            return int(total["total_tokens"]) == shown["usage"]["total_tokens"]

        await until(is_counted)
        child = await api.get(f"/v1/responses/{links(shown)[0]}", headers=bearer("agents-budget"))
        assert child.status_code == 404
        # Longer than the budget.
        long = "research " * 1000
        script(upstream, "too dear an agent", asks(long), Script(words=2))
        headers = bearer("agents-budget")
        body = {"input": "too dear an agent", **only}
        response = (await api.post("/v1/responses", json=body, headers=headers)).json()
        refused = (await api.get(f"/v1/responses/{links(response)[0]}", headers=headers)).json()
        assert (refused["status"], refused["error"]["code"]) == ("failed", "token_budget_exceeded")
        assert outputs(response)[0].startswith("The agent's response failed: token_budget_exceeded: ")


# --- by itself

PLAN = AgentPlan(
    start={
        "request": {"model": "fake", "input": "", "background": True},
        "provider": "fake",
        "upstream_model": "fake",
        "retry_window": 20,
    },
    max_calls=1,
    deadline_seconds=600,
)


def agents(monkeypatch: pytest.MonkeyPatch, **start: Any) -> Agents:
    monkeypatch.setattr("workflows.agents.workflow.now", lambda: SimpleNamespace(timestamp=lambda: 1000.0))
    given = {
        "response_id": new_id("resp_"),
        "tenant": "acme",
        "request": SimpleNamespace(metadata=None),
        "has_search_attributes": True,
        "admitted": Admitted(account="a", budget_tokens=5, tokens=7, second=9),
        "deadline_seconds": None,
        "request_id": "req_1",
        "traceparent": None,
    }
    state = SimpleNamespace(start=SimpleNamespace(**{**given, **start}), started_at=900.0, clock=950.0)
    return Agents(cast(ResponseState, state), cast(Publication, None))


def test_an_agent_has_its_parents_tenant_and_budget_and_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    these = agents(monkeypatch)
    call = call_of("hosted", 0, "researcher", "{}", "call_1")
    start = these._start(PLAN, "find out", call, 1)
    assert (start.tenant, start.request.input, start.request.is_background) == ("acme", "find out", True)
    assert start.admitted == Admitted(account="a", budget_tokens=5)
    assert start.context_tokens
    assert start.agent_of == these.state.start.response_id
    assert start.response_id == agent_response_id(these.state.start.response_id, "call_1", 1)
    assert is_id("resp_", start.response_id)
    assert start.response_id != agent_response_id(these.state.start.response_id, "call_1", 2)


@pytest.mark.parametrize(("parents", "agents_own"), [(None, 600), (100, 50), (10_000, 600)])
def test_an_agent_ends_with_its_parents_deadline(
    monkeypatch: pytest.MonkeyPatch, parents: float | None, agents_own: float
) -> None:
    these = agents(monkeypatch, deadline_seconds=parents)
    start = these._start(PLAN, "find out", call_of("hosted", 0, "researcher", "{}", "c"), 1)
    assert start.deadline_seconds == agents_own


def test_a_parent_without_time_starts_no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    these = agents(monkeypatch, deadline_seconds=50.5)
    with pytest.raises(ToolError, match="no time left"):
        these._start(PLAN, "find out", call_of("hosted", 0, "researcher", "{}", "c"), 1)


def test_a_task_is_a_text_and_nothing_else() -> None:
    assert read_task({"task": "x"}) == "x"
    for wrong in ({}, {"task": ""}, {"task": 1}, {"task": "x", "model": "y"}, {"task": "x" * 400_001}):
        with pytest.raises(ToolError):
            read_task(wrong)


def test_an_answer_says_what_it_is() -> None:
    said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]}
    user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hurry"}]}
    assert answer_of({"status": "completed", "output": [said, user]}) == "done"
    assert answer_of({"status": "completed", "output": []}) == "The agent has ended without an answer."
    cut = {"status": "incomplete", "incomplete_details": {"reason": "max_turns"}, "output": [said]}
    assert answer_of(cut) == "The agent's answer is incomplete (max_turns).\ndone"


def agent(name: str, *tools: str, **more: Any) -> Json:
    return {"name": name, "description": "does", "agent": {"model": "m", "tools": list(tools)}, **more}


@pytest.mark.parametrize(
    ("tools", "reason"),
    [
        ([agent("a", "a")], "in a circle"),
        ([agent("a", "b"), agent("b", "a")], "in a circle"),
        ([agent("a", "b"), agent("b", "c"), agent("c", "d"), agent("d")], "more than 3 levels"),
        ([agent("a", "nothing")], "neither in"),
        ([{"name": "a", "agent": {"model": "m"}}], "without a description"),
        ([agent("a", target="x:y")], "remove its target"),
        ([agent("a", wait={})], "the other of the two"),
    ],
)
def test_a_configuration_with_impossible_agents_is_refused(tools: list[Json], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Config.model_validate({"tools": tools})


def test_an_agent_needs_a_route() -> None:
    config = Config.model_validate({"tools": [agent("a")]})
    with pytest.raises(ValueError, match="no route matches"):
        config.with_built_ins()
    assert ToolConfig.model_validate(agent("a")).runs_in_workflow
