"""Every type of event that a stream may have, one row each.

The assembler, the fold, the trace, the writer and the padding all read this table. With one table in each of these
modules, a new event type could be traced but not folded, or documented as padded but sent without padding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

FoldStep: TypeAlias = Literal[
    "response",
    "item_added",
    "item_done",
    "part_added",
    "part_done",
    "summary_added",
    "summary_done",
    "delta",
    "call_text_done",
    "annotation_added",
]
"""The step of `Fold` that applies an event."""

TraceMark: TypeAlias = Literal["r", "+", "-", "p", "P", "s", "S", "d", "D", "x"]
"""The mark under which `Trace` records an event. The docstring of `trace.py` lists them."""


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event.

    Attributes:
        name: The event's `type`.
        members: Its members after `type` and `sequence_number`. `schema/stream_events.py` has their types.
        trace: How the trace in Temporal records the event. `x` stores the whole event, so such an event must be small
            and rare.
        fold: The step of the fold that applies the event to the response; None if the event does not change it.
        text_of: For a delta and for the `done` event of a text: the type of the content part, or of the call item,
            whose text the event carries.
        mergeable: Whether the writer may join neighbouring deltas of this type while Redis does not answer.
        padded: Whether the API pads the event with an `obfuscation` member (REQ-14).
        terminal: Whether the event ends the stream.
    """

    name: str
    members: tuple[str, ...]
    trace: TraceMark = "x"
    fold: FoldStep | None = None
    text_of: str | None = None
    mergeable: bool = False
    padded: bool = False
    terminal: bool = False
    part_index: Literal["content_index", "summary_index"] | None = field(init=False, default=None)
    """The member that numbers the part within its item; None if the event has no such member."""

    def __post_init__(self) -> None:
        for member in ("content_index", "summary_index"):
            if member in self.members:
                object.__setattr__(self, "part_index", member)


_ITEM = ("output_index", "item")
_IN_ITEM = ("item_id", "output_index")
_PART = (*_IN_ITEM, "content_index")
_SUMMARY = (*_IN_ITEM, "summary_index")

CALL_TEXTS = {
    "function_call": "arguments",
    "custom_tool_call": "input",
    "mcp_call": "arguments",
    "code_interpreter_call": "code",
}
"""The types of items whose own text is streamed in deltas, each with the member that has the text."""

# `padded` is set where the specification's schema of the event has an `obfuscation` member: `response.refusal.delta`
# has none. The specification has no MCP events. OpenAI's API pads the arguments of an MCP call as it pads a function's.
_ROWS = (
    EventType("response.created", ("response",), "r", "response"),
    EventType("response.queued", ("response",), "r", "response"),
    EventType("response.in_progress", ("response",), "r", "response"),
    # A cancelled response ends in `response.incomplete` with the status `cancelled`: the specification has no event of
    # its own for it, and a client must be able to rebuild the status from known events.
    EventType("response.completed", ("response",), fold="response", terminal=True),
    EventType("response.incomplete", ("response",), fold="response", terminal=True),
    EventType("response.failed", ("response",), fold="response", terminal=True),
    EventType("error", ("error",)),
    EventType("response.output_item.added", _ITEM, "+", "item_added"),
    EventType("response.output_item.done", _ITEM, "-", "item_done"),
    EventType("response.content_part.added", (*_PART, "part"), "p", "part_added"),
    EventType("response.content_part.done", (*_PART, "part"), "P", "part_done"),
    EventType(
        "response.output_text.delta",
        (*_PART, "delta", "logprobs"),
        "d",
        "delta",
        "output_text",
        mergeable=True,
        padded=True,
    ),
    EventType("response.output_text.done", (*_PART, "text", "logprobs"), "D", text_of="output_text"),
    EventType(
        "response.output_text.annotation.added", (*_PART, "annotation_index", "annotation"), fold="annotation_added"
    ),
    EventType("response.refusal.delta", (*_PART, "delta"), "d", "delta", "refusal"),
    EventType("response.refusal.done", (*_PART, "refusal"), "D", text_of="refusal"),
    EventType(
        "response.reasoning.delta", (*_PART, "delta"), "d", "delta", "reasoning_text", mergeable=True, padded=True
    ),
    EventType("response.reasoning.done", (*_PART, "text"), "D", text_of="reasoning_text"),
    EventType("response.reasoning_summary_part.added", (*_SUMMARY, "part"), "s", "summary_added"),
    EventType("response.reasoning_summary_part.done", (*_SUMMARY, "part"), "S", "summary_done"),
    EventType("response.reasoning_summary_text.delta", (*_SUMMARY, "delta"), "d", "delta", "summary_text", padded=True),
    EventType("response.reasoning_summary_text.done", (*_SUMMARY, "text"), "D", text_of="summary_text"),
    EventType(
        "response.function_call_arguments.delta",
        (*_IN_ITEM, "delta"),
        "d",
        "delta",
        "function_call",
        mergeable=True,
        padded=True,
    ),
    EventType(
        "response.function_call_arguments.done",
        (*_IN_ITEM, "arguments"),
        "D",
        "call_text_done",
        text_of="function_call",
    ),
    EventType(
        "response.custom_tool_call_input.delta",
        (*_IN_ITEM, "delta"),
        "d",
        "delta",
        "custom_tool_call",
        mergeable=True,
        padded=True,
    ),
    EventType(
        "response.custom_tool_call_input.done",
        (*_IN_ITEM, "input"),
        "D",
        "call_text_done",
        text_of="custom_tool_call",
    ),
    # The commands stand in the item as well: the events only show them one by one, as OpenAI's API does.
    EventType("response.shell_call_command.added", ("output_index", "command_index", "command")),
    EventType("response.shell_call_command.delta", ("output_index", "command_index", "delta"), padded=True),
    EventType("response.shell_call_command.done", ("output_index", "command_index", "command")),
    EventType("response.mcp_call_arguments.delta", (*_IN_ITEM, "delta"), "d", "delta", "mcp_call", padded=True),
    EventType("response.mcp_call_arguments.done", (*_IN_ITEM, "arguments"), "D", "call_text_done", text_of="mcp_call"),
    EventType("response.mcp_call.in_progress", _IN_ITEM),
    EventType("response.mcp_call.completed", _IN_ITEM),
    EventType("response.mcp_call.failed", _IN_ITEM),
    EventType("response.mcp_list_tools.in_progress", _IN_ITEM),
    EventType("response.mcp_list_tools.completed", _IN_ITEM),
    EventType("response.mcp_list_tools.failed", _IN_ITEM),
    # Progress of the tools that OpenAI runs itself. A partial image is the one large event that the trace stores whole:
    # nothing else has its bytes, and a call has at most three.
    EventType("response.web_search_call.in_progress", _IN_ITEM),
    EventType("response.web_search_call.searching", _IN_ITEM),
    EventType("response.web_search_call.completed", _IN_ITEM),
    EventType("response.file_search_call.in_progress", _IN_ITEM),
    EventType("response.file_search_call.searching", _IN_ITEM),
    EventType("response.file_search_call.completed", _IN_ITEM),
    EventType("response.code_interpreter_call.in_progress", _IN_ITEM),
    EventType("response.code_interpreter_call.interpreting", _IN_ITEM),
    EventType("response.code_interpreter_call.completed", _IN_ITEM),
    EventType("response.image_generation_call.in_progress", _IN_ITEM),
    EventType("response.image_generation_call.generating", _IN_ITEM),
    EventType("response.image_generation_call.completed", _IN_ITEM),
    EventType(
        "response.image_generation_call.partial_image",
        (*_IN_ITEM, "partial_image_index", "partial_image_b64", "background", "output_format", "quality", "size"),
    ),
    EventType(
        "response.code_interpreter_call_code.delta",
        (*_IN_ITEM, "delta"),
        "d",
        "delta",
        "code_interpreter_call",
        mergeable=True,
        padded=True,
    ),
    EventType(
        "response.code_interpreter_call_code.done",
        (*_IN_ITEM, "code"),
        "D",
        "call_text_done",
        text_of="code_interpreter_call",
    ),
    EventType("open_responses:attempt", ("turn", "attempt", "provider", "reason", "action")),
    EventType("open_responses:tool_progress", (*_IN_ITEM, "message")),
)

EVENT_TYPES: dict[str, EventType] = {row.name: row for row in _ROWS}
"""Each row by the event's `type`."""

OPENING_EVENTS = frozenset(row.name for row in _ROWS if row.trace == "r")
"""The types that a stream starts with."""

TERMINAL_EVENTS = frozenset(row.name for row in _ROWS if row.terminal)
"""The types that end a stream."""

MERGEABLE_EVENTS = frozenset(row.name for row in _ROWS if row.mergeable)
"""The types whose deltas the writer may join while Redis does not answer."""

PADDED_EVENTS = frozenset(row.name for row in _ROWS if row.padded)
"""The types that the API pads unless the client sends `include_obfuscation: false`."""

DELTA_EVENTS = {row.text_of: row.name for row in _ROWS if row.text_of and row.trace == "d"}
"""The delta's type by the type of the part, or of the call item, that it extends."""

TEXT_DONE_EVENTS = {row.text_of: row.name for row in _ROWS if row.text_of and row.trace == "D"}
"""The type of the event with the whole text, by the type of the part or of the call item."""
