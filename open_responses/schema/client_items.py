"""The items of tools that the client runs and that are no plain functions, and items that change what is offered.

`CALLS` and `OUTPUTS` in `items.py` join them with function calls and their outputs.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from open_responses.json_types import JsonObject
from open_responses.schema.content import MAX_PARTS, LenientObject, Text, ToolOutput
from open_responses.schema.names import CallId, FunctionName
from open_responses.schema.tools import OfferedTools

Status: TypeAlias = Literal["in_progress", "completed", "incomplete"]


# --- custom tools


class CustomToolCall(LenientObject):
    """A call of a custom tool: `input` is free text."""

    type: Literal["custom_tool_call"]
    id: str | None = None
    call_id: CallId
    name: FunctionName
    namespace: FunctionName | None = None
    input: Text
    status: Status | None = None


class CustomToolCallOutput(LenientObject):
    """The result of a custom tool call, from the client."""

    type: Literal["custom_tool_call_output"]
    id: str | None = None
    call_id: CallId
    output: ToolOutput
    status: Status | None = None


# --- shells, patches, the computer, and the client's own tool search


class ClientCall(LenientObject):
    """Base of the calls of OpenAI's tools that the client runs. Without a `call_id`, the server has run the call."""

    type: str
    id: str | None = None
    call_id: CallId | None = None
    status: Status | None = None


class ClientCallOutput(LenientObject):
    """Base of the results of such calls."""

    type: str
    id: str | None = None
    call_id: CallId | None = None


class ShellAction(LenientObject):
    """The commands of a `shell_call`."""

    commands: Annotated[list[Text], Field(max_length=MAX_PARTS, fail_fast=True)]


class ShellCall(ClientCall):
    """Commands for a shell, in order."""

    type: Literal["shell_call"]
    action: ShellAction


class ShellOutput(LenientObject):
    """What one command wrote, and how it ended."""

    stdout: Text
    stderr: Text
    outcome: JsonObject


class ShellCallOutput(ClientCallOutput):
    """The result of a `shell_call`, one entry for each command."""

    type: Literal["shell_call_output"]
    output: Annotated[list[ShellOutput], Field(max_length=MAX_PARTS, fail_fast=True)]


class LocalShellAction(LenientObject):
    """The command of a `local_shell_call`, in words."""

    command: Annotated[list[Text], Field(max_length=MAX_PARTS, fail_fast=True)]


class LocalShellCall(ClientCall):
    """One command for the client's shell."""

    type: Literal["local_shell_call"]
    action: LocalShellAction


class LocalShellCallOutput(ClientCallOutput):
    """The result of a `local_shell_call`. OpenAI's API has the id of the call as its `id`."""

    type: Literal["local_shell_call_output"]
    output: Text


class PatchOperation(LenientObject):
    """A change of one file."""

    type: Literal["create_file", "update_file", "delete_file"]
    path: Text
    diff: Text | None = None


class ApplyPatchCall(ClientCall):
    """A change of one file that the client makes."""

    type: Literal["apply_patch_call"]
    operation: PatchOperation


class ApplyPatchCallOutput(ClientCallOutput):
    """Whether the change was made."""

    type: Literal["apply_patch_call_output"]
    status: Literal["completed", "failed"]
    output: Text | None = None


class ComputerCall(ClientCall):
    """Actions on a screen. Only OpenAI's models make and read such calls."""

    type: Literal["computer_call"]


class ComputerCallOutput(ClientCallOutput):
    """A picture of the screen after a `computer_call`."""

    type: Literal["computer_call_output"]
    output: JsonObject


class ToolSearchCall(ClientCall):
    """A search for tools. With `execution: client`, the client answers it."""

    type: Literal["tool_search_call"]
    arguments: Any = None
    execution: Literal["server", "client"] | None = None


class ToolSearchOutput(ClientCallOutput):
    """The tools that a search found. From this item on the model may call them."""

    type: Literal["tool_search_output"]
    tools: OfferedTools
    execution: Literal["server", "client"] | None = None


CLIENT_ITEM_TYPES = (
    "custom_tool_call",
    "custom_tool_call_output",
    "shell_call",
    "shell_call_output",
    "local_shell_call",
    "local_shell_call_output",
    "apply_patch_call",
    "apply_patch_call_output",
    "computer_call",
    "computer_call_output",
    "tool_search_call",
    "tool_search_output",
    "additional_tools",
    "configuration_update",
)


# --- items that change what is offered


class AdditionalTools(LenientObject):
    """Tools that the model may call from this item on."""

    type: Literal["additional_tools"]
    id: str | None = None
    role: Literal["developer"]
    tools: OfferedTools


class EffortUpdate(LenientObject):
    """The new effort of reasoning."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class ConfigurationUpdate(LenientObject):
    """A change of `reasoning.effort` or `text.format`, for the answers after this item."""

    type: Literal["configuration_update"]
    id: str | None = None
    reasoning: EffortUpdate | None = None
    text: JsonObject | None = None


AnyClientCall: TypeAlias = ShellCall | LocalShellCall | ApplyPatchCall | ComputerCall | ToolSearchCall
AnyClientOutput: TypeAlias = (
    ShellCallOutput | LocalShellCallOutput | ApplyPatchCallOutput | ComputerCallOutput | ToolSearchOutput
)


def paired_id(item: ClientCall | ClientCallOutput) -> str | None:
    """The id by which a call and its output find each other; None for a call that its provider has run."""
    if item.call_id is None and isinstance(item, LocalShellCallOutput):
        return item.id
    return item.call_id
