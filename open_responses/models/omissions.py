"""The parts of a request that its provider lacks, and that are left out of what the provider is sent.

A tool that a request offers is a permission, and no order: without it the model can still answer. The same holds for a
setting that changes only the cost. What is left out is never silent: the response, a header and a log line name it. A
part without which the answer would be another one is an error instead (`capabilities.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pydantic import Field

from open_responses.config import ProviderConfig
from open_responses.errors import InvalidRequest
from open_responses.models.capabilities import ADAPTERS, has_client_tools
from open_responses.models.openai_hosts import is_openai
from open_responses.schema.client_tools import COMPUTER_TOOLS
from open_responses.schema.payload import Payload
from open_responses.schema.requests import CreateResponse, tools_of_items
from open_responses.schema.tool_choice import AllowedTools, ProviderToolChoice, is_chosen, named_choices
from open_responses.schema.tools import (
    ALL_PROVIDER_TOOLS,
    CLIENT_RUN_TOOLS,
    PROVIDER_TOOL_TYPES,
    ProviderTool,
)

# The service tiers that each API has; `auto` and `default` are in all.
_TIERS: Mapping[str, frozenset[str]] = {
    "openai": frozenset({"flex", "scale", "priority", "fast", "ultrafast"}),
    "anthropic": frozenset({"priority", "fast"}),
    "gemini": frozenset({"flex", "priority"}),
}
_CHAT_TIERS = frozenset({"flex", "scale", "priority", "fast"})
# Gemini's API has no way to make the model use a built-in tool: its modes are about functions alone.
_CANNOT_FORCE = frozenset({"gemini"})


class Omitted(Payload):
    """The parts of a request that are left out for one provider.

    Attributes:
        tools: The indexes of the built-in tools in the request's `tools`.
        parameters: The names of the settings, as paths in the request.
    """

    tools: list[int] = Field(default_factory=list)
    parameters: list[str] = Field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.tools or self.parameters)

    def names(self, request: CreateResponse) -> list[str]:
        """Return the types of the tools and the names of the settings, in the request's order."""
        offered = request.tools or []
        return list(dict.fromkeys([*(offered[index].type for index in self.tools), *self.parameters]))


def omitted_of(
    provider: ProviderConfig, request: CreateResponse, *, strict_tools: bool, run_here: Collection[int] = ()
) -> Omitted:
    """Return what the provider lacks of the request.

    Args:
        provider: A provider of the route.
        request: The request.
        strict_tools: Whether the configuration refuses a built-in tool that the provider lacks.
        run_here: The indexes of the built-in tools that this server runs for the provider.

    Raises:
        InvalidRequest: The provider lacks a built-in tool, and the request forces it, or `strict_tools` is set.
    """
    if provider.adapter not in ADAPTERS:
        return Omitted()
    return Omitted(
        tools=_omitted_tools(provider, request, strict_tools=strict_tools, run_here=run_here),
        parameters=_omitted_parameters(provider, request),
    )


def has_tool(provider: ProviderConfig, tool: ProviderTool) -> bool:
    """Return whether a provider of one of the server's adapters runs a built-in tool itself."""
    return tool.type in PROVIDER_TOOL_TYPES.get(provider.adapter, ())


def _omitted_tools(
    provider: ProviderConfig, request: CreateResponse, *, strict_tools: bool, run_here: Collection[int]
) -> list[int]:
    tools = request.tools or []
    known = PROVIDER_TOOL_TYPES.get(provider.adapter, frozenset())
    if has_client_tools(provider.adapter):
        known |= COMPUTER_TOOLS
    lacking = [
        i
        for i, tool in enumerate(tools)
        if isinstance(tool, ProviderTool) and tool.type not in known and i not in run_here
    ]
    if lacking and strict_tools:
        raise _lacks(provider, tools[lacking[0]].type, f"tools[{lacking[0]}].type")
    _check_names(request, lacking)
    of_items = [tool.type for _, offered in tools_of_items(request) for tool in offered]
    if not has_client_tools(provider.adapter):
        # Of the built-in tools, such a provider gets those in `tools` alone.
        of_items = [kind for kind in of_items if kind not in ALL_PROVIDER_TOOLS]
    left = [*(tool.type for i, tool in enumerate(tools) if i not in lacking), *of_items]
    _check_forced(provider, request, left, {tools[i].type for i in run_here})
    return lacking


def _check_names(request: CreateResponse, lacking: Sequence[int]) -> None:
    """Check that no function has the name under which a built-in tool is called: the provider would reject both."""
    tools = request.tools or []
    kept = {CLIENT_RUN_TOOLS.get(tool.type): tool.type for i, tool in enumerate(tools) if i not in lacking}
    for path, offered in [("tools", tools), *tools_of_items(request)]:
        for index, tool in enumerate(offered):
            name = None if isinstance(tool, ProviderTool) else getattr(tool, "name", None)
            if name is not None and name in kept:
                raise InvalidRequest(
                    f"{name!r} is also the name of the built-in tool {kept[name]!r}. Rename yours.",
                    param=f"{path}[{index}].name",
                    code="invalid_value",
                )


def _check_forced(
    provider: ProviderConfig, request: CreateResponse, left: list[str], run_here: Collection[str]
) -> None:
    """Check that what `tool_choice` forces is among the tools that are left. Those that run here are functions."""
    choice = request.tool_choice
    forcible = [
        kind
        for kind in left
        if kind in run_here or kind not in ALL_PROVIDER_TOOLS or provider.adapter not in _CANNOT_FORCE
    ]
    if choice == "required" and not forcible:
        offered = [*(request.tools or []), *(tool for _, tools in tools_of_items(request) for tool in tools)]
        raise _lacks(provider, offered[0].type, "tool_choice", forced=True)
    forced = named_choices(choice) if not isinstance(choice, AllowedTools) or choice.mode == "required" else []
    missing = [
        (field, named)
        for field, named in forced
        if isinstance(named, ProviderToolChoice) and not any(is_chosen(kind, named) for kind in forcible)
    ]
    if missing and len(missing) == len(forced):
        field, named = missing[0]
        raise _lacks(provider, named.type, f"{field}.type", forced=True)


def _lacks(provider: ProviderConfig, kind: str, param: str, *, forced: bool = False) -> InvalidRequest:
    """The error for a built-in tool, with those that the provider has."""
    known = sorted(PROVIDER_TOOL_TYPES.get(provider.adapter, ()))
    if forced and provider.adapter in _CANNOT_FORCE:
        why = f"The provider {provider.name!r} cannot be forced to use the built-in tool {kind!r}."
        has = f"Send 'auto', or force a function. Its built-in tools are {', '.join(known)}."
    else:
        why = f"The provider {provider.name!r} has no built-in tool {kind!r}{', which you force' if forced else ''}."
        has = f"Choose from {', '.join(known)}." if known else "It has none; leave it out."
    return InvalidRequest(f"{why} {has}", param=param, code="unsupported_tool")


def _omitted_parameters(provider: ProviderConfig, request: CreateResponse) -> list[str]:
    """Return the settings of cost that the provider lacks.

    Labels of a user are not among them, since they change neither the answer nor its cost.
    """
    adapter = provider.adapter
    is_openai_chat = adapter == "openai-chat" and is_openai(provider.base_url)
    omitted = []
    tiers = _CHAT_TIERS if is_openai_chat else _TIERS.get(adapter, frozenset())
    if request.service_tier not in (None, "auto", "default", *tiers):
        omitted.append("service_tier")
    if adapter != "openai" and not is_openai_chat:
        if request.prompt_cache_retention is not None:
            omitted.append("prompt_cache_retention")
        if request.prompt_cache_options is not None:
            omitted.append("prompt_cache_options")
    if adapter != "openai":
        if request.image is not None:
            omitted.append("image")
        if request.reasoning is not None and request.reasoning.context not in (None, "auto"):
            omitted.append("reasoning.context")
    window = request.background_options.completion_window if request.background_options else None
    if window not in (None, "soonest"):
        # This server runs the response itself, and at once.
        omitted.append("background_options.completion_window")
    return omitted
