"""Agents that a response may call: what their own responses start with, fixed when the response starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from api.responses.routing import targets_of
from open_responses.config_tables.tools import ToolConfig
from open_responses.errors import InvalidRequest
from open_responses.io.settings import Settings
from open_responses.json_types import JsonObject
from open_responses.loop.payloads.start import StartResponse, Target, members_of_now
from open_responses.schema.requests import CreateResponse
from open_responses.tool_use.agents import AgentPlan
from open_responses.tool_use.built_in import BuiltInTool
from open_responses.tool_use.hosted_tool import HostedTool

HostedOf = Callable[[Sequence[str]], list[HostedTool]]
BuiltInOf = Callable[[CreateResponse, Sequence[Target], Sequence[str]], list[BuiltInTool]]


def agent_plan(
    settings: Settings, tool: ToolConfig, hosted_of: HostedOf, built_in_of: BuiltInOf, environ: Mapping[str, str]
) -> AgentPlan:
    """The plan of one agent. `hosted_of` makes the hosted tools of these names, `built_in_of` the built-in tools of a
    request that run here.

    Raises InvalidRequest and ProviderKeyMissing for an agent whose provider cannot run it.
    """
    config, agent = settings.config, tool.agent
    assert agent is not None
    own = [name for name in agent.tools if config.tool(name) is not None]
    built_in = [name for name in agent.tools if name in config.built_in_tools and name not in own]
    asked = CreateResponse.model_validate(
        {
            "model": agent.model,
            "input": "task",
            "background": True,
            "store": True,
            "tools": [
                *({"type": "function", "name": name} for name in own),
                *({"type": name} for name in built_in),
                *(
                    {"type": "mcp", "server_label": label, "require_approval": "never"}
                    for label in agent.tools
                    if label not in own and label not in built_in
                ),
            ],
            **({"instructions": agent.instructions} if agent.instructions else {}),
            **({"max_output_tokens": agent.max_output_tokens} if agent.max_output_tokens else {}),
        }
    )
    targets = targets_of(config, asked, None, environ)
    start = StartResponse(
        response_id="",
        tenant="",
        created_at=0,
        request=asked,
        **members_of_now(targets),
        retry_window=settings.background_retry_window_seconds,
        hosted=hosted_of(own),
        built_in=built_in_of(asked, targets, own),
        max_turns=agent.max_turns,
    )
    plan: JsonObject = start.model_dump(mode="json", exclude_unset=True)
    return AgentPlan(start=plan, max_calls=agent.max_calls, deadline_seconds=agent.deadline_seconds)


def check_agents_are_stored(asked: CreateResponse, hosted: Sequence[HostedTool]) -> None:
    """An agent's response is read by its id. Raises InvalidRequest for `store: false` with an agent."""
    agents = [tool.name for tool in hosted if tool.agent is not None]
    if agents and not asked.is_stored:
        raise InvalidRequest(
            f"'store' is false, but the response of the agent {agents[0]!r} would be stored. Set 'store' to true, or "
            "leave the agent out of 'tools'.",
            param="store",
            code="invalid_value",
        )
