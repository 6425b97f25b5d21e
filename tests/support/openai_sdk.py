"""The names of OpenAI's API, as the types of its Python SDK have them."""

from __future__ import annotations

from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from openai.types import responses
from openai.types.responses import response_create_params, response_input_item, response_output_item, tool
from openai.types.shared_params import reasoning


def request_fields() -> set[str]:
    """The fields of `POST /responses`."""
    fields: set[str] = set()
    for model in (
        response_create_params.ResponseCreateParamsNonStreaming,
        response_create_params.ResponseCreateParamsStreaming,
    ):
        fields |= get_type_hints(model).keys()
    return fields | {f"reasoning.{name}" for name in get_type_hints(reasoning.Reasoning)}


def tool_types() -> set[str]:
    """The types in a request's `tools`."""
    return _types(tool.Tool)


def item_types() -> set[str]:
    """The types of items, in an input and in an output."""
    return _types(response_input_item.ResponseInputItem) | _types(response_output_item.ResponseOutputItem)


def event_types() -> set[str]:
    """The types of a stream's events."""
    return _types(responses.ResponseStreamEvent)


def includes() -> set[str]:
    """The values of `include`."""
    return set(get_args(responses.ResponseIncludable))


def service_tiers() -> set[str]:
    """The values of `service_tier`."""
    return {str(value) for part in get_args(responses.service_tier.ServiceTier) for value in get_args(part)}


def _types(union: Any) -> set[str]:
    return {kind for model in _members(union) for kind in _kinds_of(model)}


def _kinds_of(model: Any) -> Iterable[str]:
    """The values of a model's `type`; a message's input may leave it out."""
    return _literals(model.model_fields["type"].annotation)


def _members(union: Any) -> Iterable[Any]:
    if get_origin(union) is Annotated:
        return _members(get_args(union)[0])
    if get_origin(union) in (Union, UnionType):
        return [member for part in get_args(union) for member in _members(part)]
    return [union]


def _literals(annotation: Any) -> Iterable[str]:
    """The texts of a `Literal`, which may be optional."""
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for part in get_args(annotation) if part is not type(None) for value in _literals(part)]
