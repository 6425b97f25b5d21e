"""The query parameter `include`: members of items that a client is shown on request alone."""

from __future__ import annotations

from fastapi import Request

from open_responses.errors import InvalidRequest
from open_responses.schema.request_settings import INCLUDES
from open_responses.schema.validation import one_of, shorten


def included(request: Request) -> frozenset[str]:
    """The names in `include`, also as `include[]`, which OpenAI's SDK for Python writes. Raises InvalidRequest.

    They add to what the request for the response has named. Only the members of calls that this server ran have an
    effect: all else is always shown, or was never received.
    """
    query = request.query_params
    names = (*query.getlist("include"), *query.getlist("include[]"))
    for name in names:
        if name not in INCLUDES:
            raise InvalidRequest(
                f"'include' must be {one_of(INCLUDES)}, but is '{shorten(name)}'.",
                param="include",
                code="invalid_value",
            )
    return frozenset(names)
