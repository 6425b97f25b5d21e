"""The events of a stream, one type for each, as types of the JSON objects that a client receives.

The assembler, the workflow and the API make plain dicts, which are not validated at run time: see `output_items.py`.
`StreamEvent` is the union of all event types; `open_responses/events/event_types.py` says how each is handled, and
`tests/unit/test_event_types.py` compares the two. Types outside the specification are OpenAI's (MCP, custom
tools, shells) and the extensions, which begin with `open_responses:`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict

from open_responses.json_types import JsonObject
from open_responses.schema.call_events import (
    ResponseCodeInterpreterCallCodeDeltaEvent,
    ResponseCodeInterpreterCallCodeDoneEvent,
    ResponseCodeInterpreterCallCompletedEvent,
    ResponseCodeInterpreterCallInProgressEvent,
    ResponseCodeInterpreterCallInterpretingEvent,
    ResponseCustomToolCallInputDeltaEvent,
    ResponseCustomToolCallInputDoneEvent,
    ResponseFileSearchCallCompletedEvent,
    ResponseFileSearchCallInProgressEvent,
    ResponseFileSearchCallSearchingEvent,
    ResponseFunctionCallArgumentsDeltaEvent,
    ResponseFunctionCallArgumentsDoneEvent,
    ResponseImageGenerationCallCompletedEvent,
    ResponseImageGenerationCallGeneratingEvent,
    ResponseImageGenerationCallInProgressEvent,
    ResponseImageGenerationCallPartialImageEvent,
    ResponseMcpCallArgumentsDeltaEvent,
    ResponseMcpCallArgumentsDoneEvent,
    ResponseMcpCallCompletedEvent,
    ResponseMcpCallFailedEvent,
    ResponseMcpCallInProgressEvent,
    ResponseMcpListToolsCompletedEvent,
    ResponseMcpListToolsFailedEvent,
    ResponseMcpListToolsInProgressEvent,
    ResponseShellCallCommandAddedEvent,
    ResponseShellCallCommandDeltaEvent,
    ResponseShellCallCommandDoneEvent,
    ResponseWebSearchCallCompletedEvent,
    ResponseWebSearchCallInProgressEvent,
    ResponseWebSearchCallSearchingEvent,
)
from open_responses.schema.event_members import Event, OfItem, OfPart, OfSummary, Padded
from open_responses.schema.http_bodies import Response
from open_responses.schema.output_items import (
    ContentPart,
    Count,
    LogProb,
    OutputItem,
    SummaryTextPart,
)

# --- the response


class _WholeResponse(Event):
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


class ErrorEvent(Event):
    """Something went wrong. A `response.failed` follows if the response itself failed."""

    type: Literal["error"]
    error: StreamFault


# --- items


class _WholeItem(Event):
    output_index: Count
    item: OutputItem


class ResponseOutputItemAddedEvent(_WholeItem):
    """An item begins, without its content."""

    type: Literal["response.output_item.added"]


class ResponseOutputItemDoneEvent(_WholeItem):
    """An item has ended; `item` is final."""

    type: Literal["response.output_item.done"]


# --- content


class _WholePart(OfPart):
    part: ContentPart


class ResponseContentPartAddedEvent(_WholePart):
    """A content part begins, empty."""

    type: Literal["response.content_part.added"]


class ResponseContentPartDoneEvent(_WholePart):
    """A content part has ended; `part` is final."""

    type: Literal["response.content_part.done"]


class ResponseOutputTextDeltaEvent(OfPart, Padded):
    """The next piece of the text."""

    type: Literal["response.output_text.delta"]
    delta: str
    logprobs: list[LogProb]


class ResponseOutputTextDoneEvent(OfPart):
    """The whole text."""

    type: Literal["response.output_text.done"]
    text: str
    logprobs: list[LogProb]


class ResponseOutputTextAnnotationAddedEvent(OfPart):
    """A citation in the text."""

    type: Literal["response.output_text.annotation.added"]
    annotation_index: Count
    annotation: JsonObject | None


class ResponseRefusalDeltaEvent(OfPart):
    """The next piece of the refusal."""

    type: Literal["response.refusal.delta"]
    delta: str


class ResponseRefusalDoneEvent(OfPart):
    """The whole refusal."""

    type: Literal["response.refusal.done"]
    refusal: str


class ResponseReasoningDeltaEvent(OfPart, Padded):
    """The next piece of the reasoning."""

    type: Literal["response.reasoning.delta"]
    delta: str


class ResponseReasoningDoneEvent(OfPart):
    """The whole reasoning text."""

    type: Literal["response.reasoning.done"]
    text: str


# --- summaries of reasoning


class _WholeSummary(OfSummary):
    part: SummaryTextPart


class ResponseReasoningSummaryPartAddedEvent(_WholeSummary):
    """A part of the summary begins, empty."""

    type: Literal["response.reasoning_summary_part.added"]


class ResponseReasoningSummaryPartDoneEvent(_WholeSummary):
    """A part of the summary has ended; `part` is final."""

    type: Literal["response.reasoning_summary_part.done"]


class ResponseReasoningSummaryTextDeltaEvent(OfSummary, Padded):
    """The next piece of the summary."""

    type: Literal["response.reasoning_summary_text.delta"]
    delta: str


class ResponseReasoningSummaryTextDoneEvent(OfSummary):
    """The whole text of the summary's part."""

    type: Literal["response.reasoning_summary_text.done"]
    text: str


# --- extensions


class OpenResponsesAttemptEvent(Event):
    """An attempt at a model turn failed, and what the server does next."""

    type: Literal["open_responses:attempt"]
    turn: Count
    attempt: int
    provider: str
    reason: str
    action: str


class OpenResponsesToolProgressEvent(OfItem):
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
