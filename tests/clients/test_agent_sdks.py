"""The SDKs that people use, as clients: the loop from where they stand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
import pytest_asyncio
from agents import (
    Agent,
    HostedMCPTool,
    OpenAIResponsesModel,
    OpenAIResponsesWSModel,
    Runner,
    function_tool,
    set_tracing_disabled,
)
from openai import AsyncOpenAI

from tests.support.fake_upstream import Script, Upstream, calls
from tests.support.scripts import script
from tests.support.stack import Stack

pytestmark = pytest.mark.campaign

set_tracing_disabled(True)


@pytest_asyncio.fixture
async def sdk(stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{stack.api_url}/v1", api_key="none", max_retries=0) as client:
        yield client


async def test_the_openai_sdk_answers_its_own_calls(sdk: AsyncOpenAI, upstream: Upstream) -> None:
    tool: Any = {
        "type": "function",
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
        "strict": False,
    }
    answer = Script(words=6)
    script(upstream, "sdk adds", calls(("c1", "add", {"a": 1, "b": 2}), ("c2", "add", {"a": 3, "b": 4})), answer)
    async with sdk.responses.stream(model="fake", input="sdk adds", tools=[tool]) as stream:
        async for _ in stream:
            pass
        first = await stream.get_final_response()
    wanted = [item for item in first.output if item.type == "function_call"]
    assert [json.loads(call.arguments) for call in wanted] == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    results: Any = [
        {"type": "function_call_output", "call_id": call.call_id, "output": str(3 + 4 * n)}
        for n, call in enumerate(wanted)
    ]
    second = await sdk.responses.create(model="fake", previous_response_id=first.id, input=results, tools=[tool])
    assert second.output_text == answer.text
    told = [m["content"] for m in upstream.requests[-1]["messages"] if m["role"] == "tool"]
    assert told == ["3", "7"]
    again: Any = [{"role": "user", "content": "sdk adds"}, *[i.to_dict() for i in first.output], *results]
    whole = await sdk.responses.create(model="fake", input=again, tools=[tool])
    assert whole.output_text == answer.text


async def test_the_openai_sdk_reads_what_the_server_ran(sdk: AsyncOpenAI, upstream: Upstream) -> None:
    answer = Script(words=6)
    wanted = calls(("c", "get_weather", {"city": "Bern"}), ("d", "add", {"a": 2, "b": 2}))
    script(upstream, "sdk hosted", wanted, answer)
    tools: Any = [
        {"type": "open_responses:hosted_tools"},
        {"type": "mcp", "server_label": "calc", "require_approval": "never"},
    ]
    seen: list[str] = []
    async with sdk.responses.stream(model="fake", input="sdk hosted", tools=tools) as stream:
        async for event in stream:
            seen.append(event.type)
        response = await stream.get_final_response()
    assert response.output_text == answer.text
    kinds = [item.type for item in response.output]
    assert kinds == ["mcp_list_tools", "function_call", "mcp_call", "function_call_output", "message"]
    assert response.output[2].output == "4"  # type: ignore[union-attr]
    assert "response.mcp_call.completed" in seen
    assert (await sdk.responses.retrieve(response.id)).output_text == answer.text


@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_an_agent_with_two_functions_and_an_mcp_tool(
    stack: Stack, upstream: Upstream, transport: Literal["http", "websocket"]
) -> None:
    asked: list[str] = []

    @function_tool
    def population(city: str) -> int:
        """How many people live there."""
        asked.append(city)
        return {"Oslo": 700_000, "Bern": 130_000}[city]

    @function_tool
    def round_down(number: int) -> int:
        """To whole hundred thousands."""
        return number // 100_000 * 100_000

    answer = Script(words=8)
    script(
        upstream,
        "agent",
        calls(("a", "population", {"city": "Oslo"}), ("b", "population", {"city": "Bern"})),
        calls(("c", "add", {"a": 700_000, "b": 130_000})),
        calls(("d", "round_down", {"number": 830_000})),
        answer,
    )
    sdk = AsyncOpenAI(
        base_url=f"{stack.api_url}/v1",
        api_key="none",
        max_retries=0,
        default_headers={"OpenAI-Beta": "responses_websockets=2026-02-06"},
    )
    model = (OpenAIResponsesModel if transport == "http" else OpenAIResponsesWSModel)(model="fake", openai_client=sdk)
    agent = Agent(
        name="counter",
        instructions="Count people.",
        model=model,
        tools=[
            population,
            round_down,
            HostedMCPTool(tool_config={"type": "mcp", "server_label": "calc", "require_approval": "never"}),
        ],
    )
    result = await Runner.run(agent, "agent")
    assert result.final_output == answer.text
    assert asked == ["Oslo", "Bern"]
    told = [m["content"] for m in upstream.requests[-1]["messages"] if m["role"] == "tool"]
    assert told == ["700000", "130000", "830000", "800000"]
    streamed = Runner.run_streamed(agent, "agent")
    deltas = [event.data.delta async for event in streamed.stream_events() if _is_text(event)]  # type: ignore[union-attr]
    await model.close()
    await sdk.close()
    assert "".join(deltas) == answer.text == streamed.final_output


def _is_text(event: Any) -> bool:
    return event.type == "raw_response_event" and event.data.type == "response.output_text.delta"
