"""Applies the `configuration_update` items of a conversation to a request."""

from __future__ import annotations

from collections.abc import Iterable

from open_responses.schema.client_items import ConfigurationUpdate
from open_responses.schema.items import InputItem
from open_responses.schema.request_settings import ReasoningSettings
from open_responses.schema.requests import CreateResponse, text_settings_of
from open_responses.schema.text_settings import TextSettings


def configured(request: CreateResponse, items: Iterable[InputItem]) -> CreateResponse:
    """The request with the newest `reasoning.effort` and `text.format` of the conversation's updates."""
    changes: dict[str, ReasoningSettings | TextSettings] = {}
    for item in items:
        if not isinstance(item, ConfigurationUpdate):
            continue
        if item.reasoning is not None and item.reasoning.effort is not None:
            before = request.reasoning or ReasoningSettings()
            changes["reasoning"] = before.model_copy(update={"effort": item.reasoning.effort})
        updated = text_settings_of(item)
        if updated is not None and updated.format is not None:
            before_it = request.text or TextSettings()
            changes["text"] = before_it.model_copy(update={"format": updated.format})
    return request.model_copy(update=changes) if changes else request
