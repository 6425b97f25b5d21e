"""The items of a conversation: messages, calls, reasoning (ITEM-1, ITEM-7 to ITEM-10).

These models read the input. They keep members that the specification does not have, because clients send back whole
outputs, also those of other servers. `model_dump(mode="json", exclude_unset=True)` writes an item again without loss.
Output items are plain JSON objects, made by the assembler.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
)

from open_responses.schema.built_in_items import CALL, BuiltInCall
from open_responses.schema.client_items import (
    CLIENT_ITEM_TYPES,
    AdditionalTools,
    ApplyPatchCall,
    ApplyPatchCallOutput,
    ClientCall,
    ClientCallOutput,
    ComputerCall,
    ComputerCallOutput,
    ConfigurationUpdate,
    CustomToolCall,
    CustomToolCallOutput,
    LocalShellCall,
    LocalShellCallOutput,
    ShellCall,
    ShellCallOutput,
    ToolSearchCall,
    ToolSearchOutput,
    paired_id,
)
from open_responses.schema.content import (
    MAX_PARTS,
    AssistantContent,
    InstructionContent,
    LenientObject,
    ReasoningText,
    SummaryText,
    Text,
    ToolOutput,
    UserContent,
)
from open_responses.schema.deferred import DEFERRED, deferred
from open_responses.schema.mcp_items import McpApprovalRequest, McpApprovalResponse, McpCall, McpTools
from open_responses.schema.names import SLUG, CallId, FunctionName
from open_responses.schema.validation import Hint, member

# Ours: far above any real conversation, and low enough that one request cannot keep a worker busy for seconds.
MAX_ITEMS = 10_000

REFUSED_CALL = f"{SLUG}refused_call"
ROLES = ("user", "assistant", "system", "developer")

# Items of OpenAI's API that this server neither makes nor reads, but that a conversation may contain. They are stored
# and passed on. Left out on purpose: `compaction_trigger`, which is an order to the server, not a record.
OPAQUE_TYPES = frozenset(
    {
        "code_interpreter_call",
        "file_search_call",
        "image_generation_call",
        "web_search_call",
    }
)

# The records of providers' built-in tools, by adapter. They are sent back to a provider of that kind, and left out for
# all others, because the context has the answer that came from them as well.
PROVIDER_ITEM_TYPES: Mapping[str, frozenset[str]] = {
    "openai": frozenset(
        {
            "code_interpreter_call",
            "file_search_call",
            "image_generation_call",
            "program",
            "program_output",
            "web_search_call",
        }
    ),
    "anthropic": frozenset(
        {
            "bash_code_execution_tool_result",
            "code_execution_tool_result",
            "container_upload",
            "server_tool_use",
            "text_editor_code_execution_tool_result",
            "web_fetch_tool_result",
            "web_search_tool_result",
        }
    ),
    "gemini": frozenset({"executable_code", "code_execution_result"}),
}
# The calls of built-in tools that this server may run itself (`open_responses/tool_use/built_in.py`).
_RUN_HERE = OPAQUE_TYPES | {"program"}
_ALL_PROVIDER_ITEMS = frozenset(kind for kinds in PROVIDER_ITEM_TYPES.values() for kind in kinds)

ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]


class _Message(LenientObject):
    """`type` may be left out, as OpenAI's "easy input message" does: `{"role": "user", "content": "hi"}`."""

    type: Literal["message"] = "message"
    id: str | None = None
    status: str | None = None


class UserMessage(_Message):
    """A message of the user."""

    role: Literal["user"]
    content: UserContent


class SystemMessage(_Message):
    """A message of the system."""

    role: Literal["system"]
    content: InstructionContent


class DeveloperMessage(_Message):
    """A message of the developer."""

    role: Literal["developer"]
    content: InstructionContent


class AssistantMessage(_Message):
    """An earlier answer of this server or of another one. `phase` is kept (ITEM-9)."""

    role: Literal["assistant"]
    content: AssistantContent
    phase: Literal["commentary", "final_answer"] | None = None


MESSAGES = (UserMessage, AssistantMessage, SystemMessage, DeveloperMessage)


class FunctionCall(LenientObject):
    """A function call. The model sets `call_id`, the server sets `id` (ITEM-7). `arguments` may be invalid JSON."""

    type: Literal["function_call"]
    id: str | None = None
    call_id: CallId
    name: FunctionName
    namespace: FunctionName | None = None
    arguments: str
    status: ItemStatus | None = None


class FunctionCallOutput(LenientObject):
    """The result of a function call, from the client or from a hosted tool."""

    type: Literal["function_call_output"]
    id: str | None = None
    call_id: CallId
    output: ToolOutput
    status: ItemStatus | None = None


class Reasoning(LenientObject):
    """Reasoning, which can be sent back with content, summary and encrypted content (ITEM-8)."""

    type: Literal["reasoning"]
    id: str | None = None
    summary: Annotated[list[SummaryText], Field(max_length=MAX_PARTS, fail_fast=True)]
    content: Annotated[list[ReasoningText], Field(max_length=MAX_PARTS, fail_fast=True)] | None = None
    encrypted_content: str | None = None


class RefusedCall(LenientObject):
    """A call that the server did not run, with the reason: the tool is not allowed or unknown (REQ-2). An extension.

    It is no `function_call`, so that no client mistakes it for one to execute; the model gets to read the reason.
    """

    type: Literal["open_responses:refused_call"]
    id: Annotated[str, Field(min_length=1)]
    call_id: str
    name: str
    arguments: str
    reason: str


class Compaction(LenientObject):
    """A compacted conversation (REQ-16)."""

    type: Literal["compaction"]
    id: str | None = None
    encrypted_content: Text


class ItemReference(LenientObject):
    """A reference to a stored item (ITEM-10). `{"id": "msg_…"}` alone is a reference as well."""

    type: Literal["item_reference"] | None = None
    id: Annotated[str, Field(min_length=1)]


class OpaqueItem(LenientObject):
    """An item that is passed on without being parsed: one of `OPAQUE_TYPES`, or an extension (EXT-2)."""

    type: str
    id: str | None = None

    def is_from(self, adapter: str) -> bool:
        """Return whether a built-in tool of this adapter's provider created the item."""
        return self.type in PROVIDER_ITEM_TYPES.get(adapter, ())

    @property
    def is_record(self) -> bool:
        """Whether the item is a record of a call of a provider's built-in tool."""
        return self.type in _ALL_PROVIDER_ITEMS


CALLS = (FunctionCall, CustomToolCall, ClientCall)
"""The calls of tools. Each has one output behind it, of the type that `OUTPUT_TYPE_OF` has."""
OUTPUTS = (FunctionCallOutput, CustomToolCallOutput, ClientCallOutput)
OUTPUT_TYPE_OF: Mapping[str, str] = {
    "function_call": "function_call_output",
    "custom_tool_call": "custom_tool_call_output",
    "shell_call": "shell_call_output",
    "local_shell_call": "local_shell_call_output",
    "apply_patch_call": "apply_patch_call_output",
    "computer_call": "computer_call_output",
    "tool_search_call": "tool_search_output",
}
CALL_TYPE_OF: Mapping[str, str] = {output: call for call, output in OUTPUT_TYPE_OF.items()}
OUTPUT_TYPES = frozenset(CALL_TYPE_OF)
AnyCall: TypeAlias = FunctionCall | CustomToolCall | ClientCall
AnyOutput: TypeAlias = FunctionCallOutput | CustomToolCallOutput | ClientCallOutput


def pairing_id(item: AnyCall | AnyOutput) -> str | None:
    """The id by which a call and its output find each other; None for a call that its provider has run."""
    return paired_id(item) if isinstance(item, ClientCall | ClientCallOutput) else item.call_id


_TYPED = (
    "function_call",
    "function_call_output",
    *CLIENT_ITEM_TYPES,
    "reasoning",
    "mcp_list_tools",
    "mcp_call",
    "mcp_approval_request",
    "mcp_approval_response",
    "compaction",
    "item_reference",
)


def _item_tag(value: Any) -> str | None:
    kind = member(value, "type")
    if kind is None or kind == "message":
        role = member(value, "role")
        if role in ROLES:
            return f"<{role}>"
        return "<item_reference>" if kind is None and role is None and member(value, "id") is not None else None
    if not isinstance(kind, str):
        return None
    if kind == REFUSED_CALL:
        return "<refused_call>"
    if kind in _RUN_HERE and member(value, CALL) is not None:
        return "<built_in_call>"
    if kind in OPAQUE_TYPES or kind in _ALL_PROVIDER_ITEMS or kind.startswith(SLUG):
        return "<opaque>"
    return f"<{kind}>" if kind in _TYPED else None


InputItem: TypeAlias = Annotated[
    Annotated[UserMessage, Tag("<user>")]
    | Annotated[AssistantMessage, Tag("<assistant>")]
    | Annotated[SystemMessage, Tag("<system>")]
    | Annotated[DeveloperMessage, Tag("<developer>")]
    | Annotated[FunctionCall, Tag("<function_call>")]
    | Annotated[FunctionCallOutput, Tag("<function_call_output>")]
    | Annotated[CustomToolCall, Tag("<custom_tool_call>")]
    | Annotated[CustomToolCallOutput, Tag("<custom_tool_call_output>")]
    | Annotated[ShellCall, Tag("<shell_call>")]
    | Annotated[ShellCallOutput, Tag("<shell_call_output>")]
    | Annotated[LocalShellCall, Tag("<local_shell_call>")]
    | Annotated[LocalShellCallOutput, Tag("<local_shell_call_output>")]
    | Annotated[ApplyPatchCall, Tag("<apply_patch_call>")]
    | Annotated[ApplyPatchCallOutput, Tag("<apply_patch_call_output>")]
    | Annotated[ComputerCall, Tag("<computer_call>")]
    | Annotated[ComputerCallOutput, Tag("<computer_call_output>")]
    | Annotated[ToolSearchCall, Tag("<tool_search_call>")]
    | Annotated[ToolSearchOutput, Tag("<tool_search_output>")]
    | Annotated[AdditionalTools, Tag("<additional_tools>")]
    | Annotated[ConfigurationUpdate, Tag("<configuration_update>")]
    | Annotated[Reasoning, Tag("<reasoning>")]
    | Annotated[McpTools, Tag("<mcp_list_tools>")]
    | Annotated[McpCall, Tag("<mcp_call>")]
    | Annotated[McpApprovalRequest, Tag("<mcp_approval_request>")]
    | Annotated[McpApprovalResponse, Tag("<mcp_approval_response>")]
    | Annotated[RefusedCall, Tag("<refused_call>")]
    | Annotated[Compaction, Tag("<compaction>")]
    | Annotated[ItemReference, Tag("<item_reference>")]
    | Annotated[BuiltInCall, Tag("<built_in_call>")]
    | Annotated[OpaqueItem, Tag("<opaque>")],
    Discriminator(
        _item_tag,
        "no_variant",
        "{what}",
        Hint(what="an object with an item", allowed=("message", *_TYPED), roles=ROLES),
    ),
]

INPUT_ITEM: TypeAdapter[InputItem] = deferred(TypeAdapter(InputItem, config=DEFERRED))
INPUT_ITEMS: TypeAdapter[list[InputItem]] = deferred(TypeAdapter(list[InputItem], config=DEFERRED))
