"""The tool choice, without the parts that this server enforces itself."""

from __future__ import annotations

from typing import Literal, TypeAlias

from open_responses.contracts import SampleCall
from open_responses.schema.tool_choice import (
    AllowedTools,
    ClientToolChoice,
    CustomChoice,
    FunctionChoice,
    McpChoice,
    ProviderToolChoice,
)

Choice: TypeAlias = Literal["none", "auto", "required"] | FunctionChoice | None


def plain_choice(call: SampleCall) -> Choice:
    """Return the choice. Of `allowed_tools`, only the mode remains, because this server enforces the set. None if the
    request has no choice.

    The tool table names the functions of an MCP server by themselves; `required` is left of the server's choice.
    """
    choice = call.tool_choice
    if isinstance(choice, AllowedTools):
        return choice.mode
    if isinstance(choice, CustomChoice | ClientToolChoice):
        return FunctionChoice(type="function", name=choice.name)
    if isinstance(choice, McpChoice | ProviderToolChoice):
        return "required"
    return choice


def is_forced(call: SampleCall) -> bool:
    """Whether the model must call a tool."""
    choice = plain_choice(call)
    return choice == "required" or isinstance(choice, FunctionChoice)
