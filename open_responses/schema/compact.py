"""The body of `POST /v1/responses/compact`, and its answer (REQ-16)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from open_responses.json_types import JsonObject
from open_responses.schema.request_settings import PromptCacheOptions, ServiceTier
from open_responses.schema.requests import MAX_MODEL_NAME, CreateResponse, Input, present, printable
from open_responses.schema.validation import CHECK_NAMES, RequestObject, complaint_of, fault


class CompactRequest(RequestObject):
    """A request to compact the conversation of `input`, of `previous_response_id`, or of both."""

    model: Annotated[str, Field(max_length=MAX_MODEL_NAME), AfterValidator(printable), BeforeValidator(present)]
    input: Annotated[Input | None, BeforeValidator(lambda value: value)] = None
    previous_response_id: str | None = None
    instructions: str | None = None
    prompt_cache_key: Annotated[str, Field(max_length=64)] | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    prompt_cache_options: PromptCacheOptions | None = None
    service_tier: ServiceTier | None = None

    @model_validator(mode="after")
    def _has_something_to_compact(self) -> CompactRequest:
        if self.previous_response_id is None and self.input == []:
            raise fault("invalid_value", "must have at least one item", field="input")
        if self.previous_response_id is None and not self.input:
            raise fault("missing_required_parameter", "", field="input")
        return self

    def as_response(self) -> CreateResponse:
        """Return the request whose response writes the summary. It is not stored: its output is the answer."""
        given = self.model_dump(mode="json", exclude_unset=True)
        return CreateResponse.model_validate({**given, "input": given.get("input") or "", "store": False})


def parse_compact_request(body: JsonObject) -> CompactRequest:
    """Validate the body of a compaction.

    Args:
        body: The parsed body.

    Raises:
        InvalidRequest: As for `validate_create_response`.
    """
    try:
        return CompactRequest.model_validate(body, context=CHECK_NAMES)
    except ValidationError as error:
        raise complaint_of(error) from None


def compacted_resource(response: JsonObject, kept: Sequence[JsonObject]) -> JsonObject:
    """Return a `response.compaction`.

    Args:
        response: The response that wrote the summary.
        kept: The user's messages that stay unchanged in front of the summary.
    """
    summaries: list[Any] = [item for item in response["output"] if item["type"] == "compaction"]
    return {
        "id": response["id"],
        "object": "response.compaction",
        "created_at": response["created_at"],
        "output": [*kept, *summaries],
        "usage": response["usage"],
    }
