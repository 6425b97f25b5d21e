"""Loads the tools of the configuration's `[[tools]]` tables, by name."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping

from activities.tools.functions import HostedFunction
from open_responses.config import Config
from open_responses.config_tables.tools import ToolConfig
from open_responses.contracts import Tool
from open_responses.schema.tools import FunctionTool
from open_responses.tool_use.agents import agent_function
from open_responses.tool_use.waiting import wait_function


def load_tools(config: Config) -> dict[str, Tool]:
    """The tools that this worker runs itself. Raises ValueError, with the name of the tool, if one cannot be loaded."""
    return {tool.name: _load(tool) for tool in config.tools if tool.task_queue is None and not tool.runs_in_workflow}


def definitions(config: Config, tools: Mapping[str, Tool]) -> dict[str, FunctionTool]:
    """The definition of each hosted tool as the model gets it, those of other fleets included."""
    return {tool.name: _definition(tool, tools) for tool in config.tools}


def _definition(tool: ToolConfig, tools: Mapping[str, Tool]) -> FunctionTool:
    if tool.name in tools:
        return tools[tool.name].definition
    if tool.wait is not None:
        return wait_function(tool.name, tool.wait, tool.description, strict=tool.strict)
    if tool.agent is not None:
        return agent_function(tool.name, tool.description or "", strict=tool.strict)
    return _fleet_definition(tool)


def _load(tool: ToolConfig) -> Tool:
    module, _, name = (tool.target or "").partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"tool {tool.name!r}: {tool.target!r} cannot be imported ({error}): correct its target"
        ) from error
    if not callable(found):
        raise ValueError(f"tool {tool.name!r}: {tool.target!r} must be a function")
    return HostedFunction(tool.name, found, description=tool.description, strict=tool.strict)


def _fleet_definition(tool: ToolConfig) -> FunctionTool:
    """The definition of another fleet's tool: from its function, if that can be imported here, otherwise from the
    configuration."""
    if tool.target is not None and tool.parameters is None:
        with contextlib.suppress(ValueError):
            return _load(tool).definition
    return FunctionTool(
        type="function",
        name=tool.name,
        description=tool.description,
        parameters=tool.parameters or {"type": "object", "properties": {}},
        strict=tool.strict,
    )
