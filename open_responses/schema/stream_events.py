"""The events of a stream, one type for each, as types of the JSON objects that a client receives.

The assembler, the workflow and the API make plain dicts, which are not validated at run time: see `output_items.py`.
`StreamEvent` is the union of all event types; `open_responses/events/event_types.py` says how each is handled, and
`tests/unit/test_event_types.py` compares the two. Types outside the specification are OpenAI's (MCP, custom
tools, shells) and the extensions, which begin with `open_responses:`.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict

from open_responses.json_types import JsonObject
from open_responses.schema.http_bodies import Response
from open_responses.schema.output_items import (
    ContentPart,
    Count,
    LogProb,
    OutputItem,
    SummaryTextPart,
)


class _Event(TypedDict):
    sequence_number: Count


class _OfItem(_Event):
    item_id: str
    output_index: Count


class _OfPart(_OfItem):
    content_index: Count


class _OfSummary(_OfItem):
    summary_index: Count


class _Padded(TypedDict):
    # Hides the length of `delta` on the wire (`api/streaming/obfuscation.py`); absent if the client opted out.
    obfuscation: NotRequired[str]


# --- the response


class _WholeResponse(_Event):
    response: Response


class ResponseQueuedEvent(_WholeResponse):
    """The response waits for its start."""

    type: Literal["response.queued"]


class ResponseCreatedEvent(_WholeResponse):
    """The response exists."""

    type: Literal["response.created"]


class ResponseInProgressEvent(_WholeResponse):
    """Work on the response has started."""

    type: Literal["response.in_progress"]


class ResponseCompletedEvent(_WholeResponse):
    """Terminal: the response is complete."""

    type: Literal["response.completed"]


class ResponseIncompleteEvent(_WholeResponse):
    """Terminal: the response stopped at a limit (`incomplete_details`), or was cancelled (`status`)."""

    type: Literal["response.incomplete"]


class ResponseFailedEvent(_WholeResponse):
    """Terminal: the response failed (`error`)."""

    type: Literal["response.failed"]


class StreamFault(TypedDict):
    """`code` is the reason, for programs. The codes: docs/errors.md."""

    type: str
    code: str | None
    message: str
    param: str | None


class ErrorEvent(_Event):
    """Something went wrong. A `response.failed` follows if the response itself failed."""

    type: Literal["error"]
    error: StreamFault


# --- items


class _WholeItem(_Event):
    output_index: Count
    item: OutputItem


class ResponseOutputItemAddedEvent(_WholeItem):
    """An item begins, without its content."""

    type: Literal["response.output_item.added"]


class ResponseOutputItemDoneEvent(_WholeItem):
    """An item has ended; `item` is final."""

    type: Literal["response.output_item.done"]


# --- content


class _WholePart(_OfPart):
    part: ContentPart


class ResponseContentPartAddedEvent(_WholePart):
    """A content part begins, empty."""

    type: Literal["response.content_part.added"]


class ResponseContentPartDoneEvent(_WholePart):
    """A content part has ended; `part` is final."""

    type: Literal["response.content_part.done"]


class ResponseOutputTextDeltaEvent(_OfPart, _Padded):
    """The next piece of the text."""

    type: Literal["response.output_text.delta"]
    delta: str
    logprobs: list[LogProb]


class ResponseOutputTextDoneEvent(_OfPart):
    """The whole text."""

    type: Literal["response.output_text.done"]
    text: str
    logprobs: list[LogProb]


class ResponseOutputTextAnnotationAddedEvent(_OfPart):
    """A citation in the text."""

    type: Literal["response.output_text.annotation.added"]
    annotation_index: Count
    annotation: JsonObject | None


class ResponseRefusalDeltaEvent(_OfPart):
    """The next piece of the refusal."""

    type: Literal["response.refusal.delta"]
    delta: str


class ResponseRefusalDoneEvent(_OfPart):
    """The whole refusal."""

    type: Literal["response.refusal.done"]
    refusal: str


class ResponseReasoningDeltaEvent(_OfPart, _Padded):
    """The next piece of the reasoning."""

    type: Literal["response.reasoning.delta"]
    delta: str


class ResponseReasoningDoneEvent(_OfPart):
    """The whole reasoning text."""

    type: Literal["response.reasoning.done"]
    text: str


# --- summaries of reasoning


class _WholeSummary(_OfSummary):
    part: SummaryTextPart


class ResponseReasoningSummaryPartAddedEvent(_WholeSummary):
    """A part of the summary begins, empty."""

    type: Literal["response.reasoning_summary_part.added"]


class ResponseReasoningSummaryPartDoneEvent(_WholeSummary):
    """A part of the summary has ended; `part` is final."""

    type: Literal["response.reasoning_summary_part.done"]


class ResponseReasoningSummaryTextDeltaEvent(_OfSummary, _Padded):
    """The next piece of the summary."""

    type: Literal["response.reasoning_summary_text.delta"]
    delta: str


class ResponseReasoningSummaryTextDoneEvent(_OfSummary):
    """The whole text of the summary's part."""

    type: Literal["response.reasoning_summary_text.done"]
    text: str


# --- calls


class ResponseFunctionCallArgumentsDeltaEvent(_OfItem, _Padded):
    """The next piece of a function call's arguments."""

    type: Literal["response.function_call_arguments.delta"]
    delta: str


class ResponseFunctionCallArgumentsDoneEvent(_OfItem):
    """The whole arguments of a function call."""

    type: Literal["response.function_call_arguments.done"]
    arguments: str


class ResponseCustomToolCallInputDeltaEvent(_OfItem, _Padded):
    """The next piece of a custom tool call's input."""

    type: Literal["response.custom_tool_call_input.delta"]
    delta: str


class ResponseCustomToolCallInputDoneEvent(_OfItem):
    """The whole input of a custom tool call."""

    type: Literal["response.custom_tool_call_input.done"]
    input: str


class _OfCommand(_Event):
    output_index: Count
    command_index: Count


class ResponseShellCallCommandAddedEvent(_OfCommand):
    """A command of a shell call begins."""

    type: Literal["response.shell_call_command.added"]
    command: str


class ResponseShellCallCommandDeltaEvent(_OfCommand, _Padded):
    """The text of a command."""

    type: Literal["response.shell_call_command.delta"]
    delta: str


class ResponseShellCallCommandDoneEvent(_OfCommand):
    """The whole command."""

    type: Literal["response.shell_call_command.done"]
    command: str


class ResponseMcpCallArgumentsDeltaEvent(_OfItem, _Padded):
    """The next piece of an MCP call's arguments."""

    type: Literal["response.mcp_call_arguments.delta"]
    delta: str


class ResponseMcpCallArgumentsDoneEvent(_OfItem):
    """The whole arguments of an MCP call."""

    type: Literal["response.mcp_call_arguments.done"]
    arguments: str


class ResponseMcpCallInProgressEvent(_OfItem):
    """The server calls the tool."""

    type: Literal["response.mcp_call.in_progress"]


class ResponseMcpCallCompletedEvent(_OfItem):
    """The tool returned a result."""

    type: Literal["response.mcp_call.completed"]


class ResponseMcpCallFailedEvent(_OfItem):
    """The call failed, or was cut off before it ran."""

    type: Literal["response.mcp_call.failed"]


class ResponseMcpListToolsInProgressEvent(_OfItem):
    """The server asks an MCP server for its tools."""

    type: Literal["response.mcp_list_tools.in_progress"]


class ResponseMcpListToolsCompletedEvent(_OfItem):
    """The MCP server returned its tools."""

    type: Literal["response.mcp_list_tools.completed"]


class ResponseMcpListToolsFailedEvent(_OfItem):
    """The MCP server did not return its tools."""

    type: Literal["response.mcp_list_tools.failed"]


# --- tools that OpenAI runs


class ResponseWebSearchCallInProgressEvent(_OfItem):
    """A web search begins."""

    type: Literal["response.web_search_call.in_progress"]


class ResponseWebSearchCallSearchingEvent(_OfItem):
    """The provider searches the web."""

    type: Literal["response.web_search_call.searching"]


class ResponseWebSearchCallCompletedEvent(_OfItem):
    """The web search has ended."""

    type: Literal["response.web_search_call.completed"]


class ResponseFileSearchCallInProgressEvent(_OfItem):
    """A file search begins."""

    type: Literal["response.file_search_call.in_progress"]


class ResponseFileSearchCallSearchingEvent(_OfItem):
    """The provider searches the files."""

    type: Literal["response.file_search_call.searching"]


class ResponseFileSearchCallCompletedEvent(_OfItem):
    """The file search has ended."""

    type: Literal["response.file_search_call.completed"]


class ResponseCodeInterpreterCallInProgressEvent(_OfItem):
    """A call of the code interpreter begins."""

    type: Literal["response.code_interpreter_call.in_progress"]


class ResponseCodeInterpreterCallInterpretingEvent(_OfItem):
    """The provider runs the code."""

    type: Literal["response.code_interpreter_call.interpreting"]


class ResponseCodeInterpreterCallCompletedEvent(_OfItem):
    """The code has run."""

    type: Literal["response.code_interpreter_call.completed"]


class ResponseImageGenerationCallInProgressEvent(_OfItem):
    """A call of the image generation begins."""

    type: Literal["response.image_generation_call.in_progress"]


class ResponseImageGenerationCallGeneratingEvent(_OfItem):
    """The provider generates the image."""

    type: Literal["response.image_generation_call.generating"]


class ResponseImageGenerationCallCompletedEvent(_OfItem):
    """The image is generated."""

    type: Literal["response.image_generation_call.completed"]


class ResponseImageGenerationCallPartialImageEvent(_OfItem):
    """A preview of the image. `partial_image_index` counts from 0."""

    type: Literal["response.image_generation_call.partial_image"]
    partial_image_index: Count
    partial_image_b64: str
    background: str | None
    output_format: str | None
    quality: str | None
    size: str | None


class ResponseCodeInterpreterCallCodeDeltaEvent(_OfItem, _Padded):
    """The next piece of the code that will run."""

    type: Literal["response.code_interpreter_call_code.delta"]
    delta: str


class ResponseCodeInterpreterCallCodeDoneEvent(_OfItem):
    """The whole code."""

    type: Literal["response.code_interpreter_call_code.done"]
    code: str


# --- extensions


class OpenResponsesAttemptEvent(_Event):
    """An attempt at a model turn failed, and what the server does next."""

    type: Literal["open_responses:attempt"]
    turn: Count
    attempt: int
    provider: str
    reason: str
    action: str


class OpenResponsesToolProgressEvent(_OfItem):
    """A message that a running tool reports."""

    type: Literal["open_responses:tool_progress"]
    message: str


StreamEvent = TypeAliasType(
    "StreamEvent",
    Annotated[
        ResponseQueuedEvent
        | ResponseCreatedEvent
        | ResponseInProgressEvent
        | ResponseCompletedEvent
        | ResponseIncompleteEvent
        | ResponseFailedEvent
        | ErrorEvent
        | ResponseOutputItemAddedEvent
        | ResponseOutputItemDoneEvent
        | ResponseContentPartAddedEvent
        | ResponseContentPartDoneEvent
        | ResponseOutputTextDeltaEvent
        | ResponseOutputTextDoneEvent
        | ResponseOutputTextAnnotationAddedEvent
        | ResponseRefusalDeltaEvent
        | ResponseRefusalDoneEvent
        | ResponseReasoningDeltaEvent
        | ResponseReasoningDoneEvent
        | ResponseReasoningSummaryPartAddedEvent
        | ResponseReasoningSummaryPartDoneEvent
        | ResponseReasoningSummaryTextDeltaEvent
        | ResponseReasoningSummaryTextDoneEvent
        | ResponseFunctionCallArgumentsDeltaEvent
        | ResponseFunctionCallArgumentsDoneEvent
        | ResponseCustomToolCallInputDeltaEvent
        | ResponseCustomToolCallInputDoneEvent
        | ResponseShellCallCommandAddedEvent
        | ResponseShellCallCommandDeltaEvent
        | ResponseShellCallCommandDoneEvent
        | ResponseMcpCallArgumentsDeltaEvent
        | ResponseMcpCallArgumentsDoneEvent
        | ResponseMcpCallInProgressEvent
        | ResponseMcpCallCompletedEvent
        | ResponseMcpCallFailedEvent
        | ResponseMcpListToolsInProgressEvent
        | ResponseMcpListToolsCompletedEvent
        | ResponseMcpListToolsFailedEvent
        | ResponseWebSearchCallInProgressEvent
        | ResponseWebSearchCallSearchingEvent
        | ResponseWebSearchCallCompletedEvent
        | ResponseFileSearchCallInProgressEvent
        | ResponseFileSearchCallSearchingEvent
        | ResponseFileSearchCallCompletedEvent
        | ResponseCodeInterpreterCallInProgressEvent
        | ResponseCodeInterpreterCallInterpretingEvent
        | ResponseCodeInterpreterCallCompletedEvent
        | ResponseImageGenerationCallInProgressEvent
        | ResponseImageGenerationCallGeneratingEvent
        | ResponseImageGenerationCallCompletedEvent
        | ResponseImageGenerationCallPartialImageEvent
        | ResponseCodeInterpreterCallCodeDeltaEvent
        | ResponseCodeInterpreterCallCodeDoneEvent
        | OpenResponsesAttemptEvent
        | OpenResponsesToolProgressEvent,
        Field(discriminator="type"),
    ],
)
