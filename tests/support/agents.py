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


_OPEN_WEBUI_SENDS = {
    "message": {"type", "role", "content"},
    "function_call": {"type", "call_id", "name", "arguments", "id"},
    "function_call_output": {"type", "call_id", "output"},
}


def _stored_by_open_webui(item: dict[str, Any]) -> dict[str, Any]:
    """Other items, such as reasoning, are sent as they are stored, with the members that Open WebUI adds to them."""
    known = _OPEN_WEBUI_SENDS.get(item["type"])
    return {**item, "duration": 1.5} if known is None else {name: item[name] for name in item if name in known}


async def open_webui(base_url: str, prompt: str) -> Seen:
    """The requests of Open WebUI with a connection of the type "Responses".

    It is no library, so its requests are repeated here as its source has them: `convert_to_responses_payload` and
    `_normalize_stored_item` in `backend/open_webui/routers/openai.py`, and the output of a tool in
    `backend/open_webui/utils/middleware.py`.
    """
    import httpx

    seen = Seen()
    body: dict[str, Any] = {
        "stream": True,
        "model": "fake",
        "instructions": INSTRUCTIONS,
        "tool_choice": "auto",
        "tools": [
            {
                "type": "function",
                "name": "population",
                "description": "How many people live there.",
                "parameters": {"properties": {"city": {"type": "string"}}, "required": ["city"], "type": "object"},
            }
        ],
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]}],
    }
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        while True:
            output: list[dict[str, Any]] = []
            async with client.stream("POST", f"{base_url}/responses", json=body) as answer:
                assert answer.status_code == 200, await answer.aread()
                async for line in answer.aiter_lines():
                    event = json.loads(line[6:]) if line.startswith("data: {") else {"type": ""}
                    if event["type"] == "response.output_text.delta":
                        seen.deltas += event["delta"]
                    elif event["type"] == "response.completed":
                        output = event["response"]["output"]
            body["input"] += [_stored_by_open_webui(item) for item in output]
            calls = [item for item in output if item["type"] == "function_call"]
            if not calls:
                seen.text = "".join(
                    part["text"] for item in output if item["type"] == "message" for part in item["content"]
                )
                return seen
            for call in calls:
                city = json.loads(call["arguments"])["city"]
                seen.asked.append(city)
                result = [{"type": "input_text", "text": str(POPULATIONS[city])}]
                body["input"].append({"type": "function_call_output", "call_id": call["call_id"], "output": result})


AGENTS: Mapping[str, Agent] = {
    "openai": openai_sdk,
    "openai-agents": openai_agents,
    "openai-agents over a WebSocket": openai_agents_over_a_websocket,
    "LangChain": langchain,
    "pydantic-ai": pydantic_ai,
    "Open WebUI": open_webui,
}
NEEDS = {"LangChain": "langchain_openai", "pydantic-ai": "pydantic_ai"}
"""The module that an agent imports, where it may be missing."""
