"""Hosted tools: the limits that one response has, and the tools that a request names."""

from __future__ import annotations

from collections.abc import Iterable

from open_responses.schema.payload import Payload
from open_responses.schema.requests import CreateResponse
from open_responses.schema.tools import FunctionTool, HostedTools
from open_responses.tool_use.agents import AgentPlan
from open_responses.tool_use.strict_schema import made_strict


class HostedTool(Payload):
    """A hosted tool with the configuration's limits at the start of the response: later changes do not reach it.

    `max_wait_seconds`: the tool waits, and this is its longest wait; None for any other tool. `lifetime_seconds` is the
    longest time from the response's start to the end of a wait. `agent`: the tool is an agent.
    """

    name: str
    timeout_seconds: float = 30
    max_attempts: int = 3
    retry_seconds: float = 1
    task_queue: str | None = None
    require_approval: bool = False
    max_wait_seconds: float | None = None
    lifetime_seconds: float | None = None
    agent: AgentPlan | None = None


def hosted_names(request: CreateResponse, configured: Iterable[str]) -> list[str]:
    """Return the hosted tools that a request names, in its order: all of them, or functions without a definition.

    A function with parameters or a description is the client's, also under the name of a hosted tool.
    """
    known, names = list(configured), []
    for tool in request.tools or []:
        if isinstance(tool, HostedTools):
            names += known
        elif isinstance(tool, FunctionTool) and is_bare(tool) and tool.name in known:
            names.append(tool.name)
    return list(dict.fromkeys(names))


def is_bare(tool: FunctionTool) -> bool:
    """Return whether the request gives only the function's name."""
    return tool.parameters is None and tool.description is None


def as_asked(definition: FunctionTool, request: CreateResponse) -> FunctionTool:
    """Return the definition of a hosted tool with the `strict` that the request asks for."""
    asked = next((t for t in request.tools or [] if isinstance(t, FunctionTool) and t.name == definition.name), None)
    if asked is None or asked.strict is None:
        return definition
    parameters = definition.parameters
    if asked.strict and parameters is not None:
        parameters = made_strict(parameters)
    return definition.model_copy(update={"strict": asked.strict, "parameters": parameters})
