"""The items of a response's output and their content parts, as types of the JSON objects that a client receives.

The assembler and the tool activities make plain dicts, which are not validated when the server answers. mypy checks
such dicts against these types, and the OpenAPI document is generated from them. Objects are open: a newer version may
add members. The items that a client sends are pydantic models, in `items.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NotRequired, TypeAlias

from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict

from open_responses.json_types import JsonObject
from open_responses.schema.items import PROVIDER_ITEM_TYPES

Count: TypeAlias = Annotated[int, Field(ge=0)]

ItemStatus = TypeAliasType("ItemStatus", Literal["in_progress", "completed", "incomplete", "failed"])


# --- content parts


class TopLogProb(TypedDict):
    """One candidate for a token. `bytes` is its UTF-8."""

    token: str
    logprob: float
    bytes: Sequence[Count]


class LogProb(TypedDict):
    """The token that the model chose, with the candidates that were asked for by `top_logprobs`."""

    token: str
    logprob: float
    bytes: Sequence[Count]
    top_logprobs: Sequence[TopLogProb]


class OutputTextPart(TypedDict):
    """Text of an answer, with its citations."""

    type: Literal["output_text"]
    text: str
    annotations: Sequence[JsonObject]
    logprobs: Sequence[LogProb]


class RefusalPart(TypedDict):
    """The model's explanation of why it does not answer."""

    type: Literal["refusal"]
    refusal: str


class ReasoningTextPart(TypedDict):
    """Reasoning as the model wrote it."""

    type: Literal["reasoning_text"]
    text: str


class SummaryTextPart(TypedDict):
    """The provider's summary of the model's reasoning."""

    type: Literal["summary_text"]
    text: str


ContentPart: TypeAlias = OutputTextPart | RefusalPart | ReasoningTextPart


# --- items


class _Item(TypedDict):
    id: str
    status: ItemStatus


class Message(_Item):
    """A message of the model. `phase` separates comments on the way from the final answer."""

    type: Literal["message"]
    role: Literal["assistant"]
    content: Sequence[OutputTextPart | RefusalPart]
    phase: NotRequired[Literal["commentary", "final_answer"]]


class InputTextPart(TypedDict):
    """Text of the user."""

    type: Literal["input_text"]
    text: str


class SteeringMessage(_Item):
    """A message that the user added to the response while it ran. `steer_id` (an extension) names the submission."""

    type: Literal["message"]
    role: Literal["user"]
    content: Sequence[InputTextPart | JsonObject]
    steer_id: NotRequired[str]


class FunctionCallItem(_Item):
    """A function call. The server has run it if a `function_call_output` follows; otherwise the client answers it."""

    type: Literal["function_call"]
    call_id: str
    name: str
    namespace: NotRequired[str]
    arguments: str


class CustomToolCallItem(_Item):
    """A call of a custom tool. The client answers it with a `custom_tool_call_output`."""

    type: Literal["custom_tool_call"]
    call_id: str
    name: str
    namespace: NotRequired[str]
    input: str


class ShellCallItem(_Item):
    """Commands for the client's shell. The client answers them with a `shell_call_output`."""

    type: Literal["shell_call"]
    call_id: str
    action: JsonObject
    environment: NotRequired[JsonObject | None]


class LocalShellCallItem(_Item):
    """One command for the client's shell. The client answers it with a `local_shell_call_output`."""

    type: Literal["local_shell_call"]
    call_id: str
    action: JsonObject


class ApplyPatchCallItem(_Item):
    """A change of one file. The client answers it with an `apply_patch_call_output`."""

    type: Literal["apply_patch_call"]
    call_id: str
    operation: JsonObject


class ToolSearchCallItem(_Item):
    """A search for tools. With `execution: client`, the client answers it with a `tool_search_output`."""

    type: Literal["tool_search_call"]
    call_id: str | None
    execution: Literal["server", "client"]
    arguments: JsonObject


class FunctionCallOutputItem(_Item):
    """The result of a hosted tool. `agent_response_id` (an extension) is the response of an agent that was called."""

    type: Literal["function_call_output"]
    call_id: str
    output: str | Sequence[JsonObject]
    agent_response_id: NotRequired[str]


class ReasoningItem(_Item):
    """The model's reasoning. Only the provider that made `encrypted_content` can read it again."""

    type: Literal["reasoning"]
    summary: Sequence[SummaryTextPart]
    content: Sequence[ReasoningTextPart]
    encrypted_content: NotRequired[str | None]


class CompactionItem(TypedDict):
    """An encrypted summary of a conversation, to be sent as input in place of what it summarises."""

    type: Literal["compaction"]
    id: str
    encrypted_content: str
    status: NotRequired[ItemStatus]
    created_by: NotRequired[str]


class McpListToolsItem(_Item):
    """The tools of an MCP server."""

    type: Literal["mcp_list_tools"]
    server_label: str
    tools: Sequence[JsonObject]
    error: str | JsonObject | None


class _McpTool(_Item):
    server_label: str
    name: str
    arguments: str


class McpCallItem(_McpTool):
    """A call of an MCP server's tool, made by this server.

    `output_parts`, an extension, has the parts of a result with images, sound or files; `output` describes them.
    """

    type: Literal["mcp_call"]
    output: str | None
    output_parts: NotRequired[Sequence[JsonObject]]
    error: str | JsonObject | None
    approval_request_id: str | None


class McpApprovalRequestItem(_McpTool):
    """A call that waits for approval, by `POST …/approvals` or by an `mcp_approval_response` in the next input."""

    type: Literal["mcp_approval_request"]


class RefusedCallItem(_Item):
    """An extension: a call that the server did not run, and the reason."""

    type: Literal["open_responses:refused_call"]
    call_id: str
    name: str
    arguments: str
    reason: str


_PROVIDER_TYPES = sorted(kind for kinds in PROVIDER_ITEM_TYPES.values() for kind in kinds)


class ProviderItem(_Item):
    """The record of a built-in tool's call: a provider's, in its own form, or of this server, in OpenAI's.

    `open_responses_call`, an extension, is what the model read of a call that this server ran. Only a response with
    `store: false` shows it.
    """

    type: Annotated[str, Field(json_schema_extra={"enum": list(_PROVIDER_TYPES)})]
    open_responses_call: NotRequired[JsonObject]


OutputItem = TypeAliasType(
    "OutputItem",
    Message
    | SteeringMessage
    | FunctionCallItem
    | FunctionCallOutputItem
    | CustomToolCallItem
    | ShellCallItem
    | LocalShellCallItem
    | ApplyPatchCallItem
    | ToolSearchCallItem
    | ReasoningItem
    | CompactionItem
    | McpListToolsItem
    | McpCallItem
    | McpApprovalRequestItem
    | RefusedCallItem
    | ProviderItem,
)
