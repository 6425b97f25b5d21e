"""Agents with one tool, `population`, one for each client in Python that the suite runs unchanged.

Each asks the model `fake` at a base URL, streams, runs the tool when it is called, and returns what its user would
have seen.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

POPULATIONS = {"Oslo": 700_000}
INSTRUCTIONS = "Count people."


@dataclass
class Seen:
    """`asked`: the arguments of the tool's runs. `deltas`: the text as it was streamed. `text`: the final text."""

    asked: list[str] = field(default_factory=list)
    deltas: str = ""
    text: str = ""


Agent: TypeAlias = Callable[[str, str], Awaitable[Seen]]


async def openai_sdk(base_url: str, prompt: str) -> Seen:
    from openai import AsyncOpenAI

    tool: Any = {
        "type": "function",
        "name": "population",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    }
    seen = Seen()
    turn: dict[str, Any] = {"input": prompt}
    async with AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0) as sdk:
        while True:
            async with sdk.responses.stream(model="fake", tools=[tool], instructions=INSTRUCTIONS, **turn) as stream:
                async for event in stream:
                    if event.type == "response.output_text.delta":
                        seen.deltas += event.delta
                final = await stream.get_final_response()
            calls = [item for item in final.output if item.type == "function_call"]
            if not calls:
                seen.text = final.output_text
                return seen
            turn = {"input": [], "previous_response_id": final.id}
            for call in calls:
                city = json.loads(call.arguments)["city"]
                seen.asked.append(city)
                result = {"type": "function_call_output", "call_id": call.call_id, "output": str(POPULATIONS[city])}
                turn["input"].append(result)


async def openai_agents(base_url: str, prompt: str, *, websocket: bool = False) -> Seen:
    import agents
    from openai import AsyncOpenAI

    agents.set_tracing_disabled(True)
    seen = Seen()

    @agents.function_tool
    def population(city: str) -> int:
        """How many people live there."""
        seen.asked.append(city)
        return POPULATIONS[city]

    sdk = AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0)
    kind = agents.OpenAIResponsesWSModel if websocket else agents.OpenAIResponsesModel
    model = kind(model="fake", openai_client=sdk)
    agent = agents.Agent(name="counter", instructions=INSTRUCTIONS, model=model, tools=[population])
    running = agents.Runner.run_streamed(agent, prompt)
    async for event in running.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            seen.deltas += event.data.delta
    await model.close()
    await sdk.close()
    seen.text = running.final_output
    return seen


async def openai_agents_over_a_websocket(base_url: str, prompt: str) -> Seen:
    return await openai_agents(base_url, prompt, websocket=True)


async def langchain(base_url: str, prompt: str) -> Seen:
    from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI

    seen = Seen()

    @tool
    def population(city: str) -> int:
        """How many people live there."""
        seen.asked.append(city)
        return POPULATIONS[city]

    chat: Any = ChatOpenAI(model="fake", base_url=base_url, api_key="none", use_responses_api=True, max_retries=0)  # type: ignore[arg-type]
    model = chat.bind_tools([population])
    messages: list[Any] = [SystemMessage(INSTRUCTIONS), HumanMessage(prompt)]
    while True:
        whole: Any = None
        async for piece in model.astream(messages):
            seen.deltas += piece.text
            whole = piece if whole is None else whole + piece
        if not whole.tool_calls:
            seen.text = whole.text
            return seen
        messages.append(whole)
        for call in whole.tool_calls:
            messages.append(ToolMessage(str(population.invoke(call["args"])), tool_call_id=call["id"]))


async def pydantic_ai(base_url: str, prompt: str) -> Seen:
    from pydantic_ai import Agent as PydanticAgent
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    seen = Seen()
    model = OpenAIResponsesModel("fake", provider=OpenAIProvider(base_url=base_url, api_key="none"))
    agent = PydanticAgent(model, instructions=INSTRUCTIONS)

    @agent.tool_plain
    def population(city: str) -> int:
        """How many people live there."""
        seen.asked.append(city)
        return POPULATIONS[city]

    async with agent.run_stream(prompt) as running:
        async for piece in running.stream_text(delta=True, debounce_by=None):
            seen.deltas += piece
        seen.text = await running.get_output()
    return seen


AGENTS: Mapping[str, Agent] = {
    "openai": openai_sdk,
    "openai-agents": openai_agents,
    "openai-agents over a WebSocket": openai_agents_over_a_websocket,
    "LangChain": langchain,
    "pydantic-ai": pydantic_ai,
}
NEEDS = {"LangChain": "langchain_openai", "pydantic-ai": "pydantic_ai"}
"""The module that an agent imports, where it may be missing."""
