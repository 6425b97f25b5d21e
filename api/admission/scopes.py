"""The scopes of an API key: the models and tools that its requests may use."""

from __future__ import annotations

from collections.abc import Sequence

from open_responses.config import Config
from open_responses.config_tables.api_keys import ApiKeyConfig
from open_responses.errors import PermissionDenied
from open_responses.schema.mcp_tool import McpTool
from open_responses.schema.requests import CreateResponse
from open_responses.tool_use.hosted_tool import hosted_names


def check_scopes(config: Config, key: ApiKeyConfig | None, asked: CreateResponse) -> None:
    """Raises PermissionDenied for a model or a tool that the key may not have, whether or not there is one.

    What a route falls back to is the operator's choice, and not asked for.
    """
    check_model(key, asked.model)
    check_tools(config, key, asked)


def check_model(key: ApiKeyConfig | None, model: str) -> None:
    """Raises PermissionDenied."""
    if key is not None and not key.allows_model(model):
        raise PermissionDenied(
            f"Your API key may not use the model {model[:80]!r}. Choose one that it may use: {', '.join(key.models)}.",
            param="model",
        )


def check_built_ins(key: ApiKeyConfig | None, names: Sequence[str]) -> None:
    """Raises PermissionDenied for a built-in tool that this server would run for the request. Those that a provider
    runs are the provider's."""
    denied = [name for name in names if key is not None and not key.allows_tool(name)]
    if key is not None and denied:
        raise PermissionDenied(
            f"Your API key may not use the built-in tool {denied[0]!r}. Leave it out of 'tools'. The key may use "
            f"{', '.join(key.tools)}.",
            param="tools",
        )


def check_tools(config: Config, key: ApiKeyConfig | None, asked: CreateResponse) -> None:
    """Raises PermissionDenied."""
    if key is None or not key.tools:
        return
    denied = [name for name in hosted_names(asked, [tool.name for tool in config.tools]) if not key.allows_tool(name)]
    if denied:
        raise PermissionDenied(
            f"Your API key may not use the hosted tool {denied[0]!r}. It may use {', '.join(key.tools)}. Name each "
            "hosted tool in 'tools' as a function without parameters, instead of 'open_responses:hosted_tools'.",
            param="tools",
        )
    for index, tool in enumerate(asked.tools or []):
        if not isinstance(tool, McpTool):
            continue
        configured = config.mcp_server(tool.server_label)
        elsewhere = tool.server_url is not None and (configured is None or tool.server_url != configured.url)
        if not key.allows_tool(tool.server_label) or elsewhere:
            raise PermissionDenied(
                f"Your API key may not use the MCP server {tool.server_label!r}"
                f"{' at an address of your own' if elsewhere else ''}. Choose from those that it may use: "
                f"{', '.join(key.tools)}.",
                param=f"tools[{index}]",
            )
