"""The body of `POST /v1/responses/{id}/steer`: messages for a response that runs.

Source: OpenAI's `response.steer`, by the types of its Python SDK (openai 3.54, `types/responses/response_steer_*.py`).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Tag, ValidationError

from open_responses.errors import InvalidRequest
from open_responses.json_types import JsonObject
from open_responses.schema.content import InputFile, InputImage, InputText, Text
from open_responses.schema.items import InputItem, UserMessage
from open_responses.schema.validation import CHECK_NAMES, RequestObject, complaint_of, either

MAX_STEER_MESSAGES = 20
MAX_STEER_BYTES = 4 * 1024 * 1024
"""The longest body. The messages are in the workflow's history, and its next runs carry those that wait."""
_PARTS = (InputText, InputImage, InputFile)


class SteerBody(RequestObject):
    """`POST /v1/responses/{id}/steer`. `input` is a string, or user messages as in `POST /v1/responses`."""

    input: Annotated[
        Annotated[Text, Field(min_length=1), Tag("<string>")]
        | Annotated[
            list[InputItem], Field(min_length=1, max_length=MAX_STEER_MESSAGES, fail_fast=True), Tag("<items>")
        ],
        either("a string or an array of user messages", string=str, items=list),
    ]


def validate_steer(body: JsonObject) -> SteerBody:
    """Raises InvalidRequest for an invalid body, and for items that are no messages of text, images and files."""
    try:
        given = SteerBody.model_validate(body, context=CHECK_NAMES)
    except ValidationError as error:
        raise complaint_of(error) from None
    for index, item in enumerate(given.input if isinstance(given.input, list) else []):
        if not isinstance(item, UserMessage):
            raise InvalidRequest(
                f"'input[{index}]' must be a message with the role 'user': nothing else can be added to a response "
                "that runs.",
                param=f"input[{index}]",
                code="invalid_value",
            )
        for number, part in enumerate(item.content if isinstance(item.content, list) else []):
            if not isinstance(part, _PARTS):
                raise InvalidRequest(
                    f"'input[{index}].content[{number}]' must be 'input_text', 'input_image' or 'input_file'.",
                    param=f"input[{index}].content[{number}]",
                    code="invalid_value",
                )
    return given
