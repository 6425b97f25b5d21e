"""The models of events, by type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_type_hints

from openai.types.responses import ResponseStreamEvent
from pydantic import BaseModel

from open_responses.schema.stream_events import StreamEvent


def event_models() -> Mapping[str, type[Any]]:
    """Event type -> its model: `response.output_text.delta` -> `ResponseOutputTextDeltaEvent`."""
    union, _ = get_args(StreamEvent.__value__)
    return {get_args(get_type_hints(model)["type"])[0]: model for model in get_args(union)}


def openais_event_models() -> Mapping[str, type[BaseModel]]:
    """The same of the `openai` SDK's models."""
    union, _ = get_args(ResponseStreamEvent)
    return {get_args(model.model_fields["type"].annotation)[0]: model for model in get_args(union)}
