"""The items of a conversation and their content parts: messages, calls, reasoning (ITEM-1, ITEM-7 to ITEM-10).

These models read the input. They are lenient where the specification's schema is silent: members that we do not know
are kept, since clients send back whole outputs, ours and those of other servers. What was read is written again without
loss by `model_dump(mode="json", exclude_unset=True)`. Output items are plain JSON objects, made by the assembler.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    TypeAdapter,
    model_validator,
)

from open_responses.json_types import JsonObject
from open_responses.schema.validation import Hint, by_type, either, fault, member

# The specification's own bounds, in characters; an image's and a file's are of base64.
MAX_TEXT = 10_485_760
MAX_IMAGE_URL = 20_971_520
MAX_FILE_DATA = 33_554_432
# Ours: far above any real conversation, and low enough that one request cannot keep a worker busy for seconds.
MAX_ITEMS = 10_000
MAX_PARTS = 10_000
# With `fail_fast` on each list: only the first error is reported, and a million others are not collected.

_PARTS = Field(max_length=MAX_PARTS, fail_fast=True)

SLUG = "open_responses:"
REFUSED_CALL = f"{SLUG}refused_call"
ROLES = ("user", "assistant", "system", "developer")

# Items of OpenAI's API that we neither make nor read, but that a conversation may hold: they are kept and handed on.
# Left out on purpose: `compaction_trigger` and `additional_tools`, which are orders to the server, not a record.
OPAQUE_TYPES = frozenset(
    {
        "apply_patch_call",
        "apply_patch_call_output",
        "code_interpreter_call",
        "computer_call",
        "computer_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
        "file_search_call",
        "image_generation_call",
        "local_shell_call",
        "local_shell_call_output",
        "program",
        "program_output",
        "shell_call",
        "shell_call_output",
        "tool_search_call",
        "tool_search_output",
        "web_search_call",
    }
)

# What a provider's built-in tools leave, by adapter: sent back to a provider of that kind, left out for the others,
# since the answer that came of them stands beside it.
PROVIDER_ITEM_TYPES: Mapping[str, frozenset[str]] = {
    "openai": frozenset({"code_interpreter_call", "file_search_call", "image_generation_call", "web_search_call"}),
    "anthropic": frozenset(
        {
            "bash_code_execution_tool_result",
            "code_execution_tool_result",
            "server_tool_use",
            "text_editor_code_execution_tool_result",
            "web_fetch_tool_result",
            "web_search_tool_result",
        }
    ),
    "gemini": frozenset({"executable_code", "code_execution_result"}),
}
_ALL_PROVIDER_ITEMS = frozenset(kind for kinds in PROVIDER_ITEM_TYPES.values() for kind in kinds)

Text: TypeAlias = Annotated[str, Field(max_length=MAX_TEXT)]
ItemStatus: TypeAlias = Literal["in_progress", "completed", "incomplete"]


class _Kept(BaseModel):
    """Base of items and parts: checks the known members strictly, and keeps unknown ones."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)


# --- content parts


class InputText(_Kept):
    """A text part of a message or of a tool result."""

    type: Literal["input_text"]
    text: Text


class InputImage(_Kept):
    """`image_url` is an address or a `data:` URL. `file_id` (OpenAI's) is kept for providers that know it."""

    type: Literal["input_image"]
    image_url: Annotated[str, Field(max_length=MAX_IMAGE_URL)] | None = None
    file_id: str | None = None
    detail: Literal["low", "high", "auto", "original"] | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> InputImage:
        if self.image_url is None and self.file_id is None:
            raise fault(
                "missing_required_parameter", "is missing. Send the image's address or data URL", field="image_url"
            )
        return self


class InputFile(_Kept):
    """`file_data` is base64, or a `data:` URL."""

    type: Literal["input_file"]
    filename: str | None = None
    file_data: Annotated[str, Field(max_length=MAX_FILE_DATA)] | None = None
    file_url: str | None = None
    file_id: str | None = None

    @model_validator(mode="after")
    def _has_a_source(self) -> InputFile:
        if self.file_data is None and self.file_url is None and self.file_id is None:
            raise fault("missing_required_parameter", "is missing. Send 'file_data' or 'file_url'", field="file_data")
        return self


class AudioData(_Kept):
    """`data` is base64."""

    data: Annotated[str, Field(min_length=1, max_length=MAX_FILE_DATA)]
    format: Literal["wav", "mp3", "flac", "ogg", "aac", "aiff"]


class InputAudio(_Kept):
    """An audio part, as in OpenAI's API. The specification has none."""

    type: Literal["input_audio"]
    input_audio: AudioData


class InputVideo(_Kept):
    """A video part."""

    type: Literal["input_video"]
    video_url: Annotated[str, Field(max_length=MAX_FILE_DATA)]


class UrlCitation(_Kept):
    """A citation of a web page."""

    type: Literal["url_citation"]
    url: str
    title: str
    start_index: Annotated[int, Field(ge=0)]
    end_index: Annotated[int, Field(ge=0)]


class OtherAnnotation(_Kept):
    """A citation of a type that the specification does not have (`file_citation` …)."""

    type: str


class OutputText(_Kept):
    """A text part of an answer."""

    type: Literal["output_text"]
    text: Text
    annotations: Annotated[list[Annotation], Field(max_length=MAX_PARTS, fail_fast=True)] | None = None
    logprobs: Annotated[list[JsonObject], Field(fail_fast=True)] | None = None


class Refusal(_Kept):
    """A part with the model's refusal."""

    type: Literal["refusal"]
    refusal: Text


class ReasoningText(_Kept):
    """A part with raw reasoning text."""

    type: Literal["reasoning_text"]
    text: Text


class SummaryText(_Kept):
    """A part of the summary of reasoning."""

    type: Literal["summary_text"]
    text: Text


def _annotation_tag(value: Any) -> str | None:
    kind = member(value, "type")
    if not isinstance(kind, str):
        return None
    return "<url_citation>" if kind == "url_citation" else "<other>"


Annotation: TypeAlias = Annotated[
    Annotated[UrlCitation, Tag("<url_citation>")] | Annotated[OtherAnnotation, Tag("<other>")],
    Discriminator(
        _annotation_tag, "no_variant", "{what}", Hint(what="an object with an annotation", allowed=("url_citation",))
    ),
]
UserPart: TypeAlias = Annotated[
    Annotated[InputText, Tag("<input_text>")]
    | Annotated[InputImage, Tag("<input_image>")]
    | Annotated[InputFile, Tag("<input_file>")]
    | Annotated[InputAudio, Tag("<input_audio>")],
    by_type("an object with a content part", "input_text", "input_image", "input_file", "input_audio"),
]
ToolOutputPart: TypeAlias = Annotated[
    Annotated[InputText, Tag("<input_text>")]
    | Annotated[InputImage, Tag("<input_image>")]
    | Annotated[InputFile, Tag("<input_file>")]
    | Annotated[InputAudio, Tag("<input_audio>")]
    | Annotated[InputVideo, Tag("<input_video>")],
    by_type("an object with a content part", "input_text", "input_image", "input_file", "input_audio", "input_video"),
]
AssistantPart: TypeAlias = Annotated[
    Annotated[OutputText, Tag("<output_text>")] | Annotated[Refusal, Tag("<refusal>")],
    by_type("an object with a content part", "output_text", "refusal"),
]

_text_or_parts = either("a string or an array of content parts", text=str, parts=list)
UserContent: TypeAlias = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[UserPart], _PARTS, Tag("<parts>")],
    _text_or_parts,
]
InstructionContent: TypeAlias = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[InputText], _PARTS, Tag("<parts>")],
    _text_or_parts,
]
AssistantContent: TypeAlias = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[AssistantPart], _PARTS, Tag("<parts>")],
    _text_or_parts,
]
ToolOutput: TypeAlias = Annotated[
    Annotated[Text, Tag("<text>")] | Annotated[list[ToolOutputPart], _PARTS, Tag("<parts>")],
    _text_or_parts,
]


# --- items


class _Message(_Kept):
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

CallId: TypeAlias = Annotated[str, Field(min_length=1, max_length=64)]
FunctionName: TypeAlias = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class FunctionCall(_Kept):
    """A function call. The model sets `call_id`, the server sets `id` (ITEM-7). `arguments` may be invalid JSON."""

    type: Literal["function_call"]
    id: str | None = None
    call_id: CallId
    name: FunctionName
    arguments: str
    status: ItemStatus | None = None


class FunctionCallOutput(_Kept):
    """The result of a function call, from the client or from a hosted tool."""

    type: Literal["function_call_output"]
    id: str | None = None
    call_id: CallId
    output: ToolOutput
    status: ItemStatus | None = None


class Reasoning(_Kept):
    """Reasoning, which can be sent back with content, summary and encrypted content (ITEM-8)."""

    type: Literal["reasoning"]
    id: str | None = None
    summary: Annotated[list[SummaryText], Field(max_length=MAX_PARTS, fail_fast=True)]
    content: Annotated[list[ReasoningText], Field(max_length=MAX_PARTS, fail_fast=True)] | None = None
    encrypted_content: str | None = None


class ListedTool(_Kept):
    """One tool in an `mcp_list_tools`. Its schema is not checked, because the MCP server wrote it."""

    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    input_schema: JsonObject | None = None
    annotations: JsonObject | None = None


_LISTED_TOOLS = TypeAdapter(list[ListedTool])


def _are_listed_tools(tools: list[JsonObject]) -> list[JsonObject]:
    """Check each tool, and return the list unchanged."""
    _LISTED_TOOLS.validate_python(tools)
    return tools


class McpTools(_Kept):
    """An `mcp_list_tools`: the tools of an MCP server. It stays in the context, so that a chain lists them once."""

    type: Literal["mcp_list_tools"]
    id: str | None = None
    server_label: Annotated[str, Field(min_length=1)]
    tools: Annotated[list[JsonObject], Field(max_length=MAX_PARTS, fail_fast=True), AfterValidator(_are_listed_tools)]
    error: str | JsonObject | None = None


class McpCall(_Kept):
    """A call of an MCP tool that the server ran, with its result."""

    type: Literal["mcp_call"]
    id: Annotated[str, Field(min_length=1)]
    server_label: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)]
    arguments: str
    output: str | None = None
    error: str | JsonObject | None = None
    approval_request_id: str | None = None
    status: str | None = None


class McpApprovalRequest(_Kept):
    """A call that needs approval. The server runs the call that it stored, not the copy that a client sends back."""

    type: Literal["mcp_approval_request"]
    id: Annotated[str, Field(min_length=1)]
    server_label: Annotated[str, Field(min_length=1)]
    name: Annotated[str, Field(min_length=1)]
    arguments: str


class McpApprovalResponse(_Kept):
    """The decision on an approval request."""

    type: Literal["mcp_approval_response"]
    id: str | None = None
    approval_request_id: Annotated[str, Field(min_length=1)]
    approve: bool
    reason: Annotated[str, Field(max_length=4096)] | None = None


class RefusedCall(_Kept):
    """A call that the server did not run, with the reason: the tool is not allowed or unknown (REQ-2). An extension.

    It is no `function_call`, so that no client mistakes it for one to execute; the model gets to read the reason.
    """

    type: Literal["open_responses:refused_call"]
    id: Annotated[str, Field(min_length=1)]
    call_id: str
    name: str
    arguments: str
    reason: str


class Compaction(_Kept):
    """A compacted conversation (REQ-16)."""

    type: Literal["compaction"]
    id: str | None = None
    encrypted_content: Text


class ItemReference(_Kept):
    """A reference to a stored item (ITEM-10). `{"id": "msg_…"}` alone is a reference as well."""

    type: Literal["item_reference"] | None = None
    id: Annotated[str, Field(min_length=1)]


class OpaqueItem(_Kept):
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


_TYPED = (
    "function_call",
    "function_call_output",
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
    | Annotated[Reasoning, Tag("<reasoning>")]
    | Annotated[McpTools, Tag("<mcp_list_tools>")]
    | Annotated[McpCall, Tag("<mcp_call>")]
    | Annotated[McpApprovalRequest, Tag("<mcp_approval_request>")]
    | Annotated[McpApprovalResponse, Tag("<mcp_approval_response>")]
    | Annotated[RefusedCall, Tag("<refused_call>")]
    | Annotated[Compaction, Tag("<compaction>")]
    | Annotated[ItemReference, Tag("<item_reference>")]
    | Annotated[OpaqueItem, Tag("<opaque>")],
    Discriminator(
        _item_tag,
        "no_variant",
        "{what}",
        Hint(what="an object with an item", allowed=("message", *_TYPED), roles=ROLES),
    ),
]

INPUT_ITEM: TypeAdapter[InputItem] = TypeAdapter(InputItem)
INPUT_ITEMS: TypeAdapter[list[InputItem]] = TypeAdapter(list[InputItem])
