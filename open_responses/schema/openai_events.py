"""The events that `/openai/v1` sends in place of those of `/v1`, as types of the JSON objects that a client receives.

`api/openai_forms.py` makes them. All other events are the same for both: `stream_events.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypeAliasType, TypedDict

from open_responses.schema.output_items import Count
from open_responses.schema.stream_events import StreamFault


class _ReasoningText(TypedDict):
    sequence_number: Count
    item_id: str
    output_index: Count
    content_index: Count


class ResponseReasoningTextDeltaEvent(_ReasoningText):
    """In place of `response.reasoning.delta`."""

    type: Literal["response.reasoning_text.delta"]
    delta: str
    obfuscation: NotRequired[str]


class ResponseReasoningTextDoneEvent(_ReasoningText):
    """In place of `response.reasoning.done`."""

    type: Literal["response.reasoning_text.done"]
    text: str


class KeepaliveEvent(TypedDict):
    """In place of an event of this server's extensions (`open_responses:…`). It says nothing but its number."""

    type: Literal["keepalive"]
    sequence_number: Count


class OpenAIErrorEvent(TypedDict):
    """An `error` event, with the members of OpenAI's beside those of the specification's."""

    type: Literal["error"]
    sequence_number: Count
    code: str | None
    message: str
    param: str | None
    error: StreamFault


OpenAIStreamEvent = TypeAliasType(
    "OpenAIStreamEvent",
    Annotated[
        ResponseReasoningTextDeltaEvent | ResponseReasoningTextDoneEvent | KeepaliveEvent | OpenAIErrorEvent,
        Field(discriminator="type"),
    ],
)
